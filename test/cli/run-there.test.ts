import { closeSync, existsSync, openSync } from 'node:fs'
import t, { type Test } from 'tap'
import type { ControlConnection } from '../../src/daemon/control.ts'
import { FRAME, jsonOf, type RunEnd, type RunParams } from '../../src/daemon/control-codec.ts'
import { ackFrame, dataHeader, eofFrame } from '../../src/protocols/exec/frames.ts'
import { fakeDaemon, finished, kappa, testClients } from './fake-daemon.ts'

/** A daemon whose jobs run elsewhere, as the script says. */
async function setUp(t: Test, script: (run: { connection: ControlConnection }) => void) {
  const params: RunParams[] = []
  const directory = await fakeDaemon(t, {
    run: (connection, asked) => {
      params.push(asked as RunParams)
      script({ connection })
    }
  })
  return { directory, params }
}

function started(connection: ControlConnection): void {
  connection.tell(FRAME.started, { kind: 'own' })
}

function output(connection: ControlConnection, stream: number, text: string): void {
  connection.send(dataHeader(0, stream, 0), Buffer.from(text))
  connection.send(eofFrame(0, stream, text.length))
}

function end(connection: ControlConnection, how: Partial<RunEnd>): void {
  connection.tell(FRAME.end, { exitCode: null, signal: null, ...how })
}

testClients('each end and the status of the client', async (t, { kappa }) => {
  const cases: [Partial<RunEnd>, object][] = [
    [{ exitCode: 0 }, { code: 0, signal: null, stderr: '' }],
    [{ exitCode: 255 }, { code: 255, signal: null, stderr: '' }],
    [{ signal: 'SIGTERM' }, { code: null, signal: 'SIGTERM', stderr: '' }],
    [{ signal: 'SIGINT' }, { code: null, signal: 'SIGINT' }],
    [{ signal: 'SIGPIPE' }, { code: null, signal: 'SIGPIPE' }],
    [{ signal: 'SIGKILL' }, { code: 137, signal: null }],
    [{ signal: 'SIGSEGV' }, { code: 139, signal: null }],
    [{ signal: 'SIGRTMIN+3' }, { code: 165, signal: null }],
    [{ signal: 'SIG32' }, { code: 160, signal: null }],
    [
      { status: 123, message: 'it is lost' },
      { code: 123, stderr: 'kappa: it is lost\n' }
    ],
    [
      { status: 125, message: 'nobody' },
      { code: 125, stderr: 'kappa: nobody\n' }
    ],
    [
      { exitCode: 127, status: 127, message: 'x: not found' },
      { code: 127, stderr: 'kappa: x: not found\n' }
    ]
  ]
  for (const [how, expected] of cases) {
    const { directory } = await setUp(t, ({ connection }) => {
      started(connection)
      end(connection, how)
    })
    t.match(await kappa(directory, ['run', 'x']), expected, JSON.stringify(how))
  }
})

testClients('output is whole and apart; nothing of kappa is in it', async (t, { kappa }) => {
  const { directory } = await setUp(t, ({ connection }) => {
    started(connection)
    output(connection, 1, 'out'.repeat(20_000))
    output(connection, 2, 'err')
    end(connection, { exitCode: 0 })
  })
  t.match(await kappa(directory, ['run', 'x']), { code: 0, stdout: 'out'.repeat(20_000), stderr: 'err' })
})

testClients('an output that can not be written whole is no success', async (t, { startKappa }) => {
  const { directory } = await setUp(t, ({ connection }) => {
    started(connection)
    output(connection, 1, 'bytes')
    end(connection, { exitCode: 0 })
  })
  const full = openSync('/dev/full', 'w')
  t.teardown(() => closeSync(full))
  const child = startKappa(directory, ['run', 'x'], {}, ['ignore', full, 'pipe'])
  t.match(await finished(child), { code: 1, stderr: /^kappa: .*not whole: stdout: .*ENOSPC/ })
})

testClients('a reader that has gone is told to the job', async (t, { startKappa }) => {
  const { directory } = await setUp(t, ({ connection }) => {
    started(connection)
    connection.send(dataHeader(0, 1, 0), Buffer.from('x'))
    connection.onFrame((frame) => {
      if (frame.type === FRAME.close) end(connection, { signal: 'SIGPIPE' })
    })
  })
  const child = startKappa(directory, ['run', 'x'])
  child.stdout!.destroy()
  t.match(await finished(child), { signal: 'SIGPIPE', stderr: '' })
})

