/**
 * Keeps exactly one connection to every paired peer: dials, dials again after a loss, learns where each peer listens.
 * libp2p's own redialling gives up after a few tries; a household's machines come back after days.
 */
import { networkInterfaces } from 'node:os'
import type { Connection, IdentifyResult } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import type { PeerId } from '../core/types.ts'
import { KappaError } from '../errors.ts'
import { isLinkLocal, isLoopback, isRelayed, plainAddress } from './addresses.ts'
import type { KappaNode } from './node.ts'
import { MAX_ADDRESSES, type Pairings } from './pairing.ts'
import { reachable } from './race.ts'

/** Between dials: doubled from the first to the last, with half as much jitter either way. */
const BACKOFF_MS = 250
const MAX_BACKOFF_MS = 6500
/** Between dials while a job depends on the peer, and how long one may take then: a cut cable eats packets silently. */
const URGENT_BACKOFF_MS = 250
const URGENT_DIAL_MS = 1000
const DIAL_MS = 5000
/** Failed dials in a row after which the LAN is asked where the peer is. */
const ASK_LAN_TIMES = 6
/** The peer with the larger ID waits a little, so that both don't dial at once each time. */
const YIELD_MS = 200
/** Turned away so often in a row: the pairing may have ended there. Asked again rarely. */
const TURNED_AWAY_TIMES = 3
const TURNED_AWAY_BACKOFF_MS = 60_000
/** A connection that the other side closed within this time before it said anything was turned away. */
const ACCEPTED_AFTER_MS = 3000
/** Two connections that opened within so many ms of each other are one race of both sides. */
const RACE_MS = 3000
/** The side that doesn't decide closes what the other should have closed after so many ms. */
const LOSER_LINGER_MS = 5000
/** Looking at the own network interfaces. */
const INTERFACES_MS = 2000

export interface NeighboursInit {
  node: KappaNode
  pairings: Pairings
  /** Where the peer was seen, best first, at most `MAX_ADDRESSES`; called when it changed, to be stored. */
  onAddresses(peer: PeerId, addresses: string[]): void
  /** The peer closed the connection three times before a word was said. */
  onTurnedAway(peer: PeerId): void
  /** The addresses of this machine changed. */
  onNetworkChange?(): void
}

interface Neighbour {
  peer: PeerId
  /** At most `MAX_ADDRESSES`, best first. */
  addresses: string[]
  /** Failed dials since the last connection. */
  failures: number
  /** Connections in a row that the other side closed at once. */
  refusals: number
  urgent: boolean
  redial: NodeJS.Timeout | undefined
  /** The dial under way. */
  dialling: AbortController | undefined
  /** Called at each connection and each failed dial. */
  waiting: Set<() => void>
}

export class NeighbourConnections {
  readonly #init: NeighboursInit
  readonly #node: KappaNode
  /** At most `MAX_PAIRINGS`. */
  readonly #neighbours = new Map<PeerId, Neighbour>()
  #interfaces = ''
  #watch: NodeJS.Timeout | undefined
  #stopped = false

  constructor(init: NeighboursInit) {
    this.#init = init
    this.#node = init.node
  }

