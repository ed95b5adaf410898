/** What does it bring to remember what commands take? Real commands, small and large, with learning off and on in turns. */

import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { KAPPA } from '../test/end-to-end/peers.ts'
import { Household, has, unavailable } from './household.ts'
import { type Benchmark, median, type Result, round } from './measure.ts'

/** Off, on, off, on: what else the machine does then shows in both. */
const PHASES = [false, true, false, true]
const ROUNDS = 3
/** Rounds that aren't counted: what is learnt in them shows in the others. */
const WARM_UP = 1
/** A weak home and two better machines; the last says that it is so many times as fast as it is. */
const CORES = [0.4, 0.45, 0.45]
/** Neighbours share a core: each sees of it what it uses itself. */
const BOUND = [0, 1, 1]
const BOASTS = [1, 1, 6]
/** A good wireless network. */
const RATE_MBIT = 300
const WORK = '/root/mix'

interface Mix {
  what: string
  /** Jobs, each a line of sh; all are started at once. */
  jobs: string[]
}

/** Much arithmetic on nothing in particular: a compiler has work with it by the number of functions. */
function program(functions: number): string {
  const bodies = Array.from({ length: functions }, (_, index) => {
    const steps = Array.from(
      { length: 12 },
      (_, step) => `x = x * ${index + 3}u + (x >> ${(step % 7) + 1}) + y[x % 64u];`
    )
    return `unsigned f${index}(unsigned x, const unsigned *y) { for (int i = 0; i < 64; i++) { ${steps.join(' ')} } return x; }`
  })
  return `${bodies.join('\n')}\n`
}

function text(bytes: number): Buffer {
  const words = gzipSync(randomBytes(bytes)).toString('base64')
  return Buffer.from(words.slice(0, bytes))
}

function compile(name: string): string {
  return `${KAPPA} run --in ${name}.c --out ${name}.o cc -O2 -c ${name}.c`
}

function filter(command: string, name: string): string {
  return `${KAPPA} run ${command} <${name} >/dev/null`
}

function times(count: number, job: string): string[] {
  return Array<string>(count).fill(job)
}

/** Small ones come before large ones and after them, as in a build. */
function mixes(): Mix[] {
  const names = (stem: string, count: number) => Array.from({ length: count }, (_, index) => `${stem}${index}`)
  const [tiny, large] = [filter('xz', 'tiny.txt'), filter('xz', 'large.txt')]
  return [
    {
      what: 'xz of 12 tiny files and 3 large ones',
      jobs: [...times(6, tiny), ...times(3, large), ...times(6, tiny)]
    },
    {
      what: 'cc of 6 small files and 3 large ones, staged',
      jobs: [...names('tiny', 3), ...names('large', 3), ...names('small', 3)].map(compile)
    },
    { what: 'sha256sum of 3 files of 24 MiB: more way than work', jobs: times(3, filter('sha256sum', 'huge.bin')) },
    { what: 'xz of 5 large files, where one peer boasts', jobs: times(5, large) }
  ]
}

function prepare(household: Household): void {
  const here = household.lan.outside(0, WORK)
  mkdirSync(here, { recursive: true })
  for (let index = 0; index < 3; index++) {
    writeFileSync(`${here}/tiny${index}.c`, program(1))
    writeFileSync(`${here}/small${index}.c`, program(2))
    writeFileSync(`${here}/large${index}.c`, program(40))
  }
  writeFileSync(`${here}/tiny.txt`, text(2_000))
  writeFileSync(`${here}/large.txt`, text(600_000))
  writeFileSync(`${here}/huge.bin`, randomBytes(24 * 2 ** 20))
}

async function measure(household: Household, { jobs }: Mix): Promise<Map<boolean, number[]>> {
  const script = `cd ${WORK}; ${jobs.map((job) => `( ${job} ) &`).join('\n')}\nwait`
  const found = new Map<boolean, number[]>([
    [false, []],
    [true, []]
  ])
  for (const learn of PHASES) {
    await household.home.ok(['config', 'set', 'learn', String(learn)])
    const argv = ['sh', '-c', script]
    const order = { rounds: ROUNDS, warmUp: WARM_UP, commands: { mix: { argv, env: household.environment() } } }
    found.get(learn)!.push(...(await household.time(order, 600_000)).mix!)
  }
  return found
}

async function run(): Promise<Result> {
  const household = await Household.make(3, {
    cores: CORES,
    bound: BOUND,
    boasts: BOASTS,
    rateMbit: RATE_MBIT,
    config: 'slots = 4'
  })
  try {
    prepare(household)
    const rows = []
    for (const mix of mixes()) {
      const found = await measure(household, mix)
      const [off, on] = [median(found.get(false)!), median(found.get(true)!)]
      rows.push({
        what: mix.what,
        values: { 'off, s': round(off / 1000), 'on, s': round(on / 1000), 'on / off': round(on / off) }
      })
    }
    return {
      question:
        'All jobs of a mix at once at a weak home: the time until the last is done, without learning and with it',
      rows,
      notes: [
        `home has ${CORES[0]} of a core, each of two neighbours ${CORES[1]}; one of them says that it is ${BOASTS[2]} times as fast as it is`,
        `medians of ${(PHASES.length / 2) * ROUNDS} rounds, in turns off, on, off, on; each time it is on it begins with nothing and ${WARM_UP} rounds that aren't counted`
      ]
    }
  } finally {
    await household.close()
  }
}

export const benchmark: Benchmark = {
  question: 'What learning brings',
  unavailable: () =>
    unavailable() ?? (['xz', 'cc', 'sha256sum'].every(has) ? undefined : 'xz, cc or sha256sum is missing'),
  run
}
