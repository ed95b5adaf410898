import type { MachineSample } from '../core/types.ts'
import { CgroupReader, type Quota } from './cgroup.ts'
import { OwnProcesses, type OwnReading, runnableThreads } from './own-processes.ts'
import {
  type CpuTimes,
  type KernelConstants,
  parseAffinity,
  parseAuxv,
  parseMeminfo,
  parseStat,
  parseTaskStat,
  type Stat
} from './proc-parse.ts'
import { ProcReader } from './proc-reader.ts'

/** What the sampler measures; the static score comes from the benchmark. */
export type LoadSample = Omit<MachineSample, 'benchmarkVersion' | 'speed'>

export interface MachineSamplerInit {
  /** Default /proc. */
  procRoot?: string
  /** Stands for /sys/fs/cgroup, the default. */
  cgroupRoot?: string
  /** Cores that the owner lets kappa use in all (`machine.cores`), > 0; default: every core. */
  cores?: number
  /** Time in ms over which idle cores are measured and runnable tasks smoothed; default 1000. */
  windowMs?: number
}

/** How a CPU quota holds up tasks that run side by side. */
export interface QuotaUse {
  cores: number
  /** Since this was asked last: part of its periods in which it was used up, 0..1. */
  usedUp: number
  /** And cores that all but kappa's jobs used of it; 0 where nothing tells. */
  others: number
}

/** A quota at one moment. */
interface QuotaReading extends Quota {
  atMs: number
  ownTicks: number
}

/** What was counted at one moment. */
interface Reading {
  atMs: number
  cpus: Map<number, CpuTimes>
  /** Seconds of CPU time by cgroup with a quota. */
  usedSeconds: Map<string, number>
  ownTicks: number
}

/** Readings kept. They lie a quarter of a window apart or more, so together they span at least one window. */
const READINGS_MAX = 6

/** Windows after which cgroups and affinity are looked up anew. */
const LOCATE_WINDOWS = 10

/** A namespace or cgroup with more processes isn't scanned for runnable ones. */
const SCANNED_PROCESSES_MAX = 64

/** The number of the first PID namespace of every kernel since 3.8 (PROC_PID_INIT_INO). */
const INITIAL_PID_NAMESPACE = 'pid:[4026531836]'

/**
 * Samples the load of this machine, or of the container that limits this process, leaving out the process trees that
 * kappa itself runs. Synchronous, some 0.1 ms, never throws. What can't be read: CPU times give one core that is busy
 * but for what `machine.cores` says, memory gives 0 bytes, an unknown limit is no limit.
 */
export class MachineSampler {
  readonly #proc: ProcReader
  readonly #cgroups: CgroupReader
  readonly #own: OwnProcesses
  readonly #self: number
  readonly #kernel: KernelConstants
  readonly #coresAllowed: number
  readonly #windowMs: number
  /** Oldest first; at most 6. */
  readonly #readings: Reading[] = []
  #affinity: number[] = []
  /** This process is in a container with its own process numbers. */
  #namespaced = false
  #locatedMs = Number.NEGATIVE_INFINITY
  #sampledMs: number | undefined
  #runnable = 0
  /** The tightest quota of the last sample, where it is less than the CPUs. */
  #sharedQuota: QuotaReading | undefined
  /** As of the last call of `quotaUse`. */
  #askedQuota: QuotaReading | undefined

  constructor(init: MachineSamplerInit = {}) {
    this.#proc = new ProcReader(init.procRoot ?? '/proc')
    this.#cgroups = new CgroupReader(this.#proc, init.cgroupRoot ?? '/sys/fs/cgroup')
    this.#self = Number(this.#proc.link('self') ?? process.pid)
    this.#own = new OwnProcesses(this.#proc, this.#self)
    this.#kernel = parseAuxv(this.#proc.bytes('self/auxv') ?? new Uint8Array())
    this.#coresAllowed = init.cores ?? Number.POSITIVE_INFINITY
    this.#windowMs = init.windowMs ?? 1000
  }

