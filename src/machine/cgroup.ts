/**
 * The limits that cgroups set to this process, v1, v2 and both at once (hybrid): parsers, and a reader that walks from
 * the own cgroup up to the highest one that can be seen.
 */

import { join } from 'node:path'
import { ProcReader } from './proc-reader.ts'

/** Where nearly every system mounts its cgroups. */
const CGROUP_MOUNT = '/sys/fs/cgroup'

/** Levels from a cgroup to the root that are looked at; real ones have under ten. */
const DEPTH_MAX = 32

/** The controllers that matter here. */
type Controller = 'cpu' | 'cpuacct' | 'memory'

export interface CgroupPlace {
  version: 1 | 2
  /** Where the hierarchy is mounted. */
  mount: string
  /** The own cgroup below it: empty or `/a/b`. */
  path: string
}

interface Membership {
  version: 1 | 2
  controllers: string[]
  path: string
}

/** Parses /proc/PID/cgroup. */
export function parseMemberships(text: string): Membership[] {
  return Array.from(text.matchAll(/^(\d+):([^:\n]*):(\/.*)$/gm), ([, hierarchy, controllers, path]) => ({
    version: hierarchy === '0' && controllers === '' ? 2 : 1,
    controllers: controllers!.split(','),
    path: path!
  }))
}

interface CgroupMount {
  version: 1 | 2
  /** Options of the hierarchy, among them its controllers in v1. */
  options: string[]
  /** The cgroup that is mounted: `/` but in containers. */
  root: string
  mount: string
}

/** Parses the cgroup mounts of /proc/PID/mountinfo. */
export function parseCgroupMounts(text: string): CgroupMount[] {
  const decode = (path: string) =>
    path.replaceAll(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8)))
  return Array.from(
    text.matchAll(/^\d+ \d+ \S+ (\S+) (\S+) .*? - (cgroup2?) \S+ (\S+)$/gm),
    ([, root, mount, type, options]) => ({
      version: type === 'cgroup2' ? 2 : 1,
      options: options!.split(','),
      root: decode(root!),
      mount: decode(mount!)
    })
  )
}

/** Where this process is for a controller; undefined where its hierarchy isn't mounted. A v1 hierarchy that has the controller wins over v2. */
export function placeOf(
  controller: Controller,
  memberships: Membership[],
  mounts: CgroupMount[]
): CgroupPlace | undefined {
  const first = memberships.find(
    (membership) => membership.version === 1 && membership.controllers.includes(controller)
  )
  const membership = first ?? memberships.find(({ version }) => version === 2)
  if (membership === undefined) return undefined
  const { version, path } = membership
  const mount = mounts.find(
    (candidate) => candidate.version === version && (version === 2 || candidate.options.includes(controller))
  )
  if (mount === undefined) return undefined
  return { version, mount: mount.mount, path: pathBelow(mount.root, path) }
}

/** A path in the hierarchy as seen below its mount; a path outside of what is mounted (`/..`) counts as the mount itself. */
function pathBelow(root: string, path: string): string {
  const above = root === '/' ? '' : root
  if (path.startsWith('/..') || !(path === above || path.startsWith(`${above}/`))) return ''
  const below = path.slice(above.length)
  return below === '/' ? '' : below
}

/** Parses cpu.max of v2 into cores; undefined without a limit. */
export function parseCpuMax(text: string): number | undefined {
  const [, quota, period] = /^(\d+) (\d+)$/m.exec(text) ?? []
  return coresOf(Number(quota), Number(period))
}

/** Cores that a quota and a period of v1 in µs come to; undefined without a limit (−1). */
export function coresOf(quotaUs: number, periodUs: number): number | undefined {
  return quotaUs > 0 && periodUs > 0 ? quotaUs / periodUs : undefined
}

/** The number behind a key in a file of `key number` lines, such as cpu.stat and memory.stat. */
export function parseKey(text: string, key: string): number | undefined {
  const value = new RegExp(`^${key} (\\d+)$`, 'm').exec(text)?.[1]
  return value === undefined ? undefined : Number(value)
}

/** Parses a file that holds one whole number; undefined for anything else, such as `max` and −1. */
export function parseNumber(text: string | undefined): number | undefined {
  return text !== undefined && /^\d+\s*$/.test(text) ? Number(text) : undefined
}

/** A cgroup, this process's own or one above, that has a CPU quota. */
export interface Quota {
  /** Names the cgroup. */
  directory: string
  cores: number
  /** CPU time that the cgroup and those below have used so far; undefined where nothing tells. */
  usedSeconds: number | undefined
  /** Periods of the quota so far in which the cgroup had work, and those of them in which it used the quota up; 0 where nothing tells. */
  periods: number
  usedUpPeriods: number
}

/** Reads the limits on this process. Never throws; what can't be read is no limit. */
export class CgroupReader {
  readonly #proc: ProcReader
  readonly #files = new ProcReader('/')
  readonly #root: string
  readonly #places = new Map<Controller, CgroupPlace>()

  /** @param root - stands for /sys/fs/cgroup */
  constructor(proc: ProcReader, root: string) {
    this.#proc = proc
    this.#root = root
  }

