/** What /proc says of processes that this program started, and signals sent to exactly those. */

import { openSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'

interface Stat {
  pid: number
  /** One letter, as proc(5) lists them: `T` is stopped, `Z` dead. */
  state: string
  parent: number
  session: number
}

/** The few fields of /proc/PID/stat that are asked here; null when there is no such process. */
export function readStat(pid: number | string): Stat | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The name in parentheses may hold anything, parentheses too.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return { pid: Number(pid), state: fields[0] ?? '', parent: Number(fields[1]), session: Number(fields[3]) }
  } catch {
    return null
  }
}

function allStats(): Stat[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(readStat)
    .filter((stat) => stat !== null)
}

/** Children of a process; from the kernel's own list where it keeps one, else by looking at every process. */
export function childrenOf(pid: number): number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1')
    return text
      .split(' ')
      .filter((word) => word !== '')
      .map(Number)
  } catch {
    return allStats()
      .filter((stat) => stat.parent === pid)
      .map((stat) => stat.pid)
  }
}

/** Processes of one job that are looked at, at most. */
const TREE_MAX = 256

/** A process and its descendants, at most TREE_MAX. */
export function treeOf(root: number): number[] {
  const tree = [root]
  for (const pid of tree) for (const child of childrenOf(pid)) if (tree.length < TREE_MAX) tree.push(child)
  return tree
}

/** Bytes of memory that the largest of a process and its descendants has had at most; 0 when none is left. */
export function peakBytesOf(root: number): number {
  return Math.max(...treeOf(root).map(peakBytes))
}

/** The high-water mark of a process's resident memory. */
function peakBytes(pid: number): number {
  try {
    return 1024 * Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 0)
  } catch {
    return 0
  }
}

/** Every process of a session. */
export function membersOf(session: number): number[] {
  return allStats()
    .filter((stat) => stat.session === session)
    .map((stat) => stat.pid)
}

/** What a descriptor leads to, such as `pipe:[4711]`; empty when it is closed. */
export function linkOf(pid: number, fd: number): string {
  return readLink(`/proc/${pid}/fd/${fd}`)
}

/** Every process but this one that works in a directory, or has something in it or one of the pipes open. */
export function holdersOf(directory: string, pipes: readonly string[]): number[] {
  const held = (path: string) => {
    const link = readLink(path)
    return link.startsWith(`${directory}/`) || pipes.includes(link)
  }
  return allStats()
    .map((stat) => stat.pid)
    .filter((pid) => pid !== process.pid)
    .filter((pid) => held(`/proc/${pid}/cwd`) || openOf(pid).some(held))
}

function openOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).map((fd) => `/proc/${pid}/fd/${fd}`)
  } catch {
    return []
  }
}

function readLink(path: string): string {
  try {
    return readlinkSync(path, 'latin1')
  } catch {
    return ''
  }
}

/** The command line of a process as text, empty when it is gone. */
export function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1')
  } catch {
    return ''
  }
}

/** Sends a signal to a process, or to a group when `pid` is negative; false when there is nobody to get it. */
export function send(pid: number, signal: number): boolean {
  try {
    return process.kill(pid, signal)
  } catch {
    return false
  }
}

/** Bit of /proc/PID/fdinfo/N: closed by exec. */
const O_CLOEXEC = 0o2000000

/** /dev/null, opened when the first inherited descriptor has to be covered. */
let nothing: number | undefined

/**
 * For the `stdio` of a spawn, from descriptor 3 on: whatever this process was itself started with beyond 0–2 (a lock,
 * somebody's socket) becomes /dev/null in the child. Node closes its own descriptors at exec, but not inherited ones.
 */
export function coverInherited(): (number | 'ignore')[] {
  const cover: (number | 'ignore')[] = []
  for (const name of readdirSync('/proc/self/fdinfo')) {
    const fd = Number(name)
    if (fd < 3 || !isInherited(fd)) continue
    while (cover.length < fd - 3) cover.push('ignore')
    cover[fd - 3] = nothing ??= openSync('/dev/null', 'r')
  }
  return cover
}

function isInherited(fd: number): boolean {
  try {
    const flags = /^flags:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1]
    return flags !== undefined && (Number.parseInt(flags, 8) & O_CLOEXEC) === 0
  } catch {
    return false
  }
}
