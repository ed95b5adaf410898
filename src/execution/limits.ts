/**
 * What guests may take of the machine, and the watch that holds them to it where the kernel can't: it looks each second,
 * oftener when little is left, and ends the guest that has most. A job hears which limit it was, in the owner's words.
 */

import { statfsSync, statSync } from 'node:fs'
import type { GuestGroup } from './guest-group.ts'
import { ENTRY_BYTES, exactMemoryOf, memoryOf, treeBytes, unlinkedBytes } from './usage.ts'

export interface GuestLimits {
  /** Bytes of memory for all guests together; what the floor leaves when undefined. */
  memory: number | undefined
  /** Bytes of memory that stay free of guests. */
  memoryFloor: number
  /** Processes and threads of one job. */
  processes: number
  /** Bytes on the disk for all guests together, or a share of what was free there before they came. */
  disk: { bytes: number } | { share: number }
  /** ms that a job may run; undefined: for ever. */
  time: number | undefined
}

/** A job as the watch sees it. */
export interface Watched {
  /** An ended one may still have files that home hasn't fetched. */
  readonly living: boolean
  /** ms since its start; undefined before. */
  readonly runningMs: number | undefined
  /** Directories of /proc, of its processes. */
  processes(): string[]
  /** What it has on the disk, and in memory as files. */
  readonly files: { disk: string; memory: string | undefined }
  /** Kills it, telling why. */
  end(why: string): void
  /** It will end by itself perhaps: then this is told, unless it ends well. */
  note(why: string): void
}

export interface WatchInit {
  /** A directory on the file system that guests write to. */
  directory: string
  group: GuestGroup | null
  /** Bytes of memory of the machine, or of the container that it is. */
  memory(): { memoryTotal: number; memoryAvailable: number }
  jobs(): Iterable<Watched>
}

/** ms between two looks, and when a limit is near. */
const LOOK = 1_000
const LOOK_SOON = 50

/** Bytes per ms that a guest may allocate or write at most, about: how soon the next look must be. */
const MEMORY_PACE = 4_000_000
const DISK_PACE = 2_000_000

/** Ending a guest that holds less gives the owner nothing back. */
const WORTHWHILE = 32 * 2 ** 20

/** Of the disk, and of its files, what no guest may take, whatever `disk` is: the daemon's own state needs some. */
const RESERVE_SHARE = 0.02
const RESERVE_MAX = 2 ** 30

/** Files of all guests that one look counts. */
const ENTRIES_MAX = 50_000

/** Kernel's reclaim comes first where a group holds the limit: of the last bit the watch keeps out. */
const NEARLY = 0.97

const MEBIBYTE = 2 ** 20

function mebibytes(bytes: number): string {
  return bytes >= 10 * 2 ** 30 ? `${Math.round(bytes / 2 ** 30)} GiB` : `${Math.round(bytes / MEBIBYTE)} MiB`
}

interface Free {
  bytes: number
  files: number
}

export class Watch {
  readonly #init: WatchInit
  #limits: GuestLimits
  #timer: NodeJS.Timeout | undefined
  /** What would be free on the disk without guests, as of the last look at what they have. */
  #without: Free | undefined
  /** The last that was ended for what it held. */
  #ending: Watched | undefined
  /** Bytes that guests may have there; fixed while there are any. */
  #diskBytes = 0

  constructor(init: WatchInit, limits: GuestLimits) {
    this.#init = init
    this.#limits = limits
    this.configure(limits)
  }

  get limits(): GuestLimits {
    return this.#limits
  }

  configure(limits: GuestLimits): void {
    this.#limits = limits
    this.#without = undefined
    this.#init.group?.bound(this.#memoryMax)
  }

  /** Bytes that one file of a guest may have. */
  get fileMax(): number {
    this.#measureDisk()
    return Math.max(this.#diskBytes, MEBIBYTE)
  }

  /** There is a job to be watched. */
  start(): void {
    this.#measureDisk()
    this.#timer ??= setTimeout(() => this.#look(), LOOK_SOON).unref()
  }

  /** There is none any more. */
  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#without = undefined
    this.#ending = undefined
  }

