/**
 * What the neighbours say, of themselves and of machines behind them. One table for each: its claims replace only its own,
 * vanish at once when its connection closes, else after three periods of silence. From these tables come the routes: for
 * each origin the one with the fewest hops among those that are nearly as fresh as the freshest.
 */

import { slotsWanted } from './needs.ts'
import { type Advertisement, type AdvertisementEntry, MAX_HOPS, type PairingKind, type PeerId } from './types.ts'

/** Periods without a word after which what a neighbour said is no longer believed. */
const SILENT_PERIODS = 3
/** A route that is older than the freshest one by up to so many periods is as good. */
const NEARLY_FRESH_PERIODS = 2
/** What is believed of a stated period, in ms. */
const MIN_PERIOD_MS = 100
const MAX_PERIOD_MS = 60_000
/** Until a neighbour stated its own. */
const FIRST_PERIOD_MS = 10_000
/** No answer to a probe after so many smoothed round trips, and not before the floor, is worth asking another. */
const HEDGE_ROUND_TRIPS = 4
const HEDGE_FLOOR_MS = 50
/** Weight of a new round trip in the smoothed one. */
const ROUND_TRIP_GAIN = 1 / 8

/** Persons pair machines one by one; connected ones are never dropped. */
const MAX_NEIGHBOURS = 256
/** What one neighbour claims; of more the one that was told longest ago is dropped. */
const MAX_CLAIMS = 256

interface Claim {
  entry: AdvertisementEntry
  receivedAt: number
}

export interface Neighbour {
  readonly peer: PeerId
  kind: PairingKind
  name: string
  connected: boolean
  /** Smoothed, in ms; undefined until measured. */
  roundTripMs: number | undefined
  /** By origin; at most MAX_CLAIMS. */
  readonly claims: Map<PeerId, Route>
  heardAt: number
  periodMs: number
}

/** How a machine can be reached, and what is known of it. */
export interface Route extends Claim {
  via: Neighbour
}

/** The routes to one origin. */
export class Ranked {
  /** Not empty; at most one for each neighbour. */
  readonly #routes: Route[]
  #first: Route | undefined
  #second: Route | undefined
  #secondKnown = false

  constructor(route: Route) {
    this.#routes = [route]
  }

  get first(): Route {
    this.#first ??= best(this.#routes)
    return this.#first
  }

  /** Replaces the route by that neighbour. */
  set(route: Route): void {
    const index = this.#routes.findIndex(({ via }) => via === route.via)
    if (index < 0) this.#routes.push(route)
    else this.#routes[index] = route
    this.#forget()
  }

  /** True when no route is left. */
  delete(neighbour: Neighbour): boolean {
    const index = this.#routes.findIndex(({ via }) => via === neighbour)
    if (index >= 0) this.#routes.splice(index, 1)
    this.#forget()
    return this.#routes.length === 0
  }

  #forget(): void {
    this.#first = undefined
    this.#secondKnown = false
  }

  /** The best one that doesn't begin with that neighbour. */
  without(peer: PeerId | undefined): Route | undefined {
    if (this.first.via.peer !== peer) return this.first
    if (!this.#secondKnown) {
      this.#secondKnown = true
      const { via: used } = this.first
      const others = this.#routes.filter(({ via }) => via !== used)
      this.#second = others.length === 0 ? undefined : best(others)
    }
    return this.#second
  }
}

export class Neighbours {
  readonly #self: PeerId
  readonly #banned: (peer: PeerId) => boolean
  /** Connected ones and those that were since; at most MAX_NEIGHBOURS. */
  readonly #neighbours = new Map<PeerId, Neighbour>()
  #version = 0
  /** By origin, none without a route; bounded as the claims are. */
  readonly #ranked = new Map<PeerId, Ranked>()
  /** Nothing ends before. */
  #expireAt = Number.POSITIVE_INFINITY

  constructor(self: PeerId, banned: (peer: PeerId) => boolean) {
    this.#self = self
    this.#banned = banned
  }

  /** Another number whenever the routes may have changed. */
  get version(): number {
    return this.#version
  }

