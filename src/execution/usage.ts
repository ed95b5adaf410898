/** What the processes and files of a job take, as the kernel tells it from outside of the sandbox. */

import {
  closeSync,
  constants,
  type Dir,
  lstatSync,
  opendirSync,
  openSync,
  readdirSync,
  readFileSync,
  type Stats,
  statSync
} from 'node:fs'
import { setImmediate as nextTurn } from 'node:timers/promises'

/** A file takes at least this, also an empty one: its inode and its name. */
export const ENTRY_BYTES = 4096

/** Levels that are entered, one descriptor each; what lies deeper was hidden on purpose. */
const DEPTH_MAX = 64

/** Entries between two turns of the event loop: about 2 ms. */
const SLICE = 256

const DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW

/**
 * Bytes of memory that processes have for themselves, swap included; pages that forked ones still share count for each.
 * `processes` are directories of /proc.
 */
export function memoryOf(processes: readonly string[]): number {
  let kibibytes = 0
  for (const process of processes) {
    for (const [, count] of readText(`${process}/status`).matchAll(/^(?:RssAnon|RssShmem|VmSwap):\s*(\d+)/gm)) {
      kibibytes += Number(count)
    }
  }
  return kibibytes * 1024
}

/** The same with shared pages counted once; takes long for many processes, so others get their turn in between. */
export async function exactMemoryOf(processes: readonly string[]): Promise<number> {
  let kibibytes = 0
  for (const process of processes) {
    for (const [, count] of readText(`${process}/smaps_rollup`).matchAll(
      /^(?:Pss_Anon|Pss_Shmem|SwapPss):\s*(\d+)/gm
    )) {
      kibibytes += Number(count)
    }
    await nextTurn()
  }
  return kibibytes * 1024
}

/** Bytes of files that processes hold open although their names are gone, and that no look at a directory finds. */
export async function unlinkedBytes(processes: readonly string[], device: number): Promise<number> {
  // By inode: forked processes share them.
  const found = new Map<number, number>()
  for (const process of processes) {
    for (const fd of namesIn(`${process}/fd`)) {
      const stats = statOf(`${process}/fd/${fd}`)
      if (stats?.isFile() && stats.nlink === 0 && stats.dev === device) found.set(stats.ino, bytesOf(stats))
    }
    await nextTurn()
  }
  return [...found.values()].reduce((sum, bytes) => sum + bytes, 0)
}

/**
 * Bytes that a tree takes on the disk, never through a link; at most `entries` are looked at, of a larger one the result
 * is a part. Infinity when some of it can't be looked at: hidden by its modes, or by its depth.
 */
export async function treeBytes(path: string, entries: number): Promise<number> {
  const left = { entries, slice: SLICE }
  try {
    return await bytesBelow(path, left, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? 0 : Number.POSITIVE_INFINITY
  }
}

async function bytesBelow(
  path: string | Buffer,
  left: { entries: number; slice: number },
  depth: number
): Promise<number> {
  if (depth > DEPTH_MAX) return Number.POSITIVE_INFINITY
  const fd = openSync(path, DIRECTORY)
  let directory: Dir | undefined
  try {
    const here = `/proc/self/fd/${fd}`
    directory = opendirSync(here, { encoding: 'latin1', bufferSize: SLICE })
    let bytes = 0
    for (let entry = directory.readSync(); entry !== null && left.entries > 0; entry = directory.readSync()) {
      left.entries--
      if (--left.slice === 0) {
        left.slice = SLICE
        await nextTurn()
      }
      const child = Buffer.from(`${here}/${entry.name}`, 'latin1')
      const stats = lstatSync(child, { throwIfNoEntry: false })
      if (stats === undefined) continue
      bytes += bytesOf(stats)
      if (stats.isDirectory()) bytes += await bytesBelow(child, left, depth + 1)
    }
    return bytes
  } finally {
    directory?.closeSync()
    closeSync(fd)
  }
}

function bytesOf({ blocks }: Stats): number {
  return Math.max(blocks * 512, ENTRY_BYTES)
}

function statOf(path: string): Stats | undefined {
  try {
    return statSync(path)
  } catch {
    return undefined
  }
}

function namesIn(path: string): string[] {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return ''
  }
}
