import t from 'tap'
import type { PeerCore } from '../../src/core/peer-core.ts'
import type { Effect, MachineRecord, OverlayMessage } from '../../src/core/types.ts'
import { advertisement, entry, GiB, gist, join, LINUX, needs, peer, probe, request, rules, sample } from './scenario.ts'

/** A home with one core under one endless loop, so that an idle neighbour is worth the way. */
function home(changes: Parameters<typeof peer>[1] = {}): PeerCore {
  const core = peer('home', changes)
  core.handleSample(sample({ cores: 1, idleCores: 0, runnable: 1 }), 0)
  return core
}

let sequence = 100

function yes(id: string, target: string, after: Partial<MachineRecord> = {}): OverlayMessage {
  const ticket = { id: `of-${id}`, target, epoch: 1, validMs: 2_000 }
  const entries = [entry(target, { guestDemand: 1, ...after }, ++sequence)]
  return { type: 'probe-reply', id, path: ['home', target], bestAt: 1, ticket, refusals: [], entries }
}

function no(id: string, target: string, code: string): OverlayMessage {
  const refusals = [{ peer: target, code, reason: `says ${code}` }]
  return { type: 'probe-reply', id, path: ['home', target], refusals, entries: [entry(target, {}, ++sequence)] }
}

function traceOf(effects: Effect[]) {
  for (const effect of effects) if (effect.type === 'placed' || effect.type === 'unplaceable') return effect.trace
  throw new Error('nothing was decided')
}

t.test('an idle home keeps its job without a word to anyone', async (t) => {
  const core = peer('home')
  core.handleSample(sample(), 0)
  t.same(gist(core.place('j0', request(), 1)), ['placed j0 here: no other peer is connected'])
  join(core, 'nas', 1)
  t.same(gist(core.place('j1', request(), 2)), ['placed j1 here: idle here'])
  t.equal(core.ownRecord(2).homeDemand, 2)
  core.homeJobEnded('j1', 3)
  core.homeJobEnded('j1', 3)
  core.homeJobEnded('unknown', 3)
  t.equal(core.ownRecord(3).homeDemand, 1)
})

t.test('a loaded home ships to the better machine', async (t) => {
  const core = home()
  join(core, 'nas', 0)
  const asked = core.place('j1', request(), 10)
  t.same(asked.slice(0, 1), [
    {
      type: 'send',
      to: 'nas',
      message: probe('home-1', { hopsLeft: 7, best: 52.5 })
    }
  ])
  const effects = core.handleMessage('nas', yes('home-1', 'nas'), 13)
  t.same(gist(effects), ['placed j1 there of-home-1: nas is 2.0 times better'])
  t.same(traceOf(effects), {
    candidates: [
      { peer: 'home', metric: 50, hops: 0, ageMs: 10 },
      { peer: 'nas', metric: 100, hops: 1, ageMs: 10 }
    ],
    hops: ['nas'],
    refusals: [],
    placedMs: 3,
    reason: 'nas is 2.0 times better'
  })
  t.equal(core.ownRecord(13).homeDemand, 0, 'a promise of the other')
  t.equal(core.view(13).neighbours[0]?.record?.guestDemand, 1, 'the record after the hold is known')
})

t.test('promises count at once: of a burst at an idle home each next job sees the ones before', async (t) => {
  const core = peer('home')
  core.handleSample(sample({ cores: 2 }), 0)
  join(core, 'nas', 0)
  const places = ['j1', 'j2', 'j3'].map((id) => gist(core.place(id, request(), 1))[0])
  t.same(places, ['placed j1 here: idle here', 'placed j2 here: idle here', 'probe home-1>nas'])
})

t.test('not better by more than the way costs: it stays', async (t) => {
  const core = home()
  join(core, 'nas', 0, { speed: 0.52 })
  t.same(gist(core.place('j1', request(), 1)), ['placed j1 here: no other peer is better by more than the way costs'])
  core.homeJobEnded('j1', 2)
  t.same(gist(core.place('j2', request({ transferFactor: 1 }), 2)), ['probe home-1>nas'])
})

