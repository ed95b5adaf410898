/** What the commands print for people. */

import { writeSync } from 'node:fs'
import { isatty } from 'node:tty'
import { KappaError, messageOf } from '../errors.ts'
import { quoteForPeople } from '../execution/quote.ts'
import { widthOf } from './cells.ts'

const STDOUT = 1
/** A reader that went away ends a program by SIGPIPE; nothing is said about it. */
const EXIT_BROKEN_PIPE = 141
const FULL_PIPE_WAIT_MS = 5

/**
 * Writes lines to stdout, at once and whole. Not through `process.stdout`: that makes a pipe shared with other programs
 * non-blocking for them too.
 */
export function print(text: string): void {
  let bytes = Buffer.from(text.endsWith('\n') ? text : `${text}\n`)
  while (bytes.length > 0) {
    try {
      bytes = bytes.subarray(writeSync(STDOUT, bytes))
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'EPIPE') process.exit(EXIT_BROKEN_PIPE)
      if (code !== 'EAGAIN') throw new KappaError('StateError', `stdout can't be written: ${messageOf(error)}`)
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, FULL_PIPE_WAIT_MS)
    }
  }
}

/** One object as a line of JSON. */
export function printJson(value: unknown): void {
  print(JSON.stringify(value))
}

export type Style = 'bold' | 'dim' | 'green' | 'yellow' | 'red'
const CODES: Record<Style, number> = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33 }

/** Text in a colour, where stdout is a terminal whose owner wants colours. */
export function styled(style: Style, text: string): string {
  const { NO_COLOR, TERM } = process.env
  if (NO_COLOR || TERM === 'dumb' || !isatty(STDOUT)) return text
  return `\x1b[${CODES[style]}m${text}\x1b[0m`
}

/** Columns as wide as their longest cell; the first row is the heading. Cells hold no control characters but colours. */
export function table(heading: string[], rows: string[][]): string {
  const lines = [heading.map((cell) => styled('bold', cell)), ...rows]
  const widths = heading.map((_, column) => Math.max(...lines.map((line) => shownLength(line[column] ?? ''))))
  return lines
    .map((line) => line.map((cell, column) => cell + ' '.repeat(widths[column]! - shownLength(cell))).join('  '))
    .map((line) => line.trimEnd())
    .join('\n')
}

function shownLength(text: string): number {
  return widthOf(unstyled(text))
}

/** The text without the colours that `styled` gave it. */
export function unstyled(text: string): string {
  return text.replaceAll(/\x1b\[\d+m/g, '')
}

/** A length of time for people: `850 ms`, `12 s`, `4 min`, `3 h`, `2 d`. */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`
  const units: [number, string][] = [
    [86_400_000, 'd'],
    [3_600_000, 'h'],
    [60_000, 'min'],
    [1000, 's']
  ]
  for (const [size, name] of units) if (ms >= 2 * size || size === 1000) return `${Math.floor(ms / size)} ${name}`
  return ''
}

/** What is said of a machine whose own word about its speed counts for that part; nothing when it counts in full. */
export function slowerThanSaid(trust: number): string {
  const percent = Math.round(100 * trust)
  return percent < 100 ? `slower than it said: counted at ${Math.max(1, percent)} %` : ''
}

/** A command line as it could be typed: words that a shell would take apart are quoted. */
export function commandLine(argv: string[]): string {
  return argv.map(quoteForPeople).join(' ')
}
