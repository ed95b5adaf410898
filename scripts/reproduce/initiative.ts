/** Shah and Kapadia: who moves work, the sender that is overloaded or the receiver that is idle? By load. */

import { type Compared, compareAll, rowOf, type Setting } from './comparing.ts'
import type { Laboratory } from './laboratory.ts'
import { fixed, picture } from './markdown.ts'
import { LOAD_AXIS, linesOver, STRATEGY_NAMES, secondsOf, tableOver } from './over-load.ts'
import { svgOf } from './plot.ts'
import type { Report, Study } from './study.ts'

const NODES = 8
/** One that asks by chance, one that knows. */
const SENDERS = ['threshold', 'limited']
const RECEIVER = 'pull'
const STRATEGIES = [...SENDERS, RECEIVER, 'local', 'kappa']
const LOADS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95]
const MINUTE_MS = 60_000
const FULL = { minutes: 15, seeds: 6 }
const QUICK = { minutes: 0.5, seeds: 2 }
const QUICK_LOADS = [0.3, 0.9]
/** One core, and no limit to what it may be sent. */
const MACHINE = { cores: 1, speed: 1, memoryBytes: 2 ** 30, slots: 256 }

async function run(laboratory: Laboratory): Promise<Report> {
  const { minutes, seeds } = laboratory.quick ? QUICK : FULL
  const settings = (laboratory.quick ? QUICK_LOADS : LOADS).map(
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
    summary: `The receivers (\`${RECEIVER}\`) have the lower mean response time than ${SENDERS.map((sender) => crossing(found, sender)).join(', and than ')}. The first asks a machine drawn by chance, the other those that it knows to be idle: senders that know do better until idle machines are rare.`,
    body: bodyOf(found),
    plots: new Map([['initiative', plotOf(found)]])
  }
}

/** From which load on the receivers are better than these senders, to the highest. */
function crossing(found: readonly Compared[], sender: string): string {
  const better = found.map((one) => rowOf(one, RECEIVER).ratio.mean < rowOf(one, sender).ratio.mean)
  const first = found[better.lastIndexOf(false) + 1]
  return first === undefined ? `\`${sender}\` at no load` : `\`${sender}\` from a load of ${first.setting.load} on`
}

function bodyOf(found: readonly Compared[]): string {
  const top = found.at(-1)!
  return `Eight equal machines of one core; jobs of 5 s on average, exponentially distributed, arrive anywhere as a Poisson process.

## Mean response time, s

${tableOver(found, STRATEGIES, secondsOf)}

## Divided by greedy

${tableOver(found, STRATEGIES, ({ ratio }) => ratio)}

${picture('initiative', 'Mean response time by load, sender-initiated against receiver-initiated')}

- The paper describes both algorithms and gives no numbers. What is known of them since Eager, Lazowska and Zahorjan (1986) is
  that senders do better at low and moderate loads, where an idle machine is found at once, and receivers at high ones, where
  senders ask in vain; that is what the table is looked at for.
- **Load**: the paper marks a machine busy or free by two watermarks of a run queue and other factors. Here a sender is busy when its
  own jobs leave no core idle; a receiver is free when it has an idle core.
- **Discipline**: with \`${RECEIVER}\` a job for which home has no idle core waits in line until home or a receiver has one; with the
  others all jobs of a machine share its core. With exponential work both have the same mean on a machine alone.
- **What moves**: the paper's receivers take processes that run, by checkpoints; here they take jobs that wait, so nothing is lost on
  the way. \`threshold\` asks one machine drawn by chance, as the paper's sender polls at random; \`limited\` up to three that are
  known to be idle.
- At a load of ${top.setting.load}: ${STRATEGIES.map((name) => `${name} ${fixed(rowOf(top, name).messages.mean, 1)}`).join(', ')} messages for each neighbour and second.
`
}

function plotOf(found: readonly Compared[]): string {
  const x = LOAD_AXIS
  return svgOf({
    title: 'Sender- or receiver-initiated, by load',
    description: 'Mean response time in seconds, and divided by that of greedy, of each strategy by load.',
    names: STRATEGY_NAMES,
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
