import { randomBytes } from 'node:crypto'
import { connect } from 'node:net'
import t from 'tap'
import { hostAndPort } from '../../src/network/addresses.ts'
import { EXEC_PROTOCOL } from '../../src/protocols/exec/constants.ts'
import { OVERLAY_PROTOCOL } from '../../src/protocols/overlay/constants.ts'
import { PAIR_PROTOCOL } from '../../src/protocols/pair/constants.ts'
import { pair, Talk, TestPeer } from './peers.ts'
import { Rogue } from './rogue.ts'

const SOON_MS = 10_000
const PROTOCOLS = [OVERLAY_PROTOCOL, EXEC_PROTOCOL, PAIR_PROTOCOL, '/ipfs/id/1.0.0', '/ipfs/ping/1.0.0']

const [desktop, laptop] = await Promise.all([
  TestPeer.start(t, { name: 'desktop' }),
  TestPeer.start(t, { name: 'laptop' })
])
await pair(desktop, laptop)
const stranger = await Rogue.start(t, 'stranger')
const { peerId, addresses } = await desktop.status()
stranger.node.gater.allowDial(peerId)

/** Dials anew and opens a stream of the protocol; the error's message when that fails, as it should. */
async function knock(protocol: string): Promise<string | undefined> {
  const signal = AbortSignal.timeout(SOON_MS)
  try {
    const connection = await stranger.node.dial(addresses, peerId, signal)
    try {
      const stream = await stranger.node.openStream(connection, protocol, signal)
      // A stream may seem open until the first answer; of a protocol nothing is ever said.
      const ended = new Promise((resolve) => {
        stream.addEventListener('close', resolve)
        if (stream.status !== 'open') resolve(undefined)
      })
      stream.send(Buffer.from([0, 0, 0, 1, 0]))
      const said = new Promise((resolve) => stream.addEventListener('message', resolve))
      const first = await Promise.race([ended.then(() => 'ended'), said.then(() => 'said something')])
      return first === 'ended' ? 'the stream was ended' : undefined
    } finally {
      connection.abort(new Error('tried'))
    }
  } catch (error) {
    return (error as Error).message
  }
}

async function works(): Promise<void> {
  const run = await laptop.there(desktop, ['echo', 'fine'])
  if (run.stdout !== 'fine\n') throw new Error(`a paired machine is not served: ${run.stderr}`)
}

t.test('a stranger is turned away from every protocol', async (t) => {
  for (const protocol of PROTOCOLS) t.match(await knock(protocol), String, protocol)
  await works()
})

t.test('while pairing is open a stranger may pair, and nothing else', async (t) => {
  const waiting = new Talk(desktop.spawn(['pair']))
  await waiting.hears(/Waiting/)
  for (const protocol of [OVERLAY_PROTOCOL, EXEC_PROTOCOL]) t.match(await knock(protocol), String, protocol)
  await works()
  waiting.child.kill('SIGINT')
  await waiting.ended
  t.match(await knock(PAIR_PROTOCOL), String, 'and not that when it is closed')
})

t.test('whoever does not even speak the transport', async (t) => {
  const { host, port } = hostAndPort(addresses[0]!)
  const ends = Array.from({ length: 40 }, (_, index) => {
    const socket = connect(port, host)
    socket.on('error', () => undefined)
    // Every other one says nothing at all.
    if (index % 2 === 0) socket.write(randomBytes(100_000))
    return new Promise((resolve) => socket.on('close', resolve))
  })
  await works()
  await Promise.all(ends)
  t.pass('all were closed')
  await works()
})
