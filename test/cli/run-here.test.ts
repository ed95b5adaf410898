import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { FRAME, jsonOf } from '../../src/daemon/control-codec.ts'
import { fakeDaemon, testClients } from './fake-daemon.ts'

/** A daemon that lets every job run where it is asked for; the ends that it is told. */
async function setUp(t: Test) {
  const ends: unknown[] = []
  const directory = await fakeDaemon(t, {
    run: (connection) => {
      connection.onFrame((frame) => {
        if (frame.type === FRAME.localEnded) ends.push(jsonOf(frame))
      })
      connection.tell(FRAME.local, {})
    }
  })
  return { directory, ends }
}

testClients("ends are the command's own, and told to the daemon", async (t, { kappa }) => {
  const { directory, ends } = await setUp(t)
  t.match(await kappa(directory, ['run', 'sh', '-c', 'cat; exit 7'], 'in'), { code: 7, stdout: 'in', stderr: '' })
  t.match(await kappa(directory, ['run', 'sh', '-c', 'kill -TERM $$']), { code: null, signal: 'SIGTERM' })
  t.match(await kappa(directory, ['run', 'sh', '-c', 'kill -KILL $$']), { code: 137 })
  t.same(ends, [
    { exitCode: 7, signal: null },
    { exitCode: null, signal: 'SIGTERM' },
    { exitCode: null, signal: 'SIGKILL' }
  ])
})

testClients('what can not be started is said as a shell would', async (t, { kappa }) => {
  const { directory } = await setUp(t)
  const bin = join(directory, 'bin')
  mkdirSync(bin)
  writeFileSync(join(bin, 'plain'), 'x')
  const cases: [string[], number, RegExp][] = [
    [['no-such-program'], 127, /no-such-program: command not found/],
    [[''], 127, /'': command not found/],
    [[join(bin, 'plain')], 126, /permission denied/],
    [[bin], 126, /is a directory/],
    [[join(bin, 'none')], 127, /not found/]
  ]
  for (const [argv, code, message] of cases) {
    t.match(await kappa(directory, ['run', ...argv]), { code, stderr: message }, argv.join(' '))
  }
})

testClients('a path that leads nowhere is said, and nothing runs', async (t, { kappa }) => {
  const { directory } = await setUp(t)
  symlinkSync('loop', join(directory, 'loop'))
  t.match(await kappa(directory, ['run', `${directory}/loop/x`]), { code: 126, stderr: /^kappa: .*loop/ })
})

testClients("the environment is the user's", async (t, { kappa }) => {
  const { directory } = await setUp(t)
  const { stdout } = await kappa(directory, ['run', 'env'], '', { ODD: 'a=b', NODE_OPTIONS: '--no-warnings' })
  t.match(stdout, /^ODD=a=b$/m)
  t.match(stdout, /^NODE_OPTIONS=.*--no-warnings/m)
  t.notMatch(stdout, /KAPPA_LAUNCH/)
})

testClients('within a job nothing is asked of any daemon', async (t, { kappa }) => {
  const { directory, ends } = await setUp(t)
  const run = await kappa(directory, ['run', 'sh', '-c', 'echo $KAPPA_JOB; exit 3'], '', { KAPPA_JOB: 'a234' })
  t.match(run, { code: 3, stdout: 'a234\n' })
  t.same(ends, [])
})
