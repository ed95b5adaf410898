import t from 'tap'
import type { PeerCore } from '../../src/core/peer-core.ts'
import type { Effect, MachineSample, OverlayMessage, PairingKind, PeerId, PlacedThere } from '../../src/core/types.ts'
import { entry, gist, join, needs, peer, probe, replyOf, request, rules, sample } from './scenario.ts'

const BUSY = { cores: 1, idleCores: 0, runnable: 1 }

/** Peers joined as told; messages are delivered at once and in order, and all but advertisements are noted. */
class Net {
  now = 0
  readonly cores = new Map<PeerId, PeerCore>()
  readonly notes: string[] = []
  readonly placed: Effect[] = []
  /** Messages to these are lost. */
  readonly mute = new Set<PeerId>()
  readonly #queue: { from: PeerId; to: PeerId; message: OverlayMessage }[] = []

  add(id: PeerId, load: Partial<MachineSample> = {}, changes: Parameters<typeof peer>[1] = {}): PeerCore {
    const core = peer(id, changes)
    this.cores.set(id, core)
    this.perform(id, core.handleSample(sample({ cores: 1, ...load }), this.now))
    return core
  }

  pair(a: PeerId, b: PeerId, kind: PairingKind = 'own', kindThere = kind): void {
    this.perform(a, this.cores.get(a)!.handleNeighbourUp(b, { kind, name: b }, this.now))
    this.perform(b, this.cores.get(b)!.handleNeighbourUp(a, { kind: kindThere, name: a }, this.now))
    this.run()
  }

  line(...ids: PeerId[]): void {
    for (const [index, id] of ids.entries()) if (index > 0) this.pair(ids[index - 1]!, id)
  }

  perform(id: PeerId, effects: Effect[]): void {
    for (const effect of effects) {
      if (effect.type === 'send') this.#queue.push({ from: id, to: effect.to, message: effect.message })
      if (effect.type === 'placed' || effect.type === 'unplaceable') this.placed.push(effect)
    }
    this.notes.push(...gist(effects).map((note) => `${id}: ${note}`))
  }

  run(): void {
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
      if (this.mute.has(next.to)) continue
      this.perform(next.to, this.cores.get(next.to)!.handleMessage(next.from, next.message, this.now))
    }
  }

  /** Lets time pass, in steps of whatever is due. */
  pass(ms: number): void {
    const end = this.now + ms
    for (;;) {
      const awake = [...this.cores].filter(([id]) => !this.mute.has(id))
      const due = awake.map(([id, core]) => ({ id, at: core.nextTimer() ?? Number.POSITIVE_INFINITY }))
      const next = due.toSorted((a, b) => a.at - b.at)[0]
      if (next === undefined || next.at > end) break
      this.now = Math.max(this.now, next.at)
      this.perform(next.id, this.cores.get(next.id)!.handleTimer(this.now))
      this.run()
    }
    this.now = end
  }

  place(id: PeerId, jobId: string, changes: Parameters<typeof request>[0] = {}): string[] {
    this.notes.length = 0
    this.perform(id, this.cores.get(id)!.place(jobId, request(changes), this.now))
    this.run()
    return this.notes.splice(0)
  }

  reachable(id: PeerId): string[] {
    const { reachable } = this.cores.get(id)!.view(this.now)
    return reachable.map(({ peer, via, hops }) => `${peer} via ${via} in ${hops}`).toSorted()
  }
}

