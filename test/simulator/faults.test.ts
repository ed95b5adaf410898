import t from 'tap'
import { STRATEGIES as CORE_STRATEGIES } from '../../src/core/strategies/index.ts'
import { type FaultPlan, runFaults } from '../../src/simulator/faults.ts'
import { STRATEGIES } from '../../src/simulator/strategies.ts'

const strategy = STRATEGIES.get('kappa')!
const PEERS = 16

function total(plans: FaultPlan[]) {
  const sum = { exited: 0, killed: 0, lost: 0, unplaceable: 0, cancelled: 0, orphaned: 0, shipped: 0 }
  for (const plan of plans) {
    const { outcomes, shipped } = runFaults(plan)
    for (const [outcome, count] of Object.entries(outcomes)) sum[outcome as keyof typeof outcomes] += count
    sum.shipped += shipped
  }
  return sum
}

function plans(count: number, placement = strategy): FaultPlan[] {
  return Array.from({ length: count }, (_, index) => ({
    seed: index + 1,
    peers: PEERS,
    strategy: placement,
    calm: false
  }))
}

t.test('whatever happens: at most once, never lost before its start, slots kept, nothing left behind', async (t) => {
  const sum = total(plans(60))
  t.ok(sum.exited > 1_000, `${sum.exited} exited`)
  t.ok(sum.shipped > 500, `${sum.shipped} shipped`)
  for (const outcome of ['killed', 'lost', 'unplaceable', 'cancelled', 'orphaned'] as const) {
    t.ok(sum[outcome] > 0, `${sum[outcome]} ${outcome}`)
  }
})

t.test('the same holds for every strategy and information policy', async (t) => {
  const others = ['kappa+broadcast', 'kappa+gossip', ...CORE_STRATEGIES.map(({ name }) => name)]
  for (const name of others) {
    const { shipped } = total(plans(4, STRATEGIES.get(name)!))
    t.ok(shipped > 0, `${name}: ${shipped} shipped`)
  }
})

t.test('the same schedule, the same run', async (t) => {
  const [plan] = plans(1)
  t.same(runFaults(plan!), runFaults(plan!))
})
