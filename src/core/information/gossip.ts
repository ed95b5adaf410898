/**
 * Probabilistic dissemination, as in MOSIX: in each round one random neighbour is told this machine and the freshest that is
 * known of others, a window of fixed size.
 */

import { drawn } from '../near-best.ts'
import { type Effect, MAX_ENTRIES, type PeerId } from '../types.ts'
import { tellable } from './known.ts'
import type { InformationPolicy, Informer, Teller } from './policy.ts'
import { Round } from './round.ts'

class Gossip implements Informer {
  readonly #teller: Teller
  readonly #round: Round
  /** The connected neighbours. */
  readonly #peers = new Set<PeerId>()
  /** Those that haven't heard anything yet: they are told at once. */
  readonly #new = new Set<PeerId>()

  constructor(teller: Teller) {
    this.#teller = teller
    this.#round = new Round(teller.activity)
  }

  up(peer: PeerId, _now: number): void {
    this.#peers.add(peer)
    this.#new.add(peer)
  }

  down(peer: PeerId): void {
    this.#peers.delete(peer)
    this.#new.delete(peer)
  }

  woke(now: number): void {
    this.#round.hasten(now)
  }

  tellAll(): void {
    for (const peer of this.#peers) this.#new.add(peer)
  }

  answered(_peer: PeerId): void {}

  due(now: number): Effect[] {
    const listeners = [...this.#new]
    this.#new.clear()
    if (this.#peers.size > 0 && this.#round.begins(now)) {
      listeners.push(drawn([...this.#peers], this.#teller.random)!)
    }
    return listeners.map((to) => this.#tell(to, now))
  }

  nextTimer(): number | undefined {
    return this.#peers.size === 0 ? undefined : this.#round.nextTimer()
  }

  /** The stated period is how often a neighbour's turn comes on average. */
  #tell(to: PeerId, now: number): Effect {
    const { activity } = this.#teller
    const periodMs = this.#round.periodMs(now) * this.#peers.size
    const entries = [this.#teller.entryFor(to, now), ...tellable(this.#teller, to, now).slice(0, MAX_ENTRIES - 1)]
    const message = {
      type: 'advertisement' as const,
      periodMs,
      idleMs: activity.idleMs(now),
      entries,
      partial: true as const
    }
    return { type: 'send', to, message }
  }
}

export const gossip: InformationPolicy = {
  name: 'gossip',
  description: 'each second one random neighbour is told the freshest that is known',
  create: (teller) => new Gossip(teller)
}
