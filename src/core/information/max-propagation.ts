/** Kappa's own (Algorithm I made sound): each neighbour is told this machine and the best of the others, when that is news. */

import { Advertiser } from '../advertiser.ts'
import { type Effect, MAX_ENTRIES, type PeerId } from '../types.ts'
import type { InformationPolicy, Informer, Teller } from './policy.ts'

class MaxPropagation implements Informer {
  readonly #teller: Teller
  readonly #advertiser: Advertiser

  constructor(teller: Teller) {
    this.#teller = teller
    this.#advertiser = new Advertiser(teller.activity)
  }

  up(peer: PeerId, now: number): void {
    this.#advertiser.up(peer, now)
  }

  down(peer: PeerId): void {
    this.#advertiser.down(peer)
  }

  woke(now: number): void {
    this.#advertiser.woke(now)
  }

  tellAll(): void {
    this.#advertiser.tellAll()
  }

  answered(peer: PeerId): void {
    const { offers, policy } = this.#teller
    this.#advertiser.answered(peer, this.#teller.announcement(), offers.best(peer, policy))
  }

  due(now: number): Effect[] {
    const { offers, policy, forwards, activity } = this.#teller
    const { peers, periodMs } = this.#advertiser.due(this.#teller.announcement(), offers, policy, now)
    return peers.map((to): Effect => {
      const others = forwards ? offers.entriesFor(to, policy, MAX_ENTRIES - 1, now) : []
      const entries = [this.#teller.entryFor(to, now), ...others]
      return { type: 'send', to, message: { type: 'advertisement', periodMs, idleMs: activity.idleMs(now), entries } }
    })
  }

  nextTimer(): number | undefined {
    return this.#advertiser.nextTimer()
  }
}

export const maxPropagation: InformationPolicy = {
  name: 'max-propagation',
  description: 'neighbours are told the best within reach, as soon as it is better',
  create: (teller) => new MaxPropagation(teller)
}
