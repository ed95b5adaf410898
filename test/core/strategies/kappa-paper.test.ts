import t from 'tap'
import { PAPER_HOP_COST } from '../../../src/core/metric.ts'
import { MAX_PAPER_PATH } from '../../../src/core/paper-messages.ts'
import { PeerCore, type PeerCoreInit } from '../../../src/core/peer-core.ts'
import type { Effect, OverlayMessage, PeerId, PlaceRequest } from '../../../src/core/types.ts'
import { needs, request, rules, sample } from '../scenario.ts'

const DELAY_MS = 1_000

function coreInit(self: PeerId, changes: Partial<PeerCoreInit> = {}): PeerCoreInit {
  let ids = 0
  return {
    self,
    name: self,
    epoch: 1,
    metricPolicy: 'paper',
    strategy: 'kappa-paper',
    rules: rules(),
    random: () => 0,
    newId: () => `${self}-${++ids}`,
    hasTool: () => true,
    banned: () => false,
    addresses: () => [],
    paperDelayMs: DELAY_MS,
    ...changes
  }
}

/** One core under so many endless loops: 144.5 with none, 40.9 with 4, 36.6 with 5. */
const loops = (count: number) => sample({ cores: 1, idleCores: count === 0 ? 1 : 0, runnable: count })

const shown = (value: number) => value.toFixed(1)

function line(from: PeerId, to: PeerId, message: OverlayMessage): string {
  const way = `${from}>${to}`
  if (message.type === 'paper-metric') return `${way} ${shown(message.value)}`
  if (message.type === 'paper-probe') return `${way} P(${message.origin},${from},${to}) after ${message.path.join('')}`
  if (message.type !== 'paper-reply') return `${way} ${message.type}`
  const { target, path, metric, ticket, refusal } = message
  return `${way} PR(${target},${path[0]},${shown(metric)}) ${ticket?.id ?? refusal?.code}`
}

/** Cores that are joined as written (`AB BC`), messages arriving at once and in order, and what they said. */
class Wires {
  readonly cores = new Map<PeerId, PeerCore>()
  /** Messages and decisions since it was last asked for. */
  #said: string[] = []
  /** Nothing arrives at these. */
  readonly deaf = new Set<PeerId>()

  constructor(edges: string, changes: Partial<PeerCoreInit> = {}) {
    for (const edge of edges.split(' ')) {
      const [a, b] = [...edge] as [PeerId, PeerId]
      this.#core(a, changes).handleNeighbourUp(b, { kind: 'own', name: b }, 0)
      this.#core(b, changes).handleNeighbourUp(a, { kind: 'own', name: a }, 0)
    }
  }

  get said(): string[] {
    const said = this.#said
    this.#said = []
    return said
  }

  /** Samples of several peers; the first ones begin their rounds. */
  sample(counts: Record<PeerId, number>, now: number): this {
    for (const [id, count] of Object.entries(counts))
      this.#perform(id, this.of(id).handleSample(loops(count), now), now)
    return this
  }

  /** All rounds end. */
  round(now: number): this {
    const sends = [...this.cores].map(([id, each]) => [id, each.handleTimer(now)] as const)
    for (const [id, effects] of sends) this.#perform(id, effects, now)
    return this
  }

  place(home: PeerId, now: number, changes: Partial<PlaceRequest> = {}): this {
    this.#perform(home, this.of(home).place(`job${now}`, request(changes), now), now)
    return this
  }

  of(id: PeerId): PeerCore {
    return this.cores.get(id)!
  }

  #core(id: PeerId, changes: Partial<PeerCoreInit>): PeerCore {
    const made = this.cores.get(id) ?? new PeerCore(coreInit(id, changes))
    this.cores.set(id, made)
    return made
  }

  #perform(id: PeerId, effects: Effect[], now: number): void {
    for (const effect of effects) {
      if (effect.type !== 'send') {
        this.#said.push(`${id} ${decision(effect)}`)
        continue
      }
      const { to, message } = effect
      this.#said.push(line(id, to, message))
      if (!this.deaf.has(to)) this.#perform(to, this.of(to).handleMessage(id, message, now), now)
    }
  }
}