t.test('a random one of the nearly best is asked', async (t) => {
  let random = 0
  const core = home({ random: () => random })
  join(core, 'a', 0, { speed: 2 })
  join(core, 'b', 0, { speed: 1.6 })
  join(core, 'c', 0, { speed: 1.4 })
  t.same(gist(core.place('j1', request(), 1)), ['probe home-1>a'])
  random = 0.99
  t.same(gist(core.place('j2', request(), 1)), ['probe home-2>b'])
  t.same(gist(core.handleMessage('b', no('home-2', 'b', 'slots'), 2)), ['probe home-3>a'], 'then the next best')
  t.same(gist(core.handleMessage('a', no('home-3', 'a', 'slots'), 3)), ['probe home-4>c'])
})

t.test('refused by all: it runs at home and says why', async (t) => {
  const core = home()
  join(core, 'nas', 0)
  core.place('j1', request(), 1)
  const effects = core.handleMessage('nas', no('home-1', 'nas', 'paused'), 4)
  t.same(gist(effects), ['placed j1 here: nas: says paused'])
  t.same(traceOf(effects).refusals, [{ peer: 'nas', code: 'paused', reason: 'says paused' }])
})

t.test('no answer in time: another is asked too, the first yes wins, the other is let go', async (t) => {
  const core = home()
  join(core, 'a', 0, { speed: 2 })
  join(core, 'b', 0)
  core.handleRoundTrip('a', 20)
  core.place('j1', request(), 100)
  t.equal(core.nextTimer(), 180, 'four round trips')
  t.same(gist(core.handleTimer(179)), [])
  t.same(gist(core.handleTimer(180)), ['probe home-2>b'])
  const effects = core.handleMessage('b', yes('home-2', 'b'), 182)
  t.same(gist(effects), ['release home-1>a', 'placed j1 there of-home-2: b is 2.0 times better'])
  t.same(traceOf(effects).refusals, [{ peer: 'a', code: 'no-answer', reason: 'no answer in 82 ms' }])
  t.same(gist(core.handleMessage('a', yes('home-1', 'a'), 190)), ['release home-1>a'], 'also when it answers late')
  t.same(gist(core.handleMessage('b', yes('home-2', 'b'), 191)), [], 'but not what was won, should it come twice')
})

t.test('the hedge waits at least 50 ms', async (t) => {
  const core = home()
  join(core, 'a', 0, { speed: 2 })
  join(core, 'b', 0)
  core.handleRoundTrip('a', 0.5)
  core.place('j1', request(), 100)
  t.equal(core.nextTimer(), 150)
})

t.test('the first one may still win after the second was asked', async (t) => {
  const core = home()
  join(core, 'a', 0, { speed: 2 })
  join(core, 'b', 0)
  core.place('j1', request(), 100)
  core.handleTimer(150)
  t.same(gist(core.handleMessage('a', yes('home-1', 'a'), 160)), [
    'release home-2>b',
    'placed j1 there of-home-1: a is 4.0 times better'
  ])
})

t.test('nobody answers: home after 400 ms, all holds let go', async (t) => {
  const core = home()
  join(core, 'a', 0)
  join(core, 'b', 0)
  core.place('j1', request(), 100)
  t.same(gist(core.handleTimer(150)), ['probe home-2>b'])
  t.same(gist(core.handleTimer(200)), ['probe home-1>a', 'probe home-2>b'], 'nobody else is left: the same once more')
  t.same(gist(core.handleTimer(249)), [])
  const effects = core.handleTimer(500)
  t.same(gist(effects), ['release home-1>a', 'release home-2>b', 'placed j1 here: a: no answer in 400 ms'])
  t.equal(traceOf(effects).placedMs, 400)
})

