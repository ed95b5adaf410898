/**
 * Connections between simulated peers, with what TCP shows of the network below: within one connection messages arrive in
 * order or not at all; a path that is blocked holds them up; silence closes a connection, on each side for itself; what was
 * under way on a closed connection may still arrive while the next one stands, late or a second time.
 */

import { between, type Random } from './random.ts'
import type { Edge } from './topology.ts'
import type { VirtualTime } from './virtual-time.ts'

/** Silence of a path or a peer after which a side gives its connection up, ms. */
const SILENCE_MS = 3_000
/** Each side looks at its own pace. */
const SILENCE_SPREAD_MS = 500
/** Between the end of what was in the way and the next connection, ms. */
const REDIAL_MS = { least: 10, most: 2_000 }
/** Handshakes of a new connection, in delays of the path, and what they take to compute, ms. */
const DIAL_DELAYS = 6
const DIAL_COST_MS = 5
/** What was under way on a closed connection arrives within this time or never, ms. */
const LATE_MS = 1_500
/** What a blocked path holds up for one direction of a connection; more is lost, as with a sender that gives up. */
const MAX_HELD = 10_000

export interface LinkQuality {
  /** One way, of one link, on average; each link has its own, within a half of it. */
  delayMs: number
  /** Added to each message, up to so much. */
  jitterMs: number
}

/** Chances of 0..1; they may be changed while it runs. */
export interface Unreliability {
  /** A message that never arrives though its connection stands. */
  loss: number
  /** A message that was under way when its connection closed arrives nevertheless. */
  late: number
  /** A message arrives again if its connection closes soon. */
  duplication: number
}

export interface NetworkHost {
  /** A muted peer keeps its connections and says nothing; one that is down has none. */
  stateOf(peer: number): 'up' | 'muted' | 'down'
  /** Whether one of the two lets the other, who is no neighbour, connect. */
  admits(one: number, other: number): boolean
  connected(side: number, other: number, neighbours: boolean): void
  disconnected(side: number, other: number, neighbours: boolean): void
}

/** What a message may expect. */
export interface Service {
  /** Lost only with its connection. */
  reliable: boolean
  /** The receiver takes it from a connection that is closed, too. */
  late: boolean
}

const LOSSY: Service = { reliable: false, late: true }

interface Parcel {
  deliver: () => void
  service: Service
}

interface Way {
  /** This side believes that the connection stands. */
  standing: boolean
  /** Faults that block the path from this side to the other. */
  blocks: number
  /** Rises with each time that the path is blocked anew. */
  blocking: number
  /** What was sent from this side while the path was blocked, in order; at most MAX_HELD. */
  held: Parcel[]
  /** When the last message from this side arrives. */
  latest: number
}

interface Connection {
  readonly peers: readonly [number, number]
  readonly neighbours: boolean
  readonly delayMs: number
  readonly ways: readonly [Way, Way]
  /** Counts connections between the two. */
  serial: number
}

export class Network {
  readonly unreliability: Unreliability = { loss: 0, late: 0, duplication: 0 }
  readonly #time: VirtualTime
  readonly #random: Random
  readonly #host: NetworkHost
  readonly #jitterMs: number
  readonly #delays: readonly Map<number, number>[]
  /** By both peers; at most one for each two. */
  readonly #connections = new Map<number, Connection>()
  readonly #ofPeer: Connection[][]
  /** Partitions that hold now: the group of each peer. */
  readonly #walls = new Set<readonly number[]>()
  /** Delays from one peer to all others along the links, made when asked for. */
  readonly #paths = new Map<number, number[]>()

  constructor(
    time: VirtualTime,
    random: Random,
    host: NetworkHost,
    layout: { peers: number; edges: readonly Edge[]; quality: LinkQuality; everybody: boolean }
  ) {
    this.#time = time
    this.#random = random
    this.#host = host
    this.#jitterMs = layout.quality.jitterMs
    this.#delays = Array.from({ length: layout.peers }, () => new Map<number, number>())
    this.#ofPeer = Array.from({ length: layout.peers }, () => [])
    for (const [a, b] of layout.edges) {
      const delayMs = layout.quality.delayMs * between(random, 0.5, 1.5)
      this.#delays[a]!.set(b, delayMs)
      this.#delays[b]!.set(a, delayMs)
    }
    if (!layout.everybody) for (const [a, b] of layout.edges) this.#create(a, b, true)
    else for (let a = 0; a < layout.peers; a++) for (let b = a + 1; b < layout.peers; b++) this.#create(a, b, true)
  }

  /** Whether that side has a connection, as far as it knows. */
  stands(side: number, other: number): boolean {
    const connection = this.#connections.get(this.#key(side, other))
    return connection !== undefined && wayFrom(connection, side).standing
  }

  /** Whether the two are neighbours in the overlay, connected or not. */
  isNeighbour(a: number, b: number): boolean {
    return this.#connections.get(this.#key(a, b))?.neighbours === true
  }