function decision(effect: Exclude<Effect, { type: 'send' }>): string {
  if (effect.type === 'unplaceable') return `unplaceable: ${effect.trace.reason}`
  if (effect.type !== 'placed') return effect.type
  const where = effect.where === 'here' ? 'here' : `on ${effect.ticket.target} by ${effect.trace.hops.join('')}`
  return `${where}: ${effect.reason}`
}

t.test('Table III: A finds the idle C through B once two delays have passed', async (t) => {
  const wires = new Wires('AB BC').sample({ A: 5, B: 5, C: 0 }, 0)
  t.same(wires.said, ['A>B 36.6', 'B>A 36.6', 'B>C 36.6', 'C>B 144.5'], 'everybody tells its own metric')
  wires.place('A', 10)
  t.same(wires.said, ['A here: 37 here, 22 through B'])
  wires.of('A').homeJobEnded('job10', 20)

  wires.round(DELAY_MS)
  t.same(wires.said, ['A>B 36.6', 'B>A 129.5', 'B>C 129.5', 'C>B 144.5'], 'B tells of C, less the constant')
  wires.place('A', DELAY_MS + 10)
  t.same(wires.said, [
    'A>B P(A,A,B) after A',
    'B>C P(A,B,C) after AB',
    'C>B PR(C,A,144.5) C-1',
    'B>A PR(C,A,144.5) C-1',
    'A on C by BC: 145 on C, 37 here',
    'C admit'
  ])

  const [view] = wires.of('A').view(DELAY_MS + 20).neighbours
  t.match(view, { peer: 'B', connected: true, metric: 129.5 - PAPER_HOP_COST, ageMs: 20, record: undefined })
})

t.test('a probe is forwarded twice on a line of four, and the reply walks back', async (t) => {
  const wires = new Wires('AB BC CD').sample({ A: 5, B: 4, C: 4, D: 0 }, 0)
  for (const round of [1, 2]) wires.round(round * DELAY_MS)
  t.same(wires.said.slice(-6), ['A>B 36.6', 'B>A 114.5', 'B>C 114.5', 'C>B 129.5', 'C>D 129.5', 'D>C 144.5'])
  t.same(wires.place('A', 2 * DELAY_MS).said, [
    'A>B P(A,A,B) after A',
    'B>C P(A,B,C) after AB',
    'C>D P(A,C,D) after ABC',
    'D>C PR(D,A,144.5) D-1',
    'C>B PR(D,A,144.5) D-1',
    'B>A PR(D,A,144.5) D-1',
    'A on D by BCD: 145 on D, 37 here',
    'D admit'
  ])
})

t.test('the flaw: two peers count down what one of them no longer is, and a probe walks in circles', async (t) => {
  const wires = new Wires('AB').sample({ A: 5, B: 0 }, 0).round(DELAY_MS)
  wires.sample({ B: 5 }, DELAY_MS + 1)
  t.same(wires.said.slice(-2), ['A>B 129.5', 'B>A 144.5'], 'A tells B of B')
  const rounds = [2, 3, 4, 5, 6, 7, 8, 9].map((round) => wires.round(round * DELAY_MS).said.join('  '))
  t.same(rounds, [
    'A>B 129.5  B>A 114.5',
    'A>B 99.5  B>A 114.5',
    'A>B 99.5  B>A 84.5',
    'A>B 69.5  B>A 84.5',
    'A>B 69.5  B>A 54.5',
    'A>B 39.5  B>A 54.5',
    'A>B 39.5  B>A 36.6',
    'A>B 36.6  B>A 36.6'
  ])

  const again = new Wires('AB')
    .sample({ A: 5, B: 0 }, 0)
    .round(DELAY_MS)
    .sample({ B: 5 }, DELAY_MS + 1)
  again.said
  const walk = again.place('A', DELAY_MS + 2).said
  t.equal(walk.length, MAX_PAPER_PATH + 1)
  t.same(walk.slice(0, 3), ['A>B P(A,A,B) after A', 'B>A P(A,B,A) after AB', 'A>B P(A,A,B) after ABA'])
  t.same(walk.slice(-2), ['B>A P(A,B,A) after ABABABABABABABAB', 'A here: A: the probe came back home'])
})

