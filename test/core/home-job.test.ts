import t from 'tap'
import { ALREADY_STARTED, type HomeEvent, HomeJob } from '../../src/core/home-job.ts'
import type { JobEnd } from '../../src/core/types.ts'

const END: JobEnd = { exitCode: 0, signal: null }
const RUNNING = { type: 'resolved', epoch: 7, outcome: { state: 'running' } } as const
const ENDED = { type: 'resolved', epoch: 7, outcome: { state: 'ended', end: END } } as const
const VOID = { type: 'resolved', epoch: 7, outcome: { state: 'void' } } as const
const CONNECTED = { type: 'connected', epoch: 7 } as const
const RESTARTED = { type: 'connected', epoch: 8 } as const
const SENT = { type: 'start-sent' } as const
const STARTED = { type: 'started' } as const
const CUT = { type: 'disconnected' } as const
const TIMER = { type: 'timer' } as const

const REFUSED = { type: 'refused', epoch: 7, code: 'paused', reason: 'its owner paused lending' } as const

function job(): HomeJob {
  const ticket = { id: 't1', target: 'nas', epoch: 7, validMs: 2_000 }
  return new HomeJob({ ticket, now: 0, startTimeoutMs: 1_000, lostAfterMs: 13_000 })
}

/** Plays events at their times; returns the actions of each, and the last state. */
function play(...events: [number, HomeEvent][]): unknown[] {
  const it = job()
  const actions = events.map(([now, event]) => it.handle(event, now))
  return [...actions.flat(), it.state]
}

const AGAIN = (code: string, reason: string) => ({ type: 'place-again', code, reason })
const LOST = (reason: string) => ({ type: 'lost', reason })
const RESTART = 'it restarted in between'
const SILENT = 'nothing was heard from it for too long'

t.test('the ordinary life', async (t) => {
  t.same(play([5, SENT], [10, STARTED], [99_000, { type: 'ended', end: END }]), [
    { type: 'exited', end: END },
    'exited'
  ])
  t.same(
    play([5, SENT], [10, { type: 'ended', end: END }]),
    [{ type: 'exited', end: END }, 'exited'],
    'an end implies a start'
  )
  t.same(
    play([5, SENT], [10, STARTED], [99_000, TIMER]),
    ['running'],
    'no news over a connection that stands is no silence'
  )
})

t.test('never sent: it may go elsewhere', async (t) => {
  t.same(play([1_999, TIMER]), ['starting'])
  t.same(play([2_000, TIMER]), [AGAIN('void', 'the start could not be sent in time'), 'free'])
  t.same(play([100, CUT]), [AGAIN('not-connected', 'the connection was lost'), 'free'])
  t.same(play([100, RESTARTED]), [AGAIN('void', RESTART), 'free'])
  t.same(play([100, CONNECTED], [200, TIMER]), ['starting'])
})

t.test('answers to a start that was not sent are no news of it', async (t) => {
  for (const early of [STARTED, RUNNING, ENDED, { type: 'ended', end: END } as const]) {
    t.same(play([1, early], [2, CUT]), [AGAIN('not-connected', 'the connection was lost'), 'free'])
    t.same(play([1, early], [5, SENT], [50, CUT], [300, CONNECTED]), [{ type: 'resolve' }, 'starting'], early.type)
  }
})

t.test('refused by the epoch of the ticket: it may go elsewhere', async (t) => {
  t.same(play([5, SENT], [9, REFUSED]), [AGAIN('paused', 'its owner paused lending'), 'free'])
  t.same(play([5, SENT], [9, { ...REFUSED, epoch: 8 }]), [LOST(RESTART), 'lost'])
  t.same(play([5, SENT], [9, STARTED], [12, REFUSED]), ['running'], 'a refusal after the start says nothing')
  t.same(
    play([5, SENT], [9, { ...REFUSED, code: ALREADY_STARTED }], [12, RUNNING]),
    [{ type: 'resolve' }, { type: 'attach' }, 'running'],
    'a start that arrived twice is no refusal'
  )
})

t.test('unanswered: it is resolved over the next connection', async (t) => {
  t.same(play([5, SENT], [50, CUT], [300, CONNECTED]), [{ type: 'resolve' }, 'starting'])
  t.same(play([5, SENT], [50, CUT], [300, CONNECTED], [310, VOID]), [
    { type: 'resolve' },
    AGAIN('void', 'the start did not arrive in time'),
    'free'
  ])
  t.same(play([5, SENT], [50, CUT], [300, CONNECTED], [310, RUNNING]), [
    { type: 'resolve' },
    { type: 'attach' },
    'running'
  ])
  t.same(play([5, SENT], [50, CUT], [300, CONNECTED], [310, ENDED]), [
    { type: 'resolve' },
    { type: 'exited', end: END },
    'exited'
  ])
  t.same(play([5, SENT], [50, CUT], [300, RESTARTED]), [LOST(RESTART), 'lost'])
  t.same(play([5, SENT], [50, CUT], [300, CONNECTED], [310, { ...VOID, epoch: 8 }]), [
    { type: 'resolve' },
    LOST(RESTART),
    'lost'
  ])
})

