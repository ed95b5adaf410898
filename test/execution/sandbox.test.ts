import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import t, { type Test } from 'tap'
import type { Home } from '../../src/execution/homes.ts'
import { needs } from '../require.ts'
import { collect, FRIEND, OWN, place, sandboxed, sh, specOf } from './executing.ts'

t.test('nothing of the owner is in sight', async (t) => {
  const secrets = place(t)
  mkdirSync(`${secrets}/.ssh`)
  writeFileSync(`${secrets}/.ssh/id`, 'SECRET', { mode: 0o644 })
  const executor = await sandboxed(t)
  if (executor === null) return
  t.notMatch(await sh(executor, `cat ${secrets}/.ssh/id`), 'SECRET', 'a file of the owner')
  t.equal(
    await sh(executor, 'ls -A /home /root /run/user /mnt /media /srv /boot /proc/1/root/home 2>/dev/null | grep -v :'),
    ''
  )
  t.equal(await sh(executor, 'ls -A /var'), 'tmp')
  t.match(await sh(executor, 'ls /k /work /shm'), /(Permission denied[\s\S]*){3}/, 'names of other jobs')
  const shown = await sh(executor, 'cut -d: -f1 /etc/passwd /etc/group')
  t.same(
    new Set(shown.split('\n')),
    new Set(['root', 'guest', 'nobody', 'nogroup'].filter((name) => shown.includes(name)))
  )
  t.match(await sh(executor, 'cat /etc/shadow'), /Permission denied|No such file/)
})

t.test('nothing of the owner can be reached', async (t) => {
  const executor = await sandboxed(t)
  if (executor === null) return
  const processes = await sh(executor, 'for p in /proc/[0-9]*; do tr "\\0" " " <$p/cmdline; echo; done')
  t.equal(processes.split('\n').filter((line) => line.startsWith('/')).length, 1, 'no process but PID 1 and its own')
  t.notMatch(processes, 'node')
  t.match(await sh(executor, `kill -0 ${process.pid}; kill -0 ${process.ppid}`), /(No such process[\s\S]*){2}/)
  t.equal(await sh(executor, 'ls /proc/1/root/ | tr "\\n" " "'), await sh(executor, 'ls / | tr "\\n" " "'))
  t.match(await sh(executor, 'ls -d /proc/1/cwd/../../../root/.ssh /proc/1/root/../root/.ssh'), 'No such file')
  const fds = await sh(executor, 'for f in /proc/self/fd/*; do readlink $f; done | sort -u')
  for (const link of fds.split('\n')) t.match(link, /^pipe:|^\/dev\/null$|^\/proc\//, `descriptor to ${link}`)
})

t.test('a job has no privilege and can get none', async (t) => {
  const executor = await sandboxed(t)
  if (executor === null) return
  const status = await sh(executor, 'cat /proc/self/status')
  for (const set of ['Inh', 'Prm', 'Eff', 'Bnd', 'Amb']) t.match(status, new RegExp(`^Cap${set}:\\t0+$`, 'm'), set)
  t.match(status, /^NoNewPrivs:\t1$/m)
  t.notMatch(status, /^Uid:.*\b0\b/m, 'never root')
  t.match(await sh(executor, 'unshare -U true'), /Operation not permitted|No space left/, 'user namespaces')
  t.match(await sh(executor, 'unshare -m true'), 'Operation not permitted')
  t.match(await sh(executor, 'unshare -p -f true'), 'Operation not permitted')
  t.match(await sh(executor, 'mount -t tmpfs none /tmp'), /only root|must be superuser|permission denied/)
  t.match(await sh(executor, 'umount /proc'), /must be superuser|not permitted|only root/)
  t.match(await sh(executor, 'chroot / true'), 'Operation not permitted')
  t.match(await sh(executor, 'mknod sda b 8 0'), /not permitted|Permission denied/)
  t.match(await sh(executor, 'setpriv --reuid 0 true'), /not permitted|Invalid argument/)
  t.match(await sh(executor, 'nsenter -t 1 -m true'), 'not permitted')
  t.match(await sh(executor, 'echo x >/proc/sys/kernel/hostname'), /cannot create|Permission denied|Read-only/)
  t.match(await sh(executor, 'echo b >/proc/sysrq-trigger'), /Permission denied|cannot create/)
  t.match(await sh(executor, 'hostname mine'), /not permitted|must be root|not found/)
  t.match(await sh(executor, 'nice -n -5 true; chrt -o 0 true'), /not permitted|Permission denied|cannot set/)
})

t.test('the system is read-only, also where the owner could write', async (t) => {
  const executor = await sandboxed(t)
  if (executor === null) return
  for (const directory of [
    '/',
    '/usr',
    '/usr/local/bin',
    '/etc',
    '/opt',
    '/dev',
    '/run',
    '/home',
    '/k',
    '/proc/1/root'
  ]) {
    t.match(
      await sh(executor, `echo x >${directory}/kappa-test`),
      /Read-only|Permission denied|cannot create/,
      directory
    )
    t.notOk(existsSync(`${directory}/kappa-test`))
  }
  t.match(await sh(executor, 'mount -o remount,rw /usr; touch /usr/x'), /Read-only|Permission denied/)
})

t.test('there are no devices but the harmless ones', async (t) => {
  const executor = await sandboxed(t)
  if (executor === null) return
  const names = 'fd full null ptmx pts random shm stderr stdin stdout tty urandom zero'
  t.equal(await sh(executor, 'ls /dev | tr "\\n" " "'), names)
  t.equal(await sh(executor, 'ls /dev/pts'), 'ptmx')
  t.equal(await sh(executor, 'echo x >/dev/null && head -c 3 /dev/zero | wc -c'), '3')
  t.equal(await sh(executor, 'echo shared >/dev/shm/x && cat /dev/shm/x'), 'shared')
})

t.test('a job has a place of its own, which nobody finds afterwards', async (t) => {
  const executor = await sandboxed(t)
  if (executor === null) return
  const script =
    'pwd; echo $HOME; echo $TMPDIR; echo here >file; echo there >/tmp/file; echo mem >/dev/shm/file; ls -A . /tmp /dev/shm'
  const first = (await sh(executor, script)).split('\n')
  t.equal(first[0], first[1])
  t.equal(first[0], first[2])
  const again = await sh(executor, 'ls -A . /tmp/ /dev/shm/ /var/tmp/')
  t.notMatch(again, 'file')
  t.not((await sh(executor, 'pwd')).split('\n')[0], first[0])
})

t.test('what a job leaves is removed without following its links', async (t) => {
  const victim = place(t)
  writeFileSync(`${victim}/precious`, 'kept')
  const executor = await sandboxed(t)
  if (executor === null) return
  const job = await executor.begin(
    specOf([
      'sh',
      '-c',
      `ln -s ${victim} link; ln -s ${victim}/precious file; mkdir -p a/b/c locked/inner; ln -s ${victim} a/b/c/x
       touch locked/inner/f; chmod 000 locked/inner locked a; mkfifo pipe; d=.; i=0
       while [ $i -lt 300 ]; do d=$d/d; mkdir $d; i=$((i+1)); done; ln -s ${victim} $d/end; chmod 0 .`
    ])
  )
  const directory = job.directory
  job.start()
  t.same(await job.ended, { exitCode: 0, signal: null })
  await job.close()
  t.notOk(existsSync(directory.replace(/\/home$/, '')))
  t.equal(readFileSync(`${victim}/precious`, 'utf8'), 'kept')
})

t.test('leftovers of a crashed daemon are removed at the next start', async (t) => {
  const scratchDirectory = `${place(t)}/scratch`
  const victim = place(t)
  writeFileSync(`${victim}/precious`, 'kept')
  mkdirSync(`${scratchDirectory}/old/work/x`, { recursive: true })
  symlinkSync(victim, `${scratchDirectory}/old/work/x/link`)
  symlinkSync(victim, `${scratchDirectory}/link`)
  const executor = await sandboxed(t, { scratchDirectory })
  t.notOk(existsSync(`${scratchDirectory}/old`))
  t.equal(readFileSync(`${victim}/precious`, 'utf8'), 'kept')
  await executor?.close()
})

t.test('guests get only what is left over of CPU and memory', async (t) => {
  const executor = await sandboxed(t)
  if (executor === null) return
  const stat = (await sh(executor, 'cat /proc/self/stat')).replace(/^.*\) /, '').split(' ')
  t.equal(stat[16], '19', 'nice')
  t.equal(await sh(executor, 'cat /proc/self/oom_score_adj'), '1000')
})

