import { spawn } from 'node:child_process'
import { mkdirSync, openSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import t, { type Test } from 'tap'
import { FRAME, jsonOf } from '../../src/daemon/control-codec.ts'
import { fakeDaemon, finished, NATIVE_CLIENT, testClients } from './fake-daemon.ts'

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
  t.match(ends, [
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

testClients('what the command inherits is as it was', async (t, { kappa, command, environment, startKappa }) => {
  const { directory } = await setUp(t)
  const script = join(directory, 'script')
  writeFileSync(script, 'echo "$0 $1"\n', { mode: 0o755 })
  t.match(await kappa(directory, ['run', script, 'a b']), { code: 0, stdout: `${script} a b\n` }, 'no #! line')
  writeFileSync(join(directory, 'lost'), '#!/no/such/interpreter\n', { mode: 0o755 })
  t.match(await kappa(directory, ['run', join(directory, 'lost')]), { code: 126, stderr: /^kappa: .*lost ENOENT\n$/ })
  const inherited = startKappa(directory, ['run', 'sh', '-c', 'cat <&3; echo to5 >&5'], {}, [
    'ignore',
    'pipe',
    'pipe',
    openSync(script, 'r'),
    'ignore',
    'pipe'
  ])
  let fifth = ''
  const pipes = inherited.stdio as (Readable | null)[]
  pipes[5]!.on('data', (bytes: Buffer) => (fifth += bytes))
  t.match(await finished(inherited), { code: 0, stdout: 'echo "$0 $1"\n' })
  t.equal(fifth, 'to5\n')
  const shell = `trap '' HUP USR1; umask 027; ulimit -Sn 77; cd "$0"; "$@"`
  const asked = 'grep SigIgn /proc/self/status; umask; ulimit -Sn; pwd'
  const env = environment(directory)
  const child = spawn('sh', ['-c', shell, directory, ...command(directory), 'run', 'sh', '-c', asked], { env })
  t.match(await finished(child), {
    stdout: new RegExp(`^SigIgn:\\s+0{12}0201\\n0027\\n77\\n${directory}\\n$`),
    stderr: ''
  })
})

testClients('any bytes in words and variables', async (t, { command, environment }) => {
  const { directory } = await setUp(t)
  const shell = `ODD=$(printf 'v\\377\\001"') exec "$@" "$(printf 'a\\377\\n\\200b')" ''`
  const words = ['run', 'sh', '-c', 'printf "%s|" "$@" "$ODD"', 'sh']
  const env = environment(directory)
  const child = spawn('sh', ['-c', shell, 'sh', ...command(directory), ...words], { env })
  child.stdout!.setEncoding('latin1')
  t.match(await finished(child), { code: 0, stdout: 'a\xff\n\x80b||v\xff\x01"|', stderr: '' })
})

testClients('signals that reach the client alone are passed on', async (t, { startKappa }) => {
  const { directory, ends } = await setUp(t)
  const script = `for s in HUP INT QUIT USR1 USR2; do trap "echo $s" $s; done; echo up; while :; do sleep 0.01; done`
  const child = startKappa(directory, ['run', 'sh', '-c', script])
  const waiting = ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGTERM'] as const
  let next = 0
  child.stdout!.on('data', () => child.kill(waiting[next++]))
  t.match(await finished(child), { signal: 'SIGTERM', stdout: 'up\nHUP\nINT\nQUIT\nUSR1\nUSR2\n' })
  t.match(ends, [{ exitCode: null, signal: 'SIGTERM' }])
})

testClients('who ignores the ends of children learns this one', async (t, { command, environment }) => {
  const { directory } = await setUp(t)
  const perl = '$SIG{CHLD} = "IGNORE"; exec @ARGV'
  const env = environment(directory)
  const child = spawn('perl', ['-e', perl, ...command(directory), 'run', 'sh', '-c', 'exit 5'], { env })
  t.match(await finished(child), { code: 5 })
})

t.test('the native client tells what the command took', async (t) => {
  const { directory, ends } = await setUp(t)
  const busy = 'i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; sleep 0.1'
  await NATIVE_CLIENT.kappa(directory, ['run', 'sh', '-c', busy])
  await NATIVE_CLIENT.kappa(directory, ['run', 'no-such-program'])
  const [{ wallMs, cpuMs, peakBytes } = { wallMs: 0, cpuMs: 0, peakBytes: 0 }, none] = ends as Record<string, number>[]
  t.ok(cpuMs! >= 1 && wallMs! >= cpuMs! + 90, JSON.stringify(ends))
  t.ok(peakBytes! > 100_000 && peakBytes! < 1e9)
  t.same(none, { exitCode: 127, signal: null }, 'nothing ran')
})
