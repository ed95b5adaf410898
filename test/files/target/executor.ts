/**
 * Does file operations in its working directory and says what came of each, in words that can be compared: the same program
 * runs natively and where a tree is mounted. Standard input takes lines of JSON, each a list of operations; each is answered by a
 * line, the list of results.
 */

import * as fs from 'node:fs'
import { constants } from 'node:os'
import { createInterface } from 'node:readline'
import { Native } from '../../../src/files/home/native.ts'

/** A kind and its arguments. Names are one character per byte; slots are numbers of open files. */
export type Operation = [kind: string, ...args: (string | number)[]]

/** System calls that Node does not have; by way of it, here as there. */
let native: Native | undefined
const lockers = new Set<number>()
let scanned: fs.Dir | undefined
/** By slot; as many as the operations name. */
const open = new Map<number, number>()
const directories = new Set<number>()
const bytes = (name: string): Buffer => Buffer.from(name, 'latin1')
const fd = (slot: number): number => open.get(slot) ?? -1

/** Bytes that tell whence they come. */
function data(seed: number, length: number): Buffer {
  const made = Buffer.alloc(length)
  for (let i = 0; i < length; i++) made[i] = (seed * 31 + i * 7 + (i >> 8)) & 255
  return made
}

/** A short word for contents. */
function sum(read: Uint8Array): string {
  let value = 17
  for (const byte of read) value = (Math.imul(value, 31) + byte) | 0
  return `${read.length}:${value >>> 0}`
}

function calls(): Native {
  native ??= Native.start({ onTold: () => {}, onEnd: () => {} })
  return native!
}

/** Open for as long as it takes. */
function withDirectory<T>(path: string, act: (fd: number, name: string) => T): T {
  const slash = path.lastIndexOf('/')
  const name = path.slice(slash + 1)
  if (name.length > 255) throw Object.assign(new Error(), { code: 'ENAMETOOLONG' })
  const opened = fs.openSync(bytes(path.slice(0, slash + 1) || '.'), fs.constants.O_DIRECTORY)
  try {
    return act(opened, name)
  } finally {
    fs.closeSync(opened)
  }
}

function told(stats: fs.BigIntStats): string {
  const size = stats.isDirectory() ? '' : stats.size
  const own = Number(stats.uid) === process.getuid!() && Number(stats.gid) === process.getgid!()
  // What was set; other times are those of the operations.
  const modified = stats.mtimeMs < 1.5e12 ? ` at ${stats.mtimeNs}` : ''
  return `${stats.mode.toString(8)} ${stats.nlink} ${size} ${own ? 'own' : 'other'}${modified}`
}

function read(slot: number, offset: number | null, length: number): string {
  const into = Buffer.alloc(length)
  return sum(into.subarray(0, fs.readSync(fd(slot), into, 0, length, offset)))
}

/** Where data or a hole begins; the end where no data follows. */
function beginning(descriptor: number, offset: number, whence: number, size: number): number {
  try {
    return calls().seek(descriptor, offset, whence)
  } catch (error) {
    if ((error as { errno?: number }).errno !== constants.errno.ENXIO) throw error
    return size
  }
}

function isZero(descriptor: number, from: number, to: number): boolean {
  const bytes = Buffer.alloc(Math.max(0, to - from))
  fs.readSync(descriptor, bytes, 0, bytes.length, from)
  return bytes.every((byte) => byte === 0)
}

