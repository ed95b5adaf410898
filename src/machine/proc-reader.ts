import { closeSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs'
import { join } from 'node:path'

/** No file of /proc or a cgroup that is read here is longer, but for /proc/cpuinfo and /proc/stat of machines with over 1000 CPUs, whose rest doesn't matter. */
const FILE_MAX_BYTES = 1 << 20

/** One for all readers: reading is synchronous. Grows to the longest file seen. */
let buffer = Buffer.allocUnsafe(16384)

/** Reads small kernel files below a directory, synchronously: they are memory, not disk. Never throws. */
export class ProcReader {
  readonly root: string

  constructor(root: string) {
    this.root = root
  }

  /** The bytes of a file, valid until the next call of any reader; undefined when it can't be read. */
  bytes(path: string): Buffer | undefined {
    let descriptor: number
    try {
      descriptor = openSync(join(this.root, path), 'r')
    } catch {
      return undefined
    }
    try {
      let length = 0
      for (;;) {
        const count = readSync(descriptor, buffer, length, buffer.length - length, null)
        length += count
        if (count === 0 || length === FILE_MAX_BYTES) return buffer.subarray(0, length)
        if (length === buffer.length) buffer = Buffer.concat([buffer], buffer.length * 2)
      }
    } catch {
      return undefined // a process that ended between open and read
    } finally {
      closeSync(descriptor)
    }
  }

  /** The text of a file; undefined when it can't be read. */
  text(path: string): string | undefined {
    return this.bytes(path)?.toString('latin1')
  }

  /** The names in a directory; empty when it can't be read. */
  list(path: string): string[] {
    try {
      return readdirSync(join(this.root, path))
    } catch {
      return []
    }
  }

  /** The directories in a directory, as paths; empty when it can't be read. */
  directories(path: string): string[] {
    try {
      const entries = readdirSync(join(this.root, path), { withFileTypes: true })
      return entries.filter((entry) => entry.isDirectory()).map((entry) => join(path, entry.name))
    } catch {
      return []
    }
  }

  /** Where a symbolic link points; undefined when it can't be read. */
  link(path: string): string | undefined {
    try {
      return readlinkSync(join(this.root, path))
    } catch {
      return undefined
    }
  }
}
