/**
 * What is looked at here, as data: what each probe finds, what that means, what is lost by it, what mends it. Nothing here
 * looks at anything itself.
 */

import type { Availability } from '../../execution/availability.ts'
import type { NoTrees } from '../../execution/tree.ts'
import type { Firewall, MendName } from './mends.ts'

/** `warning`: it works, and less well than it could. `failure`: what is lost does not work at all. */
export type Verdict = 'ok' | 'warning' | 'failure'

export interface Finding {
  verdict: Verdict
  /** What was found, in a phrase. */
  found: string
  mend?: { name: MendName; values?: Record<string, string | number> }
  /** The daemon found it otherwise when it started, and should start anew. */
  isNews?: boolean
}

/** What this machine is a container of. */
export type Container = 'docker' | 'podman' | 'lxc' | 'other'

/** Settings of the kernel by which user namespaces may be forbidden; undefined where there is none of that name. */
export interface NamespaceSettings {
  inKernel: boolean
  /** user.max_user_namespaces */
  most: number | undefined
  /** kernel.unprivileged_userns_clone is 0. */
  isForbidden: boolean
  /** kernel.apparmor_restrict_unprivileged_userns is 1. */
  isRestricted: boolean
}

/** What each probe finds, by the name of its check. */
export interface Facts {
  /** Names of those that are missing. */
  programs: { missing: string[] }
  /** `before`: what the daemon found when it started. `program`: the absolute path of what runs the daemon. */
  sandbox: {
    now: Availability
    before: boolean
    unsandboxed: boolean
    settings: NamespaceSettings
    container: Container | undefined
    /** A seccomp filter holds for the daemon. */
    isFiltered: boolean
    program: string
    port: number
  }
  terminals: { now: Availability; before: boolean }
  files: {
    now: NoTrees | undefined
    /** Without a sandbox it can't be tried. */
    inSandbox: boolean
    before: boolean
    /** The kernel has FUSE, or its module is loaded. */
    inKernel: boolean
    device: 'open' | 'closed' | 'none'
    container: Container | undefined
    port: number
  }
  groups: {
    /** Of cgroups; 0: there are none. */
    version: 0 | 1 | 2
    memory: boolean
    processes: boolean
    /** The limits of the container that it is in hold for guests, too. */
    isBounded: boolean
    container: Container | undefined
    root: boolean
  }
  keyring: { perl: boolean }
  lending: {
    refuses: string | undefined
    cause: 'unsafe' | 'lend' | 'leaves' | 'paused' | 'battery' | undefined
    slots: number
    cores: number
  }
  addresses: {
    /** Those that others can try, this machine's own among them. */
    addresses: string[]
    /** The interfaces of this machine have addresses that others could use. */
    hasNetwork: boolean
    isAnnounced: boolean
    container: Container | undefined
    port: number
    isNews: boolean
  }
  firewall: { active: Firewall | undefined; cameIn: boolean; port: number }
  mdns: { wanted: boolean; before: boolean; hearsItself: boolean }
  disk: { path: string; freeBytes: number; cacheBytes: number }
  inotify: { key: string; value: number; needed: number }[]
  page: { pageSize: number }
  sleep: { hasBus: boolean; container: Container | undefined }
  boot: { systemd: boolean; installed: boolean; lingers: boolean; isOwnPeer: boolean }
}

export type CheckId = keyof Facts

/** Looks at this machine; none of them changes anything. */
export type Probes = { [Id in CheckId]: () => Facts[Id] | Promise<Facts[Id]> }

export interface Check<Id extends CheckId> {
  id: Id
  name: string
  /** What doesn't work, or not well, when it isn't in order. */
  lost: string
  /** Friends are told the verdict of it: it is about what their jobs get here. */
  tellsFriends?: true
  judge(fact: Facts[Id]): Finding
}

const MEBIBYTE = 2 ** 20
/** The state of the daemon, its log and its history need some of the disk. */
const DISK_LEAST_BYTES = 64 * MEBIBYTE
/** User namespaces that two homes with their jobs take, and others beside them. */
const NAMESPACES_LEAST = 64
const NAMESPACES = 16_384

const ok = (found: string, isNews = false): Finding => ({ verdict: 'ok', found, ...(isNews ? { isNews } : {}) })
const wrong = (
  verdict: 'warning' | 'failure',
  found: string,
  name?: MendName,
  values?: Record<string, string | number>
): Finding => ({
  verdict,
  found,
  ...(name === undefined ? {} : { mend: { name, ...(values && { values }) } })
})
const STARTS_ANEW = '; the daemon starts anew to take it up'

const CONTAINER_MENDS: Readonly<Record<Container, MendName>> = {
  docker: 'docker',
  podman: 'podman',
  lxc: 'lxc',
  other: 'container'
}

function ofContainer(container: Container, found: string, port: number): Finding {
  return wrong('failure', found, CONTAINER_MENDS[container], { port, name: 'NAME' })
}

