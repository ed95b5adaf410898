/**
 * The paper's Tables II and III on emulated hosts of this machine: each has a network, a process table and a CPU quota of its
 * own, so that it counts as a machine of its own. As in the paper all processes are equals (`metric.policy` and
 * `guests.nice`). Ends everything that it started. Needs root.
 */

import { cp } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Household } from '../benchmarks/household.ts'
import type { WhyResult } from '../src/daemon/control-results.ts'
import { Talk, type TestPeer, until } from '../test/end-to-end/peers.ts'
import { lanAvailable } from '../test/lan.ts'
import {
  type EndlessJob,
  endlessJob,
  type MachineEnd,
  PAPER_INCREASE,
  placedJob,
  type ShippedProgram,
  tableII,
  tableIII,
  tableOfEnds
} from './demo-tables.ts'

const PROGRAMS = fileURLToPath(new URL('demo-programs/', import.meta.url))
const PROGRAM_FILES = ['brute-force.awk', 'exponentiate.awk', 'primes.awk', 'hello-world.awk']
/** Three hosts on two cores leave something for the daemons' own work. */
const CORES = 0.6
const CONFIG = `slots = 16
[metric]
policy = "paper"
[guests]
nice = 0`
/** The kernel's bridge is the switch: no compiler is needed. */
const SWITCH = { delayUs: 0 }
const ENDLESS = ['sh', '-c', 'while :; do :; done']
/** Between two endless jobs: what they change has been measured and told by then. */
const PAUSE_MS = 2_500
/** "A was loaded with 4 processes"; "A and B were loaded with five processes each". */
const LOOPS_II = 4
const LOOPS_III = 5
const BURDENED = 2
/** Distribution metrics of idle machines, and the own ones of busy machines, are on the safe side of these. */
const IDLE_ABOVE = 100
const BUSY_BELOW = 45

export async function demonstrateLan(): Promise<void> {
  const reason = lanAvailable()
  if (reason !== undefined) throw new Error(`--lan emulates machines and ${reason}`)
  // What is emulated ends with this process.
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129]
  ] as const) {
    process.once(signal, () => process.exit(code))
  }
  await showShipping()
  await showIncrease()
}

// ------------------------------------------------------------------------------------------------------- Table II

async function showShipping(): Promise<void> {
  print(
    `Two machines of ${CORES} cores, A under ${LOOPS_II} endless loops, B idle. Programs started on A, at home and shipped:`
  )
  const household = await Household.make(2, { ...SWITCH, names: ['A', 'B'], cores: [CORES, CORES], config: CONFIG })
  try {
    const [a, b] = household.peers as [TestPeer, TestPeer]
    await cp(PROGRAMS, a.work, { recursive: true })
    burden(household, 0, LOOPS_II)
    await settled(a, { B: IDLE_ABOVE })
    const rows: ShippedProgram[] = []
    for (const file of PROGRAM_FILES) rows.push(await ship(a, b, file))
    print(`\nTable II, the paper's value / ours:\n${tableII(rows)}\n`)
  } finally {
    await household.close()
  }
}

async function ship(a: TestPeer, b: TestPeer, file: string): Promise<ShippedProgram> {
  const own = await a.status()
  const other = await b.status()
  const atHome = await timed(a, ['--local'], file)
  const shipped = await timed(a, [], file)
  if (atHome.stdout !== shipped.stdout) throw new Error(`${file} printed ${shipped.stdout} on ${shipped.target}`)
  const seen = (status: typeof own, name: string) => status.reachable.find((peer) => peer.name === name)?.metric
  print(
    `  ${file}: ${atHome.ms.toFixed(0)} ms at home, ${shipped.ms.toFixed(0)} ms on ${shipped.target}: ${shipped.reason}`
  )
  return {
    own: own.metric,
    other: other.metric,
    otherOnOwn: seen(own, 'B'),
    ownOnOther: seen(other, 'A'),
    homeMs: atHome.ms,
    shippedMs: shipped.ms,
    target: shipped.target
  }
}

