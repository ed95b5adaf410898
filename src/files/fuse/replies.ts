/** What handlers answer, and how it is written: into one buffer that is used for every reply. */

import { DIRENT_TYPE_SHIFT, NOTIFY, OUT_HEADER_BYTES } from './constants.ts'
import type { Lock, Time } from './requests.ts'

const HIGH = 0x1_0000_0000
const DIRENT_BYTES = 24
const ENTRY_BYTES = 128
/** Time-outs that never end, in seconds: 31 years. */
const FOREVER_S = 1_000_000_000
/** READDIR and READDIRPLUS may ask for a mebibyte: fewer entries at once are as good, and stay in the processor's cache. */
const DIRECTORY_BYTES = 128 * 1024

export interface Attributes {
  /** What programs see as st_ino. Below 2^53, as all numbers here. */
  readonly inode: number
  readonly size: number
  /** Of 512 bytes. */
  readonly blocks: number
  readonly accessed: Time
  readonly modified: Time
  readonly changed: Time
  /** With the file type. */
  readonly mode: number
  readonly links: number
  readonly uid: number
  readonly gid: number
  /** Of a device file, packed as MknodRequest.device. */
  readonly device: number
  /** What st_blksize advises. */
  readonly blockBytes: number
}

/** A name's answer. Each one with a node id counts as one lookup of it, until forgotten. */
export interface Entry {
  /** 0: there is no such name, and the kernel may remember that for `entryValidMs`. */
  readonly nodeid: number
  /** Tells apart the files that had one node id after each other. */
  readonly generation: number
  /** How long the name may be believed; Infinity: until it is invalidated. */
  readonly entryValidMs: number
  readonly attributesValidMs: number
  readonly attributes: Attributes
}

/** Answers "no such name", to be remembered. */
export interface NoEntry {
  readonly nodeid: 0
  readonly entryValidMs: number
}

export interface AttributesReply {
  readonly attributes: Attributes
  readonly attributesValidMs: number
}

export interface StatxReply extends AttributesReply {
  /** STATX_ bits of what is known. */
  readonly mask: number
  readonly born: Time
}

export interface Opened {
  /** Comes back with each request for the open file. */
  readonly handle: number
  /** See FOPEN. */
  readonly flags: number
}

export interface Created {
  readonly entry: Entry
  readonly opened: Opened
}

export interface Statistics {
  readonly blocks: number
  readonly freeBlocks: number
  readonly availableBlocks: number
  readonly files: number
  readonly freeFiles: number
  readonly blockBytes: number
  readonly nameBytes: number
  readonly fragmentBytes: number
}

export interface IoctlReply {
  readonly result: number
  readonly data: Uint8Array
}

/** Fills the answer to READDIR or READDIRPLUS. */
export interface DirectoryList {
  /** READDIRPLUS: entries come with their attributes. */
  readonly isPlus: boolean
  /**
   * Adds one; false: there is no room, it was not added. `offset` (above 0) is where reading goes on after it. With
   * `entry`, which READDIR leaves out, it counts as a lookup; `.` and `..` must come without.
   */
  add(name: string, inode: number, mode: number, offset: number, entry?: Entry): boolean
}

/** Called at once, within the writing of the answer. */
export type DirectoryReply = (list: DirectoryList) => void

/** One reply at a time, from `start` to the write. */
export class ReplyWriter implements DirectoryList {
  readonly bytes = Buffer.from(new ArrayBuffer(OUT_HEADER_BYTES + DIRECTORY_BYTES))
  /** Bytes of it so far. */
  length = 0
  isPlus = false
  #limit = 0
  readonly #words = new Uint32Array(this.bytes.buffer)

  /** `error`: 0 or a negative error number. */
  start(uniqueLow: number, uniqueHigh: number, error: number): void {
    this.#words[1] = error
    this.#words[2] = uniqueLow
    this.#words[3] = uniqueHigh
    this.length = OUT_HEADER_BYTES
  }

  /** Sets the length; `more` bytes follow from elsewhere. */
  finish(more = 0): void {
    this.#words[0] = this.length + more
  }

  u32(value: number): undefined {
    this.#words[this.length >>> 2] = value
    this.length += 4
  }

  /** Any integer from -2^53 to 2^53. */
  u64(value: number): undefined {
    const at = this.length >>> 2
    // What a typed array stores is the number modulo 2^32, exactly so for integers of this range.
    this.#words[at] = value
    this.#words[at + 1] = Math.floor(value / HIGH)
    this.length += 8
  }

  big(value: bigint): void {
    this.u32(Number(value & 0xffff_ffffn))
    this.u32(Number((value >> 32n) & 0xffff_ffffn))
  }

  /** `data` must have room. */
  data(data: Uint8Array): void {
    this.bytes.set(data, this.length)
    this.length += data.length
  }

  entry(entry: Entry | NoEntry): undefined {
    this.u64(entry.nodeid)
    if (!('attributes' in entry)) {
      this.u64(0)
      this.#valid(entry.entryValidMs, 0)
      this.#zero(88)
      return undefined
    }
    this.u64(entry.generation)
    this.#valid(entry.entryValidMs, entry.attributesValidMs)
    this.#attributes(entry.attributes)
  }

