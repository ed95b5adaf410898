import t from 'tap'
import { FrameStream } from '../../src/network/frames.ts'
import {
  Gater,
  HOME_LINGER_MS,
  MAX_BANS,
  MAX_HOMES,
  MAX_INBOUND_PER_PEER,
  MAX_STRANGERS,
  MAX_TARGETS
} from '../../src/network/gater.ts'
import { createIdentity, libp2pPeerId, peerIdOf } from '../../src/network/identity.ts'
import { MemoryPairings, pairNodes, startNode, type TestNode } from './nodes.ts'

const PROTOCOL = '/kappa/gater-test/1.0.0'
const soon = (): AbortSignal => AbortSignal.timeout(10_000)

/** Dials and waits for what the other side makes of it: `open` when it answers a stream, else `closed`. */
async function knock(from: TestNode, at: TestNode): Promise<'open' | 'closed'> {
  using _ = from.gater.allowDial(at.id)
  try {
    const connection = await from.node.dial(at.node.addresses(), at.id, soon())
    const stream = await from.node.openStream(connection, '/ipfs/id/1.0.0', soon())
    stream.abort(new Error('seen enough'))
    return 'open'
  } catch {
    return 'closed'
  }
}

t.test('a stranger is closed before any protocol is negotiated', async (t) => {
  const a = await startNode(t)
  const stranger = await startNode(t)
  let opened = 0
  a.node.libp2p.addEventListener('connection:open', () => opened++)
  t.equal(await knock(stranger, a), 'closed')
  t.equal(opened, 0, 'no connection came to be on this side')
  t.equal(a.gater.rightOf(stranger.id), undefined)
})

t.test('while pairing is open a stranger may use the pair protocol alone; then it is closed', async (t) => {
  const a = await startNode(t)
  const stranger = await startNode(t)
  const handled: string[] = []
  await a.node.handle('/kappa/pair-test/1.0.0', { rights: ['stranger'], maxStreams: 1 }, (_, peer) => {
    handled.push(peer)
  })
  await a.node.handle(PROTOCOL, { rights: ['own', 'friend', 'home'], maxStreams: 1 }, () => {
    t.fail('a stranger got in')
  })
  const pairing = a.gater.openPairing()
  t.equal(a.gater.rightOf(stranger.id), 'stranger')
  using _ = stranger.gater.allowDial(a.id)
  const connection = await stranger.node.dial(a.node.addresses(), a.id, soon())
  await stranger.node.openStream(connection, '/kappa/pair-test/1.0.0', soon())
  const refused = await stranger.node.openStream(connection, PROTOCOL, soon())
  await t.rejects(new FrameStream(refused, { maxFrameBytes: 1 }).frames().next(), { name: 'NetworkError' })
  t.same(handled, [stranger.id])
  const closed = new Promise((resolve) => connection.addEventListener('close', resolve))
  pairing.close()
  pairing.close()
  await closed
  t.equal(await knock(stranger, a), 'closed')
})

t.test('strangers are few, and so are the connections of one peer', async (t) => {
  const pairings = new MemoryPairings()
  const gater = new Gater({ pairings, banned: [] })
  using _ = gater.openPairing()
  const { denyInboundEncryptedConnection: deny } = gater.callbacks()
  const closers: (() => void)[] = []
  const connection = () => ({ addEventListener: (_: string, listener: () => void) => closers.push(listener) }) as never
  const newPeer = async () => libp2pPeerId(peerIdOf(await createIdentity()))
  for (let i = 0; i < MAX_STRANGERS; i++) t.equal(deny?.(await newPeer(), connection()), false)
  t.equal(deny?.(await newPeer(), connection()), true)
  closers[0]?.()
  t.equal(deny?.(await newPeer(), connection()), false)
  const friend = await newPeer()
  pairings.pair(friend.toString())
  for (let i = 0; i < MAX_INBOUND_PER_PEER; i++) t.equal(deny?.(friend, connection()), false)
  t.equal(deny?.(friend, connection()), true)
  closers.at(-1)?.()
  t.equal(deny?.(friend, connection()), false)
})

t.test('paired peers come in with their kind; pending and banned ones do not', async (t) => {
  const a = await startNode(t)
  const b = await startNode(t)
  pairNodes(a, b)
  t.equal(await knock(b, a), 'open')
  t.equal(a.gater.rightOf(b.id), 'own')
  a.pairings.pair(b.id, { kind: 'friend' })
  t.equal(a.gater.rightOf(b.id), 'friend')
  t.ok(a.gater.isPaired(b.id))
  a.pairings.pair(b.id, { state: 'pending' })
  t.equal(a.gater.rightOf(b.id), 'stranger', 'for the pair protocol to settle it')
  t.notOk(a.gater.isPaired(b.id))
  a.pairings.pair(b.id)
  a.gater.ban(b.id)
  t.equal(a.node.connections(b.id).length, 0, 'closed at once')
  t.equal(a.gater.rightOf(b.id), undefined)
  t.equal(await knock(b, a), 'closed')
  t.same(a.gater.bans(), [b.id])
  a.gater.unban(b.id)
  t.equal(await knock(b, a), 'open')
})

