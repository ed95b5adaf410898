/**
 * What programs ask of a mounted file system, decoded. Names, link targets and attribute names are strings of one
 * character per byte (latin1), so they are exact, outlive the frame, and are keys of maps as they are.
 */

import { FATTR, FSYNC_DATA_ONLY, GETATTR_HANDLE, LOCK_FLOCK, RELEASE, WRITE_HEADER_BYTES } from './constants.ts'
import type { Frame } from './frame.ts'

/** Seconds since 1970, negative before, and nanoseconds 0 to 999,999,999. */
export interface Time {
  readonly s: number
  readonly ns: number
}

/** What every request says. */
export class Request {
  readonly opcode: number
  /** Names the request towards the kernel; echoed in its two words, whatever they are. */
  readonly uniqueLow: number
  readonly uniqueHigh: number
  readonly nodeid: number
  /** Of the program that asks, in the user namespace of the mount. */
  readonly uid: number
  readonly gid: number
  /** 0 where the kernel asks for itself, or the program is outside the PID namespace of the mount. */
  readonly pid: number
  #controller: AbortController | undefined
  #interrupted = false

  constructor(frame: Frame) {
    this.opcode = frame.opcode
    this.uniqueLow = frame.u32(8)
    this.uniqueHigh = frame.u32(12)
    this.nodeid = frame.u64(16)
    this.uid = frame.u32(24)
    this.gid = frame.u32(28)
    this.pid = frame.u32(32)
  }

  /** Aborted when a signal interrupts the program, the deadline has passed or the mount ends. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#interrupted) this.#controller.abort()
    }
    return this.#controller.signal
  }

  /** The session's: the answer is no longer waited for. */
  interrupt(): void {
    this.#interrupted = true
    this.#controller?.abort()
  }
}

/** LOOKUP, UNLINK, RMDIR, REMOVEXATTR. The kernel lets through names of more than 255 bytes: ENAMETOOLONG is the handler's. */
export class NameRequest extends Request {
  readonly name: string

  constructor(frame: Frame) {
    super(frame)
    this.name = frame.name(40)
  }
}

export class GetattrRequest extends Request {
  /** Of an open file, where the kernel has one at hand. */
  readonly handle: number | undefined

  constructor(frame: Frame) {
    super(frame)
    this.handle = frame.u32(40) & GETATTR_HANDLE ? frame.u64(48) : undefined
  }
}

export class StatxRequest extends GetattrRequest {
  readonly flags: number
  readonly mask: number

  constructor(frame: Frame) {
    super(frame)
    this.flags = frame.u32(56)
    this.mask = frame.u32(60)
  }
}

/** What is undefined stays as it is. */
export class SetattrRequest extends Request {
  readonly mode: number | undefined
  readonly owner: number | undefined
  readonly group: number | undefined
  readonly size: number | undefined
  readonly accessed: Time | 'now' | undefined
  readonly modified: Time | 'now' | undefined
  /** Only with `writebackCache`, where the kernel keeps the times. */
  readonly changed: Time | undefined
  readonly handle: number | undefined
  /** Set-user-ID and set-group-ID are to be cleared: only with `killPrivileges`. */
  readonly killPrivileges: boolean

  constructor(frame: Frame) {
    super(frame)
    const valid = frame.u32(40)
    this.handle = valid & FATTR.handle ? frame.u64(48) : undefined
    this.size = valid & FATTR.size ? frame.u64(56) : undefined
    this.accessed = valid & FATTR.atimeNow ? 'now' : valid & FATTR.atime ? time(frame, 72, 96) : undefined
    this.modified = valid & FATTR.mtimeNow ? 'now' : valid & FATTR.mtime ? time(frame, 80, 100) : undefined
    this.changed = valid & FATTR.ctime ? time(frame, 88, 104) : undefined
    this.mode = valid & FATTR.mode ? frame.u32(108) : undefined
    this.owner = valid & FATTR.uid ? frame.u32(116) : undefined
    this.group = valid & FATTR.gid ? frame.u32(120) : undefined
    this.killPrivileges = (valid & FATTR.killSuidgid) !== 0
  }
}

