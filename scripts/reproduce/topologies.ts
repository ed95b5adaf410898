/** How near the placement comes to a greedy one that knows everything, by topology; and at what traffic. */

import type { TopologyName } from '../../src/simulator/topology.ts'
import { type Compared, compareAll, rowOf, type Setting } from './comparing.ts'
import type { Laboratory } from './laboratory.ts'
import { fixed, picture, sure, tableOf } from './markdown.ts'
import { STRATEGY_NAMES } from './over-load.ts'
import { svgOf } from './plot.ts'
import type { Report, Study } from './study.ts'

const STRATEGIES = ['kappa', 'two-choices', 'kappa-paper']
const MINUTE_MS = 60_000
const CONDITIONS = { workload: 'batches', homes: 'half-weak', owners: 0.1, loss: 0 } as const

interface Place {
  topology: TopologyName
  peers: number
  load: number
  minutes: number
  seeds: number
  strategies?: readonly string[]
}

const PLACES: readonly Place[] = [
  { topology: 'clique', peers: 8, load: 0.5, minutes: 5, seeds: 5 },
  { topology: 'clique', peers: 8, load: 0.8, minutes: 5, seeds: 5 },
  { topology: 'line', peers: 8, load: 0.6, minutes: 5, seeds: 5 },
  { topology: 'star', peers: 8, load: 0.6, minutes: 5, seeds: 5 },
  { topology: 'ring', peers: 16, load: 0.6, minutes: 5, seeds: 5 },
  { topology: 'random', peers: 64, load: 0.6, minutes: 0.5, seeds: 4 },
  { topology: 'small-world', peers: 64, load: 0.6, minutes: 0.5, seeds: 4 },
  // Telling 256 machines of each other each second, which two choices need, takes an hour to simulate.
  { topology: 'small-world', peers: 256, load: 0.6, minutes: 0.25, seeds: 3, strategies: ['kappa', 'kappa-paper'] }
]
/** Beyond this the plot shows an arrow. */
const RATIO_MOST = 10

function settingsFor(quick: boolean): Setting[] {
  const places = quick ? PLACES.filter(({ peers }) => peers <= 8) : PLACES
  return places.map(({ minutes, seeds, strategies = STRATEGIES, ...place }) => ({
    ...CONDITIONS,
    ...place,
    durationMs: (quick ? 0.2 : minutes) * MINUTE_MS,
    strategies,
    seeds: quick ? 2 : seeds
  }))
}

async function run(laboratory: Laboratory): Promise<Report> {
  const found = await compareAll(laboratory, settingsFor(laboratory.quick))
  const range = (strategy: string) => {
    const ratios = having(found, strategy).map((one) => rowOf(one, strategy).ratio.mean)
    return `${fixed(Math.min(...ratios))} to ${fixed(Math.max(...ratios))}`
  }
  const messages = found.map((one) => rowOf(one, 'kappa').messages.mean)
  return {
    summary: `Mean response times are ${range('kappa')} times those of a greedy placement that knows everything, at ${fixed(Math.min(...messages), 1)} to ${fixed(Math.max(...messages), 1)} messages for each neighbour and second. Two choices among all members come to ${range('two-choices')}, the paper's algorithms as printed to ${range('kappa-paper')}.`,
    body: bodyOf(found),
    plots: new Map([['topologies', plotOf(found)]])
  }
}

function having(found: readonly Compared[], strategy: string): Compared[] {
  return found.filter(({ setting }) => setting.strategies.includes(strategy))
}

function nameOf({ setting: { topology, peers, load } }: Compared): string {
  return `${topology} of ${peers} @ ${load}`
}

function bodyOf(found: readonly Compared[]): string {
  const rows = found.flatMap((one) =>
    one.rows.map(({ strategy, meanMs, ratio, p99Ratio, hops, messages }) => [
      nameOf(one),
      strategy,
      fixed(meanMs.mean / 1_000),
      sure(ratio),
      sure(p99Ratio),
      fixed(hops.mean),
      sure(messages)
    ])
  )
  return `Households of two to eight cores and speeds of 0.3 to 1; batches of 1 to 7 jobs of 1 to 100 s, half of them at one weak machine;
owners use a tenth of their cores, which is seen a second late. The paper's algorithms measure and tell every second here, not
every five.

${tableOf(['topology @ load', 'strategy', 'mean s', 'mean / greedy', 'p99 / greedy', 'hops', 'messages'], rows)}

Means and 95 % confidence intervals over seeds; each run is divided by that of greedy with the same seed. Messages: sent for each
neighbour in each second. \`two-choices\` asks two random machines and takes the better; it knows all that there are, by broadcast.
\`greedy\` knows everything at every moment and sends nothing; it is no lower bound.

${picture('topologies', 'Mean response time divided by that of greedy, by topology')}
`
}

function plotOf(found: readonly Compared[]): string {
  const names = found.map((one, at) => ({ at, name: tickOf(one) }))
  return svgOf({
    title: 'Mean response time by topology',
    description:
      'Mean response time divided by that of a greedy placement with perfect information, for each topology and load.',
    names: STRATEGY_NAMES,
    columns: 1,
    panels: [
      {
        title: 'beyond the axis: arrows',
        x: { label: 'topology, peers @ load', scale: 'linear', least: -0.5, most: names.length - 0.5, names },
        y: { label: 'mean / greedy (no unit)', scale: 'log', least: 0.9, most: RATIO_MOST },
        lines: STRATEGIES.map((strategy) => ({
          name: strategy,
          apart: true,
          points: having(found, strategy).map((one) => {
            const { mean, halfWidth } = rowOf(one, strategy).ratio
            return { x: found.indexOf(one), y: mean, halfWidth }
          })
        }))
      }
    ]
  })
}

function tickOf({ setting: { topology, peers, load } }: Compared): string {
  return `${topology}\n${peers} @ ${load}`
}

export const topologies: Study = { name: 'topologies', title: 'Kappa by topology', run }
