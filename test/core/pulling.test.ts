import t from 'tap'
import type { PeerCore } from '../../src/core/peer-core.ts'
import type { Effect, PeerId, PlaceRequest } from '../../src/core/types.ts'
import { gist, peer, request, sample } from './scenario.ts'

const BUSY = sample({ cores: 2, idleCores: 0, runnable: 2 })
const IDLE = sample({ cores: 2 })
const GB = 2 ** 30

/** Cores that are joined as written (`AB BC`); messages arrive at once, in order, until all is quiet. */
class Wires {
  readonly cores = new Map<PeerId, PeerCore>()
  readonly said: string[] = []
  readonly #loads = new Map<PeerId, typeof BUSY>()

  constructor(edges: string, friends = '') {
    for (const edge of edges.split(' ')) for (const id of edge) this.#make(id)
    for (const edge of edges.split(' ')) {
      const [a, b] = [...edge] as [PeerId, PeerId]
      const kind = friends.split(' ').includes(edge) ? 'friend' : 'own'
      this.perform(a, this.of(a).handleNeighbourUp(b, { kind, name: b }, 0), 0)
      this.perform(b, this.of(b).handleNeighbourUp(a, { kind, name: a }, 0), 0)
    }
  }

  of(id: PeerId): PeerCore {
    return this.cores.get(id)!
  }

  sample(id: PeerId, load: typeof BUSY, now: number): this {
    this.#loads.set(id, load)
    return this.perform(id, this.of(id).handleSample(load, now), now)
  }

  place(id: PeerId, job: string, now: number, changes: Partial<PlaceRequest> = {}): this {
    return this.perform(id, this.of(id).place(job, request(changes), now), now)
  }

  tick(now: number): this {
    for (const [id, core] of this.cores) this.perform(id, core.handleTimer(now), now)
    return this
  }

  perform(id: PeerId, effects: Effect[], now: number): this {
    const said = gist(effects).filter((word) => word !== 'sample')
    this.said.push(...said.map((word) => `${id}: ${word}`))
    for (const effect of effects) {
      if (effect.type === 'sample') this.sample(id, this.#loads.get(id)!, now)
      if (effect.type !== 'send') continue
      this.perform(effect.to, this.of(effect.to).handleMessage(id, effect.message, now), now)
    }
    return this
  }

  take(): string[] {
    return this.said.splice(0)
  }

  #make(id: PeerId): void {
    if (!this.cores.has(id)) this.cores.set(id, peer(id, { strategy: 'pull', random: () => 0.99 }))
  }
}

/** A line whose ends know each other: two rounds of broadcast have passed. */
function told(edges: string, loads: Record<PeerId, typeof BUSY>, friends = ''): Wires {
  const wires = new Wires(edges, friends)
  for (const [id, load] of Object.entries(loads)) wires.sample(id, load, 0)
  for (const [id] of wires.cores) wires.perform(id, wires.of(id).homeJobEnded('wakes the overlay', 1), 1)
  for (const now of [1_001, 2_002, 3_003]) wires.tick(now)
  for (const [id, load] of Object.entries(loads)) wires.sample(id, load, 3_100)
  wires.take()
  return wires
}

t.test('a job waits where no core is idle, until an idle machine asks', async (t) => {
  const wires = told('AB', { A: BUSY, B: IDLE })
  wires.place('A', 'j1', 3_200).place('A', 'j2', 3_201)
  t.match(wires.take(), [/^A: placed j1 here/, 'A: queued j2 1'])
  wires.tick(4_050)
  t.match(wires.take(), [
    'B: pull A>A',
    'A: probe A-1>B',
    'B: ticket B-1 A-1>A',
    'B: pull A>A',
    'A: placed j2 there B-1: B had an idle core and asked for a job'
  ])
})

t.test('whoever gave a job is asked again at once, as long as there is room', async (t) => {
  const wires = told('AB', { A: BUSY, B: IDLE })
  for (const job of ['j1', 'j2', 'j3', 'j4'])
    wires.place('A', job, 3_200, { needs: { ...request().needs, memoryBytes: GB } })
  wires.take()
  wires.tick(4_050)
  const placed = wires.take().filter((said) => said.includes('placed'))
  t.equal(placed.length, 2, 'two cores, two jobs')
  t.equal(wires.of('B').ownRecord(4_051).guestDemand, 2)
})

t.test('the question goes hop by hop, and so does the probe', async (t) => {
  const wires = told('AB BC', { A: BUSY, B: BUSY, C: IDLE })
  wires.place('A', 'j1', 3_200).place('A', 'j2', 3_201)
  wires.take()
  wires.tick(4_050)
  t.ok(
    wires.take().some((said) => /^A: placed j2 there C-1: C had an idle core/.test(said)),
    'C drew A, whom B knows'
  )
})

t.test('a friend vouches for nobody: the question goes no farther', async (t) => {
  const wires = told('AB BC', { A: BUSY, B: BUSY, C: IDLE }, 'BC')
  wires.place('A', 'j1', 3_200).place('A', 'j2', 3_201)
  wires.take()
  wires.tick(4_050)
  t.notOk(wires.take().some((said) => said.includes('placed j2 there')))
})

t.test(
  'who is busy, pauses or lets its own jobs wait asks for nothing; nobody asks while the overlay rests',
  async (t) => {
    const wires = told('AB', { A: BUSY, B: BUSY })
    wires.place('A', 'j1', 3_200).place('A', 'j2', 3_201)
    wires.take()
    t.same(wires.tick(4_050).take(), [])
    wires.sample('B', IDLE, 4_100)
    wires.perform('B', wires.of('B').setRules({ ...RULES, refuses: 'its owner paused lending' }, 4_101), 4_101)
    t.same(wires.tick(5_200).take(), [])

    const resting = new Wires('AB').sample('A', BUSY, 0).sample('B', IDLE, 0)
    resting.take()
    t.same(resting.tick(1_500).take(), [])
  }
)

const RULES = {
  slots: 8,
  memoryFloor: 0,
  labels: [],
  class: { os: 'linux', arch: 'x64', cpuLevel: 3, pageSize: 4096, modes: ['plain'] },
  homeSlots: 4,
  forward: 8
}
