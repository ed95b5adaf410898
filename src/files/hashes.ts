/**
 * What files hold, by sha256, remembered as long as they are as they were: by their numbers, size and times. A file that
 * changed a moment ago may change again without another time, or by a mapping whose time comes later: it is not remembered.
 * Kept in a file of equal records, to which several threads may append.
 */

import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import { dirname } from 'node:path'
import { crc32 } from 'node:zlib'
import type { ByteString } from '../protocols/file/bytes.ts'

/** A file of each system that was used, and the sources of large projects. */
const HASHES_MAX = 65_536
/** ms after which a change has its time: what a mapping changes has it when the kernel has written it, by default 35 s later. */
const SETTLED_MS = 60_000
/** Bytes that are hashed before others have their turn: about a millisecond. */
const SLICE_BYTES = 1024 * 1024
/** Device, inode, size, both times, hash, and a checksum of all that. */
const RECORD_BYTES = 76
const CHECKED_BYTES = 72

/** By which a file that has changed is told from what it was; times in ns. */
export interface Identity {
  device: bigint
  inode: bigint
  size: bigint
  modified: bigint
  changed: bigint
}

export function identityOf(stats: fs.BigIntStats): Identity {
  const { dev, ino, size, mtimeNs, ctimeNs } = stats
  return { device: dev, inode: ino, size, modified: mtimeNs, changed: ctimeNs }
}

export function isSameIdentity(a: Identity, b: Identity): boolean {
  return (
    a.device === b.device &&
    a.inode === b.inode &&
    a.size === b.size &&
    a.modified === b.modified &&
    a.changed === b.changed
  )
}

interface Remembered extends Identity {
  hash: ByteString
}

export class Hashes {
  readonly #path: string | undefined
  readonly #now: () => number
  /** By device and inode; at most `HASHES_MAX`, in the order in which they were found. */
  readonly #known = new Map<string, Remembered>()
  /** Those under way; as many as there are callers. */
  readonly #hashing = new Map<string, Promise<ByteString | undefined>>()

  /** `path`: where they are kept; without one, and where that fails, they are known as long as this lives. */
  constructor(path?: string, now: () => number = Date.now) {
    this.#path = path
    this.#now = now
    if (path !== undefined) this.#load(path)
  }

  get(stats: fs.BigIntStats): ByteString | undefined {
    // Most files of a directory were never used.
    if (this.#known.size === 0) return undefined
    const known = this.#known.get(keyOf(stats.dev, stats.ino))
    return known !== undefined && isSameIdentity(known, identityOf(stats)) ? known.hash : undefined
  }

  isSettled({ mtimeMs, ctimeMs }: fs.BigIntStats): boolean {
    const limit = BigInt(Math.floor(this.#now())) - BigInt(SETTLED_MS)
    return mtimeMs < limit && ctimeMs < limit
  }

  /** Of an open regular file, read in turns; undefined: it changes. Throws what reading says. */
  hash(fd: number): Promise<ByteString | undefined> {
    const stats = fs.fstatSync(fd, { bigint: true })
    const known = this.get(stats)
    if (known !== undefined) return Promise.resolve(known)
    if (!this.isSettled(stats)) return Promise.resolve(undefined)
    const key = keyOf(stats.dev, stats.ino)
    let hashing = this.#hashing.get(key)
    if (hashing === undefined) {
      hashing = this.#read(fd, identityOf(stats)).finally(() => this.#hashing.delete(key))
      this.#hashing.set(key, hashing)
    }
    return hashing
  }

  async #read(given: number, before: Identity): Promise<ByteString | undefined> {
    // Whoever opened it may close it meanwhile.
    const fd = fs.openSync(`/proc/self/fd/${given}`, fs.constants.O_RDONLY)
    try {
      const hash = createHash('sha256')
      const slice = Buffer.allocUnsafe(Math.min(SLICE_BYTES, Number(before.size) + 1))
      for (let offset = 0; ; ) {
        const count = fs.readSync(fd, slice, 0, slice.length, offset)
        if (count === 0) break
        hash.update(slice.subarray(0, count))
        offset += count
        if (offset < before.size) await new Promise((resolve) => setImmediate(resolve))
      }
      const digest = hash.digest('binary')
      const after = identityOf(fs.fstatSync(fd, { bigint: true }))
      if (!isSameIdentity(before, after)) return undefined
      this.#remember({ ...after, hash: digest })
      return digest
    } finally {
      fs.closeSync(fd)
    }
  }

  #remember(file: Remembered): void {
    this.#set(file)
    if (this.#path === undefined) return
    try {
      fs.appendFileSync(this.#path, recordOf(file), { mode: 0o600 })
    } catch {
      // A full disk: it is found again next time.
    }
  }

  #set(file: Remembered): void {
    const key = keyOf(file.device, file.inode)
    this.#known.delete(key)
    this.#known.set(key, file)
    if (this.#known.size > HASHES_MAX) this.#known.delete(this.#known.keys().next().value!)
  }

  #load(path: string): void {
    try {
      fs.mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
      const bytes = fs.readFileSync(path, { flag: fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW })
      for (let at = 0; at + RECORD_BYTES <= bytes.length; at += RECORD_BYTES) {
        const file = rememberedIn(bytes.subarray(at, at + RECORD_BYTES))
        if (file) this.#set(file)
      }
      const torn = bytes.length % RECORD_BYTES !== 0
      if (torn || bytes.length > 2 * HASHES_MAX * RECORD_BYTES) this.#rewrite(path)
    } catch {
      // There is none yet, or none that can be read.
    }
  }

  /** Whoever appends to the one before loses that: it is found again. */
  #rewrite(path: string): void {
    const fresh = `${path}.${process.pid}.${process.hrtime.bigint()}`
    try {
      fs.writeFileSync(fresh, Buffer.concat([...this.#known.values()].map(recordOf)), { mode: 0o600, flag: 'wx' })
      fs.renameSync(fresh, path)
    } catch {
      fs.rmSync(fresh, { force: true })
    }
  }
}

function keyOf(device: bigint, inode: bigint): string {
  return `${device}:${inode}`
}

function recordOf({ device, inode, size, modified, changed, hash }: Remembered): Buffer {
  const record = Buffer.alloc(RECORD_BYTES)
  for (const [index, value] of [device, inode, size].entries()) record.writeBigUInt64BE(value, index * 8)
  record.writeBigInt64BE(modified, 24)
  record.writeBigInt64BE(changed, 32)
  record.write(hash, 40, 'latin1')
  record.writeUInt32BE(crc32(record.subarray(0, CHECKED_BYTES)), CHECKED_BYTES)
  return record
}

/** Undefined: it is damaged. */
function rememberedIn(record: Buffer): Remembered | undefined {
  if (record.readUInt32BE(CHECKED_BYTES) !== crc32(record.subarray(0, CHECKED_BYTES))) return undefined
  return {
    device: record.readBigUInt64BE(0),
    inode: record.readBigUInt64BE(8),
    size: record.readBigUInt64BE(16),
    modified: record.readBigInt64BE(24),
    changed: record.readBigInt64BE(32),
    hash: record.toString('latin1', 40, CHECKED_BYTES)
  }
}
