/** The words of a seat that waits for its job, runs it and tells its end. */

import type { Readable } from 'node:stream'
import { type SeatEnd, signalName } from './seat.ts'

/** Characters of what a seat says that are kept to explain a failure. */
const SAID_MAX = 4096

/** ms for a seat to become ready; guests have the lowest priority, so a busy machine may take its time. */
const READY_DEADLINE = 30_000

/**
 * The awk program around a job, its script the first argument: `system()` is the one thing on every Linux that tells
 * `exit 143` from death by TERM.
 */
export const WAITER = 'BEGIN { r = system(ARGV[1]); print "end", r }'

/** `r` of awk's `system()`: an exit status, 256 + signal, or 512 + signal with a core dump. */
function endOf(result: number): SeatEnd {
  if (result < 256) return { exitCode: result, signal: null }
  return { exitCode: null, signal: signalName(result % 256) }
}

/** What a seat says: `ready`, why the command can't start, `end N`, or a tool's complaint. */
export class Status {
  readonly ready: Promise<void>
  readonly ended: Promise<SeatEnd>
  #said = ''

  constructor(reader: Readable) {
    const ready = Promise.withResolvers<void>()
    const ended = Promise.withResolvers<SeatEnd>()
    this.ready = ready.promise
    this.ended = ended.promise
    const late = setTimeout(() => {
      ready.reject(new Error(`not ready after ${READY_DEADLINE / 1000} s`))
      reader.destroy()
    }, READY_DEADLINE)
    const settle = () => {
      clearTimeout(late)
      ready.resolve()
    }
    reader.setEncoding('latin1')
    reader.on('data', (text: string) => {
      this.complain(text)
      if (this.#said.startsWith('ready\n')) settle()
    })
    reader.on('error', () => {})
    reader.on('close', () => {
      if (!this.#said.startsWith('ready\n')) ready.reject(new Error(this.#said.trim() || 'it ended at once'))
      clearTimeout(late)
      ended.resolve(this.#end())
    })
  }

  /** What a tool said elsewhere, to explain why a seat did not become ready. */
  complain(text: string): void {
    if (this.#said.length < SAID_MAX) this.#said += text.slice(0, SAID_MAX - this.#said.length)
  }

  #end(): SeatEnd {
    const result = /^end (\d+)$/m.exec(this.#said)?.[1]
    const failure = /^(notfound|notexecutable)$/m.exec(this.#said)?.[1] as SeatEnd['failure']
    // Without a word of PID 1 the whole cell was killed: by us, by the owner, for want of memory.
    const end = result === undefined ? { exitCode: null, signal: 'SIGKILL' } : endOf(Number(result))
    return failure === undefined ? end : { ...end, failure }
  }
}
