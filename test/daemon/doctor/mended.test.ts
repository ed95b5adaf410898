import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { CheckResult } from '../../../src/daemon/control-results.ts'
import { needs } from '../../require.ts'

const EXAMINE = join(import.meta.dirname, 'examine-here.ts')

interface Host {
  /** Runs shell text in it, and throws when that fails; what it wrote. */
  type(lines: string[]): string
  /** As that user; default: root. */
  check(id: string, uid?: number): CheckResult
}

/** A host with a mount namespace of its own; with `users` it has a user namespace, too, in which root is root and all others are. */
async function emulate(t: Test, { users, setUp }: { users: boolean; setUp: string[] }): Promise<Host> {
  const directory = mkdtempSync(join(tmpdir(), 'kappa-mended-'))
  chmodSync(directory, 0o755)
  const kinds = users ? ['--user', '--mount'] : ['--mount']
  const init = spawn('unshare', [...kinds, 'sh', '-c', 'echo up; read -r _'], { stdio: ['pipe', 'pipe', 'inherit'] })
  t.teardown(async () => {
    const gone = once(init, 'exit')
    init.stdin!.end()
    await gone
    rmSync(directory, { recursive: true, force: true })
  })
  await once(init.stdout!, 'data')
  if (users) for (const map of ['uid_map', 'gid_map']) writeFileSync(`/proc/${init.pid}/${map}`, '0 0 65536')
  const enter = ['-t', String(init.pid), ...(users ? ['-U'] : []), '-m']
  const run = (argv: string[]): string => {
    const { status, stdout, stderr } = spawnSync('nsenter', [...enter, ...argv], { encoding: 'utf8', timeout: 20_000 })
    if (status !== 0) throw new Error(`${argv.join(' ')}: ${stderr}`)
    return stdout
  }
  const type = (lines: string[]) => run(['sh', '-ec', ['sudo() { "$@"; }', ...lines].join('\n')])
  // What is kept for the next boot is not this machine's.
  type([
    'mount --make-rprivate /',
    `mkdir ${directory}/etc && cp -a /etc/. ${directory}/etc && mount --bind ${directory}/etc /etc`
  ])
  type(setUp)
  const check = (id: string, uid = 0) => {
    const scratch = mkdtempSync(join(directory, 'scratch-'))
    chownSync(scratch, uid, uid)
    const as = ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups']
    const checks: CheckResult[] = JSON.parse(run([...as, process.execPath, EXAMINE, scratch]))
    return checks.find((one) => one.id === id)!
  }
  return { type, check }
}

/** In an emulated host: nothing is wrong, then something is, and what is printed then mends it. */
async function mended(t: Test, id: string, host: Host, spoil: string[], found: RegExp, uid = 0): Promise<void> {
  t.equal(host.check(id, uid).verdict, 'ok', 'before')
  host.type(spoil)
  const { verdict, mend, ...said } = host.check(id, uid)
  t.not(verdict, 'ok')
  t.match(said.found, found)
  host.type(mend)
  t.match(host.check(id, uid), { verdict: 'ok', mend: [] }, mend.join('; '))
}

/** Somebody without any rights. */
const USER = 61_234
const isRoot = process.getuid!() === 0
const hasSysctl = ['/usr/sbin/sysctl', '/sbin/sysctl'].some((path) => existsSync(path))

t.test('user namespaces that are forbidden', async (t) => {
  if (!needs(t, isRoot && hasSysctl, 'root and sysctl')) return
  const host = await emulate(t, { users: true, setUp: [] })
  await mended(t, 'sandbox', host, ['echo 0 >/proc/sys/user/max_user_namespaces'], /max_user_namespaces is 0/)
})

t.test('too few inotify watches', async (t) => {
  if (!needs(t, isRoot && hasSysctl, 'root and sysctl')) return
  const host = await emulate(t, { users: true, setUp: [] })
  await mended(t, 'inotify', host, ['echo 1000 >/proc/sys/user/max_inotify_watches'], /watches is 1000, fewer than/)
})

t.test('/dev/fuse: not there, and not open to all', async (t) => {
  if (!needs(t, isRoot && existsSync('/dev/fuse'), 'root and /dev/fuse')) return
  const host = await emulate(t, {
    users: false,
    setUp: [
      // What tests run in may be a container itself.
      'for f in /.dockerenv /run/.containerenv; do [ ! -e $f ] || mount --bind /dev/null $f; done',
      'mkdir /tmp/kappa-dev-$$ && mount -t tmpfs none /tmp/kappa-dev-$$ && cd /tmp/kappa-dev-$$',
      'for d in null zero full random urandom tty; do : >$d; mount --bind /dev/$d $d; done',
      'mknod -m 666 fuse c 10 229; mkdir pts; mount --rbind /dev/pts pts; ln -s pts/ptmx /proc/self/fd .',
      'mount --rbind . /dev && cd / && umount -l /tmp/kappa-dev-$$ && rmdir /tmp/kappa-dev-$$'
    ]
  })
  await mended(t, 'files', host, ['rm /dev/fuse'], /no \/dev\/fuse/)
  // A daemon of root gives its guests a device of their own then.
  await mended(t, 'files', host, ['chmod 600 /dev/fuse'], /not open to all/, USER)
})