testClients('signals go to the job; the ones after its end are for the client', async (t, { startKappa }) => {
  const { directory } = await setUp(t, ({ connection }) => {
    started(connection)
    connection.send(dataHeader(0, 2, 0), Buffer.from('up'))
    connection.onFrame((frame) => {
      if (frame.type !== FRAME.signal) return
      t.same(jsonOf(frame), { number: 15 })
      // More than a pipe takes, and nobody reads it.
      for (let offset = 0; offset < 1024 * 1024; offset += 65_536) {
        connection.send(dataHeader(0, 1, offset), Buffer.alloc(65_536))
      }
      end(connection, { exitCode: 0 })
      connection.send(dataHeader(0, 2, 2), Buffer.from('ended'))
    })
  })
  const child = startKappa(directory, ['run', 'x'])
  const exited = new Promise((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })))
  let said = ''
  child.stderr!.on('data', (text) => {
    said += text
    if (said === 'up') child.kill('SIGTERM')
    else if (said === 'upended') child.kill('SIGTERM')
  })
  t.same(await exited, { code: null, signal: 'SIGTERM' })
})

testClients('the daemon ends: whether the job ran is not known', async (t, { kappa }) => {
  for (const begin of [() => undefined, started]) {
    const { directory } = await setUp(t, ({ connection }) => {
      begin(connection)
      setImmediate(() => connection.end())
    })
    t.match(await kappa(directory, ['run', 'x']), { code: 123, stderr: /^kappa: .*isn't known/ })
  }
})

testClients('garbage from the daemon ends the client', async (t, { kappa }) => {
  const { directory } = await setUp(t, ({ connection }) => {
    started(connection)
    connection.send(Buffer.from([1]))
  })
  t.match(await kappa(directory, ['run', 'x']), { code: 123, stderr: /^kappa: / })
})

testClients('words, variables and options travel as bytes', async (t, { kappa }) => {
  const { directory, params } = await setUp(t, ({ connection }) => {
    started(connection)
    end(connection, { exitCode: 0 })
  })
  await kappa(directory, ['run', '--env', 'GIVEN=ü', 'x', 'ü', '', 'a\nb'], '', { ODD: 'ü=' })
  const bytes = (text: string) => Buffer.from(text).toString('latin1')
  t.same(params[0]!.argv, ['x', bytes('ü'), '', 'a\nb'])
  t.ok(params[0]!.env.includes(bytes('ODD=ü=')))
  t.same(params[0]!.options.env, [bytes('GIVEN=ü')])
  t.notOk(params[0]!.env.some((entry) => entry.startsWith('KAPPA_LAUNCH')))
})

t.test('outs that can not be written here do not keep the job from ending', async (t) => {
  const { directory } = await setUp(t, ({ connection }) => {
    started(connection)
    connection.send(dataHeader(0, 4, 0), Buffer.from('this is no stream of files at all'))
    connection.onFrame((frame) => {
      if (frame.type !== FRAME.close || !('stream' in frame) || frame.stream !== 4) return
      end(connection, { exitCode: 0 })
    })
  })
  const name = `result-${process.pid}`
  const run = await kappa(directory, ['run', '--out', name, 'x'])
  t.match(run, { code: 1, stderr: /^kappa: / })
  t.notOk(existsSync(name))
})

testClients('stdin goes as far as the job allows, byte-exact, and its end follows', async (t, { kappa }) => {
  const got: Buffer[] = []
  let limit = 256 * 1024
  const { directory } = await setUp(t, ({ connection }) => {
    started(connection)
    let received = 0
    connection.onFrame((frame) => {
      if (frame.type === FRAME.eof && 'offset' in frame)
        end(connection, { exitCode: received === frame.offset ? 0 : 9 })
      if (frame.type !== FRAME.data || !('bytes' in frame)) return
      t.equal(frame.offset, received)
      received += frame.bytes.length
      got.push(Buffer.from(frame.bytes))
      t.ok(received <= limit)
      if (received < limit) return
      limit += 100_000
      connection.send(ackFrame(0, 0, received, limit))
    })
  })
  const text = Array.from({ length: 200_000 }, (_, index) => `${index}`).join(' ')
  t.match(await kappa(directory, ['run', 'x'], text), { code: 0 })
  t.ok(Buffer.concat(got).toString() === text)
})
