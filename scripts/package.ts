/**
 * Makes what is given to people, into packages/: the npm package; for each platform an archive with its own Node, and a
 * Debian package. Prints the size of each, and how long `kappa version` takes from it where this machine can run it.
 *
 *     npm run package [-- --platform linux-arm64] [--only npm|archive|deb] [--output DIR] [--quick]
 *
 * `--quick` hardly compresses, for tests. The Node of another platform comes from npm, and is what package-lock.json says.
 */

import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { VERSION } from '../src/version.ts'
import { makeArchive } from './package/archive.ts'
import { makeDeb } from './package/deb.ts'
import { PLATFORMS, type Platform, ROOT, run } from './package/layout.ts'

const { values } = parseArgs({
  options: {
    platform: { type: 'string', multiple: true },
    only: { type: 'string', multiple: true },
    output: { type: 'string', default: join(ROOT, 'packages') },
    quick: { type: 'boolean', default: false }
  }
})
const { quick, only = ['npm', 'archive', 'deb'] } = values
const output = resolve(values.output)
const here = `linux-${process.arch}`
/** Starts of which the middle one counts. */
const starts = quick ? 1 : 15

const platforms = PLATFORMS.filter(({ name }) => !values.platform || values.platform.includes(name))
const work = mkdtempSync(join(tmpdir(), 'kappa-package-'))
try {
  mkdirSync(output, { recursive: true })
  run('node', ['scripts/build.ts'], { cwd: ROOT })
  if (only.includes('npm')) tellOf(makeNpm(), undefined)
  for (const platform of platforms) await makeFor(platform)
} finally {
  rmSync(work, { recursive: true, force: true })
}

async function makeFor(platform: Platform): Promise<void> {
  const directory = join(work, platform.name)
  mkdirSync(directory)
  const launcher = platform.name === here ? join(directory, 'kappa/dist/kappa') : undefined
  if (only.includes('archive')) tellOf(await makeArchive(platform, directory, output, quick), launcher)
  const inDeb = platform.name === here ? join(directory, 'deb/usr/bin/kappa') : undefined
  if (only.includes('deb')) tellOf(await makeDeb(platform, directory, output, quick), inDeb)
}

function makeNpm(): string {
  run('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', output], { cwd: ROOT })
  return join(output, `kappa-${VERSION}.tgz`)
}

function tellOf(file: string, launcher: string | undefined): void {
  const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`
  const installed = launcher && `, installed ${megabytes(sizeOf(join(launcher, '../..')))}`
  const start = launcher && `, starts in ${startMs(launcher).toFixed(0)} ms`
  console.log(`${file}: ${megabytes(statSync(file).size)}${installed ?? ''}${start ?? ''}`)
}

function sizeOf(directory: string): number {
  const files = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  return files.reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0)
}

function startMs(launcher: string): number {
  const times = Array.from({ length: starts }, () => {
    const from = performance.now()
    const { status, stderr } = spawnSync(launcher, ['version'], { encoding: 'utf8' })
    if (status !== 0) throw new Error(`${launcher} does not start: ${stderr}`)
    return performance.now() - from
  })
  return times.toSorted((a, b) => a - b)[Math.floor(starts / 2)]!
}