  /** Finds the own cgroups anew. They change when somebody moves this process, which is rare. */
  locate(): void {
    const memberships = parseMemberships(this.#proc.text('self/cgroup') ?? '')
    const mounts = parseCgroupMounts(this.#proc.text('self/mountinfo') ?? '')
    this.#places.clear()
    for (const controller of ['cpu', 'cpuacct', 'memory'] as const) {
      const place = placeOf(controller, memberships, mounts)
      if (place !== undefined) this.#places.set(controller, place)
    }
  }

  /** Every CPU quota that binds this process, its own cgroup's first; at most 32. */
  quotas(): Quota[] {
    const place = this.#places.get('cpu')
    if (place === undefined) return []
    return this.#levels(place).flatMap(({ directory, path }) => {
      const cores = this.#cores(place.version, directory)
      if (cores === undefined) return []
      const stat = this.#files.text(join(directory, 'cpu.stat')) ?? ''
      return [
        {
          directory,
          cores,
          usedSeconds: this.#usedSeconds(place.version, directory, path),
          periods: parseKey(stat, 'nr_periods') ?? 0,
          usedUpPeriods: parseKey(stat, 'nr_throttled') ?? 0
        }
      ]
    })
  }

  /** The tightest memory limit and what is left below the tightest one, page cache that can be dropped counted as free; undefined without limits under `totalBytes`. */
  memory(totalBytes: number): { limitBytes: number; availableBytes: number } | undefined {
    const place = this.#places.get('memory')
    if (place === undefined) return undefined
    let tightest: { limitBytes: number; availableBytes: number } | undefined
    for (const { directory } of this.#levels(place)) {
      const [limitFile, usageFile, cacheKey] =
        place.version === 2
          ? (['memory.max', 'memory.current', 'inactive_file'] as const)
          : (['memory.limit_in_bytes', 'memory.usage_in_bytes', 'total_inactive_file'] as const)
      const limitBytes = parseNumber(this.#files.text(join(directory, limitFile)))
      if (limitBytes === undefined || limitBytes >= totalBytes) continue
      const usedBytes = parseNumber(this.#files.text(join(directory, usageFile))) ?? 0
      const cacheBytes = parseKey(this.#files.text(join(directory, 'memory.stat')) ?? '', cacheKey) ?? 0
      const availableBytes = Math.max(0, limitBytes - Math.max(0, usedBytes - cacheBytes))
      tightest = {
        limitBytes: Math.min(limitBytes, tightest?.limitBytes ?? limitBytes),
        availableBytes: Math.min(availableBytes, tightest?.availableBytes ?? availableBytes)
      }
    }
    return tightest
  }

  /** The processes in a cgroup and those below it; undefined when they are more than `max`, or in more cgroups than that. */
  processes(directory: string, max: number): number[] | undefined {
    const found: number[] = []
    const waiting = [directory]
    for (let seen = 0; waiting.length > 0; seen++) {
      if (seen > max || found.length > max) return undefined
      const next = waiting.pop()!
      const text = this.#files.text(join(next, 'cgroup.procs')) ?? ''
      for (const line of text.split('\n')) if (line !== '') found.push(Number(line))
      waiting.push(...this.#files.directories(next))
    }
    return found.length > max ? undefined : found
  }

  /** The cgroups from the own one up to the highest that is mounted. */
  #levels(place: CgroupPlace): { directory: string; path: string }[] {
    const mount = this.#translate(place.mount)
    const levels: { directory: string; path: string }[] = []
    let path = place.path
    while (levels.length < DEPTH_MAX) {
      levels.push({ directory: mount + path, path })
      if (path === '') break
      path = path.slice(0, path.lastIndexOf('/'))
    }
    return levels
  }

  #translate(mount: string): string {
    return mount === CGROUP_MOUNT || mount.startsWith(`${CGROUP_MOUNT}/`)
      ? this.#root + mount.slice(CGROUP_MOUNT.length)
      : mount
  }

  #cores(version: 1 | 2, directory: string): number | undefined {
    if (version === 2) return parseCpuMax(this.#files.text(join(directory, 'cpu.max')) ?? '')
    const quotaUs = parseNumber(this.#files.text(join(directory, 'cpu.cfs_quota_us')))
    if (quotaUs === undefined) return undefined
    return coresOf(quotaUs, parseNumber(this.#files.text(join(directory, 'cpu.cfs_period_us'))) ?? 100_000)
  }

  #usedSeconds(version: 1 | 2, directory: string, path: string): number | undefined {
    if (version === 2) {
      const usedUs = parseKey(this.#files.text(join(directory, 'cpu.stat')) ?? '', 'usage_usec')
      return usedUs === undefined ? undefined : usedUs / 1e6
    }
    // cpuacct may be a hierarchy of its own; the same cgroup has the same path there, if this process is below it there too.
    const accounting = this.#places.get('cpuacct')
    if (accounting === undefined || !`${accounting.path}/`.startsWith(`${path}/`)) return undefined
    const usedNs = parseNumber(this.#files.text(join(this.#translate(accounting.mount) + path, 'cpuacct.usage')))
    return usedNs === undefined ? undefined : usedNs / 1e9
  }
}
