import t from 'tap'
import type { PeerCore } from '../../src/core/peer-core.ts'
import type { OverlayMessage } from '../../src/core/types.ts'
import { advertisement, entry, gist, join, needs, peer, request, rules, sample } from './scenario.ts'

const WAIT = request({ wait: true })

function home(homeSlots = 1): PeerCore {
  const core = peer('home', { rules: rules({ homeSlots }) })
  core.handleSample(sample({ cores: 1 }), 0)
  return core
}

let sequence = 100

function yes(id: string): OverlayMessage {
  const ticket = { id: `of-${id}`, target: 'nas', epoch: 1, validMs: 2_000 }
  const entries = [entry('nas', { guestDemand: 1 }, ++sequence)]
  return { type: 'probe-reply', id, path: ['home', 'nas'], bestAt: 1, ticket, refusals: [], entries }
}

function no(id: string, code: string): OverlayMessage {
  const refusals = [{ peer: 'nas', code, reason: `says ${code}` }]
  return { type: 'probe-reply', id, path: ['home', 'nas'], refusals, entries: [entry('nas', {}, ++sequence)] }
}

t.test("with home's slots taken a job waits its turn", async (t) => {
  const core = home()
  t.same(gist(core.place('j1', WAIT, 1)), ['placed j1 here: no other peer is connected'])
  t.same(gist(core.place('j2', WAIT, 2)), ['queued j2 1'])
  t.same(gist(core.place('j3', WAIT, 3)), ['queued j3 2'])
  t.same(
    [...core.waiting()],
    [
      ['j2', 1],
      ['j3', 2]
    ]
  )
  t.same(gist(core.homeJobEnded('j1', 10)), ['placed j2 here: no other peer is connected'])
  t.same([...core.waiting()], [['j3', 1]], 'who is behind moves up')
  t.same(gist(core.homeJobEnded('j2', 20)), ['placed j3 here: no other peer is connected'])
  core.homeJobEnded('j3', 30)
  t.equal(core.remembered, 0)
})

t.test('without --wait a job of home is neither queued nor refused', async (t) => {
  const core = home()
  core.place('j1', WAIT, 1)
  t.same(gist(core.place('j2', request(), 2)), ['placed j2 here: no other peer is connected'])
  t.same(gist(core.place('j3', WAIT, 3)), ['queued j3 1'])
  t.same(gist(core.homeJobEnded('j1', 4)), [], 'the other one counts too')
  t.same(gist(core.homeJobEnded('j2', 5)), ['placed j3 here: no other peer is connected'])
})

t.test('a slot elsewhere is as good, and is taken as soon as it is heard of', async (t) => {
  const core = home()
  core.place('j1', WAIT, 1)
  join(core, 'nas', 1, { speed: 0.1, slots: 1, guestDemand: 1 })
  t.same(gist(core.place('j2', WAIT, 2)), ['queued j2 1'])
  t.same(gist(core.place('j3', WAIT, 3)), ['queued j3 2'])
  const freed = advertisement('nas', { speed: 0.1, slots: 1 }, 2)
  t.same(gist(core.handleMessage('nas', freed, 4)), ['probe home-1>nas'], 'one of a lane at a time')
  t.same(gist(core.handleMessage('nas', yes('home-1'), 5)), [
    'placed j2 there of-home-1: nas has room, this machine has not',
    'probe home-2>nas'
  ])
  t.same(gist(core.handleMessage('nas', no('home-2', 'slots'), 6)), [], 'it waits on, its place kept')
  t.same(gist(core.homeJobEnded('j1', 7)), ['placed j3 here: idle here'])
})

t.test('a job of home that ends there makes room that need not be heard of', async (t) => {
  const core = home()
  core.place('j1', WAIT, 1)
  join(core, 'nas', 1, { speed: 0.1, slots: 2, guestDemand: 2 })
  t.same(gist(core.farJobEnded('nas', 1, 2)), [], 'nobody waits')
  core.place('j2', WAIT, 3)
  core.place('j3', WAIT, 3)
  t.same(gist(core.farJobEnded('elsewhere', 1, 4)), [], 'of no machine that is known')
  t.same(gist(core.farJobEnded('nas', 1, 5)), ['probe home-1>nas'])
  t.same(gist(core.handleMessage('nas', no('home-1', 'slots'), 6)), [], 'it was told that it is full all the same')
  t.same(gist(core.farJobEnded('nas', 5, 7)), ['probe home-2>nas'], 'it has no more than it has')
})

