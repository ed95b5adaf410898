import { createInterface, type Interface } from 'node:readline'

/** Asks a person, on stderr, and reads lines of stdin; what was typed ahead is kept for the next question. */
export class Prompt {
  #lines: Interface | undefined
  readonly #typed: string[] = []
  #waiting: ((line: string | undefined) => void) | undefined
  #ended = false

  /** The answer; `undefined` when stdin ended or the signal took the question back. One question at a time. */
  async ask(question: string, signal?: AbortSignal): Promise<string | undefined> {
    this.#open()
    process.stderr.write(question)
    return await new Promise<string | undefined>((resolve) => {
      const line = this.#typed.shift()
      if (line !== undefined || this.#ended || signal?.aborted) return resolve(line)
      this.#waiting = resolve
      signal?.addEventListener('abort', () => resolve(undefined), { once: true })
    }).finally(() => {
      this.#waiting = undefined
    })
  }

  /** True for an answer that begins with `y`. */
  async confirm(question: string, signal?: AbortSignal): Promise<boolean> {
    return /^\s*y/i.test((await this.ask(`${question} [y/N] `, signal)) ?? '')
  }

  /** Lets the process end. */
  close(): void {
    this.#lines?.close()
  }

  #open(): void {
    if (this.#lines) return
    // Not as a terminal: the system's own line editing leaves Ctrl-C what it is.
    this.#lines = createInterface({ input: process.stdin, terminal: false })
    this.#lines.on('line', (line) => {
      if (this.#waiting) this.#waiting(line)
      // More than one answer ahead is none.
      else if (this.#typed.length < 4) this.#typed.push(line)
    })
    this.#lines.on('close', () => {
      this.#ended = true
      this.#waiting?.(undefined)
    })
  }
}
