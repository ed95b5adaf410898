/** What does the sandbox cost, in time until a short command has ended and in CPU time? */

import { fileURLToPath } from 'node:url'
import { Lan, lanAvailable } from '../test/lan.ts'
import { type Benchmark, median, quantile, type Result, round } from './measure.ts'

const ROUNDS = 60
const JOBS = fileURLToPath(new URL('sandbox-jobs.ts', import.meta.url))

async function run(): Promise<Result> {
  await using lan = await Lan.create({ hosts: 1 })
  const jobs = async (rounds: number, only = 'both'): Promise<{ times: Record<string, number[]>; cpuMs: number }> => {
    const before = lan.cpuMs(0)
    const { code, stdout, stderr } = await lan.run(0, [process.execPath, JOBS, String(rounds), only])
    if (code !== 0) throw new Error(stderr)
    return { times: JSON.parse(stdout), cpuMs: lan.cpuMs(0) - before }
  }
  const { times } = await jobs(ROUNDS)
  const nothing = await jobs(0)
  const cpuOf = async (only: string) => ((await jobs(ROUNDS, only)).cpuMs - nothing.cpuMs) / ROUNDS
  const cpu = { sandbox: await cpuOf('sandbox'), bare: await cpuOf('bare') }
  const bareMs = median(times.bare!)
  const row = (what: string, ms: number[], cpuMs?: number) => ({
    what,
    values: {
      'median ms': round(median(ms)),
      'p95 ms': round(quantile(ms, 0.95)),
      'over bare spawn ms': round(median(ms) - bareMs),
      ...(cpuMs !== undefined && { 'CPU ms for each': round(cpuMs) })
    }
  })
  return {
    question: 'The sandbox: from the wish to the end of `true`',
    rows: [
      row('bare spawn', times.bare!, cpu.bare),
      row('in a cell that was made ahead', times.sandbox!, cpu.sandbox),
      row('first job of a home', times.first!)
    ],
    notes: ["CPU time counts the making of the next cell, its removal, and the daemon's share"]
  }
}

export const benchmark: Benchmark = { question: 'The sandbox', unavailable: () => lanAvailable(), run }
