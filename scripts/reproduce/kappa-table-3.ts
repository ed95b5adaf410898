/** Table III of the Kappa paper: A, B and C in a line, A and B under five processes, endless jobs started on A. */

import { PAPER_HOP_COST } from '../../src/core/metric.ts'
import type { Strategy } from '../../src/simulator/simulated-core.ts'
import { fixed, picture, tableOf } from './markdown.ts'
import {
  CONVERGED_MS,
  ENDLESS_MS,
  KAPPA_PAPER,
  kappaWith,
  type MachineName,
  metricWith,
  placeOf,
  reasonOf,
  simulationOf,
  start
} from './paper-machines.ts'
import { type Line, svgOf } from './plot.ts'
import type { Report, Study } from './study.ts'

const LOOPS = [5, 5, 0]
/** Where the paper's ten processes ran. */
const PAPER: readonly MachineName[] = ['A', 'C', 'C', 'C', 'C', 'C', 'C', 'A', 'A', 'B']
const SAID = [
  'stays: the reply came too late',
  ...Array.from({ length: 6 }, () => 'to C'),
  'stays: C is worse than B, of which B knows nothing yet',
  'stays: likewise',
  'to B, which has the least load'
]
/** Between two jobs: each known everywhere before the next; all within one delay of the paper. */
const SLOWLY_MS = 12_000
const QUICKLY_MS = 400
/** A reply that comes later is not waited for, and this is later, ms. */
const HELD_UP_MS = 600

interface Placed {
  where: MachineName
  reason: string
}

/** `late`: the reply to the first job's probe is held up on its way. */
function place(strategy: Strategy, everyMs: number, late: boolean): Placed[] {
  const simulation = simulationOf({ loops: LOOPS, cores: 1, strategy })
  simulation.time.runUntil(CONVERGED_MS)
  const jobs = PAPER.map((_, index) => {
    if (late && index === 0) simulation.network.block(2, 1, HELD_UP_MS)
    const job = start(simulation, 'A', ENDLESS_MS)
    simulation.time.runUntil(simulation.time.now + (index === 0 ? SLOWLY_MS : everyMs))
    return job
  })
  return jobs.map((job) => ({ where: placeOf(job), reason: reasonOf(job.trace) }))
}

/** One row of the paper's table, and what it says of the constant, when all metrics are known as they are. */
interface Account {
  processes: readonly number[]
  metrics: readonly number[]
  /** Less than this must be taken from the metric that decided, so that the job goes; at least so much, so that it stays. */
  gain: number
}

/** Replays the paper's own outcomes: what were the metrics when it decided so? */
function accounts(): Account[] {
  const processes = [...LOOPS]
  return PAPER.map((where) => {
    const before = [...processes]
    const metrics = before.map((count) => metricWith(count))
    const [a, b, c] = metrics as [number, number, number]
    processes['ABC'.indexOf(where)]!++
    return { processes: before, metrics, gain: (where === 'B' ? b : c) - a }
  })
}

async function run(): Promise<Report> {
  const printed = { slowly: place(KAPPA_PAPER, SLOWLY_MS, true), quickly: place(KAPPA_PAPER, QUICKLY_MS, true) }
  const kappa = {
    paper: place(kappaWith('paper'), SLOWLY_MS, false),
    own: place(kappaWith('product'), SLOWLY_MS, false)
  }
  const found = accounts()
  const same = printed.quickly.filter(({ where }, index) => where === PAPER[index]).length
  const least = Math.min(...found.flatMap(({ gain }, index) => (PAPER[index] === 'A' || index === 0 ? [] : [gain])))
  const most = Math.max(...found.flatMap(({ gain }, index) => (PAPER[index] === 'A' && index > 0 ? [gain] : [])))
  return {
    summary: `${same} of the ten rows come out as printed when the jobs follow each other within one delay: the first stays for want of a reply, the next go to C through B. The others contradict the paper's own constant: with the ${PAPER_HOP_COST} that Table II shows, C is worth the way only until it has four jobs, and B never; all ten rows would need a constant between ${fixed(most, 1)} and ${fixed(least, 1)}.`,
    body: bodyOf(printed, kappa, found, { least, most }),
    plots: new Map([['kappa-table-3', plotOf(found)]])
  }
}

