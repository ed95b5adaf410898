/**
 * Cgroups around all guests, of small CPU weight and with a limit of memory and processes, where this user may make
 * them. Without them guests are kept down by nice values and autogroups, which hold per session only: many sessions on one
 * core add up; and by the watch (limits.ts).
 */

import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmdirSync, writeFileSync } from 'node:fs'
import { parseKey, parseNumber } from '../machine/cgroup.ts'
import { findProgram, type Tools } from './tools.ts'

/** The nice value that leaves most to others. */
export const LOWEST_NICE = 19

/** Of groups: the number of their daemon, and the PID namespace that counts so, for containers may share a cgroup. */
const NAME = /^kappa-guests-(\d+)\.(\d+)$/

const NAMESPACE = namespaceOf('self')

/** The namespace that sees all processes, on every Linux. */
const INITIAL_NAMESPACE = '4026531836'

/** What this daemon's groups are called. */
export const GROUP_NAME = `kappa-guests-${process.pid}.${NAMESPACE}`

/** Where the daemon moves itself when its cgroup (v2) is to have children with controllers. */
const LEAF = 'kappa-daemon'

/** 2 % beside one other group with the default of 1024: the owner keeps 98 %, and no guest starves at its start. */
const SHARES = '20'

/** The same where the default is 100. */
const WEIGHT = '2'

/** Of the quota that all guests together may be given, µs; and the least that the kernel takes. */
const PERIOD_US = 100_000
const QUOTA_LEAST_US = 1_000

/** Guests die first when memory runs out, and are in the groups that hold them all. */
const PRELUDE = 'echo 1000 >/proc/self/oom_score_adj; for g in $1; do echo $$ >"$g"; done; shift; exec "$@"'

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
  /** The groups that hold them all, where there are any. */
  group: GuestGroup | null
  tools: Tools
}

/** What comes before every guest's command, as arguments of `sh`; still with the daemon's rights. */
export function guestPrelude({ tools, group, nice }: GuestPriority): string[] {
  return ['-c', PRELUDE, 'kappa', group?.procs.join(' ') ?? '', ...freshKeyring(), tools.nice, '-n', String(nice)]
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return ''
  }
}

/** What may be held by a group: the share of the CPU, the sum of memory, the number of processes. */
const CONTROLLERS = ['cpu', 'memory', 'pids'] as const

export type Controller = (typeof CONTROLLERS)[number]

/** A cgroup of this process. */
export interface OwnGroup {
  version: 1 | 2
  path: string
}

/** Directory of this process's cgroup in the hierarchy with a controller, from the texts of /proc/self. */
export function ownGroupOf(controller: Controller, cgroup: string, mountinfo: string): OwnGroup | null {
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
    if (version === 1 && !controllers.split(',').includes(controller)) continue
    const mount = mounts.find(({ type, options }) =>
      version === 2 ? type === 'cgroup2' : type === 'cgroup' && options.includes(controller)
    )
    if (mount === undefined) continue
    // In a container the mount may show only the part below its own root.
    const below = mount.root !== '/' && path.startsWith(mount.root) ? path.slice(mount.root.length) : path
    // A daemon that took over from an older one is where that one moved itself.
    const outer = version === 2 && below.endsWith(`/${LEAF}`) ? below.slice(0, -LEAF.length) : below
    const directory = `${mount.path}${outer}`.replace(/\/+$/, '')
    if (version === 1 || read(`${directory}/cgroup.controllers`).split(/\s/).includes(controller))
      return { version, path: directory }
  }
  return null
}

/** Removes the groups of daemons that died; a group with processes stays. */
function removeStale(directory: string): void {
  for (const name of readdirSync(directory)) {
    const [, pid, namespace] = NAME.exec(name) ?? []
    if (pid === undefined || namespace === undefined || mayLive(pid, namespace)) continue
    try {
      rmdirSync(`${directory}/${name}`)
    } catch {}
  }
}

function mayLive(pid: string, namespace: string): boolean {
  if (namespace === NAMESPACE) return existsSync(`/proc/${pid}`)
  if (NAMESPACE !== INITIAL_NAMESPACE) return true
  return readdirSync('/proc').some((name) => /^\d+$/.test(name) && namespaceOf(name) === namespace)
}

/** Number of a process's PID namespace; empty when it is gone, or somebody else's. */
function namespaceOf(process: string): string {
  try {
    return /\d+/.exec(readlinkSync(`/proc/${process}/ns/pid`))?.[0] ?? ''
  } catch {
    return ''
  }
}

/** The largest number of processes of all guests together, as a share of what the kernel has numbers for. */
const PROCESSES_SHARE = 0.5

export class GuestGroup {
  /** What a process writes its number to, to be in the groups. */
  readonly procs: readonly string[]
  /** One directory for each controller in v1, one for all in v2. */
  readonly #groups: ReadonlyMap<Controller, OwnGroup>
  #limit: number | undefined

  private constructor(groups: ReadonlyMap<Controller, OwnGroup>) {
    this.#groups = groups
    this.procs = this.#paths().map((path) => `${path}/cgroup.procs`)
  }

