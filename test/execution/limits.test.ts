import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { GROUP_NAME, GuestGroup } from '../../src/execution/guest-group.ts'
import type { Executor } from '../../src/execution/job.ts'
import type { GuestLimits } from '../../src/execution/limits.ts'
import { memoryOf, treeBytes } from '../../src/execution/usage.ts'
import { place, processesWith, type Ran, run, sandboxed, specOf, uniqueSeconds } from './executing.ts'

const MEBIBYTE = 2 ** 20

/** Generous where a test does not say else. */
const LIMITS: GuestLimits = {
  memory: undefined,
  memoryFloor: 0,
  processes: 1000,
  disk: { bytes: 2 ** 30 },
  time: undefined
}

/** A machine with so much memory, of which so much is free. */
const roomy = () => ({ memoryTotal: 2 ** 35, memoryAvailable: 2 ** 34 })

function limited(t: Test, limits: Partial<GuestLimits>, memory = roomy): Promise<Executor | null> {
  // Above the lowest priority, which has the machine's leavings.
  return sandboxed(t, { nice: 1, limits: { ...LIMITS, ...limits }, memory })
}

function sh(executor: Executor, script: string): Promise<Ran> {
  return run(executor, specOf(['sh', '-c', script]))
}

/** Fills memory until it is ended; Perl's strings are touched as they are made. */
const HOG = `exec perl -e '$| = 1; print "begun\\n"; my @a; for (1..15) { push @a, "x" x (64 << 20); select(undef, undef, undef, 0.05) } sleep 1000'`

t.test('guests that have too much memory together: the largest is ended, and told why', async (t) => {
  const executor = await limited(t, { memory: 300 * MEBIBYTE })
  if (executor === null) return
  const small = await executor.begin(specOf(['sleep', '1000']))
  small.start()
  const { end } = await sh(executor, HOG)
  t.equal(end.signal, 'SIGKILL')
  t.match(end.error, { name: 'LimitError', message: /guests\.memory/ })
  t.ok(small.processes().length > 0, 'the other lives')
  small.kill()
  await small.close()
})

t.test("when the owner's floor is touched the largest guest is ended", async (t) => {
  let available = 2 ** 34
  const memory = () => ({ memoryTotal: 2 ** 35, memoryAvailable: available })
  const executor = await limited(t, { memoryFloor: 2 ** 32 }, memory)
  if (executor === null) return
  const small = await executor.begin(specOf(['sleep', '1000']))
  small.start()
  const large = await executor.begin(
    specOf(['perl', '-e', '$a = "x" x (128 << 20); $| = 1; print "up\\n"; sleep 1000'])
  )
  large.stdout.once('data', () => {
    available = 2 ** 31
  })
  large.start()
  const end = await large.ended
  available = 2 ** 34
  t.equal(end.signal, 'SIGKILL')
  t.match(end.error?.message, /owner keeps 4096 MiB free.*guests\.memory_floor/)
  t.ok(small.processes().length > 0, 'a guest that holds nothing worth it lives')
  await large.close()
  await small.close()
})

t.test('memory that forked processes share counts once', async (t) => {
  const executor = await limited(t, { memory: 300 * MEBIBYTE })
  if (executor === null) return
  const fork = '$a = "x" x (64 << 20); for (1..7) { fork or do { sleep 3; exit } } 1 while wait != -1; print "done\\n"'
  const { end, out } = await run(executor, specOf(['perl', '-e', fork]))
  t.same([end, out.toString()], [{ exitCode: 0, signal: null }, 'done\n'])
})

t.test('a fork bomb fills its own sandbox, and the machine does not notice', async (t) => {
  const executor = await limited(t, { processes: 100 })
  if (executor === null) return
  const seconds = uniqueSeconds()
  const bomb = await executor.begin(
    specOf([
      'perl',
      '-e',
      `$| = 1; while (1) { my $p = fork; defined $p or do { print "full\\n"; exec "sleep", ${seconds} }; $p or exec "sleep", ${seconds} }`
    ])
  )
  const full = new Promise((resolve) => bomb.stdout.once('data', resolve))
  bomb.start()
  await full
  const count = bomb.processes().length
  t.ok(count > 80 && count <= 100, `${count} processes`)
  t.same((await sh(executor, 'true & wait; echo other jobs fork')).out.toString(), 'other jobs fork\n')
  bomb.kill()
  t.equal((await bomb.ended).signal, 'SIGKILL')
  t.same(processesWith(seconds), [])
  await bomb.close()
})

t.test('a job that fails for want of processes is told why', async (t) => {
  const executor = await limited(t, { processes: 50 })
  if (executor === null) return
  // It is looked at each second.
  const full = 'while (defined(my $p = fork)) { $p or sleep 1000 } sleep 4; exit 7'
  const { end } = await run(executor, specOf(['perl', '-e', full]))
  t.equal(end.exitCode, 7)
  t.match(end.error?.message, /it had 50 processes, which is guests\.processes/)
})

t.test('a disk filler is ended, whatever way it fills', async (t) => {
  const executor = await limited(t, { disk: { bytes: 64 * MEBIBYTE } })
  if (executor === null) return
  const small = await executor.begin(specOf(['sh', '-c', 'echo kept >file; sleep 1000']))
  small.start()
  const ways = {
    'many files': 'i=0; while :; do head -c 4000000 /dev/zero >f$i; i=$((i+1)); done',
    'files in /tmp, deep, in a directory that is locked':
      'cd /tmp; mkdir -p a/b/c; cd a/b/c; chmod 300 . ; i=0; while :; do head -c 4000000 /dev/zero >f$i; i=$((i+1)); done',
    'files that have no name any more':
      'for i in 3 4 5 6; do eval "exec $i>f; rm f"; done; head -c 40000000 /dev/zero >&3; head -c 40000000 /dev/zero >&4; sleep 1000',
    'empty files': 'i=0; while :; do echo >"f$i"; i=$((i+1)); done'
  }
  for (const [way, script] of Object.entries(ways)) {
    const { end } = await sh(executor, script)
    t.equal(end.signal, 'SIGKILL', way)
    t.match(end.error?.message, /guests\.disk/, way)
    t.ok(small.processes().length > 0, `${way}: the other lives`)
  }
  await small.close()
})