t.test('in a line the idle machine behind the loaded one is found, and its ticket is for home', async (t) => {
  const net = new Net()
  net.add('a', BUSY)
  net.add('b', BUSY)
  net.add('c')
  net.line('a', 'b', 'c')
  t.same(net.reachable('a'), ['b via b in 1', 'c via b in 2'])
  t.same(net.place('a', 'j1'), [
    'a: probe a-1>b',
    'b: probe a-1>c',
    'c: ticket c-1 a-1>b',
    'c: admit a',
    'b: ticket c-1 a-1>a',
    'a: placed j1 there c-1: c is 1.9 times better'
  ])
  const { kind, name, path, addresses, ticket, trace } = net.placed[0] as PlacedThere
  t.same(
    { kind, name, path, addresses, target: ticket.target },
    {
      kind: 'own',
      name: 'c',
      path: ['a', 'b', 'c'],
      addresses: ['/c'],
      target: 'c'
    }
  )
  t.same(trace.hops, ['b', 'c'])
  t.same(
    trace.candidates.map(({ peer, hops, via }) => ({ peer, hops, via })),
    [
      { peer: 'a', hops: 0, via: undefined },
      { peer: 'b', hops: 1, via: undefined },
      { peer: 'c', hops: 2, via: 'b' }
    ]
  )
  t.match(net.cores.get('c')!.startTicket('a', 'c-1', net.now), { accepted: true, kind: 'own' })
  const seen = net.cores
    .get('a')!
    .view(net.now)
    .reachable.find(({ peer }) => peer === 'c')
  t.equal(seen?.record.guestDemand, 1, 'the hold is known at home')
})

t.test('a better place on the way holds, and lets go when a clearly better one is found', async (t) => {
  const net = new Net()
  net.add('a', BUSY)
  net.add('b', { speed: 1 })
  net.add('c', { speed: 2 })
  net.line('a', 'b', 'c')
  t.same(net.place('a', 'j1').slice(1), [
    'b: probe a-1>c',
    'c: ticket c-1 a-1>b',
    'c: admit a',
    'b: ticket c-1 a-1>a',
    'a: placed j1 there c-1: c is 3.8 times better'
  ])
  t.equal(net.cores.get('b')!.ownRecord(net.now).guestDemand, 0)
  t.equal(net.cores.get('c')!.ownRecord(net.now).guestDemand, 1)
})

t.test('a promise that is not kept costs a hop, and the hold before it counts', async (t) => {
  const net = new Net()
  net.add('a', BUSY)
  net.add('b')
  const c = net.add('c', { speed: 2 })
  net.line('a', 'b', 'c')
  c.setRules(rules({ refuses: 'its owner paused lending' }), net.now)
  t.same(net.place('a', 'j1').slice(1), [
    'b: probe a-1>c',
    'c: paused at 1 a-1>b',
    'b: ticket b-1 a-1>a',
    'a: placed j1 there b-1: b is 2.0 times better'
  ])
  t.equal(net.cores.get('b')!.ownRecord(net.now).guestDemand, 1)
})

t.test('only a promise of a tenth more is worth another hop', async (t) => {
  const net = new Net()
  net.add('a', BUSY)
  net.add('b')
  net.add('c', { speed: 1.15 })
  net.line('a', 'b', 'c')
  t.same(net.place('a', 'j1'), [
    'a: probe a-1>b',
    'b: ticket b-1 a-1>a',
    'a: placed j1 there b-1: b is 2.0 times better'
  ])
})

t.test('friends tell and vouch for nobody', async (t) => {
  const net = new Net()
  net.add('a', BUSY)
  net.add('b', BUSY)
  net.add('c')
  net.pair('a', 'b', 'own')
  net.pair('b', 'c', 'friend')
  t.same(net.reachable('a'), ['b via b in 1'])
  const b = net.cores.get('b')!
  const foreign = probe('p1', { origin: 'x', path: ['x', 'c'], hopsLeft: 2 })
  t.same(gist(b.handleMessage('c', foreign, net.now)), ['not-vouched p1>c'])
  t.same(gist(b.handleMessage('c', probe('p2', { origin: 'c', path: ['c'], hopsLeft: 3, best: 60 }), net.now)), [
    'not-better p2>c'
  ])
})

t.test('who thinks of a neighbour as a friend believes nothing of others from it', async (t) => {
  const net = new Net()
  net.add('a', BUSY)
  net.add('b', BUSY)
  net.add('c')
  net.pair('b', 'c')
  net.pair('a', 'b', 'friend', 'own')
  t.same(net.reachable('a'), ['b via b in 1'])
})

