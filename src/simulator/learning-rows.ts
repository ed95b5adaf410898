/** What learning changes: the same households and jobs without and with it, and beside those where every claim is right. */

import { run, type Scenario } from './scenario.ts'
import { type Estimate, estimate } from './statistics.ts'
import { STRATEGIES } from './strategies.ts'

export interface LearningRow {
  what: string
  /** Mean response time of the jobs asked for after the first minute. */
  offMs: Estimate
  onMs: Estimate
  /** With learning, divided by without. */
  gain: Estimate
  /** Divided by what the same jobs took where every claim is right; absent where they are. */
  offCost?: Estimate
  onCost?: Estimate
}

const SETTLE_MS = 60_000
const PEERS = 16

/** Claims that are wrong, and by how much (scenario.ts). */
type Wrong = Pick<Scenario, 'liars' | 'misjudging' | 'throttled'>

interface Case {
  what: string
  changes: Partial<Scenario>
  wrong: Wrong
}

const CLAIMS: readonly [string, Wrong][] = [
  ['all say what is so', {}],
  ['one says it is 10 times as fast', { liars: 1 }],
  ['one believes so itself', { misjudging: 1 }],
  ['one gets 5 times slower', { throttled: 1 }]
]

const PLACES: readonly Pick<Scenario, 'topology' | 'workload' | 'homes'>[] = [
  { topology: 'clique', workload: 'batches', homes: 'half-weak' },
  { topology: 'clique', workload: 'make', homes: 'many' },
  { topology: 'ring', workload: 'batches', homes: 'many' },
  { topology: 'ring', workload: 'make', homes: 'half-weak' }
]

const CASES: readonly Case[] = [
  ...(['tools', 'media'] as const).map((workload) => ({
    what: `clique of 8, ${workload}: ${workload === 'tools' ? 'most jobs are short' : 'half of the jobs have large files'}`,
    changes: { workload, peers: 8, homes: 'many', costs: true } as const,
    wrong: {}
  })),
  ...PLACES.flatMap((changes) =>
    CLAIMS.map(([claims, wrong]) => ({
      what: `${changes.topology} of ${PEERS}, ${changes.workload}, ${changes.homes}: ${claims}`,
      changes,
      wrong
    }))
  )
]

/** One after the other; seeds are 1 to `seeds`. */
export function* learningRows(seeds: number, durationMs: number): Generator<LearningRow> {
  for (const { what, changes, wrong } of CASES) {
    const meanMs = (seed: number, more: Partial<Scenario>) =>
      run({ ...standard(durationMs), ...changes, ...more, seed }).meanMs
    const each = Array.from({ length: seeds }, (_, index) => index + 1)
    const off = each.map((seed) => meanMs(seed, wrong))
    const on = each.map((seed) => meanMs(seed, { ...wrong, learn: true }))
    const ratio = (over: number[], under: number[]) => estimate(over.map((value, index) => value / under[index]!))
    const row: LearningRow = { what, offMs: estimate(off), onMs: estimate(on), gain: ratio(on, off) }
    if (Object.keys(wrong).length > 0) {
      const right = each.map((seed) => meanMs(seed, {}))
      row.offCost = ratio(off, right)
      row.onCost = ratio(on, right)
    }
    yield row
  }
}

function standard(durationMs: number): Omit<Scenario, 'seed'> {
  return {
    topology: 'clique',
    peers: PEERS,
    strategy: STRATEGIES.get('kappa')!,
    workload: 'batches',
    homes: 'half-weak',
    load: 0.5,
    owners: 0,
    loss: 0,
    durationMs,
    settleMs: SETTLE_MS
  }
}
