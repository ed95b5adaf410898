/** Households and seeded jobs that are played both in the emulated LAN and in the simulator, and what becomes of them. */

import { NEAR_EQUAL } from '../src/core/near-best.ts'
import {
  exponential,
  integer,
  meanOfTruncatedPareto,
  randomFrom,
  seedFor,
  truncatedPareto
} from '../src/simulator/random.ts'
import { meanOf } from '../src/simulator/statistics.ts'

/** Hosts h0, h1, … of one slow core each; h0 is asked for half of all. */
export interface Place {
  topology: 'clique' | 'line' | 'star'
  /** Cores of each host, below 1. */
  cores: number[]
  /** CPU of this machine to which each host is bound. */
  bound: number[]
}

/** A job that somebody asks for. */
export interface TracedJob {
  /** ms from the beginning of the trace. */
  at: number
  home: number
  /** CPU time that it burns, ms. */
  cpuMs: number
}

/** What became of it. */
export interface Played {
  target: number
  /** ms from when it was due to its end, as the user sees it. */
  responseMs: number
  /** What its home knew of each host when it was asked for; undefined: nothing. */
  metrics: (number | undefined)[]
}

const WORK = { shape: 1.2, least: 400, most: 3_000 }
/** No two are asked for at the same time: who comes first is then a matter of how fast the clients start. */
export const APART_MS = 250

/** Jobs in order of time, `load` of what the hosts can do. */
export function traceOf({ cores }: Place, load: number, durationMs: number, seed: number): TracedJob[] {
  const random = randomFrom(seedFor(seed, 'agreement'))
  const capacity = cores.reduce((sum, host) => sum + host, 0)
  const meanGapMs = meanOfTruncatedPareto(WORK) / (load * capacity)
  const gap = () => APART_MS + exponential(random, meanGapMs - APART_MS)
  const jobs: TracedJob[] = []
  for (let at = gap(); at < durationMs; at += gap()) {
    const home = random() < 0.5 ? 0 : integer(random, 0, cores.length - 1)
    jobs.push({ at, home, cpuMs: truncatedPareto(random, WORK) })
  }
  return jobs
}

/** Whether both went to the same host. */
export function isSame(one: Played, other: Played): boolean {
  return one.target === other.target
}

/** Whether they went to the same host, or each had as well gone where the other went, as far as its home knew. */
export function isAsGood(one: Played, other: Played): boolean {
  const wouldDo = ({ metrics, target }: Played, instead: number) =>
    (metrics[instead] ?? 0) >= (metrics[target] ?? Number.POSITIVE_INFINITY) * (1 - NEAR_EQUAL)
  return isSame(one, other) || (wouldDo(one, other.target) && wouldDo(other, one.target))
}

/** Part of the jobs, 0..1. */
export function partOf(ones: Played[], others: Played[], agree: (one: Played, other: Played) => boolean): number {
  return meanOf(ones.map((one, index) => Number(agree(one, others[index]!))))
}