/** What a job of this home gets from sockets of the machine: an abstract one and one of the loopback. */
async function reached(t: Test, home: Home): Promise<{ abstract: string; loopback: string } | null> {
  if (
    !needs(t, existsSync('/usr/bin/perl') && existsSync('/bin/bash'), 'perl and bash, to open sockets in the sandbox')
  )
    return null
  const executor = await sandboxed(t)
  if (executor === null) return null
  const name = `kappa-test-${process.pid}-${home.kind}`
  const servers = [
    createServer((socket) => socket.end('reached')),
    createServer((socket) => socket.end('reached'))
  ] as const
  await new Promise<void>((resolve) => servers[0].listen({ path: `\0${name}` }, resolve))
  await new Promise<void>((resolve) => servers[1].listen({ port: 0, host: '127.0.0.1' }, resolve))
  t.teardown(() => servers.map((server) => server.close()))
  const perl = `use Socket; socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, pack("S a*", AF_UNIX, "\\0${name}")) or die "refused"; print <S>`
  const port = (servers[1].address() as { port: number }).port
  const abstract = await sh(executor, `perl -e '${perl}'`, { home })
  const loopback = await sh(executor, `bash -c 'exec 3<>/dev/tcp/127.0.0.1/${port} && cat <&3'`, { home })
  if (home.kind === 'friend') {
    t.equal(await sh(executor, `sed -n '3,$s/:.*//p' /proc/net/dev | tr -d ' '`, { home }), 'lo')
  }
  return { abstract, loopback }
}

t.test("a friend's job has no network and reaches no socket of the machine", async (t) => {
  const got = await reached(t, FRIEND)
  if (got === null) return
  t.match(got.abstract, 'refused')
  t.match(got.loopback, 'Connection refused')
})

t.test("an own machine's job has the machine's network", async (t) => {
  const got = await reached(t, OWN)
  if (got === null) return
  t.same(got, { abstract: 'reached', loopback: 'reached' })
})

t.test('jobs of one home are apart from each other', async (t) => {
  const executor = await sandboxed(t)
  if (executor === null) return
  const one = await executor.begin(
    specOf(['sh', '-c', 'echo mine >/tmp/x; echo mine >/dev/shm/x; echo mine >x; echo up; cat'])
  )
  one.start()
  const up = new Promise((resolve) => one.stdout.once('data', resolve))
  await up
  t.notMatch(await sh(executor, 'ls /proc; cat x /tmp/x /dev/shm/x; ps ax'), 'mine')
  one.stdin.end()
  await collect(one.stdout)
  await one.close()
})