function judgeSandbox(fact: Facts['sandbox']): Finding {
  const { now, before, unsandboxed, settings, container, isFiltered, program, port } = fact
  if (now.ok && unsandboxed)
    return wrong('warning', 'guests run without one, as guests.unsandboxed says', 'unsandboxed')
  if (now.ok) return before ? ok('guests run in one') : ok(`it works now${STARTS_ANEW}`, true)
  const { inKernel, most, isForbidden, isRestricted } = settings
  if (!inKernel) return wrong('failure', 'this kernel has no user namespaces', 'user-namespaces')
  if (most !== undefined && most < NAMESPACES_LEAST) {
    const setting = { key: 'user.max_user_namespaces', value: NAMESPACES, file: 'namespaces' }
    return wrong('failure', `user.max_user_namespaces is ${most}`, 'setting', setting)
  }
  if (isForbidden) {
    const setting = { key: 'kernel.unprivileged_userns_clone', value: 1, file: 'userns' }
    return wrong('failure', 'kernel.unprivileged_userns_clone is 0', 'setting', setting)
  }
  if (isRestricted) {
    return wrong('failure', 'AppArmor keeps programs without a profile from user namespaces', 'apparmor', { program })
  }
  if (container !== undefined || isFiltered) {
    return ofContainer(
      container ?? 'other',
      `the container forbids user namespaces, or mounts in them: ${now.reason}`,
      port
    )
  }
  return wrong('failure', `${now.reason}; ${now.mend}`)
}

function judgeFiles({ now, inSandbox, before, inKernel, device, container, port }: Facts['files']): Finding {
  if (now === undefined) return before ? ok('/dev/fuse can be mounted') : ok(`it works now${STARTS_ANEW}`, true)
  if (device === 'none') {
    if (container !== undefined) return ofContainer(container, `no /dev/fuse in this container`, port)
    return wrong('failure', 'no /dev/fuse', inKernel ? 'fuse-device' : 'fuse-module')
  }
  if (device === 'closed') return wrong('failure', '/dev/fuse is not open to all', 'fuse-closed')
  if (!inSandbox) return wrong('failure', 'no sandbox')
  if (container !== undefined) return ofContainer(container, `/dev/fuse can't be mounted: ${now.reason}`, port)
  return wrong('failure', `/dev/fuse can't be mounted: ${now.reason}`)
}

function judgeGroups(fact: Facts['groups']): Finding {
  const { version, memory, processes, isBounded, container, root } = fact
  // Without one for the CPU they have the lowest niceness in that of their owner, which leaves them no more.
  const missing = [...(memory ? [] : ['memory']), ...(processes ? [] : ['processes'])]
  if (missing.length === 0) return ok(`guests have one of their own (v${version})`)
  const found =
    version === 0 ? 'there are none' : `guests have none of their own (v${version}) for ${missing.join(', ')}`
  if (container !== undefined) {
    return isBounded
      ? ok(`${found}: the container's own limits hold`)
      : wrong('warning', found, 'container-limits', { name: 'NAME' })
  }
  if (version === 1 && !root) return wrong('warning', found, 'cgroup-v2')
  return wrong('warning', found, 'service')
}

function judgeLending({ refuses, cause, slots, cores }: Facts['lending']): Finding {
  if (cause === 'paused') return wrong('warning', refuses ?? '', 'resume')
  if (cause === 'lend') return wrong('warning', refuses ?? '', 'lend')
  if (cause === 'battery') return wrong('warning', refuses ?? '', 'battery')
  if (cause === 'leaves') return wrong('warning', refuses ?? '')
  // Why there is no sandbox is another check's to say.
  if (cause === 'unsafe') return wrong('failure', 'no sandbox')
  return slots > 0 ? ok(`${slots} slots`) : wrong('warning', 'slots is 0', 'slots', { cores: 2 * cores })
}

function judgeAddresses(fact: Facts['addresses']): Finding {
  const { addresses, hasNetwork, isAnnounced, container, port, isNews } = fact
  if (isNews) return ok('listen or announce was changed: the daemon starts anew to take it up', true)
  if (addresses.length === 0) {
    return hasNetwork
      ? wrong('failure', 'only this machine itself can reach it: see listen', 'listen', { port })
      : wrong('failure', 'this machine has no address in a network', 'network')
  }
  const shown = addresses.join(' ')
  const isInside =
    container === 'docker' &&
    !isAnnounced &&
    addresses.every((address) => /^\/ip4\/172\.(1[6-9]|2\d|3[01])\./.test(address))
  return isInside ? wrong('warning', `only the container's own: ${shown}`, 'announce', { port }) : ok(shown)
}

function judgeDisk({ path, freeBytes, cacheBytes }: Facts['disk']): Finding {
  const mebibytes = Math.floor(freeBytes / MEBIBYTE)
  const found = `${mebibytes} MiB are free in ${path}`
  if (freeBytes < DISK_LEAST_BYTES) return wrong('failure', found, 'disk', { cache: 0 })
  const cache = Math.floor(mebibytes / 2)
  return freeBytes < Math.min(cacheBytes, 1024 * MEBIBYTE) ? wrong('warning', found, 'disk', { cache }) : ok(found)
}

