import t, { type Test } from 'tap'
import { encodeMessage } from '../../../src/protocols/exec/codec.ts'
import { JOBS_PER_HOME_MAX } from '../../../src/protocols/exec/constants.ts'
import {
  ackFrame,
  closeFrame,
  DATA_BYTES_MAX,
  dataHeader,
  eofFrame,
  FRAME,
  frameHeader,
  parseFrame
} from '../../../src/protocols/exec/frames.ts'
import type { FrameChannel } from '../../../src/protocols/exec/link.ts'
import type { StartMessage } from '../../../src/protocols/exec/target.ts'
import { FakeJob, settled, Wires } from './wires.ts'

/** A home that sends what it likes. */
class Rogue implements FrameChannel {
  aborted: Error | undefined
  readonly received: ReturnType<typeof parseFrame>[] = []
  #deliver: (frame: Uint8Array) => void = () => undefined
  #ended: (error?: Error) => void = () => undefined

  onFrame(handler: (frame: Uint8Array) => void, onEnd: (error?: Error) => void): void {
    this.#deliver = handler
    this.#ended = onEnd
  }

  send(...parts: Uint8Array[]): boolean {
    this.received.push(parseFrame(Buffer.concat(parts)))
    return true
  }

  async drained(): Promise<void> {}

  async close(): Promise<void> {
    this.#ended()
  }

  abort(error: Error): void {
    this.aborted ??= error
    this.#ended(error)
  }

  say(...parts: Uint8Array[]): void {
    if (this.aborted === undefined) this.#deliver(Buffer.concat(parts))
  }

  types(): number[] {
    return this.received.map((frame) => frame!.type)
  }
}

function setUp(t: Test) {
  const jobs: FakeJob[] = []
  const wires = new Wires({
    launch: async () => {
      const job = new FakeJob()
      jobs.push(job)
      return job
    }
  })
  t.teardown(() => wires.close())
  const connect = (from = 'rogue') => {
    const rogue = new Rogue()
    wires.target.serve(from, rogue)
    return rogue
  }
  const rogue = connect()
  const start = (channel: number, change: Partial<StartMessage> = {}) => {
    const ticket = wires.ticket().id
    rogue.say(...encodeMessage('start', channel, { ...START, ticket, ...change }))
    return ticket
  }
  return { wires, jobs, connect, rogue, start }
}

const START: Omit<StartMessage, 'ticket'> = {
  job: 'a234',
  argv: [Buffer.from('x')],
  env: [],
  umask: 0o22,
  nice: 0,
  limits: [],
  home: 'rogue',
  mode: 'plain',
  ins: false,
  outs: [],
  outAlways: false
}

const bytes = Buffer.alloc(1_000)

t.test('frames against the rules end the stream that they came on, and no more', async (t) => {
  const cases: [string, Uint8Array[]][] = [
    ['an empty frame', [Buffer.alloc(0)]],
    ['a short frame', [Buffer.alloc(4, 16)]],
    ['an unknown frame', [frameHeader(99, 1)]],
    ['a frame of the control socket', [frameHeader(FRAME.request, 1), Buffer.from('{}')]],
    ["a frame of the target's own", [frameHeader(FRAME.started, 1)]],
    ['an unknown stream', [Buffer.from([FRAME.data, 0, 0, 0, 1, 9, 0, 0, 0, 0, 0, 0])]],
    ['data for an output', [dataHeader(1, 1, 0), bytes]],
    ['an end of an output', [eofFrame(1, 2, 0)]],
    ['an acknowledgement of stdin', [ackFrame(1, 0, 0, 0)]],
    ['an acknowledgement of what was never sent', [ackFrame(1, 1, 1_000_000, 2_000_000)]],
    ['the end of a consumer of stdin', [closeFrame(1, 0)]],
    ['a gap', [dataHeader(1, 0, 1), bytes]],
    ['data beyond the limit', [dataHeader(1, 0, 256 * 1024), bytes]],
    ['a frame of data that is too long', [dataHeader(1, 0, 0), Buffer.alloc(DATA_BYTES_MAX + 1)]],
    ['a signal that is none', encodeMessage('signal', 1, { number: 65 })],
    ['a start that is CBOR of something else', [frameHeader(FRAME.start, 2), Buffer.from([0xa0])]],
    ['a start that is no CBOR', [frameHeader(FRAME.start, 2), Buffer.from([0xff, 0xff])]],
    ['a start without words', encodeMessage('start', 2, { ...START, ticket: '0'.repeat(32), argv: [] })],
    ['a channel for a second job', encodeMessage('start', 1, { ...START, ticket: '0'.repeat(32) })],
    ['an attach that lacks a stream', encodeMessage('attach', 1, { ticket: '0'.repeat(32), received: [0] })]
  ]
  for (const [name, frame] of cases) {
    const { wires, jobs, rogue, start, connect } = setUp(t)
    const other = connect('honest')
    start(1)
    await settled()
    t.equal(rogue.aborted, undefined)
    rogue.say(...frame)
    t.equal(rogue.aborted?.name, 'ProtocolError', name)
    t.equal(other.aborted, undefined)
    t.equal(wires.target.running, 1, 'the job has its lease')
    jobs[0]!.end()
  }
})

