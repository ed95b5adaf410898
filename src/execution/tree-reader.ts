/**
 * Reads a tree into the form of stage-codec.ts. What is below the base is entered through open directories and never
 * through a link, so that a guest's links can't make the daemon read what the guest could not.
 */

import { type BigIntStats, constants } from 'node:fs'
import { type FileHandle, lstat, open, readdir, readlink, stat } from 'node:fs/promises'
import {
  DEPTH_MAX,
  ENTRIES_MAX,
  ENTRY,
  type Entry,
  encodeEntry,
  LINK_BYTES_MAX,
  PATH_BYTES_MAX
} from './stage-codec.ts'

const { O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants

/** Bytes read at once; also about what one piece of output has. */
const PIECE = 256 * 1024

/** Why an entry can't be staged, in words that follow its name; `partly` when some of its content is on its way. */
export class Unreadable extends Error {
  readonly path: string
  readonly partly: boolean

  constructor(path: string, reason: string, partly = false) {
    super(reason)
    this.path = path
    this.partly = partly
  }
}

const REASONS: Record<string, string> = {
  ENOENT: 'there is no such file',
  ENOTDIR: 'there is no such file',
  ELOOP: 'it can only be reached through a symbolic link',
  EACCES: 'permission denied',
  EPERM: 'permission denied'
}

/** The same from an error of the file system. */
export function unreadable(path: string, error: unknown): Unreadable {
  if (error instanceof Unreadable) return error
  const { code, message } = error as NodeJS.ErrnoException
  return new Unreadable(path, REASONS[code ?? ''] ?? message)
}

function inside(handle: FileHandle, name: string): Buffer {
  return Buffer.concat([Buffer.from(`/proc/self/fd/${handle.fd}/`), Buffer.from(name, 'latin1')])
}

function kindOf(stats: BigIntStats): string {
  if (stats.isSocket()) return 'a socket'
  if (stats.isFIFO()) return 'a FIFO'
  return 'a device'
}

/** What to do with sockets, FIFOs and devices: name the first, or leave them out. */
export type Others = 'refuse' | 'skip'

/** One thing to read: an open directory, the name in it, and the path it gets. */
export interface Start {
  parent: FileHandle
  name: string
  path: string
  /** Enter a link of that name rather than send it; only for what the reader's own user named. */
  follow: boolean
}

export class TreeReader {
  readonly #others: Others
  /** False: only look whether all could be read. */
  readonly #content: boolean
  entries = 0
  bytes = 0

  constructor(others: Others, content: boolean) {
    this.#others = others
    this.#content = content
  }

  /** The encoded entries of a tree. Throws Unreadable with the path of what can't be staged. */
  async *read({ parent, name, path, follow }: Start, depth = 0): AsyncGenerator<Uint8Array> {
    const full = inside(parent, name)
    try {
      const stats = await (follow ? stat(full, { bigint: true }) : lstat(full, { bigint: true }))
      if (stats.isSymbolicLink()) return yield* this.#link(full, path, stats)
      if (!stats.isFile() && !stats.isDirectory()) return this.#special(path, stats)
      // It may be another thing by now: never wait for a FIFO's writer, never go through a link unless asked.
      const handle = await open(full, O_RDONLY | O_NONBLOCK | (follow ? 0 : O_NOFOLLOW))
      try {
        const found = await handle.stat({ bigint: true })
        if (found.isDirectory()) yield* this.#directory(handle, path, found, depth)
        else if (found.isFile()) yield* this.#file(handle, path, found)
        else this.#special(path, found)
      } finally {
        await handle.close()
      }
    } catch (error) {
      throw unreadable(path, error)
    }
  }

  /** The entries in a directory, without one for itself. */
  async *children(handle: FileHandle, path: string, depth: number): AsyncGenerator<Uint8Array> {
    if (depth > DEPTH_MAX) throw new Unreadable(path, `it is deeper than ${DEPTH_MAX} directories`)
    const names = await readdir(`/proc/self/fd/${handle.fd}`, { encoding: 'buffer' })
    for (const name of names.map((bytes) => bytes.toString('latin1')).sort()) {
      yield* this.read({ parent: handle, name, path: path === '' ? name : `${path}/${name}`, follow: false }, depth + 1)
    }
  }

  async *#directory(handle: FileHandle, path: string, stats: BigIntStats, depth: number): AsyncGenerator<Uint8Array> {
    yield this.#entry(ENTRY.directory, path, stats, 0)
    yield* this.children(handle, path, depth)
  }

  async *#file(handle: FileHandle, path: string, stats: BigIntStats): AsyncGenerator<Uint8Array> {
    const size = Number(stats.size)
    yield this.#entry(ENTRY.file, path, stats, size)
    if (!this.#content) return
    for (let left = size; left > 0; ) {
      const piece = Buffer.allocUnsafeSlow(Math.min(PIECE, left))
      const { bytesRead } = await handle.read(piece, 0, piece.length, null)
      if (bytesRead === 0) throw new Unreadable(path, 'it became shorter while it was read', true)
      left -= bytesRead
      yield piece.subarray(0, bytesRead)
    }
  }

  async *#link(full: Buffer, path: string, stats: BigIntStats): AsyncGenerator<Uint8Array> {
    const target = await readlink(full, { encoding: 'buffer' })
    if (target.length > LINK_BYTES_MAX) throw new Unreadable(path, 'its target is too long')
    yield this.#entry(ENTRY.link, path, stats, target.length)
    yield target
  }

  #entry(type: Entry['type'], path: string, stats: BigIntStats, size: number): Buffer {
    if (++this.entries > ENTRIES_MAX) throw new Unreadable(path, `there are more than ${ENTRIES_MAX} files`)
    if (path.length > PATH_BYTES_MAX) throw new Unreadable(path, 'its path is too long')
    this.bytes += size
    return encodeEntry({ type, path, mode: Number(stats.mode), mtimeNs: stats.mtimeNs, size })
  }

  #special(path: string, stats: BigIntStats): void {
    if (this.#others === 'refuse') throw new Unreadable(path, `it is ${kindOf(stats)}`)
  }
}

/** Opens the directory in which `path` lies, part by part from `base`, never through a link. */
export async function openParent(base: string, parts: readonly string[]): Promise<FileHandle> {
  let handle = await open(base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
  for (const part of parts.slice(0, -1)) {
    const next = open(inside(handle, part), O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
    handle = await next.finally(() => handle.close())
  }
  return handle
}

/** Joins small pieces, so that a tree of small files doesn't become as many messages; lets large ones pass. */
export async function* joined(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let small: Uint8Array[] = []
  let size = 0
  for await (const piece of source) {
    if (piece.length < PIECE / 4 && size + piece.length < PIECE) {
      small.push(piece)
      size += piece.length
      continue
    }
    if (size > 0) yield Buffer.concat(small)
    small = []
    size = 0
    yield piece
  }
  if (size > 0) yield Buffer.concat(small)
}
