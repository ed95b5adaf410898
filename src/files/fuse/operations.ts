/** What a file system does: handlers for what the kernel asks, all optional. */

import type { Errno } from './errno.ts'
import type {
  AttributesReply,
  Created,
  DirectoryReply,
  Entry,
  IoctlReply,
  NoEntry,
  Opened,
  Statistics,
  StatxReply
} from './replies.ts'
import type {
  AccessRequest,
  BmapRequest,
  CopyFileRangeRequest,
  CreateRequest,
  FallocateRequest,
  FlushRequest,
  FsyncRequest,
  GetattrRequest,
  GetxattrRequest,
  IoctlRequest,
  LinkRequest,
  ListxattrRequest,
  Lock,
  LockRequest,
  LseekRequest,
  MkdirRequest,
  MknodRequest,
  NameRequest,
  OpenRequest,
  PollRequest,
  ReadRequest,
  ReleaseRequest,
  RenameRequest,
  Request,
  SetattrRequest,
  SetxattrRequest,
  StatxRequest,
  SymlinkRequest,
  WriteRequest
} from './requests.ts'

/**
 * At once, where it is known, or later. Errors: an Errno, returned, thrown or rejected with; anything else that is thrown
 * is answered with EIO and reported.
 */
export type Answer<T> = T | Errno | Promise<T | Errno>

/**
 * A handler that is absent answers ENOSYS. The kernel takes that once as "never" for access, flush, fsync, open (all opens
 * succeed, with handle 0 and the page cache kept), opendir, release, create (it does mknod and open), the attributes by name, locks,
 * poll, bmap, fallocate, lseek, copyFileRange, readdirplus, rename with flags (EINVAL), tmpfile, statx, syncfs.
 */
export interface FileSystemOperations {
  lookup?(request: NameRequest): Answer<Entry | NoEntry>
  /** The kernel has dropped `count` of its lookups of the node; at 0 altogether, the id is the caller's again. */
  forget?(nodeid: number, count: number): void
  getattr?(request: GetattrRequest): Answer<AttributesReply>
  setattr?(request: SetattrRequest): Answer<AttributesReply>
  statx?(request: StatxRequest): Answer<StatxReply>
  /** One character per byte. */
  readlink?(request: Request): Answer<string>
  symlink?(request: SymlinkRequest): Answer<Entry>
  mknod?(request: MknodRequest): Answer<Entry>
  mkdir?(request: MkdirRequest): Answer<Entry>
  unlink?(request: NameRequest): Answer<void>
  rmdir?(request: NameRequest): Answer<void>
  rename?(request: RenameRequest): Answer<void>
  link?(request: LinkRequest): Answer<Entry>
  open?(request: OpenRequest): Answer<Opened>
  create?(request: CreateRequest): Answer<Created>
  /** `request.name` means nothing. */
  tmpfile?(request: CreateRequest): Answer<Created>
  /** At most `size` bytes; fewer: the file ends there. Written to the kernel at once, without a copy where it is long. */
  read?(request: ReadRequest): Answer<Uint8Array>
  /** How many bytes were written. */
  write?(request: WriteRequest): Answer<number>
  flush?(request: FlushRequest): Answer<void>
  release?(request: ReleaseRequest): Answer<void>
  fsync?(request: FsyncRequest): Answer<void>
  statfs?(request: Request): Answer<Statistics>
  syncfs?(request: Request): Answer<void>
  setxattr?(request: SetxattrRequest): Answer<void>
  /** The whole value. */
  getxattr?(request: GetxattrRequest): Answer<Uint8Array>
  /** The names, each ended by a NUL. */
  listxattr?(request: ListxattrRequest): Answer<Uint8Array>
  removexattr?(request: NameRequest): Answer<void>
  opendir?(request: OpenRequest): Answer<Opened>
  readdir?(request: ReadRequest): Answer<DirectoryReply>
  readdirplus?(request: ReadRequest): Answer<DirectoryReply>
  releasedir?(request: ReleaseRequest): Answer<void>
  fsyncdir?(request: FsyncRequest): Answer<void>
  access?(request: AccessRequest): Answer<void>
  /** A lock that is in the way, or one of type F_UNLCK. */
  getlk?(request: LockRequest): Answer<Lock>
  setlk?(request: LockRequest): Answer<void>
  /** Waits for the lock as long as it takes: `request.signal` ends that. */
  setlkw?(request: LockRequest): Answer<void>
  bmap?(request: BmapRequest): Answer<number>
  ioctl?(request: IoctlRequest): Answer<IoctlReply>
  /** Of the events asked for, those that are so. */
  poll?(request: PollRequest): Answer<number>
  fallocate?(request: FallocateRequest): Answer<void>
  lseek?(request: LseekRequest): Answer<number>
  copyFileRange?(request: CopyFileRangeRequest): Answer<number>
}
