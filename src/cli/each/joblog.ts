/**
 * The log of `kappa each --joblog`: a line for each job that ended, in the columns of GNU parallel's, and a line that begins with `#` before each
 * that begins, so that after a crash it is known which may have run.
 */

import { closeSync, constants, fstatSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs'
import { KappaError, messageOf } from '../../errors.ts'
import { quoteForPeople } from '../../execution/quote.ts'

const HEADING = 'Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n'
const READ_BYTES = 64 * 1024

/** What is known of a job of an earlier run. */
export type Known = 'begun' | 'ended'

export interface LogEntry {
  sequence: number
  /** Where it ran. */
  host: string
  /** s since the epoch. */
  startedAt: number
  /** s. */
  took: number
  received: number
  exitCode: number
  signal: number
  argv: readonly string[]
}

export class JobLog {
  readonly #path: string
  readonly #descriptor: number

  private constructor(path: string, descriptor: number) {
    this.#path = path
    this.#descriptor = descriptor
  }

  /** A new one: never over another's results. Throws UsageError. */
  static create(path: string): JobLog {
    const { O_CREAT, O_EXCL, O_WRONLY, O_APPEND } = constants
    try {
      const log = new JobLog(path, openSync(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND, 0o666))
      log.#write(HEADING)
      return log
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'EEXIST')
        throw new KappaError('UsageError', `kappa each: ${path} is there already: go on with --resume, or remove it`)
      throw unusable(path, error)
    }
  }

  /** Goes on with an earlier one. `known` is told of each job in it, with a hash of its command. Throws UsageError. */
  static resume(path: string, known: (sequence: number, state: Known, hash: number) => void): JobLog {
    try {
      const log = new JobLog(path, openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_APPEND, 0o666))
      if (fstatSync(log.#descriptor).size === 0) log.#write(HEADING)
      else log.#readAll(known)
      return log
    } catch (error) {
      if (error instanceof KappaError) throw error
      throw unusable(path, error)
    }
  }

  begun(sequence: number, argv: readonly string[]): void {
    this.#write(`#\t${sequence}\t${commandOf(argv)}\n`)
  }

  ended(entry: LogEntry): void {
    const { sequence, host, startedAt, took, received, exitCode, signal, argv } = entry
    const columns = [sequence, host, startedAt.toFixed(3), took.toFixed(3), 0, received, exitCode, signal]
    this.#write(`${columns.join('\t')}\t${commandOf(argv)}\n`)
  }

  close(): void {
    closeSync(this.#descriptor)
  }

  #write(line: string): void {
    const bytes = Buffer.from(line, 'latin1')
    try {
      for (let done = 0; done < bytes.length; ) done += writeSync(this.#descriptor, bytes, done)
    } catch (error) {
      throw new KappaError('StateError', `kappa each: ${this.#path} can't be written: ${messageOf(error)}`)
    }
  }

  /** A last line that was cut off by a crash counts for nothing, and goes: later lines would make it look whole. */
  #readAll(known: (sequence: number, state: Known, hash: number) => void): void {
    const buffer = Buffer.allocUnsafe(READ_BYTES)
    let rest = ''
    let number = 0
    let at = 0
    for (;;) {
      const bytes = readSync(this.#descriptor, buffer, 0, buffer.length, at)
      if (bytes === 0) break
      at += bytes
      const lines = (rest + buffer.toString('latin1', 0, bytes)).split('\n')
      rest = lines.pop()!
      for (const line of lines) this.#readLine(line, ++number, known)
    }
    if (rest === '') return
    if (number === 0) throw new KappaError('UsageError', `kappa each: ${this.#path} is no log of jobs`)
    ftruncateSync(this.#descriptor, at - rest.length)
  }

  #readLine(line: string, number: number, known: (sequence: number, state: Known, hash: number) => void): void {
    if (number === 1) {
      if (`${line}\n` !== HEADING) throw new KappaError('UsageError', `kappa each: ${this.#path} is no log of jobs`)
      return
    }
    const begun = /^#\t(\d+)\t(.*)$/.exec(line)
    if (begun) known(Number(begun[1]), 'begun', hashOf(begun[2]!))
    const ended = /^(\d+)(?:\t[^\t]*){7}\t(.*)$/.exec(line)
    if (ended) known(Number(ended[1]), 'ended', hashOf(ended[2]!))
  }
}

function unusable(path: string, error: unknown): KappaError {
  return new KappaError('UsageError', `kappa each: ${path} can't be used as a log: ${messageOf(error)}`)
}

/** On one line: control characters as `$'...'` of bash. */
export function commandOf(argv: readonly string[]): string {
  return argv
    .map((word) => {
      if (!/[\x00-\x1f\x7f]/.test(word)) return word === '' ? "''" : quoteForPeople(word)
      const escaped = word.replaceAll(/[\\']/g, '\\$&')
      return `$'${escaped.replaceAll(/[\x00-\x1f\x7f]/g, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`)}'`
    })
    .join(' ')
}

/** FNV-1a of 32 bits: tells whether two commands are the same, mostly. */
export function hashOf(text: string): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193)
  return hash >>> 0
}