t.test('a question that was lost is answered when it comes again', async (t) => {
  const core = home()
  join(core, 'a', 0)
  core.place('j1', request(), 100)
  t.same(gist(core.handleTimer(150)), ['probe home-1>a'])
  t.same(gist(core.handleMessage('a', yes('home-1', 'a'), 152)), ['placed j1 there of-home-1: a is 2.0 times better'])
  t.same(gist(core.handleMessage('a', yes('home-1', 'a'), 153)), [], 'the answer to the first: one ticket')
})

t.test('a job that has used up some of its time has less for answers', async (t) => {
  const core = home()
  join(core, 'a', 0)
  core.place('j1', request({ budgetMs: 120 }), 100)
  t.match(core.handleTimer(150), [{ to: 'a', message: probe('home-1', { hopsLeft: 7, best: 52.5, waitMs: 70 }) }])
  t.same(gist(core.handleTimer(199)), [])
  t.same(gist(core.handleTimer(220)), ['release home-1>a', 'placed j1 here: a: no answer in 120 ms'])
})

t.test('who refused on the way to the target is told too', async (t) => {
  const core = home()
  join(core, 'nas', 0)
  core.place('j1', request(), 10)
  const refusals = [{ peer: 'shed', code: 'no-answer', reason: 'did not answer in time' }]
  const effects = core.handleMessage('nas', { ...yes('home-1', 'nas'), refusals } as OverlayMessage, 13)
  t.same(gist(effects), ['placed j1 there of-home-1: nas is 2.0 times better'])
  t.same(traceOf(effects).refusals, refusals)
})

t.test('why it stayed: who was hoped for says more than who was passed', async (t) => {
  const core = home()
  join(core, 'a', 0, { slots: 0 })
  join(core, 'b', 0)
  core.place('j1', request(), 100)
  const refusals = [
    { peer: 'a', code: 'slots', reason: 'has no free slot' },
    { peer: 'b', code: 'memory', reason: 'has too little memory' }
  ]
  const reply = { ...no('home-1', 'b', 'memory'), refusals } as OverlayMessage
  t.same(gist(core.handleMessage('b', reply, 103)), ['placed j1 here: b: has too little memory'])
})

t.test('a neighbour that goes away while asked is no answer at once', async (t) => {
  const core = home()
  join(core, 'a', 0, { speed: 2 })
  join(core, 'b', 0)
  core.place('j1', request(), 100)
  t.same(gist(core.handleNeighbourDown('a', 101)), ['probe home-2>b'])
  t.same(gist(core.handleNeighbourDown('b', 102)), ['placed j1 here: a: the connection was lost'])
})

t.test('an answer from another than was asked, or for another target, is none', async (t) => {
  const core = home()
  join(core, 'a', 0, { speed: 2 })
  join(core, 'b', 0)
  core.place('j1', request(), 100)
  t.same(gist(core.handleMessage('b', yes('home-1', 'b'), 101)), [])
  t.same(gist(core.handleMessage('a', yes('home-1', 'c'), 102)), ['release home-1>a', 'probe home-2>b'])
})

t.test('an old sample is taken anew before home is compared, or does after 50 ms', async (t) => {
  const core = home()
  join(core, 'nas', 0)
  core.handleMessage('nas', advertisement('nas', {}, 2), 900)
  t.same(gist(core.place('j1', request(), 1_000)), ['sample'])
  t.same(gist(core.place('j2', request(), 1_001)), [], 'one for all')
  t.same(gist(core.handleSample(sample({ cores: 1 }), 1_002)), ['placed j1 here: idle here', 'probe home-1>nas'])
  core.cancel('j2', 1_003)
  core.homeJobEnded('j1', 1_003)
  core.handleMessage('nas', advertisement('nas', {}, 3), 1_900)
  t.same(gist(core.place('j3', request(), 2_000)), ['sample'])
  t.same(gist(core.handleTimer(2_050)), ['placed j3 here: idle here'])
  t.same(gist(core.place('j4', request({ remote: true }), 3_000)), ['probe home-2>nas'], "home doesn't matter here")
})