t.test('unanswered over a connection that stands: it is resolved there, again and again', async (t) => {
  const it = job()
  t.equal(it.nextTimer(), 2_000)
  t.same(it.handle(SENT, 5), [])
  t.equal(it.nextTimer(), 1_005)
  t.same(it.handle(TIMER, 1_005), [{ type: 'resolve' }])
  t.same(it.handle(TIMER, 1_006), [])
  t.same(it.handle(TIMER, 2_005), [{ type: 'resolve' }])
  t.same(it.handle(STARTED, 2_500), [], 'the answer was only slow')
  t.same(it.handle(RUNNING, 2_501), [], 'and its streams are joined already')
  t.equal(it.nextTimer(), undefined)
})

t.test('silence while a start is unanswered: lost', async (t) => {
  const it = job()
  it.handle(SENT, 5)
  it.handle(CUT, 50)
  t.equal(it.nextTimer(), 13_050)
  t.same(it.handle(TIMER, 13_049), [])
  t.same(it.handle(TIMER, 13_050), [LOST(SILENT)])
  t.equal(it.nextTimer(), undefined)
  t.same(play([5, SENT], [13_005, TIMER]), [LOST(SILENT), 'lost'], 'also when the connection seems to stand')
})

t.test('running and cut: attached again, or lost', async (t) => {
  t.same(play([5, SENT], [9, STARTED], [60_000, CUT], [61_000, CONNECTED]), [{ type: 'attach' }, 'running'])
  t.same(play([5, SENT], [9, STARTED], [60_000, CUT], [61_000, RESTARTED]), [LOST(RESTART), 'lost'])
  t.same(play([5, SENT], [9, STARTED], [60_000, CUT], [73_000, TIMER]), [LOST(SILENT), 'lost'])
  t.same(play([5, SENT], [9, STARTED], [60_000, { ...CUT, heardAt: 57_000 }], [70_000, TIMER]), [LOST(SILENT), 'lost'])
  t.same(play([5, SENT], [9, STARTED], [60_000, CUT], [61_000, CONNECTED], [80_000, TIMER]), [
    { type: 'attach' },
    'running'
  ])
  t.same(play([5, SENT], [9, STARTED], [99, VOID]), [LOST('it no longer knows how the job ended'), 'lost'])
})

t.test('a clock that jumped over the silence: only what is certain still counts', async (t) => {
  const asleep = [
    [5, SENT],
    [50, CUT]
  ] as [number, HomeEvent][]
  t.same(play(...asleep, [90_000, CONNECTED]), [LOST(SILENT), 'lost'])
  t.same(play(...asleep, [90_000, VOID]), [LOST(SILENT), 'lost'])
  t.same(play(...asleep, [90_000, RUNNING]), [{ type: 'attach' }, 'running'])
  t.same(play(...asleep, [90_000, ENDED]), [{ type: 'exited', end: END }, 'exited'])
  t.same(play(...asleep, [90_000, REFUSED]), [AGAIN('paused', 'its owner paused lending'), 'free'])
})

t.test('lost is never placed anew, but its end may still correct the record', async (t) => {
  const lost = [
    [5, SENT],
    [50, CUT],
    [300, RESTARTED]
  ] as [number, HomeEvent][]
  t.same(play(...lost, [400, VOID], [500, REFUSED], [600, CONNECTED], [700, TIMER]), [LOST(RESTART), 'lost'])
  t.same(play(...lost, [400, ENDED]), [LOST(RESTART), { type: 'exited', end: END }, 'exited'])
  t.same(play(...lost, [400, { ...ENDED, epoch: 8 }]), [LOST(RESTART), 'lost'])
})

t.test('nothing happens after the end', async (t) => {
  t.same(play([100, CUT], [200, SENT], [300, STARTED], [400, CONNECTED]), [
    AGAIN('not-connected', 'the connection was lost'),
    'free'
  ])
  t.same(play([5, SENT], [6, { type: 'ended', end: END }], [7, CUT], [8, VOID]), [
    { type: 'exited', end: END },
    'exited'
  ])
})
