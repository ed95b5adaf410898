/** `kappa run --detach`: what differs from a job whose client stays. */

import { type ChildProcess, spawn } from 'node:child_process'
import { fstatSync, readFileSync } from 'node:fs'
import { KappaError } from '../errors.ts'
import { coverInherited } from '../execution/process.ts'
import { environmentOf, type LocalWishes, lower, wrapped } from './run-local.ts'
import type { LaunchState } from './run-options.ts'

/** A detached job reads nothing: who gives it a file on stdin would wait for what never comes. Throws NothingRanError. */
export function checkStdin(): void {
  try {
    const stat = fstatSync(0)
    const position = Number(/^pos:\s*(\d+)$/m.exec(readFileSync('/proc/self/fdinfo/0', 'latin1'))?.[1] ?? 0)
    if (!stat.isFile() || position >= stat.size) return
  } catch {
    // It is closed.
    return
  }
  throw new KappaError(
    'NothingRanError',
    'a detached job has no stdin, and a file is on this one: name it with --in, or give </dev/null'
  )
}

/** Starts the process that runs the job here; it outlives this one. Rejects when it ends before it was seen to run. */
export function startHere(directory: string, argv: Buffer[], launch: LaunchState, wishes: LocalWishes): Promise<never> {
  const launcher = process.env.KAPPA_LAUNCHER
  if (!launcher) throw new KappaError('NothingRanError', 'kappa was not started by its launcher; start it as kappa')
  const words = [launcher, 'detached-job', directory, String(wishes.timeoutMs ?? 0)].map((word) => Buffer.from(word))
  const [file, args] = wrapped([...words, ...argv], launch, wishes)
  const env = environmentOf(launch, wishes)
  lower(wishes.nice)
  const child: ChildProcess = spawn(file, args, {
    detached: true,
    stdio: ['ignore', 'ignore', 'ignore', ...coverInherited()],
    env
  })
  child.unref()
  return new Promise((_, reject) => {
    const failed = (why: string) =>
      reject(new KappaError('NothingRanError', `the job could not be started here: ${why}`))
    child.once('error', (error) => failed(error.message))
    child.once('exit', (code, signal) => {
      // One that ends in order has left its end.
      if (code !== 0) failed(`the process that runs it ended with ${signal ?? code}`)
    })
  })
}
