/**
 * `npm run test:faults [-- OPTION...]`: three daemons on an emulated LAN, jobs all the time, and everything that can go wrong.
 * Root alone can do that.
 *
 *   --seed 1        what is asked for and what breaks; the same again for the same number
 *   --minutes 2     of jobs and faults, for each seed
 *   --runs 1        so many seeds, one after the other
 *   --cuts          cables alone, cut for less than the lease under jobs that stream both ways
 *   --builds        builds that see home's files, one for each seed, each with one thing that breaks in it
 *
 * Exits with 1 if any job ran twice, had a wrong end or wrong bytes, or left something behind.
 */

import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { BuildHousehold } from '../test/faults/builds.ts'
import { runSuite } from '../test/faults/suite.ts'
import { lanAvailable } from '../test/lan.ts'

const { values: options } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    minutes: { type: 'string', default: '2' },
    runs: { type: 'string', default: '1' },
    cuts: { type: 'boolean', default: false },
    builds: { type: 'boolean', default: false }
  }
})

function number(name: 'seed' | 'minutes' | 'runs', least: number): number {
  const value = Number(options[name])
  if (value >= least) return value
  process.stderr.write(`test:faults: --${name} is a number of at least ${least}\n`)
  process.exit(2)
}

/** Of those that are told. */
const REASONS = 8

function keepLogs(seed: number, logs: string[]): void {
  const directory = mkdtempSync(join(tmpdir(), `kappa-faults-${seed}-`))
  for (const [host, log] of logs.entries()) writeFileSync(join(directory, `p${host}.log`), log)
  process.stdout.write(`  what the daemons said: ${directory}\n`)
}

const unavailable = lanAvailable()
if (unavailable !== undefined) {
  process.stderr.write(`test:faults: no LAN can be emulated here: ${unavailable}\n`)
  process.exit(2)
}
const [first, minutes, runs] = [number('seed', 0), number('minutes', 0.1), number('runs', 1)]
// The hosts go with this process when it exits, not when a signal ends it.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))

async function playBuilds(): Promise<number> {
  const undo: (() => unknown)[] = []
  let breaches = 0
  try {
    const household = await BuildHousehold.start({ teardown: (act) => void undo.unshift(act) })
    for (let seed = first; seed < first + runs; seed++) {
      const verdict = await household.play(seed)
      const { plan, ended, tookMs } = verdict
      const how = `${plan.fault} at ${plan.at.toFixed(2)} for ${(plan.lastsMs / 1000).toFixed(1)} s`
      const last = ended.stderr.trim().split('\n').at(-1) ?? ''
      process.stdout.write(
        `build ${seed}: ${how}: ${ended.code ?? ended.signal} in ${(tookMs / 1000).toFixed(1)} s ${last}\n`
      )
      for (const breach of verdict.breaches) process.stdout.write(`  BREACH ${breach}\n`)
      if (verdict.breaches.length > 0) keepLogs(seed, household.logs())
      breaches += verdict.breaches.length
    }
  } finally {
    for (const act of undo) await act()
  }
  process.stdout.write(`${runs} builds in all, ${breaches} breaches\n`)
  return breaches
}

if (options.builds) process.exit((await playBuilds()) > 0 ? 1 : 0)
const total = { jobs: 0, breaches: 0 }
for (let seed = first; seed < first + runs; seed++) {
  const undo: (() => unknown)[] = []
  const teardown = (act: () => unknown) => void undo.unshift(act)
  try {
    const verdict = await runSuite({ teardown }, seed, minutes * 60_000, options.cuts ? 'cuts' : 'all')
    const { jobs, faults, exact, unknown, nothing, reasons, breaches, logs } = verdict
    const ends = `${exact} ended exactly, ${unknown} are unknown, ${nothing} did not run`
    process.stdout.write(`seed ${seed}: ${jobs} jobs, ${faults} faults; ${ends}; ${breaches.length} breaches\n`)
    for (const breach of breaches) process.stdout.write(`  ${breach}\n`)
    for (const [reason, count] of reasons.slice(0, REASONS)) process.stdout.write(`  ${count} x ${reason}\n`)
    if (breaches.length > 0) keepLogs(seed, logs)
    total.jobs += jobs
    total.breaches += breaches.length
  } finally {
    for (const act of undo) await act()
  }
}
process.stdout.write(`${total.jobs} jobs in all, ${total.breaches} breaches\n`)
process.exitCode = total.breaches > 0 ? 1 : 0
