import t from 'tap'
import { FrameStream } from '../../../src/network/frames.ts'
import { encodeMessage, type Report } from '../../../src/protocols/doctor/codec.ts'
import { DOCTOR_PROTOCOL, MESSAGE_BYTES_MAX, QUESTIONS_MAX } from '../../../src/protocols/doctor/constants.ts'
import { DoctorService } from '../../../src/protocols/doctor/service.ts'
import { pairNodes, startNode, type TestNode } from '../../network/nodes.ts'
import { eventually } from '../overlay/peers.ts'

const soon = (): AbortSignal => AbortSignal.timeout(10_000)

interface Peer extends TestNode {
  service: DoctorService
  asked: string[]
}

const REPORT = { ways: [], checks: [{ id: 'files', name: 'files', verdict: 'ok' as const }] }

async function start(
  t: { after(action: () => Promise<void>): void },
  { aheadMs = 0, report = async (): Promise<Partial<Report>> => ({}) } = {}
): Promise<Peer> {
  const started = await startNode(t)
  const asked: string[] = []
  const service = new DoctorService({
    node: started.node,
    version: '1.2.3',
    now: () => Date.now() + aheadMs,
    report: async (to) => {
      asked.push(to)
      return { ...REPORT, ...(await report()) }
    }
  })
  await service.start()
  return { ...started, service, asked }
}

async function connect(a: Peer, b: Peer) {
  pairNodes(a, b)
  const connection = await a.node.dial(b.node.addresses(), b.id, soon())
  await eventually(() => b.node.connections(a.id).length === 1, 'both know')
  return connection
}

t.test('a question and its report; clocks are compared whatever the report took', async (t) => {
  const release = Promise.withResolvers<Partial<Report>>()
  const [a, b] = [await start(t), await start(t, { aheadMs: 60_000, report: () => release.promise })]
  const connection = await connect(a, b)
  const heard = a.service.ask(connection, soon())
  await eventually(() => b.asked.length === 1, 'b was asked')
  release.resolve({ system: 'Debian' })
  const { report, skewMs, withinMs } = await heard
  t.match(report, { ...REPORT, version: '1.2.3', system: 'Debian' })
  t.same(b.asked, [a.id])
  t.ok(Math.abs(skewMs - 60_000) <= withinMs + 1, `${skewMs} ± ${withinMs}`)
})

t.test('friends may ask; who is not paired may not, and who asks too much at once neither', async (t) => {
  const never = new Promise<Partial<Report>>(() => undefined)
  const [a, b] = [await start(t), await start(t, { report: () => never })]
  const connection = await connect(a, b)
  b.pairings.pair(a.id, { kind: 'friend' })
  const gaveUp = new AbortController()
  const first = a.service.ask(connection, gaveUp.signal)
  await eventually(() => b.asked.length === 1, 'a friend is heard')
  const more = Array.from({ length: QUESTIONS_MAX + 2 }, () => a.service.ask(connection, soon()))
  const refused = await Promise.race(
    more.map((ask) =>
      ask.then(
        () => 'answered',
        (error) => error.name
      )
    )
  )
  t.equal(refused, 'NetworkError')
  t.ok(b.asked.length <= QUESTIONS_MAX)
  for (const ask of [first, ...more]) ask.catch(() => undefined)
  gaveUp.abort(new Error('enough'))
  await t.rejects(first, { message: 'enough' })
})

t.test('garbage on either side ends the stream', async (t) => {
  const [a, b] = [await start(t), await start(t)]
  const connection = await connect(a, b)
  const frames = new FrameStream(await a.node.openStream(connection, DOCTOR_PROTOCOL, soon()), {
    maxFrameBytes: MESSAGE_BYTES_MAX
  })
  frames.send(Buffer.from('garbage'))
  await t.rejects(frames.frames(soon()).next(), { name: 'NetworkError' })
  t.same(b.asked, [])
  await b.node.unhandle(DOCTOR_PROTOCOL)
  const says = (bytes: Uint8Array) =>
    b.node.handle(DOCTOR_PROTOCOL, { rights: ['own'], maxStreams: 2 }, (stream) => {
      new FrameStream(stream, { maxFrameBytes: 1 << 24 }).send(bytes)
    })
  await says(encodeMessage({ type: 'ask', version: '1' }))
  await t.rejects(a.service.ask(connection, soon()), { name: 'ProtocolError', message: /ask where report belongs/ })
  await b.node.unhandle(DOCTOR_PROTOCOL)
  await says(Buffer.alloc(MESSAGE_BYTES_MAX + 1))
  await t.rejects(a.service.ask(connection, soon()), { name: 'ProtocolError' })
  await b.node.unhandle(DOCTOR_PROTOCOL)
  await t.rejects(a.service.ask(connection, soon()), {
    name: 'NetworkError',
    message: /UnsupportedProtocol|selection failed/
  })
})
