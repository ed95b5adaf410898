/**
 * Stands for a daemon and its owner: how much CPU time do the owner's own process and guests get who all want the same
 * core? Prints both in ms as JSON, and whether a cgroup holds the guests. Arguments: seconds, sessions of each guest.
 */

import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Home } from '../src/execution/homes.ts'
import { Executor, type Job } from '../src/execution/job.ts'

const SECONDS = Number(process.argv[2])
const SESSIONS = Number(process.argv[3])
/** Guests on the owner's core, as many as slots are for each. */
const GUESTS = 2
/** In hundredths of a second, of every Linux. */
const TICK_MS = 10
/** Sessions of guests are lowered each second, and ten in a second at most. */
const SETTLE_MS = 5_000

const ENDLESS = 'while :; do :; done'
const home: Home = { peerId: 'benchmark', kind: 'friend' }
const scratch = mkdtempSync(join(tmpdir(), 'kappa-bench-'))
const executor = await Executor.open({ scratchDirectory: join(scratch, 'jobs') })
const available = await executor.available()
if (!available.ok) throw new Error(`no sandbox: ${available.reason}; ${available.mend}`)

const owner = spawn('setsid', ['taskset', '-c', '0', 'sh', '-c', ENDLESS], { stdio: 'ignore' })
process.once('exit', () => owner.kill('SIGKILL'))

/** CPU time of a process, by its directory of /proc. */
function cpuMs(process: string): number {
  const stat = readFileSync(`${process}/stat`, 'latin1')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS
}

const ownerMs = () => cpuMs(`/proc/${owner.pid}`)
const guestsMs = (jobs: readonly Job[]) =>
  jobs.flatMap((job) => job.processes()).reduce((sum, of) => sum + cpuMs(of), 0)

const jobs: Job[] = []
for (let index = 0; index < GUESTS; index++) {
  const script = `${`setsid sh -c '${ENDLESS}' & `.repeat(SESSIONS - 1)}${ENDLESS}`
  const argv = ['taskset', '-c', '0', 'sh', '-c', script].map((word) => Buffer.from(word))
  const job = await executor.begin({ home, argv, env: [], umask: 0o22, limits: [] })
  job.start()
  jobs.push(job)
}
await pause(SETTLE_MS)
const [owned, guested] = [ownerMs(), guestsMs(jobs)]
await pause(SECONDS * 1_000)
const [ownersMs, otherMs] = [ownerMs() - owned, guestsMs(jobs) - guested]
await Promise.all(jobs.map((job) => job.close()))
owner.kill('SIGKILL')
await executor.close()
rmSync(scratch, { recursive: true })
process.stdout.write(`${JSON.stringify({ ownersMs, guestsMs: otherMs, grouped: executor.weighs })}\n`)
