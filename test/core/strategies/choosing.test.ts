/** Whom each strategy of the papers asks for a job of `home`, which has four neighbours of four cores. */

import t from 'tap'
import type { PeerCore } from '../../../src/core/peer-core.ts'
import type { MachineRecord, Probe } from '../../../src/core/types.ts'
import { entry, gist, join, peer, record, request, sample, sends } from '../scenario.ts'

const BUSY = sample({ idleCores: 0, runnable: 4 })
const IDLE = sample()

const NEIGHBOURS: Record<string, Partial<MachineRecord>> = {
  a: { idleCores: 0, runnable: 8 },
  b: { speed: 0.5 },
  c: { guestDemand: 3 },
  d: { guestDemand: 4, speed: 4 }
}

interface Made {
  core: PeerCore
  /** The probes of a job that is asked for now, and the decision if it fell. */
  place(id: string, now: number): { probes: Probe[]; said: string[] }
}

function home(strategy: string, load = BUSY, random: () => number = () => 0): Made {
  const core = peer('home', { strategy, random })
  core.handleSample(load, 0)
  for (const [id, changes] of Object.entries(NEIGHBOURS)) join(core, id, 0, changes)
  const place: Made['place'] = (id, now) => {
    const effects = core.place(id, request(), now)
    const probes = sends(effects).flatMap(({ message }) => (message.type === 'probe' ? [message] : []))
    return { probes, said: gist(effects) }
  }
  return { core, place }
}

/** Draws these numbers in turn. */
function dice(...numbers: number[]): () => number {
  return () => numbers.shift() ?? 0
}

t.test('local asks nobody, unless the user wants it elsewhere', async (t) => {
  const { core, place } = home('local')
  t.same(place('j1', 1).said, ['placed j1 here: jobs stay here by placement.strategy'])
  t.match(gist(core.place('j2', request({ remote: true }), 2)), [/^probe /])
})

t.test('random draws from all, home among them, whatever their load', async (t) => {
  const { place } = home('random', IDLE, dice(0, 0.25, 0.99))
  t.same(place('j1', 1).said, ['placed j1 here: this machine was drawn by chance'])
  const [drawn] = place('j2', 2).probes
  t.match(drawn, { only: ['a'], best: 0 }, 'the busiest, though home is idle')
  t.match(place('j3', 3).probes, [{ only: ['d'], best: 0 }])
})

t.test('a machine that was drawn and has no slot is no second choice: the job stays', async (t) => {
  const { core, place } = home('random', BUSY, dice(0.25))
  const [asked] = place('j1', 1).probes
  const refusal = { peer: 'a', code: 'slots', reason: '8 of 8 slots taken, 1 needed' }
  const reply = { type: 'probe-reply' as const, id: asked!.id, path: ['home', 'a'], refusals: [refusal], entries: [] }
  t.same(gist(core.handleMessage('a', reply, 2)), ['placed j1 here: a: 8 of 8 slots taken, 1 needed'])
})

t.test('round-robin takes turns by ID, home among them', async (t) => {
  const { place } = home('round-robin')
  const turns = ['j1', 'j2', 'j3', 'j4', 'j5', 'j6'].map((id, index) => {
    const { probes, said } = place(id, index + 1)
    return probes[0]?.only[0] ?? said[0]
  })
  t.same(turns, ['a', 'b', 'c', 'd', "placed j5 here: it was this machine's turn", 'a'])
})

t.test('threshold leaves an overloaded home for anywhere', async (t) => {
  t.same(home('threshold', IDLE).place('j1', 1).said, ['placed j1 here: idle here'])
  t.match(home('threshold', BUSY).place('j1', 1).probes, [{ only: ['a'], best: 0 }], 'even where it is worse')
})

