import fc from 'fast-check'
import t from 'tap'
import {
  Pacer,
  StreamReceiver,
  StreamSender,
  WINDOW_BYTES_MAX,
  WINDOW_BYTES_MIN,
  WindowPool
} from '../../../src/protocols/exec/flow.ts'

t.test('a sender never goes beyond the limit, and forgets what was received', async (t) => {
  const sender = new StreamSender()
  t.equal(sender.room, WINDOW_BYTES_MIN)
  t.equal(sender.send(Buffer.alloc(1000, 1)), 0)
  t.equal(sender.send(Buffer.alloc(500, 2)), 1000)
  t.equal(sender.underWay, 1500)
  t.equal(sender.acknowledge(1200, 2000), 1200)
  t.equal(sender.limit, WINDOW_BYTES_MIN, 'a limit is never taken back')
  t.same(
    [...sender.missing(1200)].map(({ offset, bytes }) => [offset, bytes.length]),
    [[1200, 300]]
  )
  t.same(
    [...sender.missing(1300)].map(({ offset, bytes }) => [offset, bytes.length]),
    [[1300, 200]]
  )
  t.throws(() => [...sender.missing(1000)], { name: 'ProtocolError' })
  t.throws(() => sender.acknowledge(1501, 0), { name: 'ProtocolError' })
  t.throws(() => sender.send(Buffer.alloc(WINDOW_BYTES_MIN)), { name: 'ProtocolError' })
})

t.test('a receiver refuses gaps, what is beyond its limit, and what comes after the end', async (t) => {
  const receiver = new StreamReceiver(new WindowPool())
  t.equal(receiver.accept(0, Buffer.alloc(100)).length, 100)
  t.equal(receiver.accept(50, Buffer.alloc(60)).length, 10, 'only what is new of a repeated frame')
  t.equal(receiver.accept(0, Buffer.alloc(100)).length, 0)
  t.throws(() => receiver.accept(111, Buffer.alloc(1)), { name: 'ProtocolError' })
  t.throws(() => receiver.accept(110, Buffer.alloc(WINDOW_BYTES_MIN)), { name: 'ProtocolError' })
  t.throws(() => receiver.acceptEnd(109), { name: 'ProtocolError' })
  receiver.acceptEnd(120)
  t.equal(receiver.complete, false)
  t.throws(() => receiver.accept(110, Buffer.alloc(11)), { name: 'ProtocolError' })
  t.equal(receiver.accept(110, Buffer.alloc(10)).length, 10)
  t.equal(receiver.complete, true)
  t.throws(() => receiver.acceptEnd(121), { name: 'ProtocolError' })
})

t.test('a window grows for a quick consumer as far as the pool allows, and is given back', async (t) => {
  const pool = new WindowPool(WINDOW_BYTES_MIN)
  const receiver = new StreamReceiver(pool)
  const drink = () => {
    const bytes = Buffer.alloc(64 * 1024)
    receiver.accept(receiver.received, bytes)
    receiver.consume(bytes.length)
    receiver.acknowledgement()
  }
  for (let round = 0; round < 64; round++) drink()
  receiver.acknowledgement(true)
  t.equal(receiver.limit - receiver.received, 2 * WINDOW_BYTES_MIN, 'doubled once: then the pool was empty')
  t.equal(pool.take(1), false)
  receiver.release()
  t.equal(pool.take(WINDOW_BYTES_MIN), true)
  const rich = new StreamReceiver(new WindowPool())
  for (let round = 0; round < 64; round++) {
    rich.accept(rich.received, Buffer.alloc(64 * 1024))
    rich.consume(64 * 1024)
    rich.acknowledgement()
  }
  rich.acknowledgement(true)
  t.equal(rich.limit - rich.received, WINDOW_BYTES_MAX)
})