t.test('a reply skips the circles of its probe', async (t) => {
  const wires = new Wires('AB BC BD').sample({ A: 5, B: 5, C: 5, D: 0 }, 0)
  wires.said
  const probe = { type: 'paper-probe', id: 'p', origin: 'A', needs: needs(), path: ['A', 'B', 'C', 'B'] } as const
  const [reply] = wires.of('D').handleMessage('B', { ...probe, path: [...probe.path] }, 10)
  t.match(reply, { to: 'B', message: { type: 'paper-reply', target: 'D' } })
  if (reply?.type !== 'send') return
  t.match(wires.of('B').handleMessage('D', reply.message, 10), [{ to: 'A' }])
})

t.test('equal metrics stay; of several equal neighbours the first is asked', async (t) => {
  const wires = new Wires('AB AC').sample({ A: 0, B: 0, C: 0 }, 0)
  wires.of('A').handleMessage('B', { type: 'paper-metric', value: 144.5 + PAPER_HOP_COST }, 1)
  wires.said
  t.same(wires.place('A', 10).said, ['A here: 145 here, 145 through B'])
  wires
    .sample({ A: 5 }, 20)
    .of('A')
    .handleMessage('C', { type: 'paper-metric', value: 144.5 + PAPER_HOP_COST }, 20)
  t.equal(wires.place('A', 30).said[0], 'A>B P(A,A,B) after A')
})

t.test('Table III, rows 8 and 9: the reply finds out that nothing is won', async (t) => {
  const wires = new Wires('AB BC').sample({ A: 5, B: 6, C: 0 }, 0).round(DELAY_MS)
  wires
    .sample({ C: 6 }, DELAY_MS + 1)
    .of('C')
    .handleMessage('B', { type: 'paper-metric', value: 33.5 }, DELAY_MS + 1)
  wires.said
  t.same(wires.place('A', DELAY_MS + 2).said, [
    'A>B P(A,A,B) after A',
    'B>C P(A,B,C) after AB',
    'C>B PR(C,A,33.5) C-1',
    'B>A PR(C,A,33.5) C-1',
    'A here: C: 34 on C, 37 here',
    'C admit'
  ])
})

t.test('no reply in time: the job stays', async (t) => {
  const wires = new Wires('AB').sample({ A: 5, B: 0 }, 0)
  wires.deaf.add('B')
  wires.said
  t.same(wires.place('A', 10).said, ['A>B P(A,A,B) after A'])
  const a = wires.of('A')
  t.equal(a.nextTimer(), 410)
  t.same(a.handleTimer(409), [])
  const [placed] = a.handleTimer(410)
  t.match(placed, { type: 'placed', where: 'here', reason: 'B: no answer in 400 ms', trace: { placedMs: 400 } })
  t.equal(a.ownRecord(410).homeDemand, 1)
  a.homeJobEnded('job10', 500)
  t.equal(a.remembered, 0)
})

t.test(
  'a neighbour that leaves takes its metric and its probes with it; a cancelled job asks for nothing',
  async (t) => {
    const wires = new Wires('AB').sample({ A: 5, B: 0 }, 0)
    const a = wires.of('A')
    wires.deaf.add('B')
    wires.place('A', 10)
    t.match(a.handleNeighbourDown('B', 20), [{ where: 'here', reason: 'B: the connection was lost' }])
    wires.said
    t.same(wires.place('A', 30).said, ['A here: no other peer is known'])
    t.same(a.handleMessage('B', { type: 'paper-metric', value: 500 }, 40), [], 'who is not connected says nothing')
    t.match(a.view(50).neighbours, [{ connected: false, metric: undefined }])

    a.handleNeighbourUp('B', { kind: 'own', name: 'B' }, 60)
    a.handleMessage('B', { type: 'paper-metric', value: 144 }, 60)
    wires.place('A', 70)
    t.throws(() => a.place('job70', request(), 71), /being placed already/)
    t.same(a.cancel('job70', 80), [])
    const late = { type: 'paper-reply', id: 'A-2', target: 'B', name: 'B', metric: 144, path: ['A'] } as const
    t.same(a.handleMessage('B', { ...late, path: ['A'] }, 90), [])
  }
)

