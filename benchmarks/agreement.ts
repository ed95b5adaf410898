/** Does the simulator tell what happens? The same jobs in the emulated LAN, by the real client and daemons, and in the simulator. */

import { loadavg } from 'node:os'
import type { Costs } from '../src/simulator/machine.ts'
import { type Estimate, estimate, meanOf } from '../src/simulator/statistics.ts'
import { AgreementLan, DELAY_MS, SLOTS } from './agreement-lan.ts'
import { apart, type Hosts, ownMs, simulate, stepByStep } from './agreement-simulator.ts'
import { isAsGood, isSame, type Place, type Played, partOf, type TracedJob, traceOf } from './agreement-trace.ts'
import { has, unavailable } from './household.ts'
import type { Benchmark, Result, Row } from './measure.ts'

/** Speeds for which some host is nearly always the best by more than what is taken for as good. */
const PLACES: readonly Place[] = [
  { topology: 'clique', cores: [0.25, 0.6, 0.45], bound: [0, 0, 1] },
  { topology: 'line', cores: [0.25, 0.45, 0.6], bound: [0, 1, 0] },
  { topology: 'star', cores: [0.26, 0.62, 0.44, 0.16], bound: [1, 0, 1, 0] }
]
const LOAD = 0.5
const TRACE_MS = 24_000
const SEEDS = 3
/** Chance in the simulator, beside each trace: when each peer samples and tells, whom of equals it asks. */
const CHANCES = 5

/** A trace is played again when its hosts got less of their cores than this: something else on this machine was in the way. */
const GOT_LEAST = 0.96
const PLAYED_AT_MOST = 3

/** One trace, played in both. */
interface Run {
  jobs: readonly TracedJob[]
  /** Part of their cores that its hosts got, at each time that it was played; the last counts. */
  got: number[]
  /** CPU time of kappa itself beside what was measured at first: more while more runs on this machine. */
  dearer: number
  real: Played[]
  /** By chance. */
  simulated: Played[][]
  stepwise: Played[]
}

function times({ daemon, placed, shipped, guest }: Costs, factor: number): Costs {
  return { daemon: daemon * factor, placed: placed * factor, shipped: shipped * factor, guest: guest * factor }
}

/** `costs` are measured unless given. */
async function playAt(place: Place, costs?: Costs): Promise<{ runs: Run[]; known: Hosts }> {
  const lan = await AgreementLan.make(place)
  try {
    const speed = await lan.speed()
    const known: Hosts = { speed, costs: costs ?? (await lan.costs()), slots: SLOTS, delayMs: DELAY_MS }
    const runs: Run[] = []
    for (let seed = 1; seed <= SEEDS; seed++) {
      const jobs = apart(place, known, traceOf(place, LOAD, TRACE_MS, seed), seed)
      const got: number[] = []
      let last = await lan.play(jobs)
      for (got.push(last.got); last.got < GOT_LEAST && got.length < PLAYED_AT_MOST; got.push(last.got)) {
        last = await lan.play(jobs)
      }
      const real = last.played
      const dearer = last.ownMs / ownMs(place, known, jobs, real)
      const hosts = { ...known, costs: times(known.costs, dearer) }
      const chances = Array.from({ length: CHANCES }, (_, chance) => CHANCES * seed + chance)
      const targets = real.map(({ target }) => target)
      runs.push({
        jobs,
        got,
        dearer,
        real,
        simulated: chances.map((chance) => simulate(place, hosts, jobs, chance)),
        stepwise: stepByStep(place, hosts, jobs, seed, targets)
      })
    }
    return { runs, known }
  } finally {
    await lan.close()
  }
}

function percent(values: number[]): string {
  return `${(100 * meanOf(values)).toFixed(0)} %`
}

function sure({ mean, halfWidth }: Estimate): string {
  return `${mean.toFixed(2)} ± ${halfWidth.toFixed(2)}`
}

function rowOf(what: string, runs: Run[]): Row {
  const meanS = (played: Played[]) => meanOf(played.map(({ responseMs }) => responseMs)) / 1_000
  const perJob = (agree: typeof isSame, others: (run: Run) => Played[][]) =>
    runs.flatMap((run) => {
      const parts = others(run).map((other) => partOf(run.real, other, agree))
      return run.jobs.map(() => meanOf(parts))
    })
  const simulated = (run: Run) => run.simulated
  const itself = runs.flatMap(({ simulated: [one, ...others] }) => others.map((other) => partOf(one!, other, isSame)))
  const real = runs.map((run) => meanS(run.real))
  const expected = runs.map((run) => meanOf(run.simulated.map(meanS)))
  return {
    what,
    values: {
      jobs: runs.reduce((sum, { jobs }) => sum + jobs.length, 0),
      'same target': percent(perJob(isSame, simulated)),
      'same or as good': percent(perJob(isAsGood, simulated)),
      'same, step by step': percent(perJob(isSame, ({ stepwise }) => [stepwise])),
      'simulator with itself': percent(itself),
      'mean s in the LAN': sure(estimate(real)),
      'mean s simulated': sure(estimate(expected)),
      'LAN / simulated': sure(estimate(real.map((value, index) => value / expected[index]!)))
    }
  }
}

async function run(): Promise<Result> {
  const rows: Row[] = []
  const all: Run[] = []
  const loads: number[] = []
  let hosts: Hosts | undefined
  for (const place of PLACES) {
    const { topology, cores } = place
    const played = await playAt(place, hosts?.costs)
    hosts = played.known
    all.push(...played.runs)
    loads.push(loadavg()[0]!)
    rows.push(rowOf(`${topology} of ${cores.length}: ${cores.join(', ')} cores`, played.runs))
  }
  rows.push(rowOf('all', all))
  const { daemon, placed, shipped, guest } = hosts!.costs
  const ms = (value: number) => `${value.toFixed(1)} ms`
  return {
    question: 'Does the simulator tell what happens?',
    rows,
    notes: [
      `${SEEDS} traces of ${TRACE_MS / 1_000} s each, load ${LOAD}; each host's core is bound to a CPU, and runs at that part of its time`,
      `simulated ${CHANCES} times each; ± is 95 % confidence over traces`,
      'as good: each had as well gone where the other went, by what its home knew, within the quarter that is taken for equal',
      'step by step: each job after the true history of all before it',
      `told to the simulator beside the cores: static score ${hosts!.speed.toFixed(3)}; CPU time of kappa itself: ${ms(1_000 * daemon)} each second, ${ms(placed)} for each job at home, ${ms(shipped)} more for a shipped one, ${ms(guest)} for each guest; ${all.map((one) => one.dearer.toFixed(2)).join(', ')} times as much while the traces were played`,
      `hosts got ${all.map(({ got }) => got.map((part) => `${(100 * part).toFixed(0)} %`).join(' and then ')).join(', ')} of their cores while they had jobs; under ${100 * GOT_LEAST} % a trace is played again`,
      `load average of the machine after each: ${loads.map((load) => load.toFixed(1)).join(', ')}`
    ]
  }
}

export const benchmark: Benchmark = {
  question: 'Does the simulator tell what happens?',
  unavailable: () => unavailable() ?? (has('perl') ? undefined : 'needs the program perl'),
  run
}