function bodyOf(
  printed: { slowly: Placed[]; quickly: Placed[] },
  kappa: { paper: Placed[]; own: Placed[] },
  found: Account[],
  constant: { least: number; most: number }
): string {
  const outcomes = PAPER.map((_, index) => [
    String(index + 1),
    SAID[index]!,
    wordsOf(printed.quickly[index]!),
    wordsOf(printed.slowly[index]!),
    wordsOf(kappa.paper[index]!),
    wordsOf(kappa.own[index]!)
  ])
  const replay = found.map(({ processes, metrics, gain }, index) => {
    const where = PAPER[index]!
    const holds = where === 'A' ? (index === 0 ? 'no reply' : `at least ${fixed(gain, 1)}`) : `below ${fixed(gain, 1)}`
    return [String(index + 1), where, ...processes.map(String), ...metrics.map((value) => fixed(value, 1)), holds]
  })
  const beyond = found.filter(({ gain }, index) => PAPER[index] !== 'A' && gain < PAPER_HOP_COST)
  return `A, B and C in a line, machines of one core; A and B run five endless loops each, C none. Ten endless jobs are started on A.
The strategy is \`kappa-paper\` (Algorithms I to III as printed, delay five seconds, the paper's metric); the reply to the first
probe is held up for ${HELD_UP_MS} ms, so that job 1 is one that doesn't wait for it.

${tableOf(
  [
    'process',
    'the paper',
    `as printed, ${QUICKLY_MS / 1_000} s apart`,
    `as printed, ${SLOWLY_MS / 1_000} s apart`,
    "kappa's rules, the paper's metric",
    "kappa's rules and metric"
  ],
  outcomes
)}

## Why not all rows

What were the metrics when the paper decided as it did? Its outcomes replayed, with the metrics of Table II (144.5 idle, 40.9
with four processes), all known as they are; the last column is what the constant taken for the way must be for the row to
come out.

${tableOf(['process', 'to', 'on A', 'on B', 'on C', 'metric A', 'metric B', 'metric C', 'the constant'], replay)}

${picture('kappa-table-3', "The metrics of A, B and C before each of the paper's ten decisions")}

- **Job 1** stays in both: it ran before the reply came.
- **Jobs 2 to 7 and 10**: ${beyond.length} of these seven gain less than the ${PAPER_HOP_COST} of Table II, even if it is taken only once for the two hops to C. A
  constant between ${fixed(constant.most, 1)} and ${fixed(constant.least, 1)} fits all ten rows. So the constant was smaller in this experiment than in that of Table
  II, or the reply's metric was compared without it. What is old doesn't explain it: the reply carries C's metric of that moment.
  Without any constant all rows come out but the ninth, and that one too if A's own metric is up to five seconds old, as it may be.
- **Jobs 8 and 9** stay as printed, and for the paper's reason: B still believes C to be better than itself and sends the probe
  on, and the reply shows that C is not worth it.
- **Late jobs that leave here**: each job that stays makes A worse, until C, a little better again by comparison, is worth the
  way once more.
- With a metric that is proportional to what a job gets (the last column) and slots that C's owner lends, C takes jobs until it is
  as busy as A; guests run at the lowest priority there, so on B, which its owner's loops fill, a guest gets next to nothing.
`
}

function wordsOf({ where, reason }: Placed): string {
  return `${where === 'A' ? 'stays' : `to ${where}`}: ${reason}`
}

function plotOf(found: Account[]): string {
  const lines: Line[] = ['A', 'B', 'C'].map((name, machine) => ({
    name: `metric of ${name}`,
    points: found.map(({ metrics }, index) => ({ x: index + 1, y: metrics[machine]! }))
  }))
  lines.push({
    name: `metric of C less ${PAPER_HOP_COST}`,
    points: found.map(({ metrics }, index) => ({ x: index + 1, y: metrics[2]! - PAPER_HOP_COST }))
  })
  return svgOf({
    title: "Kappa, Table III: the metrics before each of the paper's decisions",
    description: 'System metrics of A, B and C before each of the ten jobs, if these went where the paper says.',
    columns: 1,
    panels: [
      {
        title: 'job 1 stays, 2 to 7 go to C, 8 and 9 stay, 10 goes to B',
        x: {
          label: 'job',
          scale: 'linear',
          least: 0.5,
          most: 10.5,
          names: found.map((_, index) => ({ at: index + 1, name: String(index + 1) }))
        },
        y: { label: "metric (the paper's unit)", scale: 'log', least: 15, most: 200 },
        lines
      }
    ]
  })
}

export const kappaTable3: Study = { name: 'kappa-table-3', title: 'Kappa, Table III: increasing load', run }
