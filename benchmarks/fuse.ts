/** How fast does the file system in TypeScript answer, when it has the answer at hand? */

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fuseUnavailable, Mounted } from '../test/files/fuse/mounted.ts'
import { type Benchmark, median, type Result, round } from './measure.ts'

const ROUNDS = 3
const THREADS = [1, 4, 16]
const OPERATIONS = 20_000
const MEBIBYTES = 256
const AGENT = join(import.meta.dirname, 'fuse-agent.ts')
const TICK_MS = 10

/** What is done, and the requests that one of it causes when the kernel may remember nothing. */
const CALLS = [
  ['absent', 'lstat of a name that is not there', 1],
  ['attributes', 'fstat', 1],
  ['present', 'lstat of a file', 2],
  ['open-read-close', 'open, read, close', 6]
] as const

function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1')
    .replace(/^.*\) /, '')
    .split(' ')
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS
}

interface Measured {
  perS: number
  cpuUs: number
}

/** Runs the agent in the mount; the median of all rounds. */
async function there(mounted: Mounted, what: string, threads: number, count: number): Promise<Measured> {
  const rounds: Measured[] = []
  const pid = mounted.server.pid!
  for (let i = 0; i < ROUNDS; i++) {
    const before = cpuMs(pid)
    const { stdout, stderr } = await mounted.run(`exec ${process.execPath} ${AGENT} "$1" ${what} ${threads} ${count}`)
    if (stdout === '') throw new Error(stderr)
    const { s, operations } = JSON.parse(stdout)
    rounds.push({ perS: operations / s, cpuUs: ((cpuMs(pid) - before) * 1000) / operations })
  }
  return { perS: median(rounds.map(({ perS }) => perS)), cpuUs: median(rounds.map(({ cpuUs }) => cpuUs)) }
}

/** The same on a file system of the kernel's in memory. */
function here(directory: string, what: string, threads: number, count: number): number {
  const rounds = Array.from({ length: ROUNDS }, () => {
    const args = [AGENT, directory, what, String(threads), String(count)]
    const { s, operations } = JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' }))
    return operations / s
  })
  return median(rounds)
}

async function run(): Promise<Result> {
  await using mounted = await Mounted.start({}, 600_000)
  await mounted.ask('put', { name: 'file', text: 'x'.repeat(4096) })
  const native = mkdtempSync('/dev/shm/kappa-fuse-')
  const rows: Result['rows'] = []
  try {
    writeFileSync(join(native, 'file'), 'x'.repeat(4096))
    for (const [what, label, requests] of CALLS) {
      for (const threads of THREADS) {
        const { perS, cpuUs } = await there(mounted, what, threads, OPERATIONS)
        const values = {
          'a second': round(perS),
          'requests a second': round(perS * requests),
          'server CPU µs a request': round(cpuUs / requests),
          'tmpfs a second': round(here(native, what, threads, OPERATIONS * 5))
        }
        rows.push({ what: `${label}, ${threads} at a time`, values })
      }
    }
    for (const what of ['write', 'read']) {
      const { perS, cpuUs } = await there(mounted, what, 1, MEBIBYTES)
      const tmpfs = here(native, what, 1, MEBIBYTES)
      const values = { 'MiB/s': round(perS), 'CPU ms per MiB': round(cpuUs / 1000), 'tmpfs MiB/s': round(tmpfs) }
      rows.push({ what: `${what} ${MEBIBYTES} MiB`, values })
    }
  } finally {
    rmSync(native, { recursive: true })
  }
  return {
    question: 'Files by FUSE from TypeScript: operations and bytes, answered from memory, nothing cached by the kernel',
    rows,
    notes: ['the server is one thread; programs that ask share the cores with it']
  }
}

export const benchmark: Benchmark = { question: 'Files by FUSE', unavailable: () => fuseUnavailable(), run }
