/**
 * The child process that runs the static score's programs, so that nobody's event loop waits for them:
 * `node benchmark-worker PARENT_PID full|quick`. Prints one JSON array, `[{ name, ms }, …]`: the CPU time of each
 * program's best round. Exits with 1 and a line on stderr when a checksum is wrong, and silently when its parent is gone.
 */

import { setPriority } from 'node:os'
import { BENCHMARK_PROGRAMS, type BenchmarkProgram, type BenchmarkResult } from './benchmark-programs.ts'

/** Rounds without a better one after which the best is taken to be found. */
const SETTLED_ROUNDS = 40

/** CPU time in ms after which a program starts no further round. */
const BUDGET_MS = { full: 2000, quick: 60 }

const sleepCell = new Int32Array(new SharedArrayBuffer(4))

/** CPU time of this thread in ms. Linux brings it up to date only at clock ticks (4–10 ms) and when the thread sleeps, so it sleeps first. */
function cpuMs(): number {
  Atomics.wait(sleepCell, 0, 0, 0.05)
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1000
}

function bestRoundMs(program: BenchmarkProgram, budgetMs: number, parent: number): number {
  const startMs = cpuMs()
  let beforeMs = startMs
  let bestMs = Number.POSITIVE_INFINITY
  for (let sinceBest = 0; sinceBest < SETTLED_ROUNDS && beforeMs - startMs < budgetMs; ) {
    if (process.ppid !== parent) process.exit(0)
    const checksum = program.round()
    if (checksum !== program.checksum) {
      process.stderr.write(`${program.name}: checksum ${checksum} instead of ${program.checksum}\n`)
      process.exit(1)
    }
    const afterMs = cpuMs()
    const roundMs = afterMs - beforeMs
    beforeMs = afterMs
    sinceBest = roundMs < bestMs * 0.995 ? 0 : sinceBest + 1
    bestMs = Math.min(bestMs, roundMs)
  }
  return bestMs
}

function run(parent: number, quick: boolean): BenchmarkResult[] {
  setPriority(0, 19)
  return BENCHMARK_PROGRAMS.filter((program) => program.quick || !quick).map((program) => ({
    name: program.name,
    ms: bestRoundMs(program, quick ? BUDGET_MS.quick : BUDGET_MS.full, parent)
  }))
}

process.stdout.write(JSON.stringify(run(Number(process.argv[2]), process.argv[3] === 'quick')))
