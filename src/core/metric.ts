/**
 * How a record becomes one number: what one more job would get on that machine, now.
 *
 * Two points of view are kept apart. Home's own jobs run at normal priority and compete with everything there. Guests run
 * at the lowest priority: what the owner uses is gone for them, and they share only with other guests. So all that is
 * advertised and everything that one peer thinks of another is the guests' view.
 */

import type { MachineRecord, MetricPolicy } from './types.ts'

/** What a newcomer finds on a machine, all in cores and ≥ 0. */
export interface Capacity {
  /** Cores that the newcomer could use if nothing competed. */
  cores: number
  /** Those of them that nothing uses, ≤ `cores`. */
  idle: number
  /** Tasks that it shares the others with, as equals. */
  competing: number
}

/**
 * Cores that a job which can use `demand` of them (> 0, may be fractional) gets: `demand` while so many are idle; else its
 * fair part among equals, `C·d/(R+d)`, but never less than the idle ones, since nobody contends for those.
 *
 * For one core and a demand of 1 this is the paper's (3) as it was meant, `(idle + user/(n+1)) / total`, at both ends
 * (idle; busy all the time). Between them `idle + busy·d/(R+d)` would promise too much, because tasks that sleep now and
 * then are owed their whole part when they wake: two tasks on one core that was half idle do not get 1.25 cores.
 */
export function share(demand: number, capacity: Capacity): number {
  const { cores, idle, competing } = capacity
  if (!(demand > 0) || !(cores > 0)) return 0
  if (idle >= demand) return demand
  return Math.min(demand, Math.max(idle, (cores * demand) / (competing + demand)))
}

/** What one more of home's own jobs finds. Guests give way at once, so they don't count. */
export function homeCapacity(record: MachineRecord): Capacity {
  const busy = busyCores(record)
  return {
    cores: record.cores,
    idle: Math.max(0, record.cores - busy - record.homeDemand),
    // The task count is smoothed and lags; cores that are busy are busy with at least as many tasks.
    competing: Math.max(record.runnable, busy) + record.homeDemand
  }
}

/** What one more guest finds: the owner's cores are gone, the rest is shared with the other guests alone. */
export function guestCapacity(record: MachineRecord): Capacity {
  const cores = Math.max(0, record.cores - busyCores(record) - record.homeDemand)
  return { cores, idle: Math.max(0, cores - record.guestDemand), competing: record.guestDemand }
}

function busyCores(record: MachineRecord): number {
  return Math.min(record.cores, Math.max(0, record.cores - record.idleCores))
}

/**
 * What a job of `demand` cores would get on the machine that `record` describes, ≥ 0, larger is sooner. `home` is the view
 * of the machine's own jobs, else that of a guest. Numbers of different policies don't compare.
 */
export function metric(
  record: MachineRecord,
  demand: number,
  view: { home: boolean },
  policy: MetricPolicy = 'product'
): number {
  if (policy === 'paper') return paperMetric(record)
  return 100 * record.speed * share(demand, view.home ? homeCapacity(record) : guestCapacity(record))
}

/** Weights of (5). */
const STATIC_WEIGHT = 0.3
const DYNAMIC_WEIGHT = 0.7
/** The static score of the reference machine. */
const STATIC_SCALE = 100
/**
 * The constant of proportionality that (3) leaves open. With a static score of 100 the idle machine of Table II (140–150)
 * and the one with four jobs (35–45) leave 362–380: (30 + 0.7·370)/2 = 144.5 and (30 + 0.7·370/5)/2 = 40.9.
 */
const DYNAMIC_SCALE = 370
/** Memory matters only when less than this part of it is available ("only when the free memory becomes less than a threshold"). */
const FREE_MEMORY_THRESHOLD = 0.1

/** The constant that (6) and Algorithm I take off for each hop: Table II shows 15. */
export const PAPER_HOP_COST = 15

/**
 * Equation (5) of the paper: what one more process gets, all processes being equals, guests and owner's alike; no demand.
 *
 * Equations (3) and (4) can't be what was run as they are printed. (3), idle/(idle + user/(n+1)), is 1 on an idle machine
 * and 0 on a busy one however many processes it runs, but Table III shows each further process count; and (4) takes its
 * reciprocal, so that an idle machine would get the lowest value and a busy one an infinite one, but Table II shows 140–150
 * for the idle one and 35–45 with four jobs. What fits the tables and the text ("the number of time slices that a process
 * is expected to be assigned") is the part of all time slices that a newcomer gets, (idle + user/(n+1)) / total, multiplied
 * rather than divided by. (1) and (2) are ratios of times and grow with slowness, while (5) adds them to a number that is
 * better when larger: the speed, their reciprocal, is meant. (4)'s memory quotient is capped at 1, as the text says.
 */
function paperMetric(record: MachineRecord): number {
  if (!(record.cores > 0)) return 0
  const own = record.homeDemand + record.guestDemand
  const idle = Math.max(0, record.cores - busyCores(record) - own)
  const processes = record.runnable + own
  const load = (idle + (record.cores - idle) / (processes + 1)) / record.cores
  const free = record.memoryTotal > 0 ? record.memoryAvailable / record.memoryTotal : 0
  const memory = Math.min(1, Math.max(0, free) / FREE_MEMORY_THRESHOLD)
  const sysmetricStatic = STATIC_SCALE * record.speed
  const sysmetricDynamic = DYNAMIC_SCALE * load * memory
  return (sysmetricStatic * STATIC_WEIGHT + sysmetricDynamic * DYNAMIC_WEIGHT) / 2
}

/** What is left of a metric with each hop beyond the first, under `product`: among equals the nearer one. */
const HOP_FACTOR = 0.95

/**
 * The distribution metric: what a guest of `demand` cores on the machine of `record`, `hops` ≥ 1 away, is worth to who asks.
 * Under `paper` each hop costs a constant, as in (6); under `product` the first one is in the transfer factor.
 */
export function distributionMetric(record: MachineRecord, demand: number, hops: number, policy: MetricPolicy): number {
  const there = metric(record, demand, { home: false }, policy)
  return policy === 'paper' ? there - PAPER_HOP_COST * hops : there * HOP_FACTOR ** (hops - 1)
}

/** The distribution metric that another machine must reach to be worth the way, given home's own metric. */
export function worthTheWay(home: number, transferFactor: number, policy: MetricPolicy): number {
  return policy === 'paper' ? home : home * transferFactor
}
