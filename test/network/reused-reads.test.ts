import { createConnection, createServer, type Server, Socket } from 'node:net'
import t, { type Test } from 'tap'
import { readReused } from '../../src/network/reused-reads.ts'

interface Joined {
  /** The end that a server got. */
  there: Socket
  here: Socket
}

async function joined(t: Test): Promise<Joined> {
  const server: Server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const there = new Promise<Socket>((resolve) => server.once('connection', resolve))
  const { port } = server.address() as { port: number }
  const here = createConnection({ port, host: '127.0.0.1' })
  t.teardown(() => {
    here.destroy()
    server.close()
  })
  const accepted = await there
  t.teardown(() => accepted.destroy())
  return { there: accepted, here }
}

const pattern = (length: number): Buffer => Buffer.from(Uint8Array.from({ length }, (_, index) => (index * 7) % 253))

t.test('every byte is offered in order until it is taken, and the end is told', async (t) => {
  const { there, here } = await joined(t)
  const got: Buffer[] = []
  const ended = new Promise((resolve) => there.once('end', resolve))
  // Takes whole pieces of 1000, as a reader of messages does.
  const reused = readReused(there, Buffer.alloc(4096), (bytes) => {
    const whole = bytes.length - (bytes.length % 1000)
    got.push(Buffer.from(bytes.subarray(0, whole)))
    return whole
  })
  t.ok(reused)
  there.on('data', () => t.fail('nothing is read twice'))
  const sent = pattern(300_000)
  here.end(sent)
  await ended
  t.equal(Buffer.compare(Buffer.concat(got), sent), 0)
})

t.test('a paused socket is not read', async (t) => {
  const { there, here } = await joined(t)
  let got = 0
  let wake: () => void = () => undefined
  readReused(there, Buffer.alloc(4096), (bytes) => {
    got += bytes.length
    if (got === 4096) there.pause()
    wake()
    return bytes.length
  })
  there.resume()
  here.write(pattern(4096))
  await new Promise<void>((resolve) => {
    wake = () => got === 4096 && resolve()
    wake()
  })
  await new Promise<void>((resolve) => here.write(pattern(100), () => resolve()))
  // A turn in which it would have been read.
  await new Promise((resolve) => setTimeout(resolve, 20))
  t.equal(got, 4096)
  const more = new Promise<void>((resolve) => {
    wake = resolve
  })
  there.resume()
  await more
  t.equal(got, 4196)
})

t.test('a socket without a handle goes on as it was', async (t) => {
  t.notOk(readReused(new Socket(), Buffer.alloc(4096), () => 0))
})