t.test('a record goes eight hops, and no further', async (t) => {
  const net = new Net()
  for (const id of 'abcdefghijk') net.add(id)
  net.line(...'abcdefghijk')
  net.pass(90_000)
  t.equal(net.reachable('a').at(-1), 'i via b in 8')
})

t.test('the owner says how far its offers, its jobs and those of others may go', async (t) => {
  const net = new Net()
  net.add('a', BUSY)
  const b = net.add('b', BUSY)
  const c = net.add('c')
  net.line('a', 'b', 'c')
  t.same(net.reachable('a'), ['b via b in 1', 'c via b in 2'])
  net.perform('b', b.setRules(rules({ forward: 1 }), net.now))
  net.run()
  t.same(net.reachable('a'), ['b via b in 1'])
  t.same(gist(b.handleMessage('a', probe('p0', { origin: 'a', path: ['a'], hopsLeft: 7, best: 50 }), net.now)), [
    'not-better p0>a'
  ])
  net.perform('b', b.setRules(rules(), net.now))
  net.run()
  t.same(net.reachable('a'), ['b via b in 1', 'c via b in 2'])
  c.setRules(rules({ forward: 1 }), net.now)
  const foreign = probe('p1', { origin: 'a', path: ['a', 'b'] })
  t.same(gist(c.handleMessage('b', foreign, net.now)), ['not-vouched p1>b'])
  net.pass(12_000)
  t.same(net.reachable('a'), ['b via b in 1'])
})

t.test('nothing goes back to where it came from; in a ring the shorter way is used', async (t) => {
  const net = new Net()
  for (const id of 'abcd') net.add(id, BUSY)
  net.line(...'abcd', 'a')
  net.pass(20_000)
  const ways = net.reachable('a')
  t.match(ways, ['b via b in 1', /^c via [bd] in 2$/, 'd via d in 1'])
  const b = net.cores.get('b')!
  net.perform('b', b.handleNeighbourDown('c', net.now))
  net.perform('c', net.cores.get('c')!.handleNeighbourDown('b', net.now))
  net.pass(20_000)
  t.same(net.reachable('a'), ['b via b in 1', 'c via d in 2', 'd via d in 1'])
})

t.test('a machine that is gone is forgotten everywhere within a few periods', async (t) => {
  const net = new Net()
  for (const id of 'abc') net.add(id)
  net.line('a', 'b', 'c')
  net.place('a', 'wake', { local: true })
  net.pass(2_000)
  net.mute.add('c')
  net.pass(2_900)
  t.same(net.reachable('a'), ['b via b in 1', 'c via b in 2'])
  net.pass(3_200)
  t.same(net.reachable('b'), ['a via a in 1'])
  t.same(net.reachable('a'), ['b via b in 1'])
})

t.test('a silent peer on the way is left out, in time', async (t) => {
  const net = new Net()
  net.add('a', BUSY)
  net.add('b', BUSY)
  net.add('c')
  net.add('d', { speed: 0.8 })
  net.line('a', 'b', 'c')
  net.pair('b', 'd')
  net.mute.add('c')
  t.same(net.place('a', 'j1'), ['a: probe a-1>b', 'b: probe a-1>c'])
  net.notes.length = 0
  net.pass(60)
  t.same(net.notes, [
    'b: release a-1>c',
    'b: probe a-1>d',
    'd: ticket d-1 a-1>b',
    'd: admit a',
    'b: ticket d-1 a-1>a',
    'a: placed j1 there d-1: d was found on the way and is better'
  ])
  const { refusals } = (net.placed[0] as PlacedThere).trace
  t.same(
    refusals.map(({ peer, code }) => `${peer}: ${code}`),
    ['b: not-better', 'c: no-answer']
  )
})

