import t from 'tap'
import { Learning } from '../../src/core/learning.ts'
import type { PeerCore } from '../../src/core/peer-core.ts'
import type { Effect, OverlayMessage, PlacedThere, PlaceRequest } from '../../src/core/types.ts'
import { entry, gist, join, peer, request, sample, sends } from './scenario.ts'

/** A home with one core under one endless loop: its metric is 50, an idle machine's is 100. */
function home(learning = new Learning()): PeerCore {
  const core = peer('home', { learning })
  core.handleSample(sample({ cores: 1, idleCores: 0, runnable: 1 }), 0)
  return core
}

/** One whose word about its speed was wrong by ten. */
function liarKnown(learning: Learning, name: string): void {
  const link = { totalMs: 10_015, stagedBytes: 0, streamedBytes: 0, turns: 0 }
  for (let run = 0; run < 3; run++) {
    learning.finished({ key: 'cc', speed: 1, usage: { wallMs: 1_000, cpuMs: 1_000 } }, 0)
  }
  for (let run = 0; run < 20; run++) {
    const usage = { wallMs: 10_000, cpuMs: 10_000 }
    learning.finished({ key: 'cc', sent: { id: 'j1', peer: name, claim: { speed: 1 }, demand: 1 }, usage, link }, 0)
  }
}

function working(ms: number, stagedBytes = 0, streamedBytes = 0): PlaceRequest {
  return request({ work: { ms, stagedBytes, streamedBytes, turns: 0 } })
}

function yes(id: string, target: string): OverlayMessage {
  const ticket = { id: `of-${id}`, target, epoch: 1, validMs: 2_000 }
  const entries = [entry(target, { guestDemand: 1 }, 100)]
  return { type: 'probe-reply', id, path: ['home', target], bestAt: 1, ticket, refusals: [], entries }
}

function traceOf(effects: Effect[]) {
  for (const effect of effects) if (effect.type === 'placed') return effect.trace
  throw new Error('nothing was decided')
}

function bestOf(effects: Effect[]): number | undefined {
  const [first] = sends(effects)
  return first?.message.type === 'probe' ? first.message.best : undefined
}

t.test('what the way costs is weighed against what the job takes', async (t) => {
  const core = home()
  join(core, 'nas', 0)
  t.same(gist(core.place('short', working(10), 1)), ['placed short here: it takes 20 ms here: too short to send'])
  t.same(gist(core.place('longer', working(1_000), 1)), ['probe home-1>nas'])
})

t.test('a long job goes for the usual 5 %, a shorter one only for more', async (t) => {
  const bests = [100_000, 100, 20].map((ms) => {
    const core = home()
    join(core, 'nas', 0)
    return bestOf(core.place('j1', working(ms), 1))
  })
  t.equal(bests[0], 52.5)
  t.ok(bests[1]! > 53 && bests[1]! < 55, String(bests[1]))
  t.ok(Math.abs(bests[2]! - 50 / 0.7) < 1e-9, 'of 40 ms here 12 are for the way: 28 are left')
})

t.test('bytes and round trips cost too', async (t) => {
  const core = home()
  join(core, 'nas', 0)
  core.handleRoundTrip('nas', 100)
  t.match(gist(core.place('far', working(150), 1)), [/^placed far here/])
  t.match(gist(core.place('long', working(1_000), 1)), [/^probe/])
  core.cancel('long', 1)
  t.match(gist(core.place('large', working(1_000, 1e9), 1)), [/^placed large here/])
  t.match(gist(core.place('stream', working(1_000, 0, 1e9), 1)), [/^placed stream here/])
  t.match(
    gist(core.place('meanwhile', working(1_000, 0, 1e7), 1)),
    [/^probe/],
    'what travels while it runs costs nothing'
  )
})

t.test('who was slower than it said is worth less, and why tells by how much', async (t) => {
  const learning = new Learning()
  liarKnown(learning, 'liar')
  const core = home(learning)
  join(core, 'liar', 0, { speed: 3 })
  join(core, 'nas', 0)
  const asked = core.place('j1', request(), 1)
  t.same(gist(asked), ['probe home-1>nas'], 'though the other says 300')
  const [{ message } = { message: undefined }] = sends(asked)
  t.same(message?.type === 'probe' && message.avoid, ['liar'], 'nor is it found on the way')
  const effects = core.handleMessage('nas', yes('home-1', 'nas'), 2)
  t.same(gist(effects), ['placed j1 there of-home-1: nas is 2.0 times better'])
  const candidate = traceOf(effects).candidates.find(({ peer }) => peer === 'liar')!
  t.ok(candidate.trust! < 0.15 && candidate.trust! > 0.1)
  t.ok(Math.abs(candidate.metric - 300 * candidate.trust!) < 1e-9)
  t.notOk(traceOf(effects).candidates.some(({ peer, trust }) => peer === 'nas' && trust !== undefined))
  const seen = core.view(2).neighbours.map(({ peer, metric, trust }) => ({ peer, metric, trust: trust < 1 }))
  t.same(seen, [
    { peer: 'liar', metric: 300, trust: true },
    { peer: 'nas', metric: 100, trust: false }
  ])
})

t.test('one that is believed little must claim more, and may still be the best', async (t) => {
  const learning = new Learning()
  liarKnown(learning, 'liar')
  const core = home(learning)
  join(core, 'liar', 0, { speed: 9 })
  const best = bestOf(core.place('j1', request(), 1))
  t.ok(best! > 400 && best! < 525, String(best))
  const [placed] = core.handleMessage('liar', yes('home-1', 'liar'), 2) as PlacedThere[]
  t.same(placed?.claim, { speed: 9, metric: 900 }, 'by its own word, for what the job will show')
})

t.test('it is believed again with time', async (t) => {
  const learning = new Learning()
  liarKnown(learning, 'liar')
  const core = home(learning)
  const later = 3_600_000
  core.handleSample(sample({ cores: 1, idleCores: 0, runnable: 1 }), later)
  join(core, 'liar', later, { speed: 9 })
  join(core, 'nas', later)
  t.same(gist(core.place('j1', request(), later)), ['probe home-1>liar'])
})
