/** Placements beside each other: the same households and jobs for all, over several seeds, each against greedy's times. */

import { type Result, run, type Scenario } from './scenario.ts'
import type { Strategy } from './simulated-core.ts'
import type { MessageType } from './simulation.ts'
import { type Estimate, estimate, meanOf } from './statistics.ts'
import { STRATEGIES } from './strategies.ts'
import type { TopologyName } from './topology.ts'

/** What all are compared with. */
export const MEASURE = 'greedy'

/** What is the same for all rows of a comparison. */
export type Conditions = Omit<Scenario, 'topology' | 'peers' | 'load' | 'strategy' | 'seed'>

export interface Place {
  topology: TopologyName
  peers: number
  load: number
}

/** What the design asks for. */
export const GRID: readonly Place[] = [
  ...(['clique', 'line', 'star'] as const).flatMap((topology) =>
    [0.3, 0.5, 0.8].map((load) => ({ topology, peers: 8, load }))
  ),
  ...[0.3, 0.5, 0.8].map((load) => ({ topology: 'ring' as const, peers: 16, load })),
  { topology: 'random', peers: 64, load: 0.5 },
  { topology: 'small-world', peers: 64, load: 0.5 }
]

export interface Row extends Place {
  strategy: string
  /** Jobs of all seeds together. */
  jobs: number
  /** Mean response time, ms. */
  meanMs: Estimate
  /** Mean response time, and the 99th percentile, divided by greedy's of the same seed. */
  ratio: Estimate
  p99Ratio: Estimate
  hops: Estimate
  /** Overlay messages sent for each neighbour in each second. */
  messages: Estimate
  messagesByType: Partial<Record<MessageType, number>>
}

/** One row for each placement, in their order; seeds are 1 to `seeds`. */
export function compare(place: Place, conditions: Conditions, strategies: readonly Strategy[], seeds: number): Row[] {
  const results = new Map<Strategy, Result[]>(strategies.map((strategy) => [strategy, []]))
  const measure = STRATEGIES.get(MEASURE)!
  const measured: Result[] = []
  for (let seed = 1; seed <= seeds; seed++) {
    const scenario = { ...conditions, ...place, seed }
    const reference = run({ ...scenario, strategy: measure })
    measured.push(reference)
    for (const [strategy, found] of results) {
      found.push(strategy === measure ? reference : run({ ...scenario, strategy }))
    }
  }
  return [...results].map(([strategy, found]) => ({ ...place, strategy: strategy.name, ...summary(found, measured) }))
}

export interface FaultyRow extends Place {
  strategy: string
  jobs: number
  /** Mean response time, ms. */
  meanMs: Estimate
  /** Mean response time, and the 99th percentile, divided by those of the same placement and seed without faults. */
  ratio: Estimate
  p99Ratio: Estimate
  /** Part of the jobs that were asked for again, and of those that lost their home. */
  again: Estimate
  orphaned: Estimate
}

/** One row for each placement: the same jobs with faults and without. */
export function compareFaulty(
  place: Place,
  conditions: Conditions,
  strategies: readonly Strategy[],
  seeds: number
): FaultyRow[] {
  return strategies.map((strategy) => {
    const pairs = Array.from({ length: seeds }, (_, index) => {
      const scenario = { ...conditions, ...place, strategy, seed: index + 1 }
      return { calm: run(scenario), faulty: run({ ...scenario, faulty: true }) }
    })
    return {
      ...place,
      strategy: strategy.name,
      jobs: pairs.reduce((sum, { faulty }) => sum + faulty.jobs, 0),
      meanMs: estimate(pairs.map(({ faulty }) => faulty.meanMs)),
      ratio: estimate(pairs.map(({ calm, faulty }) => faulty.meanMs / calm.meanMs)),
      p99Ratio: estimate(pairs.map(({ calm, faulty }) => faulty.p99Ms / calm.p99Ms)),
      again: estimate(pairs.map(({ faulty }) => faulty.again)),
      orphaned: estimate(pairs.map(({ faulty }) => faulty.orphaned))
    }
  })
}

/** Of the runs of one placement, each beside the measure's run of the same seed. */
export function summary(found: readonly Result[], measured: readonly Result[]): Omit<Row, keyof Place | 'strategy'> {
  return {
    jobs: found.reduce((sum, { jobs }) => sum + jobs, 0),
    meanMs: estimate(found.map(({ meanMs }) => meanMs)),
    ratio: estimate(found.map(({ meanMs }, index) => meanMs / measured[index]!.meanMs)),
    p99Ratio: estimate(found.map(({ p99Ms }, index) => p99Ms / measured[index]!.p99Ms)),
    hops: estimate(found.map(({ meanHops }) => meanHops)),
    messages: estimate(found.map(({ messages }) => Object.values(messages).reduce((sum, count) => sum + count, 0))),
    messagesByType: byType(found)
  }
}

/** Of the types that were sent at all. */
function byType(found: readonly Result[]): Partial<Record<MessageType, number>> {
  const means: Partial<Record<MessageType, number>> = {}
  for (const type of Object.keys(found[0]!.messages) as MessageType[]) {
    const mean = meanOf(found.map(({ messages }) => messages[type]))
    if (mean > 0) means[type] = mean
  }
  return means
}
