import { randomBytes } from 'node:crypto'
import { createServer, type Socket, connect as tcpConnect } from 'node:net'
import { encode } from 'cborg'
import t, { type Test } from 'tap'
import type { Advertisement, Release } from '../../../src/core/types.ts'
import { FrameStream } from '../../../src/network/frames.ts'
import { OVERLAY_PROTOCOL, RATE_BURST } from '../../../src/protocols/overlay/constants.ts'
import { startNode, type TestNode } from '../../network/nodes.ts'
import { eventually, pairPeers, startPeer, type TestPeer } from './peers.ts'

const soon = (): AbortSignal => AbortSignal.timeout(10_000)
const release = (byte: number): Release => ({ type: 'release', id: Buffer.alloc(16, byte).toString('hex') })
const advertisement = (periodMs: number): Advertisement => ({
  type: 'advertisement',
  periodMs,
  idleMs: 0,
  entries: []
})

t.test('three peers: up, messages both ways in order, down', async (t) => {
  const [a, b, c] = [await startPeer(t), await startPeer(t), await startPeer(t, { epoch: 7 })]
  pairPeers(a, b)
  pairPeers(b, c)
  pairPeers(a, c)
  for (const [from, to] of [
    [a, b],
    [b, a],
    [b, c],
    [c, b],
    [a, c],
    [c, a]
  ] as const) {
    const epoch = to === c ? 7 : 1
    const up = await from.until('up', ({ peer }) => peer === to.id)
    t.same(up.news, { epoch, name: 'test', version: '1.2.3' })
    await from.until('roundTrip', ({ peer, ms }) => peer === to.id && ms > 0)
  }
  for (let i = 0; i < 100; i++) {
    t.ok(a.overlay.send(b.id, release(i)))
    t.ok(b.overlay.send(a.id, release(i)))
  }
  for (const [at, from] of [
    [a, b],
    [b, a]
  ] as const) {
    await at.until('message', ({ message }) => message.type === 'release' && message.id === release(99).id)
    const got = at.seen.flatMap((event) => (event.type === 'message' && event.peer === from.id ? [event.message] : []))
    t.same(
      got,
      Array.from({ length: 100 }, (_, i) => release(i))
    )
  }
  await c.stop()
  await a.until('down', ({ peer }) => peer === c.id)
  await b.until('down', ({ peer }) => peer === c.id)
  t.equal(a.overlay.send(c.id, release(1)), false)
  t.ok(a.overlay.isUp(b.id))
  t.equal(a.overlay.send('nobody', release(1)), false)
})

t.test(
  'minor versions that are neighbours work together; others stay connected and are told of on both sides',
  async (t) => {
    const [old, now, next] = (await Promise.all(
      ['1.2.3', '1.3.0', '1.4.1'].map((version) => startPeer(t, { version }))
    )) as [TestPeer, TestPeer, TestPeer]
    pairPeers(old, now)
    pairPeers(now, next)
    pairPeers(old, next)
    for (const [from, to] of [
      [old, now],
      [now, old],
      [now, next],
      [next, now]
    ] as const)
      await from.until('up', ({ peer }) => peer === to.id)
    t.match(await old.until('tooFar'), { peer: next.id, news: { version: '1.4.1' } })
    t.match(await next.until('tooFar'), { peer: old.id, news: { version: '1.2.3' } })
    t.equal(old.overlay.send(next.id, release(1)), false)
    t.equal(old.overlay.isUp(next.id), false)
    t.equal(old.node.connections(next.id).length > 0, true, 'the connection stays, and nobody dials again and again')
    t.notOk(
      [...old.seen, ...next.seen].some(({ type }) => type === 'log'),
      'nothing is said in the log each time'
    )
  }
)

t.test('a pairing made while the connection is open brings the stream up', async (t) => {
  const a = await startPeer(t)
  const b = await startPeer(t)
  using _a = a.gater.openPairing()
  using _b = b.gater.openPairing()
  await a.node.dial(b.node.addresses(), b.id, soon())
  await eventually(() => b.node.connections(a.id).length === 1, 'connected')
  pairPeers(a, b)
  await a.until('up')
  await b.until('up')
})

