import type { Connection } from '@libp2p/interface'
import t from 'tap'
import { FrameStream } from '../../../src/network/frames.ts'
import { encodeMessage } from '../../../src/protocols/withdraw/codec.ts'
import { WITHDRAW_PROTOCOL } from '../../../src/protocols/withdraw/constants.ts'
import { WithdrawService } from '../../../src/protocols/withdraw/service.ts'
import { pairNodes, startNode, type TestNode } from '../../network/nodes.ts'
import { eventually } from '../overlay/peers.ts'

const soon = (): AbortSignal => AbortSignal.timeout(10_000)

interface Peer extends TestNode {
  service: WithdrawService
  heard: string[]
}

async function start(t: { after(action: () => Promise<void>): void }): Promise<Peer> {
  const started = await startNode(t)
  const heard: string[] = []
  const service = new WithdrawService({
    node: started.node,
    ownNeighbours: function* (): Generator<[string, Connection]> {
      for (const { peerId, kind } of started.pairings.all()) {
        const [connection] = started.node.connections(peerId)
        if (kind === 'own' && connection) yield [peerId, connection]
      }
    },
    onWithdrawn: (peer, by) => heard.push(`${peer} by ${by}`),
    log: (line) => heard.push(line)
  })
  await service.start()
  return { ...started, service, heard }
}

async function connect(a: Peer, b: Peer): Promise<void> {
  pairNodes(a, b)
  await a.node.dial(b.node.addresses(), b.id, soon())
  await eventually(() => b.node.connections(a.id).length === 1, 'both know')
}

async function say(from: Peer, to: Peer, bytes: Uint8Array): Promise<FrameStream> {
  const stream = await from.node.openStream(from.node.connections(to.id)[0]!, WITHDRAW_PROTOCOL, soon())
  const frames = new FrameStream(stream, { maxFrameBytes: 1024 })
  frames.send(bytes)
  return frames
}

t.test('news goes from own machine to own machine, in circles too, and each hears it', async (t) => {
  const [a, b, c, d] = (await Promise.all([1, 2, 3, 4].map(() => start(t)))) as [Peer, Peer, Peer, Peer]
  await connect(a, b)
  await connect(b, c)
  await connect(c, d)
  await connect(d, b)
  b.service.withdraw(a.id)
  const news = `${a.id} by ${b.id}`
  await eventually(() => [c, d].every(({ heard }) => heard.includes(news)), 'c and d hear')
  await say(c, d, encodeMessage({ peer: 'x', by: 'y', hopsLeft: 0 }))
  await eventually(() => d.heard.includes('x by y'), 'and what is said later')
  t.same(a.heard, [], 'not who it is about')
  t.ok(c.heard.length <= 2 && d.heard.length <= 3, 'each way once at most')
  t.same(b.heard, [], 'who said it does not believe its own echo; and hopsLeft ends it')
})

t.test('not through a friend, and not from one', async (t) => {
  const [a, b, c] = (await Promise.all([1, 2, 3].map(() => start(t)))) as [Peer, Peer, Peer]
  await connect(a, b)
  await connect(b, c)
  b.pairings.pair(c.id, { kind: 'friend' })
  await say(a, b, encodeMessage({ peer: 'x', by: a.id, hopsLeft: 3 }))
  await eventually(() => b.heard.length === 1, 'b hears')
  const refused = say(c, b, encodeMessage({ peer: 'z', by: c.id, hopsLeft: 3 }))
  await t.rejects(
    refused.then((frames) => frames.frames(soon()).next()),
    { name: 'NetworkError' }
  )
  t.same(b.heard, [`x by ${a.id}`])
  t.same(c.heard, [])
})

t.test('garbage ends the stream; nobody speaks in our name', async (t) => {
  const [a, b] = (await Promise.all([1, 2].map(() => start(t)))) as [Peer, Peer]
  await connect(a, b)
  for (const bytes of [Buffer.from('garbage'), encodeMessage({ peer: '', by: 'x', hopsLeft: 0 })]) {
    const frames = await say(a, b, bytes)
    await t.rejects(frames.frames(soon()).next(), { name: 'NetworkError' })
  }
  const frames = await say(a, b, encodeMessage({ peer: a.id, by: b.id, hopsLeft: 3 }))
  await frames.frames(soon()).next()
  t.same(b.heard, [])
})