function time(frame: Frame, seconds: number, nanoseconds: number): Time {
  return { s: frame.i64(seconds), ns: frame.u32(nanoseconds) }
}

export class SymlinkRequest extends Request {
  readonly name: string
  readonly target: string

  constructor(frame: Frame) {
    super(frame)
    this.name = frame.name(40)
    this.target = frame.name(40 + this.name.length + 1)
  }
}

export class MknodRequest extends Request {
  /** With the file type; the umask is already applied. */
  readonly mode: number
  /** As the kernel packs it: minor 0–7 and 20–31, major 8–19. */
  readonly device: number
  readonly umask: number
  readonly name: string

  constructor(frame: Frame) {
    super(frame)
    this.mode = frame.u32(40)
    this.device = frame.u32(44)
    this.umask = frame.u32(48)
    this.name = frame.name(56)
  }
}

export class MkdirRequest extends Request {
  readonly mode: number
  readonly umask: number
  readonly name: string

  constructor(frame: Frame) {
    super(frame)
    this.mode = frame.u32(40)
    this.umask = frame.u32(44)
    this.name = frame.name(48)
  }
}

/** RENAME and RENAME2. `nodeid` is the directory of `name`. */
export class RenameRequest extends Request {
  readonly newParent: number
  /** RENAME_NOREPLACE 1, RENAME_EXCHANGE 2, RENAME_WHITEOUT 4. */
  readonly flags: number
  readonly name: string
  readonly newName: string

  constructor(frame: Frame, names: number) {
    super(frame)
    this.newParent = frame.u64(40)
    this.flags = names === 48 ? 0 : frame.u32(48)
    this.name = frame.name(names)
    this.newName = frame.name(names + this.name.length + 1)
  }
}

/** Makes the node `existing` known as `name` in the directory `nodeid` too. */
export class LinkRequest extends Request {
  readonly existing: number
  readonly name: string

  constructor(frame: Frame) {
    super(frame)
    this.existing = frame.u64(40)
    this.name = frame.name(48)
  }
}

/** OPEN and OPENDIR. */
export class OpenRequest extends Request {
  /** Those of open(2), without O_CREAT, O_EXCL and O_NOCTTY; O_TRUNC is the handler's to do. */
  readonly flags: number
  /** OPEN_KILL_SUIDGID: only with `killPrivileges`. */
  readonly openFlags: number

  constructor(frame: Frame) {
    super(frame)
    this.flags = frame.u32(40)
    this.openFlags = frame.u32(44)
  }
}

/** CREATE: makes and opens. TMPFILE: the same, without a name that lasts. */
export class CreateRequest extends Request {
  readonly flags: number
  readonly mode: number
  readonly umask: number
  readonly openFlags: number
  readonly name: string

  constructor(frame: Frame) {
    super(frame)
    this.flags = frame.u32(40)
    this.mode = frame.u32(44)
    this.umask = frame.u32(48)
    this.openFlags = frame.u32(52)
    this.name = frame.name(56)
  }
}

/** READ, READDIR and READDIRPLUS. */
export class ReadRequest extends Request {
  readonly handle: number
  /** Of a directory: the `offset` that was given with the last entry read, 0 at the start. */
  readonly offset: number
  readonly size: number
  /** O_ flags of the open file. */
  readonly flags: number

  constructor(frame: Frame) {
    super(frame)
    this.handle = frame.u64(40)
    this.offset = frame.u64(48)
    this.size = frame.u32(56)
    this.flags = frame.u32(72)
  }
}

/** Data that stays until `release` is called, which must happen once it was used. */
export interface Kept {
  readonly data: Buffer
  release(): void
}

export class WriteRequest extends Request {
  readonly handle: number
  readonly offset: number
  /** See WRITE_FLAGS. */
  readonly writeFlags: number
  readonly flags: number
  /** Where the kernel wrote it: valid only until the handler returns, promise or not. See `keep`. */
  readonly data: Buffer
  readonly #keep: (data: Buffer) => Kept

