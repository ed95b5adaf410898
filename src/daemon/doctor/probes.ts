/** Looks at this machine for the checks that don't ask the daemon: what the kernel and the distribution give. */

import { lstatSync, readFileSync, realpathSync, statfsSync, statSync } from 'node:fs'
import { homedir, totalmem, userInfo } from 'node:os'
import { dirname, join } from 'node:path'
import type { Availability } from '../../execution/availability.ts'
import { findProgram, missingTools } from '../../execution/tools.ts'
import type { NoTrees } from '../../execution/tree.ts'
import { CgroupReader } from '../../machine/cgroup.ts'
import { machineClass } from '../../machine/class.ts'
import { ProcReader } from '../../machine/proc-reader.ts'
import type { Container, Facts, Probes } from './checks.ts'
import { type Firewall, familyOf, systemName } from './mends.ts'

/** Watches for the trees of a few jobs at a time, and instances for them and for the owner's own programs. */
const WATCHES_NEEDED = 65_536
const INSTANCES_NEEDED = 128

/** What only the daemon knows. */
export interface ProbesInit {
  /** Tries a whole job in a whole sandbox. */
  sandbox(): Promise<Availability>
  /** Tries to mount what shows homes' files. */
  trees(): Promise<NoTrees | undefined>
  /** What was found when the daemon started. */
  before: { sandbox: boolean; terminals: boolean; files: boolean }
  /** What holds guests together. */
  groups: { memory: boolean; processes: boolean }
  unsandboxed: boolean
  port: number
  /** What is kept of homes' files may take so much, in this directory. */
  cacheBytes: number
  cache: string
}

export type MachineProbes = Omit<Probes, 'lending' | 'addresses' | 'firewall' | 'mdns'>

/** Probes for one examination: what two checks need is looked at once. */
export function machineProbes(init: ProbesInit): MachineProbes {
  let tried: Promise<Availability> | undefined
  const sandbox = (): Promise<Availability> => {
    tried ??= init.sandbox()
    return tried
  }
  const container = containerOf()
  return {
    programs: () => ({ missing: missingTools() }),
    sandbox: async () => ({
      now: await sandbox(),
      before: init.before.sandbox,
      unsandboxed: init.unsandboxed,
      settings: namespaceSettings(),
      container,
      isFiltered: /^Seccomp:\s*2$/m.test(text('/proc/self/status')),
      program: realpathSync(process.execPath),
      port: init.port
    }),
    terminals: async () => ({ now: await sandbox(), before: init.before.terminals }),
    files: async () => ({
      now: (await sandbox()).ok ? await init.trees() : { reason: 'no sandbox', mend: '' },
      inSandbox: (await sandbox()).ok,
      before: init.before.files,
      inKernel: /\bfuse$/m.test(text('/proc/filesystems')),
      device: fuseDevice(),
      container,
      port: init.port
    }),
    groups: () => groupsOf(init.groups, container),
    keyring: () => ({ perl: findProgram('perl') !== null }),
    disk: () => {
      const { bavail, bsize } = statfsSync(existing(init.cache))
      return { path: init.cache, freeBytes: bavail * bsize, cacheBytes: init.cacheBytes }
    },
    inotify: () => [
      ...lowest(['fs.inotify.max_user_watches', 'user.max_inotify_watches'], WATCHES_NEEDED),
      ...lowest(['fs.inotify.max_user_instances', 'user.max_inotify_instances'], INSTANCES_NEEDED)
    ],
    page: () => ({ pageSize: machineClass([]).pageSize }),
    sleep: () => ({
      hasBus: lstatSync('/run/dbus/system_bus_socket', { throwIfNoEntry: false }) !== undefined,
      container
    }),
    boot
  }
}

/** The distribution, from /etc/os-release. */
export function distribution(): { family: ReturnType<typeof familyOf>; system: string } {
  const release = text('/etc/os-release') || text('/usr/lib/os-release')
  return { family: familyOf(release), system: systemName(release) }
}