/** A peer that speaks the overlay protocol as the test tells it; its ID is the smaller, so it opens. */
async function rogueOf(t: Test): Promise<{ victim: TestPeer; rogue: TestNode; open: () => Promise<FrameStream> }> {
  const [first, second] = [await startPeer(t), await startNode(t)]
  if (second.id > first.id) {
    await first.stop()
    return rogueOf(t)
  }
  first.pairings.pair(second.id)
  first.neighbours.add(second.id)
  second.pairings.pair(first.id)
  const connection = await second.node.dial(first.node.addresses(), first.id, soon())
  const open = async (): Promise<FrameStream> =>
    new FrameStream(await second.node.openStream(connection, OVERLAY_PROTOCOL, soon()), { maxFrameBytes: 1 << 24 })
  return { victim: first, rogue: second, open }
}

const hello = encode({ type: 'hello', epoch: 1, name: 'rogue', version: '1.2.6' })

/** A stream that begins as it should, whether or not it is taken. */
async function greet(open: () => Promise<FrameStream>): Promise<FrameStream> {
  const stream = await open()
  try {
    stream.send(hello)
  } catch {}
  stream.onFrame(
    () => {},
    () => {}
  )
  return stream
}

/** Until the other side ended the stream. */
async function ended(stream: FrameStream): Promise<void> {
  try {
    for await (const _ of stream.frames(soon()));
  } catch {}
}

