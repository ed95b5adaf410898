import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type ControlConnection, type ControlHandler, ControlServer } from '../../src/daemon/control.ts'
import {
  CONTROL_FRAME_BYTES_MAX,
  ControlReader,
  FRAME,
  jsonFrame,
  jsonOf,
  withLength
} from '../../src/daemon/control-codec.ts'
import { KappaError } from '../../src/errors.ts'
import { dataHeader, type Frame, frameHeader } from '../../src/protocols/exec/frames.ts'

const lengthOf = (length: number) => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(length)
  return bytes
}

t.test('frames are cut out of a byte stream, however it is chopped', async (t) => {
  const sent = [
    jsonFrame(FRAME.request, { command: 'x', text: 'ü'.repeat(1_000) }),
    Buffer.concat(withLength(dataHeader(0, 1, 5), Buffer.from('bytes'))),
    Buffer.concat(withLength(frameHeader(FRAME.local, 0))),
    jsonFrame(FRAME.end, null)
  ]
  const whole = Buffer.concat(sent)
  for (const size of [1, 2, 3, 5, 7, 100, 1_000, whole.length]) {
    const reader = new ControlReader()
    const got: Frame[] = []
    for (let start = 0; start < whole.length; start += size) {
      reader.push(Buffer.from(whole.subarray(start, start + size)), (frame) => got.push(frame))
    }
    // Data comes in pieces when it arrives so, each with its own offset.
    const data = got.filter((frame) => 'bytes' in frame)
    t.same(Buffer.concat(data.map(({ bytes }) => bytes)).toString(), 'bytes', `pieces of ${size}`)
    let offset = 5
    for (const piece of data) {
      t.match(piece, { stream: 1, offset })
      offset += piece.bytes.length
    }
    const others = got.filter((frame) => !('bytes' in frame))
    t.same(
      others.map(({ type }) => type),
      [FRAME.request, FRAME.local, FRAME.end]
    )
    t.ok(got.indexOf(others[0]!) < got.indexOf(data[0]!) && got.indexOf(data.at(-1)!) < got.indexOf(others[1]!))
    t.match(jsonOf(others[0]!), { command: 'x', text: 'ü'.repeat(1_000) })
    t.equal(jsonOf(others[1]!), undefined)
  }
})

t.test('oversized and malformed frames are refused before they are held', async (t) => {
  for (const bytes of [
    lengthOf(CONTROL_FRAME_BYTES_MAX + 1),
    Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    lengthOf(0),
    Buffer.concat([lengthOf(4), Buffer.alloc(4)]),
    Buffer.concat([lengthOf(6), Buffer.from([FRAME.data, 0, 0, 0, 0, 1])])
  ]) {
    t.throws(() => new ControlReader().push(bytes, () => t.fail('no frame')), RangeError)
  }
  new ControlReader().push(lengthOf(CONTROL_FRAME_BYTES_MAX), () => t.fail('not yet'))
})

async function setUp(t: Test, handlers: Record<string, ControlHandler> = {}) {
  // The path of a socket is short, the name of a test may be long.
  const directory = mkdtempSync(join(tmpdir(), 'kappa-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const path = join(directory, 's', 'socket')
  const logged: string[] = []
  const log = { info: () => undefined, warn: (line: string) => logged.push(line), error: () => undefined }
  const server = new ControlServer(
    { version: () => ({ version: '1' }), fails: fail, ...handlers },
    log as never,
    () => undefined
  )
  await server.listen(path)
  t.teardown(() => server.close())
  return { path, server, logged }
}

function fail(): never {
  throw new KappaError('UnknownPeerError', 'who?')
}

function open(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path, () => resolve(socket))
    socket.on('error', reject)
  })
}

/** Everything that the daemon says to these bytes until it closes. */
async function answers(path: string, bytes: Buffer): Promise<Frame[]> {
  const socket = await open(path)
  const reader = new ControlReader()
  const frames: Frame[] = []
  socket.on('data', (chunk) => reader.push(chunk, (frame) => frames.push(frame)))
  socket.write(bytes)
  await new Promise((resolve) => socket.once('close', resolve))
  return frames
}

const request = (command: unknown, params: unknown = {}) => jsonFrame(FRAME.request, { command, params, version: '1' })

t.test('one request, one result or failure', async (t) => {
  const { path } = await setUp(t)
  const [result] = await answers(path, request('version'))
  t.equal(result?.type, FRAME.result)
  t.same(jsonOf(result!), { version: '1' })
  for (const [bytes, name] of [
    [request('fails'), 'UnknownPeerError'],
    [request('no-such'), 'UsageError'],
    [request('constructor'), 'UsageError'],
    [request('__proto__'), 'UsageError'],
    [request(7), 'ProtocolError'],
    [request('version', null), 'ProtocolError'],
    [jsonFrame(FRAME.signal, { number: 9 }), 'ProtocolError'],
    [jsonFrame(FRAME.request, null), 'ProtocolError'],
    [Buffer.concat(withLength(dataHeader(0, 1, 0))), 'ProtocolError']
  ] as const) {
    const frames = await answers(path, bytes)
    t.equal(frames.length, 1)
    t.equal(frames[0]!.type, FRAME.failure)
    t.match(jsonOf(frames[0]!), { name, message: String })
  }
})

t.test('garbage closes its connection, and no other', async (t) => {
  const { path, logged } = await setUp(t)
  const bystander = await open(path)
  for (const bytes of [
    Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    lengthOf(2 ** 32 - 1),
    Buffer.concat([lengthOf(1), Buffer.from('x')])
  ]) {
    t.same(await answers(path, bytes), [])
  }
  t.equal(logged.length, 3)
  const broken = Buffer.concat(withLength(frameHeader(FRAME.request, 0), Buffer.from('{"command":')))
  t.match(await answers(path, broken), [{ type: FRAME.failure }])
  t.equal(bystander.destroyed, false)
  bystander.destroy()
})

t.test('what a handler throws at a later frame ends that connection', async (t) => {
  const gone = Promise.withResolvers<void>()
  const { path } = await setUp(t, {
    run: (connection) => {
      connection.onFrame(() => fail())
      connection.onGone(gone.resolve)
    }
  })
  const frames = await answers(path, Buffer.concat([request('run'), jsonFrame(FRAME.signal, {})]))
  t.same(frames, [])
  await gone.promise
})

t.test('a client that goes away aborts what was done for it', async (t) => {
  const asked = Promise.withResolvers<ControlConnection>()
  const { path } = await setUp(t, {
    wait: (connection) => {
      asked.resolve(connection)
      return connection.ask({ need: 'digits' })
    }
  })
  const socket = await open(path)
  socket.write(request('wait'))
  const connection = await asked.promise
  const { signal } = connection
  t.equal(signal.aborted, false)
  socket.destroy()
  await new Promise((resolve) => signal.addEventListener('abort', resolve))
  t.equal(connection.gone, true)
  let late = false
  connection.onGone(() => (late = true))
  t.equal(late, true, 'who asks later learns it at once')
  connection.tell(FRAME.event, {})
})

t.test('a stale socket is replaced; at the end all clients are let go and nothing is left', async (t) => {
  const { path, server } = await setUp(t)
  await server.close()
  t.equal(existsSync(path), false)
  writeFileSync(path, 'stale')
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined }
  const next = new ControlServer({}, log, () => undefined)
  await next.listen(path)
  const socket = await open(path)
  const closed = new Promise((resolve) => socket.once('close', resolve))
  await next.close()
  await closed
})