  constructor(frame: Frame, keep: (data: Buffer) => Kept) {
    super(frame)
    this.handle = frame.u64(40)
    this.offset = frame.u64(48)
    this.writeFlags = frame.u32(60)
    this.flags = frame.u32(72)
    this.data = frame.data(WRITE_HEADER_BYTES, frame.u32(56))
    this.#keep = keep
  }

  /**
   * The data for longer than the handler runs; to be called while it does. Little data is copied; much is left where
   * it is and the next request is read elsewhere, until `release`.
   */
  keep(): Kept {
    return this.#keep(this.data)
  }
}

/** RELEASE and RELEASEDIR. */
export class ReleaseRequest extends Request {
  readonly handle: number
  readonly flags: number
  /** Whose flock(2) lock on this open file ends with it; undefined: there is none. */
  readonly unlock: bigint | undefined

  constructor(frame: Frame) {
    super(frame)
    this.handle = frame.u64(40)
    this.flags = frame.u32(48)
    this.unlock = frame.u32(52) & RELEASE.flockUnlock ? frame.big(56) : undefined
  }
}

/** FSYNC and FSYNCDIR. */
export class FsyncRequest extends Request {
  readonly handle: number
  readonly dataOnly: boolean

  constructor(frame: Frame) {
    super(frame)
    this.handle = frame.u64(40)
    this.dataOnly = (frame.u32(48) & FSYNC_DATA_ONLY) !== 0
  }
}

/** One for each close(2) of a descriptor. */
export class FlushRequest extends Request {
  readonly handle: number
  /** Whose byte-range locks on the file end now. */
  readonly lockOwner: bigint

  constructor(frame: Frame) {
    super(frame)
    this.handle = frame.u64(40)
    this.lockOwner = frame.big(56)
  }
}

export class SetxattrRequest extends Request {
  /** XATTR_CREATE 1, XATTR_REPLACE 2. */
  readonly flags: number
  readonly name: string
  /** A copy. */
  readonly value: Buffer

  constructor(frame: Frame) {
    super(frame)
    this.flags = frame.u32(44)
    this.name = frame.name(48)
    this.value = Buffer.from(frame.data(48 + this.name.length + 1, frame.u32(40)))
  }
}

/** The session sees to the size that the program has room for: the handler gives the whole value. */
export class GetxattrRequest extends Request {
  readonly size: number
  readonly name: string

  constructor(frame: Frame) {
    super(frame)
    this.size = frame.u32(40)
    this.name = frame.name(48)
  }
}

export class ListxattrRequest extends Request {
  readonly size: number

  constructor(frame: Frame) {
    super(frame)
    this.size = frame.u32(40)
  }
}

/** First and last byte; the last one possible, 2^63 - 1, stands for the end of the file wherever that comes to be. */
export interface Lock {
  readonly start: bigint
  readonly end: bigint
  /** F_RDLCK 0, F_WRLCK 1, F_UNLCK 2. */
  readonly type: number
  readonly pid: number
}

/** GETLK, SETLK, and SETLKW, which waits. */
export class LockRequest extends Request {
  readonly handle: number
  readonly owner: bigint
  readonly lock: Lock
  /** A lock of flock(2) on the whole file, not one of fcntl(2). */
  readonly isFlock: boolean

  constructor(frame: Frame) {
    super(frame)
    this.handle = frame.u64(40)
    this.owner = frame.big(48)
    this.lock = { start: frame.big(56), end: frame.big(64), type: frame.u32(72), pid: frame.u32(76) }
    this.isFlock = (frame.u32(80) & LOCK_FLOCK) !== 0
  }
}

export class AccessRequest extends Request {
  /** R_OK 4, W_OK 2, X_OK 1. */
  readonly mask: number

  constructor(frame: Frame) {
    super(frame)
    this.mask = frame.u32(40)
  }
}

export class BmapRequest extends Request {
  readonly block: number
  readonly blockBytes: number

  constructor(frame: Frame) {
    super(frame)
    this.block = frame.u64(40)
    this.blockBytes = frame.u32(48)
  }
}

