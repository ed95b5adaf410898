/** What does the owner notice of guests that want everything: CPU time, and the daemon's answers? */

import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { findProgram } from '../src/execution/tools.ts'
import { pair, TestPeer } from '../test/end-to-end/peers.ts'
import { type Benchmark, median, type Result, type Row, round } from './measure.ts'

const SECONDS = 5
const OWNER = fileURLToPath(new URL('guests-owner.ts', import.meta.url))

/** A user who may make no cgroup. */
const NOBODY = '54321'

const LIMITS = '[guests]\nmemory = "512 MiB"\nprocesses = 500\ndisk = "256 MiB"\ntime = "30s"'

/** Of each guest: a session is what the kernel shares the CPU among, where there is no cgroup. */
const MANY_SESSIONS = 8

/** Perl's strings are touched as they are made. */
const HUNGRY: Record<string, string[]> = {
  allocates: ['perl', '-e', 'while (1) { push @a, "x" x (16 << 20); select(undef, undef, undef, 0.01) }'],
  forks: ['perl', '-e', 'while (1) { fork // select(undef, undef, undef, 0.01) }'],
  writes: ['sh', '-c', 'i=0; while :; do head -c 4000000 /dev/zero >f$i; i=$((i+1)); done'],
  'makes sessions': ['perl', '-MPOSIX', '-e', 'for (1..100) { fork or do { setsid(); 1 while 1 } } sleep 1000']
}

interface Shares {
  ownersMs: number
  guestsMs: number
  grouped: boolean
}

function shares(as: string[], sessions: number): Shares {
  const [command, ...args] = [...as, process.execPath, OWNER, String(SECONDS), String(sessions)]
  const { stdout, stderr, status } = spawnSync(command!, args, { cwd: '/', encoding: 'utf8' })
  if (status !== 0) throw new Error(stderr)
  return JSON.parse(stdout)
}

/** Whatever else runs on the machine takes from both. */
function shareRow(as: string[], sessions: number): Row {
  const { ownersMs, guestsMs, grouped } = shares(as, sessions)
  const how = `${grouped ? 'a cgroup' : 'no cgroup'}, ${sessions} session(s) each`
  const part = ownersMs / (ownersMs + guestsMs)
  return { what: `a core, two guests on it too, ${how}`, values: { "the owner's, %": round(part * 100) } }
}

/** How long `kappa status` takes while a guest does this; ms of each. */
async function answers(home: TestPeer, target: TestPeer, argv: string[]): Promise<number[]> {
  const run = home.spawn(['run', '--plain', '--on', 'target', '--', ...argv])
  const ended = once(run, 'exit')
  const times: number[] = []
  for (const end = performance.now() + SECONDS * 1_000; performance.now() < end; ) {
    const began = performance.now()
    await target.ok(['status'])
    times.push(performance.now() - began)
  }
  run.kill('SIGTERM')
  await ended
  return times
}

async function run(): Promise<Result> {
  const rows: Row[] = []
  const notes: string[] = []
  const setpriv = findProgram('setpriv')
  const users = [[]] as string[][]
  if (process.getuid!() === 0 && setpriv !== null) {
    users.push([setpriv, '--reuid', NOBODY, '--regid', NOBODY, '--clear-groups'])
  } else notes.push('only one of with and without a cgroup: it takes root to be somebody else')
  for (const as of users) for (const sessions of [1, MANY_SESSIONS]) rows.push(shareRow(as, sessions))
  const teardowns: (() => unknown)[] = []
  const test = { teardown: (teardown: () => unknown) => teardowns.push(teardown) } as never
  try {
    const home = await TestPeer.start(test, { name: 'home' })
    const target = await TestPeer.start(test, { name: 'target', config: LIMITS })
    await pair(home, target, 'friend')
    for (const [what, argv] of Object.entries({ 'does nothing': ['sleep', '1000'], ...HUNGRY })) {
      const times = await answers(home, target, argv)
      const values = { 'status, median ms': round(median(times)), 'most ms': round(Math.max(...times)) }
      rows.push({ what: `a guest that ${what}`, values })
    }
  } finally {
    for (const teardown of teardowns.reverse()) await teardown()
  }
  return { question: 'What the owner notices of guests that want everything', rows, notes }
}

export const benchmark: Benchmark = { question: 'Guests that want everything', run }
