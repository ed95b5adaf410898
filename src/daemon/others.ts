/** Machines that are no neighbours: met through others that vouch for them, as targets of ours or as homes of guests here. */

import type { Connection } from '@libp2p/interface'
import type { PeerId } from '../core/types.ts'
import type { NeighbourConnections } from '../network/neighbours.ts'
import { type Meeting, TargetConnections } from '../network/targets.ts'
import { RelayService } from '../protocols/relay/service.ts'
import { WithdrawService } from '../protocols/withdraw/service.ts'
import type { Daemon } from './daemon.ts'

/** Names of machines met through others. */
const NAMES_MAX = 256

export class Others {
  readonly #daemon: Daemon
  readonly #neighbours: NeighbourConnections
  readonly #targets: TargetConnections
  readonly #relay: RelayService
  readonly #withdraw: WithdrawService
  /** What they call themselves; at most NAMES_MAX, the oldest is forgotten first. */
  readonly #names = new Map<PeerId, string>()
  /** Targets with live jobs; bounded by the neighbours and the targets that are known. */
  readonly #urgent = new Set<PeerId>()
  readonly #setUrgent: (neighbour: PeerId, urgent: boolean) => void

  /** `setUrgent`: jobs depend on the connection to a neighbour, or none does any more. */
  constructor(
    daemon: Daemon,
    neighbours: NeighbourConnections,
    setUrgent: (neighbour: PeerId, urgent: boolean) => void
  ) {
    const { node, log } = daemon
    this.#daemon = daemon
    this.#neighbours = neighbours
    this.#setUrgent = setUrgent
    this.#relay = new RelayService({
      node,
      neighbour: (peer) => neighbours.current(peer),
      forwards: () => daemon.configuration.placement.forward > 1
    })
    this.#withdraw = new WithdrawService({
      node,
      ownNeighbours: () => this.#ownNeighbours(),
      onWithdrawn: (peer, by) => daemon.guests.endWithdrawn(peer, by),
      log: (line) => log.warn(line)
    })
    this.#targets = new TargetConnections({
      node,
      neighbour: (peer) => neighbours.current(peer),
      relay: (neighbour, target, signal) => this.#relay.connect(neighbour, target, signal),
      onConnected: (peer) => {
        log.info('connected', { target: daemon.nameOf(peer), via: this.wayTo(peer) })
        void daemon.runs.correctLost(peer)
      }
    })
  }

  async start(): Promise<void> {
    await this.#relay.start()
    await this.#withdraw.start()
  }

  stop(): void {
    this.#targets.stop()
    this.#relay.stop()
  }

  // --------------------------------------------------------------------------------------------------- as targets

  /** A ticket was won there. False: it can't be connected to. */
  meet(peer: PeerId, name: string, meeting: Meeting): boolean {
    this.learnName(peer, name)
    const met = this.#targets.met(peer, meeting)
    this.#shareUrgency()
    return met
  }

  /** A detached job of an earlier daemon, or of long ago, lives there. */
  meetAgain(peer: PeerId, name: string, meeting: Meeting): void {
    if (!this.#neighbours.current(peer) && !this.#targets.has(peer)) this.meet(peer, name, meeting)
  }

  /** Targets that could not be reached a moment ago, and why. */
  unreachable(): { peer: PeerId; reason: string }[] {
    return this.#targets.unreachable()
  }

  /** The connection to any target, a neighbour too. Throws UnreachableError, or the signal's reason. */
  connectionTo(peer: PeerId, signal: AbortSignal): Promise<Connection> {
    const known = this.#neighbours.current(peer) === undefined && this.#targets.has(peer)
    return known ? this.#targets.connectionTo(peer, signal) : this.#neighbours.connectionTo(peer, signal)
  }

  /** Jobs live on that target, or none does any more. */
  urgent(peer: PeerId, urgent: boolean): void {
    if (urgent) this.#urgent.add(peer)
    else this.#urgent.delete(peer)
    this.#targets.urgent(peer, urgent)
    this.#shareUrgency()
  }

  /** A neighbour matters when it is such a target, and when it relays to one. */
  #shareUrgency(): void {
    const relays = new Set([...this.#urgent].map((target) => this.#targets.relayOf(target)))
    for (const { peerId } of this.#daemon.pairings.all()) {
      this.#setUrgent(peerId, this.#urgent.has(peerId) || relays.has(peerId))
    }
  }

  /** The connection to a target, a neighbour too, is dead. */
  hangUp(peer: PeerId, reason: string): void {
    if (this.#neighbours.current(peer)) this.#daemon.node.hangUp(peer, reason)
    else this.#targets.hangUp(peer, reason)
  }

  networkChanged(): void {
    this.#targets.networkChanged()
  }

  /** How a target that is no neighbour is connected: its address, or through whom; undefined: not now. */
  wayTo(peer: PeerId): string | undefined {
    return this.#targets.has(peer) ? this.#targets.current(peer)?.remoteAddr.toString() : undefined
  }

  // ------------------------------------------------------------------------------------------------------ as homes

  /** A home that others vouched for may connect on its own from now on, or no longer. */
  admit(home: PeerId, admitted: boolean): void {
    const { node, log } = this.#daemon
    if (!admitted) node.gater.dropHome(home)
    else if (!node.gater.admitHome(home)) log.warn('a home that others vouched for is one too many', { home })
  }

  /** What a machine that is no neighbour calls itself. */
  learnName(peer: PeerId, name: string): void {
    this.#names.delete(peer)
    this.#names.set(peer, name)
    if (this.#names.size > NAMES_MAX) this.#names.delete(this.#names.keys().next().value!)
  }

  nameOf(peer: PeerId): string | undefined {
    return this.#names.get(peer)
  }

  // --------------------------------------------------------------------------------------------------------- trust

  /** Nobody is vouched for between the peer and this one any more: what came or went that way ends. */
  distrust(peer: PeerId): void {
    const { exec } = this.#daemon
    this.#withdraw.withdraw(peer)
    this.#relay.drop(peer)
    this.#targets.remove(peer)
    for (const target of this.#targets.through(peer)) {
      exec.drop(target, `the pairing with ${this.#daemon.nameOf(peer)}, which vouched for it, was ended`)
      this.#targets.remove(target)
    }
  }

  *#ownNeighbours(): Generator<[PeerId, Connection]> {
    for (const { peerId, kind, state } of this.#daemon.pairings.all()) {
      const connection = this.#neighbours.current(peerId)
      if (kind === 'own' && state === 'paired' && connection) yield [peerId, connection]
    }
  }
}