t.test('what was lost on the way is sent once more, where nobody else is left and nobody holds', async (t) => {
  const net = new Net()
  net.add('a', BUSY)
  net.add('b', BUSY)
  net.add('c')
  net.line('a', 'b', 'c')
  net.mute.add('c')
  t.same(net.place('a', 'j1'), ['a: probe a-1>b', 'b: probe a-1>c'])
  net.mute.delete('c')
  net.notes.length = 0
  net.pass(60)
  t.same(net.notes, [
    'b: probe a-1>c',
    'c: ticket c-1 a-1>b',
    'c: admit a',
    'b: ticket c-1 a-1>a',
    'a: placed j1 there c-1: c is 1.9 times better'
  ])
})

t.test('who stays silent is asked twice and no more', async (t) => {
  const net = new Net()
  net.add('a', BUSY)
  net.add('b', BUSY)
  net.add('c')
  net.line('a', 'b', 'c')
  net.mute.add('c')
  net.place('a', 'j1')
  net.notes.length = 0
  net.pass(120)
  t.same(net.notes, [
    'b: probe a-1>c',
    'a: probe a-1>b',
    'b: release a-1>c',
    'b: not-better+no-answer a-1>a',
    'a: placed j1 here: c: did not answer in time'
  ])
})

t.test('who waits for somebody farther away is waited for longer', async (t) => {
  const net = new Net()
  for (const id of ['a', 'b', 'c']) net.add(id, BUSY)
  net.add('d')
  net.add('e', { speed: 0.8 })
  net.line('a', 'b', 'c', 'd')
  net.pair('c', 'e')
  net.mute.add('d')
  net.place('a', 'j1')
  net.pass(60)
  t.same(net.notes, [
    'c: release a-1>d',
    'c: probe a-1>e',
    'e: ticket e-1 a-1>c',
    'e: admit a',
    'c: ticket e-1 a-1>b',
    'b: ticket e-1 a-1>a',
    'a: placed j1 there e-1: e was found on the way and is better'
  ])
})

t.test('a connection that breaks on the way is answered for at once', async (t) => {
  const net = new Net()
  net.add('a', BUSY)
  net.add('b', BUSY)
  net.add('c')
  net.line('a', 'b', 'c')
  net.mute.add('c')
  net.place('a', 'j1')
  net.perform('b', net.cores.get('b')!.handleNeighbourDown('c', net.now))
  net.run()
  t.match(net.placed, [{ where: 'here', reason: 'c: the connection was lost' }])
})

t.test('a home that goes away lets go of what was held for it on the way', async (t) => {
  const net = new Net()
  net.add('a', BUSY)
  net.add('b')
  net.add('c', { speed: 3 })
  net.line('a', 'b', 'c')
  net.mute.add('c')
  net.place('a', 'j1')
  t.equal(net.cores.get('b')!.ownRecord(net.now).guestDemand, 1)
  net.notes.length = 0
  net.perform('b', net.cores.get('b')!.handleNeighbourDown('a', net.now))
  t.same(net.notes, ['b: release a-1>c'])
  t.equal(net.cores.get('b')!.ownRecord(net.now).guestDemand, 0)
})

t.test('a ticket that was won outlives the connection that it came over', async (t) => {
  const net = new Net()
  net.add('a', BUSY)
  net.add('b', BUSY)
  net.add('c')
  net.line('a', 'b', 'c')
  net.place('a', 'j1')
  for (const side of ['a', 'c']) net.perform('b', net.cores.get('b')!.handleNeighbourDown(side, net.now))
  net.run()
  t.match(net.cores.get('c')!.startTicket('a', 'c-1', net.now), { accepted: true })
})

t.test('a release walks to where the slot is held', async (t) => {
  const net = new Net()
  net.add('a', BUSY)
  net.add('b', BUSY)
  const c = net.add('c')
  net.line('a', 'b', 'c')
  net.place('a', 'j1')
  net.perform('b', net.cores.get('b')!.handleMessage('a', { type: 'release', id: 'a-1' }, net.now))
  net.run()
  t.same(net.notes, ['b: release a-1>c', 'c: dismiss a'])
  t.equal(c.ownRecord(net.now).guestDemand, 0)
})

