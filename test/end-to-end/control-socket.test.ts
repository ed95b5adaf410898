import { randomBytes } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { CONTROL_FRAME_BYTES_MAX, ControlReader, FRAME, jsonFrame, jsonOf } from '../../src/daemon/control-codec.ts'
import { TestPeer, until } from './peers.ts'

const peer = await TestPeer.start(t, { name: 'desktop' })
const path = join(peer.directory, 'run/socket')

/** What the daemon says to these bytes until it closes the connection, or until it was silent for a while. */
async function say(...chunks: Buffer[]): Promise<{ closed: boolean; answers: { type: number; value: unknown }[] }> {
  const socket = connect(path)
  const answers: { type: number; value: unknown }[] = []
  const reader = new ControlReader()
  socket.on('data', (chunk: Buffer) =>
    reader.push(chunk, (frame) => answers.push({ type: frame.type, value: jsonOf(frame) }))
  )
  const closed = new Promise<boolean>((resolve) => socket.on('close', () => resolve(true)).on('error', () => undefined))
  for (const chunk of chunks) socket.write(chunk)
  const silent = new Promise<boolean>((resolve) => setTimeout(resolve, 300, false))
  const result = { closed: await Promise.race([closed, silent]), answers }
  socket.destroy()
  return result
}

const ask = (command: unknown, params: unknown) => jsonFrame(FRAME.request, { command, params, version: '0.0.0' })
const length = (bytes: number) => {
  const header = Buffer.alloc(4)
  header.writeUInt32BE(bytes)
  return header
}

t.test('bytes that are no frames', async (t) => {
  for (const [what, chunks] of Object.entries({
    'random bytes': [Buffer.concat([length(0xffffffff), randomBytes(100_000)])],
    'a frame that is too long': [length(CONTROL_FRAME_BYTES_MAX + 1), Buffer.alloc(100)],
    'frames without a type': [length(0), length(0)],
    'a data frame that is cut off': [length(6), Buffer.from([16, 0, 0, 0, 0, 1])]
  })) {
    t.match(await say(...chunks), { closed: true, answers: [] }, what)
  }
  t.match(await say(length(1000)), { closed: false, answers: [] }, 'a frame that never comes')
})

t.test('frames that are no requests', async (t) => {
  const failure = (name: string) => ({
    closed: true,
    answers: [{ type: FRAME.failure, value: { name, message: String } }]
  })
  for (const [what, bytes, name] of [
    [
      'not JSON',
      Buffer.concat([length(8), Buffer.from([FRAME.request, 0, 0, 0, 0]), Buffer.from('{{{')]),
      'ProtocolError'
    ],
    ['another frame', jsonFrame(FRAME.signal, { number: 9 }), 'ProtocolError'],
    ['no command', ask(undefined, {}), 'ProtocolError'],
    ['no parameters', ask('status', null), 'ProtocolError'],
    ['a number', jsonFrame(FRAME.request, 5), 'ProtocolError'],
    ['null', jsonFrame(FRAME.request, null), 'ProtocolError'],
    ['an unknown command', ask('format', {}), 'UsageError'],
    ['a name that every object has', ask('constructor', {}), 'UsageError'],
    ['another one', ask('__proto__', {}), 'UsageError']
  ] as const) {
    t.match(await say(bytes), failure(name), what)
  }
})

t.test('requests with wrong parameters', async (t) => {
  const run = {
    argv: ['true'],
    env: [],
    cwd: '/',
    umask: 0,
    nice: 0,
    limits: [],
    options: {},
    ins: false,
    outs: [],
    outAlways: false,
    terminal: false,
    pid: 1
  }
  for (const [command, params] of [
    ['run', {}],
    ['run', { ...run, argv: [] }],
    ['run', { ...run, argv: 'true' }],
    ['run', { ...run, argv: [5] }],
    ['run', { ...run, options: { on: 'desktop' } }],
    ['run', { ...run, options: { cores: -1 } }],
    ['run', { ...run, options: { cores: 'many' } }],
    ['run', { ...run, options: { memoryBytes: null, on: [7] } }],
    ['run', { ...run, pid: 'me' }],
    ['peer-set', {}],
    ['peer-set', { peer: 5 }],
    ['unpair', {}],
    ['why', { job: 5 }],
    ['kill', { job: [] }],
    ['pause', { forMs: 'long' }],
    ['pair-accept', { kind: 'enemy', link: 7 }],
    ['pair-join', {}]
  ] as const) {
    const { answers } = await say(ask(command, params))
    const [answer] = answers
    t.ok(
      answer?.type === FRAME.failure && (answer.value as { name: string }).name !== 'DaemonError',
      `${command} ${JSON.stringify(params).slice(0, 60)}: ${JSON.stringify(answer?.value)}`
    )
  }
})

t.test('clients that come and go, and many that stay', async (t) => {
  const stay = await Promise.all(
    Array.from(
      { length: 300 },
      () =>
        new Promise<Socket>((resolve) => {
          const socket: Socket = connect(path, () => resolve(socket))
        })
    )
  )
  for (const socket of stay) socket.write(length(100))
  t.equal((await peer.status()).name, 'desktop', 'the others are served')
  for (const socket of stay) socket.destroy()
  for (let index = 0; index < 50; index++) {
    const socket = connect(path)
    socket.on('error', () => undefined)
    socket.write(ask('status', {}).subarray(0, index))
    socket.destroy()
  }
  const descriptors = () => readdirSync(`/proc/${peer.daemon.pid}/fd`).length
  await until('all are forgotten', () => descriptors() < 100)
  t.match(await peer.kappa(['run', 'echo', 'here']), { code: 0, stdout: 'here\n' })
})

t.test('after all that', async (t) => {
  t.equal(peer.daemon.exitCode, null)
  const jobs = await peer.jobs()
  t.same(
    jobs.filter(({ state }) => state !== 'exited' && state !== 'lost'),
    [],
    'no job hangs on'
  )
  t.notMatch(peer.log(), / error /, 'nothing that looks like a bug')
})
