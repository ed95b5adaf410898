/** What the jobs of `kappa each` are given: words of the command line, lines of files, lines of stdin. */

import { createReadStream } from 'node:fs'
import { KappaError, messageOf } from '../../errors.ts'

/** Longest argument that Linux takes, its end included (MAX_ARG_STRLEN). */
const VALUE_BYTES_MAX = 131_072
/** All sources but the first are held, to be gone through again for each value of those before. */
const HELD_BYTES_MAX = 256 * 1024 * 1024

export type Source =
  | { kind: 'words'; words: readonly string[] }
  /** `-` is stdin. */
  | { kind: 'file'; path: string }

/** Values of a source as they are read, as bytes, one for each character; `separator` ends each one of a file. Throws UsageError. */
async function* valuesOf(source: Source, separator: '\n' | '\0'): AsyncGenerator<readonly string[]> {
  if (source.kind === 'words') {
    yield source.words
    return
  }
  const name = source.path === '-' ? 'stdin' : source.path
  const stream = createReadStream(source.path === '-' ? '/proc/self/fd/0' : source.path, {
    encoding: 'latin1',
    ...(source.path === '-' && { fd: 0, autoClose: false })
  })
  let rest = ''
  let count = 0
  try {
    for await (const chunk of stream) {
      const parts = (rest + (chunk as string)).split(separator)
      rest = parts.pop()!
      for (const part of parts) checked(part, name, ++count)
      yield parts
      if (rest.length >= VALUE_BYTES_MAX) checked(rest, name, count + 1)
    }
  } catch (error) {
    if (error instanceof KappaError) throw error
    throw new KappaError('UsageError', `kappa each: ${name} can't be read: ${messageOf(error)}`)
  }
  if (rest !== '') yield [checked(rest, name, ++count)]
}

function checked(value: string, name: string, number: number): string {
  if (value.length < VALUE_BYTES_MAX && !value.includes('\0')) return value
  const what = value.includes('\0') ? 'has a NUL byte in it: -0 takes these apart' : 'is longer than an argument may be'
  throw new KappaError('UsageError', `kappa each: line ${number} of ${name} ${what}`)
}

/** Every combination of the sources' values, in pieces: those of the last one change fastest, the first one is read as it comes. */
export async function* combinations(
  sources: readonly Source[],
  separator: '\n' | '\0'
): AsyncGenerator<Iterable<string[]>> {
  const [first, ...others] = sources
  const held: string[][] = []
  let bytes = 0
  for (const source of others) {
    const values: string[] = []
    for await (const some of valuesOf(source, separator)) {
      for (const value of some) values.push(value)
      bytes += some.reduce((sum, value) => sum + value.length + 1, 0)
      if (bytes > HELD_BYTES_MAX)
        throw new KappaError(
          'UsageError',
          'kappa each: a source is too long; only the first, which is read as it comes, may have any length'
        )
    }
    held.push(values)
  }
  for await (const values of valuesOf(first!, separator)) yield allOf(values, held)
}

function* allOf(values: readonly string[], held: readonly string[][]): Generator<string[]> {
  for (const value of values) yield* behind([value], held)
}

function* behind(values: string[], [next, ...others]: readonly string[][]): Generator<string[]> {
  if (next === undefined) yield values
  else for (const value of next) yield* behind([...values, value], others)
}