t.test('a home that others vouch for is admitted while it has a reason to come', async (t) => {
  const net = new Net()
  net.add('a', BUSY)
  net.add('b', BUSY)
  const c = net.add('c')
  net.line('a', 'b', 'c')
  net.place('a', 'j1')
  c.startTicket('a', 'c-1', net.now)
  t.same(gist(c.handleTimer(net.now + 3_000)), [], 'the job keeps it')
  t.same(gist(c.guestJobEnded('c-1', { exitCode: 0, signal: null }, net.now + 3_001)), [], 'and its end')
  c.forgetTicket('a', 'c-1')
  t.same(gist(c.handleTimer(net.now + 3_002)), ['dismiss a'])
})

t.test(
  'the end of a pairing voids what that peer vouched for, and a banned home is refused through others',
  async (t) => {
    const banned = new Set<PeerId>()
    const net = new Net()
    net.add('a', BUSY)
    net.add('b', BUSY)
    const c = net.add('c', { cores: 4 }, { banned: (id) => banned.has(id) })
    net.line('a', 'b', 'c')
    net.place('a', 'j1')
    net.place('a', 'j2')
    c.startTicket('a', 'c-1', net.now)
    const { running } = c.voidTicketsOf('b', net.now)
    t.same(running, ['c-1'])
    t.match(c.startTicket('a', 'c-2', net.now), { accepted: false, code: 'void' })
    net.pair('b', 'c')
    banned.add('a')
    t.same(
      net.place('a', 'j3').slice(1, 4),
      ['b: probe a-3>c', 'c: banned a-3>b', 'b: slots+banned a-3>a'].slice(0, 2).concat('b: not-better+banned a-3>a')
    )
  }
)

t.test('a probe that has been here, is too long or lies about its way gets nothing', async (t) => {
  const core = peer('nas')
  core.handleSample(sample(), 0)
  core.handleNeighbourUp('b', { kind: 'own', name: 'b' }, 0)
  for (const path of [
    ['home', 'nas', 'b'],
    ['home', 'b', 'b'],
    ['x', 'b'],
    ['home'],
    ['home', '1', '2', '3', '4', '5', '6', '7', 'b'],
    ['b']
  ]) {
    const effects = core.handleMessage('b', probe(`p-${path.join('')}`, { path, hopsLeft: 3 }), 1)
    t.match(replyOf(effects).refusals, [{ code: 'void' }], path.join(' '))
  }
  t.equal(core.ownRecord(1).guestDemand, 0)
})

t.test('where the user does not want it nothing is held, but the walk may pass', async (t) => {
  const net = new Net()
  net.add('a', BUSY)
  net.add('b', { speed: 1.5 })
  net.add('c', { speed: 1 })
  net.line('a', 'b', 'c')
  t.same(net.place('a', 'j1', { not: ['b'] }), [
    'a: probe a-1>b',
    'b: probe a-1>c',
    'c: ticket c-1 a-1>b',
    'c: admit a',
    'b: ticket c-1 a-1>a',
    'a: placed j1 there c-1: c is 1.9 times better'
  ])
  t.same(net.place('a', 'j2', { on: ['c'] }).slice(0, 2), ['a: probe a-2>b', 'b: probe a-2>c'])
  t.match(net.placed[1], { where: 'there', reason: 'c was asked for' })
})

t.test('a walk that found nothing is tried again towards peers that it did not see, twice', async (t) => {
  const net = new Net()
  net.add('a', BUSY)
  for (const id of 'bcde') {
    net.add(id, { speed: 2 }, { hasTool: () => false })
    net.pair('a', id)
  }
  const notes = net.place('a', 'j1', { needs: needs({ tools: ['flac'] }), remote: true })
  t.equal(notes.filter((note) => note.includes('probe')).length, 4, 'as long as there is time when it must leave')
  net.add('f', BUSY)
  net.pair('a', 'f')
  net.cores.get('a')!.cancel('j1', 0)
  const again = net.place('a', 'j2', { needs: needs({ tools: ['flac'] }) })
  t.equal(again.filter((note) => note.includes('probe')).length, 3)
  t.match(net.placed[1], { where: 'here', trace: { refusals: [{ code: 'tool' }, { code: 'tool' }, { code: 'tool' }] } })
})

