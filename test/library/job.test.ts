import { once } from 'node:events'
import t, { type Test } from 'tap'
import type { ControlConnection } from '../../src/daemon/control.ts'
import { FRAME, jsonOf, type RunEnd, type RunParams } from '../../src/daemon/control-codec.ts'
import { connect, type Peer } from '../../src/index.ts'
import { ackFrame, closeFrame, dataHeader, eofFrame, type Frame } from '../../src/protocols/exec/frames.ts'
import { fakeDaemon } from '../cli/fake-daemon.ts'

interface Asked {
  peer: Peer
  params: RunParams[]
}

/** A peer whose jobs go as the script says. */
async function setUp(t: Test, script: (connection: ControlConnection) => void): Promise<Asked> {
  const params: RunParams[] = []
  const directory = await fakeDaemon(t, {
    status: () => ({ name: 'here', peerId: 'id' }),
    run: (connection, asked) => {
      params.push(asked as RunParams)
      script(connection)
    }
  })
  const peer = await connect({ directory })
  t.teardown(() => peer.stop())
  return { peer, params }
}

function started(connection: ControlConnection): void {
  connection.tell(FRAME.started, { id: 'j1', kind: 'own', name: 'there' })
}

function end(connection: ControlConnection, how: Partial<RunEnd>): void {
  connection.tell(FRAME.end, { exitCode: null, signal: null, ...how })
}

t.test('a job elsewhere: what is asked for, where it is, what it wrote and how it ended', async (t) => {
  const { peer, params } = await setUp(t, (connection) => {
    started(connection)
    connection.send(dataHeader(0, 1, 0), Buffer.from('out'))
    connection.send(dataHeader(0, 2, 0), Buffer.from('err'))
    connection.send(eofFrame(0, 1, 3))
    end(connection, { exitCode: 3 })
  })
  const job = peer.run(['make', 'é'], { plain: true, on: ['there'], cores: 4, env: { A: 'ü' }, timeoutMs: 9_000 })
  t.same(await job.placed, { id: 'j1', machine: 'there', isHere: false })
  t.match(await job.output(), {
    id: 'j1',
    machine: 'there',
    isHere: false,
    exitCode: 3,
    signal: null,
    isTimedOut: false,
    stdout: Buffer.from('out'),
    stderr: Buffer.from('err')
  })
  t.match(params[0], {
    argv: ['make', Buffer.from('é').toString('latin1')],
    env: [`A=${Buffer.from('ü').toString('latin1')}`],
    cwd: process.cwd(),
    options: { plain: true, on: ['there'], cores: 4, timeoutMs: 9_000 },
    ins: false,
    outs: [],
    terminal: false,
    pid: process.pid
  })
})

t.test('what kappa itself could not do is an error with its name', async (t) => {
  const cases: [Partial<RunEnd>, { name: string; message?: string }][] = [
    [
      { status: 125, message: 'nobody' },
      { name: 'NothingRanError', message: 'nobody' }
    ],
    [
      { status: 123, message: 'it is lost' },
      { name: 'LostError', message: 'it is lost' }
    ],
    [{ exitCode: 127, status: 127, message: 'x: command not found (on there)' }, { name: 'CommandNotFoundError' }],
    [{ exitCode: 126, status: 126, message: 'x: permission denied' }, { name: 'NotExecutableError' }],
    [
      { exitCode: 0, status: 1, message: 'out.txt is missing' },
      { name: 'StagingError', message: 'out.txt is missing' }
    ]
  ]
  for (const [how, expected] of cases) {
    const { peer } = await setUp(t, (connection) => {
      started(connection)
      end(connection, how)
    })
    await t.rejects(peer.run(['x']).ended, expected)
  }
  const { peer: timed } = await setUp(t, (connection) => {
    started(connection)
    end(connection, { signal: 'SIGTERM', status: 124 })
  })
  t.match(await timed.run(['x']).ended, { signal: 'SIGTERM', isTimedOut: true })
  const { peer: refused } = await setUp(t, (connection) => {
    connection.tell(FRAME.failure, { name: 'UnknownPeerError', message: 'no such peer' })
  })
  const job = refused.run(['x'])
  await t.rejects(job.placed, { name: 'UnknownPeerError' })
  await t.rejects(job.output(), { name: 'UnknownPeerError', message: 'no such peer' })
  await t.rejects(refused.run([]).ended, { name: 'UsageError' })
  await t.rejects(refused.run(['x'], { cwd: '/no/such' }).ended, { name: 'UsageError', message: /no directory/ })
})

