import type { Stream } from '@libp2p/interface'
import t, { type Test } from 'tap'
import { KappaError } from '../../src/errors.ts'
import { FrameStream } from '../../src/network/frames.ts'
import { pairNodes, startNode, type TestNode } from './nodes.ts'

const PROTOCOL = '/kappa/frames-test/1.0.0'

/** Both ends of one stream. */
async function streamPair(t: Test): Promise<{ near: Stream; far: Stream; a: TestNode; b: TestNode }> {
  const a = await startNode(t)
  const b = await startNode(t)
  pairNodes(a, b)
  const arrived = Promise.withResolvers<Stream>()
  await b.node.handle(PROTOCOL, { rights: ['own'], maxStreams: 1 }, (stream) => arrived.resolve(stream))
  const signal = AbortSignal.timeout(10_000)
  const connection = await a.node.dial(b.node.addresses(), b.id, signal)
  const near = await a.node.openStream(connection, PROTOCOL, signal)
  return { near, far: await arrived.promise, a, b }
}

async function collect(frames: AsyncIterable<Uint8Array>): Promise<Buffer[]> {
  const all: Buffer[] = []
  for await (const frame of frames) all.push(Buffer.from(frame))
  return all
}

/** What a promise or iteration failed with. */
async function failureOf(action: () => Promise<unknown>): Promise<KappaError> {
  try {
    await action()
  } catch (error) {
    if (error instanceof KappaError) return error
    throw error
  }
  throw new Error('nothing failed')
}

t.test('frames of every size arrive whole and in order, pulled', async (t) => {
  const { near, far } = await streamPair(t)
  const sender = new FrameStream(near, { maxFrameBytes: 300_000 })
  const receiver = new FrameStream(far, { maxFrameBytes: 300_000 })
  const sizes = [0, 1, 3, 4, 5, 1199, 1200, 4096, 4097, 65_519, 65_536, 70_000, 300_000, 0, 2]
  const sent = sizes.map((size, index) => Buffer.alloc(size, index + 1))
  const received = collect(receiver.frames())
  for (const frame of sent) if (!sender.send(frame)) await sender.drained()
  await sender.close()
  t.same(await received, sent)
})

t.test('many small frames and parts arrive, pushed', async (t) => {
  const { near, far } = await streamPair(t)
  const sender = new FrameStream(near, { maxFrameBytes: 100 })
  const receiver = new FrameStream(far, { maxFrameBytes: 100 })
  const ended = Promise.withResolvers<Error | undefined>()
  let next = 0
  receiver.onFrame(
    (frame) => {
      t.equal(Buffer.from(frame).toString() === `n=${next}`, true)
      next++
    },
    (error) => ended.resolve(error)
  )
  for (let i = 0; i < 5000; i++) {
    if (!sender.send(Buffer.from('n='), Buffer.from(`${i}`))) await sender.drained()
  }
  await sender.close()
  t.equal(await ended.promise, undefined)
  t.equal(next, 5000)
})

t.test('a handler that pauses gets nothing until it resumes, then everything', async (t) => {
  const { near, far } = await streamPair(t)
  const sender = new FrameStream(near, { maxFrameBytes: 1000 })
  const receiver = new FrameStream(far, { maxFrameBytes: 1000 })
  const ended = Promise.withResolvers<void>()
  const firstTwo = Promise.withResolvers<void>()
  const got: number[] = []
  receiver.onFrame(
    (frame) => {
      got.push(frame[0] as number)
      if (got.length % 2 === 0) {
        receiver.pause()
        firstTwo.resolve()
        setImmediate(() => {
          if (got.length > 2) receiver.resume()
        })
      }
    },
    () => ended.resolve()
  )
  for (let i = 0; i < 20; i++) sender.send(Buffer.alloc(10, i))
  await sender.close()
  await firstTwo.promise
  await new Promise((resolve) => setImmediate(resolve))
  t.same(got, [0, 1])
  receiver.resume()
  receiver.resume()
  await ended.promise
  t.same(
    got,
    Array.from({ length: 20 }, (_, i) => i)
  )
})