// biome-ignore lint/suspicious/noExplicitAny: each operation knows its arguments
const operations: Record<string, (...args: any[]) => unknown> = {
  open(slot, name, flags, mode) {
    if (open.has(slot)) fs.closeSync(fd(slot))
    open.delete(slot)
    open.set(slot, fs.openSync(bytes(name), flags, mode))
    if (fs.fstatSync(fd(slot)).isDirectory()) directories.add(slot)
    else directories.delete(slot)
  },
  close(slot) {
    const closed = fd(slot)
    open.delete(slot)
    directories.delete(slot)
    fs.closeSync(closed)
  },
  read: (slot, length) => read(slot, null, length),
  pread: (slot, offset, length) => read(slot, offset, length),
  write: (slot, seed, length) => fs.writeSync(fd(slot), data(seed, length)),
  pwrite: (slot, offset, seed, length) => fs.writeSync(fd(slot), data(seed, length), 0, length, offset),
  ftruncate: (slot, length) => fs.ftruncateSync(fd(slot), length),
  fstat: (slot) => told(fs.fstatSync(fd(slot), { bigint: true })),
  fsync: (slot) => fs.fsyncSync(fd(slot)),
  fdatasync: (slot) => fs.fdatasyncSync(fd(slot)),
  fchmod: (slot, mode) => fs.fchmodSync(fd(slot), mode),
  futimes: (slot, s) => fs.futimesSync(fd(slot), s, s),
  truncate: (name, length) => fs.truncateSync(bytes(name), length),
  stat: (name) => told(fs.statSync(bytes(name), { bigint: true })),
  lstat: (name) => told(fs.lstatSync(bytes(name), { bigint: true })),
  chmod: (name, mode) => fs.chmodSync(bytes(name), mode),
  utimes: (name, s) => fs.utimesSync(bytes(name), s, s),
  lutimes: (name, s) => fs.lutimesSync(bytes(name), s, s),
  chown: (name) => fs.chownSync(bytes(name), process.getuid!(), process.getgid!()),
  access: (name, mode) => fs.accessSync(bytes(name), mode),
  rename: (name, to) => fs.renameSync(bytes(name), bytes(to)),
  link: (name, to) => fs.linkSync(bytes(name), bytes(to)),
  symlink: (target, name) => fs.symlinkSync(bytes(target), bytes(name)),
  readlink: (name) => fs.readlinkSync(bytes(name), 'latin1'),
  unlink: (name) => fs.unlinkSync(bytes(name)),
  mkdir: (name, mode) => fs.mkdirSync(bytes(name), mode),
  rmdir: (name) => fs.rmdirSync(bytes(name)),
  list: (name) =>
    fs
      .readdirSync(bytes(name), { encoding: 'latin1' as BufferEncoding, withFileTypes: true })
      .map((entry) => `${entry.name}${entry.isDirectory() ? '/' : entry.isSymbolicLink() ? '@' : ''}`)
      .toSorted()
      .join(','),
  /** Begins to read a directory; reads the rest of it. */
  scan(name) {
    scanned = fs.opendirSync(bytes(name), { bufferSize: 1 })
    scanned.readSync()
  },
  scanned() {
    let count = 1
    while (scanned?.readSync()) count++
    return count
  },
  take: (name) => sum(fs.readFileSync(bytes(name))),
  put: (name, seed, length) => fs.writeFileSync(bytes(name), data(seed, length)),
  append: (name, seed, length) => fs.appendFileSync(bytes(name), data(seed, length)),
  copy: (name, to) => fs.copyFileSync(bytes(name), bytes(to)),
  /** With the flags of renameat2(2). */
  rename2: (name, to, flags) =>
    withDirectory(name, (from, last) =>
      withDirectory(to, (into, newLast) => calls().rename(from, last, into, newLast, flags))
    ),
  allocate: (slot, mode, offset, length) => calls().allocate(fd(slot), mode, offset, length),
  /**
   * What is allocated and not written is a hole or not, as the kernel has it in memory or not: so where it says that data or a
   * hole begins is not compared, but that nothing is missed.
   */
  seek(slot, offset, whence) {
    if (directories.has(slot)) return 'directory'
    const size = open.has(slot) ? fs.fstatSync(fd(slot)).size : 0
    const found = offset < size ? beginning(fd(slot), offset, whence, size) : calls().seek(fd(slot), offset, whence)
    const [from, to] = whence === 3 ? [offset, found] : [found, Math.min(found + 1, size)]
    return isZero(fd(slot), from, to) ? 'right' : `${found} of ${size}`
  },
  /** Fewer bytes than asked for are no difference. */
  copyRange(slot, offset, to, toOffset, length) {
    let copied = 0
    for (;;) {
      const more = calls().copy(fd(slot), offset + copied, fd(to), toOffset + copied, length - copied)
      copied += more
      if (more === 0 || copied === length) return copied
    }
  },
  /** To the nanosecond. */
  date(name, s, ns) {
    const opened = fs.openSync(bytes(name), fs.constants.O_RDONLY | fs.constants.O_NONBLOCK)
    try {
      calls().setTimes(opened, { s, ns: ns ^ 1 }, { s, ns })
    } finally {
      fs.closeSync(opened)
    }
  },
  /** A file is opened to be locked; then a range of it, or the whole. */
  hold(locker, name) {
    const opened = fs.openSync(bytes(name), fs.constants.O_RDWR)
    try {
      if (lockers.has(locker)) calls().drop(locker)
      lockers.delete(locker)
      calls().hold(locker, opened, true, undefined)
      lockers.add(locker)
    } finally {
      fs.closeSync(opened)
    }
  },
  unhold(locker) {
    lockers.delete(locker)
    calls().drop(locker)
  },
  lock: (locker, type, start, end) =>
    calls().lock(locker, { type, start: BigInt(start), end: end < 0 ? 2n ** 63n - 1n : BigInt(end) }, false),
  flock: (locker, type) => calls().lock(locker, { type, start: 0n, end: 0n }, true),
  testLock(locker, type, start, end) {
    const found = calls().test(locker, { type, start: BigInt(start), end: BigInt(end) })
    return found.type === 2 ? 'free' : `${found.type} ${found.start} ${found.end}`
  },
  umask: (mask) => void process.umask(mask),
  /** Whatever was written is home's, and what was closed is closed there. */
  settle() {
    for (const held of open.values()) fs.fstatSync(held)
    fs.statfsSync('.')
  },
  enter: (directory) => process.chdir(directory)
}

/** Of a directory that is removed while it is open, the file system of the mount knows nothing any more. */
const ON_OPEN = new Set(['fstat', 'fchmod', 'futimes', 'fsync', 'fdatasync'])
const isRemoved = (slot: number): boolean =>
  directories.has(slot) && fs.readlinkSync(`/proc/self/fd/${fd(slot)}`).endsWith(' (deleted)')

function done([kind, ...args]: Operation): unknown {
  try {
    if (ON_OPEN.has(kind) && isRemoved(args[0] as number)) return 'removed'
    return operations[kind]!(...args) ?? 'done'
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error)
  }
}

if (import.meta.main) {
  process.umask(0o22)
  createInterface({ input: process.stdin })
    .on('line', (line) => {
      process.stdout.write(`${JSON.stringify((JSON.parse(line) as Operation[]).map(done))}\n`)
    })
    .on('close', () => native?.close())
}
