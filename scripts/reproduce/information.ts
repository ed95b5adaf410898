/** What machines tell each other of their load: kappa's maximum, MOSIX's gossip and all-to-all broadcast, by size. */

import type { Row } from '../../src/simulator/comparison.ts'
import type { Estimate } from '../../src/simulator/statistics.ts'
import { type Compared, compareAll, rowOf, type Setting } from './comparing.ts'
import type { Laboratory } from './laboratory.ts'
import { fixed, picture, sure, tableOf } from './markdown.ts'
import { svgOf } from './plot.ts'
import type { Axis } from './plot-axis.ts'
import type { Report, Study } from './study.ts'

/** The same strategy over each information policy. */
const POLICIES = ['kappa', 'kappa+gossip', 'kappa+broadcast']
const SIZES = [4, 8, 16, 32, 64]
const TOPOLOGIES = ['clique', 'small-world'] as const
const LOAD = 0.6
const MINUTE_MS = 60_000

function settingsFor(quick: boolean): Setting[] {
  const sizes = quick ? SIZES.slice(0, 2) : SIZES
  return TOPOLOGIES.flatMap((topology) =>
    sizes.map((peers) => ({
      topology,
      peers,
      load: LOAD,
      workload: 'batches' as const,
      homes: 'half-weak' as const,
      owners: 0.1,
      loss: 0,
      durationMs: (quick ? 0.5 : peers > 16 ? 1 : 4) * MINUTE_MS,
      strategies: POLICIES,
      seeds: quick ? 2 : 5
    }))
  )
}

async function run(laboratory: Laboratory): Promise<Report> {
  const found = await compareAll(laboratory, settingsFor(laboratory.quick))
  const largest = found.filter(({ setting }) => setting.peers === found.at(-1)!.setting.peers)
  const at = largest.map((one) => {
    const each = POLICIES.map((name) => {
      const { ratio, messages } = rowOf(one, name)
      return `${nameOf(name)} ${fixed(ratio.mean)} × greedy at ${fixed(messages.mean, 1)} messages`
    })
    return `in a ${one.setting.topology} of ${one.setting.peers}: ${each.join(', ')}`
  })
  return {
    summary: `The same placement over each information policy, messages for each neighbour and second; ${at.join('; ')}.`,
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
    panels: TOPOLOGIES.flatMap((topology) => [
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
