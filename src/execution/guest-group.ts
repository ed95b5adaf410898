/**
 * A cgroup of small CPU weight around all guests, where this user may make one. Without it guests are kept down by
 * nice values and autogroups, which hold per session only: many sessions on one core add up.
 */

import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { findProgram, type Tools } from './tools.ts'

/** The nice value that leaves most to others. */
export const LOWEST_NICE = 19

const NAME = 'kappa-guests-'

/** Where the daemon moves itself when its cgroup (v2) is to have children with controllers. */
const LEAF = 'kappa-daemon'

/** 2 % beside one other group with the default of 1024: the owner keeps 98 %, and no guest starves at its start. */
const SHARES = '20'

/** The same where the default is 100. */
const WEIGHT = '2'

/** Of the quota that all guests together may be given, µs; and the least that the kernel takes. */
const PERIOD_US = 100_000
const QUOTA_LEAST_US = 1_000

/** Guests die first when memory runs out, get only what CPU is left over, and leave no core dumps to this machine's handler. */
const PRELUDE = 'ulimit -c 0; echo 1000 >/proc/self/oom_score_adj; [ -z "$1" ] || echo $$ >"$1"; shift; exec "$@"'

/** Number of keyctl(2) by `process.arch`. */
const KEYCTL: Record<string, number> = { arm64: 219, x64: 250 }

/**
 * A session keyring of its own: the daemon's, which may hold the owner's tickets and passwords, would be inherited,
 * namespaces or not. Without perl guests keep it (a service with KeyringMode=private has none to lose).
 */
function freshKeyring(): string[] {
  const [perl, keyctl] = [findProgram('perl'), KEYCTL[process.arch]]
  if (perl === null || keyctl === undefined) return []
  const JOIN_SESSION_KEYRING = 1
  return [perl, '-e', `syscall(${keyctl}, ${JOIN_SESSION_KEYRING}, 0); exec { $ARGV[0] } @ARGV or exit 127`]
}

/** What keeps guests below the owner's own processes. */
export interface GuestPriority {
  /** Nice value of guests, 0–19. */
  nice: number
  /** The group that holds them all, where there is one. */
  group: GuestGroup | null
  tools: Tools
}

/** What comes before every guest's command, as arguments of `sh`; still with the daemon's rights. */
export function guestPrelude({ tools, group, nice }: GuestPriority): string[] {
  return ['-c', PRELUDE, 'kappa', group?.procs ?? '', ...freshKeyring(), tools.nice, '-n', String(nice)]
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return ''
  }
}

/** Directories of this process's cgroup in the hierarchy with the CPU controller. */
export function cpuGroupOf(cgroup: string, mountinfo: string): { version: 1 | 2; path: string } | null {
  const mounts = mountinfo.split('\n').map((line) => {
    const [fields = '', type = ''] = line.split(' - ')
    return {
      root: fields.split(' ')[3] ?? '',
      path: fields.split(' ')[4] ?? '',
      type: type.split(' ')[0],
      options: type.split(/[ ,]/)
    }
  })
  for (const line of cgroup.split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? []
    if (path === undefined || controllers === undefined) continue
    const version = controllers === '' ? 2 : 1
    if (version === 1 && !controllers.split(',').includes('cpu')) continue
    const mount = mounts.find(({ type, options }) =>
      version === 2 ? type === 'cgroup2' : type === 'cgroup' && options.includes('cpu')
    )
    if (mount === undefined) continue
    // In a container the mount may show only the part below its own root.
    const below = mount.root !== '/' && path.startsWith(mount.root) ? path.slice(mount.root.length) : path
    const directory = `${mount.path}${below}`.replace(/\/+$/, '')
    if (version === 1 || read(`${directory}/cgroup.controllers`).split(/\s/).includes('cpu'))
      return { version, path: directory }
  }
  return null
}

/** Removes the groups of daemons that died; a group with processes stays. */
function removeStale(directory: string): void {
  for (const name of readdirSync(directory)) {
    if (!name.startsWith(NAME) || existsSync(`/proc/${name.slice(NAME.length)}`)) continue
    try {
      rmdirSync(`${directory}/${name}`)
    } catch {}
  }
}

export class GuestGroup {
  /** What a process writes its number to, to be in the group. */
  readonly procs: string
  readonly #path: string
  readonly #version: 1 | 2
  #limit: number | undefined

  private constructor({ version, path }: { version: 1 | 2; path: string }) {
    this.#path = path
    this.#version = version
    this.procs = `${path}/cgroup.procs`
  }

  /** Makes the group below a CPU cgroup (this process's own unless given), or returns null where it may not. */
  static open(own = cpuGroupOf(read('/proc/self/cgroup'), read('/proc/self/mountinfo'))): GuestGroup | null {
    if (own === null) return null
    const path = `${own.path}/${NAME}${process.pid}`
    try {
      removeStale(own.path)
      if (own.version === 2) GuestGroup.#delegate(own.path)
      mkdirSync(path, { recursive: true })
      if (own.version === 1) writeFileSync(`${path}/cpu.shares`, SHARES)
      else writeFileSync(`${path}/cpu.weight`, WEIGHT)
      return new GuestGroup({ version: own.version, path })
    } catch {
      return null
    }
  }

  /** Only a cgroup that is this process's alone may be parted: v2 wants processes in leaves. */
  static #delegate(path: string): void {
    if (read(`${path}/cgroup.subtree_control`).split(/\s/).includes('cpu')) return
    if (read(`${path}/cgroup.procs`).trim() !== String(process.pid)) throw new Error('the cgroup is shared')
    mkdirSync(`${path}/${LEAF}`, { recursive: true })
    writeFileSync(`${path}/${LEAF}/cgroup.procs`, String(process.pid))
    writeFileSync(`${path}/cgroup.subtree_control`, '+cpu')
  }

  /** Cores that all guests together may use; undefined: no limit of their own. Where that may not be set they keep what they have. */
  limit(cores: number | undefined): void {
    if (cores === this.#limit) return
    this.#limit = cores
    const quotaUs = cores === undefined ? undefined : Math.max(QUOTA_LEAST_US, Math.round(cores * PERIOD_US))
    try {
      if (this.#version === 2) writeFileSync(`${this.#path}/cpu.max`, `${quotaUs ?? 'max'} ${PERIOD_US}`)
      else writeFileSync(`${this.#path}/cpu.cfs_quota_us`, String(quotaUs ?? -1))
    } catch {}
  }

  /** Removes the group once its processes are gone. */
  close(): void {
    try {
      rmdirSync(this.#path)
    } catch {}
  }
}
