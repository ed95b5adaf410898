/** What `kappa run` is asked beside the command holds for a job that runs here too. */

import { mkdirSync, writeFileSync } from 'node:fs'
import { getPriority } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { FRAME, jsonOf, type RunParams } from '../../src/daemon/control-codec.ts'
import { fakeDaemon, kappa, NATIVE_CLIENT, testClients } from './fake-daemon.ts'

async function setUp(t: Test) {
  const asked: RunParams[] = []
  const ends: unknown[] = []
  const directory = await fakeDaemon(t, {
    run: (connection, params) => {
      asked.push(params as RunParams)
      connection.onFrame((frame) => {
        if (frame.type === FRAME.localEnded) ends.push(jsonOf(frame))
      })
      connection.tell(FRAME.local, {})
    }
  })
  return { directory, asked, ends }
}

testClients('--env sets and brings back variables, --no-env drops the others', async (t, { kappa }) => {
  const { directory } = await setUp(t)
  const run = async (...options: string[]) => {
    const { stdout } = await kappa(directory, ['run', ...options, 'env'], '', { OLD: 'old', OTHER: 'other' })
    return stdout
      .split('\n')
      .filter((line) => /^(OLD|OTHER|NEW|HOME)=/.test(line))
      .sort()
  }
  t.same(await run('--env', 'NEW=a=b', '--env', 'OLD=ü'), [`HOME=${directory}`, 'NEW=a=b', 'OLD=ü', 'OTHER=other'])
  t.same(await run('--no-env'), [`HOME=${directory}`])
  t.same(await run('--no-env', '--env', 'OTHER', '--env', 'NEW=1', '--env', 'NEW=2', '--env', 'NONE'), [
    `HOME=${directory}`,
    'NEW=2',
    'OTHER=other'
  ])
})

t.test('--nice is the niceness of the job, here and there, unless this process has more', async (t) => {
  const level = Math.max(7, getPriority())
  const { directory, asked } = await setUp(t)
  t.match(await kappa(directory, ['run', '--nice', '7', 'nice']), { code: 0, stdout: `${level}\n`, stderr: '' })
  t.equal(asked[0]!.nice, level)
})

t.test('--cwd is as if cd had been done before', async (t) => {
  const { directory, asked } = await setUp(t)
  mkdirSync(join(directory, 'build'))
  writeFileSync(join(directory, 'build/here'), '#!/bin/sh\necho "$PWD"\npwd\n', { mode: 0o755 })
  const build = join(directory, 'build')
  t.match(await kappa(directory, ['run', '--cwd', build, './here']), { code: 0, stdout: `${build}\n${build}\n` })
  t.equal(asked[0]!.cwd, build)
  t.match(await kappa(directory, ['run', '--cwd', build, '--in', 'here', 'cat', 'here']), { code: 0 })
  t.match(await kappa(directory, ['run', '--cwd', build, '--in', 'build/here', 'cat', 'here']), {
    code: 125,
    stderr: /^kappa: --in build\/here: /
  })
  const cases = { [join(build, 'none')]: 'there is no such directory', [join(build, 'here')]: 'it is no directory' }
  for (const [path, why] of Object.entries(cases)) {
    t.match(await kappa(directory, ['run', '--cwd', path, 'true']), {
      code: 125,
      stderr: `kappa: run: --cwd ${path}: ${why}\n`
    })
  }
})

t.test('--timeout ends it, and all that it started, as timeout(1) does', async (t) => {
  const { directory, ends } = await setUp(t)
  const run = (...args: string[]) => kappa(directory, ['run', ...args])
  t.match(await run('--timeout', '0.1', 'sh', '-c', 'sleep 1000; echo never'), { code: 124, stdout: '', stderr: '' })
  t.match(ends, [{ exitCode: null, signal: 'SIGTERM', timedOut: true }])
  const handles = 'trap "echo bye; exit 3" TERM; echo up; while :; do sleep 0.01; done'
  t.match(await run('--timeout', '1', 'sh', '-c', handles), { code: 124, stdout: 'up\nbye\n' })
  t.match(await run('--timeout', '1h', 'sh', '-c', 'exit 5'), { code: 5 })
  t.match(await run('--timeout=0', 'true'), { code: 0 })
  t.same(
    ends.slice(2).map((end) => (end as { timedOut?: boolean }).timedOut),
    [undefined, undefined]
  )
})

t.test('within a job it holds as well', async (t) => {
  const { directory, asked } = await setUp(t)
  const args = ['run', '--timeout', '0.1', 'sleep', '1000']
  t.match(await kappa(directory, args, '', { KAPPA_JOB: 'a234' }), { code: 124 })
  t.same(asked, [])
})

t.test('lengths of time reach the daemon', async (t) => {
  const { directory, asked } = await setUp(t)
  await kappa(directory, ['run', '--timeout', '1.5m', '--lease', '2h', 'true'])
  t.match(asked[0]!.options, { timeoutMs: 90_000, leaseMs: 7_200_000 })
})

t.test('what makes no sense is said, and nothing runs', async (t) => {
  const { directory, asked } = await setUp(t)
  const length = 'must be a length of time such as 90s, 1.5h or 2d'
  const cases: [string[], string][] = [
    [['--timeout', 'soon'], `--timeout ${length}, not soon`],
    [['--timeout', '-1'], `--timeout ${length}, not -1`],
    [['--timeout', '40000d'], `--timeout ${length}, not 40000d`],
    [['--lease', '1h30m'], `--lease ${length}, not 1h30m`],
    [['--lease', '7s'], '--lease must be from 8s, which is what a job has without it, to 24h, not 7s'],
    [['--lease', '25h'], '--lease must be from 8s, which is what a job has without it, to 24h, not 25h'],
    [['--nice', '20'], '--nice must be a whole number from 0 to 19, not 20'],
    [['--nice', '-1'], '--nice must be a whole number from 0 to 19, not -1; a job never goes before what others run'],
    [['--cwd', ''], '--cwd needs a value'],
    [['--tools', 'mine'], '--tools must be home or target, whose programs it is to run, not mine'],
    [
      ['--tools', 'target', '--plain'],
      "--tools and --plain exclude each other: such a job has its machine's programs anyway"
    ],
    [['--files', '--out', 'x'], '--files and --in, --out exclude each other'],
    [
      ['--share', '/x', '--plain'],
      '--share and --plain exclude each other: such a job sees nothing else of this machine'
    ],
    [['--detach'], '--detach needs --plain, --in or --out: what sees the files of this machine can not outlive it']
  ]
  for (const [options, message] of cases) {
    const stderr = `kappa: run: ${message}; see: kappa run --help\n`
    t.match(await kappa(directory, ['run', ...options, 'true']), { code: 125, stdout: '', stderr })
  }
  t.same(asked, [])
})

t.test('the native client leaves to Node what it does not do itself', async (t) => {
  const { directory } = await setUp(t)
  for (const option of [
    '--timeout=1',
    '--lease=1h',
    '--nice=1',
    '--cwd=/',
    '--files',
    '--share=/x',
    '--tools=target'
  ]) {
    const { code } = await NATIVE_CLIENT.kappa(directory, ['run', option, 'true'])
    t.equal(code, 99, option)
  }
})
