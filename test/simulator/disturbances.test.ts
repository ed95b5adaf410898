import t from 'tap'
import { compareFaulty } from '../../src/simulator/comparison.ts'
import { run, type Scenario } from '../../src/simulator/scenario.ts'
import { STRATEGIES } from '../../src/simulator/strategies.ts'

const CONDITIONS = { workload: 'batches', homes: 'many', owners: 0, loss: 0, durationMs: 120_000 } as const
const SCENARIO: Scenario = {
  ...CONDITIONS,
  topology: 'ring',
  peers: 8,
  load: 0.5,
  seed: 2,
  strategy: STRATEGIES.get('kappa')!
}

t.test('the same disturbances, the same run; what was lost is asked for again', async (t) => {
  const faulty = { ...SCENARIO, faulty: true }
  const result = run(faulty)
  t.same(run(faulty), result)
  const calm = run(SCENARIO)
  t.match(calm, { again: 0, orphaned: 0 })
  t.ok(result.again > 0 && result.orphaned > 0, `${result.again} again, ${result.orphaned} orphaned`)
  const { jobs, again, orphaned } = result
  t.ok(jobs / (1 - orphaned) >= calm.jobs * (1 - again), 'each is counted once')
})

t.test('kappa beside itself without disturbances', async (t) => {
  const place = { topology: 'ring', peers: 8, load: 0.5 } as const
  const [row] = compareFaulty(place, CONDITIONS, [SCENARIO.strategy], 2)
  t.match(row, { ...place, strategy: 'kappa' })
  const ratios = [1, 2].map((seed) => {
    const [calm, faulty] = [false, true].map((faulty) => run({ ...SCENARIO, seed, faulty }).meanMs)
    return faulty! / calm!
  })
  t.equal(row!.ratio.mean, (ratios[0]! + ratios[1]!) / 2)
  t.ok(row!.ratio.mean < 1.3, `${row!.ratio.mean} times the mean`)
})

t.test('a burst that finds all slots taken ends sooner than greedy has it', async (t) => {
  const crowded = { ...SCENARIO, workload: 'make', homes: 'half-weak', topology: 'clique', load: 0.8, seed: 1 } as const
  const greedy = run({ ...crowded, strategy: STRATEGIES.get('greedy')! }).meanMs
  const kappa = run(crowded).meanMs
  t.ok(kappa < greedy, `${kappa} beside ${greedy}`)
})