t.test('a slow consumer keeps the window closed', async (t) => {
  const receiver = new StreamReceiver(new WindowPool())
  receiver.accept(0, Buffer.alloc(WINDOW_BYTES_MIN))
  t.same(receiver.acknowledgement(), { received: WINDOW_BYTES_MIN, limit: WINDOW_BYTES_MIN })
  t.equal(receiver.acknowledgement(), undefined)
  t.equal(receiver.held, WINDOW_BYTES_MIN)
  receiver.consume(WINDOW_BYTES_MIN / 4)
  t.same(receiver.acknowledgement(), { received: WINDOW_BYTES_MIN, limit: WINDOW_BYTES_MIN * 1.25 })
})

t.test('what is under way settles at about twice the bandwidth-delay product', async (t) => {
  const pacer = new Pacer()
  // A link of 10 ms and 1,000 bytes per ms, each frame of 10,000 bytes: the product is 10,000 + what is on the cable.
  const frames: { at: number; bytes: number }[] = []
  let cable = 0
  for (let now = 0; now < 5_000; now++) {
    while (frames[0] && frames[0].at <= now) pacer.received(frames.shift()!.bytes, now)
    while (pacer.room > 0 && frames.length < 1_000) {
      pacer.sent(10_000, now)
      cable = Math.max(cable, now) + 10
      frames.push({ at: cable + 10, bytes: 10_000 })
    }
  }
  t.equal(pacer.bound, 128 * 1024, 'the least: twice the product is below it')
  const fast = new Pacer()
  const flying: { at: number; bytes: number }[] = []
  let busy = 0
  for (let now = 0; now < 5_000; now++) {
    while (flying[0] && flying[0].at <= now) fast.received(flying.shift()!.bytes, now)
    while (fast.room > 0 && flying.length < 10_000) {
      fast.sent(65_536, now)
      busy = Math.max(busy, now) + 0.5
      flying.push({ at: busy + 10, bytes: 65_536 })
    }
  }
  const product = (65_536 / 0.5) * 11
  t.ok(fast.bound > 1.5 * product && fast.bound < 4 * product, `${fast.bound} about 2 x ${product}`)
})

t.test('bytes that nobody will acknowledge any more make room and tell nothing', async (t) => {
  const pacer = new Pacer()
  pacer.sent(100_000, 0)
  pacer.sent(150_000, 0)
  const { room, bound } = pacer
  pacer.abandoned(100_000)
  t.equal(pacer.room, room + 100_000)
  t.equal(pacer.bound, bound)
  pacer.received(150_000, 10)
  t.equal(pacer.room, pacer.bound)
  t.equal(pacer.bound, 2 * 150_000, 'twice what was received in one round trip')
})

t.test('property: cut anywhere and resumed, no byte is lost or doubled', async () => {
  const bytes = (length: number, from: number) =>
    Buffer.from(Array.from({ length }, (_, index) => (from + index) % 251))
  fc.assert(
    fc.property(
      fc.array(
        fc.oneof(
          fc.record({ do: fc.constant('send' as const), size: fc.integer({ min: 1, max: 5_000 }) }),
          fc.record({ do: fc.constant('deliver' as const) }),
          fc.record({ do: fc.constant('acknowledge' as const) }),
          fc.record({ do: fc.constant('cut' as const) })
        ),
        { maxLength: 200 }
      ),
      (steps) => {
        const sender = new StreamSender()
        const receiver = new StreamReceiver(new WindowPool())
        let under: { offset: number; bytes: Uint8Array }[] = []
        const got: Uint8Array[] = []
        const deliver = () => {
          const frame = under.shift()
          if (!frame) return
          const fresh = receiver.accept(frame.offset, frame.bytes)
          got.push(fresh)
          receiver.consume(fresh.length)
        }
        for (const step of steps) {
          if (step.do === 'send' && sender.room >= step.size) {
            const data = bytes(step.size, sender.offset)
            under.push({ offset: sender.send(data), bytes: data })
          } else if (step.do === 'deliver') deliver()
          else if (step.do === 'acknowledge') {
            const due = receiver.acknowledgement(true)!
            sender.acknowledge(due.received, due.limit)
          } else if (step.do === 'cut') under = [...sender.missing(receiver.received)]
        }
        while (under.length > 0) deliver()
        const whole = Buffer.concat(got)
        if (!whole.equals(bytes(sender.offset, 0))) throw new Error('bytes were lost or doubled')
      }
    )
  )
})
