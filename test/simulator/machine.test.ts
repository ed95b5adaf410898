import t from 'tap'
import { metric, share } from '../../src/core/metric.ts'
import { LoadSampler } from '../../src/simulator/load-sampler.ts'
import { type Costs, Machine } from '../../src/simulator/machine.ts'
import { machineOf } from '../../src/simulator/scenario.ts'
import { Simulation } from '../../src/simulator/simulation.ts'
import { STRATEGIES } from '../../src/simulator/strategies.ts'
import { requestFor } from '../../src/simulator/workload.ts'
import { record } from '../core/scenario.ts'

/** Ends in order, as `id at`. */
function play(machine: Machine): string[] {
  const ends: string[] = []
  for (;;) {
    const next = machine.nextEnd()
    if (next === undefined || !Number.isFinite(next.at)) return ends
    machine.remove(next.id, next.kind, next.at)
    ends.push(`${next.id} ${Math.round(next.at * 1e6) / 1e6}`)
  }
}

t.test('a job alone takes its work by cores and speed', async (t) => {
  const machine = new Machine(machineOf(4, 0.5))
  machine.start({ id: 'one', demand: 1, workMs: 1_000 }, 'home', 0)
  machine.start({ id: 'two', demand: 2, workMs: 1_000 }, 'home', 0)
  t.same(play(machine), ['two 1000', 'one 2000'])
})

t.test('jobs at normal priority share fairly by the cores that they can use, the owner among them', async (t) => {
  const machine = new Machine(machineOf(2, 1))
  machine.setOwner(1, 0)
  machine.start({ id: 'a', demand: 1, workMs: 1_000 }, 'home', 0)
  machine.start({ id: 'b', demand: 2, workMs: 1_000 }, 'home', 0)
  t.equal(machine.ownerUses, 0.5, 'four want two cores: each gets a half of what it can use')
  // b has a whole core until it ends at 1000; a had a half, then a core to itself.
  t.same(play(machine), ['b 1000', 'a 1500'])
})

t.test('guests get what is left and share it, and a fiftieth while nothing is left', async (t) => {
  const machine = new Machine(machineOf(4, 1))
  machine.start({ id: 'own', demand: 3, workMs: 3_000 }, 'home', 0)
  machine.start({ id: 'g1', demand: 1, workMs: 1_000 }, 'guest', 0)
  machine.start({ id: 'g2', demand: 1, workMs: 1_000 }, 'guest', 0)
  // One core for both until the own job ends at 1000; half of each is left then.
  t.same(play(machine), ['own 1000', 'g1 1500', 'g2 1500'])
  machine.setOwner(4, 2_000)
  machine.start({ id: 'g3', demand: 1, workMs: 1_000 }, 'guest', 2_000)
  t.equal(machine.nextEnd()?.at, 2_000 + 1_000 / (4 * 0.02))
  t.equal(machine.ownerUses, 4 * 0.98)
  // 240 of 1000 ms are done after 3 s; then it has a core.
  machine.setOwner(3, 5_000)
  t.same(play(machine), ['g3 5760'])
})

t.test('where guests are equals they share with all', async (t) => {
  const machine = new Machine({ ...machineOf(1, 1), guestsAreEquals: true })
  machine.setOwner(1, 0)
  machine.start({ id: 'own', demand: 1, workMs: 1_000 }, 'home', 0)
  machine.start({ id: 'guest', demand: 1, workMs: 500 }, 'guest', 0)
  t.ok(Math.abs(machine.ownerUses - 1 / 3) < 1e-9)
  // A third of the core each until 1500, then a half.
  t.same(play(machine), ['guest 1500', 'own 2500'])
})

t.test('what is killed leaves its share to the others', async (t) => {
  const machine = new Machine(machineOf(1, 1))
  machine.start({ id: 'a', demand: 1, workMs: 1_000 }, 'guest', 0)
  machine.start({ id: 'b', demand: 1, workMs: 1_000 }, 'guest', 0)
  machine.remove('a', 'guest', 1_000)
  t.same(play(machine), ['b 1500'])
})

