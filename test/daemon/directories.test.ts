import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { directories, privateDirectory, socketPath } from '../../src/daemon/directories.ts'

/** Not tap's own: its path is too long for a socket. */
function shortDirectory(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'kappa-'))
  t.teardown(() => rmSync(path, { recursive: true }))
  return path
}

t.test('KAPPA_DIR holds everything', async (t) => {
  t.strictSame(directories({ KAPPA_DIR: '/tmp/one', HOME: '/home/ada' }), {
    config: '/tmp/one/kappa.toml',
    state: '/tmp/one/state',
    runtime: '/tmp/one/run',
    cache: '/tmp/one/cache'
  })
})

t.test('a relative KAPPA_DIR is made absolute', async (t) => {
  t.equal(directories({ KAPPA_DIR: 'one' }).state, join(process.cwd(), 'one/state'))
})

t.test('else the XDG directories', async (t) => {
  const environment = { HOME: '/home/ada', XDG_RUNTIME_DIR: '/run/user/7', XDG_CACHE_HOME: '/var/cache/ada' }
  t.strictSame(directories(environment), {
    config: '/home/ada/.config/kappa/kappa.toml',
    state: '/home/ada/.local/state/kappa',
    runtime: '/run/user/7/kappa',
    cache: '/var/cache/ada/kappa'
  })
})

t.test('a relative XDG directory does not count, as its specification says', async (t) => {
  t.equal(directories({ HOME: '/home/ada', XDG_STATE_HOME: 'state' }).state, '/home/ada/.local/state/kappa')
})

t.test('KAPPA_CONFIG moves the configuration alone', async (t) => {
  const found = directories({ KAPPA_DIR: '/tmp/one', KAPPA_CONFIG: '/etc/kappa.toml' })
  t.match(found, { config: '/etc/kappa.toml', state: '/tmp/one/state' })
})

t.test('a path that is too long for a socket is replaced by a short one, the same each time', async (t) => {
  const long = { KAPPA_DIR: `/tmp/${'x'.repeat(120)}`, XDG_RUNTIME_DIR: '/run/user/7' }
  const path = socketPath(long)
  t.match(path, /^\/run\/user\/7\/kappa\/[0-9a-f]{16}$/)
  t.equal(socketPath(long), path)
  t.not(socketPath({ ...long, KAPPA_DIR: `${long.KAPPA_DIR}y` }), path)
  const both = socketPath({ ...long, XDG_RUNTIME_DIR: `/run/${'y'.repeat(120)}` })
  t.match(both, /^\/tmp\/kappa-\d+\/[0-9a-f]{16}$/)
})

t.test('the longest path that fits is taken as it is', async (t) => {
  const fits = `/${'x'.repeat(107 - '//run/socket'.length)}`
  t.equal(Buffer.byteLength(socketPath({ KAPPA_DIR: fits })), 107)
  t.match(socketPath({ KAPPA_DIR: fits, XDG_RUNTIME_DIR: '/run/user/7' }), fits)
  t.notMatch(socketPath({ KAPPA_DIR: `${fits}x`, XDG_RUNTIME_DIR: '/run/user/7' }), fits)
})

t.test('a private directory is made, and is checked when it is there', async (t) => {
  const path = join(t.testdir(), 'a/b')
  t.equal(privateDirectory(path), path)
  t.equal(statSync(path).mode & 0o777, 0o700)
  t.equal(privateDirectory(path), path)
})

t.test('a directory that others may enter is refused with the mend', async (t) => {
  const root = shortDirectory(t)
  const run = join(root, 'run')
  mkdirSync(run)
  chmodSync(run, 0o755)
  const refusal = { name: 'StateError', message: `${run} is open to other users; mend it with: chmod 700 '${run}'` }
  t.throws(() => privateDirectory(run), refusal)
  t.throws(() => socketPath({ KAPPA_DIR: root }), refusal)
})

t.test('a file or a link in its place is refused', async (t) => {
  const root = shortDirectory(t)
  symlinkSync('/tmp', join(root, 'linked'))
  writeFileSync(join(root, 'run'), '')
  t.throws(() => socketPath({ KAPPA_DIR: root }), { name: 'StateError', message: /is not a directory; move it away/ })
  t.throws(() => privateDirectory(join(root, 'linked')), { name: 'StateError' })
  t.throws(() => privateDirectory(join(root, 'run/x')), { name: 'StateError', message: /can't be made/ })
})
