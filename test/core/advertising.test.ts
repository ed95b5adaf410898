import t from 'tap'
import { type Advertisement, MAX_HOPS } from '../../src/core/types.ts'
import {
  advertised,
  advertisement,
  entry,
  gist,
  join,
  peer,
  probe,
  replyOf,
  request,
  rules,
  sample
} from './scenario.ts'

const OWN = { kind: 'own', name: 'nas' } as const

t.test('a new neighbour is told at once: the own record, as far as it may travel', async (t) => {
  const core = peer('home', { epoch: 3 })
  core.handleSample(sample(), 0)
  t.same(core.handleNeighbourUp('nas', OWN, 40), [
    {
      type: 'send',
      to: 'nas',
      message: {
        type: 'advertisement',
        periodMs: 10_000,
        idleMs: 300_000,
        entries: [
          {
            origin: 'home',
            epoch: 3,
            sequence: 1,
            ageMs: 40,
            hopsLeft: 7,
            hops: 1,
            name: 'home',
            record: core.ownRecord(40)
          }
        ]
      }
    }
  ])
  const [toFriend] = core.handleNeighbourUp('guest', { kind: 'friend', name: 'guest' }, 50)
  t.match(toFriend, { to: 'guest', message: { entries: [{ sequence: 2, hopsLeft: 0 }] } }, 'a friend tells nobody else')
})

t.test('every ten seconds while idle, every two once a job was asked for, ten again after five minutes', async (t) => {
  const core = peer('home')
  core.handleSample(sample(), 0)
  core.handleNeighbourUp('nas', OWN, 0)
  t.same(advertised(core.handleTimer(9_999)), [])
  t.equal(core.nextTimer(), 10_000)
  t.same(advertised(core.handleTimer(10_000)), ['nas'])
  const woken = core.place('j1', request({ local: true }), 12_000)
  t.same(advertised(woken), ['nas'])
  t.match(woken.at(-1), { message: { periodMs: 2_000 } })
  core.homeJobEnded('j1', 12_100)
  let count = 0
  let now = 12_100
  while (now < 400_000) {
    now = core.nextTimer() ?? Number.POSITIVE_INFINITY
    count += advertised(core.handleTimer(now)).length
  }
  const fast = 150
  t.ok(count >= fast && count <= fast + 12, `${count} in 388 s`)
})

t.test(
  'a step of 10 % and a half is news; less is not, nor is a fall that jobs cause, which answers tell',
  async (t) => {
    const core = peer('home')
    core.handleSample(sample({ cores: 1 }), 0)
    core.handleNeighbourUp('nas', OWN, 0)
    const level = (idleCores: number, now: number) =>
      advertised(core.handleSample(sample({ cores: 1, idleCores, runnable: 1 - idleCores }), now)).length
    t.equal(level(0.95, 100), 0)
    t.equal(level(0.5, 200), 1, 'the owner came')
    core.handleMessage('nas', probe('p1', { origin: 'nas', path: ['nas'] }), 200)
    core.handleMessage('nas', { type: 'release', id: 'p1' }, 200)
    t.equal(level(0.5, 300), 0, 'no better than what the answer told')
    t.equal(level(0.54, 400), 0)
    t.equal(level(0.6, 500), 1, 'a step and more above it')
    t.equal(level(0.56, 600), 0, 'back and forth over one border is none')
    t.equal(level(0.6, 700), 0)
    core.handleNeighbourUp('desk', { kind: 'own', name: 'desk' }, 700)
    const hold = core.handleMessage('nas', probe('p2', { origin: 'nas', path: ['nas'] }), 750)
    t.same(advertised(hold), [], 'nobody is told of a job that came')
    t.same(
      advertised(core.handleMessage('nas', { type: 'release', id: 'p2' }, 760)),
      ['nas'],
      'who knew of it is told that it went'
    )
  }
)

t.test('full, refusing, other slots: news at once', async (t) => {
  const core = peer('home', { rules: rules({ slots: 1 }) })
  core.handleSample(sample({ cores: 64 }), 0)
  join(core, 'nas', 0)
  core.handleMessage('nas', probe('p1', { origin: 'nas', path: ['nas'] }), 1)
  t.same(advertised(core.handleMessage('nas', { type: 'release', id: 'p1' }, 2)), ['nas'], 'no longer full')
  t.same(advertised(core.setRules(rules({ slots: 1, refuses: 'paused' }), 3)), ['nas'])
  t.same(advertised(core.setRules(rules({ slots: 2 }), 4)), ['nas'])
  t.same(advertised(core.handleSample(sample({ cores: 64 }), 5)), [])
})

t.test('what a call without effects changed is told with the next timer, which is due', async (t) => {
  const core = peer('home', { rules: rules({ slots: 1 }) })
  core.handleSample(sample({ cores: 64 }), 0)
  join(core, 'nas', 0)
  core.handleMessage('nas', probe('p1', { origin: 'nas', path: ['nas'] }), 1)
  core.resolveTicket('nas', 'home-1', 2)
  t.equal(core.nextTimer(), 2)
  t.same(advertised(core.handleTimer(2)), ['nas'])
})

t.test('a bucket bounds what changes can cause', async (t) => {
  const core = peer('home')
  core.handleSample(sample(), 0)
  core.handleNeighbourUp('nas', OWN, 0)
  core.place('j', request({ local: true }), 0)
  let count = 0
  let wanted = 0
  for (let now = 0; now < 60_000; ) {
    const due = core.nextTimer() ?? Number.POSITIVE_INFINITY
    const flip = wanted * 50
    now = Math.min(due, flip)
    if (flip <= due) count += advertised(core.setRules(rules({ slots: 1 + (wanted++ % 2) }), now)).length
    else count += advertised(core.handleTimer(now)).length
  }
  t.ok(count > 170 && count <= 190, `${count} in a minute of 20 changes a second`)
})

