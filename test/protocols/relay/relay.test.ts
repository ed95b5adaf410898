import t from 'tap'
import { relayedAddress } from '../../../src/network/addresses.ts'
import { FrameStream } from '../../../src/network/frames.ts'
import { encodeMessage } from '../../../src/protocols/relay/codec.ts'
import { RELAY_PROTOCOL, RELAYED_MAX } from '../../../src/protocols/relay/constants.ts'
import { Way } from '../../../src/protocols/relay/way.ts'
import { eventually } from '../overlay/peers.ts'
import { line, openRelayed, PROTOCOL, type RelayNode, soon, startRelayNode } from './line.ts'

/** Sends back what comes, and says who it came from first. */
async function echo(peer: RelayNode): Promise<void> {
  await peer.node.handle(PROTOCOL, { rights: ['home'], maxStreams: 4 }, async (stream, from) => {
    const frames = new FrameStream(stream, { maxFrameBytes: 1024 * 1024 })
    frames.send(Buffer.from(from))
    for await (const bytes of frames.frames()) if (!frames.send(Buffer.from(bytes))) await frames.drained()
    await frames.close()
  })
}

async function next(frames: FrameStream): Promise<string> {
  for await (const bytes of frames.frames(soon())) return Buffer.from(bytes).toString()
  throw new Error('ended')
}

t.test('home and target talk through a common neighbour, each sure of the other', async (t) => {
  const all = await line(t)
  const { home, middle, target } = all
  await echo(target)
  await home.relay.connect(middle.id, target.id, soon())
  t.equal(middle.relay.relayed, 1)
  const connection = home.node.relayed(target.id)[0]
  t.equal(connection?.remotePeer.toString(), target.id)
  t.equal(connection?.remoteAddr.toString(), `/p2p/${middle.id}/p2p-circuit/p2p/${target.id}`)
  t.same(home.node.connections(target.id), [], 'no direct one')
  const frames = await openRelayed(all)
  t.equal(await next(frames), home.id, 'the target sees home, not the neighbour')
  frames.send(Buffer.from('there and back'))
  t.equal(await next(frames), 'there and back')
  await connection?.close()
  await eventually(() => middle.relay.relayed === 0, 'the way is given up')
  await eventually(() => target.node.relayed(home.id).length === 0, 'the target closed it too')
})

t.test('the neighbour sees only ciphertext', async (t) => {
  const all = await line(t)
  const { home, middle, target } = all
  await echo(target)
  const seen: Buffer[] = []
  const secret = 'a word that nobody between may read'
  const { frames: original } = FrameStream.prototype
  FrameStream.prototype.frames = async function* (this: FrameStream, signal?: AbortSignal) {
    for await (const bytes of original.call(this, signal)) {
      if (this.stream.protocol === RELAY_PROTOCOL) seen.push(Buffer.from(bytes))
      yield bytes
    }
  }
  t.teardown(() => {
    FrameStream.prototype.frames = original
  })
  await home.relay.connect(middle.id, target.id, soon())
  const frames = await openRelayed(all)
  await next(frames)
  frames.send(Buffer.from(secret))
  t.equal(await next(frames), secret)
  t.ok(seen.length > 4, 'the handshake and more went through')
  t.notOk(Buffer.concat(seen).includes(secret))
})

t.test('a neighbour that answers in place of the target is found out', async (t) => {
  const { home, middle, target } = await line(t)
  await middle.node.unhandle(RELAY_PROTOCOL)
  await middle.node.handle(RELAY_PROTOCOL, { rights: ['own'], maxStreams: 4 }, async (stream) => {
    const frames = new FrameStream(stream, { maxFrameBytes: 128 * 1024 })
    await next(frames)
    frames.send(encodeMessage({ type: 'accepted' }))
    await middle.node
      .upgrade(new Way(frames, relayedAddress(home.id, home.id), 'inbound'), 'listens', soon())
      .catch(() => undefined)
  })
  await t.rejects(home.relay.connect(middle.id, target.id, soon()), { name: 'UnreachableError' })
  t.same(home.node.relayed(target.id), [])
})

t.test('a neighbour that lies about home is found out', async (t) => {
  const { home, middle, target } = await line(t)
  const impostor = await startRelayNode(t)
  const stream = await middle.node.openStream(middle.node.connections(target.id)[0]!, RELAY_PROTOCOL, soon())
  const frames = new FrameStream(stream, { maxFrameBytes: 128 * 1024 })
  frames.send(encodeMessage({ type: 'incoming', home: home.id }))
  await next(frames)
  impostor.gater.allowTarget(target.id)
  const way = new Way(frames, relayedAddress(middle.id, target.id), 'outbound')
  // Who dials is done first; the other side then finds that the proof is another's.
  await impostor.node.upgrade(way, 'dials', soon()).catch(() => undefined)
  await eventually(() => impostor.node.relayed(target.id).length === 0, 'it is closed')
  t.same(target.node.relayed(impostor.id), [])
  t.same(target.node.relayed(home.id), [])
})

