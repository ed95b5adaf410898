/** What a run of the fault suite does, all from its seed: which jobs are asked for, and what is broken meanwhile. */

import { between, integer, pick, type Random, randomFrom, seedFor } from '../../src/simulator/random.ts'

export const HOSTS = 3

/** The end that a job has if nothing goes wrong: its exit status, or the signal that it sends itself. */
export interface JobPlan {
  /** Its argument, by which its processes and its lines in the log are known. */
  id: string
  home: number
  atMs: number
  /** Options of `kappa run`. */
  options: readonly string[]
  kind: 'exit' | 'signal' | 'echo' | 'output' | 'orphans'
  lastsMs: number
  code: number
  signal: 'TERM' | 'KILL' | 'INT'
  /** Bytes of stdin for `echo`; lines of stdout for `output`. */
  amount: number
  /** Its client is killed so long after it was asked for. */
  killedMs: number | undefined
}

export const FAULTS = [
  'kill daemon',
  'stop daemon',
  'unplug',
  'drop',
  'freeze',
  'new address',
  'pause lending',
  'full disk',
  'upgrade'
] as const
export type FaultName = (typeof FAULTS)[number]

export interface FaultPlan {
  name: FaultName
  host: number
  atMs: number
  lastsMs: number
}

/** Everything, or cables alone, cut for less than the lease under jobs that stream: then each comes to its own end. */
export type PlanKind = 'all' | 'cuts'

export interface Plan {
  seed: number
  jobs: JobPlan[]
  /** One after the other; the next may begin before the last is over. */
  faults: FaultPlan[]
}

/** Within the lease, around it, and beyond it with the time to kill. */
const LASTING_MS = [200, 1_000, 3_000, 6_000, 9_000, 16_000]
const JOBS_PER_SECOND = 3
const FAULT_EACH_MS = 3_000
/** The disk of this host's daemon can be filled. */
export const SMALL_DISK = 2

export function planOf(seed: number, durationMs: number, kind: PlanKind = 'all'): Plan {
  return kind === 'all' ? planOfAll(seed, durationMs) : planOfCuts(seed, durationMs)
}

function planOfAll(seed: number, durationMs: number): Plan {
  const random = randomFrom(seedFor(seed, 'fault suite'))
  const jobs: JobPlan[] = []
  for (let atMs = 0; atMs < durationMs; atMs += between(random, 0, 2_000 / JOBS_PER_SECOND)) {
    jobs.push(jobOf(`kappa-fault-${seed}-${jobs.length}.`, atMs, random))
  }
  const faults: FaultPlan[] = []
  for (let atMs = 1_000; atMs < durationMs; atMs += between(random, 0, 2 * FAULT_EACH_MS)) {
    const name = pick(random, FAULTS)
    const host = name === 'full disk' ? SMALL_DISK : integer(random, 0, HOSTS - 1)
    faults.push({ name, host, atMs, lastsMs: pick(random, LASTING_MS) })
  }
  return { seed, jobs, faults }
}

const CUT_MS = [1_000, 3_000, 6_000]
/** Connections stand again between two cuts. */
const BETWEEN_CUTS_MS = 4_000
/** At 200 kB/s an echo of so much lives through a cut or two. */
const STREAMED_BYTES = 3_000_000

function planOfCuts(seed: number, durationMs: number): Plan {
  const random = randomFrom(seedFor(seed, 'cuts'))
  const jobs: JobPlan[] = []
  for (let atMs = 0; atMs < durationMs; atMs += between(random, 0, 4_000)) {
    const job = jobOf(`kappa-fault-${seed}-${jobs.length}.`, atMs, random)
    const other = `p${(job.home + integer(random, 1, HOSTS - 1)) % HOSTS}`
    const streams = { kind: 'echo', amount: STREAMED_BYTES, killedMs: undefined } as const
    jobs.push({ ...job, ...streams, options: ['--wait', '--on', other] })
  }
  const faults: FaultPlan[] = []
  for (let atMs = 2_000; atMs < durationMs; ) {
    const name = pick(random, ['unplug', 'drop', 'unplug', 'drop', 'new address'] as const)
    const lastsMs = pick(random, CUT_MS)
    faults.push({ name, host: integer(random, 0, HOSTS - 1), atMs, lastsMs })
    atMs += lastsMs + BETWEEN_CUTS_MS
  }
  return { seed, jobs, faults }
}

function jobOf(id: string, atMs: number, random: Random): JobPlan {
  const home = integer(random, 0, HOSTS - 1)
  const other = `p${(home + integer(random, 1, HOSTS - 1)) % HOSTS}`
  return {
    id,
    home,
    atMs,
    ...pick(random, [
      ...(['exit', 'signal', 'echo', 'output'] as const).flatMap((kind) => {
        const ways = [[], ['--remote'], ['--on', other], ['--not', other], ['--wait', '--remote'], ['--local']]
        return ways.map((options) => ({ kind, options }))
      }),
      // At home they are their user's own, and stay.
      { kind: 'orphans', options: ['--remote'] } as const,
      { kind: 'orphans', options: ['--on', other] } as const
    ]),
    lastsMs: pick(random, [0, 50, 500, 2_000, 5_000]),
    code: pick(random, [0, 0, 1, 7, 255]),
    signal: pick(random, ['TERM', 'KILL', 'INT']),
    amount: pick(random, [0, 1, 5_000, 200_000]),
    killedMs: random() < 0.05 ? between(random, 0, 3_000) : undefined
  }
}
