import t from 'tap'
import { meanOfTruncatedPareto, randomFrom, truncatedPareto } from '../../src/simulator/random.ts'
import { machineOf } from '../../src/simulator/scenario.ts'
import { estimate, meanOf, quantileOf } from '../../src/simulator/statistics.ts'
import type { Order } from '../../src/simulator/user-job.ts'
import { ordersOf, ownerChanges, WORKLOADS } from '../../src/simulator/workload.ts'

const MACHINES = [machineOf(2, 0.3), machineOf(4, 1), machineOf(8, 0.7)]
const CAPACITY = 2 * 0.3 + 4 + 8 * 0.7

/** It and what follows it. */
function chainOf(order: Omit<Order, 'at'>): Omit<Order, 'at'>[] {
  return [order, ...(order.next === undefined ? [] : chainOf(order.next))]
}

function workOf(order: Order): number {
  return chainOf(order).reduce((sum, { workMs }) => sum + workMs, 0)
}

t.test('every workload asks for its load, whoever asks', async (t) => {
  for (const name of WORKLOADS) {
    const toMs = 10 * 3_600_000
    const init = { name, machines: MACHINES, weakHome: 0, load: 0.5, owners: 0, fromMs: 0, toMs, random: randomFrom(3) }
    const orders = ordersOf({ ...init, homes: 'half-weak' })
    const asked = orders.reduce((sum, order) => sum + workOf(order), 0) / toMs / CAPACITY
    t.ok(asked > 0.45 && asked < 0.55, `${name} asks for ${asked}`)
    t.same(
      orders.map(({ at }) => at),
      orders.map(({ at }) => at).sort((a, b) => a - b)
    )
    const weak = orders.filter(({ home }) => home === 0).length / orders.length
    t.ok(weak > 0.6 && weak < 0.74, `a half and its part of the rest at the weak one: ${weak}`)
  }
})

t.test('graphs are asked for one after the other, or at once', async (t) => {
  const init = {
    homes: 'one',
    machines: MACHINES,
    weakHome: 0,
    load: 0.5,
    owners: 0,
    fromMs: 0,
    toMs: 3_600_000
  } as const
  const works = (name: 'graphs' | 'graphs-at-once') =>
    ordersOf({ ...init, name, random: randomFrom(3) }).flatMap((order) => chainOf(order).map(({ workMs }) => workMs))
  t.ok(works('graphs').length > 100)
  t.same(works('graphs'), works('graphs-at-once'))
  t.ok(works('graphs').every((work) => work >= 0 && work <= 60_000))
})

t.test('what owners use leaves less to ask for', async (t) => {
  const init = { name: 'poisson', homes: 'many', machines: MACHINES, weakHome: 0, load: 0.5 } as const
  const count = (owners: number) =>
    ordersOf({ ...init, owners, fromMs: 0, toMs: 36_000_000, random: randomFrom(3) }).length
  t.ok(Math.abs(count(0.5) / count(0) - 0.5) < 0.05)
})

t.test('owners use their part on average', async (t) => {
  t.same(ownerChanges(MACHINES, 0, 1_000, randomFrom(1)), [])
  const changes = ownerChanges([machineOf(8, 1)], 0.25, 100 * 3_600_000, randomFrom(1))
  const mean = meanOf(changes.map(({ tasks }) => tasks))
  t.ok(Math.abs(mean - 2) < 0.1, `${mean} of 2`)
})

t.test('the truncated Pareto distribution has its mean', async (t) => {
  for (const work of [
    { shape: 1.2, least: 1, most: 100 },
    { shape: 1, least: 1, most: 100 }
  ]) {
    const random = randomFrom(5)
    const drawn = Array.from({ length: 200_000 }, () => truncatedPareto(random, work))
    t.ok(Math.abs(meanOf(drawn) / meanOfTruncatedPareto(work) - 1) < 0.03)
    t.ok(Math.min(...drawn.slice(0, 10_000)) >= 1 && Math.max(...drawn.slice(0, 10_000)) <= 100)
  }
})

t.test('estimates', async (t) => {
  t.same(estimate([2, 2, 2]), { mean: 2, halfWidth: 0 })
  const { mean, halfWidth } = estimate([1, 2, 3, 4, 5])
  t.equal(mean, 3)
  t.ok(Math.abs(halfWidth - 1.963) < 0.001, 'Student with four degrees of freedom')
  t.ok(Number.isNaN(estimate([1]).halfWidth))
  t.equal(quantileOf([4, 1, 3, 2], 0.5), 2.5)
})
