/** The configuration as its owner wrote it: where a key stands, and changes that keep all else as it is. */

import { isDeepStrictEqual } from 'node:util'
import { parse } from 'smol-toml'
import { KappaError } from '../errors.ts'

/** One `key = value` of the text, over one or several lines. */
interface Statement {
  /** The names of the tables around it, then the key's own; of an inline table as far as it has but one key. */
  path: string[]
  first: number
  last: number
}

interface Header {
  path: string[]
  line: number
}

interface Outline {
  lines: string[]
  statements: Statement[]
  headers: Header[]
}

/** The line, from 1, where a key stands, or the table it is in; `undefined` when neither does. */
export function lineOf(text: string, path: string[]): number | undefined {
  const { statements, headers } = outlineOf(text)
  const statement = statements.find((found) => startsWith(path, found.path))
  if (statement) return statement.first + 1
  const header = headers.findLast((found) => startsWith(path, found.path) || startsWith(found.path, path))
  return header && header.line + 1
}

/**
 * The text with one key set; comments, order and everything else stay. Throws ConfigurationError when the text is written
 * in a way that only a person should change.
 */
export function withValue(text: string, path: string[], value: unknown): string {
  const outline = outlineOf(text)
  const written = tomlValue(value)
  const same = outline.statements.find((found) => isDeepStrictEqual(found.path, path))
  const lines = same ? replaced(outline, same, written) : added(outline, path, written)
  const changed = `${lines.join('\n').replace(/\n+$/, '')}\n`
  const wanted = parse(text)
  let table = wanted as Record<string, unknown>
  for (const name of path.slice(0, -1)) table = (table[name] ??= {}) as Record<string, unknown>
  table[path.at(-1)!] = value
  if (!parsesTo(changed, wanted)) {
    const line = lineOf(text, path) ?? 1
    const how = 'written in a way that only a person should change; do it with: kappa config edit'
    throw new KappaError('ConfigurationError', `line ${line} of the configuration is ${how}`)
  }
  return changed
}

function parsesTo(text: string, wanted: unknown): boolean {
  try {
    // Cloned: the parser's tables have no prototype, ours have.
    return isDeepStrictEqual(structuredClone(parse(text)), structuredClone(wanted))
  } catch {
    return false
  }
}

function replaced({ lines }: Outline, { first, last }: Statement, written: string): string[] {
  const whole = lines.slice(first, last + 1).join('\n')
  const key = whole.slice(0, whole.indexOf('=')).trimEnd()
  const comment = first === last ? commentOf(whole) : ''
  return [...lines.slice(0, first), `${key} = ${written}${comment}`, ...lines.slice(last + 1)]
}

/** The comment at the end of a line, with the spaces before it. */
function commentOf(line: string): string {
  const whole = parse(line)
  for (let at = line.indexOf('#'); at >= 0; at = line.indexOf('#', at + 1)) {
    if (parsesTo(line.slice(0, at), whole)) return line.slice(line.slice(0, at).trimEnd().length)
  }
  return ''
}

function added({ lines, statements, headers }: Outline, path: string[], written: string): string[] {
  const table = path.slice(0, -1)
  const insert = (line: number, ...text: string[]) => [...lines.slice(0, line), ...text, ...lines.slice(line)]
  const header = headers.find((found) => isDeepStrictEqual(found.path, table))
  if (header) {
    const next = headers.find((found) => found.line > header.line)?.line ?? lines.length
    const inside = statements.filter(({ first }) => first > header.line && first < next)
    return insert((inside.at(-1)?.last ?? header.line) + 1, `${path.at(-1)} = ${written}`)
  }
  const firstHeader = headers[0]?.line ?? lines.length
  const top = statements.filter(({ first }) => first < firstHeader)
  // A table begun with dotted keys can't be gone on with below a heading.
  const dotted = top.findLast((found) => table.length > 0 && startsWith(found.path, table))
  if (dotted) return insert(dotted.last + 1, `${path.join('.')} = ${written}`)
  if (table.length > 0) return [...trimmedEnd(lines), '', `[${table.join('.')}]`, `${path.at(-1)} = ${written}`]
  const text = `${path.join('.')} = ${written}`
  if (top.length > 0) return insert(top.at(-1)!.last + 1, text)
  return headers.length > 0 ? insert(firstHeader, text, '') : [...trimmedEnd(lines), text]
}

function trimmedEnd(lines: string[]): string[] {
  return lines.slice(0, lines.findLastIndex((line) => line.trim() !== '') + 1)
}

function startsWith(path: string[], start: string[]): boolean {
  return start.every((name, index) => path[index] === name)
}

/** Cuts the text into headings and statements; what can't be read is passed over. */
function outlineOf(text: string): Outline {
  const lines = text.split('\n')
  const statements: Statement[] = []
  const headers: Header[] = []
  let table: string[] = []
  for (let first = 0; first < lines.length; first++) {
    const line = lines[first]!.trim()
    if (line === '' || line.startsWith('#')) continue
    if (line.startsWith('[')) {
      table = pathOf(tryParse(line))
      headers.push({ path: table, line: first })
      continue
    }
    for (let last = first; last < lines.length; last++) {
      const parsed = tryParse(lines.slice(first, last + 1).join('\n'))
      if (parsed === undefined) continue
      statements.push({ path: [...table, ...pathOf(parsed)], first, last })
      first = last
      break
    }
  }
  return { lines, statements, headers }
}

/** The names down to the first value that is no table with one key. */
function pathOf(value: unknown): string[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return []
  const [name, ...others] = Object.keys(value)
  if (name === undefined || others.length > 0) return []
  return [name, ...pathOf((value as Record<string, unknown>)[name])]
}

function tryParse(text: string): Record<string, unknown> | undefined {
  try {
    return parse(text)
  } catch {
    return undefined
  }
}

/** Strings, numbers, booleans and lists of them in TOML. */
export function tomlValue(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(tomlValue).join(', ')}]`
  if (typeof value !== 'string') return String(value)
  // JSON escapes as TOML's basic strings do, but for DEL.
  return JSON.stringify(value).replaceAll('\x7f', '\\u007F')
}
