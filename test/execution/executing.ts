/** Runs jobs for the tests of this folder. */

import { mkdtempSync, readdirSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { JobEnd } from '../../src/core/types.ts'
import type { Home } from '../../src/execution/homes.ts'
import { Executor, type ExecutorInit, type Job, type JobSpec } from '../../src/execution/job.ts'
import { removeTree } from '../../src/execution/removal.ts'
import { needs } from '../require.ts'

export const FRIEND: Home = { peerId: 'a-friend', kind: 'friend' }
export const OWN: Home = { peerId: 'my-own', kind: 'own' }

/** A directory that only this user may enter, outside of the checkout, removed at the end. */
export function place(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'kappa-execution-'))
  t.teardown(() => removeTree(directory))
  return directory
}

/** An executor with a working sandbox, or null when the test was skipped. */
export async function sandboxed(t: Test, init: Partial<ExecutorInit> = {}): Promise<Executor | null> {
  const executor = await Executor.open({ scratchDirectory: join(place(t), 'scratch'), ...init })
  t.teardown(() => executor.close())
  const available = await executor.available()
  if (!needs(t, available.ok, available.ok ? '' : `a sandbox: ${available.reason}`)) return null
  return executor
}

export function bytes(words: readonly (string | Uint8Array)[]): Uint8Array[] {
  return words.map((word) => (typeof word === 'string' ? Buffer.from(word) : word))
}

export function specOf(argv: readonly (string | Uint8Array)[], more: Partial<JobSpec> = {}): JobSpec {
  return { argv: bytes(argv), env: [], umask: 0o022, limits: [], home: FRIEND, ...more }
}

export interface Ran {
  end: JobEnd
  out: Buffer
  err: Buffer
}

export async function collect(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** Runs a job that was begun, to its end. */
export async function finish(job: Job, input: string | Uint8Array = ''): Promise<Ran> {
  const outputs = Promise.all([collect(job.stdout), collect(job.stderr)])
  job.start()
  job.stdin.end(input)
  const end = await job.ended
  const [out, err] = await outputs
  await job.close()
  return { end, out, err }
}

export async function run(executor: Executor, spec: JobSpec, input: string | Uint8Array = ''): Promise<Ran> {
  return finish(await executor.begin(spec), input)
}

/** What a shell script prints in the sandbox, both outputs together. */
export async function sh(executor: Executor, script: string, more: Partial<JobSpec> = {}): Promise<string> {
  const { out } = await run(executor, specOf(['sh', '-c', `exec 2>&1; ${script}`], more))
  return out.toString('latin1').trim()
}

/** Processes of the whole machine whose command line contains a word. */
export function processesWith(word: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(word)
      } catch {
        return false
      }
    })
    .map(Number)
}

/** Waits until something is so; fails the test after 30 s. */
export async function until(t: Test, what: string, condition: () => boolean): Promise<void> {
  for (const deadline = performance.now() + 30_000; performance.now() < deadline; ) {
    if (condition()) return
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  t.fail(`still not so after 30 s: ${what}`)
}

/** A duration that no other `sleep` on the machine has: it names the process. */
export function uniqueSeconds(): string {
  return `98765.${process.pid}${Math.floor(performance.now() * 1000)}`
}
