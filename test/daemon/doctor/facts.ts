/** A machine on which all is in order, for tests that spoil one thing at a time. */

import type { Facts, Probes } from '../../../src/daemon/doctor/checks.ts'

export const FINE: Facts = {
  programs: { missing: [] },
  sandbox: {
    now: { ok: true },
    before: true,
    unsandboxed: false,
    settings: { inKernel: true, most: 100_000, isForbidden: false, isRestricted: false },
    container: undefined,
    isFiltered: false,
    program: '/usr/lib/kappa/node',
    port: 5277
  },
  terminals: { now: { ok: true }, before: true },
  files: {
    now: undefined,
    inSandbox: true,
    before: true,
    inKernel: true,
    device: 'open',
    container: undefined,
    port: 5277
  },
  groups: {
    version: 2,
    memory: true,
    processes: true,
    isBounded: false,
    container: undefined,
    root: false
  },
  keyring: { perl: true },
  lending: { refuses: undefined, cause: undefined, slots: 8, cores: 4 },
  addresses: {
    addresses: ['/ip4/192.168.1.5/tcp/5277'],
    hasNetwork: true,
    isAnnounced: false,
    container: undefined,
    port: 5277,
    isNews: false
  },
  firewall: { active: undefined, cameIn: false, port: 5277 },
  mdns: { wanted: true, before: true, hearsItself: true },
  disk: { path: '/home/ann/.cache/kappa', freeBytes: 2 ** 36, cacheBytes: 2 ** 31 },
  inotify: [
    { key: 'fs.inotify.max_user_watches', value: 200_000, needed: 65_536 },
    { key: 'fs.inotify.max_user_instances', value: 128, needed: 128 }
  ],
  page: { pageSize: 4096 },
  sleep: { hasBus: true, container: undefined },
  boot: { systemd: true, installed: true, lingers: true, isOwnPeer: true }
}

/** Probes of a machine that differs from that one by so much. */
export function probesOf(changes: { [Id in keyof Facts]?: Partial<Facts[Id]> | Facts[Id] } = {}): Probes {
  const probe = <Id extends keyof Facts>(id: Id) => {
    const [fine, changed] = [FINE[id], changes[id]]
    return () => (Array.isArray(changed) ? changed : Array.isArray(fine) ? fine : { ...fine, ...changed })
  }
  return Object.fromEntries((Object.keys(FINE) as (keyof Facts)[]).map((id) => [id, probe(id)])) as unknown as Probes
}