t.test('nothing is acknowledged before it was read, and a reader that goes is told', async (t) => {
  const acknowledged: number[] = []
  const told = Promise.withResolvers<void>()
  const { peer } = await setUp(t, (connection) => {
    started(connection)
    connection.onFrame((frame: Frame) => {
      if (frame.type === FRAME.ack && 'received' in frame) acknowledged.push(frame.received)
      if (frame.type === FRAME.close) told.resolve()
    })
    for (let offset = 0; offset < 8 * 65_536; offset += 65_536) {
      connection.send(dataHeader(0, 1, offset), Buffer.alloc(65_536, 'x'))
    }
    // Behind all of that.
    connection.send(dataHeader(0, 2, 0), Buffer.from('!'))
  })
  const job = peer.run(['yes'])
  await once(job.stderr, 'readable')
  t.ok(
    acknowledged.every((received) => received <= 65_536),
    'nobody has read: no more than a buffer'
  )
  let bytes = 0
  for await (const chunk of job.stdout) {
    bytes += chunk.length
    if (bytes === 8 * 65_536) break
  }
  await told.promise
  t.equal(acknowledged.at(-1), 8 * 65_536)
})

t.test('stdin goes no further than there is room', async (t) => {
  const received: Buffer[] = []
  const rooms = [300_000, 1_000_000]
  const { peer } = await setUp(t, (connection) => {
    started(connection)
    connection.onFrame((frame: Frame) => {
      if (frame.type === FRAME.data && 'bytes' in frame) {
        received.push(Buffer.from(frame.bytes))
        const total = received.reduce((sum, { length }) => sum + length, 0)
        if (total === 256 * 1024 || total === 300_000) connection.send(ackFrame(0, 0, total, rooms.shift()!))
      } else if (frame.type === FRAME.eof) end(connection, { exitCode: 0 })
    })
  })
  const input = Buffer.alloc(700_000, 'abc')
  t.match(await peer.run(['wc'], { stdin: [input.subarray(0, 1), input.subarray(1)].values() as never }).output(), {
    exitCode: 0
  })
  t.ok(Buffer.concat(received).equals(input))
  t.same(rooms, [])
})

t.test('a source of stdin that fails ends the job', async (t) => {
  const gone = Promise.withResolvers<void>()
  const { peer } = await setUp(t, (connection) => {
    connection.onGone(() => gone.resolve())
    started(connection)
  })
  async function* broken() {
    yield 'some'
    throw new Error('the source broke')
  }
  await t.rejects(peer.run(['wc'], { stdin: broken() }).ended, { message: 'the source broke' })
  await gone.promise
})

t.test('a request that waits is given up by an abort', async (t) => {
  const directory = await fakeDaemon(t, {
    status: () => ({ name: 'here', peerId: 'id' }),
    peers: () => new Promise(() => undefined)
  })
  const peer = await connect({ directory })
  const controller = new AbortController()
  const asked = peer.peers({ signal: controller.signal })
  controller.abort(new Error('enough'))
  await t.rejects(asked, { message: 'enough' })
  await t.rejects(connect({ directory, signal: controller.signal }), { message: 'enough' })
  await peer.stop()
})

t.test('a job that reads no more lets its writer go', async (t) => {
  const { peer } = await setUp(t, (connection) => {
    started(connection)
    connection.onFrame((frame: Frame) => {
      if (frame.type !== FRAME.data) return
      connection.send(closeFrame(0, 0))
      end(connection, { exitCode: 0 })
    })
  })
  const job = peer.run(['head', '-c1'], { stdin: 'pipe' })
  job.stdin.write('x')
  await once(job.stdin, 'close')
  t.match(await job.ended, { exitCode: 0 })
})

t.test('a job here is a child with its own streams', async (t) => {
  const told: object[] = []
  const over = Promise.withResolvers<void>()
  const { peer } = await setUp(t, (connection) => {
    connection.tell(FRAME.local, { id: 'j2' })
    connection.onFrame((frame: Frame) => {
      told.push(jsonOf(frame) as object)
      if (frame.type === FRAME.localEnded) over.resolve()
    })
  })
  const cwd = t.testdir({})
  const job = peer.run(['sh', '-c', 'pwd; echo "$A" >&2; cat; exit 4'], {
    cwd,
    env: { PATH: process.env.PATH, A: 'b' },
    stdin: 'read'
  })
  t.match(await job.output(), {
    id: 'j2',
    machine: 'here',
    isHere: true,
    exitCode: 4,
    stdout: Buffer.from(`${cwd}\nread`),
    stderr: Buffer.from('b\n')
  })
  await over.promise
  t.match(told, [{ pid: Number }, { exitCode: 4, signal: null }])
  await t.rejects(peer.run(['no-such-command-here']).ended, {
    name: 'CommandNotFoundError',
    message: 'no-such-command-here: command not found'
  })
  t.match(await peer.run(['sleep', '60'], { timeoutMs: 50 }).ended, { signal: 'SIGTERM', isTimedOut: true })
})