t.test('who is refused, and why', async (t) => {
  const { home, middle, target } = await line(t)
  const connect = () => home.relay.connect(middle.id, target.id, soon())
  const refused = (reason: RegExp) => ({ name: 'UnreachableError', message: reason })
  middle.pairings.pair(target.id, { kind: 'friend' })
  await t.rejects(connect(), refused(/not connected there/), "a friend's machine is nobody's target")
  middle.pairings.pair(target.id)
  middle.pairings.pair(home.id, { kind: 'friend' })
  await t.rejects(connect(), 'a friend may not ask')
  middle.pairings.pair(home.id)
  target.pairings.pair(middle.id, { kind: 'friend' })
  await t.rejects(connect(), 'a friend may not bring a home')
  target.pairings.pair(middle.id)
  target.gater.ban(home.id)
  await t.rejects(connect(), refused(/no ticket/), 'a home that is not admitted')
  target.gater.unban(home.id)
  target.gater.admitHome(home.id)
  await connect()
  t.equal(home.node.relayed(target.id).length, 1)
  const stranger = await startRelayNode(t)
  home.gater.allowTarget(stranger.id)
  await t.rejects(home.relay.connect(middle.id, stranger.id, soon()), refused(/not connected there/))
  await t.rejects(home.relay.connect(stranger.id, target.id, soon()), refused(/not connected/))
  await eventually(() => middle.relay.relayed === 1, 'what was refused holds nothing')
})

t.test('so many at once and no more', async (t) => {
  const { home, middle, target } = await line(t)
  const open: FrameStream[] = []
  // A target that takes the way and says nothing: what is counted is the way.
  await target.node.unhandle(RELAY_PROTOCOL)
  await target.node.handle(RELAY_PROTOCOL, { rights: ['own'], maxStreams: 64 }, async (stream) => {
    const frames = new FrameStream(stream, { maxFrameBytes: 128 * 1024 })
    open.push(frames)
    await next(frames)
    frames.send(encodeMessage({ type: 'accepted' }))
  })
  const connection = home.node.connections(middle.id)[0]!
  for (let count = 0; count < RELAYED_MAX; count++) {
    const stream = await home.node.openStream(connection, RELAY_PROTOCOL, soon())
    const frames = new FrameStream(stream, { maxFrameBytes: 128 * 1024 })
    frames.send(encodeMessage({ type: 'connect', target: target.id }))
    await next(frames)
  }
  t.equal(middle.relay.relayed, RELAYED_MAX)
  await t.rejects(home.relay.connect(middle.id, target.id, soon()), { message: /relays 16 connections/ })
  for (const frames of open) frames.abort(new Error('enough'))
  await eventually(() => middle.relay.relayed === 0, 'all ways ended')
})

t.test('a reader that stops stops the writer; nothing is lost', async (t) => {
  const all = await line(t)
  const { home, middle, target } = all
  let reader: FrameStream | undefined
  await target.node.handle(PROTOCOL, { rights: ['home'], maxStreams: 1 }, (stream) => {
    reader = new FrameStream(stream, { maxFrameBytes: 1024 * 1024 })
  })
  await home.relay.connect(middle.id, target.id, soon())
  const writer = await openRelayed(all)
  const piece = Buffer.alloc(64 * 1024)
  let sent = 0
  while (writer.send(Buffer.from(piece.fill(sent % 251)))) {
    sent++
    t.ok(sent < 1024, 'the writer is told to wait')
    // What the windows take goes out, the rest waits here.
    if (sent % 16 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  sent++
  let received = 0
  const done = writer.drained(soon()).then(() => writer.close(soon()))
  for await (const bytes of reader!.frames(soon())) {
    if (bytes.some((byte) => byte !== received % 251)) t.fail(`piece ${received} is damaged`)
    received++
  }
  await done
  t.equal(received, sent)
})

t.test('the neighbour dies in the middle: both ends learn it at once', async (t) => {
  const all = await line(t)
  const { home, middle, target } = all
  await echo(target)
  await home.relay.connect(middle.id, target.id, soon())
  const frames = await openRelayed(all)
  await next(frames)
  const waiting = next(frames)
  waiting.catch(() => undefined)
  await middle.node.stop()
  await t.rejects(waiting, { name: 'NetworkError' })
  await eventually(() => home.node.relayed(target.id).length === 0, 'home sees it')
  await eventually(() => target.node.relayed(home.id).length === 0, 'the target sees it')
})

t.test('a machine that is trusted no more: ways from and to it end', async (t) => {
  const { home, middle, target } = await line(t)
  await home.relay.connect(middle.id, target.id, soon())
  middle.relay.drop(home.id)
  await eventually(() => home.node.relayed(target.id).length === 0, 'home sees it')
  t.equal(middle.relay.relayed, 0)
})

t.test('garbage ends the stream and nothing else', async (t) => {
  const { home, middle, target } = await line(t)
  const connection = home.node.connections(middle.id)[0]!
  for (const bytes of [Buffer.from('garbage'), encodeMessage({ type: 'accepted' }), Buffer.alloc(0)]) {
    const stream = await home.node.openStream(connection, RELAY_PROTOCOL, soon())
    const frames = new FrameStream(stream, { maxFrameBytes: 128 * 1024 })
    frames.send(bytes)
    await t.rejects(next(frames), { name: 'NetworkError' })
  }
  await home.relay.connect(middle.id, target.id, soon())
  t.equal(connection.status, 'open')
})
