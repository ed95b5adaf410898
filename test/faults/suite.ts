/**
 * Real daemons, real jobs, and whatever can go wrong, by a seed; judged by what each job wrote itself: at most once, every
 * end true, every byte right, nothing left behind. The clocks of hosts can't be stepped one by one on one machine: that isn't played.
 */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Test } from 'tap'
import { jobProcesses, until } from '../end-to-end/peers.ts'
import { Household } from './household.ts'
import { complaint, type Outcome, play } from './jobs.ts'
import { type FaultPlan, type PlanKind, planOf } from './plan.ts'

/** Everything of a job is gone within this time after the last fault and the last end. */
const NOTHING_LEFT_MS = 30_000
/** The lease is 8 s, and the last word may have been a second before the cut. */
const NEARLY_A_LEASE_MS = 6_500
/** A client ends within this time, whatever happens; queued ones aside. */
const PATIENCE_MS = 90_000

export interface Verdict {
  jobs: number
  faults: number
  /** Jobs whose client was told their own end; that they may have run; that they did not. */
  exact: number
  unknown: number
  nothing: number
  /** Why jobs did not run, with how many, most frequent first. */
  reasons: [reason: string, count: number][]
  /** One line for each breach. */
  breaches: string[]
  /** What the daemons said, host by host. */
  logs: string[]
}

interface Played extends FaultPlan {
  fromMs: number
  toMs: number
}

