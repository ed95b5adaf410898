/**
 * How far a peer's own word about its speed is believed, from jobs that it has finished: thermal limits, a bad benchmark
 * and lies look the same. A factor in (0, 1] on that peer's metric, for home's own choice, never told to anybody.
 *
 * Kept is the mean of the logarithms of seen over claimed speed, each weighted by how alike the runs of its command are. It
 * counts as far as it can't be chance: jobs whose work varies teach slowly, but do teach; one of a kind that always takes
 * the same teaches at once.
 */

import type { PeerId } from './types.ts'

/** Peers judged at once; the one that was judged longest ago is forgotten. */
const MAX_PEERS = 256
/** Nobody is trusted less: one that has mended its ways must be found out some day. */
const TRUST_MIN = 0.02
/** So near to what was claimed is as claimed: machines differ in what they are good at. */
const TOLERANCE = -Math.log(0.75)
/** Standard deviation of the logarithms of runs that are alike otherwise: machines are never the same twice. */
const NOISE = 0.2
/** A mean that is off by fewer standard errors is chance, by so many more it is none. */
const CHANCE = 3
const NO_CHANCE = 4.5
/** Weight of about one exact job, from which on somebody counts as judged, and what it may be slower by and still be right. */
const WEIGHT_JUDGED = 4
const RIGHT = Math.log(0.5)
/** Weight (1 / variance) of all jobs so far beside the next one: what was long ago counts less though nothing changed since. */
const WEIGHT_MAX = 100
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
  /** Part of its weight that it has, in (0, 1]: less when something else may be to blame. */
  sure: number
  /** Trust falls to this part at most by this job alone, in (0, 1]. */
  mostDown: number
}

export class Trust {
  /** By peer; at most MAX_PEERS, oldest first. */
  readonly #peers = new Map<PeerId, Judgement>()

  /**
   * The factor on that peer's metric, TRUST_MIN..1; 1 for strangers. `since`: until when distrust was forgotten, for one that
   * has jobs to prove itself by; `overdue`: jobs that haven't ended, whose ratios are what they have at best.
   */
  of(peer: PeerId, since: number, overdue: Iterable<Comparison> = []): number {
    let judged = this.#judged(peer, since)
    for (const comparison of overdue) if (comparison.ratio < 1) judged = changed(judged, comparison, false) ?? judged
    const { weight } = judged
    const errors = Math.abs(judged.log) * Math.sqrt(weight)
    const log = judged.log * Math.min(1, Math.max(0, (errors - CHANCE) / (NO_CHANCE - CHANCE)))
    if (log >= -TOLERANCE) return 1
    // Without a step: from the tolerance on twice as fast, until it has caught up.
    return Math.max(TRUST_MIN, Math.exp(Math.max(log, 2 * (log + TOLERANCE))))
  }

  /** Whether its jobs have shown that it is about as fast as it says. */
  isConfirmed(peer: PeerId, now: number): boolean {
    const { log, weight } = this.#judged(peer, now)
    return weight >= WEIGHT_JUDGED && log > RIGHT
  }

  /** A job came to its end there. Of what is no number nothing is learnt. */
  judge(peer: PeerId, comparison: Comparison, now: number): void {
    const judged = changed(this.#judged(peer, now), comparison, true)
    if (judged === undefined) return
    this.#peers.delete(peer)
    this.#peers.set(peer, judged)
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

/** `up`: whether it may speak for the peer, too. */
function changed(before: Judgement, comparison: Comparison, up: boolean): Judgement | undefined {
  const { ratio, spread, sure, mostDown } = comparison
  if (!(ratio > 0)) return undefined
  const seen = Math.min(LOG_MAX, Math.max(LOG_MIN, Math.log(ratio)))
  if (!up && seen >= before.log) return before
  const own = sure / (NOISE ** 2 + spread ** 2)
  const weight = Math.min(WEIGHT_MAX, before.weight + own)
  const step = (Math.min(weight, own) / weight) * (seen - before.log)
  if (!Number.isFinite(step)) return undefined
  return { log: before.log + Math.max(step, Math.log(mostDown)), weight, at: before.at }
}
