/** INIT: what both sides can, and what the file system wants of it. */

import { INIT, INIT2, OLDEST_MINOR, PROTOCOL_MAJOR, PROTOCOL_MINOR } from './constants.ts'
import type { FileSystemOperations } from './operations.ts'
import type { ReplyWriter } from './replies.ts'
import type { Offer } from './requests.ts'

/** The kernel counts in its own pages; where they are larger, requests may be so many times larger. */
const PAGE_BYTES = 4096
const NANOSECOND = 1

export interface Capabilities {
  /** Requests that nobody waits for (read-ahead, asynchronous writes), at a time: at least 1, at most 65,535. */
  readonly maxBackground: number
  /** fcntl(2) locks come to getlk, setlk and setlkw; else the kernel keeps them among the mount's own programs. */
  readonly posixLocks: boolean
  /** flock(2) locks likewise. */
  readonly flockLocks: boolean
  /** `auto`: a changed size or time drops cached pages; `explicit`: only a notification does. */
  readonly invalidation: 'auto' | 'explicit'
  /** `auto`: with attributes where the program seems to want them (`ls -l`). */
  readonly readdirplus: 'always' | 'auto' | 'never'
  /** Only while nobody else changes the files. */
  readonly writebackCache: boolean
  /** Targets of links are cached until invalidated. */
  readonly cacheSymlinks: boolean
  /** Handlers clear set-user-ID and capabilities at write, chown and truncate; else the kernel asks for them each time. */
  readonly killPrivileges: boolean
  /**
   * Seconds, a multiple of 15, after which a kernel since 6.15 ends the whole mount when one request has no answer (it looks
   * every 15), so that a server that hangs, or was killed while a notification waited for a lock, takes nobody with it; 0:
   * never. Locks that are waited for count too.
   */
  readonly kernelLimitS: number
}

/** What was agreed on. */
export interface Agreement {
  readonly minor: number
  readonly flags: number
  readonly flags2: number
  /** Invalidated entries can leave in place what is mounted or open below them. */
  readonly hasExpireOnly: boolean
}

/** Undefined: a kernel that is too old, or that must first hear our major version. */
export function agree(offer: Offer, wanted: Capabilities, operations: FileSystemOperations): Agreement | undefined {
  if (offer.major !== PROTOCOL_MAJOR || offer.minor < OLDEST_MINOR) return undefined
  const flags = wantedFlags(wanted, operations) & offer.flags
  const isExtended = (flags & INIT.initExt) !== 0
  const limit = wanted.kernelLimitS > 0 ? INIT2.requestTimeout : 0
  const flags2 = isExtended ? (INIT2.hasExpireOnly | limit) & offer.flags2 : 0
  return {
    minor: Math.min(offer.minor, PROTOCOL_MINOR),
    flags,
    flags2,
    hasExpireOnly: (flags2 & INIT2.hasExpireOnly) !== 0
  }
}

/**
 * Not asked for: DONT_MASK, since the kernel knows the umask of the program and home's own would have to be set for each
 * request (what is lost: a default ACL at home can't take the umask's place); EXPORT_SUPPORT, since nobody exports the mount
 * over NFS; the SPLICE flags, since Node can't splice; HANDLE_KILLPRIV, which the second version replaces.
 */
function wantedFlags(wanted: Capabilities, operations: FileSystemOperations): number {
  let flags = INIT.asyncRead | INIT.atomicOTrunc | INIT.bigWrites | INIT.asyncDio | INIT.parallelDirops
  flags |= INIT.noOpenSupport | INIT.noOpendirSupport | INIT.abortError | INIT.maxPages | INIT.initExt
  if (wanted.posixLocks) flags |= INIT.posixLocks
  if (wanted.flockLocks) flags |= INIT.flockLocks
  flags |= wanted.invalidation === 'auto' ? INIT.autoInvalData : INIT.explicitInvalData
  if (wanted.readdirplus !== 'never' && operations.readdirplus) {
    flags |= INIT.doReaddirplus | (wanted.readdirplus === 'auto' ? INIT.readdirplusAuto : 0)
  }
  if (wanted.writebackCache) flags |= INIT.writebackCache
  if (wanted.cacheSymlinks) flags |= INIT.cacheSymlinks
  if (wanted.killPrivileges) flags |= INIT.handleKillprivV2
  return flags
}

/** struct fuse_init_out; the caller has started the reply. `maxWriteBytes`: what the device has room for. */
export function writeAgreement(
  reply: ReplyWriter,
  agreement: Agreement,
  offer: Offer,
  wanted: Capabilities,
  maxWriteBytes: number
): void {
  reply.u32(PROTOCOL_MAJOR)
  reply.u32(agreement.minor)
  // The kernel takes the smaller of this and its own, which mounts begin with: 128 KiB.
  reply.u32(Math.max(offer.maxReadahead, maxWriteBytes))
  reply.u32(agreement.flags)
  // 16 bits each: the limit itself, and when the kernel calls the mount congested.
  reply.u32(wanted.maxBackground | (Math.ceil((wanted.maxBackground * 3) / 4) << 16))
  reply.u32(maxWriteBytes)
  reply.u32(NANOSECOND)
  reply.u32(maxWriteBytes / PAGE_BYTES)
  reply.u32(agreement.flags2)
  reply.u32(0)
  reply.u32(agreement.flags2 & INIT2.requestTimeout ? wanted.kernelLimitS : 0)
  for (let i = 0; i < 5; i++) reply.u32(0)
}