t.test('data that ends after its end, and an end before its data', async (t) => {
  for (const frames of [
    [[eofFrame(1, 0, 10)], [dataHeader(1, 0, 0), Buffer.alloc(11)]],
    [[dataHeader(1, 0, 0), Buffer.alloc(11)], [eofFrame(1, 0, 10)]],
    [[eofFrame(1, 0, 10)], [eofFrame(1, 0, 11)]]
  ]) {
    const { rogue, start } = setUp(t)
    start(1)
    await settled()
    for (const frame of frames) rogue.say(...frame)
    t.equal(rogue.aborted?.name, 'ProtocolError')
  }
})

t.test('frames for channels that are none change nothing', async (t) => {
  const { rogue } = setUp(t)
  for (let channel = 1; channel < 1_000; channel++) {
    rogue.say(dataHeader(channel, 0, 0), bytes)
    rogue.say(ackFrame(channel, 1, 5, 5))
    rogue.say(...encodeMessage('signal', channel, { number: 9 }))
    rogue.say(frameHeader(FRAME.forget, channel))
  }
  t.equal(rogue.aborted, undefined)
  t.same(rogue.types(), [FRAME.hello])
})

t.test("another home's ticket is void to a stranger, and the job goes on", async (t) => {
  const { wires, rogue, start, connect } = setUp(t)
  const ticket = start(1)
  await settled()
  const thief = connect('thief')
  thief.say(...encodeMessage('attach', 1, { ticket, received: [0, 0, 0] }))
  thief.say(...encodeMessage('start', 2, { ...START, ticket }))
  thief.say(...encodeMessage('signal', 1, { number: 9 }))
  t.notOk(thief.types().includes(FRAME.attached))
  t.notOk(thief.types().includes(FRAME.started))
  t.equal(wires.target.running, 1)
  t.equal(rogue.aborted, undefined)
})

t.test('a ticket starts once, however often it is said', async (t) => {
  const { wires, jobs, rogue } = setUp(t)
  const ticket = wires.ticket().id
  for (let channel = 1; channel <= 50; channel++) rogue.say(...encodeMessage('start', channel, { ...START, ticket }))
  await settled()
  t.equal(jobs.length, 1)
  t.equal(rogue.types().filter((type) => type === FRAME.refused).length, 49)
})

t.test('a job has one channel, however often it is attached', async (t) => {
  const { wires, jobs, rogue, start } = setUp(t)
  const ticket = start(1)
  await settled()
  for (let channel = 2; channel < 5_000; channel++) {
    rogue.say(...encodeMessage('attach', channel, { ticket, received: [0, 0, 0] }))
  }
  t.equal(rogue.aborted, undefined)
  rogue.say(...encodeMessage('signal', 17, { number: 10 }))
  rogue.say(...encodeMessage('signal', 4_999, { number: 12 }))
  t.same(jobs[0]!.signals, [12])
  start(5_000)
  rogue.say(...encodeMessage('attach', 5_000, { ticket, received: [0, 0, 0] }))
  t.equal(rogue.aborted?.name, 'ProtocolError', "another job's channel")
  t.equal(wires.target.running, 2)
})

t.test('a home has so many jobs, fetched or not, over however many streams', async (t) => {
  const { wires, jobs, connect } = setUp(t)
  const streams = Array.from({ length: 4 }, () => connect())
  for (let count = 0; count < JOBS_PER_HOME_MAX + 10; count++) {
    streams[count % 4]!.say(...encodeMessage('start', count, { ...START, ticket: wires.ticket().id }))
    jobs.at(-1)?.end()
  }
  await settled()
  t.equal(wires.target.held, JOBS_PER_HOME_MAX)
  const refused = streams.flatMap((stream) => stream.types()).filter((type) => type === FRAME.refused)
  t.equal(refused.length, 10)
  const honest = connect('honest')
  honest.say(...encodeMessage('start', 1, { ...START, ticket: wires.ticket().id }))
  t.ok(honest.types().includes(FRAME.started))
})

t.test('a home that fetches before the end, or twice, harms only itself', async (t) => {
  const { wires, jobs, rogue, start } = setUp(t)
  start(1)
  await settled()
  rogue.say(frameHeader(FRAME.forget, 1))
  t.equal(wires.target.running, 1)
  jobs[0]!.end()
  await settled()
  rogue.say(frameHeader(FRAME.forget, 1))
  rogue.say(frameHeader(FRAME.forget, 1))
  rogue.say(dataHeader(1, 0, 0), bytes)
  t.equal(rogue.aborted, undefined)
  t.equal(jobs[0]!.disposed, 1)
})

t.test('a ticket that is resolved before it starts never starts', async (t) => {
  const { wires, jobs, rogue } = setUp(t)
  const ticket = wires.ticket().id
  rogue.say(...encodeMessage('resolve', 1, { ticket }))
  rogue.say(...encodeMessage('start', 2, { ...START, ticket }))
  await settled()
  t.equal(jobs.length, 0)
  t.same(rogue.types(), [FRAME.hello, FRAME.resolved, FRAME.refused])
})