t.test('one large file ends by the signal for it', async (t) => {
  const executor = await limited(t, { disk: { bytes: 64 * MEBIBYTE } })
  if (executor === null) return
  const { end } = await sh(executor, 'exec dd if=/dev/zero of=file bs=1M seek=60 count=100')
  t.equal(end.signal, 'SIGXFSZ')
  t.match(end.error?.message, /a file of it reached 64 MiB \(guests\.disk\)/)
})

t.test('a job that may run for so long is ended then', async (t) => {
  const executor = await limited(t, { time: 1_000 })
  if (executor === null) return
  const { end } = await sh(executor, 'echo up; sleep 1000')
  t.equal(end.signal, 'SIGKILL')
  t.match(end.error?.message, /it ran for 1 s, which is guests\.time/)
})

t.test('open files, and what a job would like to raise again', async (t) => {
  const executor = await limited(t, { disk: { bytes: 64 * MEBIBYTE }, processes: 321 })
  if (executor === null) return
  const limits = (await sh(executor, 'ulimit -c unlimited; ulimit -n 9999999; cat /proc/self/limits')).out.toString()
  const hard = (title: string) => Number(new RegExp(`^${title} +\\S+ +(\\S+)`, 'm').exec(limits)?.[1])
  t.equal(hard('Max core file size'), 0)
  t.equal(hard('Max processes'), 321)
  t.equal(hard('Max file size'), 64 * MEBIBYTE)
  t.ok(hard('Max open files') <= 65_536)
})

t.test('groups limit memory and processes, in both versions', (t) => {
  const v2 = place(t)
  writeFileSync(`${v2}/cgroup.procs`, `${process.pid}\n`)
  writeFileSync(`${v2}/cgroup.subtree_control`, '')
  const two = GuestGroup.open(true, () => ({ version: 2, path: v2 }))!
  const inner = `${v2}/${GROUP_NAME}`
  t.same(two.procs, [`${inner}/cgroup.procs`], 'one for all')
  two.bound(12345)
  t.equal(readFileSync(`${inner}/memory.max`, 'utf8'), '12345')
  t.equal(readFileSync(`${inner}/memory.swap.max`, 'utf8'), '0')
  t.match(readFileSync(`${inner}/pids.max`, 'utf8'), /^\d+$/)
  t.equal(two.memoryUsed(), undefined)
  writeFileSync(`${inner}/memory.current`, '1000000\n')
  writeFileSync(`${inner}/memory.stat`, 'anon 5\ninactive_file 400000\n')
  writeFileSync(`${inner}/memory.events`, 'low 0\noom 3\noom_kill 2\n')
  t.equal(two.memoryUsed(), 600_000)
  t.equal(two.killed, 2)
  const v1 = place(t)
  for (const name of ['cpu', 'memory', 'pids']) mkdirSync(`${v1}/${name}`)
  const one = GuestGroup.open(true, (controller) => ({ version: 1, path: `${v1}/${controller}` }))!
  t.equal(one.procs.length, 3, 'one for each')
  one.bound(54321)
  const memory = `${v1}/memory/${GROUP_NAME}`
  t.equal(readFileSync(`${memory}/memory.limit_in_bytes`, 'utf8'), '54321')
  writeFileSync(`${memory}/memory.usage_in_bytes`, '1000000\n')
  writeFileSync(`${memory}/memory.stat`, 'total_inactive_file 400000\n')
  writeFileSync(`${memory}/memory.oom_control`, 'oom_kill_disable 0\nunder_oom 0\noom_kill 7\n')
  t.equal(one.memoryUsed(), 600_000)
  t.equal(one.killed, 7)
  t.end()
})

t.test('groups of daemons that died are removed, those of living ones stay', (t) => {
  const path = place(t)
  const [own] = GROUP_NAME.match(/\d+$/)!
  const [dead, living, elsewhere] = [`999999999.${own}`, `${process.ppid}.${own}`, `${process.ppid}.99`]
  for (const name of [dead, living, elsewhere]) mkdirSync(`${path}/kappa-guests-${name}`)
  GuestGroup.open(true, () => ({ version: 1, path }))
  const left = readdirSync(path).map((name) => name.replace('kappa-guests-', ''))
  t.notOk(left.includes(dead))
  t.ok(left.includes(living))
  t.equal(left.includes(elsewhere), own !== '4026531836', 'of another namespace, where all processes are seen')
  t.end()
})

t.test('what is added up', async (t) => {
  const directory = place(t)
  mkdirSync(`${directory}/a/b`, { recursive: true })
  writeFileSync(`${directory}/a/b/file`, Buffer.alloc(1_000_000, 1))
  const bytes = await treeBytes(directory, 100)
  t.ok(bytes >= 1_000_000 && bytes < 1_100_000, `${bytes} bytes`)
  t.equal(await treeBytes(`${directory}/none`, 100), 0)
  t.equal(await treeBytes(`${directory}/a/b/file`, 100), Number.POSITIVE_INFINITY)
  const own = memoryOf([`/proc/${process.pid}`])
  t.ok(own > 10 * MEBIBYTE && own < process.memoryUsage.rss())
  t.equal(memoryOf(['/proc/0']), 0)
})
