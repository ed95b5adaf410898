import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { ERROR_CODES, EXIT } from '../../src/errors.ts'
import { plain, tablesOf } from './markdown.ts'
import { forgotten, messages } from './messages.ts'

const page = readFileSync(join(import.meta.dirname, '../../docs/troubleshooting.md'), 'utf8')
const tables = tablesOf(page)
/** A message stands alone in its line. */
const patterns = [...page.matchAll(/^(?:- | {2})`([^`\n]+)`\\?$/gm)].map(([, pattern]) => pattern!)

/** `…` stands for anything but nothing. */
function regularExpression(pattern: string): RegExp {
  const parts = pattern.trim().split(/…+/)
  return new RegExp(`^${parts.map((part) => part.replaceAll(/[$()*+.?[\\\]^{|}]/g, '\\$&')).join('.+')}$`, 's')
}

const letters = (text: string) => text.match(/\p{L}/gu)?.length ?? 0

/** An entry tells of a message when it has at least a fourth of its letters: else one of `…` would tell of all. */
const known = patterns.map((pattern) => {
  const expression = regularExpression(pattern)
  const matches = (text: string) => expression.test(text) && letters(pattern) * 4 >= letters(text)
  return { pattern, matches }
})

t.test('every message that people can meet is in the page', async (t) => {
  const missing = messages().filter(({ text }) => !known.some(({ matches }) => matches(text.trim())))
  t.same(
    missing.map(({ at, text }) => `${at}: ${text}`),
    [],
    'add these to docs/troubleshooting.md, what they mean and what to do'
  )
})

t.test('every entry is a message that there is', async (t) => {
  const texts = messages().map(({ text }) => text.trim())
  t.same(
    known.filter(({ matches }) => !texts.some((text) => matches(text))).map(({ pattern }) => pattern),
    [],
    'take these out of docs/troubleshooting.md'
  )
  t.same(forgotten(), [], 'files that test/docs/messages.ts names are there')
})

t.test('no entry is there twice', async (t) => {
  t.same(
    patterns.filter((pattern, index) => patterns.indexOf(pattern) < index),
    []
  )
})

t.test('every entry says what it means', async (t) => {
  const unexplained = page.match(/^(?:- | {2})`[^`\n]+`\n/gm) ?? []
  t.same(unexplained, [])
})

t.test('every name of an error is told with its status, and every status', async (t) => {
  const [names] = tables.filter(({ head }) => head[0] === 'name')
  t.same(Object.fromEntries(names!.rows.map(([name, status]) => [plain(name!), Number(status)])), ERROR_CODES)
  const [statuses] = tables.filter(({ head }) => head[0] === 'status')
  t.same(new Set(statuses!.rows.map(([status]) => Number(status))), new Set(Object.values(EXIT)))
})
