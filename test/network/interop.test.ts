import { noise } from '@chainsafe/libp2p-noise'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { identify } from '@libp2p/identify'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p, type Libp2p } from 'libp2p'
import t, { type Test } from 'tap'
import { FrameStream } from '../../src/network/frames.ts'
import { startNode, type TestNode } from './nodes.ts'

const PROTOCOL = '/kappa/interop/1.0.0'
const MAX = 1024 * 1024
/** Around the bounds of headers, of one message of Noise, and of the windows. */
const SIZES = [0, 1, 100, 4080, 4097, 65_490, 65_503, 65_504, 65_535, 65_536, 200_000, 262_144, MAX]
const soon = (): AbortSignal => AbortSignal.timeout(20_000)

/** libp2p as its packages are, nothing replaced. */
async function unmodified(t: Test): Promise<Libp2p> {
  const node = await createLibp2p({
    privateKey: await generateKeyPair('Ed25519'),
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    services: { identify: identify() }
  })
  t.after(() => node.stop())
  return node as unknown as Libp2p
}

function frameOf(size: number): Buffer {
  return Buffer.from(Uint8Array.from({ length: size }, (_, index) => (index * 31 + size) % 251))
}

function echo(frames: FrameStream): void {
  void (async () => {
    for await (const frame of frames.frames()) if (!frames.send(Buffer.from(frame))) await frames.drained()
    await frames.close()
  })().catch(() => undefined)
}

/** Sends everything at once, from both sides at the same time, and compares what comes back. */
async function ask(t: Test, frames: FrameStream): Promise<void> {
  const sent = [...SIZES, ...SIZES.toReversed()]
  const sending = (async () => {
    for (const size of sent) if (!frames.send(frameOf(size))) await frames.drained(soon())
    await frames.close(soon())
  })()
  let count = 0
  for await (const frame of frames.frames(soon())) {
    const size = sent[count++]!
    if (Buffer.compare(frame, frameOf(size)) !== 0) t.fail(`${size} bytes came back as other ${frame.byteLength}`)
  }
  await sending
  t.equal(count, sent.length)
}

async function both(t: Test): Promise<{ ours: TestNode; theirs: Libp2p }> {
  const ours = await startNode(t)
  const theirs = await unmodified(t)
  ours.pairings.pair(theirs.peerId.toString())
  return { ours, theirs }
}

t.test('a node of kappa dials one of unmodified libp2p, and each frame comes back as it was', async (t) => {
  const { ours, theirs } = await both(t)
  await theirs.handle(PROTOCOL, (stream) => echo(new FrameStream(stream, { maxFrameBytes: MAX })))
  const addresses = theirs.getMultiaddrs().map((address) => address.toString().replace(/\/p2p\/.*/, ''))
  const connection = await ours.node.dial(addresses, theirs.peerId.toString(), soon())
  await ask(t, new FrameStream(await ours.node.openStream(connection, PROTOCOL, soon()), { maxFrameBytes: MAX }))
})

t.test('a node of unmodified libp2p dials one of kappa, and each frame comes back as it was', async (t) => {
  const { ours, theirs } = await both(t)
  await ours.node.handle(PROTOCOL, { rights: ['own'], maxStreams: 4 }, (stream) =>
    echo(new FrameStream(stream, { maxFrameBytes: MAX }))
  )
  const connection = await theirs.dial(multiaddr(`${ours.node.addresses()[0]}/p2p/${ours.id}`), { signal: soon() })
  await ask(t, new FrameStream(await connection.newStream(PROTOCOL, { signal: soon() }), { maxFrameBytes: MAX }))
})

t.test('a message that was changed on its way ends the connection, and nothing of it arrives', async (t) => {
  const { ours, theirs } = await both(t)
  const arrived: number[] = []
  await ours.node.handle(PROTOCOL, { rights: ['own'], maxStreams: 4 }, (stream) =>
    new FrameStream(stream, { maxFrameBytes: MAX }).onFrame(
      (frame) => arrived.push(frame.byteLength),
      () => undefined
    )
  )
  const connection = await theirs.dial(multiaddr(`${ours.node.addresses()[0]}/p2p/${ours.id}`), { signal: soon() })
  const frames = new FrameStream(await connection.newStream(PROTOCOL, { signal: soon() }), { maxFrameBytes: MAX })
  const closed = new Promise((resolve) => connection.addEventListener('close', resolve, { once: true }))
  const inside = (connection as unknown as { muxer: { maConn: { handshake: { encrypt(bytes: unknown): unknown } } } })
    .muxer.maConn.handshake
  const { encrypt } = inside
  inside.encrypt = (bytes) => {
    const sealed = (encrypt(bytes) as Uint8Array).slice()
    sealed[5] = sealed[5]! ^ 1
    return sealed
  }
  frames.send(frameOf(1000))
  await closed
  t.same(arrived, [])
})
