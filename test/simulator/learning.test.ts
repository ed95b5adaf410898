import t from 'tap'
import { run, type Scenario } from '../../src/simulator/scenario.ts'
import { meanOf } from '../../src/simulator/statistics.ts'
import { STRATEGIES } from '../../src/simulator/strategies.ts'

/** Mean response time over some households, of the jobs asked for after the first minute. */
function meanMs(changes: Partial<Scenario>, households = 3): number {
  const scenario: Omit<Scenario, 'seed'> = {
    topology: 'clique',
    peers: 8,
    strategy: STRATEGIES.get('kappa')!,
    workload: 'batches',
    homes: 'half-weak',
    load: 0.5,
    owners: 0,
    loss: 0,
    durationMs: 150_000,
    settleMs: 60_000,
    ...changes
  }
  return meanOf(Array.from({ length: households }, (_, index) => run({ ...scenario, seed: index + 1 }).meanMs))
}

t.test('wrong claims are found out by homes that learn, and the honest are none the worse for it', async (t) => {
  const honest = meanMs({})
  const learning = meanMs({ learn: true })
  t.ok(learning < honest * 1.01, `${learning} when they learn and nobody lies, ${honest} when they don't`)
  const fooled = meanMs({ liars: 1 })
  const wise = meanMs({ liars: 1, learn: true })
  t.ok(wise - honest < 0.7 * (fooled - honest), `${wise} of ${fooled} with a liar, ${honest} without`)
})

t.test('a machine that gets slower gets less, though what it has already can not be taken back', async (t) => {
  const fooled = meanMs({ throttled: 1 }, 8)
  const wise = meanMs({ throttled: 1, learn: true }, 8)
  t.ok(wise < 0.98 * fooled, `${wise} when homes learn, ${fooled} when they don't`)
})

t.test('after a minute one liar in 16 costs hardly anything', async (t) => {
  const many = { peers: 16, workload: 'make', homes: 'many', durationMs: 100_000, learn: true } as const
  const honest = meanMs(many)
  const wise = meanMs({ ...many, liars: 1 })
  t.ok(wise < honest * 1.05, `${wise} with a liar, ${honest} without`)
})

t.test('files that would take longer to send than they gain stay', async (t) => {
  const media = { workload: 'media', homes: 'many', costs: true } as const
  const off = meanMs(media)
  const on = meanMs({ ...media, learn: true })
  t.ok(on < 0.97 * off, `${on} when homes learn, ${off} when they don't`)
})

t.test('the same seed gives the same run when homes learn', async (t) => {
  const scenario: Scenario = {
    topology: 'ring',
    peers: 4,
    strategy: STRATEGIES.get('kappa')!,
    workload: 'media',
    homes: 'many',
    load: 0.6,
    owners: 0.1,
    loss: 0,
    durationMs: 60_000,
    seed: 7,
    learn: true,
    liars: 1
  }
  t.equal(run(scenario).hash, run(scenario).hash)
})
