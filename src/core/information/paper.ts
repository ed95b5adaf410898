/**
 * Algorithm I as the paper prints it, flaws included. What the text leaves open, and what was chosen:
 *
 * - The delay: the load is measured every five seconds, so that is the delay, too, unless the caller sets one.
 * - Step 7: `max_dist` is that of the messages that came within one delay, since step 4 sets it to 0 again; the
 *   `dist_metric(i)` stay as they are until the next message of i, and go with the neighbour (the paper: when it unpairs). A new
 *   neighbour learns nothing before the next round.
 * - Nothing says whose value travels, nor how old it is. So a peer hears its own value back, less two constants, and when it
 *   becomes worse it believes its neighbour to be better: both count down together. Kept.
 */

import { metric } from '../metric.ts'
import type { Effect, PeerId } from '../types.ts'
import type { InformationPolicy, Informer, Teller } from './policy.ts'

class PaperRounds implements Informer {
  readonly #teller: Teller
  /** Connected, in the order in which they came. */
  readonly #peers = new Set<PeerId>()
  /** Undefined before the first round, which the first sample begins. */
  #endsAt: number | undefined

  constructor(teller: Teller) {
    this.#teller = teller
  }

  up(peer: PeerId, _now: number): void {
    this.#peers.add(peer)
  }

  down(peer: PeerId): void {
    this.#peers.delete(peer)
  }

  woke(_now: number): void {}

  tellAll(): void {}

  answered(_peer: PeerId): void {}

  due(now: number): Effect[] {
    const { measured, policy, paperMetrics, paperDelayMs } = this.#teller
    if (!measured || (this.#endsAt !== undefined && now < this.#endsAt)) return []
    const own = metric(this.#teller.record(), 1, { home: false }, policy)
    // Steps 1 and 2 the first time, 9 and 10 after that.
    const value = this.#endsAt === undefined ? own : Math.max(own, paperMetrics.takeMaxDistance())
    this.#endsAt = now + paperDelayMs
    return [...this.#peers].map((to) => ({ type: 'send', to, message: { type: 'paper-metric', value } }))
  }

  nextTimer(): number | undefined {
    return this.#endsAt
  }
}

export const paper: InformationPolicy = {
  name: 'paper',
  description: 'Algorithm I of the paper as printed: a bare number every five seconds',
  create: (teller) => new PaperRounds(teller)
}
