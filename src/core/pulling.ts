/**
 * Receiver-initiated placement (Shah and Kapadia, section E): a machine below its low watermark asks random others for a job that
 * waits there. What waits has not begun, so nothing is moved that runs. At the high watermark, which is no idle core for a
 * job, homes that place by pulling let their jobs wait.
 */

import type { Activity } from './activity.ts'
import { guestCapacity } from './metric.ts'
import { drawn } from './near-best.ts'
import type { Neighbours, Route } from './neighbours.ts'
import { forwarded } from './propagation.ts'
import { type AdvertisementEntry, type Effect, MAX_HOPS, type MachineRecord, type PeerId, type Pull } from './types.ts'

/** ms between questions of an idle machine; whoever gave a job is asked again at once. */
const PULL_MS = 1_000
/** Low watermark: so much of a core is idle, or of all there is. */
const IDLE_ENOUGH = 0.75

/** What pulling sees and uses of its peer. */
export interface PullHost {
  readonly self: PeerId
  readonly neighbours: Neighbours
  readonly activity: Activity
  /** Hops that others' questions are passed on, and own ones go. */
  readonly forward: number
  /** Own jobs wait here. */
  readonly hasWaiting: boolean
  random(): number
  record(): MachineRecord
  entryFor(peer: PeerId, now: number): AdvertisementEntry
}

export class Pulling {
  readonly #host: PullHost
  #askAt = Number.NEGATIVE_INFINITY
  /** Whoever gave a job last. */
  #giver: PeerId | undefined

  constructor(host: PullHost) {
    this.#host = host
  }

  nextTimer(): number {
    return this.#askAt
  }

  /** Something is held for that home, perhaps because it was asked: it may have more. */
  held(home: PeerId, now: number): void {
    this.#giver = home
    this.#askAt = Math.min(this.#askAt, now)
  }

  /** A guest ended: there may be room. */
  freed(now: number): void {
    this.#askAt = Math.min(this.#askAt, now)
  }

  due(now: number): Effect[] {
    if (now < this.#askAt) return []
    this.#askAt = now + PULL_MS
    if (!this.#isIdle(now)) return []
    const route = this.#whom()
    this.#giver = undefined
    if (route === undefined) return []
    const to = route.via.peer
    const message: Pull = {
      type: 'pull',
      to: route.entry.origin,
      path: [this.#host.self],
      entry: this.#host.entryFor(to, now)
    }
    return [{ type: 'send', to, message }]
  }

  /** Passes a question on towards who is asked. */
  passOn(from: PeerId, pull: Pull, now: number): Effect[] {
    const { self, neighbours, forward } = this.#host
    const { to, path, entry } = pull
    const route = neighbours.routes(from).find(({ entry: { origin } }) => origin === to)
    const own = neighbours.get(from)?.kind === 'own' && route?.via.kind === 'own'
    const tooFar = path.length >= Math.min(MAX_HOPS, forward) || entry.hopsLeft <= 0
    if (route === undefined || !own || tooFar || path.includes(self) || !route.via.connected) return []
    const onward: Pull = { ...pull, path: [...path, self], entry: forwarded({ entry, receivedAt: now }, now) }
    return [{ type: 'send', to: route.via.peer, message: onward }]
  }

  #isIdle(now: number): boolean {
    const record = this.#host.record()
    if (record.refuses !== undefined || this.#host.hasWaiting || this.#host.activity.rests(now)) return false
    const { cores, idle } = guestCapacity(record)
    const free = record.slots - record.guestDemand
    return cores > 0 && Math.min(idle, free) >= IDLE_ENOUGH * Math.min(1, record.cores)
  }

  #whom(): Route | undefined {
    const { neighbours, forward } = this.#host
    const routes = neighbours.routes().filter(({ via, entry }) => via.connected && entry.hops <= forward)
    const giver = routes.find(({ entry }) => entry.origin === this.#giver)
    return giver ?? drawn(routes, this.#host.random)
  }
}
