/** Every strategy on every topology under every workload and load: a study for each topology, which together take long. */

import type { Row } from '../../src/simulator/comparison.ts'
import { type Estimate, meanOf } from '../../src/simulator/statistics.ts'
import type { TopologyName } from '../../src/simulator/topology.ts'
import type { WorkloadName } from '../../src/simulator/workload.ts'
import { type Compared, compareAll, rowOf, type Setting } from './comparing.ts'
import type { Laboratory } from './laboratory.ts'
import { fixed, picture, sure, tableOf } from './markdown.ts'
import { linesOver, STRATEGY_NAMES } from './over-load.ts'
import { svgOf } from './plot.ts'
import type { Report, Study } from './study.ts'

interface Place {
  topology: TopologyName
  peers: number
  /** Of simulated time, and runs of each. */
  minutes: number
  seeds: number
  strategies: readonly string[]
}

const KAPPA = 'kappa'
const ALL = [
  ...[KAPPA, 'kappa+gossip', 'two-choices', 'shortest', 'limited', 'threshold'],
  ...['round-robin', 'random', 'pull', 'kappa-paper']
]
/** All-to-all broadcast, which the papers' strategies need, takes too long to simulate here for more than the best of them. */
const MANY = [KAPPA, 'kappa+gossip', 'two-choices', 'kappa-paper']
const VERY_MANY = [KAPPA, 'kappa+gossip']
const PLACES: readonly Place[] = [
  { topology: 'clique', peers: 8, minutes: 1, seeds: 3, strategies: ALL },
  { topology: 'line', peers: 8, minutes: 1, seeds: 3, strategies: ALL },
  { topology: 'star', peers: 8, minutes: 1, seeds: 3, strategies: ALL },
  { topology: 'ring', peers: 16, minutes: 0.5, seeds: 3, strategies: ALL },
  { topology: 'random', peers: 64, minutes: 0.2, seeds: 2, strategies: MANY },
  { topology: 'small-world', peers: 64, minutes: 0.2, seeds: 2, strategies: MANY },
  { topology: 'small-world', peers: 256, minutes: 0.1, seeds: 1, strategies: VERY_MANY }
]
const WORKLOADS: readonly WorkloadName[] = ['batches', 'make', 'poisson', 'heavy-tail']
const LOADS = [0.3, 0.5, 0.7, 0.9]
const MINUTE_MS = 60_000
/** Beyond these the plots show arrows. */
const RATIO = { least: 0.4, most: 5 }

const INTRODUCTION = `Households of two to eight cores and speeds of 0.3 to 1; half of all work is asked for at one weak machine; owners use a tenth of
their cores, which is seen a second late. Each run is divided by that of greedy, which knows everything at every moment and sends
nothing, with the same seed; means and 95 % confidence intervals over seeds. Messages: sent for each neighbour in each second.

- \`batches\`: 1 to 7 jobs at once, 1 to 100 s of work each (truncated Pareto, shape 1.2).
- \`make\`: 8 to 32 jobs at once, 0.3 to 10 s.
- \`poisson\`: single jobs, 5 s on average (exponential).
- \`heavy-tail\`: single jobs, 0.5 to 300 s (truncated Pareto, shape 1.1).

Beyond an end of an axis an arrow stands for the value; it is in the table. Less than 1 is possible: greedy decides at once and for one
job at a time, so it is no bound where bursts come and waiting for a moment pays.
`

function settingsOf({ topology, peers, minutes, seeds, strategies }: Place, quick: boolean): Setting[] {
  return (quick ? WORKLOADS.slice(0, 1) : WORKLOADS).flatMap((workload) =>
    (quick ? LOADS.slice(0, 2) : LOADS).map((load) => ({
      topology,
      peers,
      load,
      workload,
      homes: 'half-weak' as const,
      owners: 0.1,
      loss: 0,
      durationMs: (quick ? 0.2 : minutes) * MINUTE_MS,
      strategies,
      seeds: quick ? 1 : seeds
    }))
  )
}

