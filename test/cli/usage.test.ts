import { chmodSync, closeSync, existsSync, mkdirSync, openSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { KappaError } from '../../src/errors.ts'
import { needs } from '../require.ts'
import { fakeDaemon, finished, kappa, kappaDir, startKappa } from './fake-daemon.ts'

const COMMANDS =
  'pair unpair peers each shim slots status top ps logs wait kill why doctor pause resume config daemon service completions version help run'.split(
    ' '
  )

t.test('each command has help with a usage and an example', async (t) => {
  const directory = kappaDir(t)
  await Promise.all(
    COMMANDS.map(async (name) => {
      const { code, stdout, stderr } = await kappa(directory, [name, '--help'])
      t.match({ code, stderr }, { code: 0, stderr: '' }, name)
      t.match(stdout, /^Usage: kappa /, name)
      if (name !== 'help') t.match(stdout, /\nExamples?:\n {2}/, name)
      t.ok(stdout.split('\n').length <= 32, `${name}: fits a screen`)
    })
  )
  t.strictSame(readdirSync(directory), [], 'and starts no daemon')
})

t.test('help lists every command', async (t) => {
  const { stdout } = await kappa(kappaDir(t), ['--help'])
  for (const name of COMMANDS) t.match(stdout, new RegExp(`\\b${name}\\b`))
  const lines = stdout.trimEnd().split('\n')
  t.ok(lines.length <= 24 && lines.every((line) => line.length <= 80), 'on one screen')
})

t.test('wrong usage is one line and 2', async (t) => {
  const directory = kappaDir(t)
  const cases: [string[], string][] = [
    [['stauts'], 'there is no command "stauts"; did you mean: kappa status'],
    [['constructor'], 'there is no command "constructor"; see: kappa help'],
    [['status', '--jsn'], 'status: there is no option --jsn, did you mean --json?; see: kappa status --help'],
    [['status', 'now'], 'status: it takes no arguments; see: kappa status --help'],
    [['unpair'], 'unpair: it takes one PEER; see: kappa unpair --help'],
    [['kill', '-s', 'XYZ', 'j7f'], 'kill: there is no signal "XYZ"; see: kappa kill --help'],
    [['kill', '-s'], 'kill: --signal needs a value; see: kappa kill --help'],
    [
      ['pause', '--for', 'long'],
      'pause: "long" is no length of time: write 90s, 30m, 1h or 2d; see: kappa pause --help'
    ],
    [['peers', 'nas', '--own', '--friend'], 'peers: --own and --friend exclude each other; see: kappa peers --help'],
    [['peers', 'nas'], 'peers: say what to change: --own, --friend or --name; see: kappa peers --help'],
    [
      ['pair', '--yes', 'nas'],
      'pair: --yes needs an invitation: numbers are for people to compare; see: kappa pair --help'
    ],
    [['config'], 'config: it takes get, set, edit or path; see: kappa config --help']
  ]
  await Promise.all(
    cases.map(async ([args, message]) => {
      t.match(await kappa(directory, args), { code: 2, stdout: '', stderr: `kappa: ${message}\n` }, args.join(' '))
    })
  )
})

t.test('an error of the daemon is one line with its exit code', async (t) => {
  const directory = await fakeDaemon(t, {
    unpair: () => {
      throw new KappaError('UnknownPeerError', 'no paired machine is called "x";\nsee: kappa peers')
    },
    why: () => {
      throw new KappaError('UsageError', 'wrong')
    },
    status: () => {
      throw new TypeError('a bug')
    }
  })
  t.match(await kappa(directory, ['unpair', 'x']), {
    code: 1,
    stderr: 'kappa: no paired machine is called "x"; see: kappa peers\n'
  })
  t.match(await kappa(directory, ['why', 'x']), { code: 2, stderr: 'kappa: wrong\n' })
  t.match(await kappa(directory, ['status']), { code: 1, stderr: 'kappa: a bug\n' })
})

t.test('a reader that goes away is no error to speak of', async (t) => {
  const directory = await fakeDaemon(t, {
    peers: () => Array.from({ length: 5_000 }, (_, index) => ({ name: `n${index}`, addresses: ['x'.repeat(80)] }))
  })
  const child = startKappa(directory, ['peers', '--json'])
  child.stdout?.destroy()
  t.match(await finished(child), { code: 141, stderr: '' })
})

t.test('output that can not be written is an error', async (t) => {
  if (!needs(t, existsSync('/dev/full'), '/dev/full')) return
  const directory = kappaDir(t)
  const full = openSync('/dev/full', 'w')
  t.teardown(() => closeSync(full))
  const child = startKappa(directory, ['version'], {}, ['ignore', full, 'pipe'])
  t.match(await finished(child), { code: 1, stderr: /^kappa: stdout can't be written: ENOSPC/ })
  const silent = startKappa(directory, ['bogus'], {}, ['ignore', 'ignore', full])
  t.match(await finished(silent), { code: 2 })
})

t.test('a socket directory that others may enter is refused', async (t) => {
  const directory = kappaDir(t)
  mkdirSync(join(directory, 'run'))
  chmodSync(join(directory, 'run'), 0o777)
  t.match(await kappa(directory, ['status']), {
    code: 1,
    stderr: /^kappa: .*run is open to other users; mend it with: chmod 700 /
  })
})
