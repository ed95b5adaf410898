/** Whether this machine lets guests run in a sandbox, and if not, exactly why and how to mend it. */

import { readFileSync } from 'node:fs'
import { messageOf } from '../errors.ts'
import { LOWEST_NICE } from './guest-group.ts'
import { Keeper } from './keeper.ts'
import { type LaunchSpec, launchScript } from './launcher.ts'
import type { SeatEnd } from './seat.ts'
import { findTools } from './tools.ts'

export type Availability =
  | {
      ok: true
      /** Whether jobs can have a terminal; in words why not. */
      noTerminals?: string
    }
  | { ok: false; reason: string; mend: string }

interface Guest {
  uid: number
  gid: number
}

/** Who guests are: the daemon's own user, or for a root daemon `nobody` unless told otherwise; never root. */
export function guestOf(init: { guestUid?: number; guestGid?: number }): Guest {
  const uid = process.getuid?.() ?? 0
  if (uid !== 0) return { uid, gid: process.getgid?.() ?? 0 }
  const nobody = nobodyOf()
  const guest = { uid: init.guestUid ?? nobody.uid, gid: init.guestGid ?? nobody.gid }
  return guest.uid === 0 || guest.gid === 0 ? nobody : guest
}

function nobodyOf(): Guest {
  const [, , uid, gid] = /^nobody:.*$/m.exec(readText('/etc/passwd'))?.[0]?.split(':') ?? []
  return { uid: Number(uid) || 65534, gid: Number(gid) || 65534 }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return ''
  }
}

/** Settings by which a kernel or a distribution forbids user namespaces, each with its mending. */
function forbidden(): { reason: string; mend: string } | null {
  if (readText('/proc/self/ns/user') === '' && readText('/proc/sys/user/max_user_namespaces') === '') {
    return { reason: 'this kernel has no user namespaces', mend: 'run a kernel with CONFIG_USER_NS=y' }
  }
  if (readText('/proc/sys/user/max_user_namespaces').trim() === '0') {
    return { reason: 'user.max_user_namespaces is 0', mend: 'sudo sysctl -w user.max_user_namespaces=16384' }
  }
  if (readText('/proc/sys/kernel/unprivileged_userns_clone').trim() === '0') {
    return {
      reason: 'kernel.unprivileged_userns_clone is 0',
      mend: 'sudo sysctl -w kernel.unprivileged_userns_clone=1'
    }
  }
  if (readText('/proc/sys/kernel/apparmor_restrict_unprivileged_userns').trim() === '1') {
    return {
      reason: 'AppArmor restricts user namespaces (kernel.apparmor_restrict_unprivileged_userns is 1)',
      mend: 'allow them for /usr/bin/unshare by an AppArmor profile with "userns,", or: sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0'
    }
  }
  if (/^Seccomp:\s*2$/m.test(readText('/proc/self/status'))) {
    return {
      reason: 'a seccomp filter (a container) forbids user namespaces or mounts',
      mend: 'start the container with --security-opt seccomp=unconfined --security-opt systempaths=unconfined'
    }
  }
  return null
}

/** Tries a whole job in a whole sandbox: everything that could be missing shows there. */
export async function checkSandbox(init: Guest & { scratchDirectory: string }): Promise<Availability> {
  const found = findTools()
  if (!('tools' in found)) return { ok: false, reason: `${found.missing} is missing`, mend: `install ${found.from}` }
  let keeper: Keeper | undefined
  try {
    keeper = await Keeper.start({ ...init, network: 'none', tools: found.tools, nice: LOWEST_NICE, group: null })
    const terminal = { descriptors: 7, rows: 24, columns: 80, modes: [] }
    const onTerminal = await tried(keeper, { terminal })
    if (onTerminal.signal === 'SIGTERM') return { ok: true }
    const end = await tried(keeper)
    if (end.signal === 'SIGTERM') {
      return { ok: true, noTerminals: onTerminal.why ?? `the program for them ended with ${onTerminal.exitCode}` }
    }
    return {
      ok: false,
      reason: `${found.tools.awk} does not tell how a command ended`,
      mend: 'install mawk 1.3.4, gawk or busybox as awk'
    }
  } catch (error) {
    const said = messageOf(error)
    const known = forbidden()
    if (known !== null) return { ok: false, ...known }
    if (/unrecognized option|invalid option|unknown option/.test(said)) {
      return { ok: false, reason: said, mend: 'install util-linux 2.36 or later' }
    }
    return { ok: false, reason: said, mend: 'see which step failed, and allow it to the user of this daemon' }
  } finally {
    await keeper?.close()
  }
}

/** The end of a whole job, which kills itself. */
async function tried(keeper: Keeper, more: Partial<LaunchSpec> = {}): Promise<SeatEnd> {
  const cell = await keeper.cell()
  const argv = ['sh', '-c', 'kill -TERM $$'].map((word) => Buffer.from(word))
  try {
    if (more.terminal) cell.openTerminal(() => undefined)
    cell.begin(launchScript({ argv, env: [], umask: 0o22, limits: [], ...more }, cell))
    return await cell.ended
  } finally {
    await cell.dispose()
  }
}
