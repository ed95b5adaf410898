/**
 * What the files of /proc say, as numbers: pure functions from text to values, never throwing. A field that is missing
 * or garbled is left out, or is what the docstring says.
 */

import { endianness } from 'node:os'

/** Jiffies of one CPU since boot. */
export interface CpuTimes {
  /** user + nice + system + irq + softirq. `user` includes guests of a hypervisor, so those aren't added. */
  busy: number
  /** idle + iowait: a task that waits for a disk leaves the CPU to others. */
  idle: number
  /** What the hypervisor gave to somebody else: lost capacity, neither busy nor idle. */
  steal: number
}

export interface Stat {
  /** By CPU number; offline CPUs are absent. */
  cpus: Map<number, CpuTimes>
  /** Runnable tasks of the whole machine at this instant, the reader included; 0 where it isn't given. */
  runnable: number
}

/** Parses /proc/stat. */
export function parseStat(text: string): Stat {
  const cpus = new Map<number, CpuTimes>()
  for (const [, number, fields] of text.matchAll(/^cpu(\d+) +([\d ]+)$/gm)) {
    const [user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0] = fields!
      .split(' ')
      .map(Number)
    cpus.set(Number(number), { busy: user + nice + system + irq + softirq, idle: idle + iowait, steal })
  }
  return { cpus, runnable: Number(/^procs_running (\d+)$/m.exec(text)?.[1] ?? 0) }
}

export interface Memory {
  totalBytes: number
  /** MemAvailable, or free + buffers + cached on kernels before 3.14. */
  availableBytes: number
}

/** Parses /proc/meminfo; undefined without a total. */
export function parseMeminfo(text: string): Memory | undefined {
  const bytes = (name: string): number | undefined => {
    const kib = new RegExp(`^${name}: +(\\d+) kB$`, 'm').exec(text)?.[1]
    return kib === undefined ? undefined : Number(kib) * 1024
  }
  const totalBytes = bytes('MemTotal')
  if (totalBytes === undefined || totalBytes === 0) return undefined
  const free = (bytes('MemFree') ?? 0) + (bytes('Buffers') ?? 0) + (bytes('Cached') ?? 0)
  return { totalBytes, availableBytes: Math.min(bytes('MemAvailable') ?? free, totalBytes) }
}

export interface TaskStat {
  /** One letter: R is runnable or running. */
  state: string
  parent: number
  /** user + system time in jiffies of this process, and of its descendants that it has waited for. */
  cpuTicks: number
  /** The part of it that its waited-for descendants used. */
  reapedTicks: number
  threads: number
  /** Jiffies since boot. With the process number it names a process for good. */
  startTicks: number
}

/** Parses /proc/PID/stat or /proc/PID/task/TID/stat; undefined when garbled. The command's name may hold blanks and brackets. */
export function parseTaskStat(text: string): TaskStat | undefined {
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const field = (number: number): number => Number(fields[number - 3]) // numbered as in proc(5)
  const reapedTicks = field(16) + field(17)
  const stat = {
    state: fields[0]!,
    parent: field(4),
    cpuTicks: field(14) + field(15) + reapedTicks,
    reapedTicks,
    threads: field(20),
    startTicks: field(22)
  }
  const { parent, cpuTicks, threads, startTicks } = stat
  return [parent, cpuTicks, threads, startTicks].every(Number.isFinite) ? stat : undefined
}

/** A bound on what `parseNumberList` returns: more than any kernel's NR_CPUS. */
const LISTED_MAX = 16384

/** Parses a list such as `0-3,8`; empty when garbled; at most 16384 numbers. */
export function parseNumberList(text: string): number[] {
  const numbers: number[] = []
  for (const part of text.trim().split(',')) {
    const [, first, last] = /^(\d+)(?:-(\d+))?$/.exec(part) ?? []
    if (first === undefined) return []
    const end = Math.min(Number(last ?? first), LISTED_MAX)
    for (let number = Number(first); number <= end && numbers.length < LISTED_MAX; number++) numbers.push(number)
  }
  return numbers
}

/** Parses the CPUs that a process may use from its /proc/PID/status: the kernel has taken the cpuset into account. Empty when not given. */
export function parseAffinity(status: string): number[] {
  return parseNumberList(/^Cpus_allowed_list:\s*(\S+)$/m.exec(status)?.[1] ?? '')
}

const AT_PAGESZ = 6
const AT_CLKTCK = 17

export interface KernelConstants {
  /** Bytes in a page of memory. */
  pageSize: number
  /** Jiffies per second, as /proc counts them. */
  ticksPerSecond: number
}

/** Parses /proc/PID/auxv of a 64-bit process; 4096 and 100 where it doesn't tell. */
export function parseAuxv(bytes: Uint8Array): KernelConstants {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const little = endianness() === 'LE'
  const constants = { pageSize: 4096, ticksPerSecond: 100 }
  for (let at = 0; at + 16 <= bytes.byteLength; at += 16) {
    const type = Number(view.getBigUint64(at, little))
    const value = Number(view.getBigUint64(at + 8, little))
    if (type === AT_PAGESZ && value > 0) constants.pageSize = value
    if (type === AT_CLKTCK && value > 0) constants.ticksPerSecond = value
  }
  return constants
}

/** What each x86-64 level adds to the one before, in the words of /proc/cpuinfo (System V ABI for AMD64, section 3.1.1). */
const LEVELS = [
  'cmov cx8 fpu fxsr lm mmx sse sse2 syscall',
  'cx16 lahf_lm pni popcnt sse4_1 sse4_2 ssse3',
  'abm avx avx2 bmi1 bmi2 f16c fma movbe xsave',
  'avx512bw avx512cd avx512dq avx512f avx512vl'
].map((words) => words.split(' '))

/** The x86-64 level, 1–4, that every CPU in /proc/cpuinfo reaches (hybrid ones may differ); 0 on other architectures. */
export function parseCpuLevel(cpuinfo: string): number {
  const flagLists = new Set(Array.from(cpuinfo.matchAll(/^flags\s*:(.*)$/gm), ([, list]) => list!))
  const levels = Array.from(flagLists, (list) => {
    const flags = new Set(list.split(' '))
    const missing = LEVELS.findIndex((words) => !words.every((word) => flags.has(word)))
    return missing === -1 ? LEVELS.length : missing
  })
  return levels.length === 0 ? 0 : Math.min(...levels)
}

/** The CPU's model as /proc/cpuinfo gives it; on ARM, which has no names, the distinct implementer and part numbers; else `unknown`. */
export function parseCpuModel(cpuinfo: string): string {
  const name = /^model name\s*: *(\S.*)$/m.exec(cpuinfo)?.[1]
  if (name !== undefined) return name.trim()
  const cores = Array.from(
    cpuinfo.matchAll(/^CPU implementer\s*: *(\S+)$(?:\n(?!CPU part).*$)*\n^CPU part\s*: *(\S+)$/gm),
    ([, implementer, part]) => `${implementer}/${part}`
  )
  return cores.length === 0 ? 'unknown' : [...new Set(cores)].sort().join(' ')
}
