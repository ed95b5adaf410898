/** Kačer and Tvrdík: strategies for short processes on three equal nodes, by load. */

import { type Compared, compareAll, type Setting } from './comparing.ts'
import type { Laboratory } from './laboratory.ts'
import { fixed, picture } from './markdown.ts'
import { LOAD_AXIS, linesOver, ranking, secondsOf, tableOver } from './over-load.ts'
import { svgOf } from './plot.ts'
import type { Report, Study } from './study.ts'

const NODES = 3
const STRATEGIES = ['limited', 'threshold', 'random', 'local', 'kappa']
/** The strategies that the paper compares. */
const PAPER = ['limited', 'threshold', 'random']
const LOADS = [0.2, 0.35, 0.5, 0.65, 0.8, 0.9]
const MINUTE_MS = 60_000
const FULL = { minutes: 60, seeds: 10 }
const QUICK = { minutes: 5, seeds: 2 }
/** One core, and no limit to what it may be sent. */
const MACHINE = { cores: 1, speed: 1, memoryBytes: 2 ** 30, slots: 256, guestsAreEquals: true }

async function run(laboratory: Laboratory): Promise<Report> {
  const { minutes, seeds } = laboratory.quick ? QUICK : FULL
  const settings = LOADS.map(
    (load): Setting => ({
      topology: 'clique',
      peers: NODES,
      machines: Array.from({ length: NODES }, () => MACHINE),
      workload: 'graphs',
      homes: 'half-weak',
      owners: 0,
      loss: 0,
      load,
      durationMs: minutes * MINUTE_MS,
      strategies: STRATEGIES,
      seeds
    })
  )
  const found = await compareAll(laboratory, settings)
  const order = ranking(found, PAPER)
  return {
    summary: `From best to worst on average over all loads: ${order.map(({ name, worse }) => `${name} (${fixed(worse)})`).join(', ')}; in brackets the mean response time divided by that of the best.`,
    body: bodyOf(found),
    plots: new Map([['short-processes', plotOf(found)]])
  }
}

function bodyOf(found: readonly Compared[]): string {
  return `## Mean response time, s

${tableOver(found, STRATEGIES, secondsOf)}

## Divided by greedy

${tableOver(found, STRATEGIES, ({ ratio }) => ratio)}

${picture('short-processes', 'Mean response time divided by that of greedy, by load and strategy')}
`
}

function plotOf(found: readonly Compared[]): string {
  return svgOf({
    title: 'Short processes on three equal nodes',
    description: 'Mean response time of each strategy divided by that of greedy, by load.',
    columns: 1,
    panels: [
      {
        title: 'batches of 1 to 8 processes, half of them at one node',
        x: LOAD_AXIS,
        y: { label: 'mean / greedy (no unit)', scale: 'log', least: 0.9, most: 6 },
        lines: linesOver(found, STRATEGIES, ({ ratio }) => ratio)
      }
    ]
  })
}

export const shortProcesses: Study = {
  name: 'short-processes',
  title: 'Kačer and Tvrdík: strategies for short processes',
  run
}