  #valid(entryMs: number, attributesMs: number): void {
    this.u64(seconds(entryMs))
    this.u64(seconds(attributesMs))
    this.u32(nanoseconds(entryMs))
    this.u32(nanoseconds(attributesMs))
  }

  #attributes(a: Attributes): void {
    this.u64(a.inode)
    this.u64(a.size)
    this.u64(a.blocks)
    this.u64(a.accessed.s)
    this.u64(a.modified.s)
    this.u64(a.changed.s)
    this.u32(a.accessed.ns)
    this.u32(a.modified.ns)
    this.u32(a.changed.ns)
    this.u32(a.mode)
    this.u32(a.links)
    this.u32(a.uid)
    this.u32(a.gid)
    this.u32(a.device)
    this.u32(a.blockBytes)
    this.u32(0)
  }

  #zero(bytes: number): void {
    this.#words.fill(0, this.length >>> 2, (this.length + bytes) >>> 2)
    this.length += bytes
  }

  attributes(reply: AttributesReply): undefined {
    this.u64(seconds(reply.attributesValidMs))
    this.u32(nanoseconds(reply.attributesValidMs))
    this.u32(0)
    this.#attributes(reply.attributes)
  }

  statx(reply: StatxReply): undefined {
    const a = reply.attributes
    this.u64(seconds(reply.attributesValidMs))
    this.u32(nanoseconds(reply.attributesValidMs))
    this.#zero(4 + 16)
    this.u32(reply.mask)
    this.u32(a.blockBytes)
    this.u64(0)
    this.u32(a.links)
    this.u32(a.uid)
    this.u32(a.gid)
    this.u32(a.mode & 0xffff)
    this.u64(a.inode)
    this.u64(a.size)
    this.u64(a.blocks)
    this.u64(0)
    for (const time of [a.accessed, reply.born, a.changed, a.modified]) {
      this.u64(time.s)
      this.u32(time.ns)
      this.u32(0)
    }
    this.u32((a.device >>> 8) & 0xfff)
    this.u32((a.device & 0xff) | ((a.device >>> 12) & 0xfff00))
    this.#zero(8 + 14 * 8)
  }

  opened(opened: Opened): undefined {
    this.u64(opened.handle)
    this.u32(opened.flags)
    this.u32(0)
  }

  statistics(s: Statistics): undefined {
    this.u64(s.blocks)
    this.u64(s.freeBlocks)
    this.u64(s.availableBlocks)
    this.u64(s.files)
    this.u64(s.freeFiles)
    this.u32(s.blockBytes)
    this.u32(s.nameBytes)
    this.u32(s.fragmentBytes)
    this.#zero(4 + 6 * 4)
  }

  lock(lock: Lock): undefined {
    this.big(lock.start)
    this.big(lock.end)
    this.u32(lock.type)
    this.u32(lock.pid)
  }

  directory(fill: DirectoryReply, isPlus: boolean, size: number): undefined {
    this.isPlus = isPlus
    this.#limit = Math.min(this.bytes.length, this.length + size)
    fill(this)
    this.#limit = 0
  }

  add(name: string, inode: number, mode: number, offset: number, entry?: Entry): boolean {
    const before = this.isPlus ? ENTRY_BYTES + DIRENT_BYTES : DIRENT_BYTES
    const end = this.length + ((before + name.length + 7) & ~7)
    if (end > this.#limit) return false
    if (this.isPlus) {
      if (entry === undefined) this.#zero(ENTRY_BYTES)
      else this.entry(entry)
    }
    this.u64(inode)
    this.u64(offset)
    this.u32(name.length)
    this.u32(mode >>> DIRENT_TYPE_SHIFT)
    // The padding: no byte of an earlier reply leaves.
    this.#words.fill(0, (end >>> 2) - 2, end >>> 2)
    this.bytes.write(name, this.length, 'latin1')
    this.length = end
    return true
  }
}

function seconds(ms: number): number {
  return ms === Number.POSITIVE_INFINITY ? FOREVER_S : Math.floor(ms / 1000)
}

function nanoseconds(ms: number): number {
  return ms === Number.POSITIVE_INFINITY ? 0 : Math.floor((ms % 1000) * 1e6)
}

/** A message that answers nothing: a header without a request, its code, and what follows. */
function notification(code: number, body: number, name?: string): Buffer {
  const length = OUT_HEADER_BYTES + body + (name === undefined ? 0 : name.length + 1)
  const bytes = Buffer.alloc(length)
  bytes.writeUInt32LE(length, 0)
  bytes.writeInt32LE(code, 4)
  if (name !== undefined) bytes.write(name, OUT_HEADER_BYTES + body, 'latin1')
  return bytes
}

function writeU64(bytes: Buffer, value: number, offset: number): void {
  bytes.writeUInt32LE(value % HIGH, offset)
  bytes.writeUInt32LE(Math.floor(value / HIGH), offset + 4)
}

/** Attributes are forgotten, and pages from `offset` (negative: none) on, `length` bytes or, with 0, all. */
export function invalidateInode(nodeid: number, offset: number, length: number): Buffer {
  const bytes = notification(NOTIFY.invalidateInode, 24)
  writeU64(bytes, nodeid, 16)
  bytes.writeBigInt64LE(BigInt(offset), 24)
  bytes.writeBigInt64LE(BigInt(length), 32)
  return bytes
}

/** `flags`: 0 or EXPIRE_ONLY. */
export function invalidateEntry(parent: number, name: string, flags: number): Buffer {
  const bytes = notification(NOTIFY.invalidateEntry, 16, name)
  writeU64(bytes, parent, 16)
  bytes.writeUInt32LE(name.length, 24)
  bytes.writeUInt32LE(flags, 28)
  return bytes
}

/** Like invalidateEntry, and whoever watches the directory in the mount is told that the name is gone. */
export function deleteEntry(parent: number, child: number, name: string): Buffer {
  const bytes = notification(NOTIFY.delete, 24, name)
  writeU64(bytes, parent, 16)
  writeU64(bytes, child, 24)
  bytes.writeUInt32LE(name.length, 32)
  return bytes
}
