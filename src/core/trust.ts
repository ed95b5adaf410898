/**
 * How far a peer's own word about its speed is believed, from jobs that it has finished: thermal limits, a bad benchmark
 * and lies look the same. A factor in (0, 1] on that peer's metric, for home's own choice, never told to anybody.
 *
 * Kept is the mean of the logarithms of seen over claimed speed, each weighted by how alike the runs of its command are,
 * beside a stranger's 0 of weight 1: so jobs whose work varies teach slowly, but do teach.
 */

import type { PeerId } from './types.ts'

/** Peers judged at once; the one that was judged longest ago is forgotten. */
const MAX_PEERS = 256
/** Nobody is trusted less: one that has mended its ways must be found out some day. */
const TRUST_MIN = 0.02
/** So near to what was claimed is as claimed: machines differ in what they are good at. */
const TOLERANCE = -Math.log(0.75)
/** A run of a command whose runs differ by so much (standard deviation of their logarithms) has half the weight. */
const SPREAD = 0.25
/** Weight of all jobs so far beside the next one: what was long ago counts less even when nothing has changed since. */
const WEIGHT_MAX = 7
/** What is believed of one job, logarithms: 50 times slower, e times faster. */
const LOG_MIN = Math.log(TRUST_MIN)
const LOG_MAX = 1
/** ms in which half of the distrust is forgotten (in powers: 0.25 becomes 0.5). */
const HALF_LIFE_MS = 10 * 60_000

interface Judgement {
  log: number
  weight: number
  at: number
}

/** How one job compares with others of its command. */
export interface Comparison {
  /** Speed that was seen, relative to the one claimed, > 0. */
  ratio: number
  /** Standard deviation of the logarithms of the command's work, ≥ 0. */
  spread: number
  /** Trust falls to this part at most by this job alone, in (0, 1]. */
  mostDown: number
}

export class Trust {
  /** By peer; at most MAX_PEERS, oldest first. */
  readonly #peers = new Map<PeerId, Judgement>()

  /** The factor on that peer's metric, TRUST_MIN..1; 1 for strangers. */
  of(peer: PeerId, now: number): number {
    const { log } = this.#judged(peer, now)
    if (log >= -TOLERANCE) return 1
    // Without a step: from the tolerance on twice as fast, until it has caught up.
    return Math.max(TRUST_MIN, Math.exp(Math.max(log, 2 * (log + TOLERANCE))))
  }

  /** A job came to its end there. Of what is no number nothing is learnt. */
  judge(peer: PeerId, { ratio, spread, mostDown }: Comparison, now: number): void {
    if (!(ratio > 0)) return
    const seen = Math.min(LOG_MAX, Math.max(LOG_MIN, Math.log(ratio)))
    const own = SPREAD ** 2 / (SPREAD ** 2 + spread ** 2)
    const before = this.#judged(peer, now)
    const weight = Math.min(WEIGHT_MAX, before.weight + own)
    const step = (own / (1 + weight)) * (seen - before.log)
    if (!Number.isFinite(step)) return
    this.#peers.delete(peer)
    this.#peers.set(peer, { log: before.log + Math.max(step, Math.log(mostDown)), weight, at: now })
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

  #judged(peer: PeerId, now: number): Judgement {
    const known = this.#peers.get(peer)
    if (known === undefined) return { log: 0, weight: 0, at: now }
    const left = 0.5 ** (Math.max(0, now - known.at) / HALF_LIFE_MS)
    return { log: known.log * left, weight: known.weight * left, at: now }
  }
}
