/** Messages as released versions sent them: one file for each minor version, one message on a line, never changed again. */

import { appendFileSync, existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { VERSION } from '../../../src/version.ts'
import { MESSAGES, type Message, readMessage } from './messages.ts'

const DIRECTORY = join(import.meta.dirname, 'fixtures')

export interface Fixture extends Message {
  /** What it says, as `plain` shows it. */
  says: unknown
}

/** As JSON has it: bytes by their digits, large integers by theirs, nothing that is undefined. */
export function plain(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (_, part) => {
      if (typeof part === 'bigint') return `${part}n`
      if (part instanceof Uint8Array) return `bytes ${Buffer.from(part).toString('hex')}`
      return part?.type === 'Buffer' && Array.isArray(part.data)
        ? `bytes ${Buffer.from(part.data).toString('hex')}`
        : part
    })
  )
}

export function minorOf(version: string): string {
  return version.split('.').slice(0, 2).join('.')
}

/** By minor version. */
export function fixtures(): Map<string, Fixture[]> {
  const files = readdirSync(DIRECTORY).filter((name) => name.endsWith('.jsonl'))
  return new Map(files.map((name) => [name.slice(0, -'.jsonl'.length), fixturesIn(join(DIRECTORY, name))]))
}

function fixturesIn(path: string): Fixture[] {
  if (!existsSync(path)) return []
  const lines = readFileSync(path, 'utf8').trim().split('\n')
  return lines.map((line) => {
    const { protocol, kind, hex, says } = JSON.parse(line)
    return { protocol, kind, bytes: Buffer.from(hex, 'hex'), says }
  })
}

/** Adds what this minor version sends and has not on record yet; how many messages that were. */
function record(): number {
  const path = join(DIRECTORY, `${minorOf(VERSION)}.jsonl`)
  const known = new Set(fixturesIn(path).map(({ protocol, kind }) => `${protocol} ${kind}`))
  const missing = MESSAGES.filter(({ protocol, kind }) => !known.has(`${protocol} ${kind}`))
  for (const message of missing) {
    const { protocol, kind, bytes } = message
    const line = { protocol, kind, hex: bytes.toString('hex'), says: plain(readMessage(message)) }
    appendFileSync(path, `${JSON.stringify(line)}\n`)
  }
  return missing.length
}

if (import.meta.main) console.log(`${record()} messages recorded`)
