/** Table II of the Kappa paper: A under four processes, B idle; the metrics, the probe, and what moving gains. */

import { fixed, picture, tableOf } from './markdown.ts'
import {
  CONVERGED_MS,
  KAPPA_PAPER,
  kappaWith,
  known,
  placeOf,
  reasonOf,
  simulationOf,
  start
} from './paper-machines.ts'
import { type Line, svgOf } from './plot.ts'
import type { Report, Study } from './study.ts'

interface Program {
  name: string
  a: number
  b: number
  bOnA: number
  aOnB: number
  ms: number
}

/** As printed. */
const PAPER: readonly Program[] = [
  { name: 'Brute Force', a: 37, b: 148, bOnA: 133, aOnB: 22, ms: 2288 },
  { name: 'Exponentiate', a: 35, b: 144, bOnA: 129, aOnB: 20, ms: 3697 },
  { name: 'Prime', a: 42, b: 145, bOnA: 130, aOnB: 27, ms: 2741 },
  { name: 'Hello World', a: 37, b: 141, bOnA: 126, aOnB: 22, ms: 3176 }
]
const LOOPS = [4, 0]
const CORES = [1, 2, 3, 4]
/** "An improvement of 50% to 200% in execution time"; "around 90% for CPU intensive applications". */
const CLAIMED = { from: 1.5, to: 3, name: 'the paper: 50 to 200 % better' }
/** Between two jobs all is quiet again. */
const PAUSE_MS = 30_000

interface Measured {
  a: number
  b: number
  bOnA: number
  aOnB: number
  homeMs: number
  movedMs: number
  reason: string
}

/** One program on machines of so many cores: at home first, then wherever the probe leads. */
function measure(strategy: typeof KAPPA_PAPER, cores: number, workMs: number): Measured {
  const simulation = simulationOf({ loops: LOOPS, cores, strategy })
  simulation.time.runUntil(CONVERGED_MS)
  const [stayed, moved, other] = [true, false, false].map((stays, index) => {
    const job = start(simulation, index < 2 ? 'A' : 'B', workMs, stays)
    simulation.time.runUntil(simulation.time.now + PAUSE_MS)
    return job
  })
  if (placeOf(moved!) !== 'B') throw new Error(`the program went to ${placeOf(moved!)}: ${reasonOf(moved!.trace)}`)
  return {
    a: known(moved!, 'A')!.metric,
    b: known(other!, 'B')!.metric,
    bOnA: known(moved!, 'B')!.metric,
    aOnB: known(other!, 'A')!.metric,
    homeMs: stayed!.endedAt! - stayed!.at,
    movedMs: moved!.endedAt! - moved!.at,
    reason: reasonOf(moved!.trace)
  }
}

async function run(): Promise<Report> {
  const printed = PAPER.map(({ ms }) => measure(KAPPA_PAPER, 1, ms))
  const sound = PAPER.map(({ ms }) => measure(kappaWith('paper'), 1, ms))
  const byCores = CORES.map((cores) => ({ cores, ...measure(KAPPA_PAPER, cores, PAPER[0]!.ms) }))
  const [first] = printed
  const gains = byCores.map(({ homeMs, movedMs }) => homeMs / movedMs)
  return {
    summary: `The metrics of Table II come out: ${fixed(first!.a, 0)} for A under four processes, ${fixed(first!.b, 0)} for B idle, ${fixed(first!.bOnA, 0)} for B as A sees it and ${fixed(sound[0]!.aOnB, 0)} for A as B sees it, the last only where nobody hears his own value back, as he does by Algorithm I as printed. Moving makes a program ${gains.map((gain) => fixed(gain, 1)).join(', ')} times as fast on machines of ${CORES.join(', ')} cores, all with the same metrics under load: the paper's 50 to 200 % are what two or three cores give.`,
    body: bodyOf(printed, sound, byCores),
    plots: new Map([['kappa-table-2', plotOf(gains)]])
  }
}

