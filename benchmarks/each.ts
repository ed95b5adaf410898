/** What does `kappa each` cost for each of many short jobs? Beside xargs over kept ssh, and GNU parallel. */

import { Household, has, unavailable } from './household.ts'
import { type Benchmark, median, type Result, type Row, round } from './measure.ts'

const SLEEPS = 200
const AT_ONCE = 8
const TRUES = 2_000
const ROUNDS = 3
const TIMEOUT_MS = 300_000

interface Way {
  what: string
  jobs: number
  script: string
}

function waysOf(household: Household, hasSsh: boolean): Way[] {
  const [kappa] = household.kappa()
  const each = (count: number, options: string, command: string) =>
    `seq ${count} | ${kappa} each --plain ${options} ${command}`
  const ssh = household.ssh(1, ['sleep', '0.05'], true).join(' ').replace(' h1 ', ' h$((1 + $1 % 2)) ')
  const sleeps = `${SLEEPS} × sleep 0.05, ${AT_ONCE} at a time`
  const parallel = `parallel -j ${AT_ONCE / 2} -S h1,h2 'sleep 0.05 # {}' 2>/dev/null`
  return [
    { what: sleeps, jobs: SLEEPS, script: each(SLEEPS, `-j${AT_ONCE} --remote`, "sh -c 'exec sleep 0.05' sh") },
    { what: `${TRUES} × true, on neighbours`, jobs: TRUES, script: each(TRUES, '--remote', 'true') },
    { what: `${TRUES} × true, anywhere`, jobs: TRUES, script: each(TRUES, '', 'true') },
    { what: `${TRUES} × true, here`, jobs: TRUES, script: each(TRUES, '--local', 'true') },
    ...(hasSsh
      ? [
          {
            what: `${sleeps}: xargs, kept ssh`,
            jobs: SLEEPS,
            script: `seq ${SLEEPS} | xargs -P${AT_ONCE} -n1 sh -c 'exec ${ssh}' sh`
          }
        ]
      : []),
    ...(hasSsh && has('parallel')
      ? [{ what: `${sleeps}: GNU parallel`, jobs: SLEEPS, script: `seq ${SLEEPS} | ${parallel}` }]
      : [])
  ]
}

async function run(): Promise<Result> {
  const household = await Household.make(3, { config: 'slots = 16' })
  try {
    const hasSsh = await household.startSsh()
    const hosts = [...household.peers.keys()]
    const env = household.environment()
    const rows: Row[] = []
    const taken = new Map<Way, { s: number; cpuMs: number[] }[]>(waysOf(household, hasSsh).map((way) => [way, []]))
    for (let round = -1; round < ROUNDS; round++) {
      for (const [way, all] of taken) {
        const { result, cpuMs, wallMs } = await household.cpuOf(hosts, () =>
          household.lan.run(0, ['sh', '-c', way.script], { env, timeoutMs: TIMEOUT_MS })
        )
        if (result.code !== 0)
          throw new Error(`${way.script} ended with ${result.code}: ${result.stderr.slice(0, 2_000)}`)
        if (round >= 0) all.push({ s: wallMs / 1_000, cpuMs: cpuMs.map((ms) => ms / way.jobs) })
      }
    }
    for (const [{ what }, all] of taken) {
      const cpu = (host: number) => round(median(all.map(({ cpuMs }) => cpuMs[host]!)))
      const values = {
        'median s': round(median(all.map(({ s }) => s))),
        'ms of CPU for each: home': cpu(0),
        'the peers': round(cpu(1) + cpu(2))
      }
      rows.push({ what, values })
    }
    return {
      question: 'kappa each: many short jobs, two neighbours, 0.25 ms each way',
      rows,
      notes: [
        `bars: ${SLEEPS} × sleep 0.05 in 1.5 s, where 1.25 s is the least; 2 ms of CPU at home for each true`,
        'CPU at home is that of the client, with its start, and of the daemon; here, of true, too',
        ...(hasSsh ? [] : ['ssh is not installed: left out'])
      ]
    }
  } finally {
    await household.close()
  }
}

export const benchmark: Benchmark = { question: 'Many jobs by kappa each', unavailable, run }
