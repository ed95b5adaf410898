import t from 'tap'
import { FrameStream } from '../../../src/network/frames.ts'
import { ASKS_BURST, WAKE_PROTOCOL } from '../../../src/protocols/wake/constants.ts'
import { WakeService } from '../../../src/protocols/wake/service.ts'
import { pairNodes, startNode, type TestNode } from '../../network/nodes.ts'
import { eventually } from '../overlay/peers.ts'

const CARD = '02:00:00:00:00:01'
const soon = (): AbortSignal => AbortSignal.timeout(10_000)

interface Peer extends TestNode {
  service: WakeService
  heard: unknown[]
}

async function start(t: { after(action: () => Promise<void>): void }): Promise<Peer> {
  const started = await startNode(t)
  const heard: unknown[] = []
  const service = new WakeService({
    node: started.node,
    onHardware: (peer, addresses) => heard.push([peer, addresses]),
    onAsked: async (from, peer, addresses) => {
      heard.push([from, peer, addresses])
      return 2
    },
    log: (line) => heard.push(line)
  })
  return { ...started, service, heard }
}

async function connected(t: { after(action: () => Promise<void>): void }) {
  const [a, b] = (await Promise.all([start(t), start(t)])) as [Peer, Peer]
  pairNodes(a, b)
  const connection = await a.node.dial(b.node.addresses(), b.id, soon())
  await eventually(() => b.node.connections(a.id).length === 1, 'both know')
  return { a, b, connection }
}

t.test('a neighbour learns how to wake, and wakes who it is asked for', async (t) => {
  const { a, b, connection } = await connected(t)
  await b.service.start()
  await a.service.tell(connection, [CARD])
  await eventually(() => b.heard.length === 1, 'it heard')
  t.same(b.heard.pop(), [a.id, [CARD]])
  t.equal(await a.service.ask(connection, 'sleeper', [CARD, 'no card']), 0, 'what breaks a bound is no message')
  t.equal(await a.service.ask(connection, 'sleeper', [CARD, 'zz:zz:zz:zz:zz:zz']), 2)
  t.same(b.heard, [[a.id, 'sleeper', [CARD]]], 'what is no address is left out')
  t.same(a.heard, [])
})

t.test('who asks too often is not served', async (t) => {
  const { a, b, connection } = await connected(t)
  await b.service.start()
  const answers: number[] = []
  for (let ask = 0; ask < ASKS_BURST + 20; ask++) answers.push(await a.service.ask(connection, 'sleeper', [CARD]))
  t.ok(answers.slice(0, ASKS_BURST).every((lans) => lans === 2))
  t.ok(answers.includes(0), 'beyond what is saved up')
  t.equal(b.heard.length, answers.filter((lans) => lans === 2).length)
})

t.test('an older peer does not listen, which nobody minds', async (t) => {
  const { a, connection } = await connected(t)
  await a.service.tell(connection, [CARD])
  t.equal(await a.service.ask(connection, 'sleeper', [CARD]), 0)
  t.same(a.heard, [])
  t.equal(connection.status, 'open')
})

t.test('garbage ends its stream and nothing else', async (t) => {
  const { a, b, connection } = await connected(t)
  await b.service.start()
  const stream = await a.node.openStream(connection, WAKE_PROTOCOL, soon())
  const frames = new FrameStream(stream, { maxFrameBytes: 1024 })
  frames.send(Buffer.from('garbage'))
  await t.rejects(async () => {
    for await (const _ of frames.frames(soon()));
    throw new Error('it ended')
  })
  t.same(b.heard, [])
  t.equal(await a.service.ask(connection, 'sleeper', [CARD]), 2)
})