t.test('nothing is held for a probe: two tickets for one slot, and the second start finds it taken', async (t) => {
  const wires = new Wires('AB', { rules: rules({ slots: 1 }) }).sample({ A: 5, B: 0 }, 0)
  wires.place('A', 1).place('A', 2)
  const b = wires.of('B')
  t.equal(b.ownRecord(2).guestDemand, 0)
  t.same(b.startTicket('C', 'B-1', 3), {
    accepted: false,
    code: 'void',
    reason: 'the ticket is not or no longer valid'
  })
  t.match(b.startTicket('A', 'B-1', 3), { accepted: true, needs: { demand: 1 } })
  t.equal(b.ownRecord(3).guestDemand, 1)
  t.match(b.startTicket('A', 'B-1', 4), { accepted: false, code: 'already-started' })
  t.match(b.startTicket('A', 'B-2', 4), { accepted: false, code: 'slots', reason: '1 of 1 slots taken, 1 needed' })
  t.match(b.startTicket('A', 'B-2', 5), { accepted: false, code: 'void' })

  wires.said
  t.same(wires.place('A', 6).said, [
    'A>B P(A,A,B) after A',
    'B>A PR(B,A,79.8) slots',
    'A here: B: 1 of 1 slots taken, 1 needed'
  ])
  t.same(b.resolveTicket('A', 'B-1', 7), { state: 'running' })
  const end = { exitCode: 0, signal: null }
  t.same(b.guestJobEnded('B-1', end, 8), [])
  t.same(b.resolveTicket('A', 'B-1', 9), { state: 'ended', end })
  t.equal(b.ownRecord(9).guestDemand, 0)
})

t.test('a ticket that is not started is void: after its time, when home asks, when the pairing ends', async (t) => {
  const wires = new Wires('AB').sample({ A: 5, B: 0 }, 0)
  const b = wires.of('B')
  wires.place('A', 1)
  t.equal(b.nextTimer(), 1_000)
  t.match(b.startTicket('A', 'B-1', 2_001), { accepted: false, code: 'void' })
  wires.place('A', 2_001)
  t.same(b.resolveTicket('A', 'B-2', 2_002), { state: 'void' })
  t.match(b.startTicket('A', 'B-2', 2_003), { accepted: false, code: 'void' })
  wires.place('A', 2_004)
  t.match(b.startTicket('A', 'B-3', 2_005), { accepted: true })
  wires.place('A', 2_006)
  t.same(b.voidTicketsOf('A', 2_007), { effects: [], running: ['B-3'] })
  t.match(b.startTicket('A', 'B-4', 2_008), { accepted: false, code: 'void' })
})

t.test("the user's words: here, elsewhere, these, not those", async (t) => {
  const wires = new Wires('AB AC').sample({ A: 5, B: 0, C: 1 }, 0)
  wires.said
  t.same(wires.place('A', 1, { local: true }).said, ['A here: asked for with --local'])
  t.same(wires.place('A', 2, { stays: 'it never ships' }).said, ['A here: it never ships'])
  t.same(wires.place('A', 3, { on: ['A'] }).said, ['A here: this machine was asked for'])
  t.match(wires.place('A', 4, { on: ['C'] }).said.at(-1), /^A on C by C: /)
  t.match(wires.place('A', 5, { not: ['B'] }).said.at(-1), /^A on C by C: /)
  t.same(wires.place('A', 6, { on: ['D'] }).said, ['A unplaceable: no other peer is known'])
  wires.sample({ A: 0, B: 5, C: 5 }, 7)
  t.match(wires.place('A', 8, { remote: true }).said.at(-1), /^A on B by B: 37 on B, /, 'asked for, however bad')
})

t.test('who may not take the job says so, and it stays home', async (t) => {
  const paused = rules({ refuses: 'its owner paused lending' })
  const wires = new Wires('AB').sample({ A: 5, B: 0 }, 0)
  wires.of('B').setRules(paused, 1)
  wires.said
  t.same(wires.place('A', 2).said, [
    'A>B P(A,A,B) after A',
    'B>A PR(B,A,144.5) paused',
    'A here: B: its owner paused lending'
  ])
  t.match(wires.place('A', 3, { remote: true }).said.at(-1), 'A unplaceable: B: its owner paused lending')
})

t.test('the delay is five seconds when nobody says otherwise', async (t) => {
  const { paperDelayMs: _, ...init } = coreInit('A')
  const made = new PeerCore(init)
  t.equal(made.nextTimer(), undefined)
  made.handleSample(loops(0), 100)
  t.equal(made.nextTimer(), 5_100)
})
