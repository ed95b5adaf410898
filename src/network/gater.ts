/**
 * Who may connect: paired peers, homes that have something running or unfetched here, and strangers only while a person
 * has pairing open. Everyone else is closed after the Noise handshake, before any protocol is negotiated.
 *
 * The gater admits connections; what a connection may do is asked again by each handler with `rightOf`.
 */
import type { ConnectionGater } from '@libp2p/interface'
import type { PeerId } from '../core/types.ts'
import { KappaError } from '../errors.ts'
import type { Pairings } from './pairing.ts'

/** What a remote peer may do here. `stranger`: the pair protocol only. `home`: exec and file only. */
export type Right = 'own' | 'friend' | 'home' | 'stranger'

/** Homes that aren't paired but hold a ticket, a live job or unfetched output here. */
export const MAX_HOMES = 32
/** A home may come back for so long after the last of these ended, to present a new ticket. */
export const HOME_LINGER_MS = 10 * 60 * 1000
/** Connections of strangers at once while pairing is open. */
export const MAX_STRANGERS = 8
/** Targets met through others that home may dial. */
export const MAX_TARGETS = 32
/** Connections that one peer may have opened at once: one is used, others are dead or the losers of a race. A home has one, its newest. */
export const MAX_INBOUND_PER_PEER = 4
/** Peers that were unpaired here; the oldest is forgotten first. */
export const MAX_BANS = 1024

/** Nothing of a connection is needed but its identity and its end. */
export type GatedConnection = object & {
  addEventListener(type: 'close', listener: () => void, options: { once: true }): void
  abort(error: Error): void
}

export interface GaterInit {
  pairings: Pairings
  /** Peer IDs that are never admitted, such as unpaired ones; stored by the caller. */
  banned: Iterable<PeerId>
}

interface Home {
  /** Reasons to admit it: tickets, jobs, outputs. */
  holds: number
  /** Set while `holds` is 0. */
  expiry: NodeJS.Timeout | undefined
}

export class Gater {
  readonly #pairings: Pairings
  /** At most `MAX_BANS`. */
  readonly #banned: Set<PeerId>
  /** At most `MAX_HOMES`. */
  readonly #homes = new Map<PeerId, Home>()
  /** Peers that a person here asked to pair with: may be dialled although they are strangers. */
  readonly #invited = new Map<PeerId, number>()
  /** Targets met through others: may be dialled, and have no right here by that; at most `MAX_TARGETS`. */
  readonly #targets = new Set<PeerId>()
  /** People that have pairing open now. */
  #pairingOpen = 0
  /** Open connections that others opened; bounded by the node. */
  readonly #inbound = new Map<GatedConnection, PeerId>()
  /** Open connections to strangers that were dialled here; bounded by the node. */
  readonly #outbound = new Map<GatedConnection, PeerId>()
  /** Called when a peer lost its right, so that the node closes its connections; those that home opened, unless it may. */
  onLost: (peer: PeerId, mayDial: boolean) => void = () => {}

  constructor(init: GaterInit) {
    this.#pairings = init.pairings
    this.#banned = new Set(init.banned)
  }