  get #memoryMax(): number {
    const { memory, memoryFloor } = this.#limits
    const { memoryTotal } = this.#init.memory()
    const above = memoryTotal === 0 ? Number.POSITIVE_INFINITY : Math.max(0, memoryTotal - memoryFloor)
    return Math.min(memory ?? above, above)
  }

  #look(): void {
    const jobs = [...this.#init.jobs()]
    this.#lookAtTimes(jobs)
    this.#lookAtProcesses(jobs)
    Promise.all([this.#lookAtMemory(jobs), this.#lookAtDisk(jobs)]).then(
      (leftMs) => this.#again(Math.min(LOOK, ...leftMs, ...this.#timesLeft(jobs))),
      // A file that went away meanwhile: the next look tells.
      () => this.#again(LOOK)
    )
  }

  #again(ms: number): void {
    if (this.#timer === undefined) return
    this.#timer = setTimeout(() => this.#look(), Math.max(LOOK_SOON, ms)).unref()
  }

  // ------------------------------------------------------------------------------------------- time and processes

  #timesLeft(jobs: Watched[]): number[] {
    const { time } = this.#limits
    return time === undefined ? [] : jobs.filter((job) => job.living).map((job) => time - (job.runningMs ?? 0))
  }

  #lookAtTimes(jobs: Watched[]): void {
    const { time } = this.#limits
    if (time === undefined) return
    for (const job of jobs) {
      if (job.living && (job.runningMs ?? 0) >= time)
        job.end(`it ran for ${Math.round(time / 1000)} s, which is guests.time`)
    }
  }

  /** The kernel refuses what is beyond; that a job came near is worth a word when it fails. */
  #lookAtProcesses(jobs: Watched[]): void {
    const { processes } = this.#limits
    for (const job of jobs) {
      if (job.processes().length >= processes * 0.9)
        job.note(`it had ${processes} processes, which is guests.processes`)
    }
  }

  // ------------------------------------------------------------------------------------------- memory

  /** ms until the next look. */
  async #lookAtMemory(jobs: Watched[]): Promise<number> {
    const { memory, memoryFloor } = this.#limits
    const { memoryTotal, memoryAvailable } = this.#init.memory()
    if (memoryTotal > 0 && memoryAvailable < memoryFloor) {
      const why = `memory ran low: its owner keeps ${mebibytes(memoryFloor)} free of guests (guests.memory_floor)`
      const byJob = await this.#memoryByJob(jobs)
      // One may have ended by itself meanwhile.
      return this.#init.memory().memoryAvailable < memoryFloor ? this.#endLargest(byJob, why, WORTHWHILE) : LOOK_SOON
    }
    const floorMs = memoryTotal === 0 ? LOOK : (memoryAvailable - memoryFloor) / MEMORY_PACE
    const grouped = this.#init.group?.memoryUsed()
    if (grouped === undefined && memory === undefined) return floorMs
    const max = this.#memoryMax
    const why = `guests had more than ${mebibytes(max)} of memory together, and it had most (guests.memory)`
    if (grouped !== undefined && grouped < max * NEARLY) return Math.min(floorMs, (max - grouped) / MEMORY_PACE)
    const byJob = await this.#memoryByJob(jobs)
    if (grouped !== undefined) {
      const now = (this.#init.group?.memoryUsed() ?? 0) - heldByEnded(byJob)
      // The kernel may have killed one already, whose memory is not yet free: then nobody else has so much.
      return now < max * NEARLY ? LOOK : this.#endLargest(byJob, why, now / (2 * jobs.length))
    }
    const sum = total(byJob) - heldByEnded(byJob)
    if (sum <= max) return Math.min(floorMs, (max - sum) / MEMORY_PACE)
    // Forked processes share pages, which were counted for each.
    for (const [job] of byJob) byJob.set(job, (await exactMemoryOf(job.processes())) + (await filesInMemory(job)))
    return total(byJob) - heldByEnded(byJob) <= max ? LOOK : this.#endLargest(byJob, why, 0)
  }

  async #memoryByJob(jobs: Watched[]): Promise<Map<Watched, number>> {
    const byJob = new Map<Watched, number>()
    for (const job of jobs) byJob.set(job, memoryOf(job.processes()) + (await filesInMemory(job)))
    return byJob
  }

  // ------------------------------------------------------------------------------------------- disk

  #free(): Free & { total: Free } {
    const { bavail, bsize, blocks, ffree, files } = statfsSync(this.#init.directory)
    return { bytes: bavail * bsize, files: ffree, total: { bytes: blocks * bsize, files } }
  }

  #measureDisk(): void {
    if (this.#without !== undefined) return
    const { disk } = this.#limits
    this.#without = this.#free()
    this.#diskBytes = 'bytes' in disk ? disk.bytes : Math.floor(this.#without.bytes * disk.share)
  }

  /** ms until the next look. What guests have is only added up when as much as they may have is gone. */
  async #lookAtDisk(jobs: Watched[]): Promise<number> {
    this.#measureDisk()
    const { bytes, files, total: all } = this.#free()
    const max = this.#diskBytes
    const without = this.#without!
    const reserve = Math.min(RESERVE_MAX, all.bytes * RESERVE_SHARE)
    const full = bytes < reserve || (all.files > 0 && files < all.files * RESERVE_SHARE)
    const gone = Math.max(without.bytes - bytes, (without.files - files) * ENTRY_BYTES)
    if (!full && gone <= max) return Math.min(max - gone, bytes - reserve) / DISK_PACE
    const byJob = await this.#diskByJob(jobs)
    const sum = total(byJob)
    if (sum - heldByEnded(byJob) > max) {
      const why = `guests had more than ${mebibytes(max)} on the disk together, and it had most (guests.disk)`
      return this.#endLargest(byJob, why, 0)
    }
    if (full && heldByEnded(byJob) < WORTHWHILE) return this.#endLargest(byJob, 'the disk there is full', WORTHWHILE)
    // It was the owner, or files that are gone by now.
    const entries = Math.floor(sum / ENTRY_BYTES)
    this.#without = { bytes: bytes + sum, files: Math.max(files, Math.min(without.files, files + entries)) }
    return LOOK
  }

  async #diskByJob(jobs: Watched[]): Promise<Map<Watched, number>> {
    const device = statSync(this.#init.directory).dev
    const byJob = new Map<Watched, number>()
    const each = Math.ceil(ENTRIES_MAX / Math.max(1, jobs.length))
    for (const job of jobs) {
      byJob.set(job, (await treeBytes(job.files.disk, each)) + (await unlinkedBytes(job.processes(), device)))
    }
    return byJob
  }

  #endLargest(byJob: Map<Watched, number>, why: string, worthwhile: number): number {
    // What the last one holds is not free before all of it is dead.
    if (this.#ending?.living) return LOOK_SOON
    const [largest] = [...byJob].filter(([job]) => job.living).sort(([, a], [, b]) => b - a)
    if (largest === undefined || largest[1] < worthwhile) return LOOK
    this.#ending = largest[0]
    this.#ending.end(why)
    return LOOK_SOON
  }
}

async function filesInMemory(job: Watched): Promise<number> {
  return job.files.memory === undefined ? 0 : await treeBytes(job.files.memory, ENTRIES_MAX)
}

/** Their files, until their homes have fetched what they wanted. */
function heldByEnded(byJob: Map<Watched, number>): number {
  return [...byJob].reduce((sum, [job, bytes]) => sum + (job.living ? 0 : bytes), 0)
}

function total(byJob: Map<Watched, number>): number {
  return [...byJob.values()].reduce((sum, bytes) => sum + bytes, 0)
}
