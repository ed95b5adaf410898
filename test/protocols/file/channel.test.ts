import fc from 'fast-check'
import t from 'tap'
import { decodeHello, encodeHello, FileChannel } from '../../../src/protocols/file/channel.ts'

interface End {
  onFrame: (frame: Uint8Array) => void
  onEnd: (error?: Error) => void
}

/** Two ends of a stream in memory: frames wait until `deliver` takes some; a cut loses what still waits. */
function wires() {
  const ends: [End | undefined, End | undefined] = [undefined, undefined]
  const waiting: [Buffer[], Buffer[]] = [[], []]
  let open = true
  const side = (here: 0 | 1) => ({
    send: (...parts: Uint8Array[]) => {
      if (!open) throw new Error('closed')
      waiting[here].push(Buffer.concat(parts))
      return true
    },
    drained: () => Promise.resolve(),
    onFrame: (onFrame: End['onFrame'], onEnd: End['onEnd']) => {
      ends[here] = { onFrame, onEnd }
    },
    abort: () => cut()
  })
  function deliver(from: 0 | 1, most: number): void {
    for (let count = 0; open && count < most && waiting[from].length > 0; count++) {
      ends[1 - from]?.onFrame(waiting[from].shift()!)
    }
  }
  function cut(): void {
    if (!open) return
    open = false
    for (const end of ends) end?.onEnd(new Error('cut'))
  }
  return { sides: [side(0), side(1)] as const, deliver, cut }
}

t.test('whatever is cut when, every message arrives once and in order', async () => {
  const step = fc.oneof(
    fc.record({ do: fc.constant('send' as const), from: fc.constantFrom(0 as const, 1 as const) }),
    fc.record({
      do: fc.constant('deliver' as const),
      from: fc.constantFrom(0 as const, 1 as const),
      most: fc.integer({ min: 1, max: 40 })
    }),
    fc.record({ do: fc.constant('cut' as const) })
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const got: [number[], number[]] = [[], []]
      const sent: [number, number] = [0, 0]
      const channel = (here: 0 | 1) =>
        new FileChannel({
          onMessage: (message) => got[here].push(Buffer.from(message).readUInt32BE()),
          onDetached: () => undefined
        })
      const channels = [channel(0), channel(1)] as const
      let stream = wires()
      const connect = () => {
        const [a, b] = [channels[0].received, channels[1].received]
        stream = wires()
        channels[0].attach(stream.sides[0], b)
        channels[1].attach(stream.sides[1], a)
      }
      connect()
      for (const one of steps) {
        if (one.do === 'send') {
          const message = Buffer.alloc(4)
          message.writeUInt32BE(sent[one.from]++)
          channels[one.from].send([message])
        } else if (one.do === 'deliver') stream.deliver(one.from, one.most)
        else {
          stream.cut()
          connect()
        }
      }
      for (let round = 0; round < 3; round++) for (const from of [0, 1] as const) stream.deliver(from, 1_000)
      for (const one of channels) one.detach()
      const whole = (list: number[], count: number) => list.length === count && list.every((value, at) => value === at)
      return whole(got[1], sent[0]) && whole(got[0], sent[1])
    }),
    { numRuns: 300 }
  )
})

t.test('nothing is sent while there is no stream, and all of it on the next', async (t) => {
  const got: string[] = []
  const init = { onMessage: () => undefined, onDetached: () => undefined }
  const here = new FileChannel(init)
  const there = new FileChannel({ ...init, onMessage: (message) => got.push(Buffer.from(message).toString()) })
  here.send([Buffer.from('a'), Buffer.from('b')])
  here.send([Buffer.from('c')])
  t.equal(here.isAttached, false)
  const stream = wires()
  there.attach(stream.sides[1], 0)
  here.attach(stream.sides[0], there.received)
  stream.deliver(0, 10)
  t.same(got, ['ab', 'c'])
  for (const one of [here, there]) one.detach()
})

t.test('a side that has forgotten what was said, or makes no sense, is not gone on with', async (t) => {
  const errors: (Error | undefined)[] = []
  const channel = new FileChannel({ onMessage: () => undefined, onDetached: (error) => errors.push(error) })
  t.throws(() => channel.attach(wires().sides[0], 1), { name: 'ProtocolError' })
  for (const frame of [[], [3], [2], [2, 0, 0, 0, 0, 0, 0, 0, 9], [2, 255, 255, 255, 255, 255, 255, 255, 255], [0]]) {
    const stream = wires()
    channel.attach(stream.sides[0], 0)
    stream.sides[1].send(Uint8Array.from(frame))
    stream.deliver(1, 1)
    t.match(errors.pop(), { name: 'ProtocolError' }, JSON.stringify(frame))
    t.equal(channel.isAttached, false)
  }
})

t.test('a side that never confirms is not kept in memory for ever', async (t) => {
  const errors: (Error | undefined)[] = []
  const channel = new FileChannel({ onMessage: () => undefined, onDetached: (error) => errors.push(error) })
  const stream = wires()
  channel.attach(stream.sides[0], 0)
  const large = Buffer.alloc(2 ** 20)
  for (let count = 0; count < 64; count++) channel.send([large])
  t.equal(channel.isBroken, false)
  channel.send([large])
  t.equal(channel.isBroken, true)
  t.match(errors, [{ name: 'LimitError' }])
  channel.send([large])
  t.throws(() => channel.attach(wires().sides[0], 0), { name: 'ProtocolError' })
})

t.test('a hello is checked', async (t) => {
  const hello = { tree: 'a'.repeat(32), uid: 1000, gid: 1000, writable: ['/opt/x y/z'], received: 5 }
  t.same(decodeHello(Buffer.concat(encodeHello(hello))), hello)
  for (const wrong of [
    { ...hello, tree: 'x' },
    { ...hello, uid: -1 },
    { ...hello, uid: 2 ** 32 - 1 },
    { ...hello, writable: ['opt'] },
    { ...hello, writable: ['/opt/../etc'] },
    { ...hello, writable: ['/opt/'] },
    { ...hello, writable: ['/opt/./x'] },
    { ...hello, writable: ['/a\0'] },
    { ...hello, writable: Array(66).fill('/opt/x') },
    { ...hello, received: -1 },
    { ...hello, received: 2 ** 53 }
  ]) {
    t.throws(() => decodeHello(Buffer.concat(encodeHello(wrong))), { name: 'ProtocolError' })
  }
  for (const wrong of [[], [0], [1, 2, 3], [0, 255, 255]]) {
    t.throws(() => decodeHello(Uint8Array.from(wrong)), { name: 'ProtocolError' })
  }
})
