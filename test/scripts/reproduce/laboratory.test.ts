import { appendFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { compareAll } from '../../../scripts/reproduce/comparing.ts'
import { Laboratory } from '../../../scripts/reproduce/laboratory.ts'
import { ResultStore } from '../../../scripts/reproduce/result-store.ts'
import type { Run } from '../../../scripts/reproduce/run.ts'

const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
const CONDITIONS = { workload: 'batches', homes: 'half-weak', owners: 0, loss: 0, durationMs: 20_000 } as const
const RUNS: readonly Run[] = [
  { ...CONDITIONS, topology: 'clique', peers: 3, load: 0.5, strategy: 'kappa', seed: 1 },
  { ...CONDITIONS, topology: 'line', peers: 4, load: 0.5, strategy: 'greedy', seed: 1 },
  { ...CONDITIONS, topology: 'line', peers: 4, load: 0.5, strategy: 'kappa', seed: 2 }
]

t.test('threads find what one finds, in the order of the runs', async (t) => {
  const told: number[] = []
  const alone = await new Laboratory({ quick: true }).run(RUNS)
  const together = await new Laboratory({ quick: false, progress: (done) => told.push(done) }).run(RUNS)
  t.same(together, alone)
  t.same(told, [1, 2, 3])
  t.equal(new Set(alone.map(({ hash }) => hash)).size, 3)
})

t.test('what was run already is not run again, and half a line is nothing', async (t) => {
  const directory = t.testdir()
  const first = await new Laboratory({ quick: false, store: new ResultStore(directory, ROOT) }).run(RUNS)
  const [name] = readdirSync(directory)
  appendFileSync(join(directory, name!), '{"run":{"topo')
  const store = new ResultStore(directory, ROOT)
  t.same(
    RUNS.map((run) => store.get(run)),
    first
  )
  t.equal(store.get({ ...RUNS[0]!, seed: 7 }), undefined)
})

t.test('what fails in a thread fails here', async (t) => {
  const wrong = { ...RUNS[0]!, strategy: 'nobody' }
  await t.rejects(new Laboratory({ quick: false }).run([wrong]), { message: /there is no strategy nobody/ })
  await t.rejects(new Laboratory({ quick: true }).run([{ ...RUNS[0]!, load: 0 }]), { message: /nobody asked/ })
})

t.test('each strategy is divided by greedy of the same seed', async (t) => {
  const { seed: _seed, strategy: _strategy, ...setting } = RUNS[0]!
  const settings = [
    { ...setting, strategies: ['kappa', 'greedy'], seeds: 2 },
    { ...setting, load: 0.3, strategies: ['greedy'], seeds: 2 }
  ]
  const [first, second] = await compareAll(new Laboratory({ quick: true }), settings)
  t.same(
    first!.rows.map(({ strategy }) => strategy),
    ['kappa', 'greedy']
  )
  t.match(first!.rows[1], { load: 0.5, ratio: { mean: 1, halfWidth: 0 } })
  t.match(second!.rows, [{ strategy: 'greedy', load: 0.3, ratio: { mean: 1 } }])
})
