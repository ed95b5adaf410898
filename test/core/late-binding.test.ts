/** A job that finds home busy and everybody else full looks again while its budget lasts, rather than start at home at once. */

import t from 'tap'
import type { PeerCore } from '../../src/core/peer-core.ts'
import type { MachineRecord, OverlayMessage, PlaceRequest } from '../../src/core/types.ts'
import { advertisement, entry, gist, join, peer, request, sample } from './scenario.ts'

const FULL = { guestDemand: 8 }
const HOME_SAID = 'placed j1 here: nas: 8 of 8 slots taken, 1 needed'

/** One core, on which three own jobs run already: a fourth gets a quarter of it, and a slot at a full `nas` gives a half. */
function home(nas: Partial<MachineRecord> = {}, owner = {}): PeerCore {
  const core = peer('home')
  core.handleSample(sample({ cores: 1, ...owner }), 0)
  join(core, 'nas', 0, { ...FULL, ...nas })
  for (const id of ['a', 'b', 'c']) core.place(id, request({ local: true }), 0)
  return core
}

let sequence = 100

function tell(core: PeerCore, guestDemand: number, now: number): void {
  core.handleMessage('nas', advertisement('nas', { guestDemand }, ++sequence), now)
}

function yes(id: string): OverlayMessage {
  const ticket = { id: `of-${id}`, target: 'nas', epoch: 1, validMs: 2_000 }
  const entries = [entry('nas', { guestDemand: 8 }, ++sequence)]
  return { type: 'probe-reply', id, path: ['home', 'nas'], bestAt: 1, ticket, refusals: [], entries }
}

function no(id: string, code = 'slots'): OverlayMessage {
  const refusals = [{ peer: 'nas', code, reason: `says ${code}` }]
  return {
    type: 'probe-reply',
    id,
    path: ['home', 'nas'],
    refusals,
    entries: [entry('nas', { guestDemand: 8 }, ++sequence)]
  }
}

/** What is said from then on, every timer on time. */
function runUntil(core: PeerCore, toMs: number): string[] {
  const said: string[] = []
  for (let next = core.nextTimer(); next !== undefined && next <= toMs; next = core.nextTimer()) {
    said.push(...gist(core.handleTimer(next)).map((what) => `${next} ${what}`))
  }
  return said
}

t.test('a slot that becomes free within the budget is taken at the next look', async (t) => {
  const core = home()
  t.same(gist(core.place('j1', request(), 10)), [])
  t.same(runUntil(core, 125), [])
  tell(core, 7, 125)
  t.same(runUntil(core, 160), ['160 probe home-1>nas'])
  t.same(gist(core.handleMessage('nas', yes('home-1'), 162)), ['placed j1 there of-home-1: nas is 1.8 times better'])
})

t.test('who was quicker: it looks again, and asks again when it is told of another one', async (t) => {
  const core = home()
  core.place('j1', request(), 10)
  tell(core, 7, 30)
  t.same(runUntil(core, 60), ['60 probe home-1>nas'])
  t.same(gist(core.handleMessage('nas', no('home-1'), 62)), [])
  tell(core, 7, 100)
  t.same(runUntil(core, 112), ['112 probe home-2>nas'])
  const effects = core.handleMessage('nas', yes('home-2'), 115)
  t.match(gist(effects), [/^placed j1 there of-home-2/])
})

t.test('nothing becomes free: it starts at home when its budget is over', async (t) => {
  const core = home()
  core.place('j1', request(), 10)
  t.same(runUntil(core, 500), [`360 ${HOME_SAID}`], 'a look later than that could lead to nothing')
  t.equal(core.remembered, 4)
})

t.test('home became free meanwhile: it starts there at the next look', async (t) => {
  const core = home()
  core.place('j1', request(), 10)
  for (const id of ['a', 'b', 'c']) core.homeJobEnded(id, 40)
  t.match(runUntil(core, 100), [/^60 placed j1 here/])
})

t.test('the client goes away: nothing is left', async (t) => {
  const core = home()
  core.place('j1', request(), 10)
  t.same(gist(core.cancel('j1', 20)), [])
  t.same(runUntil(core, 500), [])
})

for (const [why, nas, changes] of [
  ['an idle core at home', { speed: 10 }, {}],
  ['a slot there would not gain enough', { speed: 0.7 }, {}],
  ['it lends nothing', { slots: 0 }, {}],
  ['it lacks more than a slot', { memoryAvailable: 0 }, {}],
  ['the user excluded it', {}, { not: ['nas'] }],
  ['it rather waits in the queue', {}, { wait: true }],
  ['it is over soon anyway', {}, { work: { ms: 20, stagedBytes: 0, streamedBytes: 0 } }]
] as [string, Partial<MachineRecord>, Partial<PlaceRequest>][]) {
  t.test(`no second look: ${why}`, async (t) => {
    const core = home(nas)
    if (why === 'an idle core at home') for (const id of ['a', 'b', 'c']) core.homeJobEnded(id, 5)
    t.match(gist(core.place('j1', request(changes), 10)), [/^placed j1 here/])
  })
}

t.test('a job whose work is known waits for no more than a quarter of what it takes at home', async (t) => {
  const core = home()
  core.place('j1', request({ work: { ms: 200, stagedBytes: 0, streamedBytes: 0, turns: 0 } }), 10)
  t.same(runUntil(core, 500), [`160 ${HOME_SAID}`], 'of 800 ms at home 200: no look after 160 would be in time')
})

t.test(
  'one of many of a build waits longer, whatever such as it usually take; and is answered as any other',
  async (t) => {
    const patient = { patienceMs: 2_000, work: { ms: 200, stagedBytes: 0, streamedBytes: 0, turns: 0 } }
    const none = home()
    none.place('j1', request(patient), 10)
    t.same(runUntil(none, 3_000), [`1960 ${HOME_SAID}`])

    const core = home()
    core.place('j1', request(patient), 10)
    t.same(runUntil(core, 1_925), [])
    tell(core, 7, 1_925)
    t.same(runUntil(core, 1_960), ['1960 probe home-1>nas'])
    t.match(gist(core.handleMessage('nas', yes('home-1'), 2_200)), [/^placed j1 there of-home-1/])
  }
)

t.test('for one of many a slot that is somewhat worse than home is good enough', async (t) => {
  const nas = { speed: 0.45 }
  t.match(gist(home(nas).place('j1', request(), 10)), [/^placed j1 here/])
  t.same(gist(home(nas).place('j1', request({ patienceMs: 2_000 }), 10)), [])
})

t.test('other strategies do not wait', async (t) => {
  const core = peer('home', { strategy: 'shortest' })
  core.handleSample(sample({ cores: 1, idleCores: 0, runnable: 4 }), 0)
  join(core, 'nas', 0, FULL)
  t.match(gist(core.place('j1', request(), 10)), [/^placed j1 here/])
})
