/**
 * `npm run test:files [-- PART...]`: what others wrote, on home's files; each part that takes too long for the test suite.
 *
 *   suites     stress-ng, fio, dbench, git, rsync, python, sqlite, npm, on a mount
 *   builds     zstd, lua, redis and sqlite from Debian's source packages, by daemons on an emulated LAN: every file that a
 *              build leaves is as that of a native build in the same place. Root alone can do that. The unpacked packages are
 *              in KAPPA_BENCHMARK_SOURCES, or `apt-get source` brings them
 *
 * Exits with 1 if anything is otherwise than natively. What is not installed is left out, and said.
 */

import { spawnSync } from 'node:child_process'
import { mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BUILT, BuildComparison } from '../test/files/builds.ts'
import { DISKS, PROGRAMS, type Suite, stressors } from '../test/files/suites.ts'
import { TreeMount } from '../test/files/target/tree-mount.ts'

const SUITE_MS = 180_000
/** As much work as is done in the test suite, so many times. */
const TIMES = 10
const say = (line: string) => process.stdout.write(`${line}\n`)

async function runSuite(suite: Suite): Promise<boolean> {
  const missing = suite.programs.find((program) => spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0)
  if (missing !== undefined) {
    say(`left out  ${suite.name}: ${missing} is not installed`)
    return true
  }
  const home = mkdtempSync(join(realpathSync(tmpdir()), 'kappa-suite-'))
  await using mount = await TreeMount.start()
  try {
    const from = performance.now()
    const { stdout, stderr, code } = await mount.run(home, `set -e\n${suite.script}`, SUITE_MS)
    const isGood = code === 0 && stdout === suite.says
    const seconds = ((performance.now() - from) / 1000).toFixed(1)
    say(`${isGood ? 'as here ' : 'DIFFERS '}  ${suite.name}: ${seconds} s, ${mount.requests} requests`)
    if (!isGood) say(`${stdout}${stderr}`.trim().replaceAll(/^/gm, '    '))
    return isGood
  } catch (error) {
    say(`HANGS     ${suite.name}: ${String(error)}`)
    return false
  } finally {
    rmSync(home, { recursive: true, force: true })
  }
}

async function suites(): Promise<boolean> {
  let isGood = true
  for (const suite of [...stressors(TIMES), ...DISKS, ...PROGRAMS]) isGood = (await runSuite(suite)) && isGood
  return isGood
}

async function builds(): Promise<boolean> {
  const undo: (() => unknown)[] = []
  let isGood = true
  try {
    const comparison = await BuildComparison.start({ teardown: (act) => void undo.unshift(act) })
    for (const name of BUILT) {
      const { what, files, different, nativeMs, thereMs } = await comparison.compare(name)
      const took = `natively ${(nativeMs / 1000).toFixed(1)} s, there ${(thereMs / 1000).toFixed(1)} s`
      say(`${different.length === 0 ? 'as here ' : 'DIFFERS '}  ${what}: ${files} files; ${took}`)
      for (const line of different) say(`    ${line}`)
      isGood &&= different.length === 0
    }
  } finally {
    for (const act of undo) await act()
  }
  return isGood
}

const PARTS = { suites, builds }
const asked = process.argv.slice(2)
const unknown = asked.find((part) => !(part in PARTS))
if (unknown !== undefined) {
  process.stderr.write(`test:files: there is no part ${unknown}: suites, builds\n`)
  process.exit(2)
}
// What runs goes with this process when it exits, not when a signal ends it.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))
let isGood = true
for (const [part, run] of Object.entries(PARTS)) {
  if (asked.length === 0 || asked.includes(part)) isGood = (await run()) && isGood
}
process.exit(isGood ? 0 : 1)
