/** How long does one short command take: at home, on a neighbour, and by ssh? */

import { sees } from '../test/end-to-end/peers.ts'
import { Household, has, unavailable } from './household.ts'
import { type Benchmark, median, quantile, type Result, round } from './measure.ts'

const ROUNDS = 40

async function run(): Promise<Result> {
  const household = await Household.make(2)
  try {
    const ssh = await household.startSsh()
    const node = [process.execPath, '-e', '0']
    const kappa = (...args: string[]) => ({ argv: household.kappa(...args), env: household.environment() })
    const byNode = (...args: string[]) => ({
      argv: household.kappa(...args),
      env: { ...household.environment(), KAPPA_CLIENT: 'node' }
    })
    const notes = ssh ? [] : ['ssh is not installed: left out']
    const times = await household.time({
      rounds: ROUNDS,
      warmUp: 3,
      commands: {
        'bare node -e 0': { argv: node },
        'kappa run --local true': kappa('run', '--local', 'true'),
        'kappa run true, idle home': kappa('run', 'true'),
        'kappa run true, warm neighbour': kappa('run', '--on', 'p1', 'true'),
        'the same by the Node client': byNode('run', '--on', 'p1', 'true'),
        'kappa version (Node client and socket)': kappa('version'),
        ...(ssh && {
          'ssh, connection kept': { argv: household.ssh(1, ['true'], true) },
          'ssh, fresh': { argv: household.ssh(1, ['true']) }
        }),
        ...(ssh && has('parallel') && { 'GNU parallel': { argv: ['parallel', '-S', 'h1', '-n0', 'true', ':::', '1'] } })
      }
    })
    // Cold: home's daemon was started anew, connected, and nothing of an earlier job is warm.
    const cold: number[] = []
    for (let round = 0; round < 5; round++) {
      await household.home.stopDaemon()
      await household.home.startDaemon()
      await sees(household.home, household.peers[1]!)
      const once = await household.time({
        rounds: 1,
        warmUp: 0,
        commands: { cold: kappa('run', '--on', 'p1', 'true') }
      })
      cold.push(...once.cold!)
    }
    const all: Record<string, number[]> = { ...times, 'kappa run true, cold neighbour': cold }
    const bare = median(all['bare node -e 0']!)
    return {
      question: 'One short command',
      rows: Object.entries(all).map(([what, ms]) => ({
        what,
        values: {
          'median ms': round(median(ms)),
          'p95 ms': round(quantile(ms, 0.95)),
          'over bare node ms': round(median(ms) - bare)
        }
      })),
      notes
    }
  } finally {
    await household.close()
  }
}

export const benchmark: Benchmark = { question: 'One short command', unavailable, run }
