import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { needs } from '../../require.ts'
import { fuseUnavailable } from '../fuse/mounted.ts'
import { TreeMount } from './tree-mount.ts'

const unavailable = fuseUnavailable()
const has = (program: string) => spawnSync(program, ['--version']).status === 0

/** A directory of home, and the mount that shows it. */
async function place(t: Test) {
  const home = mkdtempSync(join(realpathSync(tmpdir()), 'kappa-programs-'))
  t.teardown(() => rmSync(home, { recursive: true, force: true }))
  const mount = await TreeMount.start()
  const prints = async (script: string, expected: string, what: string) =>
    t.same(await mount.run(home, `set -e; ${script}`), { stdout: expected, stderr: '', code: 0, signal: null }, what)
  const native = (script: string) => execFileSync('sh', ['-c', `set -e; ${script}`], { cwd: home, encoding: 'utf8' })
  return { mount, prints, native, home }
}

t.test('git: commits, clones and checks', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  if (!needs(t, has('git'), 'git')) return
  const { mount, prints, native } = await place(t)
  await using _ = mount
  const git = 'git -c user.name=ann -c user.email=ann@home -c init.defaultBranch=main -c gc.auto=0'
  const make = `${git} init -q r; cd r; for i in 1 2 3 4 5 6 7 8 9; do echo $i >f$i; done; mkdir d; echo x >d/x; ${git} add .
${git} commit -qm one; ${git} mv f1 g1; ${git} commit -qam two; ${git} fsck; cd ..; ${git} clone -q r s
${git} -C s log --format=%s; ${git} -C s gc -q; ${git} -C s status --short`
  await prints(make, 'two\none\n', 'in the mount')
  t.equal(native(`${git} -C r fsck && ${git} -C s fsck && ${git} -C s status --short`), '', 'at home')
})

t.test('archives and copies are what was archived and copied', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  const { mount, prints, native } = await place(t)
  await using _ = mount
  native(`mkdir a a/empty; for i in 1 2 3; do echo $i >a/$i; done; ln a/1 a/hard; ln -s 1 a/link; ln -s /nowhere/x a/dangling
touch -d '2001-02-03 04:05:06' a/2; chmod 4710 a/2; chmod 1777 a/empty; printf x >"a/$(printf '\\377')"`)
  const look = (name: string) => `(cd ${name} && ls -lAiRb --time-style=+%s | sed 's/^ *[0-9]* //' | grep -v '^total')`
  native(`${look('a')} >before`)
  await prints(
    'tar cf a.tar a; mkdir t; tar xf a.tar -C t; tar df a.tar; cp -a a c; mv c d; diff -r --no-dereference a d',
    '',
    'in the mount'
  )
  t.equal(native(`${look('d')} | cmp - before && ${look('t/a')} | cmp - before`), '', 'at home')
})

t.test('a compiler gives the same bytes', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  if (!needs(t, has('gcc'), 'gcc')) return
  const { mount, prints, native } = await place(t)
  await using _ = mount
  native(`echo 'int printf(const char*,...); int main(void){return printf("hi")-2;}' >a.c; gcc -O1 -o native a.c`)
  await prints(
    'gcc -O1 -c a.c; gcc -o there a.o; ./there; cmp native there; gcc -O1 -o again -pipe a.c',
    'hi',
    'the same'
  )
  t.equal(native('./there && cmp native there && cmp native again'), 'hi', 'at home')
})

const DATABASE = `
import sqlite3
c = sqlite3.connect('db')
c.execute('pragma journal_mode=delete')
c.execute('create table t(a, b)')
for i in range(5):
    with c: c.execute('insert into t values(?, ?)', (i, 'x' * 5000))
try:
    with c:
        c.execute('delete from t')
        raise ValueError
except ValueError: pass
print(c.execute('select count(*) from t').fetchone(), c.execute('pragma integrity_check').fetchone())
`

const CALLS = `
import fcntl, mmap, os, subprocess, sys, tempfile
f = tempfile.TemporaryFile(dir='.')
f.write(b'hello' * 1000); f.seek(0)
print('deleted', len(f.read()), os.fstat(f.fileno()).st_nlink)
for close in (False, True):
    open('m', 'wb').write(bytes(10000))
    f = open('m', 'r+b'); m = mmap.mmap(f.fileno(), 10000); m[5000:5005] = b'hello'
    m.close() if close else m.flush()
    f.close()
    print('mapped', open('m', 'rb').read()[5000:5005])
for call, name in ((fcntl.flock, 'flock'), (fcntl.lockf, 'lockf')):
    a = open('lock', 'w'); call(a, fcntl.LOCK_EX)
    other = 'import fcntl\\ntry: fcntl.%s(open("lock", "w"), fcntl.LOCK_EX | fcntl.LOCK_NB); print("both")\\nexcept OSError: print("one")' % name
    print(name, subprocess.run([sys.executable, '-c', other], capture_output=True, text=True).stdout.strip())
for i in range(700): open('big%d' % i, 'w').close()
for e in os.scandir('.'):
    if e.name.startswith('big'): os.unlink(e.path)
print('left', sorted(os.listdir('.')))
f = open('s', 'wb'); f.seek(10 ** 9); f.write(b'x'); f.close()
print('sparse', os.stat('s').st_size, os.stat('s').st_blocks < 100)
`

t.test('python: a database, mappings, locks, deleted and sparse files', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  if (!needs(t, has('python3'), 'python3')) return
  const { mount, prints, native } = await place(t)
  await using _ = mount
  await prints(`python3 -c "$(cat <<'EOT'\n${DATABASE}\nEOT\n)"`, "(5,) ('ok',)\n", 'a database')
  t.equal(
    native(`python3 -c 'import sqlite3; print(sqlite3.connect("db").execute("pragma integrity_check").fetchone())'`),
    "('ok',)\n"
  )
  const expected = [
    'deleted 5000 0',
    "mapped b'hello'",
    "mapped b'hello'",
    'flock one',
    'lockf one',
    "left ['db', 'lock', 'm']",
    'sparse 1000000001 True',
    ''
  ]
  await prints(`python3 -c "$(cat <<'EOT'\n${CALLS}\nEOT\n)"`, expected.join('\n'), 'calls')
})

t.test('FIFOs lead from program to program', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  const { mount, prints, native } = await place(t)
  await using _ = mount
  await prints(
    'umask 0; mkfifo -m 640 p; (echo through >p) & cat p; wait; stat -c "%a %F" p',
    'through\n640 fifo\n',
    'there'
  )
  t.equal(native('stat -c "%a %F" p'), '640 fifo\n', 'at home')
  const { stderr } = await mount.run('', 'mkfifo tmp')
  t.match(stderr, /File exists/)
})

t.test('a file of the system that has two names is read, though it is not known to be as it was', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  const { mount, native, home } = await place(t)
  await using _ = mount
  native('echo text >one; ln one two')
  const system = join(mount.top, 's', home)
  t.match(await mount.run(undefined, `cat ${system}/one ${system}/two`), { stdout: 'text\ntext\n', code: 0 })
})
