import { type StdioOptions, spawnSync } from 'node:child_process'
import { existsSync, openSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { lanAvailable } from '../lan.ts'
import { needs } from '../require.ts'
import { gate } from './gate.ts'
import { emulatedLan, endedThere, jobProcesses, KAPPA, longJob, pair, sees, TestPeer, until } from './peers.ts'

/** Above the lease of other jobs. */
const CUT_MS = 9_500

async function household(t: Test) {
  const [home, target] = await Promise.all([TestPeer.start(t, { name: 'home' }), TestPeer.start(t, { name: 'target' })])
  await pair(home, target)
  return { home, target }
}

/** The id of a job that was detached there. */
async function detached(home: TestPeer, target: TestPeer | string, argv: string[]): Promise<string> {
  const { code, stdout, stderr } = await home.there(target, argv, { options: ['--detach'] })
  if (code !== 0 || !/^[a-z][a-z2-7]+\n$/.test(stdout)) throw new Error(`${code}: ${stdout}${stderr}`)
  return stdout.trim()
}

function recordings({ directory }: TestPeer): string[] {
  const path = join(directory, 'state/recordings')
  return existsSync(path) ? readdirSync(path) : []
}

t.jobs = 3

t.test('a cable that is cut for longer than the lease', { buffered: true }, async (t) => {
  const lan = await emulatedLan(t, { hosts: 2 })
  if (!lan) return
  const [home, target] = (await Promise.all(
    ['home', 'target'].map((name, host) => TestPeer.start(t, { name, lan, host }))
  )) as [TestPeer, TestPeer]
  await pair(home, target)
  const count = 50
  const script = `trap 'echo TERM' TERM; i=0; while [ $i -lt ${count} ]; do echo $i; i=$((i+1)); sleep 0.2; done; exit 8`
  const id = await detached(home, target, ['sh', '-c', script])
  const short = await detached(home, target, ['sh', '-c', 'sleep 1; echo ended; exit 6'])
  await lan.cut(1, 'unplug')
  await delay(CUT_MS)
  t.same(
    (await home.jobs()).filter(({ state }) => state === 'lost'),
    [],
    'nothing is given up'
  )
  await lan.mend(1)
  t.match(await home.kappa(['wait', short]), { code: 6, stderr: '' })
  t.match(await home.kappa(['wait', id]), { code: 8, stderr: '' })
  const lines = Array.from({ length: count }, (_, line) => `${line}\n`).join('')
  t.match(await home.kappa(['logs', id]), { stdout: lines, stderr: '' })
  t.match(await home.kappa(['logs', short]), { stdout: 'ended\n' })
})

t.test('a target that others vouched for, and a home that was started anew', { buffered: true }, async (t) => {
  const lan = await emulatedLan(t, { hosts: 3 })
  if (!lan) return
  const [a, b, c] = (await Promise.all(
    ['a', 'b', 'c'].map((name, host) => TestPeer.start(t, { name, lan, host }))
  )) as [TestPeer, TestPeer, TestPeer]
  await pair(a, b)
  await pair(b, c)
  await sees(a, c)
  const id = await detached(a, c, ['sh', '-c', 'echo first; sleep 2; echo second; exit 6'])
  await a.killDaemon()
  await until('it has ended', () => endedThere(c, [id]))
  await a.startDaemon()
  t.match(await a.kappa(['wait', id]), { code: 6, stderr: '' })
  t.match(await a.kappa(['logs', id]), { stdout: 'first\nsecond\n', stderr: '' })
  await until('nothing is left there', () => recordings(c).length === 0)
})

t.test('output beyond the bounds is dropped, and that is said', { buffered: true }, async (t) => {
  const end = gate()
  const { home, target } = await household(t)
  const bytes = 70_000_000
  const id = await detached(home, target, ['sh', '-c', `head -c ${bytes} /dev/zero; echo why >&2`])
  t.match(await home.kappa(['wait', id]), { code: 0, stderr: '' })
  const { stdout, stderr } = await home.kappa(['logs', id])
  const most = 64 * 2 ** 20
  t.equal(stdout.length, most)
  t.match(
    stderr,
    new RegExp(
      `^why\\nkappa: what ${id} wrote is not whole, ${bytes - most} bytes are missing: target: [^\\n]*64 MiB[^\\n]*\\n$`
    )
  )
  // Of all jobs together, while home is away.
  await target.ok(['config', 'set', 'guests.output', '2 MiB'])
  const script = `${end.wait}; head -c 1500000 /dev/zero`
  const held = [await detached(home, target, ['sh', '-c', script]), await detached(home, target, ['sh', '-c', script])]
  await home.stopDaemon()
  await end.open(2)
  await until('they have ended', () => endedThere(target, held))
  await home.startDaemon()
  const logs = []
  for (const job of held) {
    t.match(await home.kappa(['wait', job]), { code: 0 })
    logs.push(await home.kappa(['logs', job]))
  }
  t.equal(logs[0]!.stdout.length + logs[1]!.stdout.length, 2 * 2 ** 20)
  t.match(logs.map(({ stderr }) => stderr).join(''), /guests\.output/)
  await until('nothing is left there', () => recordings(target).length === 0)
})

t.test('a full disk there ends the recording, not the job and not the daemon', { buffered: true }, async (t) => {
  const unavailable = lanAvailable()
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  const lan = (await emulatedLan(t, { hosts: 2 }))!
  const [home, target] = (await Promise.all(
    ['home', 'target'].map((name, host) => TestPeer.start(t, { name, lan, host }))
  )) as [TestPeer, TestPeer]
  await pair(home, target)
  const directory = `${target.inside}/state/recordings`
  await lan.run(1, ['sh', '-c', `mkdir -p ${directory} && mount -t tmpfs -o size=2m,mode=700 none ${directory}`])
  const filling = 'head -c 3000000 /dev/zero; echo err >&2; exec sleep 1000'
  const other = await detached(home, target, ['sh', '-c', 'echo begun; exec sleep 1000'])
  await until('it has begun', async () => (await home.ok(['logs', other])) === 'begun\n')
  const id = await detached(home, target, ['sh', '-c', filling])
  const missing = new RegExp(
    `^kappa: what ${id} wrote is not whole, \\d+ bytes are missing so far: target: the disk is full`,
    'm'
  )
  await until('it is said while the job runs', async () => missing.test((await home.kappa(['logs', id])).stderr))
  await home.ok(['kill', id])
  t.match(await home.kappa(['wait', id]), { code: 143, stderr: '' })
  const { stdout, stderr } = await home.kappa(['logs', id])
  t.ok(stdout.length > 1_000_000 && stdout.length < 3_000_000)
  // The few bytes of the other output may have found room.
  const missed = 3_000_004 - stdout.length - (stderr.startsWith('err\n') ? 4 : 0)
  t.match(stderr, `wrote is not whole, ${missed} bytes are missing: target: the disk is full`)
  t.match(await home.kappa(['logs', other]), { stdout: 'begun\n' }, 'what was kept before is whole')
  await home.ok(['kill', other])
  t.match(await home.kappa(['wait', other]), { code: 143 })
  t.match(await home.there(target, ['echo', 'fine']), { code: 0, stdout: 'fine\n' })
})

t.test('the end of a pairing purges what is kept', { buffered: true }, async (t) => {
  const end = gate()
  const { home, target } = await household(t)
  const { mark, argv } = longJob()
  const over = await detached(home, target, ['sh', '-c', `${end.wait}; echo secret`])
  const id = await detached(home, target, argv)
  await until('it runs', () => jobProcesses(mark).length > 0)
  await home.stopDaemon()
  await end.open()
  await until('the other has ended', () => endedThere(target, [over]))
  t.equal(recordings(target).length, 2)
  await target.kappa(['unpair', 'home'])
  await until('nothing of it is left', () => jobProcesses(mark).length === 0 && recordings(target).length === 0)
  await home.startDaemon()
  await home.kappa(['unpair', 'target'])
  for (const job of [over, id]) {
    t.match(await home.kappa(['wait', job]), { code: 123, stderr: /is lost: [^\n]*pairing[^\n]*\n$/ })
  }
})

t.test('what can not be detached is refused', { buffered: true }, async (t) => {
  const home = await TestPeer.start(t, { name: 'home' })
  writeFileSync(join(home.work, 'file'), 'text\n')
  const stdio: StdioOptions = [openSync(join(home.work, 'file'), 'r'), 'pipe', 'pipe']
  const { status, stderr } = spawnSync(KAPPA, ['run', '--detach', '--plain', 'sort'], {
    env: home.environment,
    stdio,
    encoding: 'utf8'
  })
  t.equal(status, 125)
  t.match(stderr, /^kappa: a detached job has no stdin[^\n]+\n$/)
  t.match(await home.kappa(['run', '--detach', '--plain', 'true'], { env: { KAPPA_JOB: 'a' } }), {
    code: 125,
    stderr: /^kappa: [^\n]+\n$/
  })
  t.match(await home.kappa(['run', '--detach', '-t', 'true']), { code: 125, stderr: /-t and --detach/ })
  t.match(await home.kappa(['run', '--detach', '--plain', '--remote', 'true']), {
    code: 125,
    stdout: '',
    stderr: /^kappa: nobody[^\n]+\n$/
  })
  const local = await home.kappa(['run', '--local', 'echo', 'x'])
  t.equal(local.code, 0)
  const [{ id }] = (await home.jobs()) as [{ id: string }]
  t.match(await home.kappa(['logs', id]), {
    code: 1,
    stdout: '',
    stderr: /^kappa: the output of \w+ is not kept[^\n]+\n$/
  })
  t.match(await home.kappa(['wait', id]), { code: 0, stdout: '', stderr: '' })
  t.match(await home.kappa(['wait', 'zzzz']), { code: 1, stderr: /no job "zzzz"/ })
  t.match(await home.kappa(['kill', id]), { code: 1, stderr: /has ended already/ })
})
