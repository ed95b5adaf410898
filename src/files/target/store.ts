/**
 * Contents of homes' files that are kept on this machine's disk, by their sha256 and apart for each home. What is read is
 * verified; what can't be written is not kept, and nothing else comes of it.
 */

import { createHash, randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import { join } from 'node:path'
import type { ByteString } from '../../protocols/file/bytes.ts'
import { HASH_BYTES } from '../../protocols/file/constants.ts'
import { BLOCK_BYTES, REPLAYED_MAX, WHOLE } from './store-codec.ts'

/** Entries of all homes together, however small. */
const ENTRIES_MAX = 65_536
/** What an entry takes on a disk at least, bytes. */
const ENTRY_BYTES_MIN = 4096
/** Of the bound is left when it was reached. */
const LEFT = 0.9
/** ms for which an entry counts as used just now. */
const USED_MS = 3_600_000
/** ms without a try to write, when that failed. */
const PAUSE_MS = 60_000
/** Names that are no whole entries: what was being written when the daemon ended. */
const UNFINISHED = /^\.[0-9a-f]{16}$/
/** Of a home: directories that its last jobs listed. */
const LISTED = 'listed.json'

export class Store {
  readonly #directory: string
  #max: number
  /** Bytes by path below the directory; at most `ENTRIES_MAX`, in the order of their last use. */
  readonly #entries = new Map<string, number>()
  #bytes = 0
  #pausedUntil = 0

  /** `directory`: nobody else's; it is made. `max`: bytes. Throws what making it says. */
  constructor(directory: string, max: number) {
    this.#directory = directory
    this.#max = max
    fs.mkdirSync(directory, { recursive: true, mode: 0o700 })
    const { uid, mode } = fs.lstatSync(directory)
    const isOwn = (mode & fs.constants.S_IFMT) === fs.constants.S_IFDIR && uid === process.geteuid!()
    if (!isOwn || (mode & 0o077) !== 0) throw new Error(`${directory} is open to others`)
  }

  /** Finds what was kept before, in turns; used as soon as it is asked for, it counts from then on. */
  async count(): Promise<void> {
    const found: { path: string; bytes: number; usedMs: number }[] = []
    for (const home of namesIn(this.#directory)) {
      for (const part of namesIn(join(this.#directory, home))) {
        if (UNFINISHED.test(part)) this.#unlink(join(home, part))
        await new Promise((resolve) => setImmediate(resolve))
        for (const name of namesIn(join(this.#directory, home, part))) {
          const path = join(home, part, name)
          if (UNFINISHED.test(name)) this.#unlink(path)
          else found.push({ path, ...this.#look(path) })
        }
      }
    }
    const later = [...this.#entries]
    this.#entries.clear()
    this.#bytes = 0
    for (const { path, bytes } of found.sort((a, b) => a.usedMs - b.usedMs)) if (bytes > 0) this.#add(path, bytes)
    for (const [path, bytes] of later) this.#add(path, bytes)
    this.#trim()
  }

  #look(path: string): { bytes: number; usedMs: number } {
    try {
      const { size, mtimeMs } = fs.lstatSync(join(this.#directory, path))
      return { bytes: size, usedMs: mtimeMs }
    } catch {
      return { bytes: 0, usedMs: 0 }
    }
  }

  /** The owner decided anew. */
  resize(max: number): void {
    this.#max = max
    this.#trim()
  }

  get bytes(): number {
    return this.#bytes
  }

  /** `home`: whose it is. Undefined: it isn't kept, or was damaged and is not any more. */
  load(home: string, hash: ByteString, block: number): Uint8Array | undefined {
    if (this.#max === 0) return undefined
    const path = pathOf(home, hash, block)
    const bytes = this.#read(join(this.#directory, path))
    if (bytes === undefined) return undefined
    const data = bytes.subarray(HASH_BYTES)
    const digest = bytes.toString('latin1', 0, HASH_BYTES)
    if (digestOf(data) === digest && (block !== WHOLE || digest === hash)) {
      this.#add(path, bytes.length)
      return new Uint8Array(data)
    }
    this.#remove(path)
    return undefined
  }

  #read(path: string): Buffer | undefined {
    let fd: number | undefined
    try {
      fd = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK)
      const { size, mtimeMs } = fs.fstatSync(fd)
      const bytes = Buffer.alloc(Math.min(size, HASH_BYTES + BLOCK_BYTES))
      const count = fs.readSync(fd, bytes, 0, bytes.length, 0)
      const now = Date.now()
      if (Math.abs(now - mtimeMs) > USED_MS) fs.futimesSync(fd, now / 1000, now / 1000)
      return bytes.subarray(0, count)
    } catch {
      return undefined
    } finally {
      if (fd !== undefined) fs.closeSync(fd)
    }
  }

  /** An empty `hash`: what it holds says it, which is all of a small file. What is not what it should be is not kept. */
  save(home: string, hash: ByteString, block: number, data: Uint8Array): void {
    if (this.#max === 0 || performance.now() < this.#pausedUntil) return
    const digest = digestOf(data)
    const isWhole = block === WHOLE
    if (hash === '' ? !isWhole : isWhole && digest !== hash) return
    const path = pathOf(home, hash || digest, block)
    if (this.#entries.has(path)) return
    if (this.#write(path, [Buffer.from(digest, 'latin1'), data])) this.#add(path, HASH_BYTES + data.length)
    this.#trim()
  }

  /** A file is whole or not there, but for a crash of the machine: then its hash tells. */
  #write(path: string, parts: readonly Uint8Array[]): boolean {
    const whole = join(this.#directory, path)
    const directory = whole.slice(0, whole.lastIndexOf('/'))
    const fresh = `${directory}/.${randomBytes(8).toString('hex')}`
    try {
      fs.mkdirSync(directory, { recursive: true, mode: 0o700 })
      fs.writeFileSync(fresh, Buffer.concat(parts), { mode: 0o600, flag: 'wx' })
      fs.renameSync(fresh, whole)
      return true
    } catch {
      this.#pausedUntil = performance.now() + PAUSE_MS
      this.#unlink(fresh.slice(this.#directory.length))
      return false
    }
  }

  /** Directories that jobs of a home listed last. */
  recall(home: string): ByteString[] {
    try {
      const all: unknown = JSON.parse(fs.readFileSync(join(this.#directory, home, LISTED), 'latin1'))
      const paths = Array.isArray(all) ? all.filter((path): path is string => typeof path === 'string') : []
      return paths.slice(0, REPLAYED_MAX)
    } catch {
      return []
    }
  }

  remember(home: string, paths: readonly ByteString[]): void {
    if (this.#max > 0) this.#write(join(home, LISTED), [Buffer.from(JSON.stringify(paths), 'latin1')])
  }

  #add(path: string, bytes: number): void {
    this.#bytes += Math.max(bytes, ENTRY_BYTES_MIN) - (this.#entries.get(path) ?? 0)
    this.#entries.delete(path)
    this.#entries.set(path, Math.max(bytes, ENTRY_BYTES_MIN))
  }

  #remove(path: string): void {
    this.#bytes -= this.#entries.get(path) ?? 0
    this.#entries.delete(path)
    this.#unlink(path)
  }

  #unlink(path: string): void {
    try {
      fs.unlinkSync(join(this.#directory, path))
    } catch {
      // Somebody emptied the cache.
    }
  }

  #trim(): void {
    if (this.#bytes <= this.#max && this.#entries.size <= ENTRIES_MAX) return
    for (const oldest of this.#entries.keys()) {
      if (this.#bytes <= this.#max * LEFT && this.#entries.size <= ENTRIES_MAX * LEFT) return
      this.#remove(oldest)
    }
  }
}

function pathOf(home: string, hash: ByteString, block: number): string {
  const name = Buffer.from(hash, 'latin1').toString('hex')
  return join(home, name.slice(0, 2), block === WHOLE ? name : `${name}-${block}`)
}

function digestOf(data: Uint8Array): ByteString {
  return createHash('sha256').update(data).digest('binary')
}

function namesIn(directory: string): string[] {
  try {
    return fs.readdirSync(directory, 'latin1')
  } catch {
    return []
  }
}