/** `t` gets what is to be undone at the end. */
export async function runSuite(
  t: Pick<Test, 'teardown'>,
  seed: number,
  durationMs: number,
  kind: PlanKind = 'all'
): Promise<Verdict> {
  const directory = mkdtempSync(join(tmpdir(), 'kappa-faults-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const plan = planOf(seed, durationMs, kind)
  const household = await Household.start(t, directory)
  const { peers } = household
  await household.settled()
  const before = await Promise.all(peers.map((_, host) => holdings(household, host)))
  const startedAt = performance.now()
  const sinceMs = () => performance.now() - startedAt
  const faults: Played[] = []
  const breaches: string[] = []
  const breaking = plan.faults.map(async (fault) => {
    await delay(Math.max(0, fault.atMs - sinceMs()))
    const fromMs = sinceMs()
    try {
      if (await household.suffer(fault)) faults.push({ ...fault, fromMs, toMs: sinceMs() })
    } catch (error) {
      breaches.push(`${fault.name} of p${fault.host} at ${seconds(fromMs)}: ${error}`)
    }
  })
  const playing = plan.jobs.map(async (job) => {
    await delay(Math.max(0, job.atMs - sinceMs()))
    return play(peers[job.home]!, job, sinceMs)
  })
  await Promise.all(breaking)
  await household.settled().catch((error) => breaches.push(`afterwards: ${error}`))
  const outcomes = await inTime(playing)
  const over = outcomes.filter((one) => one !== undefined)
  breaches.push(...judge(over, faults, household), ...(await household.bugs()))
  for (const [index, one] of outcomes.entries()) {
    if (one === undefined) breaches.push(`${plan.jobs[index]!.id} never ended: ${JSON.stringify(plan.jobs[index])}`)
  }
  breaches.push(...(await leftovers(seed, household, before)))
  const ends = outcomes.map((one) => one?.ended.code)
  const [unknown, nothing] = [123, 125].map((code) => ends.filter((end) => end === code).length) as [number, number]
  const exact = outcomes.length - unknown - nothing
  const reasons = reasonsOf(over)
  const logs = await household.logs()
  return { jobs: outcomes.length, faults: faults.length, exact, unknown, nothing, reasons, breaches, logs }
}

async function inTime(playing: Promise<Outcome>[]): Promise<(Outcome | undefined)[]> {
  const late = delay(PATIENCE_MS, undefined, { ref: false })
  return Promise.all(playing.map((one) => Promise.race([one, late])))
}

function judge(outcomes: Outcome[], faults: Played[], household: Household): string[] {
  const began = new Map<string, number>()
  const finished = new Map<string, number>()
  for (const line of household.log()) {
    const [word, id] = line.split(' ')
    const counts = word === 'begin' ? began : word === 'end' ? finished : undefined
    if (id !== undefined) counts?.set(id, (counts.get(id) ?? 0) + 1)
  }
  return outcomes.flatMap((outcome) => {
    const { job, ended, fromMs, toMs } = outcome
    const met = faults.filter((fault) => fault.fromMs < toMs && fault.toMs > fromMs)
    const excuses = {
      ended: met.some(({ name }) => name === 'stop daemon' || name === 'pause lending' || name === 'full disk'),
      silent: met.some(({ fromMs: from, toMs: to }) => to - from >= NEARLY_A_LEASE_MS)
    }
    const wrong = complaint(outcome, began.get(job.id) ?? 0, finished.get(job.id) ?? 0, excuses)
    if (wrong === undefined) return []
    const during = met.map(
      ({ name, host, fromMs: from, toMs: to }) => `${name} p${host} ${seconds(from)}-${seconds(to)}`
    )
    const said = ended.stderr.trim().replaceAll('\n', ' / ')
    return [
      `${job.id} ${wrong}: ${job.kind} ${job.options.join(' ')} of p${job.home}, ${seconds(fromMs)}-${seconds(toMs)}, said: ${said}; met: ${during.join(', ')}`
    ]
  })
}

/** Names and numbers left out. */
function reasonsOf(outcomes: Outcome[]): [string, number][] {
  const counts = new Map<string, number>()
  for (const { ended } of outcomes) {
    if (ended.code !== 125) continue
    const reason = ended.stderr
      .trim()
      .replaceAll(/\bp\d\b/g, 'PEER')
      .replace(/why \w+/, 'why JOB')
      .replaceAll(/\d+/g, 'N')
    counts.set(reason, (counts.get(reason) ?? 0) + 1)
  }
  return [...counts].sort(([, one], [, other]) => other - one)
}

function seconds(ms: number): string {
  return (ms / 1_000).toFixed(1)
}

/** Processes of jobs, descriptors of daemons, scratch directories. */
async function leftovers(seed: number, household: Household, before: Holdings[]): Promise<string[]> {
  const found: string[] = []
  const none = async (what: string, count: () => number | Promise<number>) => {
    let last = 0
    try {
      await until(what, async () => (last = await count()) === 0, NOTHING_LEFT_MS)
    } catch {
      found.push(`left behind: ${last} ${what}`)
    }
  }
  await none('processes of jobs', () => jobProcesses(`kappa-fault-${seed}-`).length)
  for (const [host, then] of before.entries()) {
    const more = async (what: keyof Holdings) => {
      const now = await holdings(household, host)
      return Math.max(0, now[what] - then[what] - SPARE[what])
    }
    for (const what of ['descriptors', 'scratch', 'processes'] as const) {
      await none(`${what} of p${host} more than at the start`, () => more(what))
    }
  }
  return found
}

interface Holdings {
  /** Of the daemon. */
  descriptors: number
  /** Scratch directories of jobs. */
  scratch: number
  /** Of the whole host. */
  processes: number
}

/** More connections may stand than at the start, and cells be made ahead. */
const SPARE: Holdings = { descriptors: 40, scratch: 4, processes: 12 }

async function holdings(household: Household, host: number): Promise<Holdings> {
  const { lan, peers } = household
  const count = `ls /proc/${await household.daemonOf(host)}/fd | wc -l; ls ${peers[host]!.inside}/state/scratch | wc -l`
  const { stdout } = await lan.run(host, ['sh', '-c', count])
  const [descriptors, scratch] = stdout.split('\n').map(Number) as [number, number]
  return { descriptors, scratch, processes: lan.processes(host) }
}