/** The firewall that somebody switched on, as far as everybody may see it. */
export function activeFirewall(): Firewall | undefined {
  if (/^ENABLED=yes$/m.test(text('/etc/ufw/ufw.conf')) && findProgram('ufw') !== null) return 'ufw'
  if (isActive('firewalld')) return 'firewalld'
  return isActive('nftables') ? 'nftables' : undefined
}

/** The one that rules can be given to: switched on or not. */
export function usableFirewall(): Firewall | undefined {
  const active = activeFirewall()
  if (active !== undefined) return active
  if (findProgram('firewall-cmd') !== null) return 'firewalld'
  if (findProgram('iptables') !== null) return 'iptables'
  return findProgram('nft') === null ? undefined : 'nftables'
}

export function containerOf(): Container | undefined {
  if (isFile('/.dockerenv')) return 'docker'
  if (isFile('/run/.containerenv')) return 'podman'
  const said =
    text('/run/systemd/container').trim() || (/(?:^|\0)container=([^\0]*)/.exec(text('/proc/1/environ'))?.[1] ?? '')
  if (said === '') return undefined
  if (said.startsWith('lxc')) return 'lxc'
  return said === 'docker' || said === 'podman' ? said : 'other'
}

/** systemd has a link for each unit that is active. */
function isActive(service: string): boolean {
  return exists(`/run/systemd/units/invocation:${service}.service`)
}

function namespaceSettings(): Facts['sandbox']['settings'] {
  const most = setting('user.max_user_namespaces')
  return {
    inKernel: exists('/proc/self/ns/user'),
    most,
    isForbidden: setting('kernel.unprivileged_userns_clone') === 0,
    isRestricted: setting('kernel.apparmor_restrict_unprivileged_userns') === 1
  }
}

function fuseDevice(): Facts['files']['device'] {
  const device = statSync('/dev/fuse', { throwIfNoEntry: false })
  if (device === undefined) return 'none'
  return (device.mode & 0o6) === 0o6 || process.getuid?.() === 0 ? 'open' : 'closed'
}

function groupsOf(groups: ProbesInit['groups'], container: Container | undefined): Facts['groups'] {
  const proc = new ProcReader('/proc')
  const reader = new CgroupReader(proc, '/sys/fs/cgroup')
  reader.locate()
  const memberships = text('/proc/self/cgroup')
  const mounts = text('/proc/self/mountinfo')
  const isFirst = / - cgroup .*\bmemory\b/.test(mounts) && /^[1-9]\d*:[^:]*\bmemory\b/m.test(memberships)
  const isSecond = / - cgroup2 /.test(mounts)
  return {
    ...groups,
    version: isFirst ? 1 : isSecond ? 2 : 0,
    isBounded: reader.memory(totalmem()) !== undefined,
    container,
    root: process.getuid?.() === 0
  }
}

/** The one of several settings for the same thing that allows least. */
function lowest(keys: string[], needed: number): Facts['inotify'] {
  const known = keys.flatMap((key) => {
    const value = setting(key)
    return value === undefined ? [] : [{ key, value, needed }]
  })
  return known.toSorted((a, b) => a.value - b.value).slice(0, 1)
}

function boot(): Facts['boot'] {
  const { KAPPA_DIR, XDG_CONFIG_HOME } = process.env
  const configuration = XDG_CONFIG_HOME?.startsWith('/') ? XDG_CONFIG_HOME : join(homedir(), '.config')
  return {
    systemd: exists('/run/systemd/system'),
    installed: exists(join(configuration, 'systemd/user/kappa.service')),
    lingers: exists(join('/var/lib/systemd/linger', userInfo().username)),
    isOwnPeer: !KAPPA_DIR
  }
}

/** A whole number of /proc/sys. */
function setting(key: string): number | undefined {
  const value = text(`/proc/sys/${key.replaceAll('.', '/')}`).trim()
  return /^\d+$/.test(value) ? Number(value) : undefined
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true
}

function exists(path: string): boolean {
  try {
    return lstatSync(path, { throwIfNoEntry: false }) !== undefined
  } catch {
    return false
  }
}

/** The directory, or the nearest above that is there. */
function existing(path: string): string {
  return path === '/' || exists(path) ? path : existing(dirname(path))
}

/** Empty when it can't be read. */
function text(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return ''
  }
}
