/** Runs many scenarios on all cores. What comes out doesn't depend on how many there are, nor on who is first. */

import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import type { Result } from '../../src/simulator/scenario.ts'
import type { ResultStore } from './result-store.ts'
import { type Run, runNow } from './run.ts'

export interface LaboratoryInit {
  /** Few seeds and short times: to see that all works, not to learn from. */
  quick: boolean
  /** Keeps what was run, so that an interrupted study goes on where it was. */
  store?: ResultStore
  /** After each run, with the number of those that are done. */
  progress?: (done: number, of: number) => void
}

export class Laboratory {
  readonly quick: boolean
  readonly #init: LaboratoryInit

  constructor(init: LaboratoryInit) {
    this.#init = init
    this.quick = init.quick
  }

  /** In the order of the runs. */
  async run(runs: readonly Run[]): Promise<Result[]> {
    const { store, progress } = this.#init
    const results = runs.map((run) => store?.get(run))
    const missing = results.flatMap((result, index) => (result === undefined ? [index] : []))
    // Large ones first, or the last one is waited for alone.
    missing.sort((a, b) => runs[b]!.peers - runs[a]!.peers || a - b)
    const done = (index: number, result: Result) => {
      store?.put(runs[index]!, result)
      results[index] = result
      progress?.(results.filter((one) => one !== undefined).length, runs.length)
    }
    if (this.quick) for (const index of missing) done(index, runNow(runs[index]!))
    else await inThreads(runs, missing, done)
    return results.map((result) => result!)
  }
}

async function inThreads(
  runs: readonly Run[],
  missing: readonly number[],
  done: (index: number, result: Result) => void
): Promise<void> {
  const waiting = [...missing]
  const threads = Math.min(availableParallelism(), missing.length)
  const workers = Array.from({ length: threads }, () => new Worker(new URL('worker.ts', import.meta.url)))
  try {
    await Promise.all(
      workers.map(async (worker) => {
        for (let index = waiting.shift(); index !== undefined; index = waiting.shift()) {
          done(index, await answer(worker, runs[index]!))
        }
      })
    )
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()))
  }
}

function answer(worker: Worker, run: Run): Promise<Result> {
  return new Promise((resolve, reject) => {
    worker.once('error', reject)
    worker.once('message', (result: Result) => {
      worker.off('error', reject)
      resolve(result)
    })
    worker.postMessage(run)
  })
}
