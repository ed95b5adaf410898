import t from 'tap'
import { FrameStream } from '../../src/network/frames.ts'
import { OVERLAY_PROTOCOL } from '../../src/protocols/overlay/constants.ts'
import { OverlayService } from '../../src/protocols/overlay/service.ts'
import { PAIR_PROTOCOL } from '../../src/protocols/pair/constants.ts'
import { RELAY_PROTOCOL } from '../../src/protocols/relay/constants.ts'
import { RelayService } from '../../src/protocols/relay/service.ts'
import { WITHDRAW_PROTOCOL } from '../../src/protocols/withdraw/constants.ts'
import { WithdrawService } from '../../src/protocols/withdraw/service.ts'
import { eventually } from '../protocols/overlay/peers.ts'
import { machine } from '../protocols/pair/machines.ts'
import { startNode } from './nodes.ts'

const EXEC = '/kappa/exec-test/1.0.0'
const soon = (): AbortSignal => AbortSignal.timeout(10_000)

/** A machine that answers everything that a daemon answers. */
async function target(t: Parameters<typeof machine>[0]) {
  const made = await machine(t, 'target')
  const { node } = made
  const overlay = new OverlayService({
    node,
    name: 'target',
    epoch: 1,
    version: '1.2.3',
    onTooFar: () => undefined,
    onUp: () => t.fail('a home that is no neighbour came up'),
    onDown: () => undefined,
    onMessage: () => t.fail('a home that is no neighbour was heard'),
    onRoundTrip: () => undefined,
    log: () => undefined
  })
  await overlay.start()
  await new RelayService({ node, neighbour: () => undefined, forwards: () => true }).start()
  await new WithdrawService({
    node,
    ownNeighbours: () => [],
    onWithdrawn: () => t.fail('a home that is no neighbour was believed'),
    log: () => undefined
  }).start()
  await node.handle(EXEC, { rights: ['own', 'friend', 'home'], maxStreams: 1 }, (stream) => {
    new FrameStream(stream, { maxFrameBytes: 16 }).send(Buffer.from('served'))
  })
  return made
}

t.test('a home that others vouched for may use exec alone', async (t) => {
  const [at, home] = [await target(t), await startNode(t)]
  at.gater.admitHome(home.id)
  home.gater.allowTarget(at.node.peerId)
  const connection = await home.node.dial(at.node.addresses(), at.node.peerId, soon())
  const ask = async (protocol: string): Promise<unknown> => {
    const stream = await home.node.openStream(connection, protocol, soon())
    const frames = new FrameStream(stream, { maxFrameBytes: 1024 })
    frames.send(Buffer.from([0xa0]))
    return (await frames.frames(soon()).next()).value?.toString()
  }
  for (const protocol of [PAIR_PROTOCOL, OVERLAY_PROTOCOL, RELAY_PROTOCOL, WITHDRAW_PROTOCOL]) {
    await t.rejects(ask(protocol), { name: 'NetworkError' }, protocol)
  }
  t.equal(await ask(EXEC), Buffer.from('served').toString())
  at.gater.dropHome(home.id)
  t.equal(connection.status, 'open', 'it may come with another ticket')
  at.gater.ban(home.id)
  await eventually(() => connection.status !== 'open', 'not when it is banned')
})

t.test('without a ticket it is a stranger, closed before any protocol', async (t) => {
  const [at, home] = [await target(t), await startNode(t)]
  let opened = 0
  at.node.libp2p.addEventListener('connection:open', () => opened++)
  home.gater.allowTarget(at.node.peerId)
  // Who dials is done with its part of the handshake first.
  const connection = await home.node.dial(at.node.addresses(), at.node.peerId, soon()).catch(() => undefined)
  await eventually(() => connection?.status !== 'open', 'it is closed')
  t.equal(opened, 0)
})