t.test('nothing changed for a second: tried again', async (t) => {
  const core = home()
  core.place('j1', WAIT, 1)
  join(core, 'nas', 1)
  t.same(gist(core.place('j2', WAIT, 2)), ['probe home-1>nas'])
  t.same(gist(core.handleMessage('nas', no('home-1', 'slots'), 3)), ['queued j2 1'])
  t.same(gist(core.handleTimer(1_001)), [])
  t.same(gist(core.handleTimer(1_002)), ['probe home-2>nas'])
})

t.test('a large job at the head is not starved by small ones behind it', async (t) => {
  const core = home(2)
  core.place('j1', WAIT, 1)
  t.same(gist(core.place('j2', request({ wait: true, needs: needs({ demand: 8 }) }), 2)), ['queued j2 1'])
  t.same(gist(core.place('j3', WAIT, 3)), ['queued j3 2'])
  t.same(gist(core.homeJobEnded('j1', 4)), ['placed j2 here: no other peer is connected'])
  t.same(gist(core.homeJobEnded('j2', 5)), ['placed j3 here: no other peer is connected'])
})

t.test('a job that may only go where nothing is free does not hold up the others', async (t) => {
  const core = home()
  join(core, 'nas', 0, { slots: 1, guestDemand: 1 })
  core.place('j1', WAIT, 1)
  t.same(gist(core.place('j2', request({ wait: true, on: ['nas'] }), 2)), ['queued j2 1'])
  t.same(gist(core.place('j3', WAIT, 3)), ['queued j3 1'])
  t.same(gist(core.homeJobEnded('j1', 4)), ['placed j3 here: idle here'])
  t.same(gist(core.handleMessage('nas', advertisement('nas', { slots: 1 }, 2), 5)), ['probe home-1>nas'])
})

t.test('what waiting cannot mend is said at once; once it waits, it also waits for a peer to come back', async (t) => {
  const core = home()
  const onNas = request({ wait: true, on: ['nas'] })
  t.same(gist(core.place('j1', onNas, 1)), ['unplaceable j1: nas: not connected'])
  join(core, 'nas', 2, { slots: 1, guestDemand: 1 })
  t.same(gist(core.place('j2', onNas, 3)), ['queued j2 1'])
  t.same(gist(core.handleNeighbourDown('nas', 4)), [])
  t.same(gist(core.handleTimer(1_004)), [])
  core.handleNeighbourUp('nas', { kind: 'own', name: 'nas' }, 1_100)
  t.same(gist(core.handleMessage('nas', yes('home-1'), 1_101)).length, 1)
  t.equal(core.remembered, 1, 'only what was won is still remembered')
  t.same(gist(core.place('j3', request({ wait: true, needs: needs({ labels: ['gpu'] }) }), 1_102)), [
    'unplaceable j3: this machine: has no label gpu'
  ])
})

t.test('a client that goes away frees its place', async (t) => {
  const core = home()
  core.place('j1', WAIT, 1)
  core.place('j2', WAIT, 2)
  core.place('j3', WAIT, 3)
  core.cancel('j2', 4)
  t.same(gist(core.homeJobEnded('j1', 5)), ['placed j3 here: no other peer is connected'])
})

t.test('more slots by the owner let waiting jobs go', async (t) => {
  const core = home()
  core.place('j1', WAIT, 1)
  core.place('j2', WAIT, 2)
  t.same(gist(core.setRules(rules({ homeSlots: 2 }), 3)), ['placed j2 here: no other peer is connected'])
})

t.test('the queue is bounded', async (t) => {
  const core = home()
  core.place('running', WAIT, 1)
  for (let i = 0; i < 10_000; i++) core.place(`j${i}`, WAIT, 2)
  t.same(gist(core.place('one more', WAIT, 3)), ['unplaceable one more: 10000 jobs wait already'])
})