  /** ms that a message takes one way, without what disturbs it. */
  delayMs(a: number, b: number): number {
    return this.#connections.get(this.#key(a, b))?.delayMs ?? this.#pathMs(a, b)
  }

  /** Whether `listener` has heard `speaker` just now, if that one speaks all the time. */
  hears(listener: number, speaker: number): boolean {
    const connection = this.#connections.get(this.#key(listener, speaker))
    if (connection === undefined || this.#host.stateOf(speaker) !== 'up') return false
    const way = wayFrom(connection, speaker)
    return way.standing && wayFrom(connection, listener).standing && way.blocks === 0
  }

  /** Has a connection made to a peer that is none of the neighbours; `connected` tells when it stands. */
  dial(from: number, to: number): void {
    const connection = this.#connections.get(this.#key(from, to)) ?? this.#create(from, to, false)
    this.#time.after(DIAL_DELAYS * connection.delayMs + DIAL_COST_MS, () => this.#connect(connection))
  }

  send(from: number, to: number, deliver: () => void, service: Service = LOSSY): void {
    const connection = this.#connections.get(this.#key(from, to))
    if (connection === undefined) return
    const way = wayFrom(connection, from)
    if (!way.standing || !wayFrom(connection, to).standing) return
    if (way.blocks > 0) {
      if (way.held.length < MAX_HELD) way.held.push({ deliver, service })
      return
    }
    const { loss } = this.unreliability
    if (!service.reliable && loss > 0 && this.#random() < loss) return
    this.#carry(connection, way, { deliver, service })
  }

  // ------------------------------------------------------------------------------------------------------- faults

  /** Both sides learn at once that the connection is gone. */
  cut(a: number, b: number, forMs: number): void {
    const connection = this.#connections.get(this.#key(a, b))
    if (connection === undefined) return
    this.#closeBoth(connection)
    for (const way of connection.ways) this.#block(connection, way)
    this.#time.after(forMs, () => {
      for (const way of connection.ways) this.#unblock(connection, way)
    })
  }

  /** Nothing gets from `from` to `to`; nobody is told. */
  block(from: number, to: number, forMs: number): void {
    const connection = this.#connections.get(this.#key(from, to))
    if (connection === undefined) return
    const way = wayFrom(connection, from)
    this.#block(connection, way)
    this.#time.after(forMs, () => this.#unblock(connection, way))
  }

