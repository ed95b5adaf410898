/** `doctor` in the daemon: looks at this machine, asks a paired one, and answers those that ask. */

import { BlockList, isIPv4 } from 'node:net'
import { networkInterfaces } from 'node:os'
import type { Connection } from '@libp2p/interface'
import type { PeerId } from '../../core/types.ts'
import { isKappaError, messageOf } from '../../errors.ts'
import { dialable, hostAndPort, isLinkLocal, isLoopback, isRelayed, plainAddress } from '../../network/addresses.ts'
import { knock } from '../../network/knock.ts'
import { MAX_ADDRESSES, type Pairing } from '../../network/pairing.ts'
import { NAME_LENGTH_MAX, printable } from '../../printable.ts'
import type { Report } from '../../protocols/doctor/codec.ts'
import { KEPT_MS, PHRASE_LENGTH_MAX, WORD_LENGTH_MAX } from '../../protocols/doctor/constants.ts'
import { DoctorService, type Heard } from '../../protocols/doctor/service.ts'
import { VERSION } from '../../version.ts'
import { cacheBytes } from '../configuration.ts'
import type { CheckResult, DoctorResult } from '../control-results.ts'
import type { Daemon } from '../daemon.ts'
import { type Between, between } from './between.ts'
import { CHECKS, type Probes } from './checks.ts'
import { type Examination, examine } from './examination.ts'
import { type Circumstances, FAMILIES, type Family, FIREWALLS, type Firewall } from './mends.ts'
import { activeFirewall, containerOf, distribution, machineProbes, usableFirewall } from './probes.ts'

/** A machine that isn't connected is dialled so long. */
const CONNECT_MS = 4_000
const TELLS_FRIENDS: ReadonlySet<string> = new Set(
  CHECKS.filter(({ tellsFriends }) => tellsFriends).map(({ id }) => id)
)

export class Doctor {
  readonly #daemon: Daemon
  readonly #service: DoctorService
  readonly #connectionTo: (peer: PeerId, signal: AbortSignal) => Promise<Connection>
  /** What others were told last, and when. */
  #kept: { at: number; examination: Promise<Examination> } | undefined

