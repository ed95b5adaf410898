/** What machines tell each other of their load: kappa's maximum, MOSIX's gossip and all-to-all broadcast, by size. */

import type { Row } from '../../src/simulator/comparison.ts'
import type { Estimate } from '../../src/simulator/statistics.ts'
import type { TopologyName } from '../../src/simulator/topology.ts'
import { type Compared, compareAll, rowOf, type Setting } from './comparing.ts'
import type { Laboratory } from './laboratory.ts'
import { fixed, picture, sure, tableOf } from './markdown.ts'
import { svgOf } from './plot.ts'
import type { Axis } from './plot-axis.ts'
import type { Report, Study } from './study.ts'

/** The same strategy over each information policy. */
const POLICIES = ['kappa', 'kappa+gossip', 'kappa+broadcast']
const SIZES = [4, 8, 16, 32, 64]
/** In a clique of 64 each machine has 63 neighbours, which nobody pairs by hand. */
const PLACES = [
  { topology: 'small-world', peers: SIZES },
  { topology: 'clique', peers: SIZES.slice(0, -1) }
] as const
const LOAD = 0.6
const MINUTE_MS = 60_000

function settingsFor(quick: boolean): Setting[] {
  return PLACES.flatMap(({ topology, peers }) => peers.map((size) => settingOf(topology, size, quick))).filter(
    ({ peers }) => !quick || peers <= 8
  )
}

function settingOf(topology: TopologyName, peers: number, quick: boolean): Setting {
  const small = peers <= 16
  return {
    topology,
    peers,
    load: LOAD,
    workload: 'batches',
    homes: 'half-weak',
    owners: 0.1,
    loss: 0,
    durationMs: (quick ? 0.2 : small ? 3 : 0.5) * MINUTE_MS,
    strategies: POLICIES,
    seeds: quick ? 2 : small ? 5 : 3
  }
}

async function run(laboratory: Laboratory): Promise<Report> {
  const found = await compareAll(laboratory, settingsFor(laboratory.quick))
  const each = POLICIES.map((name) => {
    const ratios = found.map((one) => rowOf(one, name).ratio.mean)
    const messages = found.map((one) => rowOf(one, name).messages.mean)
    const span = (values: number[]) => `${fixed(Math.min(...values))} to ${fixed(Math.max(...values))}`
    return `over ${nameOf(name)} ${span(ratios)} times, at ${span(messages)} messages for each neighbour and second`
  })
  return {
    summary: `The same placement over three information policies, mean response times as multiples of greedy's, among 4 to ${Math.max(...found.map(({ setting }) => setting.peers))} machines: ${each.join('; ')}.`,
    body: bodyOf(found),
    plots: new Map([['information', plotOf(found)]])
  }
}

function nameOf(strategy: string): string {
  return strategy.includes('+') ? strategy.split('+')[1]! : 'max-propagation'
}

function bodyOf(found: readonly Compared[]): string {
  const rows = found.flatMap((one) =>
    POLICIES.map((strategy) => {
      const { ratio, p99Ratio, hops, messages } = rowOf(one, strategy)
      const { topology, peers } = one.setting
      return [
        `${topology} of ${peers}`,
        nameOf(strategy),
        sure(ratio),
        sure(p99Ratio),
        fixed(hops.mean),
        sure(messages)
      ]
    })
  )
  return `${tableOf(['topology', 'information', 'mean / greedy', 'p99 / greedy', 'hops', 'messages'], rows)}

All three tell of the same records and are used by the same placement (\`kappa\`). Maximum propagation tells each neighbour the best
that is within reach, at once when it became better, every two seconds otherwise. Gossip, as MOSIX has it, tells one neighbour drawn
by chance each second what is freshest, so its traffic for each neighbour falls as there are more of them. Broadcast tells everybody
of everybody each second: as many messages as that takes, eight machines in each. What a walk meets on its way, it learns under all
three, which is why stale news costs little. Bursts are another thing: under the workload \`make\` of the grid gossip is behind.

Batches at a load of ${LOAD}, half of them at one weak machine; owners use a tenth of their cores. Messages: sent for each neighbour
in each second, probes among them.

${picture('information', 'Response time and messages by size of the household, for each information policy')}
`
}

function plotOf(found: readonly Compared[]): string {
  const names = SIZES.map((peers) => ({ at: peers, name: String(peers) }))
  const x: Axis = { label: 'peers', scale: 'log', least: 3.5, most: 72, names }
  const lines = (topology: string, value: (row: Row) => Estimate) =>
    POLICIES.map((strategy) => ({
      name: nameOf(strategy),
      points: found
        .filter(({ setting }) => setting.topology === topology)
        .map((one) => {
          const { mean, halfWidth } = value(rowOf(one, strategy))
          return { x: one.setting.peers, y: mean, halfWidth }
        })
    }))
  return svgOf({
    title: 'What machines tell each other, by size of the household',
    description: 'Mean response time divided by that of greedy, and messages for each neighbour and second, by size.',
    columns: 2,
    panels: PLACES.flatMap(({ topology }) => [
      {
        title: `${topology}: mean response time`,
        x,
        y: { label: 'mean / greedy', scale: 'linear' as const, least: 0.9, most: 1.5 },
        lines: lines(topology, ({ ratio }) => ratio)
      },
      {
        title: `${topology}: messages`,
        x,
        y: { label: 'per neighbour and s', scale: 'log' as const, least: 0.01, most: 10 },
        lines: lines(topology, ({ messages }) => messages)
      }
    ])
  })
}

export const information: Study = { name: 'information', title: 'MOSIX: gossip, maximum or broadcast', run }
