/** What the neighbours said by Algorithm I of the paper: bare numbers, so that nobody can tell whose they are or how old. */

import { PAPER_HOP_COST } from './metric.ts'
import type { PeerId } from './types.ts'

/** A neighbour and its `dist_metric(i)`. */
export interface PaperNeighbour {
  peer: PeerId
  distance: number
  heardAt: number
}

export class PaperMetrics {
  /** The connected neighbours, in the order in which they came; undefined until their first message. */
  readonly #neighbours = new Map<PeerId, PaperNeighbour | undefined>()
  /** `max_dist` of the round that goes on. */
  #maxDistance = 0

  up(peer: PeerId): void {
    if (!this.#neighbours.has(peer)) this.#neighbours.set(peer, undefined)
  }

  down(peer: PeerId): void {
    this.#neighbours.delete(peer)
  }

  /** Step 7. */
  heard(peer: PeerId, value: number, now: number): void {
    const distance = value - PAPER_HOP_COST
    this.#neighbours.set(peer, { peer, distance, heardAt: now })
    this.#maxDistance = Math.max(this.#maxDistance, distance)
  }

  of(peer: PeerId): PaperNeighbour | undefined {
    return this.#neighbours.get(peer)
  }

  /** Ends a round: the highest that was heard in it, 0 if nothing was. */
  takeMaxDistance(): number {
    const highest = this.#maxDistance
    this.#maxDistance = 0
    return highest
  }

  /** Those that have said something. */
  *all(): Generator<PaperNeighbour> {
    for (const neighbour of this.#neighbours.values()) if (neighbour !== undefined) yield neighbour
  }

  /** The neighbour with the highest distribution metric; of several the first one, as step 7c has it. */
  best(among: (peer: PeerId) => boolean = () => true): PaperNeighbour | undefined {
    let best: PaperNeighbour | undefined
    for (const neighbour of this.all()) {
      if (among(neighbour.peer) && (best === undefined || neighbour.distance > best.distance)) best = neighbour
    }
    return best
  }
}