t.test('garbage ends the stream; the peer stays paired, connected, and is refused for a while', async (t) => {
  const bad: [string, (stream: FrameStream) => void][] = [
    ['random bytes', (stream) => stream.send(randomBytes(100))],
    ['no hello first', (stream) => stream.send(encode(release(1)))],
    ['two hellos', (stream) => [hello, hello].forEach((frame) => void stream.send(frame))],
    [
      'garbage after hello',
      (stream) => [hello, encode({ type: 'teapot' })].forEach((frame) => void stream.send(frame))
    ],
    ['a frame that is too long', (stream) => void stream.send(Buffer.alloc(1 << 20))],
    ['an announcement that is too long', (stream) => void stream.stream.send(Buffer.alloc(4, 255))]
  ]
  for (const [what, attack] of bad) {
    const { victim, rogue, open } = await rogueOf(t)
    const stream = await open()
    attack(stream)
    await ended(stream)
    await victim.until('log')
    t.equal(victim.node.connections(rogue.id).length, 1, `${what}: the connection lives`)
    t.equal(victim.gater.isPaired(rogue.id), true)
    t.notOk(victim.overlay.isUp(rogue.id))
    t.equal(
      victim.seen.filter(({ type }) => type === 'up').length,
      victim.seen.filter(({ type }) => type === 'down').length
    )
    const refused = await greet(open)
    await eventually(() => refused.failure !== undefined, `${what}: refused`)
    t.notOk(victim.overlay.isUp(rogue.id), 'refused for a while')
    const known = victim.seen.length
    const up = victim.until('up', undefined, known)
    let later: FrameStream | undefined
    while (!victim.overlay.isUp(rogue.id)) {
      if (later === undefined || later.failure !== undefined) later = await greet(open)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    t.match(await up, { peer: rogue.id }, 'afterwards it may do better')
    await victim.stop()
  }
})

t.test('too many messages end the stream', async (t) => {
  const { victim, open } = await rogueOf(t)
  const stream = await open()
  stream.send(hello)
  await victim.until('up')
  const frame = encode(release(1))
  try {
    for (let i = 0; i < 2 * RATE_BURST; i++) if (!stream.send(frame)) await stream.drained(soon())
  } catch {}
  await ended(stream)
  t.match(await victim.until('log'), { line: /messages in a second/ })
  await victim.until('down')
})

t.test('who sends and does not read is cut off before memory grows', async (t) => {
  const { victim, rogue, open } = await rogueOf(t)
  const stream = await open()
  stream.send(hello)
  await victim.until('up')
  const big = { ...advertisement(1000), entries: [] as never[] }
  const reply = { ...big, padding: 'x'.repeat(20_000) } as Advertisement
  let sent = 0
  while (victim.overlay.send(rogue.id, reply)) if (++sent > 1000) break
  t.ok(sent < 200, `cut off after ${sent} of 20 kB`)
  t.match(await victim.until('log'), { line: /does not read/ })
  t.notOk(victim.overlay.isUp(rogue.id))
})

t.test('an unpaired peer gets no stream, and unpairing ends it', async (t) => {
  const { victim, rogue, open } = await rogueOf(t)
  victim.pairings.pair(rogue.id, { state: 'pending' })
  await ended(await open())
  t.notOk(victim.overlay.isUp(rogue.id))
  victim.pairings.pair(rogue.id, { kind: 'friend' })
  const stream = await open()
  stream.send(hello)
  await victim.until('up')
  victim.pairings.map.delete(rogue.id)
  victim.neighbours.remove(rogue.id)
  t.notOk(victim.overlay.isUp(rogue.id), 'down when remove returns')
  await ended(stream)
})

/** A wire that a test can cut silently, as a cable is: packets just vanish. */
async function wire(t: Test, port: number): Promise<{ address: string; cut: (state: boolean) => void }> {
  let cut = false
  const held = new Set<Socket>()
  const server = createServer((near) => {
    const far = tcpConnect(port, '127.0.0.1')
    for (const [from, to] of [
      [near, far],
      [far, near]
    ] as const) {
      held.add(from)
      from.on('data', (chunk) => void (cut || to.write(chunk)))
      from.on('error', () => {})
      from.on('close', () => void (cut || to.destroy()))
    }
  })
  server.listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  t.after(() => {
    for (const socket of held) socket.destroy()
    server.close()
  })
  const address = `/ip4/127.0.0.1/tcp/${(server.address() as { port: number }).port}`
  return {
    address,
    cut: (state) => {
      cut = state
    }
  }
}

t.test('a silent neighbour is noticed: after three periods, or three seconds when a job depends on it', async (t) => {
  for (const urgent of [false, true]) {
    const a = await startPeer(t)
    const b = await startPeer(t)
    const cable = await wire(t, b.node.port)
    a.pairings.pair(b.id, { addresses: [cable.address] })
    b.pairings.pair(a.id)
    a.neighbours.add(b.id)
    await a.until('up')
    await b.until('up')
    // A long period, so that only the urgency can explain a quick end, or a short one.
    for (const [from, to] of [
      [a, b],
      [b, a]
    ] as const)
      from.overlay.send(to.id, advertisement(urgent ? 60_000 : 500))
    await a.until('message')
    await b.until('message')
    if (urgent)
      for (const [from, to] of [
        [a, b],
        [b, a]
      ] as const)
        from.overlay.urgent(to.id, true)
    cable.cut(true)
    await a.until('down')
    await b.until('down')
    t.equal(b.node.connections(a.id).length, 0, 'the dead connection is closed')
    const known = a.seen.length
    cable.cut(false)
    if (urgent) a.neighbours.urgent(b.id, true)
    t.match(await a.until('up', undefined, known), { peer: b.id }, 'and comes back')
    await a.stop()
    await b.stop()
  }
})

t.test('in doubt about the network everyone is asked at once', async (t) => {
  const a = await startPeer(t)
  const b = await startPeer(t)
  const cable = await wire(t, b.node.port)
  a.pairings.pair(b.id, { addresses: [cable.address] })
  b.pairings.pair(a.id)
  a.neighbours.add(b.id)
  await a.until('up')
  await b.until('up')
  b.overlay.send(a.id, advertisement(60_000))
  await a.until('message')
  const known = a.seen.length
  a.overlay.doubtAll()
  await a.until('roundTrip', undefined, known)
  t.ok(a.overlay.isUp(b.id), 'who answers stays')
  cable.cut(true)
  a.overlay.doubtAll()
  await a.until('down')
})
