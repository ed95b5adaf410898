import { createServer } from 'node:net'
import t from 'tap'
import { FrameStream } from '../../src/network/frames.ts'
import { pairNodes, startNode } from './nodes.ts'

const soon = (): AbortSignal => AbortSignal.timeout(10_000)

t.test('a port that is taken is replaced by a free one, which is said', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => taken.once('listening', resolve))
  t.after(() => void taken.close())
  const { port } = taken.address() as { port: number }
  const a = await startNode(t, { listen: [`/ip4/127.0.0.1/tcp/${port}`] })
  t.not(a.node.port, port)
  t.ok(a.node.port > 0)
  t.same(a.node.addresses(), [`/ip4/127.0.0.1/tcp/${a.node.port}`])
})

t.test('a free port is kept, on several addresses', async (t) => {
  const first = await startNode(t)
  const { port } = first.node
  await first.node.stop()
  const again = await startNode(t, { listen: [`/ip4/127.0.0.1/tcp/${port}`, `/ip4/127.0.0.2/tcp/${port}`] })
  t.equal(again.node.port, port)
  t.same(again.node.addresses().sort(), [`/ip4/127.0.0.1/tcp/${port}`, `/ip4/127.0.0.2/tcp/${port}`])
})

t.test('an address that cannot be listened on is told', async (t) => {
  await t.rejects(startNode(t, { listen: ['/ip4/127.0.0.1/udp/1'] }), { name: 'UsageError' })
  await t.rejects(startNode(t, { listen: ['nonsense'] }), { name: 'UsageError' })
  await t.rejects(startNode(t, { listen: ['/ip4/192.0.2.1/tcp/5277'] }), { name: 'NetworkError' })
})

t.test('dialling nobody and asking for what is not spoken are told', async (t) => {
  const a = await startNode(t)
  const b = await startNode(t)
  pairNodes(a, b)
  await t.rejects(a.node.dial([], b.id, soon()), { name: 'UnreachableError' })
  await t.rejects(a.node.dial(['/ip4/127.0.0.1/tcp/1'], b.id, soon()), { name: 'UnreachableError' })
  await t.rejects(a.node.dial(b.node.addresses(), b.id, AbortSignal.abort(new Error('stop'))), { message: 'stop' })
  const connection = await a.node.dial(b.node.addresses(), b.id, soon())
  await t.rejects(a.node.openStream(connection, '/kappa/none/1.0.0', soon()), { name: 'NetworkError' })
  a.node.hangUp(b.id, 'the test is over')
  await t.rejects(a.node.openStream(connection, '/kappa/none/1.0.0', soon()), { name: 'NetworkError' })
})

t.test('a handler that throws costs its stream alone', async (t) => {
  const a = await startNode(t)
  const b = await startNode(t)
  pairNodes(a, b)
  await b.node.handle('/kappa/throws/1.0.0', { rights: ['own'], maxStreams: 4 }, () => {
    throw new Error('handler')
  })
  const connection = await a.node.dial(b.node.addresses(), b.id, soon())
  const stream = await a.node.openStream(connection, '/kappa/throws/1.0.0', soon())
  await t.rejects(new FrameStream(stream, { maxFrameBytes: 1 }).frames().next(), { name: 'NetworkError' })
  t.equal(connection.status, 'open')
})