async function run(place: Place, laboratory: Laboratory): Promise<Report> {
  const found = await compareAll(laboratory, settingsOf(place, laboratory.quick))
  const plots = new Map([[nameOf(place), plotOf(place, found)]])
  return { summary: summaryOf(found), body: bodyOf(place, found), plots }
}

/** Other information policies under kappa are kappa still. A difference is one that is larger than both intervals. */
function summaryOf(found: readonly Compared[]): string {
  const ratios = found.map((one) => rowOf(one, KAPPA).ratio.mean)
  const all = `In ${found.length} cells of workload and load kappa's mean response time is ${fixed(meanOf(ratios))} times that of greedy on average and ${fixed(Math.max(...ratios))} times at worst.`
  if (found[0]!.rows.every(({ strategy }) => isKappa(strategy))) return all
  let best = 0
  let beaten = 0
  for (const one of found) {
    const { ratio } = rowOf(one, KAPPA)
    const others = one.rows.filter(({ strategy }) => !isKappa(strategy))
    if (others.every((other) => ratio.mean <= other.ratio.mean)) best++
    if (others.some((other) => other.ratio.mean + halfOf(other.ratio) < ratio.mean - halfOf(ratio))) beaten++
  }
  return `${all} It has the lowest mean of all strategies in ${best} of them, and another is better by more than the confidence intervals in ${beaten}.`
}

function isKappa(strategy: string): boolean {
  return strategy === KAPPA || strategy.startsWith(`${KAPPA}+`)
}

function halfOf({ halfWidth }: Estimate): number {
  return Number.isNaN(halfWidth) ? 0 : halfWidth
}

function bodyOf(place: Place, found: readonly Compared[]): string {
  const rows = found.flatMap(({ setting, rows }) =>
    rows.map(({ strategy, jobs, ratio, p99Ratio, hops, messages }) => [
      setting.workload,
      String(setting.load),
      strategy,
      String(jobs),
      sure(ratio),
      sure(p99Ratio),
      fixed(hops.mean),
      fixed(messages.mean)
    ])
  )
  const { topology, peers, minutes, seeds } = place
  return `${picture(nameOf(place), `Response times divided by those of greedy in a ${topology} of ${peers}`)}

${INTRODUCTION}
${minutes} simulated minutes, ${seeds} ${seeds === 1 ? 'seed' : 'seeds'}:

${tableOf(['workload', 'load', 'strategy', 'jobs', 'mean / greedy', 'p99 / greedy', 'hops', 'messages'], rows)}
`
}

function nameOf({ topology, peers }: Place): string {
  return `grid-${topology}-${peers}`
}

function plotOf({ topology, peers, strategies }: Place, found: readonly Compared[]): string {
  const x = { label: 'load', scale: 'linear' as const, least: 0.2, most: 1 }
  const panels = (what: string, value: (row: Row) => Estimate) =>
    [...new Set(found.map(({ setting }) => setting.workload))].map((workload) => ({
      title: `${workload}: ${what}`,
      x,
      y: { label: `${what} / greedy`, scale: 'log' as const, ...RATIO },
      lines: linesOver(
        found.filter(({ setting }) => setting.workload === workload),
        strategies,
        value
      )
    }))
  const all = [...panels('mean', ({ ratio }) => ratio), ...panels('p99', ({ p99Ratio }) => p99Ratio)]
  return svgOf({
    title: `Response times in a ${topology} of ${peers}, divided by those of greedy`,
    description: `Mean and 99th percentile of the response time of each strategy divided by greedy's, by load and workload.`,
    names: STRATEGY_NAMES,
    columns: all.length / 2,
    panels: all
  })
}

export const GRID: readonly Study[] = PLACES.map((place) => ({
  name: nameOf(place),
  title: `The grid: every strategy in a ${place.topology} of ${place.peers}`,
  run: (laboratory) => run(place, laboratory)
}))