t.test('--local, --remote, --on, --not', async (t) => {
  const core = home()
  join(core, 'nas', 0, { speed: 0.1 })
  join(core, 'pi', 0, { speed: 0.01 })
  t.same(gist(core.place('j1', request({ local: true }), 1)), ['placed j1 here: asked for with --local'])
  t.same(gist(core.place('j2', request({ on: ['home'] }), 1)), ['placed j2 here: this machine was asked for'])
  t.same(gist(core.place('j3', request({ remote: true }), 1)), ['probe home-1>nas'], 'however slow')
  t.same(gist(core.handleMessage('nas', yes('home-1', 'nas'), 2)), ['placed j3 there of-home-1: nas was asked for'])
  t.same(gist(core.place('j4', request({ on: ['pi'] }), 3)), ['probe home-2>pi'])
  t.same(gist(core.place('j5', request({ not: ['home', 'nas'] }), 3)), ['probe home-3>pi'])
  t.same(gist(core.place('j6', request({ remote: true, on: ['home'] }), 3)), [
    'unplaceable j6: no peer is left that may run it'
  ])
  t.same(gist(core.place('j7', request({ on: ['away'] }), 3)), ['unplaceable j7: away: not connected'])
  t.same(gist(core.place('j8', request({ local: true, not: ['home'] }), 3)), [
    'unplaceable j8: no peer is left that may run it'
  ])
})

t.test('what must go elsewhere fails when nobody takes it', async (t) => {
  const core = home()
  join(core, 'nas', 0)
  core.place('j1', request({ remote: true }), 1)
  t.same(gist(core.handleMessage('nas', no('home-1', 'nas', 'tool'), 2)), ['unplaceable j1: nas: says tool'])
  core.place('j2', request({ remote: true }), 10)
  t.same(gist(core.handleTimer(410)), ['release home-2>nas', 'unplaceable j2: nas: no answer in 400 ms'])
})

t.test('a neighbour of which nothing is known yet is asked when the job must go', async (t) => {
  const core = home()
  core.handleNeighbourUp('nas', { kind: 'own', name: 'nas' }, 0)
  t.same(gist(core.place('j1', request(), 1)), ['placed j1 here: nas: nothing heard from it yet'])
  t.same(gist(core.place('j2', request({ on: ['nas'] }), 1)), ['probe home-1>nas'])
})

t.test('slots that seemed taken are asked about when the alternative is to fail', async (t) => {
  const core = home()
  join(core, 'nas', 0, { guestDemand: 8 })
  t.same(gist(core.place('j1', request(), 1)), ['placed j1 here: nas: 8 of 8 slots taken, 1 needed'])
  t.same(gist(core.place('j2', request({ remote: true }), 1)), ['probe home-1>nas'])
})

t.test('what never ships stays unless it is forced', async (t) => {
  const core = home()
  join(core, 'nas', 0)
  const stays = 'sudo acts on this machine'
  t.same(gist(core.place('j1', request({ stays }), 1)), [`placed j1 here: ${stays}`])
  t.same(gist(core.place('j2', request({ stays, remote: true }), 1)), ['probe home-1>nas'])
  t.same(gist(core.place('j3', request({ stays, on: ['nas'] }), 1)), ['probe home-2>nas'])
})

t.test('what home lacks must go elsewhere, and what all lack is said at once with the reasons', async (t) => {
  const core = home({ hasTool: () => false })
  join(core, 'nas', 0, { labels: ['gpu'] })
  join(core, 'pi', 0, { class: { ...LINUX, arch: 'arm64' } })
  t.same(gist(core.place('j1', request({ needs: needs({ labels: ['gpu'] }) }), 1)), ['probe home-1>nas'])
  t.same(gist(core.handleMessage('nas', yes('home-1', 'nas'), 2)), [
    'placed j1 there of-home-1: this machine has no label gpu'
  ])
  t.same(gist(core.place('j2', request({ needs: needs({ tools: ['ffmpeg'], class: { arch: 'arm64' } }) }), 3)), [
    'probe home-2>pi'
  ])
  const effects = core.place('j3', request({ needs: needs({ labels: ['tpu'] }) }), 4)
  t.same(gist(effects), ['unplaceable j3: this machine: has no label tpu'])
  t.same(
    traceOf(effects).candidates.map(({ peer, lacks }) => [peer, lacks]),
    [
      ['home', 'has no label tpu'],
      ['nas', 'has no label tpu'],
      ['pi', 'has no label tpu']
    ]
  )
})

