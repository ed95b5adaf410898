import { createServer } from 'node:net'
import t from 'tap'
import { parsePeerId } from '../../src/network/identity.ts'
import { eventually, pairPeers, startPeer } from '../protocols/overlay/peers.ts'
import { MemoryPairings } from './nodes.ts'

const soon = (): AbortSignal => AbortSignal.timeout(15_000)

t.test('both dial at once: one connection stays, the same on both sides', async (t) => {
  const a = await startPeer(t)
  const b = await startPeer(t)
  a.pairings.pair(b.id, { addresses: b.node.addresses() })
  b.pairings.pair(a.id, { addresses: a.node.addresses() })
  await Promise.all([
    a.node.dial(b.node.addresses(), b.id, soon()),
    b.node.dial(a.node.addresses(), a.id, soon()),
    a.neighbours.add(b.id),
    b.neighbours.add(a.id)
  ])
  await eventually(() => {
    const left = a.node.connections(b.id)
    const right = b.node.connections(a.id)
    return left.length === 1 && right.length === 1 && left[0]?.direction !== right[0]?.direction
  }, 'both ends of one connection')
  t.ok(a.neighbours.current(b.id) === a.node.connections(b.id)[0])
  await a.until('up')
  await b.until('up')
})

t.test(
  'comes back after the other side restarts on another port, with news of it from an inbound connection',
  async (t) => {
    const a = await startPeer(t)
    const b = await startPeer(t)
    pairPeers(a, b)
    await a.until('up')
    const known = a.seen.length
    await b.stop()
    await a.until('down')
    await eventually(() => a.neighbours.current(b.id) === undefined, 'no connection')
    const again = await startPeer(t, { key: b.key, pairings: b.pairings, epoch: 2 })
    t.not(again.node.port, b.node.port)
    t.match(await a.until('up', undefined, known), { peer: b.id, news: { epoch: 2 } })
    const where = again.node.addresses()[0] as string
    const learned = await a.until('addresses', ({ addresses }) => addresses.includes(where), known)
    t.equal(learned.addresses[0], where, 'what works is tried first')
  }
)

t.test('dials again by itself while the other side is away', async (t) => {
  const a = await startPeer(t)
  const b = await startPeer(t)
  const address = b.node.addresses()
  pairPeers(a, b)
  await b.until('up')
  await b.stop()
  await a.until('down')
  const known = a.seen.length
  // The other side forgot where we are: only our own redial can bring it back.
  const forgetful = new MemoryPairings()
  forgetful.pair(a.id)
  await startPeer(t, { key: b.key, pairings: forgetful, listen: address })
  t.match(await a.until('up', undefined, known), { peer: b.id })
})

t.test('a dead address costs no time beside a live one', async (t) => {
  const a = await startPeer(t)
  const b = await startPeer(t)
  b.pairings.pair(a.id)
  // TEST-NET-1: nobody answers, or the network says so.
  a.pairings.pair(b.id, { addresses: ['/ip4/192.0.2.1/tcp/5277', ...b.node.addresses()] })
  a.neighbours.add(b.id)
  const connection = await a.neighbours.connectionTo(b.id, AbortSignal.timeout(3000))
  t.match(connection.remoteAddr.toString(), '127.0.0.1')
})

t.test('connectionTo ends with its signal, and says who is not paired', async (t) => {
  const a = await startPeer(t)
  const b = await startPeer(t)
  await t.rejects(a.neighbours.connectionTo(b.id, soon()), { name: 'UnreachableError' })
  const closed = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => closed.once('listening', resolve))
  const { port } = closed.address() as { port: number }
  closed.close()
  a.pairings.pair(b.id, { addresses: [`/ip4/127.0.0.1/tcp/${port}`] })
  a.neighbours.add(b.id)
  await t.rejects(a.neighbours.connectionTo(b.id, AbortSignal.timeout(50)), { name: 'TimeoutError' })
  const waiting = a.neighbours.connectionTo(b.id, soon())
  a.neighbours.remove(b.id)
  await t.rejects(waiting, { name: 'UnreachableError' })
})

t.test('unpaired: closed at once, and turned away from then on', async (t) => {
  const a = await startPeer(t)
  const b = await startPeer(t)
  pairPeers(a, b)
  await a.until('up')
  await b.until('up')
  a.pairings.map.delete(b.id)
  a.neighbours.remove(b.id)
  t.equal(a.node.connections(b.id).length, 0, 'no connection is left when remove returns')
  await b.until('down')
  t.match(await b.until('turnedAway'), { peer: a.id })
  t.equal(a.node.connections(b.id).length, 0)
})

t.test('dialOnce takes only the peer that it asked for', async (t) => {
  const a = await startPeer(t)
  const b = await startPeer(t)
  const c = await startPeer(t)
  a.pairings.pair(b.id)
  a.pairings.pair(c.id)
  c.pairings.pair(a.id)
  await t.rejects(a.neighbours.dialOnce(c.node.addresses(), b.id, soon()), { name: 'UnreachableError' })
  const connection = await a.neighbours.dialOnce(c.node.addresses(), parsePeerId(c.id), soon())
  t.equal(connection.remotePeer.toString(), c.id)
  await t.rejects(a.neighbours.dialOnce([], c.id, soon()), { name: 'UnreachableError' })
})

t.test('a job that depends on the peer is not held up by the backoff', async (t) => {
  const a = await startPeer(t)
  const b = await startPeer(t)
  const listen = b.node.addresses()
  pairPeers(a, b)
  await a.until('up')
  const known = a.seen.length
  await b.stop()
  await a.until('down')
  a.neighbours.urgent(b.id, true)
  const forgetful = new MemoryPairings()
  forgetful.pair(a.id)
  await startPeer(t, { key: b.key, pairings: forgetful, listen })
  t.match(await a.until('up', undefined, known), { peer: b.id })
  a.neighbours.urgent(b.id, false)
})
