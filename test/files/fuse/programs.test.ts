import { spawnSync } from 'node:child_process'
import t, { type Test } from 'tap'
import { needs } from '../../require.ts'
import { fuseUnavailable, Mounted } from './mounted.ts'

const unavailable = fuseUnavailable()
const hasPython = spawnSync('python3', ['-c', '']).status === 0

/** Runs a script and compares what it prints with what is expected; names the server's faults too. */
async function prints(t: Test, mounted: Mounted, what: string, script: string, expected: string | RegExp) {
  const { stdout, stderr, code } = await mounted.run(`set -e; ${script}`)
  if (typeof expected === 'string') t.equal(stdout, expected, what)
  else t.match(stdout, expected, what)
  t.same({ stderr, code }, { stderr: '', code: 0 }, `${what}: without complaint`)
}

const TRANSFERS = `
head -c 3000001 /dev/urandom >random
for bs in 1 999 4096 131072 4194304
do [ $bs = 1 ] && count=2000 || count=
dd if=random of=kept bs=$bs \${count:+count=$count} 2>/dev/null
dd if=random bs=$bs \${count:+count=$count} 2>/dev/null | cmp - kept && echo same $bs
done
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13; do cat random; done >large
dd if=large of=kept bs=1M 2>/dev/null; cmp large kept; rm large
cp random copy; cmp random copy; dd if=copy iflag=direct bs=64k 2>/dev/null | cmp - random; echo direct
`

t.test('shell programs', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  await using mounted = await Mounted.start()
  const check = (what: string, script: string, expected: string | RegExp) => prints(t, mounted, what, script, expected)
  await check('ls and cat', 'ls -a; cat held', '.\n..\nheld\nheld\n')
  await check('append', 'echo one >a; echo two >>a; cat a; wc -c <a', 'one\ntwo\n8\n')
  await check(
    'links',
    'ln a b; ln -s b c; cat c; readlink c; stat -c %h a; rm a c; stat -c %h b',
    'one\ntwo\nb\n2\n1\n'
  )
  await check(
    'directories',
    'mkdir -p d/e; mv b d/e/f; find d | sort; rmdir d 2>/dev/null || rm -r d; ls',
    'd\nd/e\nd/e/f\nheld\n'
  )
  await check(
    'modes',
    "umask 027; >m; mkdir n; stat -c '%a %F' m n; chmod 4711 m; stat -c %a m; rm -r m n",
    '640 regular empty file\n750 directory\n4711\n'
  )
  await check('FIFOs', 'mkfifo p; (echo through >p) & cat p; wait; rm p', 'through\n')
  await check(
    'times',
    "touch -d '1931-02-03 04:05:06.123456789 UTC' a; stat -c %.9Y a; touch -d '2400-01-01 UTC' a; stat -c %Y a; rm a",
    '-1227902093.876543211\n13569465600\n'
  )
  await check(
    'truncate',
    'printf 0123456789 >a; truncate -s 4 a; cat a; truncate -s 6 a; od -An -c a; rm a',
    '0123   0   1   2   3  \\0  \\0\n'
  )
  await check(
    'reading and writing in pieces',
    TRANSFERS,
    'same 1\nsame 999\nsame 4096\nsame 131072\nsame 4194304\ndirect\n'
  )
  await check('mv -n', 'echo 1 >x; echo 2 >y; mv -n x y || :; cat x y; mv x y; cat y; rm y', '1\n2\n1\n')
  await check(
    'many names',
    'mkdir many; cd many; i=0; while [ $i -lt 3000 ]; do : >a-rather-long-name-for-a-file-$i; i=$((i+1)); done; ls | wc -l; ls -l | wc -l; ls -U | sort -u | wc -l; cd ..; rm -r many',
    '3000\n3001\n3000\n'
  )
  await check(
    'bytes that are no UTF-8',
    "name=$(printf 'a\\377\\001\\n-b'); echo x >\"$name\"; printf '%s\\n' a* | od -An -tx1; rm a*",
    ' 61 ff 01 0a 2d 62 0a\n'
  )
  await check('flock', 'flock -n held true; echo locked', 'locked\n')
  await check('df', 'stat -f -c "%s %b %f %a %l" .', '4096 1000000 600000 500000 255\n')
  await check('a program', 'cp /bin/echo echo; ./echo runs; rm echo', 'runs\n')
  await mounted.until(({ nodes }) => nodes <= 6)
  t.match(await mounted.ask('state'), { faults: [] })
})

