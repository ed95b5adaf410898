/**
 * What the neighbours say, of themselves and of machines behind them. One table for each: its claims replace only its own,
 * vanish at once when its connection closes, else after three periods of silence. From these tables come the routes: for
 * each origin the one with the fewest hops among those that are nearly as fresh as the freshest.
 */

import {
  type Advertisement,
  type AdvertisementEntry,
  MAX_ENTRIES,
  MAX_HOPS,
  type PairingKind,
  type PeerId
} from './types.ts'

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
/** What one neighbour claims: an advertisement's entries, and the records that came with answers to probes since. */
const MAX_CLAIMS = MAX_ENTRIES + 2 * MAX_HOPS

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
  claims: Map<PeerId, Claim>
  heardAt: number
  periodMs: number
}

/** How a machine can be reached, and what is known of it. */
export interface Route extends Claim {
  via: Neighbour
}

/** The best route to an origin, and the best by another neighbour. */
export interface Ranked {
  first: Route
  second: Route | undefined
}

export class Neighbours {
  readonly #self: PeerId
  readonly #banned: (peer: PeerId) => boolean
  /** Connected ones and those that were since; at most MAX_NEIGHBOURS. */
  readonly #neighbours = new Map<PeerId, Neighbour>()
  #version = 0
  /** By origin, of the present version; bounded as the claims are. */
  #ranked: Map<PeerId, Ranked> | undefined
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
    if (known === undefined && this.#neighbours.size >= MAX_NEIGHBOURS) this.#dropOneDisconnected()
    this.#neighbours.set(peer, {
      peer,
      kind: info.kind,
      name: info.name,
      connected: true,
      roundTripMs: known?.roundTripMs,
      claims: known?.claims ?? new Map(),
      heardAt: now,
      periodMs: known?.periodMs ?? FIRST_PERIOD_MS
    })
    this.#expireAt = Math.min(this.#expireAt, now)
    this.#changed()
  }

  down(peer: PeerId): void {
    const neighbour = this.#neighbours.get(peer)
    if (neighbour === undefined) return
    neighbour.connected = false
    neighbour.claims.clear()
    this.#changed()
  }

  /** The pairing ended. */
  forget(peer: PeerId): void {
    this.#neighbours.delete(peer)
    this.#changed()
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

  /** Replaces all that this neighbour claimed, but for what is older than an answer to a probe said. */
  advertised(from: PeerId, message: Advertisement, now: number): void {
    const neighbour = this.#neighbours.get(from)
    if (neighbour === undefined || !neighbour.connected) return
    neighbour.periodMs = Math.min(MAX_PERIOD_MS, Math.max(MIN_PERIOD_MS, message.periodMs))
    const before = neighbour.claims
    neighbour.claims = new Map()
    for (const entry of message.entries) {
      if (!this.#mayClaim(neighbour, entry)) continue
      const known = before.get(entry.origin)
      const kept = known !== undefined && isOlder(entry, known.entry)
      neighbour.claims.set(entry.origin, kept ? known : { entry, receivedAt: now })
    }
    const own = neighbour.claims.get(from)?.entry
    if (own !== undefined && own.name !== '') neighbour.name = own.name
    this.#expireAt = Math.min(this.#expireAt, now + neighbour.periodMs)
    this.#changed()
  }

  /** A record that came with an answer to a probe. */
  answered(from: PeerId, entry: AdvertisementEntry, now: number): void {
    const neighbour = this.#neighbours.get(from)
    if (neighbour === undefined || !neighbour.connected || !this.#mayClaim(neighbour, entry)) return
    const known = neighbour.claims.get(entry.origin)
    if (known !== undefined && isOlder(entry, known.entry)) return
    neighbour.claims.delete(entry.origin)
    neighbour.claims.set(entry.origin, { entry, receivedAt: now })
    if (neighbour.claims.size > MAX_CLAIMS) neighbour.claims.delete(neighbour.claims.keys().next().value!)
    this.#expireAt = Math.min(this.#expireAt, now + neighbour.periodMs)
    this.#changed()
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
    this.#ranked ??= this.#rank()
    return this.#ranked.values()
  }

  /** One route for each origin, for who may not use what `except` said. Valid until `version` changes. */
  routes(except?: PeerId): Route[] {
    const routes: Route[] = []
    for (const { first, second } of this.ranked()) {
      const route = first.via.peer === except ? second : first
      if (route !== undefined) routes.push(route)
    }
    return routes
  }

  route(origin: PeerId): Route | undefined {
    this.#ranked ??= this.#rank()
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
          neighbour.claims.delete(origin)
          changed = true
        } else if (claim.entry.hops > 1) this.#expireAt = Math.min(this.#expireAt, staleAt)
      }
      if (neighbour.claims.size > 0) this.#expireAt = Math.min(this.#expireAt, silentAt(neighbour))
    }
    if (changed) this.#changed()
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

  #rank(): Map<PeerId, Ranked> {
    const byOrigin = new Map<PeerId, Route[]>()
    for (const via of this.#neighbours.values()) {
      for (const [origin, { entry, receivedAt }] of via.claims) {
        const routes = byOrigin.get(origin)
        const route = { via, entry, receivedAt }
        if (routes === undefined) byOrigin.set(origin, [route])
        else routes.push(route)
      }
    }
    const ranked = new Map<PeerId, Ranked>()
    for (const [origin, routes] of byOrigin) {
      const first = best(routes)
      const others = routes.length === 1 ? [] : routes.filter(({ via }) => via !== first.via)
      ranked.set(origin, { first, second: others.length === 0 ? undefined : best(others) })
    }
    return ranked
  }

  #changed(): void {
    this.#version++
    this.#ranked = undefined
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
function isOlder(entry: AdvertisementEntry, than: AdvertisementEntry): boolean {
  return entry.epoch < than.epoch || (entry.epoch === than.epoch && entry.sequence < than.sequence)
}

function silentAt(neighbour: Neighbour): number {
  return neighbour.heardAt + SILENT_PERIODS * neighbour.periodMs
}