  /** What this peer may do now; undefined: nothing. */
  rightOf(peer: PeerId): Right | undefined {
    const mayPair = this.#pairingOpen > 0 || this.#invited.has(peer)
    // Pairing again is how a person takes an unpairing back.
    if (this.#banned.has(peer)) return mayPair ? 'stranger' : undefined
    const pairing = this.#pairings.get(peer)
    if (pairing?.state === 'paired') return pairing.kind
    if (this.#homes.has(peer)) return 'home'
    // A pending pairing is settled over the pair protocol, whenever either side comes back.
    return pairing !== undefined || mayPair ? 'stranger' : undefined
  }

  /** True when the peer is paired, confirmed by both sides. */
  isPaired(peer: PeerId): boolean {
    const right = this.rightOf(peer)
    return right === 'own' || right === 'friend'
  }

  /** A home got a ticket, or a job of it lives here, or output waits for it; once for each. False: too many homes. */
  admitHome(peer: PeerId): boolean {
    if (this.#banned.has(peer)) return false
    let home = this.#homes.get(peer)
    if (home === undefined) {
      if (this.#homes.size >= MAX_HOMES && !this.#forgetIdleHome()) return false
      home = { holds: 0, expiry: undefined }
      this.#homes.set(peer, home)
    }
    clearTimeout(home.expiry)
    home.expiry = undefined
    home.holds++
    return true
  }

  /** One of the reasons ended; after the last the home may still come back for `HOME_LINGER_MS`. */
  dropHome(peer: PeerId): void {
    const home = this.#homes.get(peer)
    if (home === undefined || home.holds === 0) return
    home.holds--
    if (home.holds > 0) return
    home.expiry = setTimeout(() => this.#forgetHome(peer), HOME_LINGER_MS)
    home.expiry.unref()
  }

  /** Strangers may connect, for the pair protocol alone, until the returned handle is closed. */
  openPairing(): Disposable & { close(): void } {
    this.#pairingOpen++
    return once(() => {
      this.#pairingOpen--
      if (this.#pairingOpen === 0) this.#closeStrangers()
    })
  }

  /** A person here pairs with this very peer: it may be dialled, until the returned handle is closed. */
  allowDial(peer: PeerId): Disposable & { close(): void } {
    this.#invited.set(peer, (this.#invited.get(peer) ?? 0) + 1)
    return once(() => {
      const count = (this.#invited.get(peer) ?? 1) - 1
      if (count > 0) this.#invited.set(peer, count)
      else {
        this.#invited.delete(peer)
        this.#closeStrangers()
      }
    })
  }

  /**
   * A target that others vouched for may be dialled until the returned handle is closed; who closes it closes what was
   * dialled. False: it is banned, or there are too many.
   */
  allowTarget(peer: PeerId): (Disposable & { close(): void }) | false {
    if (this.#banned.has(peer) || this.#targets.has(peer) || this.#targets.size >= MAX_TARGETS) return false
    this.#targets.add(peer)
    return once(() => this.#targets.delete(peer))
  }

  /** True when home may open connections to this peer. */
  mayDial(peer: PeerId): boolean {
    return this.rightOf(peer) !== undefined || (this.#targets.has(peer) && !this.#banned.has(peer))
  }

  /** True for a peer whose pairing was ended here. */
  isBanned(peer: PeerId): boolean {
    return this.#banned.has(peer)
  }

  /** Never again, whoever vouches for it; its connections are closed. */
  ban(peer: PeerId): void {
    this.#banned.delete(peer)
    this.#banned.add(peer)
    if (this.#banned.size > MAX_BANS) this.#banned.delete(first(this.#banned) as PeerId)
    this.#forgetHome(peer)
    this.onLost(peer, false)
  }

  /** A new pairing lifts the ban. */
  unban(peer: PeerId): void {
    this.#banned.delete(peer)
  }

  /** At most `MAX_BANS`, oldest first, to be stored. */
  bans(): PeerId[] {
    return [...this.#banned]
  }

  /** Forgets homes and their timers. */
  stop(): void {
    for (const home of this.#homes.values()) clearTimeout(home.expiry)
    this.#homes.clear()
  }

  /** libp2p's callbacks; true denies. */
  callbacks(): ConnectionGater {
    return {
      denyDialPeer: (peer) => !this.mayDial(peer.toString()),
      denyInboundEncryptedConnection: (peer, connection) => !this.#admit(peer.toString(), connection),
      denyOutboundEncryptedConnection: (peer, connection) => !this.#dialled(peer.toString(), connection)
    }
  }

  #admit(peer: PeerId, connection: GatedConnection): boolean {
    const right = this.rightOf(peer)
    if (right === undefined) return false
    const peers = [...this.#inbound.values()]
    if (peers.filter((other) => other === peer).length >= MAX_INBOUND_PER_PEER) return false
    const strangers = peers.filter((other) => this.rightOf(other) === 'stranger').length
    if (right === 'stranger' && strangers >= MAX_STRANGERS) return false
    if (right === 'home') this.#replace(peer)
    this.#inbound.set(connection, peer)
    connection.addEventListener('close', () => this.#inbound.delete(connection), { once: true })
    return true
  }

  /** A home that comes again has found its connection dead. */
  #replace(home: PeerId): void {
    for (const [connection, peer] of [...this.#inbound]) {
      if (peer === home) connection.abort(new KappaError('NetworkError', `${home} opened another connection`))
    }
  }

  #dialled(peer: PeerId, connection: GatedConnection): boolean {
    if (this.rightOf(peer) === 'stranger') {
      this.#outbound.set(connection, peer)
      connection.addEventListener('close', () => this.#outbound.delete(connection), { once: true })
    }
    return this.mayDial(peer)
  }

  /** Pairing was closed: with it go those who were here for nothing else. */
  #closeStrangers(): void {
    for (const peer of new Set([...this.#inbound.values(), ...this.#outbound.values()])) {
      this.#lost(peer)
    }
  }

  #forgetHome(peer: PeerId): void {
    clearTimeout(this.#homes.get(peer)?.expiry)
    if (this.#homes.delete(peer)) this.#lost(peer)
  }

  /** One of its reasons to be here ended: is any left? */
  #lost(peer: PeerId): void {
    if (this.rightOf(peer) === undefined) this.onLost(peer, this.mayDial(peer))
  }

  /** Makes room by forgetting the home that has been idle the longest. */
  #forgetIdleHome(): boolean {
    for (const [peer, home] of this.#homes) {
      if (home.holds > 0) continue
      this.#forgetHome(peer)
      return true
    }
    return false
  }
}

function once(action: () => void): Disposable & { close(): void } {
  let open = true
  const close = (): void => {
    if (open) action()
    open = false
  }
  return { close, [Symbol.dispose]: close }
}

function first<T>(items: Iterable<T>): T | undefined {
  for (const item of items) return item
  return undefined
}
