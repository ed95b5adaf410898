import t, { type Test } from 'tap'
import { encodeMessage } from '../../../src/protocols/exec/codec.ts'
import {
  ackFrame,
  closeFrame,
  dataHeader,
  eofFrame,
  FRAME,
  frameHeader,
  parseFrame
} from '../../../src/protocols/exec/frames.ts'
import { ExecHome } from '../../../src/protocols/exec/home.ts'
import type { FrameChannel } from '../../../src/protocols/exec/link.ts'
import { Gathered, settled, until } from './wires.ts'

const TICKET = '0123456789abcdef0123456789abcdef'

/** A target that answers what it likes, on every stream that is opened to it. */
class Rogue implements FrameChannel {
  received: NonNullable<ReturnType<typeof parseFrame>>[] = []
  over = false
  #deliver: (frame: Uint8Array) => void = () => undefined
  #ended: (error?: Error) => void = () => undefined

  onFrame(handler: (frame: Uint8Array) => void, onEnd: (error?: Error) => void): void {
    this.#deliver = handler
    this.#ended = onEnd
  }

  send(...parts: Uint8Array[]): boolean {
    this.received.push(parseFrame(Buffer.concat(parts))!)
    return true
  }

  async drained(): Promise<void> {}

  async close(): Promise<void> {
    this.abort()
  }

  abort(error?: Error): void {
    if (this.over) return
    this.over = true
    this.#ended(error)
  }

  say(...parts: Uint8Array[]): void {
    if (!this.over) this.#deliver(Buffer.concat(parts))
  }

  hello(epoch = 7): void {
    this.say(...encodeMessage('hello', 0, { epoch }))
  }
}

function setUp(t: Test) {
  const streams: Rogue[] = []
  const clock = { now: 0 }
  const home = new ExecHome({
    now: () => clock.now,
    openStream: async () => {
      const rogue = new Rogue()
      streams.push(rogue)
      return rogue
    },
    urgent: () => undefined,
    closeConnection: () => undefined,
    log: () => undefined
  })
  t.teardown(() => home.close())
  const start = (gathered: Gathered, change: object = {}) =>
    home.start({ id: TICKET, target: 'rogue', epoch: 7, validMs: 2_000 }, { ...START, ...change }, 500, gathered)
  return { home, streams, clock, start, gathered: new Gathered() }
}

const START = {
  job: 'a234',
  argv: [Buffer.from('x')],
  env: [],
  umask: 0o22,
  nice: 0,
  limits: [],
  home: 'home',
  mode: 'plain' as const,
  ins: false,
  outs: [],
  outAlways: false
}

t.test('a target that breaks the rules loses the job, and no other of them hangs', async (t) => {
  const end = encodeMessage('end', 1, { exitCode: 0, signal: null })
  const cases: [string, Uint8Array[][]][] = [
    ['an end before the streams end', [end]],
    ['an end before the last bytes', [[eofFrame(1, 1, 10)], [eofFrame(1, 2, 0)], [eofFrame(1, 4, 0)], end]],
    ['an end that is none', [[frameHeader(FRAME.end, 1), Buffer.from([0xa0])]]],
    ['data for stdin', [[dataHeader(1, 0, 0), Buffer.alloc(1)]]],
    ['data beyond the limit', [[dataHeader(1, 1, 256 * 1024), Buffer.alloc(1)]]],
    ['a gap', [[dataHeader(1, 1, 1), Buffer.alloc(1)]]],
    ['an acknowledgement of what was not sent', [[ackFrame(1, 0, 1, 1)]]],
    ['an acknowledgement of its own stream', [[ackFrame(1, 1, 0, 0)]]],
    ['a close of its own stream', [[closeFrame(1, 1)]]],
    ['an unknown frame', [[frameHeader(80, 1)]]],
    ['joined further than it was', [encodeMessage('attached', 1, { received: [1, 0] })]]
  ]
  for (const [name, frames] of cases) {
    const { streams, start, gathered } = setUp(t)
    start(gathered)
    await until(() => streams.length === 1)
    await settled()
    streams[0]!.hello()
    streams[0]!.say(frameHeader(FRAME.started, 1))
    const other = new Gathered()
    start(other)
    for (const frame of frames) streams[0]!.say(...frame)
    t.match(await gathered.done, { lost: /broke the protocol/ }, name)
    await until(() => streams.length === 2)
    await settled()
    streams[1]!.hello()
    t.equal(streams[1]!.received.at(-1)?.type, FRAME.attach, 'the other job goes on over a new stream')
  }
})

