/**
 * Runs on the host that is measured: jobs in turns, in a sandbox and by a bare spawn; prints milliseconds as JSON. With
 * `sandbox` or `bare` as the second argument only those, for their CPU time.
 */

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Home } from '../src/execution/homes.ts'
import { Executor } from '../src/execution/job.ts'

const [rounds, only] = [Number(process.argv[2]), process.argv[3]]
const home: Home = { peerId: 'benchmark', kind: 'own' }
const scratch = mkdtempSync(join(tmpdir(), 'kappa-bench-'))
const executor = await Executor.open({ scratchDirectory: join(scratch, 'jobs') })
const available = await executor.available()
if (!available.ok) throw new Error(`no sandbox: ${available.reason}; ${available.mend}`)

/** From the wish to the end of the command. */
async function sandboxed(): Promise<number> {
  const began = performance.now()
  const job = await executor.begin({ home, argv: [Buffer.from('true')], env: [], umask: 0o22, limits: [] })
  job.start()
  const { exitCode } = await job.ended
  const ms = performance.now() - began
  if (exitCode !== 0) throw new Error(`true ended with ${exitCode} in the sandbox`)
  await job.close()
  return ms
}

function bare(): Promise<number> {
  const began = performance.now()
  return new Promise((resolve, reject) => {
    spawn('true', { stdio: ['pipe', 'pipe', 'pipe'] })
      .once('error', reject)
      .once('close', () => resolve(performance.now() - began))
  })
}

/** Spare cells are made while a daemon waits for the next job. */
const pause = () => new Promise((resolve) => setTimeout(resolve, 50))

const times: Record<string, number[]> = { first: [await sandboxed()], sandbox: [], bare: [] }
for (let round = 0; round < rounds; round++) {
  if (only !== 'bare') {
    await pause()
    times.sandbox!.push(await sandboxed())
  }
  if (only !== 'sandbox') {
    await pause()
    times.bare!.push(await bare())
  }
}
await executor.close()
rmSync(scratch, { recursive: true })
process.stdout.write(`${JSON.stringify(times)}\n`)
