/** A terminal for the tests, as a person has one: a program runs on it as under a shell with job control. */

import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import type { Test } from 'tap'

/** What jobs get their terminals from gives the tests theirs. */
const PROGRAM = join(import.meta.dirname, `../src/execution/native/prebuilt/kappa-terminal-linux-${process.arch}`)

/** How the terminal's own program is started: here, or on a host of an emulated LAN. */
export type Start = (argv: string[], options: Pick<SpawnOptions, 'env' | 'stdio'>) => ChildProcess

const here: Start = ([program, ...args], options) => spawn(program!, args, { ...options, detached: true })

export class Seat {
  /** All that it has shown. */
  text = ''
  /** Signals by which the program was stopped, in order. */
  readonly stopped: number[] = []
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>
  readonly pid: number
  readonly #child: ChildProcess

  /** More was shown. */
  onShown: () => void = () => undefined

  constructor(t: Pick<Test, 'teardown'>, command: string[], env: NodeJS.ProcessEnv, start: Start = here) {
    const pipes = Array.from({ length: 10 }, () => 'pipe' as const)
    this.#child = start([PROGRAM, '7', '24', '80', '-', ...command], {
      env,
      stdio: [...pipes.slice(0, 4), 'ignore', 'ignore', 'ignore', ...pipes.slice(0, 3)]
    })
    this.pid = this.#child.pid!
    t.teardown(() => this.#child.kill('SIGKILL'))
    this.#stream(9).on('data', (bytes: Buffer) => {
      this.text += bytes.toString('latin1')
      this.onShown()
    })
    this.#stream(3).on('data', (bytes: Buffer) => {
      for (const [, number] of String(bytes).matchAll(/^stopped (\d+)$/gm)) this.stopped.push(Number(number))
    })
    for (const fd of [7, 8]) this.#stream(fd).on('error', () => undefined)
    this.ended = new Promise((resolve) => this.#child.once('close', (code, signal) => resolve({ code, signal })))
  }

  type(text: string): void {
    this.#stream(8).write(Buffer.from(text, 'latin1'))
  }

  resize(rows: number, columns: number): void {
    this.#order('w', rows, columns)
  }

  /** To the program's whole group. */
  signal(number: number): void {
    this.#order('s', number, 0)
  }

  /** Resolves when the text was shown, behind what was shown before `after`; fails after 20 s with what there is. */
  async shows(what: string | RegExp, after = 0): Promise<string> {
    const found = () => {
      const text = this.text.slice(after)
      return typeof what === 'string' ? text.includes(what) : what.test(text)
    }
    await this.until(`${what} in ${JSON.stringify(this.text.slice(after))}`, found)
    return this.text
  }

  /** Types it over and over until it has its effect: before a terminal is given over, keys mean something else. */
  async typeUntil(text: string, holds: () => boolean): Promise<void> {
    await this.until(`an effect of ${JSON.stringify(text)}`, () => {
      if (!holds()) this.type(text)
      return holds()
    })
  }

  async until(what: string, holds: () => boolean): Promise<void> {
    const deadline = performance.now() + 20_000
    while (!holds()) {
      if (performance.now() > deadline) throw new Error(`not within 20 s: ${what}; shown: ${JSON.stringify(this.text)}`)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }

  #order(what: string, first: number, second: number): void {
    const order = Buffer.alloc(5)
    order.write(what)
    order.writeUInt16BE(first, 1)
    order.writeUInt16BE(second, 3)
    this.#stream(7).write(order)
  }

  #stream(fd: number): Duplex {
    return this.#child.stdio[fd] as Duplex
  }
}
