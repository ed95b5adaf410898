/** The terminal of a job: the program that makes it where the job is (native/terminal.c), and the pipes to that. */

import type { Readable, Writable } from 'node:stream'
import { streamAt } from './streams.ts'

/** What a job's terminal is like at first. */
export interface TerminalSpec {
  /** Bit n is set when descriptor n of the job is the terminal; 1–7. */
  descriptors: number
  rows: number
  columns: number
  /** Input, output and local flags of termios, then control characters; empty: those of a new terminal. */
  modes: readonly number[]
}

/** A job's terminal as it is used from outside. */
export interface Terminal {
  /** What is typed; its end is an end of file for who reads the terminal. */
  readonly keys: Writable
  /** What the terminal shows. */
  readonly screen: Readable
  resize(rows: number, columns: number): void
}

/** Where the waiting leader has the pipes of a terminal to be: orders and keys to be read, the screen to be written. */
export const TERMINAL_PIPES = { orders: 7, keys: 8, screen: 9 } as const

/** Bytes of orders that wait at most; beyond, sizes are dropped. */
const ORDERS_BYTES_MAX = 65_536

/** The words of a shell that become the command behind them, on a terminal; quoted where they must be. */
export function terminalCommand(program: string, { descriptors, rows, columns, modes }: TerminalSpec): string[] {
  const hexadecimal = modes.map((mode) => mode.toString(16)).join(':')
  return [program, String(descriptors), String(rows), String(columns), hexadecimal || '-']
}

export class TerminalPipes implements Terminal {
  readonly keys: Writable
  readonly screen: Readable
  readonly #orders: Writable

  /** Opens the other sides of the leader's pipes; before its job begins. Throws when it is gone. */
  constructor(leader: number) {
    this.#orders = streamAt(leader, TERMINAL_PIPES.orders, 'w') as Writable
    this.keys = streamAt(leader, TERMINAL_PIPES.keys, 'w') as Writable
    this.screen = streamAt(leader, TERMINAL_PIPES.screen, 'r') as Readable
  }

  resize(rows: number, columns: number): void {
    if (this.#orders.writableLength < ORDERS_BYTES_MAX) this.#order('w', rows, columns)
  }

  /** To the process group of the command, which is not the leader's. */
  signal(number: number): boolean {
    this.#order('s', number, 0)
    return !this.#orders.destroyed
  }

  close(): void {
    this.#orders.destroy()
    this.keys.destroy()
    this.screen.destroy()
  }

  #order(what: 'w' | 's', first: number, second: number): void {
    const order = Buffer.allocUnsafe(5)
    order.write(what, 'latin1')
    order.writeUInt16BE(first, 1)
    order.writeUInt16BE(second, 3)
    this.#orders.write(order)
  }
}
