import t from 'tap'
import { run, type Scenario } from '../../src/simulator/scenario.ts'
import { STRATEGIES } from '../../src/simulator/strategies.ts'

const BASE: Omit<Scenario, 'strategy' | 'seed'> = {
  topology: 'ring',
  peers: 6,
  workload: 'batches',
  homes: 'half-weak',
  load: 0.5,
  owners: 0.1,
  loss: 0.02,
  durationMs: 20_000
}

for (const strategy of STRATEGIES.values()) {
  t.test(`${strategy.name}: the same seed, the same run; another seed, another run`, async (t) => {
    const [first, second, other] = [1, 1, 2].map((seed) => run({ ...BASE, strategy, seed }))
    t.same(first, second)
    t.not(first!.hash, other!.hash)
    t.ok(first!.jobs > 0)
  })
}