t.test('a home comes in while it has something here and ten minutes longer', async (t) => {
  withClock((gater, clock) => {
    const lost: string[] = []
    gater.onLost = (peer) => lost.push(peer)
    t.ok(gater.admitHome('home'))
    t.ok(gater.admitHome('home'))
    t.equal(gater.rightOf('home'), 'home')
    gater.dropHome('home')
    clock(HOME_LINGER_MS * 2)
    t.equal(gater.rightOf('home'), 'home', 'one reason is left')
    gater.dropHome('home')
    gater.dropHome('home')
    clock(HOME_LINGER_MS - 1)
    t.equal(gater.rightOf('home'), 'home')
    t.ok(gater.admitHome('home'), 'a new ticket')
    clock(HOME_LINGER_MS)
    gater.dropHome('home')
    clock(HOME_LINGER_MS)
    t.equal(gater.rightOf('home'), undefined)
    t.same(lost, ['home'])
    gater.dropHome('home')
  })
})

t.test('homes are few; idle ones make room', async (t) => {
  withClock((gater) => {
    for (let i = 0; i < MAX_HOMES; i++) t.equal(gater.admitHome(`home${i}`), true)
    t.equal(gater.admitHome('more'), false)
    gater.dropHome('home7')
    t.equal(gater.admitHome('more'), true)
    t.equal(gater.rightOf('home7'), undefined)
    gater.stop()
    t.equal(gater.rightOf('more'), undefined)
  })
})

t.test('a target may be dialled and has no right here; few are, and none that is banned', async (t) => {
  const gater = new Gater({ pairings: new MemoryPairings(), banned: ['banned'] })
  const lost: [string, boolean][] = []
  gater.onLost = (peer, mayDial) => lost.push([peer, mayDial])
  t.equal(gater.allowTarget('banned'), false)
  const gate = gater.allowTarget('target0')
  if (gate === false) throw new Error('not allowed')
  t.equal(gater.allowTarget('target0'), false, 'it is one already')
  t.equal(gater.rightOf('target0'), undefined)
  t.ok(gater.mayDial('target0'))
  for (let i = 1; i < MAX_TARGETS; i++) t.ok(gater.allowTarget(`target${i}`))
  t.equal(gater.allowTarget('more'), false)
  gater.admitHome('target0')
  gater.ban('target1')
  t.notOk(gater.mayDial('target1'))
  gate.close()
  gate.close()
  t.equal(gater.rightOf('target0'), 'home', 'as a home it may stay')
  t.ok(gater.allowTarget('more'))
  t.same(lost, [['target1', false]])
})

t.test('a home has one connection: its newest', async (t) => {
  const gater = new Gater({ pairings: new MemoryPairings(), banned: [] })
  const { denyInboundEncryptedConnection: deny } = gater.callbacks()
  const home = libp2pPeerId(peerIdOf(await createIdentity()))
  const ended: number[] = []
  const connection = (number: number) => {
    const closers: (() => void)[] = []
    return {
      addEventListener: (_: string, listener: () => void) => closers.push(listener),
      abort: () => {
        ended.push(number)
        for (const close of closers) close()
      }
    } as never
  }
  t.equal(deny?.(home, connection(0)), true, 'without a reason it is a stranger')
  gater.admitHome(home.toString())
  for (let number = 1; number <= 3; number++) t.equal(deny?.(home, connection(number)), false)
  t.same(ended, [1, 2])
  gater.dropHome(home.toString())
  gater.stop()
})

t.test('bans are bounded, oldest out first', async (t) => {
  const gater = new Gater({ pairings: new MemoryPairings(), banned: ['old'] })
  t.equal(gater.admitHome('old'), false)
  for (let i = 0; i < MAX_BANS; i++) gater.ban(`peer${i}`)
  t.equal(gater.bans().length, MAX_BANS)
  t.notOk(gater.bans().includes('old'))
})

t.test('dialling someone unpaired needs a person who asked for it, and lasts as long', async (t) => {
  const a = await startNode(t)
  const b = await startNode(t)
  using _ = b.gater.openPairing()
  const window = a.gater.openPairing()
  await a.node.dial(b.node.addresses(), undefined, soon())
  window.close()
  t.equal(a.node.connections(b.id).length, 0)
  await t.rejects(a.node.dial(b.node.addresses(), b.id, soon()), { name: 'UnreachableError' })
  await t.rejects(a.node.dial(b.node.addresses(), undefined, soon()), { name: 'UnreachableError' })
})

/** A gater whose timers a test moves; nothing else runs meanwhile. */
function withClock(run: (gater: Gater, clock: (ms: number) => void) => void): void {
  const timers = new Map<object, { at: number; action: () => void }>()
  let now = 0
  const clock = (ms: number): void => {
    now += ms
    for (const [handle, { at, action }] of timers) {
      if (at > now) continue
      timers.delete(handle)
      action()
    }
  }
  const { setTimeout, clearTimeout } = globalThis
  try {
    Object.assign(globalThis, {
      setTimeout: (action: () => void, ms: number) => {
        const handle = { unref: () => handle }
        timers.set(handle, { at: now + ms, action })
        return handle
      },
      clearTimeout: (handle: object) => timers.delete(handle)
    })
    run(new Gater({ pairings: new MemoryPairings(), banned: [] }), clock)
  } finally {
    Object.assign(globalThis, { setTimeout, clearTimeout })
  }
}
