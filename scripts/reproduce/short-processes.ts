/** Kačer and Tvrdík: strategies for short processes on three equal nodes, by load. */

import type { Homes, WorkloadName } from '../../src/simulator/workload.ts'
import { type Compared, compareAll, type Setting } from './comparing.ts'
import type { Laboratory } from './laboratory.ts'
import { fixed, picture, tableOf } from './markdown.ts'
import { LOAD_AXIS, linesOver, ranking, STRATEGY_NAMES, secondsOf, tableOver } from './over-load.ts'
import { svgOf } from './plot.ts'
import type { Report, Study } from './study.ts'

const NODES = 3
/** What the paper compares. */
const PAPER = ['shortest', 'limited', 'threshold', 'round-robin', 'random']
const STRATEGIES = [...PAPER, 'local', 'kappa']
const LOADS = [0.2, 0.35, 0.5, 0.65, 0.8, 0.9]
const MINUTE_MS = 60_000
const FULL = { minutes: 40, seeds: 8 }
const QUICK = { minutes: 2, seeds: 2 }
const QUICK_LOADS = [0.3, 0.9]
/** One core, all processes equal, and no limit to what it may be sent. */
const MACHINE = { cores: 1, speed: 1, memoryBytes: 2 ** 30, slots: 256, guestsAreEquals: true }

interface Reading {
  title: string
  workload: WorkloadName
  homes: Homes
}

/** What the paper's text can mean; the first is taken as meant. */
const READINGS: readonly Reading[] = [
  { title: 'one after the other, users anywhere', workload: 'graphs', homes: 'many' },
  { title: 'one after the other, half of the users at one node', workload: 'graphs', homes: 'half-weak' },
  { title: 'all of a batch at once, users anywhere', workload: 'graphs-at-once', homes: 'many' }
]

interface Found {
  reading: Reading
  compared: readonly Compared[]
  order: readonly { name: string; worse: number }[]
}

async function run(laboratory: Laboratory): Promise<Report> {
  const loads = laboratory.quick ? QUICK_LOADS : LOADS
  const settings = READINGS.flatMap((reading) => loads.map((load) => settingOf(reading, load, laboratory.quick)))
  const all = await compareAll(laboratory, settings)
  const found = READINGS.map((reading, index): Found => {
    const compared = all.slice(index * loads.length, (index + 1) * loads.length)
    return { reading, compared, order: ranking(compared, PAPER) }
  })
  const names = found[0]!.order.map(({ name, worse }) => `${name} (${fixed(worse)})`)
  const asPrinted =
    found[0]!.order
      .slice(0, 2)
      .map(({ name }) => name)
      .sort()
      .join() === 'limited,shortest' && found[0]!.order.at(-1)!.name === 'random'
  return {
    summary: `The paper found Limited and Shortest best and Random worst; here the order, best first, is ${names.join(', ')}: ${asPrinted ? 'as in the paper' : 'not that of the paper'}. In brackets is the mean response time divided by the best of them, averaged over loads of ${LOADS[0]} to ${LOADS.at(-1)}.`,
    body: bodyOf(found),
    plots: new Map([['short-processes', plotOf(found)]])
  }
}

function settingOf({ workload, homes }: Reading, load: number, quick: boolean): Setting {
  const { minutes, seeds } = quick ? QUICK : FULL
  return {
    topology: 'clique',
    peers: NODES,
    machines: Array.from({ length: NODES }, () => MACHINE),
    workload,
    homes,
    owners: 0,
    loss: 0,
    load,
    durationMs: minutes * MINUTE_MS,
    strategies: STRATEGIES,
    seeds
  }
}

function bodyOf(found: readonly Found[]): string {
  const orders = found.map(({ reading, order }) => [
    reading.title,
    ...order.map(({ name, worse }) => `${name} ${fixed(worse)}`)
  ])
  const tables = found.map(
    ({ reading, compared }) => `## ${reading.title}

Mean response time, s:

${tableOver(compared, STRATEGIES, secondsOf)}

Divided by that of greedy with the same seed:

${tableOver(compared, STRATEGIES, ({ ratio }) => ratio)}
`
  )
  return `Three equal nodes of one core, where all processes are equal; users arrive at random and run 1 to 8 processes each, of almost no
time to a minute (the cube of a uniform number, as with an algorithm that takes the cube of the vertices). All-to-all broadcast each
second. The paper gives no numbers but the order, so the order is what is compared:

${tableOf(['how the text is read', 'best', '2nd', '3rd', '4th', 'worst'], orders)}

${picture('short-processes', 'Mean response time divided by that of greedy, by load and strategy')}

- "Batches consisting of a random number of consecutive benchmark processes" is read as one after the other: a user waits for one
  before the next, as \`make\` does. Then Random and Round Robin send processes away from idle nodes to busy ones, and the more
  a strategy knows of the destination the better it is.
- Limited and Threshold are within each other's confidence intervals at most loads, the others are not: Random and Round Robin cost as
  much as not moving anything (\`local\`) from a load of 0.65 on.
- **All at once** is another thing: a batch of eight finds no idle node for most of its processes. Limited then keeps them at home,
  since its limit here is an idle core (the paper doesn't say what its own is), and Round Robin spreads them evenly without knowing
  anything, which in three nodes is nearly the best that can be done.
- **Half of the users at one node** overload it alone from a load of 0.5 on. Limited's limit hurts there too: when no node is idle
  the process stays on the worst one. A limit that grows with the source's load would be Shortest.
- A node is overloaded here when its own processes leave no core idle; the guests that it has don't count, as they don't in
  kappa, where they have the lowest priority. Moving a process costs a message and its answer; the paper's system calls that go
  back to the home node are not simulated. MOSIX, which the paper also measured, moves processes that run; kappa never does.

${tables.join('\n')}`
}

function plotOf(found: readonly Found[]): string {
  return svgOf({
    title: 'Short processes on three equal nodes',
    description:
      'Mean response time of each strategy divided by that of greedy, by load, for three readings of the paper.',
    names: STRATEGY_NAMES,
    columns: 2,
    panels: found.map(({ reading, compared }) => ({
      title: reading.title,
      x: LOAD_AXIS,
      y: { label: 'mean / greedy', scale: 'log', least: 0.8, most: 5 },
      lines: linesOver(compared, STRATEGIES, ({ ratio }) => ratio)
    }))
  })
}

export const shortProcesses: Study = {
  name: 'short-processes',
  title: 'Kačer and Tvrdík: strategies for short processes',
  run
}