  /** Dials every paired peer. */
  async start(): Promise<void> {
    const { libp2p } = this.#node
    libp2p.addEventListener('connection:open', (event) => this.#opened(event.detail))
    libp2p.addEventListener('connection:close', (event) => this.#closed(event.detail))
    libp2p.addEventListener('peer:identify', (event) => this.#identified(event.detail))
    this.#node.onDiscovered(({ peerId, addresses }) => this.#heard(peerId, addresses))
    this.#interfaces = interfacesNow()
    this.#watch = setInterval(() => this.#lookAtInterfaces(), INTERFACES_MS)
    this.#watch.unref()
    for (const { peerId } of this.#init.pairings.all()) this.add(peerId)
  }

  stop(): void {
    this.#stopped = true
    clearInterval(this.#watch)
    for (const neighbour of this.#neighbours.values()) forget(neighbour)
    this.#neighbours.clear()
  }

  /** The peer was paired, or its pairing changed: it is dialled now. */
  add(peer: PeerId): void {
    const neighbour = this.#neighbours.get(peer) ?? this.#fresh(peer)
    neighbour.refusals = 0
    neighbour.failures = 0
    for (const address of this.#init.pairings.get(peer)?.addresses.toReversed() ?? []) remember(neighbour, address)
    this.#node.becamePaired(peer)
    this.#dialSoon(neighbour, 0)
  }

  /** The pairing ended: its connections are closed at once. */
  remove(peer: PeerId): void {
    const neighbour = this.#neighbours.get(peer)
    if (neighbour !== undefined) forget(neighbour)
    this.#neighbours.delete(peer)
    this.#node.hangUp(peer, 'its pairing ended')
  }

  /** A job depends on the peer: without a connection it is dialled each 250 ms. */
  urgent(peer: PeerId, urgent: boolean): void {
    const neighbour = this.#neighbours.get(peer)
    if (neighbour === undefined || neighbour.urgent === urgent) return
    neighbour.urgent = urgent
    if (urgent && this.current(peer) === undefined) {
      neighbour.dialling?.abort()
      this.#dialSoon(neighbour, 0)
    }
  }

  /** The connection that is used now, the same on both sides; undefined when there is none. */
  current(peer: PeerId): Connection | undefined {
    return preferred(this.#node.connections(peer), this.#node.peerId < peer)
  }

  /** The current connection to a neighbour, or the next one: dials at once. Throws UnreachableError, or the signal's reason. */
  async connectionTo(peer: PeerId, signal: AbortSignal): Promise<Connection> {
    const current = this.current(peer)
    if (current !== undefined) return current
    const neighbour = this.#neighbours.get(peer)
    if (neighbour === undefined) throw new KappaError('UnreachableError', `${peer} is not paired with this machine`)
    if (neighbour.dialling === undefined) this.#dialSoon(neighbour, 0)
    while (true) {
      signal.throwIfAborted()
      await changed(neighbour, signal)
      const connection = this.current(peer)
      if (connection !== undefined) return connection
      if (this.#neighbours.get(peer) !== neighbour) {
        throw new KappaError('UnreachableError', `the pairing with ${peer} ended`)
      }
    }
  }

  /**
   * One connection to whoever answers first at the addresses, and is `peer` if given. Who may be dialled is the gater's.
   * Throws UnreachableError, or the signal's reason.
   */
  async dialOnce(addresses: string[], peer: PeerId | undefined, signal: AbortSignal): Promise<Connection> {
    if (addresses.length < 2) return this.#node.dial(addresses, peer, signal)
    let failure: unknown
    for await (const address of reachable(addresses, signal)) {
      try {
        return await this.#node.dial([address], peer, signal)
      } catch (error) {
        failure = error
      }
    }
    signal.throwIfAborted()
    throw failure ?? new KappaError('UnreachableError', `nobody answers at ${addresses.join(', ')}`)
  }

  #fresh(peer: PeerId): Neighbour {
    const neighbour: Neighbour = {
      peer,
      addresses: [],
      failures: 0,
      refusals: 0,
      urgent: false,
      redial: undefined,
      dialling: undefined,
      waiting: new Set()
    }
    this.#neighbours.set(peer, neighbour)
    return neighbour
  }

  // ------------------------------------------------------------------------------------------------------ dialling

  #dialSoon(neighbour: Neighbour, afterMs: number): void {
    clearTimeout(neighbour.redial)
    neighbour.redial = undefined
    if (this.#stopped || this.#neighbours.get(neighbour.peer) !== neighbour) return
    neighbour.redial = setTimeout(() => void this.#dial(neighbour), afterMs)
  }

  #redial(neighbour: Neighbour): void {
    const jitter = 0.5 + Math.random()
    if (neighbour.refusals >= TURNED_AWAY_TIMES) this.#dialSoon(neighbour, TURNED_AWAY_BACKOFF_MS * jitter)
    else if (neighbour.urgent) this.#dialSoon(neighbour, URGENT_BACKOFF_MS)
    else {
      const yieldMs = this.#node.peerId < neighbour.peer ? 0 : YIELD_MS
      const backoffMs = Math.min(MAX_BACKOFF_MS, BACKOFF_MS * 2 ** Math.min(neighbour.failures, 10))
      this.#dialSoon(neighbour, yieldMs + backoffMs * jitter)
    }
  }

  async #dial(neighbour: Neighbour): Promise<void> {
    neighbour.redial = undefined
    if (neighbour.dialling !== undefined || this.current(neighbour.peer) !== undefined) return
    const addresses = this.#worthDialling(neighbour)
    if (addresses.length === 0) return
    const dialling = new AbortController()
    neighbour.dialling = dialling
    const deadline = AbortSignal.timeout(neighbour.urgent ? URGENT_DIAL_MS : DIAL_MS)
    try {
      await this.dialOnce(addresses, neighbour.peer, AbortSignal.any([dialling.signal, deadline]))
      neighbour.failures = 0
    } catch {
      neighbour.failures++
      // It may have got another address; one that stays away is heard when it comes.
      if (neighbour.failures <= ASK_LAN_TIMES) this.#node.askLan()
    } finally {
      neighbour.dialling = undefined
    }
    if (this.current(neighbour.peer) === undefined) this.#redial(neighbour)
    for (const wake of neighbour.waiting) wake()
  }

  #worthDialling(neighbour: Neighbour): string[] {
    const own = new Set(this.#node.addresses())
    return neighbour.addresses.filter((address) => !own.has(address))
  }

  /** News of where a peer may be: dialled at once, unless it turns us away. */
  #heard(peer: PeerId, addresses: string[]): void {
    const neighbour = this.#neighbours.get(peer)
    if (neighbour === undefined) return
    for (const address of addresses) remember(neighbour, address)
    if (neighbour.refusals >= TURNED_AWAY_TIMES || this.current(peer) !== undefined) return
    neighbour.failures = 0
    this.#dialSoon(neighbour, this.#node.peerId < peer ? 0 : YIELD_MS)
  }

  #lookAtInterfaces(): void {
    const now = interfacesNow()
    if (now === this.#interfaces) return
    this.#interfaces = now
    this.#init.onNetworkChange?.()
    for (const neighbour of this.#neighbours.values()) {
      if (this.current(neighbour.peer) !== undefined || neighbour.refusals >= TURNED_AWAY_TIMES) continue
      neighbour.failures = 0
      neighbour.dialling?.abort()
      this.#dialSoon(neighbour, 0)
    }
  }

  // --------------------------------------------------------------------------------------------------- connections

  #opened(connection: Connection): void {
    if (isRelayed(connection.remoteAddr)) return
    const neighbour = this.#neighbours.get(connection.remotePeer.toString())
    if (neighbour === undefined) return
    clearTimeout(neighbour.redial)
    this.#settle(neighbour.peer)
    for (const wake of neighbour.waiting) wake()
  }

  /** Leaves one connection of several. The side with the smaller ID decides; the other only cleans up after it. */
  #settle(peer: PeerId): void {
    const connections = this.#node.connections(peer)
    if (connections.length < 2) return
    const decides = this.#node.peerId < peer
    const kept = preferred(connections, decides)
    const close = (): void => {
      for (const connection of connections) {
        if (connection === kept || kept?.status !== 'open') continue
        connection.abort(new KappaError('NetworkError', `another connection to ${peer} is used`))
      }
    }
    if (decides) close()
    else setTimeout(close, LOSER_LINGER_MS).unref()
  }

  #closed(connection: Connection): void {
    if (isRelayed(connection.remoteAddr)) return
    const neighbour = this.#neighbours.get(connection.remotePeer.toString())
    if (neighbour === undefined || this.#stopped || this.current(neighbour.peer) !== undefined) return
    const livedMs = Date.now() - connection.timeline.open
    if (connection.direction === 'outbound' && livedMs < ACCEPTED_AFTER_MS && !this.#accepted.has(connection)) {
      neighbour.refusals++
      neighbour.failures++
      if (neighbour.refusals === TURNED_AWAY_TIMES) this.#init.onTurnedAway(neighbour.peer)
    }
    this.#redial(neighbour)
  }

  /** Connections on which the other side answered. */
  readonly #accepted = new WeakSet<Connection>()

  #identified({ peerId, connection, listenAddrs }: IdentifyResult): void {
    if (isRelayed(connection.remoteAddr)) return
    this.#accepted.add(connection)
    const neighbour = this.#neighbours.get(peerId.toString())
    if (neighbour === undefined) return
    neighbour.refusals = 0
    const before = neighbour.addresses
    neighbour.addresses = learned(connection, listenAddrs.map(plainAddress), before)
    if (before.join() !== neighbour.addresses.join()) this.#init.onAddresses(neighbour.peer, [...neighbour.addresses])
  }
}

/**
 * Of several connections to one peer the newest is used, for who dials again found the others dead. But when both
 * sides dialled at once, the newest of those that the smaller ID dialled, wherever it comes in time.
 */
function preferred(connections: Connection[], selfIsSmaller: boolean): Connection | undefined {
  const newest = connections.at(-1)
  if (newest === undefined) return undefined
  const direction = selfIsSmaller ? 'outbound' : 'inbound'
  return (
    connections.findLast(
      (connection) => connection.direction === direction && newest.timeline.open - connection.timeline.open <= RACE_MS
    ) ?? newest
  )
}

/** The addresses of a peer, best first: where it was just reached, where it listens, where it was before. */
function learned(connection: Connection, listens: (string | undefined)[], before: string[]): string[] {
  const reached = plainAddress(connection.remoteAddr)
  const isLocal = reached !== undefined && isLoopback(reached)
  const told = listens.filter(
    (address) => address !== undefined && (isLocal || !isLoopback(address)) && !isLinkLocal(address)
  )
  const first = connection.direction === 'outbound' ? [reached] : [seenAt(reached, told[0])]
  const all = [...first, ...told, ...before].filter((address) => address !== undefined)
  return [...new Set(all)].slice(0, MAX_ADDRESSES)
}

/** Where a peer that dialled in probably listens: the host it came from, the port it says. */
function seenAt(from: string | undefined, listens: string | undefined): string | undefined {
  const port = listens?.split('/').at(-1)
  if (from === undefined || port === undefined || isLinkLocal(from)) return undefined
  return plainAddress(multiaddr(from.replace(/\d+$/, port)))
}

/** Newest knowledge first, the oldest forgotten. */
function remember(neighbour: Neighbour, address: string): void {
  if (neighbour.addresses.includes(address)) return
  neighbour.addresses = [address, ...neighbour.addresses].slice(0, MAX_ADDRESSES)
}

function forget(neighbour: Neighbour): void {
  clearTimeout(neighbour.redial)
  neighbour.dialling?.abort()
  for (const wake of neighbour.waiting) wake()
}

/** Resolves at the next connection or failed dial, and with the signal. */
function changed(neighbour: Neighbour, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const wake = (): void => {
      neighbour.waiting.delete(wake)
      signal.removeEventListener('abort', wake)
      resolve()
    }
    neighbour.waiting.add(wake)
    signal.addEventListener('abort', wake, { once: true })
  })
}

function interfacesNow(): string {
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list?.map(({ address }) => address) ?? [])
  return addresses.sort().join()
}