t.test('what a job left in the background does not keep its output open', async (t) => {
  const { peer } = await setUp(t, (connection) => connection.tell(FRAME.local, { id: 'j' }))
  const { stdout } = await peer.run(['sh', '-c', 'sleep 60 & echo $!']).output()
  process.kill(Number(stdout.toString()), 'SIGKILL')
  t.match(stdout.toString(), /^\d+\n$/)
})

t.test('a signal reaches the job, an abort ends it', async (t) => {
  const { peer } = await setUp(t, (connection) => {
    started(connection)
    connection.onFrame((frame: Frame) => {
      if (frame.type === FRAME.signal) end(connection, { signal: `SIG${(jsonOf(frame) as { number: number }).number}` })
    })
  })
  const job = peer.run(['sleep'])
  // Before there is anybody to take it.
  job.kill('SIGINT')
  t.match(await job.ended, { signal: 'SIG2' })
  job.kill()
  const controller = new AbortController()
  const aborted = peer.run(['sleep'], { signal: controller.signal })
  await aborted.placed
  controller.abort(new Error('not wanted any more'))
  await t.rejects(aborted.ended, { message: 'not wanted any more' })
  await t.rejects(peer.run(['sleep'], { signal: controller.signal }).ended, { message: 'not wanted any more' })
})

t.test('a signal before it starts cancels it: nothing ran', async (t) => {
  const { peer } = await setUp(t, (connection) => {
    connection.onFrame((frame: Frame) => {
      if (frame.type === FRAME.signal) end(connection, { signal: 'SIGTERM' })
    })
  })
  const job = peer.run(['sleep'])
  job.kill()
  await t.rejects(job.placed, { name: 'NothingRanError' })
  await t.rejects(job.ended, { name: 'NothingRanError', message: 'it was cancelled before it started' })
})

t.test('what the system does not start at all is told by its name', async (t) => {
  const { peer } = await setUp(t, (connection) => connection.tell(FRAME.local, { id: 'j' }))
  await t.rejects(peer.run(['true', 'x'.repeat(200_000)]).ended, { name: 'NotExecutableError', message: /E2BIG/ })
  await t.rejects(peer.run(['/etc/passwd']).ended, { name: 'NotExecutableError', message: /permission denied/ })
})

t.test('an abort ends a job here, with what it started', async (t) => {
  const told = Promise.withResolvers<object>()
  const { peer } = await setUp(t, (connection) => {
    connection.tell(FRAME.local, { id: 'j' })
    connection.onFrame((frame) => {
      if (frame.type === FRAME.localEnded) told.resolve(jsonOf(frame) as object)
    })
  })
  const job = peer.run(['sh', '-c', 'echo up; sleep 60; true'])
  await once(job.stdout, 'data')
  await peer.stop()
  t.match(await told.promise, { exitCode: null, signal: 'SIGTERM' }, 'the peer hears how it ended')
  await t.rejects(job.ended, { name: 'AbortError', message: 'the peer was stopped' })
  t.throws(() => peer.run(['x']), { name: 'UsageError' })
})

t.test('an output that is longer than asked for ends its job', async (t) => {
  const gone = Promise.withResolvers<void>()
  const { peer } = await setUp(t, (connection) => {
    connection.onGone(() => gone.resolve())
    started(connection)
    connection.send(dataHeader(0, 1, 0), Buffer.alloc(1_000))
  })
  const job = peer.run(['yes'])
  await t.rejects(job.output({ maxBytes: 999 }), { name: 'LimitError', message: /stdout is longer than 999 bytes/ })
  await gone.promise
})

t.test('a peer that ends is told by every job', async (t) => {
  const { peer } = await setUp(t, (connection) => {
    started(connection)
    connection.end()
  })
  await t.rejects(peer.run(['x']).ended, { name: 'LostError', message: /ended while the job was with it/ })
  await t.rejects(connect({ directory: t.testdir({}) }), { name: 'DaemonUnreachableError', message: /no peer runs in/ })
})
