/**
 * How staged files travel: a flat sequence of entries, parents before what is in them, names as bytes, times in
 * nanoseconds. Not tar: its names are text for Node's readers, and a length of -5 in a pax header hangs them.
 *
 *     magic "KAPPAST1", then per entry
 *     type u8 · mode u16 · mtime in ns i64 · size u64 · path length u16 · path · size bytes of content
 *
 * The content of a link is its target, of a problem its text; an end has no path, and the number of entries as size.
 */

import { KappaError, messageOf } from '../errors.ts'

export const MAGIC = Buffer.from('KAPPAST1')

export const ENTRY = { end: 0, file: 1, directory: 2, link: 3, problem: 4 } as const

export type EntryType = (typeof ENTRY)[keyof typeof ENTRY]

/** Bytes of the fixed part of an entry. */
const FIXED = 21

export const ENTRIES_MAX = 1_000_000
export const PATH_BYTES_MAX = 4095
export const NAME_BYTES_MAX = 255
export const LINK_BYTES_MAX = 4095
export const DEPTH_MAX = 256
const PROBLEM_BYTES_MAX = 1024

/** Paths and link targets are latin1 strings: one character per byte. */
export interface Entry {
  type: EntryType
  path: string
  mode: number
  mtimeNs: bigint
  size: number
}

export function encodeEntry({ type, path, mode, mtimeNs, size }: Entry): Buffer {
  const head = Buffer.alloc(FIXED + path.length)
  head.writeUInt8(type, 0)
  head.writeUInt16BE(mode & 0o777, 1)
  head.writeBigInt64BE(BigInt.asIntN(64, mtimeNs), 3)
  head.writeBigUInt64BE(BigInt(size), 11)
  head.writeUInt16BE(path.length, 19)
  head.write(path, FIXED, 'latin1')
  return head
}

export function invalid(what: string): KappaError {
  return new KappaError('StagingError', `the staged files did not come as they should: ${what}`)
}

/** Any error, as one that names what could not be done. */
export function stagingError(error: unknown, what: string): unknown {
  return error instanceof KappaError ? error : new KappaError('StagingError', `${what}: ${messageOf(error)}`)
}

/** The parts of a path; throws StagingError unless it is relative, without `.`, `..` and empty parts, and within bounds. */
export function partsOf(path: string): string[] {
  const parts = path.split('/')
  if (path.length > PATH_BYTES_MAX || parts.length > DEPTH_MAX) throw invalid('a path is too long')
  for (const part of parts) {
    if (part === '' || part === '.' || part === '..' || part.includes('\0')) throw invalid('a path leads elsewhere')
    if (part.length > NAME_BYTES_MAX) throw invalid('a name is too long')
  }
  return parts
}

/** Reads entries from chunks of any size; holds at most one header beside the current chunk. Throws StagingError. */
export class EntryReader {
  readonly #source: AsyncIterator<Uint8Array>
  #chunk: Uint8Array = Buffer.alloc(0)
  #entries = 0
  #begun = false

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]()
  }

  /** The next entry, null at a proper end. The content of the last one must have been read. */
  async next(): Promise<Entry | null> {
    if (!this.#begun) {
      this.#begun = true
      if (!MAGIC.equals(await this.#take(MAGIC.length))) throw invalid('another format')
    }
    const head = await this.#take(FIXED)
    const type = head.readUInt8(0) as EntryType
    const size = Number(head.readBigUInt64BE(11))
    if (type === ENTRY.end) {
      if (size !== this.#entries) throw invalid('some are missing')
      return null
    }
    if (type > ENTRY.problem) throw invalid('an entry of an unknown kind')
    if (++this.#entries > ENTRIES_MAX) throw invalid(`more than ${ENTRIES_MAX} files`)
    const path = (await this.#take(head.readUInt16BE(19))).toString('latin1')
    partsOf(path)
    const most = { [ENTRY.file]: Number.MAX_SAFE_INTEGER, [ENTRY.directory]: 0, [ENTRY.link]: LINK_BYTES_MAX }[
      type as 1
    ]
    if (size > (most ?? PROBLEM_BYTES_MAX)) throw invalid('an entry is too long')
    return { type, path, mode: head.readUInt16BE(1) & 0o777, mtimeNs: head.readBigInt64BE(3), size }
  }

  /** The short content of a link or a problem. */
  async text(entry: Entry): Promise<string> {
    return (await this.#take(entry.size)).toString('latin1')
  }

  /** The content of a file, in pieces as they come. */
  async *content(entry: Entry): AsyncGenerator<Uint8Array> {
    for (let left = entry.size; left > 0; ) {
      if (this.#chunk.length === 0) await this.#more()
      const piece = this.#chunk.subarray(0, left)
      this.#chunk = this.#chunk.subarray(piece.length)
      left -= piece.length
      yield piece
    }
  }

  /** Lets the source go when the rest isn't wanted. */
  async close(): Promise<void> {
    await this.#source.return?.()
  }

  async #take(size: number): Promise<Buffer> {
    const parts: Uint8Array[] = []
    for (let left = size; left > 0; ) {
      if (this.#chunk.length === 0) await this.#more()
      const part = this.#chunk.subarray(0, left)
      this.#chunk = this.#chunk.subarray(part.length)
      left -= part.length
      parts.push(part)
    }
    return Buffer.concat(parts)
  }

  async #more(): Promise<void> {
    const { done, value } = await this.#source.next()
    if (done === true) throw invalid('the stream broke off')
    this.#chunk = value
  }
}
