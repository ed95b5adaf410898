/** How long does one short command take: at home, on a neighbour, on a machine behind it, and by ssh? */

import { sees } from '../test/end-to-end/peers.ts'
import { Household, has, unavailable } from './household.ts'
import { type Benchmark, median, quantile, type Result, round } from './measure.ts'

const ROUNDS = 40
const COLD_ROUNDS = 5

/** Home's daemon was started anew, knows the target, and nothing of an earlier job is warm: ms of each that was reached in time. */
async function coldRuns(household: Household, host: number): Promise<number[]> {
  const { home, peers } = household
  const target = peers[host]!
  const cold: number[] = []
  for (let round = 0; round < COLD_ROUNDS; round++) {
    await home.stopDaemon()
    await home.startDaemon()
    await sees(home, target)
    const argv = household.kappa('run', '--plain', '--on', target.name, 'true')
    const order = { rounds: 1, warmUp: 0, commands: { cold: { argv, env: household.environment() } } }
    const once = await household.time(order).catch(() => ({ cold: [] }))
    cold.push(...once.cold!)
  }
  return cold
}

async function run(): Promise<Result> {
  const household = await Household.make(3, { pairs: 'line' })
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
        'kappa run true, idle home': kappa('run', '--plain', 'true'),
        'kappa run true, warm neighbour': kappa('run', '--plain', '--on', 'p1', 'true'),
        'kappa run true, warm, two hops away': kappa('run', '--plain', '--on', 'p2', 'true'),
        'the same by the Node client': byNode('run', '--plain', '--on', 'p1', 'true'),
        'kappa version (Node client and socket)': kappa('version'),
        ...(ssh && {
          'ssh, connection kept': { argv: household.ssh(1, ['true'], true) },
          'ssh, fresh': { argv: household.ssh(1, ['true']) }
        }),
        ...(ssh && has('parallel') && { 'GNU parallel': { argv: ['parallel', '-S', 'h1', '-n0', 'true', ':::', '1'] } })
      }
    })
    const cold = await coldRuns(household, 1)
    const far = await coldRuns(household, 2)
    const more =
      median(times['kappa run true, warm, two hops away']!) - median(times['kappa run true, warm neighbour']!)
    notes.push(`a second hop costs ${round(more)} ms, over a connection that is kept`)
    notes.push(`${COLD_ROUNDS - far.length} of ${COLD_ROUNDS} cold starts two hops away were not reached in time`)
    const all: Record<string, number[]> = {
      ...times,
      'kappa run true, cold neighbour': cold,
      'kappa run true, cold, two hops away': far
    }
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
