import { createServer } from 'node:net'
import t from 'tap'
import { FrameStream } from '../../src/network/frames.ts'
import { MAX_TARGETS } from '../../src/network/gater.ts'
import { createIdentity, peerIdOf } from '../../src/network/identity.ts'
import { TargetConnections } from '../../src/network/targets.ts'
import { eventually } from '../protocols/overlay/peers.ts'
import { line, openRelayed, PROTOCOL, type RelayNode, soon } from '../protocols/relay/line.ts'
import type { TestNode } from './nodes.ts'

function targetsOf(t: { teardown(action: () => void): void }, home: RelayNode, connected: string[] = []) {
  const targets = new TargetConnections({
    node: home.node,
    neighbour: (peer) => home.node.connections(peer).at(-1),
    relay: (neighbour, target, signal) => home.relay.connect(neighbour, target, signal),
    onConnected: (peer) => connected.push(peer)
  })
  t.teardown(() => targets.stop())
  return targets
}

/** A line whose home knows the target only by what the test tells it. */
async function fresh(t: Parameters<typeof line>[0] & Parameters<typeof targetsOf>[0], connected: string[] = []) {
  const all = await line(t, { allowed: false })
  return { ...all, targets: targetsOf(t, all.home, connected), path: [all.home.id, all.middle.id, all.target.id] }
}

async function answers(at: TestNode): Promise<void> {
  await at.node.handle(PROTOCOL, { rights: ['home'], maxStreams: 4 }, (stream, peer) => {
    new FrameStream(stream, { maxFrameBytes: 1024 }).send(Buffer.from(peer))
  })
}

/** An address at which nobody listens. */
async function deadAddress(): Promise<string> {
  const closed = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => closed.once('listening', resolve))
  const { port } = closed.address() as { port: number }
  await new Promise((resolve) => closed.close(resolve))
  return `/ip4/127.0.0.1/tcp/${port}`
}

t.test('a target never met is dialled where it says it is, once, and kept', async (t) => {
  const connected: string[] = []
  const { home, target, targets, path } = await fresh(t, connected)
  await answers(target)
  await t.rejects(targets.connectionTo(target.id, soon()), { name: 'UnreachableError' }, 'not before it is met')
  const addresses = [await deadAddress(), ...target.node.addresses()]
  t.ok(targets.met(target.id, { path, addresses }))
  const both = await Promise.all([targets.connectionTo(target.id, soon()), targets.connectionTo(target.id, soon())])
  t.ok(both[0] === both[1], 'two at once share a dial')
  t.equal(home.node.connections(target.id).length, 1)
  t.same(home.node.relayed(target.id), [])
  t.same(connected, [target.id])
  const stream = await home.node.openStream(both[0], PROTOCOL, soon())
  for await (const bytes of new FrameStream(stream, { maxFrameBytes: 1024 }).frames(soon())) {
    t.equal(Buffer.from(bytes).toString(), home.id)
    break
  }
  targets.met(target.id, { path, addresses: [] })
  targets.met(target.id, { path, addresses })
  t.ok((await targets.connectionTo(target.id, soon())) === both[0], 'the second job finds it warm')
})

t.test('the target has no right at home: no protocol serves it', async (t) => {
  const { home, target, targets, path } = await fresh(t)
  await home.node.handle(PROTOCOL, { rights: ['own', 'friend', 'home', 'stranger'], maxStreams: 4 }, () => {
    t.fail('the target was served')
  })
  targets.met(target.id, { path, addresses: target.node.addresses() })
  await targets.connectionTo(target.id, soon())
  t.equal(home.gater.rightOf(target.id), undefined)
  await eventually(() => target.node.connections(home.id).length === 1, 'the target has it too')
  const [back] = target.node.connections(home.id)
  const stream = await target.node.openStream(back!, PROTOCOL, soon())
  await t.rejects(new FrameStream(stream, { maxFrameBytes: 1 }).frames().next(), { name: 'NetworkError' })
  target.gater.allowTarget(home.id)
  await target.node.dial(home.node.addresses(), home.id, soon()).catch(() => undefined)
  await eventually(() => target.node.connections(home.id).length === 1, 'nor may it open a connection')
})

t.test('another machine at the address is not taken for the target', async (t) => {
  const { home, middle, target, targets, path } = await fresh(t)
  target.gater.dropHome(home.id)
  target.gater.stop()
  targets.met(target.id, { path, addresses: middle.node.addresses() })
  await t.rejects(targets.connectionTo(target.id, soon()), { name: 'UnreachableError' })
  t.same(home.node.connections(target.id), [])
  t.equal(home.node.connections(middle.id).length, 1, 'and the neighbour stays connected')
})

