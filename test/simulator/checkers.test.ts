/** Each checker is shown a core that breaks what it watches over. */

import t from 'tap'
import { HomeJob } from '../../src/core/home-job.ts'
import { PeerCore, type PeerCoreInit } from '../../src/core/peer-core.ts'
import type { Effect, MachineRecord, OverlayMessage, PlaceRequest } from '../../src/core/types.ts'
import { Checker } from '../../src/simulator/checker.ts'
import { runFaults } from '../../src/simulator/faults.ts'
import { machineOf } from '../../src/simulator/scenario.ts'
import { Simulation } from '../../src/simulator/simulation.ts'
import { edgesOf } from '../../src/simulator/topology.ts'
import { Transcript } from '../../src/simulator/transcript.ts'
import { VirtualTime } from '../../src/simulator/virtual-time.ts'
import { requestFor } from '../../src/simulator/workload.ts'

const SEED = 4711

/** Three peers, all paired; the first is slow and asked for ten jobs at once. */
function play(Core: typeof PeerCore, loss = 0, seed = SEED): Simulation {
  const simulation = new Simulation({
    seed,
    label: 'broken',
    machines: [machineOf(1, 0.3), machineOf(4, 1), machineOf(4, 1)],
    edges: edgesOf('clique', 3, () => 0),
    quality: { delayMs: 1, jitterMs: 0 },
    strategy: { name: 'broken', membership: 'neighbours', create: (init) => new Core(init) },
    clockDrift: 0,
    startTimeoutMs: 300
  })
  simulation.time.at(5_100, () => simulation.submit({ at: 5_100, home: 1, workMs: 100, request: requestFor(1) }))
  simulation.network.unreliability.loss = loss
  for (let index = 0; index < 10; index++) {
    simulation.time.at(5_000, () => simulation.submit({ at: 5_000, home: 0, workMs: 4_000, request: requestFor(1) }))
  }
  simulation.time.runUntil(6_000)
  simulation.network.unreliability.loss = 0
  simulation.runToEnd(200_000)
  return simulation
}

/** Changes what a core sends. */
function sending(change: (message: OverlayMessage, to: string) => OverlayMessage): typeof PeerCore {
  const changed = (effects: Effect[]) =>
    effects.map((effect) =>
      effect.type === 'send' ? { ...effect, message: change(effect.message, effect.to) } : effect
    )
  return class extends PeerCore {
    override handleTimer(now: number) {
      return changed(super.handleTimer(now))
    }
    override handleSample(...given: Parameters<PeerCore['handleSample']>) {
      return changed(super.handleSample(...given))
    }
    override place(...given: Parameters<PeerCore['place']>) {
      return changed(super.place(...given))
    }
    override handleMessage(...given: Parameters<PeerCore['handleMessage']>) {
      return changed(super.handleMessage(...given))
    }
  }
}

