/** How good is the placement, at what traffic, and how fast is the simulator that says so? */

import { compare, type Row } from '../src/simulator/comparison.ts'
import { run, type Scenario } from '../src/simulator/scenario.ts'
import type { Estimate } from '../src/simulator/statistics.ts'
import { STRATEGIES } from '../src/simulator/strategies.ts'
import type { Benchmark, Result } from './measure.ts'

const MINUTE_MS = 60_000
const SEEDS = 5
const kappa = STRATEGIES.get('kappa')!

const conditions = { workload: 'batches', homes: 'half-weak', owners: 0.1, loss: 0, durationMs: 5 * MINUTE_MS } as const

const PLACES = [
  { topology: 'clique', peers: 8, load: 0.5 },
  { topology: 'line', peers: 8, load: 0.5 },
  { topology: 'star', peers: 8, load: 0.5 },
  { topology: 'ring', peers: 16, load: 0.5 },
  { topology: 'random', peers: 64, load: 0.5 },
  { topology: 'small-world', peers: 64, load: 0.5 }
] as const

function sure({ mean, halfWidth }: Estimate): string {
  return `${mean.toFixed(3)} ± ${halfWidth.toFixed(3)}`
}

function cells({ ratio, p99Ratio, hops, messages }: Row): Record<string, string> {
  return {
    'mean / greedy': sure(ratio),
    'p99 / greedy': sure(p99Ratio),
    hops: hops.mean.toFixed(2),
    'messages per neighbour and s': messages.mean.toFixed(2)
  }
}

/** Simulated time and CPU time of this process. */
function timed(scenario: Omit<Scenario, 'strategy' | 'seed'>): Record<string, string> {
  const before = process.cpuUsage()
  const { messages } = run({ ...scenario, strategy: kappa, seed: 1 })
  const { user, system } = process.cpuUsage(before)
  const sent = Object.values(messages).reduce((sum, count) => sum + count, 0)
  return { 'CPU s': ((user + system) / 1e6).toFixed(1), 'messages per neighbour and s': sent.toFixed(2) }
}

async function simulate(): Promise<Result> {
  const large = { ...conditions, topology: 'random', peers: 64, durationMs: 10 * MINUTE_MS } as const
  const rows = PLACES.map((place) => {
    const [row] = compare(place, conditions, [kappa], SEEDS)
    return { what: `${place.topology} of ${place.peers} at load ${place.load}`, values: cells(row!) }
  })
  return {
    question: 'How good is the placement, at what traffic?',
    rows: [
      ...rows,
      { what: 'random of 64, 10 simulated minutes at load 0.5', values: timed({ ...large, load: 0.5 }) },
      { what: 'random of 64, 10 simulated minutes, idle', values: timed({ ...large, load: 0 }) }
    ],
    notes: [
      `response times divided by those of a greedy placement that knows everything, ${SEEDS} seeds, 95 % confidence`,
      'batches of 1 to 7 jobs, half of them at one weak machine; owners use a tenth of their cores, seen a second late'
    ]
  }
}

export const benchmark: Benchmark = {
  question: 'How good is the placement, at what traffic?',
  run: simulate
}
