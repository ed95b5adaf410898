import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, chownSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { quote } from '../../../src/execution/quote.ts'
import { abortScript, closeScript, type FuseMount, mountScript } from '../../../src/files/fuse/mount.ts'
import { needs } from '../../require.ts'
import { finished, fuseUnavailable } from './mounted.ts'

const SERVER = join(import.meta.dirname, 'server.ts')
/** Nobody else's, here or in other tests. */
const USER = 54_323
const unavailable = fuseUnavailable()
const isRoot = process.getuid?.() === 0

const mount = (directory: string, more: Partial<FuseMount> = {}): FuseMount => ({
  directory: quote(directory),
  descriptor: 3,
  source: 'kappa-tree',
  isReadOnly: false,
  checksModes: false,
  uid: 0,
  gid: 0,
  ...more
})

/** In the shell that has mounted: serves, asks, ends. */
function use(mounted: FuseMount, script: string): string {
  const server = [process.execPath, SERVER].map(quote).join(' ')
  return `
set -e
# What tap loads into each Node writes where another user may not.
unset NODE_OPTIONS
${mountScript(mounted)}${server} '{"validMs":1000}' </dev/null >/dev/null &
${closeScript([mounted])}[ ! -e /proc/self/fd/3 ]
cd ${mounted.directory}; ${script}
cd /; ${abortScript(mounted)}
wait $! && echo ended
grep -c kappa-tree /proc/self/mountinfo || :
`
}

/** Runs it under `dash` and `bash`, whatever `sh` is here. */
async function run(t: Test, command: string[], script: (directory: string) => string, expected: string) {
  for (const shell of ['dash', 'bash']) {
    if (spawnSync(shell, ['-c', ':']).status !== 0) continue
    const directory = mkdtempSync(join(tmpdir(), 'kappa-mount-'))
    chmodSync(directory, 0o755)
    if (isRoot) chownSync(directory, USER, USER)
    const [program, ...args] = [...command, shell, '-c', script(directory)]
    const { stdout, stderr, code } = await finished(spawn(program!, args), shell)
    rmSync(directory, { recursive: true })
    t.same({ stdout, stderr, code }, { stdout: expected, stderr: '', code: 0 }, shell)
  }
}

t.test('mounts, serves and ends in namespaces of its own', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  const script = 'ls; echo 1 >a; cat a; ls -A; sed -n "s/.* - //p" /proc/self/mountinfo | grep kappa-tree'
  const options = 'rw,user_id=0,group_id=0,allow_other,max_read=1048576'
  await run(
    t,
    ['unshare', '-Urm'],
    (d) => use(mount(d), script),
    `held\n1\na\nheld\nfuse kappa-tree ${options}\nended\n0\n`
  )
})

t.test('read-only, and with modes checked', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  const refused = 'cat held; (echo 1 >a) 2>/dev/null || echo read-only'
  await run(t, ['unshare', '-Urm'], (d) => use(mount(d, { isReadOnly: true }), refused), 'held\nread-only\nended\n0\n')
  const checked = mountScript(mount('/x', { checksModes: true, descriptor: 9, uid: 5, gid: 6 }))
  t.match(
    checked,
    /^exec 9<>\/dev\/fuse\nmount -i -t fuse -o fd=9,rootmode=40000,user_id=5,group_id=6,.*,default_permissions /
  )
})

t.test('as a user without rights', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  if (!needs(t, isRoot, 'root, to become a user without rights')) return
  // On a machine where only root may open /dev/fuse, the user gets a node of their own in its place.
  const node = mkdtempSync(join(tmpdir(), 'kappa-node-'))
  t.teardown(() => rmSync(node, { recursive: true }))
  chmodSync(node, 0o755)
  const prepare = `mount -t tmpfs -o mode=755 node ${node} && mknod ${node}/fuse c 10 229 && chmod 666 ${node}/fuse && mount --bind ${node}/fuse /dev/fuse && exec "$@"`
  const become = ['setpriv', `--reuid=${USER}`, `--regid=${USER}`, '--clear-groups', 'unshare', '-Urm']
  const command = ['unshare', '-m', 'sh', '-c', prepare, 'sh', ...become]
  await run(t, command, (d) => use(mount(d), 'id -u; echo 1 >a; cat a; stat -c %u a'), '0\n1\n0\nended\n0\n')
})

t.test('as root, without a user namespace', async (t) => {
  if (!needs(t, isRoot && unavailable === undefined, 'root and /dev/fuse')) return
  await run(t, ['unshare', '-m'], (d) => use(mount(d), 'echo 1 >a; cat a'), '1\nended\n0\n')
})

t.test('what no shell could do is refused', async (t) => {
  for (const wrong of [{ descriptor: 2 }, { descriptor: 10 }, { source: 'a b' }]) {
    t.throws(() => mountScript(mount('/x', wrong)), { name: 'SandboxError' })
  }
})

t.test('a mount that fails says so and ends the script', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  const script = `set -e\n${mountScript(mount('/nowhere/at/all'))}echo on`
  const { stdout, stderr, code } = await finished(spawn('unshare', ['-Urm', 'sh', '-c', script]), 'sh')
  t.equal(stdout, '')
  t.match(stderr, /\/nowhere\/at\/all/)
  t.not(code, 0)
})
