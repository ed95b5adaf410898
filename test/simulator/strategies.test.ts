import t from 'tap'
import { compare } from '../../src/simulator/comparison.ts'
import { run, type Scenario } from '../../src/simulator/scenario.ts'
import { STRATEGIES } from '../../src/simulator/strategies.ts'

const CONDITIONS = { workload: 'batches', homes: 'half-weak', owners: 0, loss: 0, durationMs: 60_000 } as const
const CLIQUE = { ...CONDITIONS, topology: 'clique', peers: 6, load: 0.6, seed: 3 } as const

function mean(name: string, changes: Partial<Scenario> = {}): number {
  return run({ ...CLIQUE, ...changes, strategy: STRATEGIES.get(name)! }).meanMs
}

t.test('who knows more places better', async (t) => {
  const [greedy, kappa, two, limited, random, local] = [
    'greedy',
    'kappa',
    'two-choices',
    'limited',
    'random',
    'local'
  ].map((name) => mean(name))
  t.ok(kappa! < 1.15 * greedy!, `kappa ${kappa} beside ${greedy}`)
  t.ok(greedy! < two! && two! < limited! && limited! < random! && random! < local!)
})

t.test('local ships nothing, greedy within reach goes no farther', async (t) => {
  const line = { ...CLIQUE, topology: 'line', peers: 24 } as const
  t.equal(run({ ...line, strategy: STRATEGIES.get('local')! }).shipped, 0)
  t.ok(mean('greedy', line) < mean('greedy-near', line))
})

t.test('a comparison divides by greedy of the same seed', async (t) => {
  const strategies = ['greedy', 'two-choices'].map((name) => STRATEGIES.get(name)!)
  const [greedy, two] = compare({ topology: 'clique', peers: 6, load: 0.6 }, CONDITIONS, strategies, 2)
  t.match(greedy, { strategy: 'greedy', ratio: { mean: 1, halfWidth: 0 }, p99Ratio: { mean: 1 } })
  const ratios = [1, 2].map((seed) => mean('two-choices', { seed }) / mean('greedy', { seed }))
  t.equal(two!.ratio.mean, (ratios[0]! + ratios[1]!) / 2)
  t.ok(two!.hops.mean > 0)
  t.same(Object.keys(two!.messagesByType), ['advertisement', 'probe', 'probe-reply', 'release'])
  const sum = Object.values(two!.messagesByType).reduce((total, count) => total + count, 0)
  t.ok(Math.abs(sum - two!.messages.mean) < 1e-9)
})

t.test('nobody asks for anything: hardly a message', async (t) => {
  const { messages, jobs } = run({ ...CLIQUE, load: 0, strategy: STRATEGIES.get('kappa')! })
  t.equal(jobs, 0)
  t.ok(messages.advertisement <= 0.2, `${messages.advertisement} per neighbour and second`)
})
