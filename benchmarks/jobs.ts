/** How long do 200 short jobs take, 8 at a time, over two neighbours? */

import { Household, has, unavailable } from './household.ts'
import { type Benchmark, median, type Result, round } from './measure.ts'

const JOBS = 200
const AT_ONCE = 8
const ROUNDS = 3

/** One process for each job, as many at a time; each line of input is one job, its number is `$1`. */
function xargs(command: string): string[] {
  return ['sh', '-c', `seq ${JOBS} | xargs -P${AT_ONCE} -n1 sh -c '${command}' sh`]
}

async function run(): Promise<Result> {
  // More slots than jobs at once: a hedged probe may hold one for a moment.
  const household = await Household.make(3, { config: 'slots = 16' })
  try {
    const ssh = await household.startSsh()
    const env = household.environment()
    const [kappa] = household.kappa()
    const parallel = ['parallel', '-j', String(AT_ONCE / 2), '-S', 'h1,h2', '--nonall']
    const commands = {
      'bare node -e 0 (no sleep)': { argv: xargs(`exec ${process.execPath} -e 0`) },
      'sleep 0.05 here': { argv: xargs('exec sleep 0.05') },
      'node -e 0, then sleep 0.05 here': { argv: xargs(`${process.execPath} -e 0; exec sleep 0.05`) },
      'kappa run, a client each': { argv: xargs(`exec ${kappa} run --plain --remote sleep 0.05`), env },
      'the same by the Node client': {
        argv: xargs(`exec ${kappa} run --plain --remote sleep 0.05`),
        env: { ...env, KAPPA_CLIENT: 'node' }
      },
      ...(ssh && {
        'ssh, connection kept': {
          argv: xargs(
            `exec ${household.ssh(1, ['sleep', '0.05'], true).join(' ').replace(' h1 ', ' h$((1 + $1 % 2)) ')}`
          )
        }
      }),
      ...(ssh &&
        has('parallel') && {
          'GNU parallel': {
            argv: ['sh', '-c', `seq ${JOBS} | ${parallel.slice(0, 5).join(' ')} 'sleep 0.05 # {}' 2>/dev/null`]
          }
        })
    }
    const { result, cpuMs } = await household.cpuOf([0, 1, 2], () =>
      household.time({ rounds: ROUNDS, warmUp: 1, commands: { kappa: commands['kappa run, a client each'] } })
    )
    const times = await household.time({ rounds: ROUNDS, warmUp: 1, commands }, 600_000)
    const bare = median(times['bare node -e 0 (no sleep)']!)
    const perJob = (ms: number) => round(ms / ((ROUNDS + 1) * JOBS))
    return {
      question: `${JOBS} × sleep 0.05, ${AT_ONCE} at a time, over two neighbours`,
      rows: Object.entries(times).map(([what, ms]) => ({
        what,
        values: { 'median s': round(median(ms) / 1000), 'times bare node': round(median(ms) / bare) }
      })),
      notes: [
        `CPU for each job of kappa: ${cpuMs.map((ms, host) => `${perJob(ms)} ms on h${host}`).join(', ')} (h0 is home)`,
        `all hosts share this machine's cores; ${round(median(result.kappa!) / 1000)} s in the run where that was measured`,
        ...(ssh ? [] : ['ssh is not installed: left out'])
      ]
    }
  } finally {
    await household.close()
  }
}

export const benchmark: Benchmark = { question: 'Many short jobs', unavailable, run }
