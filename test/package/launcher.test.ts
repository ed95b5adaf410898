import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  symlinkSync,
  writeFileSync
} from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { needs } from '../require.ts'

const ROOT = join(import.meta.dirname, '../..')
const LAUNCHER = join(ROOT, 'scripts/kappa')
const NODE_PACKAGE = `node-linux-${process.arch}`

/** Says what the launcher passed on. */
const CLIENT = `const { KAPPA_LAUNCH, KAPPA_LAUNCHER, NODE_OPTIONS } = process.env
console.log(JSON.stringify({ args: process.argv.slice(2), launch: KAPPA_LAUNCH, launcher: KAPPA_LAUNCHER, options: NODE_OPTIONS ?? null }))`

interface Said {
  args: string[]
  launch: string
  launcher: string
  options: string | null
}

/** A package as npm lays it out below `directory`, with a client that tells what it got; the path of its launcher. */
function installed(directory: string, modules = 'lib/node_modules', nested = true): string {
  const home = join(directory, modules, 'kappa')
  mkdirSync(join(home, 'dist'), { recursive: true })
  copyFileSync(LAUNCHER, join(home, 'dist/kappa'))
  writeFileSync(join(home, 'dist/client.cjs'), CLIENT)
  const beside = nested ? join(home, 'node_modules') : join(directory, modules)
  mkdirSync(beside, { recursive: true })
  symlinkSync(join(ROOT, 'node_modules', NODE_PACKAGE), join(beside, NODE_PACKAGE))
  return join(home, 'dist/kappa')
}

function run(command: string[], options: object = {}): Said {
  // tap gives every process that a test starts NODE_OPTIONS of its own.
  const { stdout, stderr } = spawnSync('env', ['-u', 'NODE_OPTIONS', ...command], { encoding: 'utf8', ...options })
  if (!stdout.startsWith('{')) throw new Error(stderr)
  return JSON.parse(stdout)
}

t.test('runs the client with its own Node, wherever npm put it', async (t) => {
  const directory = t.testdir({ 'with space': {}, bin: {}, elsewhere: {} })
  for (const nested of [true, false]) {
    const root = join(directory, 'with space', String(nested))
    const launcher = installed(root, 'lib/node_modules', nested)
    t.strictSame(run([launcher, 'a b', '']).args, ['a b', ''], 'called by its path')
    mkdirSync(join(root, 'bin'))
    symlinkSync('../lib/node_modules/kappa/dist/kappa', join(root, 'bin/kappa'))
    t.strictSame(run([join(root, 'bin/kappa'), 'x']).args, ['x'], "through npm's link for a global package")
    t.strictSame(
      run(['kappa', 'x'], { env: { PATH: `${join(root, 'bin')}:${process.env.PATH}` } }).args,
      ['x'],
      'in PATH'
    )
    t.strictSame(run(['./kappa', 'x'], { cwd: join(root, 'bin') }).args, ['x'], 'by a relative path')
    t.strictSame(run(['sh', 'kappa', 'x'], { cwd: join(root, 'bin') }).args, ['x'], 'without its path')
    symlinkSync(join(root, 'bin/kappa'), join(directory, `elsewhere/${nested}`))
    t.strictSame(run([join(directory, `elsewhere/${nested}`), 'x']).args, ['x'], 'through any other link')
  }
})

t.test("through npm's link for a package of a project", async (t) => {
  const directory = t.testdir({ node_modules: { '.bin': {} } })
  installed(directory, 'node_modules', false)
  symlinkSync('../kappa/dist/kappa', join(directory, 'node_modules/.bin/kappa'))
  const said = run([join(directory, 'node_modules/.bin/kappa'), 'x'])
  t.strictSame(said.args, ['x'])
  t.ok(existsSync(said.launcher) && said.launcher.startsWith('/'), 'and says where it is')
})

t.test('through a link beside lib, as the Debian package and the archive have it', async (t) => {
  const directory = t.testdir({ bin: {} })
  installed(directory, 'lib', false)
  symlinkSync('../lib/kappa/dist/kappa', join(directory, 'bin/kappa'))
  const said = run([join(directory, 'bin/kappa'), 'x'])
  t.strictSame(said.args, ['x'])
  t.equal(said.launcher, `${directory}/bin/../lib/kappa/dist/kappa`, 'without looking for it, which would take a fork')
})

t.test('records what the start of Node loses', async (t) => {
  const launcher = installed(t.testdir())
  const shell = (script: string, options: object = {}) => run(['sh', '-c', script, 'sh', launcher], options).launch
  t.match(shell('"$1"'), /^sigign:[0-9a-f]{16};nofile:\w+;fds:[\d,]*$/)
  t.match(shell('trap "" HUP PIPE; exec "$1"'), /^sigign:[0-9a-f]{12}1001;/)
  t.match(shell('ulimit -Sn 77; exec "$1"'), /;nofile:77;/)
  const fd = openSync('/dev/null', 'r')
  t.teardown(() => closeSync(fd))
  const inherited = run([launcher], { stdio: ['ignore', 'pipe', 'pipe', fd, 'ignore', fd] }).launch
  const descriptors = inherited.split('fds:')[1]!.split(',')
  t.strictSame(
    descriptors.filter((number) => ['3', '5'].includes(number)),
    ['3', '5']
  )
  t.notOk(descriptors.some((number) => Number(number) < 3))
})