const BROKEN: Record<string, [RegExp, typeof PeerCore]> = {
  'a slot that is not given back': [
    /still promises \d slots/,
    class extends PeerCore {
      override guestJobEnded() {
        return []
      }
    }
  ],
  'a job at home that is never forgotten': [
    /still counts \d cores for own jobs/,
    class extends PeerCore {
      override homeJobEnded() {
        return []
      }
    }
  ],
  'memory that stays promised': [
    /still promises 7 bytes/,
    class extends PeerCore {
      override ownRecord(now: number): MachineRecord {
        return { ...super.ownRecord(now), memoryPromised: 7 }
      }
    }
  ],
  'something that is remembered for ever': [
    /still remembers 1 things/,
    class extends PeerCore {
      override get remembered() {
        return super.remembered + 1
      }
    }
  ],
  'a table without a bound': [
    /p\d remembers 1000000 things/,
    class extends PeerCore {
      override get remembered() {
        return 1_000_000
      }
    }
  ],
  'more slots promised than there are': [
    /promised \d+ of 8 slots/,
    class extends PeerCore {
      override ownRecord(now: number): MachineRecord {
        const record = super.ownRecord(now)
        return { ...record, guestDemand: 4 * record.guestDemand }
      }
    }
  ],
  'guests that hold no slots': [
    /runs guests for \d slots and promised 0/,
    class extends PeerCore {
      override ownRecord(now: number): MachineRecord {
        return { ...super.ownRecord(now), guestDemand: 0 }
      }
    }
  ],
  'a decision that comes too late': [
    /was placed after 450 ms/,
    class extends PeerCore {
      #asked: [string, PlaceRequest, number][] = []
      override place(...asked: [string, PlaceRequest, number]) {
        this.#asked.push(asked)
        return []
      }
      override nextTimer() {
        const [first] = this.#asked
        return first === undefined ? super.nextTimer() : Math.min(first[2] + 450, super.nextTimer() ?? first[2] + 450)
      }
      override handleTimer(now: number) {
        const effects = super.handleTimer(now)
        for (const [id, request, at] of this.#asked.splice(0)) {
          if (now >= at + 450) effects.push(...super.place(id, { ...request, local: true }, now))
          else this.#asked.push([id, request, at])
        }
        return effects
      }
    }
  ],
  'a job that nothing becomes of': [
    /nothing became of j0/,
    class extends PeerCore {
      override place() {
        return []
      }
    }
  ],
  'two decisions about one job': [
    /was decided though nobody asked/,
    class extends PeerCore {
      override place(...given: Parameters<PeerCore['place']>) {
        const effects = super.place(given[0], { ...given[1], local: true }, given[2])
        return [...effects, ...effects]
      }
    }
  ],
  'a core that is always due': [
    /is due again and again/,
    class extends PeerCore {
      override nextTimer() {
        return 0
      }
    }
  ],
  'a probe that comes back to where it was': [
    /probe \w+ goes p0 > (p1|p2) > p0/,
    class extends PeerCore {
      readonly #self: string
      constructor(init: PeerCoreInit) {
        super(init)
        this.#self = init.self
      }
      override handleMessage(from: string, message: OverlayMessage, now: number): Effect[] {
        const effects = super.handleMessage(from, message, now)
        if (message.type !== 'probe') return effects
        return [{ type: 'send', to: from, message: { ...message, path: [...message.path, this.#self] } }]
      }
    }
  ],
  'a probe under another name': [
    /p0 forwards probe \w+, whose path is p9/,
    sending((message) => (message.type === 'probe' ? { ...message, path: ['p9'] } : message))
  ],
  'a probe that goes too far': [
    /goes too far/,
    sending((message) =>
      message.type === 'probe'
        ? { ...message, path: ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', ...message.path] }
        : message
    )
  ],
  'a probe without a bound': [
    /goes 99 hops on/,
    sending((message) => (message.type === 'probe' ? { ...message, hopsLeft: 99 } : message))
  ],
  'a probe that is waited for too long': [
    /is waited for 500 ms/,
    sending((message) => (message.type === 'probe' ? { ...message, waitMs: 500 } : message))
  ],
  'a stranger who stays': [
    /p\d still lets in p0/,
    class extends PeerCore {
      override handleMessage(...given: Parameters<PeerCore['handleMessage']>): Effect[] {
        const effects = super.handleMessage(...given)
        return given[1].type === 'probe' ? [...effects, { type: 'admit', home: 'p0' }] : effects
      }
    }
  ],
  'too many entries': [
    /of 9 peers at once/,
    sending((message) =>
      message.type === 'advertisement' ? { ...message, entries: Array(9).fill(message.entries[0]) } : message
    )
  ],
  'a peer that is told about itself': [
    /tells p\d about itself/,
    sending((message, to) =>
      message.type === 'advertisement'
        ? { ...message, entries: message.entries.map((entry) => ({ ...entry, origin: to })) }
        : message
    )
  ],
  'a record that travels on for ever': [
    /sends a record -1 hops on/,
    sending((message) =>
      message.type === 'advertisement'
        ? { ...message, entries: message.entries.map((entry) => ({ ...entry, hopsLeft: -1 })) }
        : message
    )
  ]
}

t.test('what is sound passes', async (t) => {
  t.ok([...play(PeerCore).jobs].some(({ target }) => target !== 0))
})

for (const [what, [message, Core]] of Object.entries(BROKEN)) {
  t.test(`${what} is caught`, async (t) => {
    t.throws(() => play(Core), { name: 'CheckFailure', message })
  })
}

t.test('a ticket that is called void while it runs is caught, when an answer to a start is lost', async (t) => {
  class Forgetful extends PeerCore {
    override resolveTicket() {
      return { state: 'void' } as const
    }
  }
  const some = () => {
    for (let seed = 1; seed <= 50; seed++) play(Forgetful, 0.3, seed)
  }
  t.throws(some, { name: 'CheckFailure', message: /j\d+ ran 2 times/ })
})

t.test('a failure tells the seed, and what came before', async (t) => {
  t.throws(() => play(BROKEN['a job that nothing becomes of']![1]), {
    message: /seed: 4711 \(broken\)\nlast events:\n(.*\n)*5000\.000 p0: asks for j9/
  })
})

t.test('what no core can break alone: outcomes that contradict each other', async (t) => {
  const checker = new Checker('1', new Transcript(new VirtualTime()))
  const ticket = { id: 'a', target: 'p1', epoch: 1, validMs: 2_000 }
  const rules = new HomeJob({ ticket, now: 0, startTimeoutMs: 1, lostAfterMs: 1 })
  const attempt = { ticket, probeId: 'b', via: 'p1', rules, sent: false, timerAt: 0 }
  const job = { id: 'j', at: 0, home: 0, workMs: 1, request: requestFor(1), runs: 1, hops: 0 }
  const fails = (run: () => void, message: RegExp) => t.throws(run, { name: 'CheckFailure', message })
  fails(() => checker.lost({ ...job, outcomes: [] }, attempt), /lost though its start was never handed over/)
  fails(() => checker.over({ ...job, outcomes: ['exited', 'lost'] }), /is exited and lost/)
  fails(() => checker.over({ ...job, outcomes: ['unplaceable'] }), /is unplaceable and ran/)
  fails(() => checker.over({ ...job, runs: 0, outcomes: ['exited'] }), /exited and ran 0 times/)
  fails(() => checker.vouched({ ...job, outcomes: [] }, ['own', 'friend']), /goes over own, friend machines/)
  checker.vouched({ ...job, outcomes: [] }, ['friend'])
  fails(() => checker.ran({ ...job, outcomes: ['cancelled'] }), /is cancelled and ran/)
})

t.test('random faults find what needs a fault', async (t) => {
  const forgetful = {
    name: 'forgetful',
    membership: 'neighbours' as const,
    create: (init: PeerCoreInit) => {
      const core = new PeerCore(init)
      core.resolveTicket = () => ({ state: 'void' })
      return core
    }
  }
  t.throws(
    () => {
      for (let seed = 1; seed <= 100; seed++) runFaults({ seed, peers: 6, strategy: forgetful, calm: false })
    },
    { name: 'CheckFailure', message: /ran 2 times|is unplaceable and ran/ }
  )
})
