/**
 * Everybody learns of everybody (the information policy of Kačer and Tvrdík), by flooding: in each round each neighbour is
 * told this machine and all others of which there is fresher news than it was told or told itself.
 */

import { isOlder } from '../neighbours.ts'
import type { AdvertisementEntry, Effect, PeerId } from '../types.ts'
import { MAX_ENTRIES } from '../types.ts'
import { tellable } from './known.ts'
import type { InformationPolicy, Informer, Teller } from './policy.ts'
import { Round } from './round.ts'

class Broadcast implements Informer {
  readonly #teller: Teller
  readonly #round: Round
  /** The freshest of each origin that each connected neighbour was told; bounded as the claims are. */
  readonly #told = new Map<PeerId, Map<PeerId, AdvertisementEntry>>()

  constructor(teller: Teller) {
    this.#teller = teller
    this.#round = new Round(teller.activity)
  }

  up(peer: PeerId, now: number): void {
    this.#told.set(peer, new Map())
    this.#round.hasten(now)
  }

  down(peer: PeerId): void {
    this.#told.delete(peer)
  }

  woke(now: number): void {
    this.#round.hasten(now)
  }

  tellAll(): void {}

  answered(_peer: PeerId): void {}

  due(now: number): Effect[] {
    if (this.#told.size === 0 || !this.#round.begins(now)) return []
    return [...this.#told].flatMap(([peer, told]) => this.#tell(peer, told, now))
  }

  nextTimer(): number | undefined {
    return this.#told.size === 0 ? undefined : this.#round.nextTimer()
  }

  /** As many messages as its news takes; one at least, which is the heartbeat. */
  #tell(to: PeerId, told: Map<PeerId, AdvertisementEntry>, now: number): Effect[] {
    const { activity } = this.#teller
    const entries = [this.#teller.entryFor(to, now), ...this.#newsFor(to, told, now)]
    const effects: Effect[] = []
    for (let from = 0; from < entries.length; from += MAX_ENTRIES) {
      const message = {
        type: 'advertisement' as const,
        periodMs: this.#round.periodMs(now),
        idleMs: activity.idleMs(now),
        entries: entries.slice(from, from + MAX_ENTRIES),
        partial: true as const
      }
      effects.push({ type: 'send', to, message })
    }
    return effects
  }

  #newsFor(to: PeerId, told: Map<PeerId, AdvertisementEntry>, now: number): AdvertisementEntry[] {
    const known = tellable(this.#teller, to, now)
    const origins = new Set(known.map(({ origin }) => origin))
    for (const origin of told.keys()) if (!origins.has(origin)) told.delete(origin)
    const claims = this.#teller.neighbours.get(to)?.claims
    return known.filter((entry) => {
      const before = told.get(entry.origin)
      const own = claims?.get(entry.origin)?.entry
      if ((before && !isOlder(before, entry)) || (own && !isOlder(own, entry))) return false
      told.set(entry.origin, entry)
      return true
    })
  }
}

export const broadcast: InformationPolicy = {
  name: 'broadcast',
  description: 'each second every machine is told of every other',
  create: (teller) => new Broadcast(teller)
}
