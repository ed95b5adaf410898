/** Shah and Kapadia: who moves work, the sender that is overloaded or the receiver that is idle? By load. */

import { type Compared, compareAll, rowOf, type Setting } from './comparing.ts'
import type { Laboratory } from './laboratory.ts'
import { fixed, picture } from './markdown.ts'
import { LOAD_AXIS, linesOver, secondsOf, tableOver } from './over-load.ts'
import { svgOf } from './plot.ts'
import type { Report, Study } from './study.ts'

const NODES = 8
const SENDERS = ['threshold', 'limited']
const RECEIVER = 'pull'
const STRATEGIES = [...SENDERS, RECEIVER, 'local', 'kappa']
const LOADS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95]
const MINUTE_MS = 60_000
const FULL = { minutes: 20, seeds: 5 }
const QUICK = { minutes: 3, seeds: 2 }
/** One core, and no limit to what it may be sent. */
const MACHINE = { cores: 1, speed: 1, memoryBytes: 2 ** 30, slots: 256 }

async function run(laboratory: Laboratory): Promise<Report> {
  const { minutes, seeds } = laboratory.quick ? QUICK : FULL
  const settings = LOADS.map(
    (load): Setting => ({
      topology: 'clique',
      peers: NODES,
      machines: Array.from({ length: NODES }, () => MACHINE),
      workload: 'poisson',
      homes: 'many',
      owners: 0,
      loss: 0,
      load,
      durationMs: minutes * MINUTE_MS,
      strategies: STRATEGIES,
      seeds
    })
  )
  const found = await compareAll(laboratory, settings)
  return {
    summary: SENDERS.map((sender) => crossing(found, sender)).join(' '),
    body: bodyOf(found),
    plots: new Map([['initiative', plotOf(found)]])
  }
}

/** Where the receivers begin to be better than these senders, in a sentence. */
function crossing(found: readonly Compared[], sender: string): string {
  const better = found.map((one) => rowOf(one, RECEIVER).meanMs.mean < rowOf(one, sender).meanMs.mean)
  const first = better.indexOf(true)
  if (first < 0) return `\`${RECEIVER}\` is nowhere better than \`${sender}\`.`
  if (first === 0) return `\`${RECEIVER}\` is better than \`${sender}\` from the lowest load on.`
  const [below, above] = [found[first - 1]!, found[first]!]
  return `\`${RECEIVER}\` overtakes \`${sender}\` between the loads ${below.setting.load} and ${above.setting.load}.`
}

function bodyOf(found: readonly Compared[]): string {
  const top = found.at(-1)!
  return `Eight equal machines of one core; jobs of 5 s on average, exponentially distributed, arrive anywhere as a Poisson process.

## Mean response time, s

${tableOver(found, STRATEGIES, secondsOf)}

## Divided by greedy

${tableOver(found, STRATEGIES, ({ ratio }) => ratio)}

${picture('initiative', 'Mean response time by load, sender-initiated against receiver-initiated')}

At the load ${top.setting.load} there are ${fixed(rowOf(top, RECEIVER).messages.mean, 1)} messages for each neighbour and second with \`${RECEIVER}\`.
`
}

function plotOf(found: readonly Compared[]): string {
  const x = LOAD_AXIS
  return svgOf({
    title: 'Sender- or receiver-initiated, by load',
    description: 'Mean response time in seconds, and divided by that of greedy, of each strategy by load.',
    columns: 2,
    panels: [
      {
        title: 'mean response time',
        x,
        y: { label: 'seconds', scale: 'log', least: 4, most: 100 },
        lines: linesOver(found, STRATEGIES, secondsOf)
      },
      {
        title: 'divided by greedy',
        x,
        y: { label: 'mean / greedy', scale: 'log', least: 0.9, most: 5 },
        lines: linesOver(found, STRATEGIES, ({ ratio }) => ratio)
      }
    ]
  })
}

export const initiative: Study = {
  name: 'initiative',
  title: 'Shah and Kapadia: sender- or receiver-initiated',
  run
}