t.test('claims of a neighbour vanish with its connection, or after three silent periods', async (t) => {
  const core = peer('home')
  core.handleSample(sample(), 0)
  join(core, 'nas', 0)
  const known = (now: number) => core.view(now).neighbours.map(({ connected, metric }) => ({ connected, metric }))
  t.same(known(1), [{ connected: true, metric: 100 }])
  core.handleTimer(2_999)
  t.same(known(2_999), [{ connected: true, metric: 100 }])
  core.handleTimer(3_000)
  t.same(known(3_000), [{ connected: true, metric: undefined }])
  core.handleMessage('nas', advertisement('nas', {}, 2), 4_000)
  core.handleMessage('nas', { type: 'release', id: 'x' }, 6_000)
  core.handleTimer(8_000)
  t.same(known(8_000), [{ connected: true, metric: 100 }], 'any word is a sign of life')
  core.handleNeighbourDown('nas', 8_001)
  t.same(known(8_001), [{ connected: false, metric: undefined }])
  core.handleMessage('nas', advertisement('nas', {}, 3), 8_002)
  t.same(known(8_002), [{ connected: false, metric: undefined }], 'not connected: not heard')
})

t.test('an older record never replaces a newer one, a restart is newer, and only its own counts', async (t) => {
  const core = peer('home')
  core.handleSample(sample(), 0)
  join(core, 'nas', 0)
  const speed = () => core.view(1).neighbours[0]?.record?.speed
  const say = (...entries: ReturnType<typeof entry>[]) =>
    core.handleMessage('nas', { type: 'advertisement', periodMs: 1_000, idleMs: 300_000, entries }, 1)
  say(entry('nas', { speed: 5 }, 5))
  t.equal(speed(), 5)
  say(entry('nas', { speed: 4 }, 4))
  t.equal(speed(), 5)
  say(entry('far', { speed: 9 }, 9), entry('nas', { speed: 2 }, 1, 2))
  t.equal(speed(), 2)
  t.equal(core.view(1).neighbours.length, 1)
  say(entry('far', { speed: 9 }, 9))
  t.equal(speed(), undefined, 'what it no longer claims is gone')
})

t.test('age is what the sender said and what has passed since', async (t) => {
  const core = peer('home')
  core.handleSample(sample(), 0)
  core.handleNeighbourUp('nas', OWN, 0)
  core.handleMessage(
    'nas',
    { type: 'advertisement', periodMs: 1_000, idleMs: 300_000, entries: [{ ...entry('nas'), ageMs: 300 }] },
    100
  )
  t.equal(core.view(600).neighbours[0]?.ageMs, 800)
})

t.test('view: own metric is for an own job, the neighbours are for a guest', async (t) => {
  const core = peer('home')
  core.handleSample(sample({ cores: 1, idleCores: 0, runnable: 1 }), 0)
  join(core, 'nas', 0, { cores: 1, idleCores: 0.5, runnable: 0.5 })
  const { self, neighbours } = core.view(0)
  t.equal(self.metric, 50)
  t.equal(neighbours[0]?.metric, 50)
  t.equal(neighbours[0]?.name, 'nas')
})

t.test('messages of unknown neighbours and round trips of unknown peers are passed over', async (t) => {
  const core = peer('home')
  t.same(core.handleMessage('nobody', advertisement('nobody'), 0), [])
  core.handleRoundTrip('nobody', 5)
  t.same(gist(core.handleNeighbourDown('nobody', 0)), [])
})

t.test(
  'nothing is told on that a neighbour would turn away: not beyond the hops, not beyond the oldest age',
  async (t) => {
    const core = peer('b')
    core.handleSample(sample(), 0)
    core.handleNeighbourUp('liar', { kind: 'own', name: 'liar' }, 0)
    const year = 365 * 24 * 3_600_000
    const lies = [
      { ...entry('liar'), ageMs: year, hopsLeft: MAX_HOPS },
      { ...entry('far'), hops: MAX_HOPS, hopsLeft: MAX_HOPS },
      { ...entry('near'), hops: MAX_HOPS - 1, hopsLeft: MAX_HOPS }
    ]
    core.handleMessage('liar', { type: 'advertisement', periodMs: 1_000, idleMs: 0, entries: lies }, 10)
    const [told] = core.handleNeighbourUp('c', { kind: 'own', name: 'c' }, 20)
    const { entries } = (told as { message: Advertisement }).message
    t.same(
      entries.map(({ origin, hops, ageMs }) => ({ origin, hops, ageMs })),
      [
        { origin: 'b', hops: 1, ageMs: 20 },
        { origin: 'liar', hops: 2, ageMs: year },
        { origin: 'near', hops: MAX_HOPS, ageMs: 10 }
      ]
    )
    core.handleNeighbourUp('home', { kind: 'own', name: 'home' }, 30)
    core.handleNeighbourUp('fast', { kind: 'own', name: 'fast' }, 30)
    core.handleMessage('fast', advertisement('fast', { speed: 9 }), 31)
    core.handleMessage('home', probe('p1', { hopsLeft: 3 }), 32)
    const reply = { type: 'probe-reply', id: 'p1', path: ['home', 'b', 'fast', 'far'], refusals: [] } as const
    const far = { ...entry('far'), hops: MAX_HOPS }
    const answer = replyOf(
      core.handleMessage('fast', { ...reply, path: [...reply.path], refusals: [], entries: [far] }, 33)
    )
    t.same(
      answer.entries.map(({ origin }) => origin),
      ['b']
    )
  }
)
