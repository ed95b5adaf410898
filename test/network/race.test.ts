import { EventEmitter } from 'node:events'
import { syncBuiltinESMExports } from 'node:module'
import net, { createServer } from 'node:net'
import t, { type Test } from 'tap'
import { reachable } from '../../src/network/race.ts'

async function listening(t: Test): Promise<string> {
  const server = createServer((socket) => socket.on('error', () => undefined)).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  t.teardown(() => server.close())
  return `/ip4/127.0.0.1/tcp/${(server.address() as net.AddressInfo).port}`
}

async function found(addresses: string[], ms = 10_000): Promise<string[]> {
  const all: string[] = []
  for await (const address of reachable(addresses, AbortSignal.timeout(ms))) all.push(address)
  return all
}

/** A connection that gets no answer. */
class SilentSocket extends EventEmitter {
  destroyed = false
  destroy(): void {
    this.destroyed = true
  }
}

/** The first connections to a port get no answer. */
function silence(t: Test, port: string, count: number): SilentSocket[] {
  const { connect } = net
  const silent: SilentSocket[] = []
  net.connect = ((options: { port: number }) => {
    if (String(options.port) !== port || silent.length >= count) return connect(options)
    silent.push(new SilentSocket())
    return silent.at(-1)
  }) as typeof connect
  syncBuiltinESMExports()
  t.teardown(() => {
    net.connect = connect
    syncBuiltinESMExports()
  })
  return silent
}

t.test('those that answer, each once; those that refuse cost no time', async (t) => {
  const [a, b] = [await listening(t), await listening(t)]
  t.same((await found([a, '/ip4/127.0.0.1/tcp/1', b, a])).toSorted(), [a, b].toSorted())
  t.same(await found(['/ip4/127.0.0.1/tcp/1']), [])
  t.same(await found([]), [])
})

t.test('a first packet that is lost is not waited for', async (t) => {
  const address = await listening(t)
  const silent = silence(t, address.split('/').at(-1)!, 2)
  t.same(await found([address]), [address])
  t.equal(silent.length, 2)
  t.ok(
    silent.every(({ destroyed }) => destroyed),
    'nothing stays open'
  )
})

t.test('nobody answers: it ends with the signal', async (t) => {
  const address = await listening(t)
  const silent = silence(t, address.split('/').at(-1)!, 99)
  const signal = AbortSignal.timeout(150)
  // As real ones end.
  signal.addEventListener('abort', () => silent[0]!.emit('error', signal.reason))
  const result: string[] = []
  for await (const each of reachable([address], signal)) result.push(each)
  t.same(result, [])
  t.ok(silent.length <= 2)
})
