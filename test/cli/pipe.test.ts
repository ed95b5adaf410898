import { execFileSync, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { closeSync, constants, openSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { isTerminal, Pipe } from '../../src/cli/pipe.ts'

async function serving(t: Test, serve: (socket: Socket) => void): Promise<string> {
  const path = join(t.testdir(), 's')
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => serve(socket.on('error', () => undefined)))
  await new Promise<void>((resolve) => server.listen(path, resolve))
  t.teardown(() => server.close())
  return path
}

/** Everything that comes, when the end does. */
function gathered(pipe: Pipe): Promise<Buffer> {
  const parts: Buffer[] = []
  return new Promise((resolve, reject) =>
    pipe.read(
      (bytes) => parts.push(bytes),
      (error) => (error ? reject(error) : resolve(Buffer.concat(parts)))
    )
  )
}

t.test('bytes go and come whole and in order', async (t) => {
  const sent = Array.from({ length: 40 }, (_, index) => randomBytes(index * 7_919))
  const whole = Buffer.concat(sent)
  const path = await serving(t, (socket) => {
    let received = 0
    socket.on('data', (bytes) => {
      received += bytes.length
      if (!socket.write(bytes)) {
        socket.pause()
        socket.once('drain', () => socket.resume())
      }
      if (received === whole.length) socket.end()
    })
  })
  const pipe = await Pipe.connect(path)
  const came = gathered(pipe)
  let taken = 0
  for (let index = 0; index < sent.length; index += 4) pipe.write(sent.slice(index, index + 4), () => taken++)
  t.ok((await came).equals(whole))
  t.equal(taken, 10)
  t.equal(pipe.closed, true)
})

t.test('nothing comes while it is paused', async (t) => {
  const path = await serving(t, (socket) => socket.end(Buffer.alloc(1_000_000)))
  const pipe = await Pipe.connect(path)
  let received = 0
  let paused = false
  await new Promise<void>((resolve) =>
    pipe.read(
      (bytes) => {
        t.equal(paused, false)
        received += bytes.length
        paused = true
        pipe.pause()
        setTimeout(() => {
          paused = false
          pipe.resume()
        }, 1)
      },
      () => resolve()
    )
  )
  t.equal(received, 1_000_000)
})

t.test("the system's errors are told", async (t) => {
  const directory = t.testdir()
  await t.rejects(Pipe.connect(join(directory, 'nothing')), { code: 'ENOENT' })
  const left = join(directory, 'left')
  spawnSync(process.execPath, ['-e', `require('net').createServer().listen(${JSON.stringify(left)}, process.abort)`])
  await t.rejects(Pipe.connect(left), { code: 'ECONNREFUSED' })
  await t.rejects(
    Promise.resolve().then(() => Pipe.open(2 ** 20)),
    { code: 'EBADF' }
  )
})

t.test('writing where nobody reads any more fails', async (t) => {
  const fifo = join(t.testdir(), 'fifo')
  execFileSync('mkfifo', [fifo])
  const reader = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK)
  const pipe = Pipe.open(openSync(fifo, constants.O_WRONLY | constants.O_NONBLOCK))
  const write = () => new Promise((resolve) => pipe.write([Buffer.from('x')], resolve))
  t.equal(await write(), undefined)
  closeSync(reader)
  t.match(await write(), { code: 'EPIPE' })
  pipe.close()
  t.match(await write(), { code: 'EPIPE' })
})

t.test('the end is told once, also after closing', async (t) => {
  const path = await serving(t, () => undefined)
  const pipe = await Pipe.connect(path)
  let ends = 0
  const ended = new Promise<void>((resolve) =>
    pipe.read(
      () => t.fail('nothing was sent'),
      (error) => {
        t.equal(error, undefined)
        ends++
        setImmediate(resolve)
      }
    )
  )
  pipe.close()
  pipe.close()
  t.equal(ends, 0, 'not before close returns')
  await ended
  t.equal(ends, 1)
})

t.test('a terminal is told from what is none', async (t) => {
  const file = openSync('/dev/null', 'r')
  t.equal(isTerminal(file), false)
  closeSync(file)
  t.equal(isTerminal(file), false)
})
