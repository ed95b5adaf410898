import fc from 'fast-check'
import t from 'tap'
import {
  distributionMetric,
  guestCapacity,
  homeCapacity,
  metric,
  PAPER_HOP_COST,
  share,
  worthTheWay
} from '../../src/core/metric.ts'
import { record } from './scenario.ts'

t.test('a share is the demand while so many cores are idle, else the fair part', async (t) => {
  t.equal(share(1, { cores: 4, idle: 4, competing: 0 }), 1)
  t.equal(share(16, { cores: 4, idle: 4, competing: 0 }), 4)
  t.equal(share(1, { cores: 1, idle: 0, competing: 4 }), 1 / 5, 'one core, four tasks: a fifth, as in (3)')
  t.equal(share(2, { cores: 2, idle: 1, competing: 1 }), 4 / 3, 'three tasks on two cores')
  t.equal(share(0.5, { cores: 1, idle: 0, competing: 1 }), 1 / 3)
  t.equal(share(1, { cores: 1, idle: 0.75, competing: 9 }), 0.75, 'nobody contends for the idle part')
  t.equal(share(1, { cores: 0, idle: 0, competing: 0 }), 0)
  t.equal(share(0, { cores: 4, idle: 4, competing: 0 }), 0)
})

t.test('a share grows with the demand, and never exceeds it or the machine', async () => {
  const capacity = fc
    .record({ cores: fc.double({ min: 0, max: 64, noNaN: true }), part: fc.double({ min: 0, max: 1, noNaN: true }) })
    .chain(({ cores, part }) =>
      fc.record({
        cores: fc.constant(cores),
        idle: fc.constant(cores * part),
        competing: fc.double({ min: cores * (1 - part), max: 200, noNaN: true })
      })
    )
  const demand = fc.double({ min: 0.01, max: 1024, noNaN: true })
  fc.assert(
    fc.property(capacity, demand, demand, (at, a, b) => {
      const [small, large] = [share(Math.min(a, b), at), share(Math.max(a, b), at)]
      return small <= large + 1e-9 && large <= Math.max(a, b) && large <= at.cores + 1e-9 && small >= 0
    })
  )
})

t.test("home competes with everything at normal priority, and guests don't count", async (t) => {
  const busy = record({ cores: 4, idleCores: 2, runnable: 2, homeDemand: 1, guestDemand: 8 })
  t.same(homeCapacity(busy), { cores: 4, idle: 1, competing: 3 })
  t.equal(metric(busy, 1, { home: true }), 100)
  t.equal(metric({ ...busy, speed: 0.5 }, 2, { home: true }), (50 * 8) / 5)
})

t.test("for guests the owner's cores are gone and only guests share", async (t) => {
  const busy = record({ cores: 4, idleCores: 3, runnable: 1, homeDemand: 1, guestDemand: 2 })
  t.same(guestCapacity(busy), { cores: 2, idle: 0, competing: 2 })
  t.equal(metric(busy, 1, { home: false }), 100 * (2 / 3))
  t.equal(metric(record({ cores: 1, idleCores: 0, runnable: 1 }), 1, { home: false }), 0)
  t.equal(metric(record({ cores: 2, homeDemand: 16 }), 1, { home: false }), 0)
})

t.test('cores that are busy count as tasks when the task count lags', async (t) => {
  t.equal(metric(record({ cores: 1, idleCores: 0, runnable: 0 }), 1, { home: true }), 50)
})

t.test('a quota of a quarter core is worth a quarter', async (t) => {
  t.equal(metric(record({ cores: 0.25 }), 1, { home: true }), 25)
  t.equal(metric(record({ cores: 0.25 }), 1, { home: false }), 25)
})

t.test('paper: Table II, a machine with four jobs and an idle one', async (t) => {
  const b = metric(record({ cores: 1 }), 1, { home: true }, 'paper')
  const a = metric(record({ cores: 1, idleCores: 0, runnable: 4 }), 1, { home: true }, 'paper')
  t.ok(b >= 140 && b <= 150, `idle: ${b}`)
  t.ok(a >= 35 && a <= 45, `four jobs: ${a}`)
  t.ok(b - PAPER_HOP_COST >= 125 && b - PAPER_HOP_COST <= 135, 'as seen from a neighbour')
  t.ok(a - PAPER_HOP_COST >= 20 && a - PAPER_HOP_COST <= 30, 'as seen from a neighbour')
})

t.test('paper: Table III, the idle machine is chosen until it runs as many, and each job counts', async (t) => {
  const loaded = (jobs: number) =>
    metric(record({ cores: 1, idleCores: jobs === 0 ? 1 : 0, runnable: jobs }), 1, { home: false }, 'paper')
  for (let jobs = 0; jobs < 10; jobs++) t.ok(loaded(jobs) > loaded(jobs + 1), 'each process lowers it')
  t.ok(loaded(0) - 2 * PAPER_HOP_COST > loaded(6), 'A with six knows of the idle C over two hops')
  t.ok(loaded(5) > loaded(6), 'the probe finds C with five better than A with six')
  t.equal(
    metric(record({ cores: 1, guestDemand: 3 }), 1, { home: false }, 'paper'),
    loaded(3),
    'guests are processes like others'
  )
})

t.test('paper: memory counts only when little is left', async (t) => {
  const at = (part: number) =>
    metric(record({ memoryTotal: 1000, memoryAvailable: 1000 * part }), 1, { home: true }, 'paper')
  t.equal(at(0.9), at(0.1))
  t.ok(at(0.05) < at(0.1))
  t.equal(metric(record({ memoryTotal: 0 }), 1, { home: true }, 'paper'), 15, 'the static part alone')
})

t.test('the way costs a factor, under the paper a constant', async (t) => {
  t.equal(worthTheWay(100, 1.05, 'product'), 105)
  t.equal(worthTheWay(100, 1.05, 'paper'), 100)
  const idle = record({ cores: 1 })
  t.equal(distributionMetric(idle, 1, 1, 'product'), 100)
  t.equal(distributionMetric(idle, 1, 3, 'product'), 90.25)
  t.equal(distributionMetric(idle, 1, 2, 'paper'), metric(idle, 1, { home: false }, 'paper') - 30)
})