t.test("the user's NODE_OPTIONS are for the user's Node", async (t) => {
  const launcher = installed(t.testdir())
  const said = run(['env', 'NODE_OPTIONS=--no-such-flag;x "y"', launcher])
  t.match(said, { options: null, launch: /;options:--no-such-flag;x "y"$/ })
  t.notMatch(run([launcher]).launch, 'options')
})

t.test('passes on any bytes as arguments', async (t) => {
  const launcher = installed(t.testdir())
  const probe = `console.log(require('fs').readFileSync('/proc/self/cmdline').toString('latin1').split('\\0').slice(-4, -1).join())`
  writeFileSync(join(launcher, '../client.cjs'), probe)
  const { stdout } = spawnSync(
    'sh',
    ['-c', `exec "$1" "$(printf 'a\\377b')" '*' "$(printf 'x\\ny')"`, 'sh', launcher],
    { encoding: 'utf8' }
  )
  t.equal(stdout, 'a\u00ffb,*,x\ny\n')
})

t.test('with bash as sh the same', async (t) => {
  const bash = '/bin/bash'
  if (!needs(t, existsSync(bash), bash)) return
  const launcher = installed(t.testdir())
  t.match(run([bash, launcher, 'x']), { args: ['x'], launch: /^sigign:0{16};/ })
  const background = `trap '' INT QUIT; exec ${bash} "$1"`
  t.match(run(['sh', '-c', background, 'sh', launcher]).launch, /^sigign:0{15}6;/)
})

t.test('without its Node it says which package is missing', async (t) => {
  const directory = t.testdir({ dist: {} })
  copyFileSync(LAUNCHER, join(directory, 'dist/kappa'))
  const call = (...args: string[]) => spawnSync('sh', [join(directory, 'dist/kappa'), ...args], { encoding: 'utf8' })
  const stderr = `kappa: the Node that it runs on is missing (npm package ${NODE_PACKAGE}); install it again with: npm install --global --include=optional\n`
  t.match(call('status'), { status: 1, stdout: '', stderr })
  t.match(call('run', 'true'), { status: 125, stdout: '', stderr })
})

t.test('in a checkout it builds what is missing', async (t) => {
  const directory = t.testdir({ scripts: {}, dist: {} })
  copyFileSync(LAUNCHER, join(directory, 'scripts/kappa'))
  symlinkSync(join(ROOT, 'node_modules'), join(directory, 'node_modules'))
  const client = join(directory, 'dist/client.cjs')
  writeFileSync(
    join(directory, 'scripts/build.ts'),
    `import { writeFileSync } from 'node:fs'\nwriteFileSync(${JSON.stringify(client)}, ${JSON.stringify(CLIENT)})\nconsole.log('built')`
  )
  const first = spawnSync('sh', [join(directory, 'scripts/kappa'), 'x'], { encoding: 'utf8' })
  t.match(first, { stderr: 'built\n', status: 0 })
  t.match(JSON.parse(first.stdout), { args: ['x'], launcher: join(directory, 'scripts/kappa') })
  t.match(spawnSync('sh', [join(directory, 'scripts/kappa'), 'x'], { encoding: 'utf8' }), { stderr: '' })
  t.equal(readFileSync(client, 'utf8'), CLIENT)
})

t.test('a job is for the native client, what that leaves is for Node', async (t) => {
  const launcher = installed(t.testdir())
  const native = join(launcher, `../kappa-client-linux-${process.arch}`)
  writeFileSync(native, '#!/bin/sh\nprintf "%s|" native "$@" "${KAPPA_LAUNCH-none}"\n', { mode: 0o755 })
  const call = (args: string[], env: Record<string, string> = {}) =>
    spawnSync(launcher, args, { env: { PATH: process.env.PATH, ...env }, encoding: 'utf8' }).stdout
  t.equal(call(['run', '--', 'a b', '']), `native|${launcher}|run|--|a b||none|`)
  t.match(JSON.parse(call(['status'])), { args: ['status'] })
  t.match(JSON.parse(call(['run', 'x'], { KAPPA_CLIENT: 'node' })), { args: ['run', 'x'], launch: /^sigign:/ })
  t.match(JSON.parse(call(['run', 'x'], { KAPPA_LAUNCH: 'node' })), { args: ['run', 'x'], launch: /^sigign:/ })
  chmodSync(native, 0o644)
  t.match(JSON.parse(call(['run', 'x'])), { args: ['run', 'x'] })
})
