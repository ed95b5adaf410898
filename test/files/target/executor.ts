/**
 * Does file operations in its working directory and says what came of each, in words that can be compared: the same program
 * runs natively and where a tree is mounted. Standard input takes lines of JSON, each a list of operations; each is answered by a
 * line, the list of results.
 */

import * as fs from 'node:fs'
import { createInterface } from 'node:readline'

/** A kind and its arguments. Names are one character per byte; slots are numbers of open files. */
export type Operation = [kind: string, ...args: (string | number)[]]

let scanned: fs.Dir | undefined
/** By slot; as many as the operations name. */
const open = new Map<number, number>()
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

function told(stats: fs.Stats): string {
  const size = stats.isDirectory() ? '' : stats.size
  const own = stats.uid === process.getuid!() && stats.gid === process.getgid!()
  // What was set; other times are those of the operations.
  const modified = stats.mtimeMs < 1.5e12 ? ` at ${Math.round(stats.mtimeMs)}` : ''
  return `${stats.mode.toString(8)} ${stats.nlink} ${size} ${own ? 'own' : 'other'}${modified}`
}

function read(slot: number, offset: number | null, length: number): string {
  const into = Buffer.alloc(length)
  return sum(into.subarray(0, fs.readSync(fd(slot), into, 0, length, offset)))
}

// biome-ignore lint/suspicious/noExplicitAny: each operation knows its arguments
const operations: Record<string, (...args: any[]) => unknown> = {
  open(slot, name, flags, mode) {
    if (open.has(slot)) fs.closeSync(fd(slot))
    open.delete(slot)
    open.set(slot, fs.openSync(bytes(name), flags, mode))
  },
  close(slot) {
    const closed = fd(slot)
    open.delete(slot)
    fs.closeSync(closed)
  },
  read: (slot, length) => read(slot, null, length),
  pread: (slot, offset, length) => read(slot, offset, length),
  write: (slot, seed, length) => fs.writeSync(fd(slot), data(seed, length)),
  pwrite: (slot, offset, seed, length) => fs.writeSync(fd(slot), data(seed, length), 0, length, offset),
  ftruncate: (slot, length) => fs.ftruncateSync(fd(slot), length),
  fstat: (slot) => told(fs.fstatSync(fd(slot))),
  fsync: (slot) => fs.fsyncSync(fd(slot)),
  fdatasync: (slot) => fs.fdatasyncSync(fd(slot)),
  fchmod: (slot, mode) => fs.fchmodSync(fd(slot), mode),
  futimes: (slot, s) => fs.futimesSync(fd(slot), s, s),
  truncate: (name, length) => fs.truncateSync(bytes(name), length),
  stat: (name) => told(fs.statSync(bytes(name))),
  lstat: (name) => told(fs.lstatSync(bytes(name))),
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
  umask: (mask) => void process.umask(mask),
  /** Whatever was written is home's. */
  settle() {
    for (const held of open.values()) fs.fstatSync(held)
  },
  enter: (directory) => process.chdir(directory)
}

function done([kind, ...args]: Operation): unknown {
  try {
    return operations[kind]!(...args) ?? 'done'
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error)
  }
}

if (import.meta.main) {
  process.umask(0o22)
  createInterface({ input: process.stdin }).on('line', (line) => {
    process.stdout.write(`${JSON.stringify((JSON.parse(line) as Operation[]).map(done))}\n`)
  })
}