  up(peer: PeerId, info: { kind: PairingKind; name: string }, now: number): void {
    const known = this.#neighbours.get(peer)
    if (known !== undefined) {
      Object.assign(known, info, { connected: true, heardAt: now })
      // It may have become a friend.
      for (const { entry } of known.claims.values())
        if (!this.#mayClaim(known, entry)) this.#unclaim(known, entry.origin)
    } else {
      if (this.#neighbours.size >= MAX_NEIGHBOURS) this.#dropOneDisconnected()
      const { kind, name } = info
      const claims = new Map<PeerId, Route>()
      const fresh = { roundTripMs: undefined, claims, heardAt: now, periodMs: FIRST_PERIOD_MS }
      this.#neighbours.set(peer, { peer, kind, name, connected: true, ...fresh })
    }
    this.#expireAt = Math.min(this.#expireAt, now)
    this.#version++
  }

  down(peer: PeerId): void {
    const neighbour = this.#neighbours.get(peer)
    if (neighbour === undefined) return
    neighbour.connected = false
    for (const origin of neighbour.claims.keys()) this.#unclaim(neighbour, origin)
    this.#version++
  }

  /** The pairing ended. */
  forget(peer: PeerId): void {
    this.down(peer)
    this.#neighbours.delete(peer)
  }

  get(peer: PeerId): Neighbour | undefined {
    return this.#neighbours.get(peer)
  }

  all(): IterableIterator<Neighbour> {
    return this.#neighbours.values()
  }

  isConnected(peer: PeerId): boolean {
    return this.#neighbours.get(peer)?.connected === true
  }

  heard(peer: PeerId, now: number): void {
    const neighbour = this.#neighbours.get(peer)
    if (neighbour !== undefined) neighbour.heardAt = now
  }

  /** Replaces all that this neighbour claimed, unless it is partial, but for what is older than an answer to a probe said. */
  advertised(from: PeerId, message: Advertisement, now: number): void {
    const neighbour = this.#neighbours.get(from)
    if (neighbour === undefined || !neighbour.connected) return
    neighbour.periodMs = Math.min(MAX_PERIOD_MS, Math.max(MIN_PERIOD_MS, message.periodMs))
    const claimed = new Set<PeerId>()
    for (const entry of message.entries) {
      if (!this.#mayClaim(neighbour, entry)) continue
      claimed.add(entry.origin)
      const known = neighbour.claims.get(entry.origin)
      if (known === undefined || !isOlder(entry, known.entry)) this.#claim(neighbour, entry, now)
    }
    if (!message.partial) {
      for (const origin of neighbour.claims.keys()) if (!claimed.has(origin)) this.#unclaim(neighbour, origin)
    }
    const own = neighbour.claims.get(from)?.entry
    if (own !== undefined && own.name !== '') neighbour.name = own.name
    this.#expireAt = Math.min(this.#expireAt, now + neighbour.periodMs)
    this.#version++
  }

  /** A record that came with an answer to a probe. */
  answered(from: PeerId, entry: AdvertisementEntry, now: number): void {
    const neighbour = this.#neighbours.get(from)
    if (neighbour === undefined || !neighbour.connected || !this.#mayClaim(neighbour, entry)) return
    const known = neighbour.claims.get(entry.origin)
    if (known !== undefined && isOlder(entry, known.entry)) return
    this.#claim(neighbour, entry, now)
    this.#expireAt = Math.min(this.#expireAt, now + neighbour.periodMs)
    this.#version++
  }

  /** So many cores of that machine, promised to a job, are free again; whoever told that already is asked once in vain. */
  freed(origin: PeerId, demand: number): void {
    for (const { claims } of this.#neighbours.values()) {
      const claim = claims.get(origin)
      if (claim === undefined) continue
      const { record } = claim.entry
      const guestDemand = Math.max(0, record.guestDemand - slotsWanted(demand, record.slots))
      claim.entry = { ...claim.entry, record: { ...record, guestDemand } }
    }
    this.#version++
  }

  /** A round trip to that neighbour was measured, in ms ≥ 0. */
  roundTrip(peer: PeerId, ms: number): void {
    const neighbour = this.#neighbours.get(peer)
    if (neighbour === undefined) return
    const smoothed = neighbour.roundTripMs
    neighbour.roundTripMs = smoothed === undefined ? ms : smoothed + (ms - smoothed) * ROUND_TRIP_GAIN
  }

  /** ms without an answer to a probe after which another neighbour is asked too. */
  hedgeAfterMs(peer: PeerId): number {
    return Math.max(HEDGE_FLOOR_MS, HEDGE_ROUND_TRIPS * (this.#neighbours.get(peer)?.roundTripMs ?? 0))
  }

  /** The routes to each origin. Valid until `version` changes. */
  ranked(): IterableIterator<Ranked> {
    return this.#ranked.values()
  }

  /** One route for each origin, for who may not use what `except` said. Valid until `version` changes. */
  routes(except?: PeerId): Route[] {
    const routes: Route[] = []
    for (const ranked of this.ranked()) {
      const route = ranked.without(except)
      if (route !== undefined) routes.push(route)
    }
    return routes
  }

  route(origin: PeerId): Route | undefined {
    return this.#ranked.get(origin)?.first
  }

  /** Drops what silent neighbours claimed, and what nobody has refreshed for too long. */
  expire(now: number): void {
    if (now < this.#expireAt) return
    this.#expireAt = Number.POSITIVE_INFINITY
    let changed = false
    for (const neighbour of this.#neighbours.values()) {
      const silent = now >= silentAt(neighbour)
      for (const [origin, claim] of neighbour.claims) {
        const staleAt = claim.receivedAt - claim.entry.ageMs + SILENT_PERIODS * neighbour.periodMs * claim.entry.hops
        if (silent || (claim.entry.hops > 1 && now >= staleAt)) {
          this.#unclaim(neighbour, origin)
          changed = true
        } else if (claim.entry.hops > 1) this.#expireAt = Math.min(this.#expireAt, staleAt)
      }
      if (neighbour.claims.size > 0) this.#expireAt = Math.min(this.#expireAt, silentAt(neighbour))
    }
    if (changed) this.#version++
  }

  /** When something may end; it may be heard of again before. */
  nextTimer(): number | undefined {
    let next: number | undefined
    for (const neighbour of this.#neighbours.values()) {
      if (neighbour.claims.size > 0) next = Math.min(next ?? Number.POSITIVE_INFINITY, silentAt(neighbour))
    }
    return next
  }

  /** Only of itself is a friend believed: it vouches for nobody. */
  #mayClaim(neighbour: Neighbour, entry: AdvertisementEntry): boolean {
    if (entry.origin === this.#self || (entry.hops === 1) !== (entry.origin === neighbour.peer)) return false
    return entry.hops === 1 || (neighbour.kind === 'own' && entry.hops <= MAX_HOPS && !this.#banned(entry.origin))
  }

  #claim(via: Neighbour, entry: AdvertisementEntry, receivedAt: number): void {
    const { origin } = entry
    const route: Route = { via, entry, receivedAt }
    // Last in the order in which they are dropped.
    via.claims.delete(origin)
    via.claims.set(origin, route)
    if (via.claims.size > MAX_CLAIMS) this.#unclaim(via, via.claims.keys().next().value!)
    const ranked = this.#ranked.get(origin)
    if (ranked === undefined) this.#ranked.set(origin, new Ranked(route))
    else ranked.set(route)
  }

  #unclaim(via: Neighbour, origin: PeerId): void {
    via.claims.delete(origin)
    if (this.#ranked.get(origin)?.delete(via) === true) this.#ranked.delete(origin)
  }

  #dropOneDisconnected(): void {
    for (const neighbour of this.#neighbours.values()) {
      if (neighbour.connected) continue
      this.#neighbours.delete(neighbour.peer)
      return
    }
  }
}

/** The one with the fewest hops of those that are nearly as fresh as the freshest; not for none. */
function best(routes: Route[]): Route {
  if (routes.length === 1) return routes[0]!
  let freshest = routes[0]!
  for (const route of routes) {
    const { epoch } = route.entry
    if (epoch > freshest.entry.epoch) freshest = route
    else if (epoch === freshest.entry.epoch && measuredAt(route) > measuredAt(freshest)) freshest = route
  }
  let found = freshest
  for (const route of routes) {
    const { epoch, hops } = route.entry
    const fresh = measuredAt(route) >= measuredAt(freshest) - NEARLY_FRESH_PERIODS * route.via.periodMs
    if (epoch === freshest.entry.epoch && fresh && hops < found.entry.hops) found = route
  }
  return found
}

function measuredAt({ entry, receivedAt }: Claim): number {
  return receivedAt - entry.ageMs
}

/** ms since the origin measured what the route tells. */
export function ageOf({ entry, receivedAt }: Claim, now: number): number {
  return entry.ageMs + (now - receivedAt)
}

/** Messages may overtake each other. */
export function isOlder(entry: AdvertisementEntry, than: AdvertisementEntry): boolean {
  return entry.epoch < than.epoch || (entry.epoch === than.epoch && entry.sequence < than.sequence)
}

function silentAt(neighbour: Neighbour): number {
  return neighbour.heardAt + SILENT_PERIODS * neighbour.periodMs
}
