/** Plays a trace in the simulator. */

import type { Costs } from '../src/simulator/machine.ts'
import { Simulation } from '../src/simulator/simulation.ts'
import { STRATEGIES } from '../src/simulator/strategies.ts'
import { edgesOf } from '../src/simulator/topology.ts'
import { requestFor } from '../src/simulator/workload.ts'
import { APART_MS, type Place, type Played, type TracedJob } from './agreement-trace.ts'

const MEMORY_BYTES = 16 * 2 ** 30
/** Peers find each other before the first job. */
const WARM_UP_MS = 5_000
const PATIENCE_MS = 3_600_000
const START_TIMEOUT_MS = 2_000

/** What is known of the hosts beside their cores. */
export interface Hosts {
  /** Static score of their cores, as the daemons say. */
  speed: number
  costs: Costs
  /** Guests that each takes at once. */
  slots: number
  /** One way between two of them. */
  delayMs: number
}

/** `history`: where the first jobs went in truth; these go there again, and the others where they are placed. */
export function simulate(
  { topology, cores }: Place,
  { speed, costs, slots, delayMs }: Hosts,
  jobs: readonly TracedJob[],
  seed: number,
  history: readonly number[] = []
): Played[] {
  const nameOf = (host: number) => `p${host}`
  const simulation = new Simulation({
    seed,
    machines: cores.map((quota) => ({ cores: quota, speed, memoryBytes: MEMORY_BYTES, slots, costs })),
    edges: edgesOf(topology, cores.length, () => 0),
    quality: { delayMs, jitterMs: 0 },
    strategy: STRATEGIES.get('kappa')!,
    clockDrift: 0,
    startTimeoutMs: START_TIMEOUT_MS
  })
  for (const [index, { at, home, cpuMs }] of jobs.entries()) {
    const target = history[index]
    const changes = target === undefined ? {} : target === home ? { local: true } : { on: [nameOf(target)] }
    const order = { at: WARM_UP_MS + at, home, workMs: cpuMs * speed, request: requestFor(1, changes) }
    simulation.time.at(order.at, () => simulation.submit(order))
  }
  simulation.time.runUntil(WARM_UP_MS + jobs.at(-1)!.at)
  simulation.runToEnd(PATIENCE_MS)
  return [...simulation.jobs].map(({ at, target, endedAt, trace }) => ({
    target: target ?? Number.NaN,
    responseMs: endedAt! - at,
    metrics: cores.map((_, host) => trace!.candidates.find(({ peer }) => peer === nameOf(host))?.metric)
  }))
}

/**
 * The same jobs, none asked for when another one ends, as far as the simulator can tell: where it goes would hang on
 * which of the two comes first. Each is put off until it is alone.
 */
export function apart(place: Place, hosts: Hosts, jobs: readonly TracedJob[], seed: number): TracedJob[] {
  const moved: TracedJob[] = []
  for (const job of jobs) {
    const before = moved.at(-1)
    const ends =
      before === undefined
        ? []
        : simulate(place, hosts, moved, seed).map(({ responseMs }, index) => moved[index]!.at + responseMs)
    let at = before === undefined ? job.at : Math.max(job.at, before.at + APART_MS)
    for (const end of ends.sort((a, b) => a - b)) if (Math.abs(end - at) < APART_MS) at = end + APART_MS
    moved.push({ ...job, at })
  }
  return moved
}

/** Where each job goes when all before it went where they went in truth. */
export function stepByStep(
  place: Place,
  hosts: Hosts,
  jobs: readonly TracedJob[],
  seed: number,
  history: readonly number[]
): Played[] {
  return jobs.map((_, index) => simulate(place, hosts, jobs.slice(0, index + 1), seed, history.slice(0, index))[index]!)
}

/** CPU time, ms, that kappa itself takes of all hosts while these jobs are played. */
export function ownMs(place: Place, { costs }: Hosts, jobs: readonly TracedJob[], played: readonly Played[]): number {
  const { daemon, placed, shipped, guest } = costs
  const ends = played.map(({ responseMs }, index) => jobs[index]!.at + responseMs)
  const away = played.filter(({ target }, index) => target !== jobs[index]!.home).length
  return place.cores.length * daemon * Math.max(...ends) + jobs.length * placed + away * (shipped + guest)
}