  constructor(daemon: Daemon, connectionTo: (peer: PeerId, signal: AbortSignal) => Promise<Connection>) {
    this.#daemon = daemon
    this.#connectionTo = connectionTo
    this.#service = new DoctorService({
      node: daemon.node,
      version: VERSION,
      report: (to) => this.#report(to),
      now: () => Date.now()
    })
  }

  async start(): Promise<void> {
    await this.#service.start()
  }

  /** Looks now; and at another machine, and at what is between. `isNews`: the daemon should start anew. */
  async examine(other: Pairing | undefined): Promise<{ result: DoctorResult; isNews: boolean }> {
    const [examination, far] = await Promise.all([this.#examineHere(), other && this.#examineOther(other)])
    const here = {
      name: this.#daemon.name,
      system: distribution().system,
      version: VERSION,
      checks: examination.checks
    }
    const result = { here, there: far?.there ?? null, between: far?.between ?? [] }
    return { result, isNews: examination.isNews }
  }

  // ---------------------------------------------------------------------------------------------------------- here

  #examineHere(): Promise<Examination> {
    return examine(this.#probes(), this.#circumstances())
  }

  #circumstances(): Circumstances {
    return { family: distribution().family, firewall: usableFirewall(), root: process.getuid?.() === 0 }
  }

  #probes(): Probes {
    const daemon = this.#daemon
    const { node, owner, configuration, startedWith } = daemon
    const { port } = node
    const machine = machineProbes({
      ...daemon.guests.examination(),
      port,
      cacheBytes: cacheBytes(configuration),
      cache: daemon.directories.cache
    })
    return {
      ...machine,
      lending: () => {
        const { refuses, slots, homeSlots } = owner.rules
        return { refuses, cause: owner.refuses, slots, cores: homeSlots }
      },
      addresses: () => ({
        addresses: node.addresses().filter((address) => !isLoopback(address) && !isLinkLocal(address)),
        hasNetwork: Object.values(networkInterfaces()).some((list) => list?.some(({ internal }) => !internal)),
        isAnnounced: startedWith.announce.length > 0,
        container: containerOf(),
        port,
        isNews: (['listen', 'announce'] as const).some((key) => startedWith[key].join() !== configuration[key].join())
      }),
      firewall: () => ({ active: activeFirewall(), cameIn: this.#cameIn(), port }),
      mdns: async () => ({
        wanted: configuration.mdns,
        before: startedWith.mdns,
        hearsItself: await node.hearsItself()
      })
    }
  }

  /** Another machine is connected that dialled this one. */
  #cameIn(): boolean {
    return this.#daemon.node.libp2p.getConnections().some(({ direction, remoteAddr }) => {
      const from = isRelayed(remoteAddr) ? undefined : plainAddress(remoteAddr)
      return direction === 'inbound' && from !== undefined && !isLoopback(from)
    })
  }

  // ---------------------------------------------------------------------------------------------------- for others

  /** To a friend: what its jobs get here, without reasons. To an own machine: what its person could see here. */
  async #report(to: PeerId): Promise<Omit<Report, 'askedMs' | 'toldMs' | 'version'>> {
    const { pairings, configuration, node } = this.#daemon
    const pairing = pairings.get(to)
    const isOwn = node.gater.rightOf(to) === 'own'
    const [{ checks }, ways] = await Promise.all([this.#lately(), pairing ? this.#knockAt(pairing, !isOwn) : []])
    const common = { ways, ...(configuration.mdns ? { hears: this.#hears(to) } : {}) }
    if (!isOwn) {
      const told = checks.filter(({ id }) => TELLS_FRIENDS.has(id))
      return {
        ...common,
        checks: told.map(({ id, name, verdict, lost }) => ({ id, name, verdict, ...(lost === null ? {} : { lost }) }))
      }
    }
    const { family, firewall, root } = this.#circumstances()
    return {
      ...common,
      system: printable(distribution().system, WORD_LENGTH_MAX),
      family,
      root,
      ...(firewall === undefined ? {} : { firewall }),
      checks: checks.map(({ lost, found, mend, ...check }) => ({
        ...check,
        found: found.slice(0, PHRASE_LENGTH_MAX),
        ...(lost === null ? {} : { lost }),
        ...(mend.length === 0 ? {} : { mend: mend.map((line) => line.slice(0, PHRASE_LENGTH_MAX)) })
      }))
    }
  }

  #lately(): Promise<Examination> {
    const now = this.#daemon.clock.now()
    if (this.#kept === undefined || now - this.#kept.at > KEPT_MS)
      this.#kept = { at: now, examination: this.#examineHere() }
    return this.#kept.examination
  }

  /** Only where that peer itself said that it is; `forFriend`: and of that only where it comes from. */
  #knockAt({ peerId, addresses }: Pairing, forFriend = false): ReturnType<typeof knock> {
    const via = this.#daemon.peer(peerId)?.via
    return knock(doorsOf({ addresses, via, own: this.#daemon.node.addresses(), forFriend }))
  }

  #hears(peer: PeerId): boolean {
    return this.#daemon.node.discovered().some(({ peerId }) => peerId === peer)
  }

  // ------------------------------------------------------------------------------------------------ another machine

  async #examineOther(pairing: Pairing): Promise<Pick<DoctorResult, 'there' | 'between'>> {
    const { peerId, kind } = pairing
    const daemon = this.#daemon
    if (daemon.configuration.mdns) daemon.node.askLan()
    const [asked, waysThere] = await Promise.all([this.#ask(peerId), this.#knockAt(pairing)])
    const heard = 'report' in asked ? asked : undefined
    const name = daemon.nameOf(peerId)
    const via =
      asked.connection && (plainAddress(asked.connection.remoteAddr) ?? asked.connection.remoteAddr.toString())
    const silence = 'reason' in asked ? { reason: asked.reason, isOld: asked.isOld } : undefined
    const rows = between({
      here: { name: daemon.name, circumstances: this.#circumstances(), port: daemon.node.port },
      there: { name, ...circumstancesOf(heard?.report) },
      ...(via !== undefined && { via }),
      ...(silence && { silence }),
      waysThere,
      ...this.#versions(peerId, heard),
      ...this.#classes(peerId),
      ...(heard && this.#told(peerId, via, heard))
    })
    const there = {
      name,
      kind,
      system: heard?.report.system === undefined ? null : printable(heard.report.system),
      version: this.#versions(peerId, heard).versions?.there ?? null,
      checks: heard?.report.checks.map(shown) ?? []
    }
    return { there, between: rows }
  }

  async #ask(
    peer: PeerId
  ): Promise<
    (Heard & { connection: Connection }) | { connection: Connection | undefined; reason: string; isOld: boolean }
  > {
    let connection: Connection | undefined
    try {
      connection = await this.#connectionTo(peer, AbortSignal.timeout(CONNECT_MS))
      return { connection, ...(await this.#service.ask(connection, AbortSignal.timeout(2 * CONNECT_MS + KEPT_MS))) }
    } catch (error) {
      if (connection === undefined) return { connection, reason: 'it is not connected', isOld: false }
      const isOld = isKappaError(error) && /protocol selection failed|UnsupportedProtocol/i.test(messageOf(error))
      return {
        connection,
        reason: isOld ? "it doesn't know this question: its kappa is older" : messageOf(error),
        isOld
      }
    }
  }

  #versions(peer: PeerId, heard: Heard | undefined): Pick<Between, 'versions'> {
    const there = heard?.report.version ?? this.#daemon.versionTooFar(peer) ?? this.#daemon.peer(peer)?.version
    return there === undefined ? {} : { versions: { here: VERSION, there: printable(there) } }
  }

  #classes(peer: PeerId): Pick<Between, 'classes'> {
    const { self, neighbours } = this.#daemon.driver.core.view(this.#daemon.clock.now())
    const there = neighbours.find((view) => view.peer === peer)?.record?.class
    if (there === undefined) return {}
    const clean = { ...there, os: printable(there.os), arch: printable(there.arch) }
    return { classes: { here: self.record.class, there: clean } }
  }

  /** What only the other side can say. */
  #told(
    peer: PeerId,
    via: string | undefined,
    { report, skewMs, withinMs }: Heard
  ): Pick<Between, 'waysBack' | 'clock' | 'mdns'> {
    const { node, configuration } = this.#daemon
    const own = node.addresses()
    const both = configuration.mdns && report.hears !== undefined && via !== undefined && isNear(via)
    return {
      waysBack: report.ways.filter(({ address }) => own.includes(address)),
      clock: { skewMs, withinMs },
      ...(both && { mdns: { here: this.#hears(peer), there: report.hears === true } })
    }
  }
}

/**
 * The addresses of a peer to knock at, when somebody is told what came of it. A friend could say that it is at addresses of
 * other machines here, to learn from that what listens there: it is told of the host alone that it is connected from.
 */
export function doorsOf({
  addresses,
  via,
  own,
  forFriend
}: {
  addresses: readonly string[]
  /** Of the connection with it. */
  via: string | undefined
  own: readonly string[]
  forFriend: boolean
}): string[] {
  const near = via === undefined ? own.every(isLoopback) : isLoopback(via)
  const others = addresses.filter((address) => near || !own.includes(address))
  const doors = dialable(others, MAX_ADDRESSES, near)
  if (!forFriend) return doors
  return doors.filter((door) => via !== undefined && hostOf(door) === hostOf(via))
}

function hostOf(address: string): string {
  return address.split('/').slice(0, 3).join('/')
}

/** What the other side says of itself, if it is a family and a firewall that are known here. */
function circumstancesOf(report: Report | undefined): { circumstances?: Circumstances } {
  const family = FAMILIES.find((known): known is Family => known === report?.family)
  if (family === undefined) return {}
  const firewall = FIREWALLS.find((known): known is Firewall => known === report?.firewall)
  return { circumstances: { family, firewall, root: report?.root === true } }
}

function shown({ id, name, verdict, found = '', lost, mend = [] }: Report['checks'][number]): CheckResult {
  return {
    id: printable(id, NAME_LENGTH_MAX),
    name: printable(name, NAME_LENGTH_MAX),
    verdict,
    found: printable(found, PHRASE_LENGTH_MAX),
    lost: lost === undefined ? null : printable(lost, PHRASE_LENGTH_MAX),
    mend: mend.map((line) => printable(line, PHRASE_LENGTH_MAX))
  }
}

/** Whether an address is in a network that this machine is in, too. */
function isNear(address: string): boolean {
  const { host } = hostAndPort(address)
  if (!isIPv4(host)) return false
  const networks = new BlockList()
  for (const list of Object.values(networkInterfaces())) {
    for (const { cidr, internal, family } of list ?? []) {
      if (family !== 'IPv4' || internal || cidr === null) continue
      const [network, bits] = cidr.split('/')
      networks.addSubnet(network!, Number(bits), 'ipv4')
    }
  }
  return networks.check(host, 'ipv4')
}