async function timed(peer: TestPeer, options: string[], file: string) {
  const began = performance.now()
  const argv = ['run', '-v', ...options, '--in', file, 'awk', '-f', file]
  const { code, stdout, stderr } = await peer.kappa(argv)
  const ms = performance.now() - began
  if (code !== 0) throw new Error(`${file} ended with ${code}: ${stderr.trim()}`)
  const why = await whyOf(peer, stderr)
  return { ms, stdout, target: why.target ?? '?', reason: why.reason ?? '' }
}

// ------------------------------------------------------------------------------------------------------ Table III

async function showIncrease(): Promise<void> {
  print(`A, B and C in a line, A and B under ${LOOPS_III} endless loops each, C idle. Endless jobs started on A:`)
  const names = ['A', 'B', 'C']
  const household = await Household.make(names.length, {
    ...SWITCH,
    names,
    pairs: 'line',
    cores: names.map(() => CORES),
    config: CONFIG
  })
  try {
    for (let host = 0; host < BURDENED; host++) burden(household, host, LOOPS_III)
    await settled(household.home, { C: IDLE_ABOVE })
    const jobs: EndlessJob[] = []
    for (let count = 1; count <= PAPER_INCREASE.length; count++) {
      const job = await startEndless(household.home)
      jobs.push(job)
      print(`  ${count}: ${job.target === 'A' ? 'stays' : `to ${job.target}`}: ${job.reason}`)
      await delay(PAUSE_MS)
    }
    print(`\nTable III:\n${tableIII(jobs, ['B', 'C'])}`)
    print(
      '  A: its own metric; B on A, C on A: the distribution metrics that A knew, all just before the job was placed.'
    )
    print(`\nIn the end:\n${tableOfEnds(await ends(household, jobs))}`)
    print(
      '\nThe paper measured every five seconds, so jobs 3 to 7 went by old metrics, it seems; here each promise counts at once.'
    )
  } finally {
    await household.close()
  }
}

/** What each machine runs when all jobs are placed. */
async function ends(household: Household, jobs: EndlessJob[]): Promise<MachineEnd[]> {
  return await Promise.all(
    household.peers.map(async (peer, host) => ({
      name: peer.name,
      loops: host < BURDENED ? LOOPS_III : 0,
      jobs: jobs.filter(({ target }) => target === peer.name).length,
      metric: (await peer.status()).metric
    }))
  )
}

async function startEndless(home: TestPeer): Promise<EndlessJob> {
  const known = await home.status()
  const talk = new Talk(home.spawn(['run', '-v', '--plain', '--memory', '16m', ...ENDLESS]))
  await talk.hears(/^kappa: running .*\)$/m)
  return endlessJob(known, await whyOf(home, talk.stderr))
}

// --------------------------------------------------------------------------------------------------------- both

/** Loops of the owner's, which kappa knows only as load. */
function burden(household: Household, host: number, count: number): void {
  for (let index = 0; index < count; index++) household.lan.spawn(host, ENDLESS, { stdio: 'ignore' })
}

/** Waits until home's metric shows its load, and that of each named peer that it is idle. */
async function settled(home: TestPeer, idle: Record<string, number>): Promise<void> {
  await until('the metrics show who is idle', async () => {
    const { metric, reachable } = await home.status()
    const knows = ([name, above]: [string, number]) =>
      reachable.some((peer) => peer.name === name && peer.metric > above)
    return metric < BUSY_BELOW && Object.entries(idle).every(knows)
  })
}

async function whyOf(peer: TestPeer, said: string): Promise<WhyResult> {
  const job = placedJob(said)
  if (job === undefined) throw new Error(`kappa run did not say where the job ran: ${said.trim()}`)
  return JSON.parse(await peer.ok(['why', '--json', job]))
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}
