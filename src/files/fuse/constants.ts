/** Numbers of the FUSE kernel protocol, version 7.45 (Linux, include/uapi/linux/fuse.h). */

export const PROTOCOL_MAJOR = 7
/** The newest minor version whose requests are understood. */
export const PROTOCOL_MINOR = 45
/** The oldest kernel spoken to: Linux 5.4. Everything that is decoded has had its present form since then. */
export const OLDEST_MINOR = 31

/** The node id of the root of each mount. */
export const ROOT_ID = 1

export const IN_HEADER_BYTES = 40
export const OUT_HEADER_BYTES = 16
/** What precedes the data of a WRITE; the kernel wants a read buffer of at least this more than max_write. */
export const WRITE_HEADER_BYTES = 80

export const OPCODE = {
  lookup: 1,
  forget: 2,
  getattr: 3,
  setattr: 4,
  readlink: 5,
  symlink: 6,
  mknod: 8,
  mkdir: 9,
  unlink: 10,
  rmdir: 11,
  rename: 12,
  link: 13,
  open: 14,
  read: 15,
  write: 16,
  statfs: 17,
  release: 18,
  fsync: 20,
  setxattr: 21,
  getxattr: 22,
  listxattr: 23,
  removexattr: 24,
  flush: 25,
  init: 26,
  opendir: 27,
  readdir: 28,
  releasedir: 29,
  fsyncdir: 30,
  getlk: 31,
  setlk: 32,
  setlkw: 33,
  access: 34,
  create: 35,
  interrupt: 36,
  bmap: 37,
  destroy: 38,
  ioctl: 39,
  poll: 40,
  batchForget: 42,
  fallocate: 43,
  readdirplus: 44,
  rename2: 45,
  lseek: 46,
  copyFileRange: 47,
  syncfs: 50,
  tmpfile: 51,
  statx: 52,
  copyFileRange64: 53
} as const

/** Flags of INIT, low 32 bits. */
export const INIT = {
  asyncRead: 1 << 0,
  posixLocks: 1 << 1,
  atomicOTrunc: 1 << 3,
  bigWrites: 1 << 5,
  flockLocks: 1 << 10,
  autoInvalData: 1 << 12,
  doReaddirplus: 1 << 13,
  readdirplusAuto: 1 << 14,
  asyncDio: 1 << 15,
  writebackCache: 1 << 16,
  noOpenSupport: 1 << 17,
  parallelDirops: 1 << 18,
  abortError: 1 << 21,
  maxPages: 1 << 22,
  cacheSymlinks: 1 << 23,
  noOpendirSupport: 1 << 24,
  explicitInvalData: 1 << 25,
  handleKillprivV2: 1 << 28,
  initExt: 1 << 30
} as const

/** Flags of INIT, high 32 bits. */
export const INIT2 = {
  hasExpireOnly: 1 << 3,
  requestTimeout: 1 << 10
} as const

/** Which fields of a SETATTR count. */
export const FATTR = {
  mode: 1 << 0,
  uid: 1 << 1,
  gid: 1 << 2,
  size: 1 << 3,
  atime: 1 << 4,
  mtime: 1 << 5,
  handle: 1 << 6,
  atimeNow: 1 << 7,
  mtimeNow: 1 << 8,
  lockOwner: 1 << 9,
  ctime: 1 << 10,
  killSuidgid: 1 << 11
} as const

/** What the answer to OPEN, OPENDIR, CREATE and TMPFILE may ask of the kernel. */
export const FOPEN = {
  /** Every read and write comes here: no page cache. */
  directIo: 1 << 0,
  /** Pages cached of earlier opens stay. */
  keepCache: 1 << 1,
  nonSeekable: 1 << 2,
  /** The kernel keeps the entries that it read of this directory. */
  cacheDirectory: 1 << 3,
  stream: 1 << 4,
  /** No FLUSH at close. */
  noFlush: 1 << 5,
  parallelDirectWrites: 1 << 6
} as const

export const RELEASE = { flush: 1 << 0, flockUnlock: 1 << 1 } as const
export const GETATTR_HANDLE = 1 << 0
/** The lock is one of flock(2), not of fcntl(2). */
export const LOCK_FLOCK = 1 << 0
export const FSYNC_DATA_ONLY = 1 << 0
export const WRITE_FLAGS = {
  /** From the page cache, on behalf of nobody in particular: the handle may be any of the file's. */
  cache: 1 << 0,
  /** Clear set-user-ID and set-group-ID (only with `killPrivileges`). */
  killSuidgid: 1 << 2
} as const
export const OPEN_KILL_SUIDGID = 1 << 0

export const NOTIFY = { invalidateInode: 2, invalidateEntry: 3, delete: 6 } as const
/** The entry's time-out ends, what is open or mounted below it stays: 7.38. */
export const EXPIRE_ONLY = 1 << 0

/** Types of directory entries: the file type bits of a mode, shifted. */
export const DIRENT_TYPE_SHIFT = 12
