/**
 * How far a peer's own word about its speed is believed, from jobs that it has finished: thermal limits, a bad benchmark
 * and lies look the same. A factor in (0, 1] on that peer's metric, for home's own choice, never told to anybody.
 */

import type { PeerId } from './types.ts'

/** Peers judged at once; the one that was judged longest ago is forgotten. */
const MAX_PEERS = 256
/** Nobody is trusted less: one that has mended its ways must be found out some day. */
const TRUST_MIN = 0.02
/** So near to what was claimed is as claimed: machines differ in what they are good at. */
const TOLERANCE = 0.75
/** Weight of a new job in what is thought of its peer. */
const GAIN = 0.5
/** ms in which half of the distrust is forgotten (in powers: 0.25 becomes 0.5). */
const HALF_LIFE_MS = 10 * 60_000

export class Trust {
  /** By peer: logarithm of the factor and when it was that; at most MAX_PEERS, oldest first. */
  readonly #peers = new Map<PeerId, { log: number; at: number }>()

  /** The factor on that peer's metric, TRUST_MIN..1; 1 for strangers. */
  of(peer: PeerId, now: number): number {
    return Math.exp(this.#logOf(peer, now))
  }

  /**
   * A job came to its end there: `ratio` is the speed that was seen relative to the one claimed, > 0. `mostDown` bounds
   * what this job alone can do: trust falls to that part at most, in (0, 1].
   */
  judge(peer: PeerId, ratio: number, mostDown: number, now: number): void {
    if (!(ratio > 0)) return
    const before = this.#logOf(peer, now)
    const seen = ratio >= TOLERANCE ? 0 : Math.log(Math.max(TRUST_MIN, ratio))
    const after = before + Math.max(GAIN * (seen - before), Math.log(mostDown))
    this.#peers.delete(peer)
    if (after > -1e-3) return
    this.#peers.set(peer, { log: Math.max(Math.log(TRUST_MIN), after), at: now })
    if (this.#peers.size > MAX_PEERS) this.#peers.delete(this.#peers.keys().next().value!)
  }

  forget(peer: PeerId): void {
    this.#peers.delete(peer)
  }

  clear(): void {
    this.#peers.clear()
  }

  get size(): number {
    return this.#peers.size
  }

  #logOf(peer: PeerId, now: number): number {
    const known = this.#peers.get(peer)
    if (known === undefined) return 0
    return known.log * 0.5 ** (Math.max(0, now - known.at) / HALF_LIFE_MS)
  }
}