t.test('home with too little memory is the last resort', async (t) => {
  const core = peer('home')
  core.handleSample(sample({ memoryAvailable: GiB }), 0)
  join(core, 'nas', 0, { speed: 0.5 })
  const big = request({ needs: needs({ memoryBytes: 2 * GiB }) })
  t.same(gist(core.place('j1', big, 1)), ['probe home-1>nas'])
  t.same(gist(core.handleMessage('nas', yes('home-1', 'nas'), 2)), [
    'placed j1 there of-home-1: nas has room, this machine has not'
  ])
  core.place('j2', big, 3)
  t.same(gist(core.handleMessage('nas', no('home-2', 'nas', 'memory'), 4)), ['placed j2 here: nas: says memory'])
})

t.test("speeds of different versions of the benchmark aren't compared", async (t) => {
  const core = home()
  join(core, 'nas', 0, { benchmarkVersion: 2 })
  t.same(gist(core.place('j1', request(), 1)), [
    'placed j1 here: nas: its speed was measured by another version of the benchmark'
  ])
  t.same(gist(core.place('j2', request({ remote: true }), 1)), ['probe home-1>nas'])
})

t.test('a demand for many cores finds the machine that has them', async (t) => {
  const core = peer('home')
  core.handleSample(sample({ cores: 2, speed: 2 }), 0)
  join(core, 'big', 0, { cores: 16 })
  t.same(gist(core.place('j1', request(), 1)), ['placed j1 here: idle here'])
  core.homeJobEnded('j1', 1)
  t.same(gist(core.place('j2', request({ needs: needs({ demand: 16 }) }), 1)), ['probe home-1>big'])
})

t.test('a client that goes away leaves nothing behind', async (t) => {
  const core = home()
  join(core, 'nas', 0)
  core.place('j1', request(), 1)
  t.same(gist(core.cancel('j1', 2)), ['release home-1>nas'])
  t.same(gist(core.handleMessage('nas', yes('home-1', 'nas'), 3)), ['release home-1>nas'])
  t.same(gist(core.cancel('j1', 4)), [])
  t.equal(core.remembered, 0)
})

t.test('a job can be placed again, but not twice at once', async (t) => {
  const core = home()
  join(core, 'nas', 0)
  core.place('j1', request(), 1)
  t.throws(() => core.place('j1', request(), 2), /being placed already/)
  core.handleMessage('nas', yes('home-1', 'nas'), 3)
  t.same(gist(core.place('j1', request({ local: true }), 4)), ['placed j1 here: asked for with --local'])
})

t.test('paper: the constant of one hop is what the way costs', async (t) => {
  const core = home({ metricPolicy: 'paper' })
  core.handleSample(sample({ cores: 1, idleCores: 0, runnable: 4 }), 0)
  join(core, 'b', 0, { cores: 1, idleCores: 0, runnable: 3 })
  t.same(gist(core.place('j1', request(), 1)), ['placed j1 here: no other peer is better by more than the way costs'])
  core.homeJobEnded('j1', 1)
  core.handleMessage('b', advertisement('b', { cores: 1, idleCores: 0, runnable: 1 }, 2), 2)
  t.same(gist(core.place('j2', request(), 3)), ['probe home-1>b'])
  core.setMetricPolicy('product')
  t.same(gist(core.place('j3', request(), 3)), ['placed j3 here: no other peer is better by more than the way costs'])
})

t.test('the own rules say what home is', async (t) => {
  const core = home({ rules: rules({ labels: ['desk'] }) })
  t.same(gist(core.place('j1', request({ needs: needs({ labels: ['desk'] }) }), 1)), [
    'placed j1 here: no other peer is connected'
  ])
})