t.test('for one doubtful machine behind a neighbour only one walk is begun', async (t) => {
  const net = new Net()
  net.add('a', BUSY)
  net.add('b', BUSY, { rules: rules({ slots: 0 }) })
  const c = net.add('c', {}, { rules: rules({ slots: 1 }) })
  net.line('a', 'b', 'c')
  c.handleMessage('b', probe('p1', { origin: 'b', path: ['b'] }), net.now)
  const seen = net.cores.get('a')!
  net.perform('b', net.cores.get('b')!.handleMessage('c', { type: 'release', id: 'x' }, net.now))
  seen.handleMessage(
    'b',
    {
      type: 'advertisement',
      periodMs: 2_000,
      idleMs: 0,
      entries: [entry('b', { slots: 0 }, 99), { ...entry('c', { guestDemand: 1, slots: 1 }, 99), hops: 2 }]
    },
    net.now
  )
  const notes = net.place('a', 'j1', { remote: true })
  t.ok(notes.filter((note) => note.startsWith('a: probe')).length <= 2, notes.join('\n'))
  t.match(net.placed, [{ type: 'unplaceable' }])
})

t.test('the table of visits is bounded and empties', async (t) => {
  const core = peer('nas', { rules: rules({ slots: 0 }) })
  core.handleSample(sample(), 0)
  core.handleNeighbourUp('home', { kind: 'own', name: 'home' }, 0)
  for (let i = 0; i < 1_500; i++) {
    const effects = core.handleMessage('home', probe(`p${i}`, { needs: needs(), hopsLeft: 3 }), 1)
    t.match(replyOf(effects).refusals, [{ code: 'slots' }])
  }
  t.equal(core.remembered, 1_024)
  core.handleTimer(3_000)
  t.equal(core.remembered, 0)
})

t.test('one probe that comes by two ways holds twice, and each way lets go of its own', async (t) => {
  const core = peer('d')
  core.handleSample(sample(), 0)
  for (const id of ['a', 'b']) join(core, id, 0)
  const walk = (from: PeerId) => probe('p1', { path: ['home', 'x', from], hopsLeft: 2 })
  const first = replyOf(core.handleMessage('a', walk('a'), 1)).ticket
  const second = replyOf(core.handleMessage('b', walk('b'), 2)).ticket
  t.same([first?.id, second?.id], ['d-1', 'd-2'])
  t.same(gist(core.handleMessage('b', walk('b'), 3)), ['ticket d-2 p1>b'], 'asked again')
  core.handleMessage('a', { type: 'release', id: 'p1' }, 4)
  t.equal(core.ownRecord(4).guestDemand, 1)
  t.match(core.startTicket('home', 'd-1', 5), { accepted: false, code: 'void' })
  t.match(core.startTicket('home', 'd-2', 5), { accepted: true })
})

t.test('an answer that comes again does not let go what was passed on', async (t) => {
  const core = peer('b', { rules: rules({ slots: 0 }) })
  core.handleSample(sample(), 0)
  for (const id of ['home', 'c']) join(core, id, 0)
  core.handleMessage('home', probe('p1', { hopsLeft: 2 }), 1)
  const ticket = { id: 'c-1', target: 'c', epoch: 1, validMs: 2_000 }
  const reply = { type: 'probe-reply' as const, id: 'p1', path: ['home', 'b', 'c'], bestAt: 2, ticket }
  const answer = { ...reply, refusals: [], entries: [] }
  t.same(gist(core.handleMessage('c', answer, 2)), ['ticket c-1 p1>home'])
  t.same(gist(core.handleMessage('c', answer, 3)), [])
  t.same(gist(core.handleMessage('home', { type: 'release', id: 'p1' }, 4)), ['release p1>c'])
  t.same(gist(core.handleMessage('c', answer, 5)), ['release p1>c'])
})