t.test('news of jobs that are none, and for no job, change nothing', async (t) => {
  const { streams, start, gathered } = setUp(t)
  start(gathered)
  await until(() => streams.length === 1)
  await settled()
  const [rogue] = streams as [Rogue]
  rogue.say(frameHeader(FRAME.started, 1))
  rogue.hello()
  for (let channel = 2; channel < 500; channel++) {
    rogue.say(frameHeader(FRAME.started, channel))
    rogue.say(dataHeader(channel, 1, 0), Buffer.alloc(100))
    rogue.say(...encodeMessage('resolved', channel, { epoch: 7, outcome: { state: 'void' } }))
  }
  t.equal(rogue.over, false)
  const before = rogue.received.length
  rogue.say(...encodeMessage('end', 77, { exitCode: 0, signal: null }))
  t.match(rogue.received.slice(before), [{ type: FRAME.forget, channel: 77 }], 'a job that was given up is let go')
})

t.test('a refusal by another epoch is no leave to run it elsewhere', async (t) => {
  const { streams, start, gathered } = setUp(t)
  start(gathered)
  await until(() => streams.length === 1)
  await settled()
  streams[0]!.hello()
  streams[0]!.say(...encodeMessage('refused', 1, { epoch: 8, code: 'void', reason: 'no' }))
  t.match(await gathered.done, { lost: /restarted/ })
})

t.test('a target that only keeps the stream alive: lost after 13 s, and told to end the job', async (t) => {
  const { streams, start, gathered, clock } = setUp(t)
  start(gathered)
  await until(() => streams.length === 1)
  await settled()
  const [rogue] = streams as [Rogue]
  rogue.hello()
  let over = false
  void gathered.done.then(() => (over = true))
  while (!over) {
    clock.now += 500
    rogue.say(frameHeader(FRAME.renewed, 0))
    await new Promise((resolve) => setTimeout(resolve, 60))
  }
  t.match(await gathered.done, { lost: String })
  t.ok(clock.now >= 13_000 && clock.now < 18_000, `${clock.now}`)
  t.equal(streams.length, 1)
  t.ok(rogue.received.some(({ type, channel }) => type === FRAME.signal && channel === 1))
})

t.test('what no target would take is said before anything is sent', async (t) => {
  const { streams, start, gathered } = setUp(t)
  const cases: [object, RegExp][] = [
    [{ argv: [] }, /argv/],
    [{ outs: ['x'.repeat(5_000)] }, /outs/],
    [{ limits: [{ name: 'nofile', soft: Number.NaN }] }, /limits/],
    [{ env: Array.from({ length: 70_000 }, () => Buffer.from('A=b')) }, /env/],
    [{ argv: [Buffer.alloc(5 * 1024 * 1024)] }, /bytes/]
  ]
  for (const [change, message] of cases) {
    t.throws(() => start(gathered, change), { name: 'NothingRanError', message })
  }
  await settled()
  t.equal(streams.length, 0)
})

t.test('an older target is not told that home sleeps, and nobody waits for it', async (t) => {
  const { home, streams, clock, start, gathered } = setUp(t)
  start(gathered)
  await until(() => streams.length === 1)
  await settled()
  streams[0]!.hello()
  streams[0]!.say(frameHeader(FRAME.started, 1))
  await home.hold()
  clock.now += 20_000
  home.awake()
  streams[0]!.abort()
  t.match(await gathered.done, { lost: /nothing was heard/ }, 'it has ended the job')
  t.same(
    streams[0]!.received.map(({ type }) => type).filter((type) => type !== FRAME.renew),
    [FRAME.start]
  )
})

t.test('what was not asked for is no answer to a later question', async (t) => {
  const { home, streams, start, gathered } = setUp(t)
  start(gathered)
  await until(() => streams.length === 1)
  await settled()
  streams[0]!.say(...encodeMessage('hello', 0, { epoch: 7, holds: true }))
  streams[0]!.say(frameHeader(FRAME.started, 1))
  for (let times = 0; times < 3; times++) streams[0]!.say(frameHeader(FRAME.held, 0))
  let told = false
  const hold = home.hold().then(() => (told = true))
  await settled()
  t.equal(told, false)
  streams[0]!.say(frameHeader(FRAME.held, 0))
  await hold
  t.equal(streams[0]!.over, false)
})

t.test('a job is given up as long as its start message was not handed over', async (t) => {
  const { streams, start, gathered } = setUp(t)
  const early = start(gathered)
  t.equal(early.cancel(), true)
  const late = start(gathered)
  await until(() => streams.length === 1)
  await settled()
  streams[0]!.hello()
  t.equal(late.cancel(), false)
  t.same(
    streams[0]!.received.map(({ type, channel }) => [type, channel]),
    [[FRAME.start, 2]]
  )
  t.same(gathered.events, [])
})