function judgeInotify(fact: Facts['inotify']): Finding {
  const low = fact.find(({ value, needed }) => value < needed)
  if (low === undefined)
    return ok(fact.map(({ key, value }) => `${key} is ${value}`).join(', ') || 'no limits are told')
  const { key, value, needed } = low
  const setting = { key, value: needed, file: key.replaceAll(/[._]/g, '-') }
  return wrong('warning', `${key} is ${value}, fewer than ${needed}`, 'setting', setting)
}

function judgeBoot({ systemd, installed, lingers, isOwnPeer }: Facts['boot']): Finding {
  if (!isOwnPeer) return ok('a peer in KAPPA_DIR ends with who started it')
  if (installed && lingers) return ok('it starts at boot')
  if (installed) return wrong('warning', 'it starts when you log in, and ends when you log out', 'service')
  return wrong(
    'warning',
    systemd ? 'it starts with the first command' : 'it starts with the first command: no systemd',
    'service'
  )
}

const table: { [Id in CheckId]: Omit<Check<Id>, 'id'> } = {
  programs: {
    name: 'programs',
    lost: 'guests can run nothing here',
    judge: ({ missing }) =>
      missing.length === 0 ? ok('all are there') : wrong('failure', `missing: ${missing.join(', ')}`, 'programs')
  },
  sandbox: {
    name: 'sandbox',
    lost: 'guests can run nothing here, unless guests.unsandboxed lets them do everything that you may',
    tellsFriends: true,
    judge: judgeSandbox
  },
  terminals: {
    name: 'terminals',
    lost: 'jobs from elsewhere get no terminal here: no editors, shells and passwords',
    tellsFriends: true,
    judge: ({ now, before }) => {
      if (!now.ok) return wrong('failure', 'no sandbox')
      if (now.noTerminals !== undefined) return wrong('warning', now.noTerminals)
      return before ? ok('jobs can have them') : ok(`they work now${STARTS_ANEW}`, true)
    }
  },
  files: {
    name: "homes' files",
    lost: "jobs from elsewhere can't see their home's files here: --plain and --in alone",
    tellsFriends: true,
    judge: judgeFiles
  },
  groups: {
    name: 'cgroups',
    lost: 'guests are held by a watch that looks each second, and not by the kernel',
    judge: judgeGroups
  },
  keyring: {
    name: 'keyring',
    lost: 'guests keep the session keyring of the daemon, with the keys in it',
    judge: ({ perl }) => (perl ? ok('guests have one of their own') : wrong('warning', 'perl is missing', 'perl'))
  },
  lending: { name: 'lending', lost: 'no guests run here now', tellsFriends: true, judge: judgeLending },
  addresses: { name: 'addresses', lost: 'other machines find no way here', judge: judgeAddresses },
  firewall: {
    name: 'firewall',
    lost: 'other machines may not get in; this one can still connect to them',
    judge: ({ active, cameIn, port }) => {
      if (cameIn) return ok(`others came in on TCP ${port}`)
      if (active === undefined) return ok(`none was found for TCP ${port}; kappa doctor PEER tries it from there`)
      return wrong('warning', `${active} is active, and nobody is connected from outside to TCP ${port}`, 'open-tcp', {
        port
      })
    }
  },
  mdns: {
    name: 'multicast DNS',
    lost: 'machines are not found by name when they are paired, nor again when their address changes',
    judge: ({ wanted, before, hearsItself }) => {
      if (!wanted) return wrong('warning', 'mdns is false in the configuration', 'mdns')
      if (!before) return ok('mdns was changed: the daemon starts anew to take it up', true)
      if (hearsItself) return ok('this machine hears itself')
      return wrong(
        'warning',
        "this machine doesn't hear itself: UDP 5353 is closed, or the network has no multicast",
        'open-mdns'
      )
    }
  },
  disk: {
    name: 'disk',
    lost: "homes' files are not kept for their next jobs, and outputs of detached jobs are cut",
    judge: judgeDisk
  },
  inotify: {
    name: 'inotify',
    lost: "targets of this machine's jobs ask again for files that they know, as it can't tell them what changes",
    judge: judgeInotify
  },
  page: {
    name: 'page size',
    lost: 'programs of machines with pages of 4 KiB may not run here, nor programs of this one there',
    tellsFriends: true,
    judge: ({ pageSize }) => (pageSize === 4096 ? ok('4 KiB') : wrong('warning', `${pageSize / 1024} KiB`, 'page-size'))
  },
  sleep: {
    name: 'sleep',
    lost: 'nobody is told when this machine goes to sleep: jobs on the way end, and guests do not keep it awake',
    judge: ({ hasBus, container }) =>
      hasBus || container !== undefined
        ? ok(hasBus ? 'logind tells of it' : "a container doesn't")
        : wrong('warning', 'no system bus', 'bus')
  },
  boot: {
    name: 'start at boot',
    lost: 'after a reboot nobody can use this machine until somebody runs kappa on it',
    judge: judgeBoot
  }
}

export const CHECKS = Object.entries(table).map(([id, check]) => ({ id, ...check })) as unknown as readonly {
  [Id in CheckId]: Check<Id>
}[CheckId][]