function bodyOf(printed: Measured[], sound: Measured[], byCores: (Measured & { cores: number })[]): string {
  const beside = (paper: number, here: number) => `${paper} / ${fixed(here, 0)}`
  const metrics = PAPER.map((program, index) => {
    const here = printed[index]!
    return [
      program.name,
      beside(program.a, here.a),
      beside(program.b, here.b),
      beside(program.bOnA, here.bOnA),
      beside(program.aOnB, here.aOnB),
      beside(program.aOnB, sound[index]!.aOnB),
      here.reason
    ]
  })
  const times = PAPER.map(({ name, ms }, index) => {
    const { homeMs, movedMs } = printed[index]!
    return [name, String(ms), fixed(homeMs, 0), fixed(movedMs, 0), `${fixed(homeMs / movedMs, 1)} ×`]
  })
  const cores = byCores.map(({ cores, a, b, homeMs, movedMs }) => [
    String(cores),
    fixed(a, 1),
    fixed(b, 1),
    `${fixed(homeMs / movedMs, 2)} ×`,
    `${fixed((homeMs / movedMs - 1) * 100, 0)} %`
  ])
  return `## Metrics

A runs four endless loops, B nothing; a program is started on A. Paper / here, by the paper's equations and algorithms
(\`kappa-paper\`, five seconds); the last column of A on B is by kappa's own propagation with the paper's metric.

${tableOf(
  ['program', 'metric of A', 'metric of B', 'B on A', 'A on B, as printed', 'A on B, kappa', 'what the reply decided'],
  metrics
)}

- The paper gives ranges: A 35 to 45, B 140 to 150, B on A 125 to 135, A on B 20 to 30. Its values differ from program to
  program because the load of a real machine does; a simulated loop computes all the time.
- **A on B as printed is not what the paper measured.** By step 10 of Algorithm I, A sends on the best that it knows, which
  is B itself: 145 − 15 = 130 arrives at B, less 15 is 115. The paper's 20 to 30 are A's own metric less 15. So its
  program did not tell a neighbour of the value that came from it, or Table II shows the first round. Kappa filters what was
  learned from a neighbour before it chooses what to tell it, and gets 26.
- Equations (3) and (4) can't be what was run, as printed: an idle machine would get the lowest value, and a busy one the
  same however many processes it runs. Here the share of all time slices that a newcomer gets is multiplied, not divided by,
  and one constant that (3) leaves open was chosen by this table (\`src/core/metric.ts\`).

## Execution times

The paper's one time for each program is taken as its time on B; times in ms, machines of one core, all processes equal.

${tableOf(['program', 'paper', 'here on A, under load', 'here moved to B', 'moving gains'], times)}

On one core a newcomer is the fifth process on A and alone on B: five times as fast, which is more than the "50% to 200%" of
the paper's abstract and the "around 90%" of its end. What the newcomer gets depends on the cores, the paper's metric does not:

${tableOf(['cores of each', 'metric of A', 'metric of B', 'moving gains', 'better by'], cores)}

${picture('kappa-table-2', 'What moving gains, by the number of cores')}

With two cores, usual for the paper's time, four processes leave 2/5 of a core to each of five: 150 % are gained, with three
67 %. The metric is a share of all time slices of a machine, so it promises a factor of ${fixed(byCores[0]!.b / byCores[0]!.a, 1)}
whatever the cores; kappa's own metric counts the cores that one job can use. What the paper's system calls cost on their way
home, which would lower the gain, is not simulated: kappa does not ship them.
`
}

function plotOf(gains: readonly number[]): string {
  const lines: Line[] = [
    {
      name: 'time on A under four processes / time when moved to B',
      points: gains.map((y, index) => ({ x: CORES[index]!, y }))
    }
  ]
  return svgOf({
    title: 'Kappa, Table II: what moving gains',
    description: 'Execution time at home divided by that of the moved program, by the number of cores of each machine.',
    columns: 1,
    panels: [
      {
        title: 'A under four endless loops, B idle, all machines alike',
        x: {
          label: 'cores of each machine',
          scale: 'linear',
          least: 0.5,
          most: 4.5,
          names: CORES.map((at) => ({ at, name: String(at) }))
        },
        y: { label: 'times as fast', scale: 'linear', least: 0, most: 6 },
        lines,
        band: CLAIMED
      }
    ]
  })
}

export const kappaTable2: Study = { name: 'kappa-table-2', title: 'Kappa, Table II: one program moved', run }
