import t from 'tap'
import { FRAME, frameHeader, parseFrame } from '../../../src/protocols/exec/frames.ts'
import { ExecLink, type FrameChannel, Outgoing } from '../../../src/protocols/exec/link.ts'

/** What one message of Noise carries, less the header of a data frame. */
const WHOLE = 65_491
const CHANNEL = 3

/** A link whose frames are kept, under a clock that the test moves. */
class Kept {
  now = 0
  /** Sizes of the data frames; other frames by their type. */
  readonly frames: (number | string)[] = []
  readonly bytes: Buffer[] = []
  readonly link: ExecLink
  readonly stream = new Outgoing(1)

  constructor() {
    const channel: FrameChannel = {
      send: (...parts) => {
        const frame = parseFrame(Buffer.concat(parts))!
        if ('bytes' in frame) this.bytes.push(frame.bytes)
        this.frames.push('bytes' in frame ? frame.bytes.length : `type ${frame.type}`)
        return true
      },
      drained: () => Promise.resolve(),
      onFrame: () => undefined,
      close: () => Promise.resolve(),
      abort: () => undefined
    }
    this.link = new ExecLink(channel, () => this.now)
    this.stream.attach(this.link, CHANNEL)
    this.stream.sender.acknowledge(0, 16 * 1024 * 1024)
  }

  push(...sizes: number[]): void {
    for (const size of sizes) this.stream.push(Buffer.alloc(size, this.frames.length))
  }

  received(bytes: number): void {
    this.stream.acknowledge(bytes, 16 * 1024 * 1024)
  }
}

t.test('a piece on its own leaves at once', async (t) => {
  const kept = new Kept()
  for (let count = 0; count < 20; count++) {
    kept.push(100)
    kept.now += 10
  }
  t.same(kept.frames, new Array(20).fill(100))
  t.notOk(kept.stream.full)
})

t.test('a stream that flows gathers its small pieces, and its source goes on', async (t) => {
  const kept = new Kept()
  kept.push(2 * WHOLE)
  t.same(kept.frames, [WHOLE, WHOLE])
  kept.push(8_000, 8_000)
  t.notOk(kept.stream.full)
  t.same(kept.frames, [WHOLE, WHOLE])
  await new Promise((resolve) => setTimeout(resolve, 20))
  t.same(kept.frames, [WHOLE, WHOLE, 16_000])
})

t.test('while there is no room, a source is stopped when a whole frame waits, and goes on afterwards', async (t) => {
  const kept = new Kept()
  let rooms = 0
  kept.stream.onRoom = () => rooms++
  kept.push(6 * WHOLE)
  const sent = kept.frames.length
  t.ok(kept.stream.full)
  t.equal(rooms, 0)
  kept.now += 10
  kept.received(sent * WHOLE)
  t.equal(kept.frames.length, 6)
  t.equal(rooms, 1)
  t.notOk(kept.stream.full)
})

t.test('a message never waits behind what is gathered', async (t) => {
  const kept = new Kept()
  kept.push(2 * WHOLE, 8_000)
  kept.link.send(frameHeader(FRAME.renew, 0))
  t.same(kept.frames, [WHOLE, WHOLE, `type ${FRAME.renew}`])
})

t.test('the pieces of a stream that flows become whole frames, and the last one waits for nobody', async (t) => {
  const kept = new Kept()
  const pieces = new Array(20).fill(8_192)
  kept.push(...pieces)
  await new Promise((resolve) => setTimeout(resolve, 20))
  const data = kept.frames.filter((frame) => typeof frame === 'number')
  t.equal(
    data.reduce((sum, size) => sum + size, 0),
    20 * 8_192
  )
  // The first pieces are not yet known to flow.
  t.ok(data.length < 14, `${data}`)
  t.notOk(kept.stream.full)
})

t.test('the end lets everything go', async (t) => {
  const kept = new Kept()
  kept.push(3 * WHOLE, 5, 6)
  kept.stream.end()
  kept.received(WHOLE)
  kept.received(2 * WHOLE)
  t.same(kept.frames, [WHOLE, WHOLE, WHOLE, 11, `type ${FRAME.eof}`])
})

t.test('what waits when the connection breaks comes over the next one', async (t) => {
  const kept = new Kept()
  kept.push(3 * WHOLE, 5)
  kept.stream.detach()
  t.ok(kept.stream.full, 'nothing more is taken meanwhile')
  const next = new Kept()
  kept.stream.resume(next.link, CHANNEL, 2 * WHOLE)
  kept.received(3 * WHOLE)
  await new Promise((resolve) => setTimeout(resolve, 20))
  t.same(next.frames, [WHOLE, 5])
})