t.test('the same with everything cached', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  await using mounted = await Mounted.start({
    validMs: 1e9,
    openFlags: 2,
    invalidation: 'explicit',
    readdirplus: 'always'
  })
  const check = (what: string, script: string, expected: string) => prints(t, mounted, what, script, expected)
  await check('names', '[ ! -e a ]; echo 1 >a; cat a; mv a b; [ ! -e a ]; cat b; rm b; [ ! -e b ]; ls', '1\n1\nheld\n')
  await check(
    'reading and writing in pieces',
    TRANSFERS,
    'same 1\nsame 999\nsame 4096\nsame 131072\nsame 4194304\ndirect\n'
  )
  await check(
    'directories',
    'mkdir d; touch d/1 d/2; ls d; ls d; rm d/1; ls d; rm -r d; ls',
    '1\n2\n1\n2\n2\ncopy\nheld\nkept\nrandom\n'
  )
  t.match(await mounted.ask('state'), { faults: [] })
})

const PYTHON = `
import ctypes, errno, fcntl, mmap, os, signal
def expect(what, found, wanted):
    print(what, 'ok' if found == wanted else 'found %r, not %r' % (found, wanted))
def number(call, *args):
    try: call(*args)
    except OSError as e: return errno.errorcode.get(e.errno, e.errno)
fd = os.open('f', os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o640)
expect('excl', number(os.open, 'f', os.O_CREAT | os.O_EXCL), 'EEXIST')
os.write(fd, b'x' * 10000)
with mmap.mmap(fd, 10000) as m:
    expect('mmap read', m[9999:], b'x')
    m[5000:5005] = b'hello'
    m.flush()
expect('mmap write', os.pread(fd, 7, 4999), b'xhellox')
os.fsync(fd)
append = os.open('f', os.O_WRONLY | os.O_APPEND)
os.lseek(append, 0, 0); os.write(append, b'end')
expect('append', os.stat('f').st_size, 10003)
os.posix_fallocate(fd, 0, 20000)
expect('fallocate', os.fstat(fd).st_size, 20000)
os.ftruncate(fd, 0); os.pwrite(fd, b'data', 1000000)
expect('data', os.lseek(fd, 0, os.SEEK_DATA), 999424)
expect('hole', os.lseek(fd, 999424, os.SEEK_HOLE), 1000004)
expect('before all', number(os.lseek, fd, -5, os.SEEK_DATA), 'ENXIO')
expect('far off', number(os.lseek, fd, 2**62, os.SEEK_HOLE), 'ENXIO')
expect('no data', number(os.lseek, fd, 2000000, os.SEEK_DATA), 'ENXIO')
g = os.open('g', os.O_RDWR | os.O_CREAT)
expect('copy', os.copy_file_range(fd, g, 4, 1000000, 2), 4)
expect('copied', os.pread(g, 9, 0), b'\\0\\0data')
os.setxattr('f', 'user.k', b'v\\0w'); expect('xattr', os.getxattr('f', 'user.k'), b'v\\0w')
expect('xattr exists', number(os.setxattr, 'f', 'user.k', b'', os.XATTR_CREATE), 'EEXIST')
expect('xattrs', os.listxattr('f'), ['user.k']); os.removexattr('f', 'user.k')
expect('no xattr', number(os.getxattr, 'f', 'user.k'), 'ENODATA')
libc = ctypes.CDLL(None, use_errno=True)
def rename(a, b, flags):
    return 0 if libc.renameat2(-100, a, -100, b, flags) == 0 else errno.errorcode[ctypes.get_errno()]
expect('exchange', (rename(b'f', b'g', 2), os.stat('g').st_size), (0, 1000004))
expect('noreplace', rename(b'f', b'g', 1), 'EEXIST')
expect('whiteout', rename(b'f', b'g', 4), 'EINVAL')
tmp = os.open('.', os.O_TMPFILE | os.O_RDWR, 0o600); os.write(tmp, b'unnamed')
expect('tmpfile', (os.pread(tmp, 9, 0), os.fstat(tmp).st_nlink), (b'unnamed', 0))
os.unlink('g'); expect('unlinked', os.pread(fd, 4, 1000000), b'data')
fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB); fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
expect('far', number(os.pwrite, fd, b'x', 2**62), 'EFBIG')
expect('name', number(os.mkdir, 'n' * 5000), 'ENAMETOOLONG')
expect('utime', (os.utime('f', ns=(-1, 2**62)), os.stat('f').st_atime_ns, os.stat('f').st_mtime_ns)[1:], (-1, 2**62))
`

t.test('what only system calls do', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  if (!needs(t, hasPython, 'python3')) return
  await using mounted = await Mounted.start()
  const { stdout, stderr, code } = await mounted.run(`exec python3 - <<'END'\n${PYTHON}\nEND\n`)
  t.same({ stderr, code }, { stderr: '', code: 0 })
  const lines = stdout.trimEnd().split('\n')
  t.ok(lines.length > 20)
  for (const line of lines) t.match(line, / ok$/)
  t.match(await mounted.ask('state'), { faults: [] })
})