t.test('a newcomer goes as fast as the metric said', async (t) => {
  for (const [owner, own, guests, demand] of [
    [0, 0, 0, 1],
    [1, 2, 3, 2],
    [2, 3, 4, 4],
    [4, 1, 0, 1],
    [0, 0, 6, 1]
  ] as const) {
    for (const kind of ['home', 'guest'] as const) {
      const machine = new Machine(machineOf(4, 0.5))
      machine.setOwner(owner, 0)
      if (own > 0) machine.start({ id: 'own', demand: own, workMs: 1e9 }, 'home', 0)
      if (guests > 0) machine.start({ id: 'guests', demand: guests, workMs: 1e9 }, 'guest', 0)
      const seen = record({
        ...new LoadSampler(machine).truth(),
        homeDemand: own,
        guestDemand: guests
      })
      const promised = metric(seen, demand, { home: kind === 'home' }) / 100
      machine.start({ id: 'new', demand, workMs: 1 }, kind, 0)
      const { id, at } = machine.nextEnd()!
      const got = id === 'new' ? 1 / at : 0
      // Beside guests who had nothing but their fiftieth, an own job gets all but that; a guest gets a part of it.
      const least = guests > 0 || kind === 'guest' ? 0.5 * 4 * 0.02 : 0
      t.ok(
        Math.abs(promised - got) <= least + 1e-9,
        `owner ${owner}, own ${own}, guests ${guests}, ${kind} ${demand}: ${promised}, ${got}`
      )
    }
  }
  t.equal(share(1, { cores: 4, idle: 4, competing: 0 }), 1)
})

t.test('the load is seen late: over the window that has passed', async (t) => {
  const machine = new Machine(machineOf(4, 1))
  const sampler = new LoadSampler(machine)
  t.equal(sampler.take(0).idleCores, 4)
  t.equal(sampler.take(1_000).idleCores, 4)
  machine.setOwner(2, 1_500)
  t.equal(sampler.take(1_600).idleCores, 4 - 2 * (100 / 600), 'since the reading that is nearest to a second old')
  t.equal(sampler.take(2_000).idleCores, 3)
  t.equal(sampler.take(3_000).idleCores, 2)
  t.ok(Math.abs(sampler.take(13_000).runnable - 2) < 0.01)
  t.equal(sampler.truth().idleCores, 2)
})

t.test("kappa's own work comes first, is load to the sampler, and holds up all jobs alike", async (t) => {
  const machine = new Machine({ ...machineOf(2, 1), costs: { daemon: 0.1, placed: 20, shipped: 10, guest: 40 } })
  const sampler = new LoadSampler(machine)
  sampler.take(0)
  machine.start({ id: 'own', demand: 1, workMs: 950 }, 'home', 0)
  machine.start({ id: 'guest', demand: 1, workMs: 950 }, 'guest', 0)
  machine.spend(40, 0)
  t.equal(machine.nextEnd()?.at, 970, 'both cores for 20 ms; then there is a core for the own job')
  machine.remove('own', 'home', 970)
  // The guest had 0.9 of a core till then.
  t.same(play(machine), ['guest 1065'])
  t.ok(Math.abs(sampler.take(1_065).idleCores - (2 - (40 + 0.1 * 1_045) / 1_065)) < 1e-9)
})

t.test('what a job costs beside its work is spent where it is placed and where it runs', async (t) => {
  const responseMs = (costs: Costs | undefined, remote: boolean) => {
    const spec = { ...machineOf(1, 1), ...(costs === undefined ? {} : { costs }) }
    const simulation = new Simulation({
      seed: 1,
      machines: [spec, spec],
      edges: [[0, 1]],
      quality: { delayMs: 1, jitterMs: 0 },
      strategy: STRATEGIES.get('kappa')!,
      clockDrift: 0,
      startTimeoutMs: 2_000
    })
    const order = { at: 3_000, home: 0, workMs: 1_000, request: requestFor(1, remote ? { remote } : { local: true }) }
    simulation.time.at(order.at, () => simulation.submit(order))
    simulation.time.runUntil(order.at)
    simulation.runToEnd(60_000)
    const [job] = simulation.jobs
    return job!.endedAt! - job!.at
  }
  const costs = { daemon: 0, placed: 20, shipped: 10, guest: 40 }
  t.equal(Math.round(responseMs(costs, false) - responseMs(undefined, false)), 20)
  t.equal(Math.round(responseMs(costs, true) - responseMs(undefined, true)), 40)
  t.ok(responseMs({ ...costs, daemon: 0.5 }, false) > 2_000)
})
