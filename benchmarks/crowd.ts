/** What does the daemon of a target need that runs a hundred jobs at once, all of which write as fast as they can? */

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { Household, unavailable } from './household.ts'
import { type Benchmark, type Result, round } from './measure.ts'

const JOBS = 100
/** Of each job: 2 MiB. */
const LINES = 300_000
const SAMPLE_MS = 50

async function run(): Promise<Result> {
  const household = await Household.make(2, { config: `slots = ${2 * JOBS}` })
  const pid = household.daemonPid(1)
  const idle = residentMib(pid)
  let most = idle
  const sampler = setInterval(() => {
    most = Math.max(most, residentMib(pid))
  }, SAMPLE_MS)
  try {
    const [home, target] = household.peers
    // None begins to write before all are there.
    const argv = ['sh', '-c', `echo; read -r go; exec seq ${LINES}`]
    const jobs = []
    for (let count = 0; count < JOBS; count++) {
      jobs.push(await home!.begun(target!, argv, { options: ['--memory', '4m', '--cores', '1'] }))
    }
    const waiting = most
    const began = performance.now()
    for (const job of jobs) job.say('go')
    const ends = await Promise.all(jobs.map(({ ended }) => ended))
    const seconds = (performance.now() - began) / 1000
    const right = ends.filter(({ code, bytes }) => code === 0 && hash(bytes) === EXPECTED).length
    return {
      question: `${JOBS} jobs at once on one neighbour, each of which writes ${round(WRITTEN.length / 2 ** 20)} MiB`,
      rows: [
        {
          what: "the target's daemon",
          values: {
            'MiB idle': round(idle),
            'with jobs that wait': round(waiting),
            'at most': round(most),
            'jobs right': right,
            'MiB/s of all': round((JOBS * WRITTEN.length) / 2 ** 20 / seconds)
          }
        }
      ],
      notes: [`resident memory, looked at each ${SAMPLE_MS} ms`]
    }
  } finally {
    clearInterval(sampler)
    await household.close()
  }
}

const WRITTEN = Buffer.from(`\n${Array.from({ length: LINES }, (_, index) => `${index + 1}\n`).join('')}`)
const EXPECTED = hash(WRITTEN)

function hash(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}

function residentMib(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))![1]) / 1024
}

export const benchmark: Benchmark = { question: 'Many jobs at once', unavailable, run }