  /** Nothing gets from one group of peers to another; nobody is told. */
  partition(groups: readonly number[], forMs: number): void {
    this.#walls.add(groups)
    for (const connection of this.#connections.values()) {
      if (separated(connection, groups)) for (const way of connection.ways) this.#block(connection, way)
    }
    this.#time.after(forMs, () => {
      this.#walls.delete(groups)
      for (const connection of this.#connections.values()) {
        if (separated(connection, groups)) for (const way of connection.ways) this.#unblock(connection, way)
      }
    })
  }

  /** It stopped answering. `since` changes when it is resumed. */
  muted(peer: number, stillMuted: () => boolean): void {
    for (const connection of this.#ofPeer[peer]!) {
      const { serial } = connection
      const other = otherOf(connection, peer)
      this.#time.after(SILENCE_MS + between(this.#random, 0, SILENCE_SPREAD_MS), () => {
        if (stillMuted() && connection.serial === serial) this.#closeSide(connection, other)
      })
    }
  }

  /** It died: its own side of each connection is gone, the others are told by its machine. */
  died(peer: number): void {
    for (const connection of this.#ofPeer[peer]!) {
      const way = wayFrom(connection, peer)
      if (!way.standing) continue
      way.standing = false
      way.held = []
      this.#tellClosed(connection, peer)
    }
  }

  /** It runs again, after it was down or muted. */
  runs(peer: number): void {
    for (const connection of this.#ofPeer[peer]!) this.#redial(connection)
  }

  // -------------------------------------------------------------------------------------------------- connections

  #key(a: number, b: number): number {
    const { length } = this.#ofPeer
    return a < b ? a * length + b : b * length + a
  }

  #create(a: number, b: number, neighbours: boolean): Connection {
    const peers = a < b ? ([a, b] as const) : ([b, a] as const)
    const ways = [newWay(), newWay()] as const
    const connection = { peers, neighbours, delayMs: this.#pathMs(a, b), ways, serial: 0 }
    this.#connections.set(this.#key(a, b), connection)
    this.#ofPeer[a]!.push(connection)
    this.#ofPeer[b]!.push(connection)
    for (const groups of this.#walls) {
      if (separated(connection, groups)) for (const way of ways) way.blocks++
    }
    return connection
  }

  #redial(connection: Connection): void {
    const { least, most } = REDIAL_MS
    this.#time.after(between(this.#random, least, most), () => this.#connect(connection))
  }

  #connect(connection: Connection): void {
    const { peers, ways, neighbours } = connection
    const whole = ways[0].standing && ways[1].standing
    const clear = ways[0].blocks === 0 && ways[1].blocks === 0
    if (whole || !clear || peers.some((peer) => this.#host.stateOf(peer) !== 'up')) return
    if (!neighbours && !this.#host.admits(...peers)) return
    this.#closeBoth(connection)
    connection.serial++
    for (const way of ways) {
      way.standing = true
      way.latest = this.#time.now
    }
    this.#host.connected(peers[0], peers[1], neighbours)
    this.#host.connected(peers[1], peers[0], neighbours)
  }

  #closeBoth(connection: Connection): void {
    for (const [side, way] of connection.ways.entries()) if (way.standing) this.#lost(connection, side as 0 | 1)
  }

  /** This side gives it up; the other is told if anything gets there. */
  #closeSide(connection: Connection, peer: number): void {
    const side = sideOf(connection, peer)
    if (!connection.ways[side].standing) return
    const clear = connection.ways[side].blocks === 0
    this.#lost(connection, side)
    if (clear) this.#tellClosed(connection, peer)
    this.#redial(connection)
  }

  #tellClosed(connection: Connection, peer: number): void {
    const { serial } = connection
    const other = otherOf(connection, peer)
    if (wayFrom(connection, peer).blocks > 0) {
      // Nothing gets through: the other side notices the silence by itself.
      this.#time.after(SILENCE_MS + between(this.#random, 0, SILENCE_SPREAD_MS), () => {
        if (connection.serial === serial) this.#closeSide(connection, other)
      })
    } else {
      this.#time.after(connection.delayMs, () => {
        if (connection.serial === serial) this.#closeSide(connection, other)
      })
    }
  }

  #lost(connection: Connection, side: 0 | 1): void {
    const way = connection.ways[side]
    way.standing = false
    for (const parcel of way.held) this.#late(parcel)
    way.held = []
    this.#host.disconnected(connection.peers[side], connection.peers[1 - side]!, connection.neighbours)
  }

  // ----------------------------------------------------------------------------------------------------- messages

  #carry(connection: Connection, way: Way, parcel: Parcel): void {
    const { serial } = connection
    const { deliver, service } = parcel
    way.latest = Math.max(way.latest, this.#time.now + connection.delayMs + this.#random() * this.#jitterMs)
    const receiver = connection.ways[0] === way ? connection.ways[1] : connection.ways[0]
    this.#time.at(way.latest, () => {
      if (connection.serial !== serial || !receiver.standing) {
        this.#late(parcel)
        return
      }
      deliver()
      const { duplication } = this.unreliability
      if (duplication === 0 || !service.late || this.#random() >= duplication) return
      this.#time.after(between(this.#random, 0, LATE_MS), () => {
        if (connection.serial !== serial) deliver()
      })
    })
  }

  #late({ deliver, service }: Parcel): void {
    const { late } = this.unreliability
    if (service.late && late > 0 && this.#random() < late) this.#time.after(between(this.#random, 0, LATE_MS), deliver)
  }

  #block(connection: Connection, way: Way): void {
    way.blocks++
    if (way.blocks > 1) return
    const blocking = ++way.blocking
    const { serial, peers, ways } = connection
    const listener = ways[0] === way ? peers[1] : peers[0]
    this.#time.after(SILENCE_MS + between(this.#random, 0, SILENCE_SPREAD_MS), () => {
      if (way.blocks > 0 && way.blocking === blocking && connection.serial === serial) {
        this.#closeSide(connection, listener)
      }
    })
  }

  #unblock(connection: Connection, way: Way): void {
    way.blocks--
    if (way.blocks > 0) return
    const { held } = way
    way.held = []
    for (const parcel of held) this.#carry(connection, way, parcel)
    this.#redial(connection)
  }

  // -------------------------------------------------------------------------------------------------------- paths

  /** Dijkstra, without a heap: there are few peers. */
  #pathMs(from: number, to: number): number {
    let known = this.#paths.get(from)
    if (known === undefined) {
      known = this.#delays.map((_, peer) => (peer === from ? 0 : Number.POSITIVE_INFINITY))
      const open = new Set(known.keys())
      while (open.size > 0) {
        let nearest = -1
        for (const peer of open) if (nearest < 0 || known[peer]! < known[nearest]!) nearest = peer
        open.delete(nearest)
        for (const [next, ms] of this.#delays[nearest]!) known[next] = Math.min(known[next]!, known[nearest]! + ms)
      }
      this.#paths.set(from, known)
    }
    return known[to]!
  }
}

function newWay(): Way {
  return { standing: false, blocks: 0, blocking: 0, held: [], latest: 0 }
}

function sideOf(connection: Connection, peer: number): 0 | 1 {
  return connection.peers[0] === peer ? 0 : 1
}

function otherOf(connection: Connection, peer: number): number {
  return connection.peers[0] === peer ? connection.peers[1] : connection.peers[0]
}

function wayFrom(connection: Connection, peer: number): Way {
  return connection.peers[0] === peer ? connection.ways[0] : connection.ways[1]
}

function separated(connection: Connection, groups: readonly number[]): boolean {
  return groups[connection.peers[0]] !== groups[connection.peers[1]]
}
