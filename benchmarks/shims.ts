/** Does a build fan out from a weak home? Shims of kappa beside distcc's pump mode and icecream. */

import { cpSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { sees, until } from '../test/end-to-end/peers.ts'
import { type Source, sourceOf } from './files-household.ts'
import { Household, has, unavailable } from './household.ts'
import { type Benchmark, median, type Result, type Row, round } from './measure.ts'

const PROJECT = '/root/project'
/** Of home and of each of two peers; while they are set up they have a whole one. */
const CORES = [0.25, 0.75, 0.75]
const CPUS = [0, 0, 1]
const SETTLE_MS = 2_500
const BUILD_MS = 600_000
const ROUNDS = 3
/** Compilers at once of those that don't say how many they have room for; as many as kappa has here. */
const JOBS = 5
const SYSTEM_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
const ICECC_PORT = 8765

interface Way {
  name: string
  host: number
  /** Shell text that builds `$1` in the project's directory. */
  script: string
  env: Record<string, string>
}

interface Built {
  s: number
  cpuS: number[]
}

/** A way that can't be taken here, and why. */
type Missing = string

class SlowHome {
  readonly household: Household
  readonly #source: Source

  constructor(household: Household, source: Source) {
    this.household = household
    this.#source = source
  }

  /** Where the sources are on each host, so that each can be built by itself. */
  place(): void {
    for (const host of CORES.keys()) {
      const there = this.household.lan.outside(host, PROJECT)
      mkdirSync(join(there, '.git'), { recursive: true })
      cpSync(this.#source.directory, join(there, 'source'), { recursive: true, verbatimSymlinks: true })
    }
  }

  slowDown(): Promise<void> {
    for (const [host, cores] of CORES.entries()) this.household.lan.setCores(host, cores)
    return delay(SETTLE_MS)
  }

  async build({ name, host, script, env }: Way): Promise<Built> {
    const { lan } = this.household
    const cwd = `${PROJECT}/source`
    await lan.run(host, ['sh', '-c', `${this.#source.clean} >/dev/null 2>&1 || :`], { cwd, timeoutMs: BUILD_MS })
    await delay(SETTLE_MS)
    const make = this.#source.build.replace(/ -j\d+/, '')
    const { result, cpuMs, wallMs } = await this.household.cpuOf([...CORES.keys()], () =>
      lan.run(host, ['sh', '-c', `${script} >/tmp/build.log 2>&1 || { cat /tmp/build.log; exit 1; }`, 'sh', make], {
        ...{ cwd, env, timeoutMs: BUILD_MS }
      })
    )
    if (result.code !== 0) throw new Error(`${name} ended with ${result.code}: ${result.stdout.slice(-2_000)}`)
    return { s: wallMs / 1000, cpuS: cpuMs.map((ms) => ms / 1000) }
  }
}

async function shims({ household }: SlowHome): Promise<Way> {
  const { home, peers } = household
  for (const peer of peers.slice(1)) await sees(home, peer)
  await home.ok(['shim', 'add', 'cc', 'gcc'])
  const path = (await home.ok(['shim', 'path'])).trim()
  const [kappa] = household.kappa()
  return {
    name: 'kappa: shims, make -j$(kappa slots)',
    host: 0,
    script: `$1 -j$(${kappa} slots)`,
    env: { ...household.environment(), PATH: `${path}:${SYSTEM_PATH}` }
  }
}

/** Whether a port of a host is listened on. */
async function listens({ lan }: Household, host: number, port: number): Promise<boolean> {
  return (await lan.run(host, ['bash', '-c', `: </dev/tcp/${lan.address(host)}/${port}`])).code === 0
}

async function distcc({ household }: SlowHome): Promise<Way | Missing> {
  if (!has('distccd') || !has('distcc-pump')) return 'distcc and distcc-pump are not installed: left out'
  const { lan } = household
  for (const host of [1, 2]) {
    const argv = ['distccd', '--no-detach', '--daemon', '--allow', '10.77.0.0/24', '--jobs', '2', '--user', 'nobody']
    lan.spawn(host, [...argv, '--log-file', '/tmp/distccd.log'], { stdio: 'ignore' })
    await until('distccd listens', () => listens(household, host, 3632))
  }
  const hosts = [1, 2].map((host) => `${lan.address(host)}/2,cpp,lzo`)
  return {
    name: `distcc-pump, make -j${JOBS}`,
    host: 0,
    script: `distcc-pump $1 -j${JOBS} CC='distcc cc'`,
    env: { PATH: SYSTEM_PATH, DISTCC_HOSTS: hosts.join(' '), HOME: '/root' }
  }
}

async function icecream({ household }: SlowHome): Promise<Way | Missing> {
  if (!has('icecc') || !has('iceccd') || !has('icecc-scheduler')) return 'icecc is not installed: left out'
  const { lan } = household
  lan.spawn(1, ['icecc-scheduler', '-p', String(ICECC_PORT), '-l', '/tmp/scheduler.log'], { stdio: 'ignore' })
  await until('the scheduler listens', () => listens(household, 1, ICECC_PORT))
  for (const host of CORES.keys()) {
    const argv = ['iceccd', '-s', `${lan.address(1)}:${ICECC_PORT}`, '-m', host === 0 ? '1' : '2', '-N', `h${host}`]
    const rest = ['-b', '/var/tmp/icecc', '-u', 'nobody', '-l', '/tmp/iceccd.log', '-vv']
    mkdirSync(lan.outside(host, '/run/icecc'), { recursive: true, mode: 0o777 })
    lan.spawn(host, [...argv, ...rest, ...(host === 0 ? ['--no-remote'] : [])], { stdio: 'ignore' })
    await until('iceccd runs', async () => (await lan.run(host, ['test', '-S', '/run/icecc/iceccd.socket'])).code === 0)
  }
  return {
    name: `icecream, make -j${JOBS}`,
    host: 0,
    script: `$1 -j${JOBS} CC='icecc cc'`,
    env: { PATH: SYSTEM_PATH, HOME: '/root' }
  }
}

/** A whole build on one peer: by kappa, and by who sits there. */
function onePeer({ household }: SlowHome): Way[] {
  const [kappa] = household.kappa()
  const own = { host: 1, script: '$1 -j2', env: { PATH: SYSTEM_PATH, HOME: '/root' } }
  const name = household.peers[1]!.name
  return [
    {
      name: `kappa run make -j2 on ${name}`,
      host: 0,
      script: `${kappa} run --on ${name} $1 -j2`,
      env: household.environment()
    },
    { name: `make -j2 on ${name} itself`, ...own }
  ]
}

async function run(): Promise<Result> {
  const household = await Household.make(CORES.length, { cores: CORES.map(() => 1), bound: CPUS })
  try {
    const source = sourceOf('zstd')
    const slow = new SlowHome(household, source)
    slow.place()
    const found = [await shims(slow), await distcc(slow), await icecream(slow)]
    const ways = [...found.filter((way) => typeof way !== 'string'), ...onePeer(slow)]
    await slow.slowDown()
    const built = new Map(ways.map((way) => [way.name, [] as Built[]]))
    for (let i = 0; i < ROUNDS; i++) for (const way of ways) built.get(way.name)!.push(await slow.build(way))
    const rows = [...built].map(([what, [first, ...others]]): Row => {
      const cpu = (host: number) => round(median(others.map(({ cpuS }) => cpuS[host]!)))
      const again = round(median(others.map(({ s }) => s)))
      return {
        what,
        values: {
          'first, s': round(first!.s),
          'again, s': again,
          'CPU s at home': cpu(0),
          'at the peers': `${cpu(1)}, ${cpu(2)}`
        }
      }
    })
    return {
      question: `${source.name} from a home of ${CORES[0]} core, with two peers of ${CORES[1]}, 0.25 ms each way`,
      rows,
      notes: [
        'first: the peers know nothing of home’s files; again: median of the others, each from clean',
        ...found.filter((way) => typeof way === 'string')
      ]
    }
  } finally {
    await household.close()
  }
}

export const benchmark: Benchmark = { question: 'A build from a weak home', unavailable, run }