export class IoctlRequest extends Request {
  readonly handle: number
  readonly flags: number
  readonly command: number
  readonly argument: bigint
  /** A copy. */
  readonly input: Buffer
  /** Room for the answer's data. */
  readonly outputBytes: number

  constructor(frame: Frame) {
    super(frame)
    this.handle = frame.u64(40)
    this.flags = frame.u32(48)
    this.command = frame.u32(52)
    this.argument = frame.big(56)
    this.input = Buffer.from(frame.data(72, frame.u32(64)))
    this.outputBytes = frame.u32(68)
  }
}

export class PollRequest extends Request {
  readonly handle: number
  readonly flags: number
  readonly events: number

  constructor(frame: Frame) {
    super(frame)
    this.handle = frame.u64(40)
    this.flags = frame.u32(56)
    this.events = frame.u32(60)
  }
}

export class FallocateRequest extends Request {
  readonly handle: number
  readonly offset: number
  readonly length: number
  /** FALLOC_FL_KEEP_SIZE 1, FALLOC_FL_PUNCH_HOLE 2, FALLOC_FL_ZERO_RANGE 16. */
  readonly mode: number

  constructor(frame: Frame) {
    super(frame)
    this.handle = frame.u64(40)
    this.offset = frame.u64(48)
    this.length = frame.u64(56)
    this.mode = frame.u32(64)
  }
}

export class LseekRequest extends Request {
  readonly handle: number
  readonly offset: number
  /** SEEK_DATA 3, SEEK_HOLE 4. */
  readonly whence: number

  constructor(frame: Frame) {
    super(frame)
    this.handle = frame.u64(40)
    // Negative ones too: what the system call answers where there is no data.
    this.offset = frame.u64(48, 'ENXIO')
    this.whence = frame.u32(56)
  }
}

/** As read(2) and write(2): two gibibytes less a page. The older form of the answer has no room for more than 32 bits. */
const COPY_BYTES = 0x7fff_f000n

/** COPY_FILE_RANGE and its 64-bit successor. `nodeid` and `handle` are the source's. */
export class CopyFileRangeRequest extends Request {
  readonly handle: number
  readonly offset: number
  readonly toNodeid: number
  readonly toHandle: number
  readonly toOffset: number
  /** At most COPY_BYTES of what was asked for: fewer bytes may always be copied. */
  readonly length: number
  readonly flags: number

  constructor(frame: Frame) {
    super(frame)
    this.handle = frame.u64(40)
    this.offset = frame.u64(48)
    this.toNodeid = frame.u64(56)
    this.toHandle = frame.u64(64)
    this.toOffset = frame.u64(72)
    this.length = Number(frame.big(80) > COPY_BYTES ? COPY_BYTES : frame.big(80))
    this.flags = frame.u32(88)
  }
}

export interface Forget {
  readonly nodeid: number
  /** Lookups that the kernel takes back: entries answered, one each. */
  readonly count: number
}

/** FORGET and BATCH_FORGET. */
export function forgets(frame: Frame, isBatch: boolean): Forget[] {
  if (!isBatch) return [{ nodeid: frame.u64(16), count: frame.u64(40) }]
  const count = frame.u32(40)
  frame.data(48, count * 16)
  return Array.from({ length: count }, (_, i) => ({ nodeid: frame.u64(48 + i * 16), count: frame.u64(56 + i * 16) }))
}

/** What the kernel offers in its first request. */
export interface Offer {
  readonly major: number
  readonly minor: number
  readonly maxReadahead: number
  readonly flags: number
  /** The high 32 bits; 0 before 7.36. */
  readonly flags2: number
}

export function offer(frame: Frame): Offer {
  return {
    major: frame.u32(40),
    minor: frame.u32(44),
    maxReadahead: frame.u32(48),
    flags: frame.u32(52),
    flags2: frame.length >= 60 ? frame.u32(56) : 0
  }
}

/** The two words that name the request which an INTERRUPT is about. */
export function interrupted(frame: Frame): { low: number; high: number } {
  return { low: frame.u32(40), high: frame.u32(44) }
}