t.test('not reached directly, it is reached through the common neighbour', async (t) => {
  const all = await fresh(t)
  const { home, target, targets, path } = all
  await answers(target)
  targets.met(target.id, { path, addresses: [await deadAddress()] })
  const connection = await targets.connectionTo(target.id, soon())
  t.match(connection.remoteAddr.toString(), '/p2p-circuit/')
  const frames = await openRelayed(all)
  for await (const bytes of frames.frames(soon())) {
    t.equal(Buffer.from(bytes).toString(), home.id)
    break
  }
  targets.hangUp(target.id, 'a test')
  t.equal(targets.current(target.id), undefined)
  targets.met(target.id, { path, addresses: target.node.addresses() })
  const direct = await targets.connectionTo(target.id, soon())
  t.match(direct.remoteAddr.toString(), '/tcp/', 'tried directly again each time')
})

t.test('a target that says that it is elsewhere now is dialled there, unless a job lives there', async (t) => {
  const { target, targets, path } = await fresh(t)
  targets.met(target.id, { path, addresses: target.node.addresses() })
  const first = await targets.connectionTo(target.id, soon())
  const elsewhere = { path, addresses: [await deadAddress()] }
  targets.urgent(target.id, true)
  targets.met(target.id, elsewhere)
  t.ok(targets.current(target.id) === first)
  targets.urgent(target.id, false)
  targets.met(target.id, { path, addresses: ['/dns4/target.test/tcp/5277'] })
  t.ok(targets.current(target.id) === first, 'a name says nothing of it')
  targets.met(target.id, elsewhere)
  t.equal(targets.current(target.id), undefined)
})

t.test('farther away there is no relay; why it is out is said for a while', async (t) => {
  const { target, targets, path } = await fresh(t)
  const far = [...path.slice(0, 2), 'another', target.id]
  t.same(targets.unreachable(), [])
  targets.met(target.id, { path: far, addresses: [await deadAddress()] })
  await t.rejects(targets.connectionTo(target.id, soon()), { name: 'UnreachableError', message: /does not answer/ })
  t.match(targets.unreachable(), [{ peer: target.id, reason: /does not answer at .* no neighbour's neighbour/ }])
  targets.networkChanged()
  t.same(targets.unreachable(), [])
  await t.rejects(targets.connectionTo(target.id, soon()))
  targets.met(target.id, { path, addresses: [await deadAddress()] })
  await targets.connectionTo(target.id, soon())
  t.same(targets.unreachable(), [], 'nor when it is reached at last')
})

t.test('a ban and the end of its use close what was opened', async (t) => {
  const { home, target, targets, path } = await fresh(t)
  targets.met(target.id, { path, addresses: target.node.addresses() })
  await targets.connectionTo(target.id, soon())
  targets.remove(target.id)
  await eventually(() => home.node.connections(target.id).length === 0, 'closed')
  t.notOk(home.gater.mayDial(target.id))
  t.ok(targets.met(target.id, { path, addresses: target.node.addresses() }))
  await targets.connectionTo(target.id, soon())
  home.gater.ban(target.id)
  t.same(home.node.connections(target.id), [])
  targets.remove(target.id)
  t.notOk(targets.met(target.id, { path, addresses: target.node.addresses() }), 'no target of ours any more')
  home.gater.unban(target.id)
  t.ok(targets.met(target.id, { path, addresses: [] }))
})

t.test('targets are few; those without a job make room, oldest first', async (t) => {
  const { home, middle, targets } = await fresh(t)
  const newId = async () => peerIdOf(await createIdentity())
  const ids = await Promise.all(Array.from({ length: MAX_TARGETS + 1 }, newId))
  const meet = (peer: string) => targets.met(peer, { path: [home.id, middle.id, peer], addresses: [] })
  for (const peer of ids.slice(0, MAX_TARGETS)) t.ok(meet(peer))
  targets.urgent(ids[0]!, true)
  t.ok(meet(ids[MAX_TARGETS]!))
  t.ok(targets.has(ids[0]!), 'a job lives there')
  t.notOk(targets.has(ids[1]!))
  t.equal(targets.through(middle.id).length, MAX_TARGETS)
  for (const peer of targets.through(middle.id)) targets.urgent(peer, true)
  t.notOk(meet(ids[1]!), 'none is idle')
})

t.test('a home that comes again replaces its dead connection at the target', async (t) => {
  const { home, target, targets, path } = await fresh(t)
  targets.met(target.id, { path, addresses: target.node.addresses() })
  const first = await targets.connectionTo(target.id, soon())
  await home.node.dial(target.node.addresses(), target.id, soon())
  await eventually(() => first.status !== 'open', 'the older is closed')
  await eventually(() => target.node.connections(home.id).length === 1, 'one is left')
  t.equal(targets.current(target.id)?.status, 'open')
})

t.test('a home whose last reason to be there ended keeps what it needs as a target', async (t) => {
  const { home, target, targets, path } = await fresh(t)
  targets.met(target.id, { path, addresses: target.node.addresses() })
  await targets.connectionTo(target.id, soon())
  home.gater.admitHome(target.id)
  target.gater.allowTarget(home.id)
  await target.node.dial(home.node.addresses(), home.id, soon())
  await eventually(() => home.node.connections(target.id).length === 2, 'each is home to the other')
  home.gater.onLost(target.id, true)
  t.equal(home.node.connections(target.id).length, 1)
  t.equal(targets.current(target.id)?.direction, 'outbound')
})