  /**
   * Measures the load over about one window before now; the first sample of all takes the tasks that are runnable at
   * this instant for busy cores.
   *
   * @param nowMs - of a clock that counts suspend; never falls
   * @param ownRoots - process numbers of the roots of the trees that kappa runs
   */
  sample(nowMs: number, ownRoots: Iterable<number>): LoadSample {
    if (nowMs - this.#locatedMs >= LOCATE_WINDOWS * this.#windowMs) this.#locate(nowMs)
    const stat = parseStat(this.#proc.text('stat') ?? '')
    const own = this.#own.read(ownRoots, nowMs - (this.#sampledMs ?? nowMs))
    const quotas = this.#cgroups.quotas()
    const cpus = this.#usable(stat.cpus)
    const cores = Math.min(Math.max(1, cpus.size), this.#coresAllowed, ...quotas.map((quota) => quota.cores))
    const tightest = tightestOf(quotas)
    const isShared = tightest !== undefined && cpus.size > 1 && tightest.cores < cpus.size
    this.#sharedQuota = isShared ? { ...tightest, atMs: nowMs, ownTicks: own.cpuTicks } : undefined
    this.#smoothRunnable(nowMs, this.#runnableNow(stat, own, quotas, cores))
    const used = quotas.flatMap(({ directory, usedSeconds }) =>
      usedSeconds === undefined ? [] : [[directory, usedSeconds] as const]
    )
    const reading: Reading = { atMs: nowMs, cpus, usedSeconds: new Map(used), ownTicks: own.cpuTicks }
    const idleCores = this.#idleCores(reading, quotas) ?? (stat.cpus.size === 0 ? 0 : cores - this.#runnable)
    this.#keep(reading)
    this.#sampledMs = nowMs
    return { cores, idleCores: Math.min(Math.max(0, idleCores), cores), runnable: this.#runnable, ...this.memory() }
  }

  /**
   * The quota that binds tasks on more CPUs than it is worth: they use it up side by side there, whatever their priority.
   * Undefined without one.
   */
  quotaUse(): QuotaUse | undefined {
    const now = this.#sharedQuota
    const before = this.#askedQuota
    this.#askedQuota = now
    if (now === undefined) return undefined
    if (before?.directory !== now.directory) return { cores: now.cores, usedUp: 0, others: 0 }
    const periods = now.periods - before.periods
    const usedUp = periods > 0 ? (now.usedUpPeriods - before.usedUpPeriods) / periods : 0
    const seconds = (now.atMs - before.atMs) / 1000
    const ownSeconds = (now.ownTicks - before.ownTicks) / this.#kernel.ticksPerSecond
    const told = now.usedSeconds !== undefined && before.usedSeconds !== undefined && seconds > 0
    const others = told ? Math.max(0, now.usedSeconds! - before.usedSeconds! - ownSeconds) / seconds : 0
    return { cores: now.cores, usedUp, others }
  }

  /** A tree of kappa's that isn't a child of this process has ended and used so much CPU time in all: no sample takes it for load. */
  ended(root: number, cpuMs: number): void {
    this.#own.ended(root, (cpuMs / 1000) * this.#kernel.ticksPerSecond)
  }

  #locate(nowMs: number): void {
    this.#cgroups.locate()
    this.#affinity = parseAffinity(this.#proc.text('self/status') ?? '')
    this.#namespaced = (this.#proc.link('self/ns/pid') ?? INITIAL_PID_NAMESPACE) !== INITIAL_PID_NAMESPACE
    this.#locatedMs = nowMs
  }

  #usable(cpus: Map<number, CpuTimes>): Map<number, CpuTimes> {
    const usable = new Map<number, CpuTimes>()
    for (const number of this.#affinity) {
      const times = cpus.get(number)
      if (times !== undefined) usable.set(number, times)
    }
    return usable.size === 0 ? cpus : usable
  }

  #keep(reading: Reading): void {
    const last = this.#readings.at(-1)
    if (last !== undefined && reading.atMs - last.atMs < this.#windowMs / 4) return
    this.#readings.push(reading)
    if (this.#readings.length > READINGS_MAX) this.#readings.shift()
  }

  /** Idle cores since the reading whose age is nearest to the window, kappa's jobs counted as idle; undefined without one in which time passed. */
  #idleCores(now: Reading, quotas: Quota[]): number | undefined {
    const age = (reading: Reading) => Math.abs(now.atMs - reading.atMs - this.#windowMs)
    const candidates = this.#readings.filter((reading) => reading.atMs < now.atMs)
    if (candidates.length === 0) return undefined
    const base = candidates.reduce((best, reading) => (age(reading) <= age(best) ? reading : best))
    let busyTicks = 0
    let idleTicks = 0
    let stealTicks = 0
    for (const [number, times] of now.cpus) {
      const before = base.cpus.get(number)
      if (before === undefined) continue
      busyTicks += Math.max(0, times.busy - before.busy)
      idleTicks += Math.max(0, times.idle - before.idle) // iowait may fall
      stealTicks += Math.max(0, times.steal - before.steal)
    }
    const totalTicks = busyTicks + idleTicks + stealTicks
    if (totalTicks === 0) return undefined
    const ownTicks = now.ownTicks - base.ownTicks
    const seconds = (now.atMs - base.atMs) / 1000
    const ownCores = ownTicks / this.#kernel.ticksPerSecond / seconds
    const othersCores = (Math.max(0, busyTicks - ownTicks) / totalTicks) * now.cpus.size
    const machineIdle = ((idleTicks + Math.min(busyTicks, ownTicks)) / totalTicks) * now.cpus.size
    const quotasIdle = quotas.map(({ directory, cores }) => {
      const used = now.usedSeconds.get(directory)
      const usedBefore = base.usedSeconds.get(directory)
      // Where nothing tells what the cgroup used, it may have been all that the machine did.
      if (used === undefined || usedBefore === undefined) return cores - othersCores
      return cores - Math.max(0, (used - usedBefore) / seconds - ownCores)
    })
    return Math.min(machineIdle, ...quotasIdle)
  }

  /**
   * Tasks that are runnable at this instant but for this process and kappa's jobs: those of the own PID namespace, or of
   * the cgroup with the tightest quota, where that is small. Else those of the whole machine (a container sees its
   * neighbours' tasks in that number), as many of them as the usable cores are of the machine's.
   */
  #runnableNow(stat: Stat, own: OwnReading, quotas: Quota[], cores: number): number {
    const processes = this.#competitors(quotas)
    if (processes === undefined) {
      const others = Math.max(0, stat.runnable - 1 - own.runnable)
      return others * Math.min(1, cores / Math.max(1, stat.cpus.size))
    }
    let runnable = 0
    for (const number of processes) {
      if (number === this.#self || own.processes.has(number)) continue
      const task = parseTaskStat(this.#proc.text(`${number}/stat`) ?? '')
      if (task !== undefined) runnable += runnableThreads(this.#proc, number, task)
    }
    return runnable
  }

  #competitors(quotas: Quota[]): number[] | undefined {
    if (this.#namespaced) {
      const numbers = this.#proc.list('').filter((name) => /^\d+$/.test(name))
      return numbers.length > SCANNED_PROCESSES_MAX ? undefined : numbers.map(Number)
    }
    if (quotas.length === 0) return undefined
    const tightest = tightestOf(quotas)!
    return this.#cgroups.processes(tightest.directory, SCANNED_PROCESSES_MAX)
  }

  #smoothRunnable(nowMs: number, runnable: number): void {
    const weight = this.#sampledMs === undefined ? 1 : 1 - Math.exp(-(nowMs - this.#sampledMs) / this.#windowMs)
    this.#runnable += (runnable - this.#runnable) * weight
  }

  /** Bytes of the machine, or of the container that it is. */
  memory(): { memoryTotal: number; memoryAvailable: number } {
    const machine = parseMeminfo(this.#proc.text('meminfo') ?? '')
    if (machine === undefined) return { memoryTotal: 0, memoryAvailable: 0 }
    const limit = this.#cgroups.memory(machine.totalBytes)
    return {
      memoryTotal: limit?.limitBytes ?? machine.totalBytes,
      memoryAvailable: Math.min(limit?.availableBytes ?? machine.availableBytes, machine.availableBytes)
    }
  }
}

function tightestOf(quotas: readonly Quota[]): Quota | undefined {
  const [first, ...others] = quotas
  return first && others.reduce((best, quota) => (quota.cores < best.cores ? quota : best), first)
}