  /**
   * Makes groups below this process's own, for each controller where it may; null where it may nowhere. Without `weigh`
   * guests share the CPU as equals.
   */
  static open(weigh: boolean, own: (controller: Controller) => OwnGroup | null = ownGroup): GuestGroup | null {
    const groups = new Map<Controller, OwnGroup>()
    // All are found before the first is made: that may move this process.
    const above = (weigh ? CONTROLLERS : CONTROLLERS.filter((name) => name !== 'cpu')).map(
      (name) => [name, own(name)] as const
    )
    for (const [controller, group] of above) {
      const inner = group === null ? null : made(controller, group)
      if (inner !== null) groups.set(controller, inner)
    }
    return groups.size === 0 ? null : new GuestGroup(groups)
  }

  /** Whether guests have the least weight among all that want the CPU. */
  get weighs(): boolean {
    return this.holds('cpu')
  }

  /** Whether there is a group for this. */
  holds(controller: Controller): boolean {
    return this.#groups.has(controller)
  }

  /** Cores that all guests together may use; undefined: no limit of their own. Where that may not be set they keep what they have. */
  limit(cores: number | undefined): void {
    const cpu = this.#groups.get('cpu')
    if (cores === this.#limit || cpu === undefined) return
    this.#limit = cores
    const quotaUs = cores === undefined ? undefined : Math.max(QUOTA_LEAST_US, Math.round(cores * PERIOD_US))
    if (cpu.version === 2) write(`${cpu.path}/cpu.max`, `${quotaUs ?? 'max'} ${PERIOD_US}`)
    else write(`${cpu.path}/cpu.cfs_quota_us`, String(quotaUs ?? -1))
  }

  /** Limits memory and processes of all guests together. What a kernel does not know or does not want is left as it was. */
  bound(memoryBytes: number): void {
    const memory = this.#groups.get('memory')
    const none = memoryBytes === Number.POSITIVE_INFINITY
    if (memory?.version === 2) {
      write(`${memory.path}/memory.max`, none ? 'max' : String(memoryBytes))
      // What doesn't fit in memory shall not keep the owner's disk busy.
      write(`${memory.path}/memory.swap.max`, '0')
    } else if (memory !== undefined) write(`${memory.path}/memory.limit_in_bytes`, none ? '-1' : String(memoryBytes))
    const pids = this.#groups.get('pids')
    if (pids === undefined) return
    const numbers = Number(read('/proc/sys/kernel/pid_max')) || 32_768
    write(`${pids.path}/pids.max`, String(Math.floor(numbers * PROCESSES_SHARE)))
  }

  /** Bytes of memory that guests use together, without cache that can be dropped; undefined where nobody counts. */
  memoryUsed(): number | undefined {
    const memory = this.#groups.get('memory')
    if (memory === undefined) return undefined
    const v2 = memory.version === 2
    const used = parseNumber(read(`${memory.path}/${v2 ? 'memory.current' : 'memory.usage_in_bytes'}`))
    if (used === undefined) return undefined
    const cache = parseKey(read(`${memory.path}/memory.stat`), v2 ? 'inactive_file' : 'total_inactive_file') ?? 0
    return Math.max(0, used - cache)
  }

  /** How many processes of guests the kernel killed for want of memory. */
  get killed(): number {
    const memory = this.#groups.get('memory')
    if (memory === undefined) return 0
    return (
      parseKey(read(`${memory.path}/${memory.version === 2 ? 'memory.events' : 'memory.oom_control'}`), 'oom_kill') ?? 0
    )
  }

  /** Removes the groups once their processes are gone. */
  close(): void {
    for (const path of this.#paths()) {
      try {
        rmdirSync(path)
      } catch {}
    }
  }

  #paths(): string[] {
    return [...new Set([...this.#groups.values()].map(({ path }) => path))]
  }
}

function ownGroup(controller: Controller): OwnGroup | null {
  return ownGroupOf(controller, read('/proc/self/cgroup'), read('/proc/self/mountinfo'))
}

function write(path: string, text: string): void {
  try {
    writeFileSync(path, text)
  } catch {}
}

/** The guests' group below one of this process's, or null where it may make none. */
function made(controller: Controller, own: OwnGroup): OwnGroup | null {
  const path = `${own.path}/${GROUP_NAME}`
  try {
    // Their names are passed as one text.
    if (/\s/.test(path)) return null
    removeStale(own.path)
    if (own.version === 2) delegate(own.path, controller)
    mkdirSync(path, { recursive: true })
    if (controller === 'cpu')
      writeFileSync(`${path}/cpu.${own.version === 1 ? 'shares' : 'weight'}`, own.version === 1 ? SHARES : WEIGHT)
    return { version: own.version, path }
  } catch {
    return null
  }
}

/** Only a cgroup that is this process's alone may be parted: v2 wants processes in leaves. */
function delegate(path: string, controller: Controller): void {
  if (read(`${path}/cgroup.subtree_control`).split(/\s/).includes(controller)) return
  const members = read(`${path}/cgroup.procs`).trim()
  if (members !== '' && members !== String(process.pid)) throw new Error('the cgroup is shared')
  if (members !== '') {
    mkdirSync(`${path}/${LEAF}`, { recursive: true })
    writeFileSync(`${path}/${LEAF}/cgroup.procs`, members)
  }
  writeFileSync(`${path}/cgroup.subtree_control`, `+${controller}`)
}
