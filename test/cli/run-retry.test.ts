/** `--retry`: the user's word that running twice is harmless; no byte is doubled all the same. */

import { spawn } from 'node:child_process'
import { openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { ControlConnection } from '../../src/daemon/control.ts'
import { FRAME, type RunParams } from '../../src/daemon/control-codec.ts'
import { dataHeader, eofFrame, STREAM } from '../../src/protocols/exec/frames.ts'
import { fakeDaemon, finished, kappa, NATIVE_CLIENT, startKappa } from './fake-daemon.ts'

const LOST = { exitCode: null, signal: null, status: 123, message: 'the job is lost' }
const again = (afterMs = 0) => ({ ...LOST, again: { afterMs, without: 'nas' } })

type Try = (connection: ControlConnection, stdin: () => string) => void

/** A daemon whose jobs all start elsewhere; each try goes as it is told. */
async function setUp(t: Test, ...tries: Try[]) {
  const asked: RunParams[] = []
  const directory = await fakeDaemon(t, {
    run: (connection, params) => {
      const number = asked.push(params as RunParams) - 1
      let stdin = ''
      connection.tell(FRAME.started, { kind: 'own' })
      connection.onFrame((frame) => {
        if ('bytes' in frame) stdin += frame.bytes.toString()
        if (frame.type === FRAME.eof) tries[number]!(connection, () => stdin)
      })
    }
  })
  return { directory, asked }
}

const lose: Try = (connection) => connection.tell(FRAME.end, again())

const answer: Try = (connection, stdin) => {
  const bytes = Buffer.from(`got ${stdin()}`)
  connection.send(dataHeader(0, STREAM.stdout, 0), bytes)
  for (const stream of [STREAM.stdout, STREAM.stderr]) connection.send(eofFrame(0, stream, bytes.length))
  connection.tell(FRAME.end, { exitCode: 4, signal: null })
}

t.test('a job that is lost is tried again, elsewhere, and its own end counts', async (t) => {
  const { directory, asked } = await setUp(t, lose, lose, answer)
  t.match(await kappa(directory, ['run', '--retry', '2', 'x']), { code: 4, stdout: 'got ', stderr: '' })
  t.same(
    asked.map(({ options }) => options.avoid),
    [undefined, ['nas'], ['nas', 'nas']]
  )
})

t.test('no more often than was said; -v tells it', async (t) => {
  const { directory, asked } = await setUp(t, lose, lose)
  t.match(await kappa(directory, ['run', '-v', '--retry', '1', 'x']), {
    code: 123,
    stderr: 'kappa: the job is lost; trying again now\nkappa: the job is lost\n'
  })
  t.equal(asked.length, 2)
})

t.test('a file on stdin is read again from where it stood; what follows it is the next one to read', async (t) => {
  const { directory } = await setUp(t, lose, answer)
  const path = join(directory, 'input')
  writeFileSync(path, 'first\nsecond\nthird\n')
  const script = 'read line; "$@"; cat'
  const stdio = [openSync(path, 'r'), 'pipe', 'pipe'] as const
  const words = ['-c', script, 'sh', join(import.meta.dirname, '../../scripts/kappa'), 'run', '--retry', '1', 'x']
  const env = { PATH: process.env.PATH, HOME: directory, KAPPA_DIR: directory }
  t.match(await finished(spawn('sh', words, { env, stdio: [...stdio] })), { stdout: 'got second\nthird\n' })
})

t.test('so it is when the job runs here at last', async (t) => {
  let tries = 0
  const directory = await fakeDaemon(t, {
    run: (connection) => {
      if (tries++ > 0) return connection.tell(FRAME.local, {})
      connection.tell(FRAME.started, { kind: 'own' })
      connection.onFrame((frame) => {
        if (frame.type === FRAME.eof) connection.tell(FRAME.end, again())
      })
    }
  })
  const path = join(directory, 'input')
  writeFileSync(path, 'first\nsecond\n')
  const child = startKappa(directory, ['run', '--retry', '1', 'cat'], {}, [openSync(path, 'r'), 'pipe', 'pipe'])
  t.match(await finished(child), { code: 0, stdout: readFileSync(path, 'utf8'), stderr: '' })
})

t.test('what can not be read again, and what has been delivered, is not doubled: the word says why', async (t) => {
  const piped = await setUp(t, lose)
  t.match(await kappa(piped.directory, ['run', '--retry', '9', 'x'], 'some'), {
    code: 123,
    stderr: 'kappa: the job is lost; not tried again: what it read of stdin can not be read again\n'
  })
  const delivered = await setUp(t, (connection) => {
    connection.send(dataHeader(0, STREAM.stderr, 0), Buffer.from('a\n'))
    connection.tell(FRAME.end, again())
  })
  t.match(await kappa(delivered.directory, ['run', '--retry', '9', 'x']), {
    code: 123,
    stderr: 'a\nkappa: the job is lost; not tried again: some of its output has been delivered\n'
  })
  t.equal(delivered.asked.length, 1)
})

t.test("the command's own end is never another try, nor is one that its user wanted", async (t) => {
  const { directory, asked } = await setUp(t, answer)
  t.match(await kappa(directory, ['run', '--retry', '9', 'x']), { code: 4 })
  t.equal(asked.length, 1)
  let child: ReturnType<typeof startKappa> | undefined
  const stopped = await fakeDaemon(t, {
    run: (connection) => {
      connection.tell(FRAME.started, { kind: 'own' })
      connection.onFrame((frame) => {
        if (frame.type === FRAME.eof) child!.kill('SIGTERM')
        if (frame.type === FRAME.signal) connection.tell(FRAME.end, again())
      })
    }
  })
  child = startKappa(stopped, ['run', '--retry', '9', 'x'], {}, ['ignore', 'pipe', 'pipe'])
  t.match(await finished(child), { code: 123, stderr: 'kappa: the job is lost\n' })
})

t.test('between two tries a signal ends the client', async (t) => {
  const { directory } = await setUp(t, (connection) => connection.tell(FRAME.end, again(3_600_000)))
  const child = startKappa(directory, ['run', '-v', '--retry', '9', 'x'], {}, ['ignore', 'pipe', 'pipe'])
  child.stderr!.once('data', () => child.kill('SIGTERM'))
  t.match(await finished(child), { signal: 'SIGTERM', stderr: 'kappa: the job is lost; trying again in 3600 s\n' })
})

t.test('how often is a number; the native client leaves it to Node', async (t) => {
  const { directory } = await setUp(t)
  t.match(await kappa(directory, ['run', '--retry', 'often', 'x']), {
    code: 125,
    stderr: 'kappa: run: --retry must be a whole number from 0 to 100, not often; see: kappa run --help\n'
  })
  for (const option of ['--retry=1', '--lease=1h']) {
    const { code, stderr } = await kappa(directory, ['run', '--detach', option, 'x'])
    t.match({ code, stderr }, { code: 125, stderr: `${option.split('=')[0]} and --detach exclude each other` })
  }
  t.equal((await NATIVE_CLIENT.kappa(directory, ['run', '--retry', '1', 'x'])).code, 99)
})
