import fc from 'fast-check'
import t from 'tap'
import { needs, request } from './scenario.ts'
import { type Faults, randomFrom, type UserJob, VirtualNetwork } from './virtual-network.ts'

/** The same runs each time; another number tries others. */
const SEED = 20110711
const DAY = 25 * 3_600_000
const WORKLOAD_MS = 20_000
const HOMES = ['h1', 'h2']
const TARGETS = ['t1', 't2', 't3']

interface Scenario {
  faults: Faults
  targets: number
  jobs: number
  slots: number
}

const scenario: fc.Arbitrary<Scenario> = fc.record({
  faults: fc.record({
    seed: fc.integer(),
    loss: fc.constantFrom(0, 0.02, 0.2),
    duplication: fc.constantFrom(0, 0.2),
    maxDelayMs: fc.constantFrom(1, 30, 300),
    cuts: fc.integer({ min: 0, max: 12 }),
    restarts: fc.integer({ min: 0, max: 4 })
  }),
  targets: fc.integer({ min: 1, max: 3 }),
  jobs: fc.integer({ min: 1, max: 30 }),
  slots: fc.integer({ min: 1, max: 4 })
})

/** Two homes, one to three targets, a workload, faults; then peace for long enough that all must be over. */
function play({ faults, targets, jobs, slots }: Scenario): VirtualNetwork {
  const random = randomFrom(faults.seed ^ 0x5bd1e995)
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)]!
  const names = TARGETS.slice(0, targets)
  const network = new VirtualNetwork(faults, [
    ...HOMES.map((id) => ({ id, slots: 1, cores: 1 })),
    ...names.map((id) => ({ id, slots, cores: 4 }))
  ])
  for (let index = 0; index < jobs; index++) {
    const demand = pick([1, 1, 1, 0.5, 2, 16])
    const remote = random() < 0.3
    const wait = random() < 0.4
    const job: UserJob = {
      id: `j${index}`,
      home: pick(HOMES),
      request: request({ needs: needs({ demand, memoryBytes: 0 }), remote, wait }),
      durationMs: pick([1, 50, 500, 5_000]),
      runs: 0,
      outcomes: []
    }
    const at = 200 + random() * WORKLOAD_MS
    network.at(at, () => network.submit(job))
    if (random() < 0.1) network.at(at + random() * 300, () => network.cancel(job))
  }
  const all = [...HOMES, ...names]
  for (let cut = 0; cut < faults.cuts; cut++) {
    const [a, b] = [pick(HOMES), pick(all)]
    const forMs = pick([20, 200, 3_000, 20_000])
    if (a !== b) network.at(random() * WORKLOAD_MS, () => network.cut(a, b, forMs))
  }
  for (let restart = 0; restart < faults.restarts; restart++) {
    const id = pick(names)
    network.at(random() * WORKLOAD_MS, () => network.restart(id, pick([50, 2_000])))
  }
  network.runUntil(WORKLOAD_MS + 1_000)
  network.heal()
  network.runUntil(WORKLOAD_MS + 120_000)
  return network
}

t.test(
  'whatever happens: at most once, never lost and placed anew, slots kept, everything over, nothing left',
  async (t) => {
    let lost = 0
    let shipped = 0
    fc.assert(
      fc.property(scenario, (given) => {
        const network = play(given)
        const unfinished = network.jobs
          .filter((job) => job.outcomes.length !== 1)
          .map((job) => `${job.id}: ${job.outcomes}`)
        lost += network.jobs.filter((job) => job.outcomes[0] === 'lost').length
        shipped += network.jobs.filter((job) => job.ticket !== undefined).length
        const exitedUnrun = network.jobs
          .filter((job) => job.outcomes[0] === 'exited' && job.runs !== 1)
          .map((job) => job.id)
        const remembered = [...network.peers.values()].map(({ id, core }) => {
          core.handleTimer(network.now + DAY)
          const { homeDemand, guestDemand, memoryPromised } = core.ownRecord(network.now + DAY)
          return [id, core.remembered, homeDemand, guestDemand, memoryPromised].join(' ')
        })
        const clean = [...network.peers.keys()].map((id) => `${id} 0 0 0 0`)
        const found = [...network.violations, ...unfinished, ...exitedUnrun]
        if (found.length > 0) throw new Error(found.slice(0, 5).join('\n'))
        if (remembered.join() !== clean.join()) throw new Error(`left behind: ${remembered.join()}`)
      }),
      { numRuns: 120, seed: SEED }
    )
    t.ok(shipped > 100, `${shipped} shipped`)
    t.ok(lost > 0, `${lost} lost`)
  }
)

t.test('without faults none is lost and all run once', async (t) => {
  fc.assert(
    fc.property(scenario, (given) => {
      const calm = { ...given.faults, loss: 0, duplication: 0, maxDelayMs: 10, cuts: 0, restarts: 0 }
      const network = play({ ...given, faults: calm })
      const wrong = network.jobs.filter(
        ({ outcomes, runs }) =>
          !(outcomes[0] === 'exited' && runs === 1) && outcomes[0] !== 'unplaceable' && outcomes[0] !== 'cancelled'
      )
      return network.violations.length === 0 && wrong.length === 0
    }),
    { numRuns: 30, seed: SEED }
  )
  t.pass()
})

t.test('two homes at once, 20 one-core jobs that wait, three hosts of two slots: all run, each once', async (t) => {
  const faults = { seed: 1, loss: 0, duplication: 0, maxDelayMs: 2, cuts: 0, restarts: 0 }
  const ids = ['h1', 'h2', 't1']
  const network = new VirtualNetwork(
    faults,
    ids.map((id) => ({ id, slots: 2, cores: 2 }))
  )
  for (let index = 0; index < 20; index++) {
    const job: UserJob = {
      id: `j${index}`,
      home: index % 2 === 0 ? 'h1' : 'h2',
      request: request({ wait: true }),
      durationMs: 500,
      runs: 0,
      outcomes: []
    }
    network.at(500, () => network.submit(job))
  }
  network.runUntil(10_000)
  t.same(network.violations, [])
  t.same(
    network.jobs.map(({ runs, outcomes }) => [runs, ...outcomes]),
    network.jobs.map(() => [1, 'exited'])
  )
})
