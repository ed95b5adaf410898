/**
 * What the neighbours say. One table for each: its claims replace only its own, vanish at once when its connection
 * closes, else after three periods of silence. Only what a neighbour says of itself is used: an entry about another
 * machine is valid and passed over.
 */

import type { Advertisement, AdvertisementEntry, MachineRecord, PairingKind, PeerId } from './types.ts'

/** Periods without a word after which what a neighbour said is no longer believed. */
const SILENT_PERIODS = 3
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

export interface Neighbour {
  readonly peer: PeerId
  kind: PairingKind
  name: string
  connected: boolean
  /** Smoothed, in ms; undefined until measured. */
  roundTripMs: number | undefined
  claim: { entry: AdvertisementEntry; receivedAt: number } | undefined
  heardAt: number
  periodMs: number
}

export class Neighbours {
  /** Connected ones and those that were since; at most MAX_NEIGHBOURS. */
  readonly #neighbours = new Map<PeerId, Neighbour>()

  up(peer: PeerId, info: { kind: PairingKind; name: string }, now: number): void {
    const known = this.#neighbours.get(peer)
    if (known === undefined && this.#neighbours.size >= MAX_NEIGHBOURS) this.#dropOneDisconnected()
    this.#neighbours.set(peer, {
      peer,
      kind: info.kind,
      name: info.name,
      connected: true,
      roundTripMs: known?.roundTripMs,
      claim: known?.claim,
      heardAt: now,
      periodMs: known?.periodMs ?? FIRST_PERIOD_MS
    })
  }

  down(peer: PeerId): void {
    const neighbour = this.#neighbours.get(peer)
    if (neighbour === undefined) return
    neighbour.connected = false
    neighbour.claim = undefined
  }

  /** The pairing ended. */
  forget(peer: PeerId): void {
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

  /** Replaces all that this neighbour claimed. */
  advertised(from: PeerId, message: Advertisement, now: number): void {
    const neighbour = this.#neighbours.get(from)
    if (neighbour === undefined || !neighbour.connected) return
    neighbour.periodMs = Math.min(MAX_PERIOD_MS, Math.max(MIN_PERIOD_MS, message.periodMs))
    const entry = message.entries.find((candidate) => candidate.origin === from)
    if (entry === undefined) neighbour.claim = undefined
    else install(neighbour, entry, now)
  }

  /** The record that came with an answer to a probe. */
  answered(from: PeerId, entry: AdvertisementEntry, now: number): void {
    const neighbour = this.#neighbours.get(from)
    if (neighbour?.connected === true && entry.origin === from) install(neighbour, entry, now)
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

  /** Drops what silent neighbours claimed. */
  expire(now: number): void {
    for (const neighbour of this.#neighbours.values()) {
      if (neighbour.claim !== undefined && now >= silentAt(neighbour)) neighbour.claim = undefined
    }
  }

  nextTimer(): number | undefined {
    let next: number | undefined
    for (const neighbour of this.#neighbours.values()) {
      if (neighbour.claim !== undefined) next = Math.min(next ?? Number.POSITIVE_INFINITY, silentAt(neighbour))
    }
    return next
  }

  #dropOneDisconnected(): void {
    for (const neighbour of this.#neighbours.values()) {
      if (neighbour.connected) continue
      this.#neighbours.delete(neighbour.peer)
      return
    }
  }
}

/** Its record as it was when it last spoke of itself, and how old that is now. */
export function knownRecord(neighbour: Neighbour, now: number): { record: MachineRecord; ageMs: number } | undefined {
  const { claim } = neighbour
  if (claim === undefined) return undefined
  return { record: claim.entry.record, ageMs: claim.entry.ageMs + (now - claim.receivedAt) }
}

/** Messages may overtake each other: a record older than the one that is known is passed over. */
function install(neighbour: Neighbour, entry: AdvertisementEntry, now: number): void {
  const known = neighbour.claim?.entry
  if (known !== undefined) {
    const newer = entry.epoch > known.epoch || (entry.epoch === known.epoch && entry.sequence > known.sequence)
    if (!newer) return
  }
  neighbour.claim = { entry, receivedAt: now }
  if (entry.name !== '') neighbour.name = entry.name
}

function silentAt(neighbour: Neighbour): number {
  return neighbour.heardAt + SILENT_PERIODS * neighbour.periodMs
}
