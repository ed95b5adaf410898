import t from 'tap'
import { run, type Scenario } from '../../src/simulator/scenario.ts'
import { meanOf } from '../../src/simulator/statistics.ts'
import { STRATEGIES } from '../../src/simulator/strategies.ts'

/** Mean response time over three households. */
function meanMs(changes: Partial<Scenario>): number {
  const scenario: Omit<Scenario, 'seed'> = {
    topology: 'clique',
    peers: 8,
    strategy: STRATEGIES.get('kappa')!,
    workload: 'batches',
    homes: 'half-weak',
    load: 0.5,
    owners: 0,
    loss: 0,
    durationMs: 180_000,
    ...changes
  }
  return meanOf([1, 2, 3].map((seed) => run({ ...scenario, seed }).meanMs))
}

t.test(
  'a machine that boasts is found out by homes that learn, and the honest are none the worse for it',
  async (t) => {
    const honest = meanMs({})
    const fooled = meanMs({ liars: 1 })
    const wise = meanMs({ liars: 1, learn: true })
    t.ok(fooled > honest * 1.1, `${fooled} with a liar, ${honest} without`)
    t.ok(wise - honest < 0.8 * (fooled - honest), `${wise} when homes learn`)
    const learning = meanMs({ learn: true })
    t.ok(learning < honest * 1.03, `${learning} when they learn and nobody lies`)
  }
)

t.test('the same seed gives the same run when homes learn', async (t) => {
  const scenario: Scenario = {
    topology: 'ring',
    peers: 4,
    strategy: STRATEGIES.get('kappa')!,
    workload: 'poisson',
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
