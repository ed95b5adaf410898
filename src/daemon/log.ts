/** The daemon's one log: lines on stderr, which is a file, the journal or a terminal. */

import { copyFileSync, fstatSync, ftruncateSync, writeSync } from 'node:fs'
import { isKappaError, messageOf } from '../errors.ts'
import { printable } from '../printable.ts'

/** What a line says beside its words, such as `peer=nas`. */
export type LogFields = Record<string, string | number | boolean | undefined>

/** Where things are told that no user waits for. */
export interface Log {
  info(message: string, fields?: LogFields): void
  /** Something is wrong but mended or lived with. */
  warn(message: string, fields?: LogFields): void
  /** Something failed; an error that is no KappaError is a bug and comes with its stack. */
  error(message: string, error?: unknown, fields?: LogFields): void
}

/** With what syslog calls them: more is less important. */
const PRIORITIES = { info: 6, warn: 4, error: 3 } as const
type Level = keyof typeof PRIORITIES

/** How the owner wants it. */
export interface LogStyle {
  format: 'text' | 'json'
  /** What is less than this is not written. */
  level: Level
}

export interface DaemonLog extends Log {
  /** Holds for the lines that follow. */
  configure(style: LogStyle): void
}

/** Bytes of a log file before it becomes the one old file that is kept. */
export const LOG_BYTES_MAX = 4 * 1024 * 1024
/** Characters of one field or message; the rest is cut. */
const TEXT_LENGTH_MAX = 2_000

/**
 * A log that writes lines to `descriptor`. When that is a file and grows beyond `bytesMax`, it is copied to `oldPath` and
 * emptied: whoever opened it for appending keeps writing to it.
 */
export function createLog(descriptor = 2, oldPath?: string, bytesMax: number = LOG_BYTES_MAX): DaemonLog {
  let style: LogStyle = { format: 'text', level: 'info' }
  const keep = oldPath === undefined ? () => undefined : () => makeRoom(descriptor, oldPath, bytesMax)
  let sinceCheck = bytesMax
  const journal = isJournal(descriptor)
  const write = (level: Level, message: string, fields: LogFields = {}) => {
    if (PRIORITIES[level] > PRIORITIES[style.level]) return
    const written = style.format === 'json' ? jsonText(level, message, fields) : text(level, message, fields, journal)
    const line = Buffer.from(`${journal ? `<${PRIORITIES[level]}>` : ''}${written}
`)
    sinceCheck += line.length
    // A look at the file's size is a system call: not for each line.
    if (sinceCheck > bytesMax / 64) {
      sinceCheck = 0
      keep()
    }
    try {
      writeSync(descriptor, line)
    } catch {
      // Nobody reads, or the disk is full: the daemon's work is worth more than its log.
    }
  }
  return {
    configure: ({ format, level }) => {
      style = { format, level }
    },
    info: (message, fields) => write('info', message, fields),
    warn: (message, fields) => write('warn', message, fields),
    error: (message, error, fields) =>
      write('error', error === undefined ? message : `${message}: ${errorText(error)}`, fields)
  }
}

/** The journal keeps times itself, and takes the level from the line's start (sd-daemon(3)). */
function isJournal(descriptor: number): boolean {
  try {
    const { dev, ino } = fstatSync(descriptor, { bigint: true })
    return process.env.JOURNAL_STREAM === `${dev}:${ino}`
  } catch {
    return false
  }
}

function makeRoom(descriptor: number, oldPath: string, bytesMax: number): void {
  try {
    const stat = fstatSync(descriptor)
    if (!stat.isFile() || stat.size < bytesMax) return
    copyFileSync(`/proc/self/fd/${descriptor}`, oldPath)
    ftruncateSync(descriptor)
  } catch {
    // As above.
  }
}

function errorText(error: unknown): string {
  return !isKappaError(error) && error instanceof Error && error.stack ? error.stack : messageOf(error)
}

function text(level: Level, message: string, fields: LogFields, journal: boolean): string {
  const start = journal ? '' : `${new Date().toISOString()} ${level} `
  return `${start}${shown(message)}${fieldsText(fields)}`
}

/** A field never hides what every line has. */
function jsonText(level: Level, message: string, fields: LogFields): string {
  const bounded = Object.entries(fields).map(([name, value]) => [
    name,
    typeof value === 'string' ? shown(value) : value
  ])
  return JSON.stringify({
    ...Object.fromEntries(bounded),
    time: new Date().toISOString(),
    level,
    message: shown(message)
  })
}

function fieldsText(fields: LogFields): string {
  let text = ''
  for (const [name, value] of Object.entries(fields)) {
    if (value !== undefined)
      text += ` ${name}=${typeof value === 'string' && /[\s="]/.test(value) ? JSON.stringify(value) : shown(String(value))}`
  }
  return text
}

function shown(text: string): string {
  return printable(text.replaceAll(/\s*\n\s*/g, ' | '), TEXT_LENGTH_MAX)
}