t.test('limited leaves an overloaded home for an idle machine, which checks again', async (t) => {
  t.same(home('limited', IDLE).place('j1', 1).said, ['placed j1 here: idle here'])
  const { core, place } = home('limited', BUSY)
  t.match(place('j1', 1).probes, [{ only: ['b'], best: 45 }], 'nine tenths of what an idle core gives there')
  t.match(home('limited', BUSY, dice(0.99)).place('j1', 1).probes, [{ only: ['c'], best: 90 }])
  for (const [index, id] of ['b', 'c'].entries()) {
    core.handleMessage(
      id,
      { type: 'advertisement', periodMs: 2_000, idleMs: 0, entries: [entry(id, BUSY, 9)] },
      10 + index
    )
  }
  t.same(place('j2', 20).said, ['placed j2 here: no core is idle anywhere'])
})

t.test('limited gives up after three that were no longer idle', async (t) => {
  const core = peer('home', { strategy: 'limited' })
  core.handleSample(BUSY, 0)
  for (const id of ['a', 'b', 'c', 'd']) join(core, id, 0)
  let said = gist(core.place('j1', request(), 1))
  for (const id of ['a', 'b', 'c']) {
    const probe = `home-${'abc'.indexOf(id) + 1}`
    t.match(said, [`probe ${probe}>${id}`])
    const refusal = { peer: id, code: 'not-better', reason: 'is busy' }
    const reply = { type: 'probe-reply' as const, id: probe, path: ['home', id], refusals: [refusal], entries: [] }
    said = gist(core.handleMessage(id, reply, 2))
  }
  t.match(said, [/^placed j1 here/])
})

t.test('shortest leaves an overloaded home for the least loaded, fast or slow', async (t) => {
  t.same(home('shortest', IDLE).place('j1', 1).said, ['placed j1 here: idle here'])
  t.match(home('shortest', BUSY).place('j1', 1).probes, [{ only: ['b'], best: 0 }])
  const core = peer('home', { strategy: 'shortest' })
  core.handleSample(BUSY, 0)
  join(core, 'a', 0, { idleCores: 0, runnable: 5 })
  t.same(gist(core.place('j1', request(), 1)), ['placed j1 here: this machine is the least loaded'])
})

t.test('two-choices asks two at once and takes the better answer; the other is let go', async (t) => {
  const { core, place } = home('two-choices', BUSY, dice(0.3, 0.99))
  const { probes } = place('j1', 1)
  t.match(
    probes.map(({ only }) => only),
    [['b'], ['d']]
  )
  const answer = (index: number, id: string, changes: Partial<MachineRecord>) => {
    const path = ['home', id]
    const ticket = { id: `t-${id}`, target: id, epoch: 1, validMs: 2_000 }
    const entries = [{ ...entry(id, record(changes), 9) }]
    const { id: probe } = probes[index]!
    return { type: 'probe-reply' as const, id: probe, path, bestAt: 1, ticket, refusals: [], entries }
  }
  t.same(gist(core.handleMessage('b', answer(0, 'b', { speed: 0.5, guestDemand: 1 }), 2)), [], 'waits for the other')
  t.same(gist(core.handleMessage('d', answer(1, 'd', { speed: 4, guestDemand: 5 }), 3)), [
    `release ${probes[0]!.id}>b`,
    'placed j1 there t-d: d is 4.0 times better'
  ])
})

t.test('two-choices takes the one answer that came in time', async (t) => {
  const { core, place } = home('two-choices', BUSY, dice(0.3, 0.99))
  const { probes } = place('j1', 1)
  const ticket = { id: 't-b', target: 'b', epoch: 1, validMs: 2_000 }
  const entries = [entry('b', { speed: 0.5, guestDemand: 1 }, 9)]
  const path = ['home', 'b']
  core.handleMessage('b', { type: 'probe-reply', id: probes[0]!.id, path, bestAt: 1, ticket, refusals: [], entries }, 2)
  t.match(gist(core.handleTimer(60)), [`release ${probes[1]!.id}>d`, /^placed j1 there t-b/])
})