t.test('a reader that stops stops the writer, and memory stays flat', async (t) => {
  const { near, far } = await streamPair(t)
  const sender = new FrameStream(near, { maxFrameBytes: 65_536 })
  const receiver = new FrameStream(far, { maxFrameBytes: 65_536 })
  const chunk = Buffer.alloc(65_536, 1)
  let sent = 0
  const total = 512
  const writing = (async () => {
    for (; sent < total; sent++) if (!sender.send(chunk)) await sender.drained()
    await sender.close()
  })()
  const frames = receiver.frames()
  await frames.next()
  // Until nothing moves any more: the window is closed and every buffer between is full.
  for (let last = -1; last !== sent; ) {
    last = sent
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  t.ok(sent < total / 2, `the writer waits after ${sent} of ${total} frames`)
  t.ok(far.readBufferLength <= 1024 * 1024, 'what waits unread is within one window')
  let received = 1
  for await (const frame of frames) received += frame.byteLength === 65_536 ? 1 : 0
  await writing
  t.equal(received, total)
})

t.test('an oversized announcement aborts before it is buffered', async (t) => {
  const { near, far, a, b } = await streamPair(t)
  const receiver = new FrameStream(far, { maxFrameBytes: 1000 })
  const pulled = failureOf(() => collect(receiver.frames()))
  near.send(Buffer.from([0xff, 0xff, 0xff, 0xff, 1, 2, 3]))
  const error = await pulled
  t.equal(error.name, 'ProtocolError')
  t.match(error.message, /4294967295 bytes on \/kappa\/frames-test/)
  t.equal(b.node.connections(a.id).length, 1, 'the connection lives')
})

t.test('what is too long is not sent', async (t) => {
  const { near, far } = await streamPair(t)
  const sender = new FrameStream(near, { maxFrameBytes: 10 })
  t.throws(() => sender.send(Buffer.alloc(6), Buffer.alloc(5)), { name: 'ProtocolError' })
  sender.send(Buffer.alloc(10, 1))
  await sender.close()
  t.equal((await collect(new FrameStream(far, { maxFrameBytes: 10 }).frames())).length, 1)
})

t.test('an end within a frame is an error, pulled and pushed', async (t) => {
  for (const bytes of [Buffer.from([0, 0]), Buffer.from([0, 0, 0, 5, 1, 2])]) {
    const { near, far } = await streamPair(t)
    const receiver = new FrameStream(far, { maxFrameBytes: 10 })
    near.send(bytes)
    await near.close()
    if (bytes.length === 2) t.equal((await failureOf(() => collect(receiver.frames()))).name, 'ProtocolError')
    else {
      const ended = new Promise<Error | undefined>((resolve) => receiver.onFrame(() => {}, resolve))
      t.match(await ended, { name: 'ProtocolError' })
    }
  }
})

t.test('a reset and a lost connection are errors, to reader and writer', async (t) => {
  const { near, far } = await streamPair(t)
  const sender = new FrameStream(near, { maxFrameBytes: 10 })
  const receiver = new FrameStream(far, { maxFrameBytes: 10 })
  const reading = failureOf(() => collect(receiver.frames()))
  sender.abort(new Error('enough'))
  t.equal((await reading).name, 'NetworkError')
  t.throws(() => sender.send(Buffer.alloc(1)))
  await t.rejects(sender.drained())

  const other = await streamPair(t)
  const left = new FrameStream(other.far, { maxFrameBytes: 10 })
  const leftReading = failureOf(() => collect(left.frames()))
  other.a.node.hangUp(other.b.id, 'the test says so')
  t.equal((await leftReading).name, 'NetworkError')
  t.throws(() => left.send(Buffer.alloc(1)), { name: 'NetworkError' })
})

t.test('what came before the end is read even when both halves closed meanwhile', async (t) => {
  const { near, far } = await streamPair(t)
  const sender = new FrameStream(near, { maxFrameBytes: 10 })
  const receiver = new FrameStream(far, { maxFrameBytes: 10 })
  const closed = new Promise((resolve) => far.addEventListener('close', resolve))
  sender.send(Buffer.from('last'))
  await sender.close()
  await receiver.close()
  await closed
  t.same((await collect(receiver.frames())).map(String), ['last'])
})

t.test('a handler that throws ends the stream, not the process', async (t) => {
  const { near, far } = await streamPair(t)
  const sender = new FrameStream(near, { maxFrameBytes: 10 })
  const receiver = new FrameStream(far, { maxFrameBytes: 10 })
  const ended = new Promise<Error | undefined>((resolve) =>
    receiver.onFrame(() => {
      throw new Error('handler')
    }, resolve)
  )
  sender.send(Buffer.from('x'))
  t.match(await ended, { message: 'handler' })
})

t.test('waits end with their signal', async (t) => {
  const { near, far } = await streamPair(t)
  const receiver = new FrameStream(far, { maxFrameBytes: 10 })
  await t.rejects(collect(receiver.frames(AbortSignal.timeout(20))), { name: 'TimeoutError' })
  const sender = new FrameStream(near, { maxFrameBytes: 1 << 20 })
  while (sender.send(Buffer.alloc(1 << 20)));
  await t.rejects(sender.drained(AbortSignal.timeout(20)), { name: 'TimeoutError' })
  await t.rejects(sender.close(AbortSignal.timeout(20)))
})
