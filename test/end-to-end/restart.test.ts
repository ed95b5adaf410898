import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { jobProcesses, longJob, pair, sees, TestPeer, until } from './peers.ts'

/** Lease and kill time are 12 s, after which home says `lost`: 14 s, and as much again for a machine that is busy. */
const LOST_WITHIN_MS = 28_000
const NOTHING_LEFT_WITHIN_MS = 30_000

async function household(t: Test) {
  const [home, target] = await Promise.all([TestPeer.start(t, { name: 'home' }), TestPeer.start(t, { name: 'target' })])
  await pair(home, target)
  const both = () => Promise.all([sees(home, target), sees(target, home)])
  return { home, target, both }
}

/** A job of home that runs at the target. */
async function jobThere(home: TestPeer, target: TestPeer) {
  const { mark, argv } = longJob()
  const run = await home.begun(target, argv)
  await until('the job runs', () => jobProcesses(mark).length > 0)
  return { mark, run, at: performance.now() }
}

t.jobs = 3

t.test('connections come back by themselves after a restart of either side', { buffered: true }, async (t) => {
  const { home, target, both } = await household(t)
  const before = await target.status()
  for (const peer of [home, target]) {
    await peer.stopDaemon()
    await peer.startDaemon()
    await both()
  }
  const after = await target.status()
  t.same(after.peerId, before.peerId)
  t.same(after.addresses, before.addresses, 'the port is kept')
  t.match(await home.there(target, ['printenv', 'KAPPA_TARGET']), { code: 0, stdout: 'target\n' })
})

t.test('a target that is killed takes its jobs with it, and home says lost', { buffered: true }, async (t) => {
  const { home, target, both } = await household(t)
  const { mark, run, at } = await jobThere(home, target)
  await target.killDaemon()
  await until('nothing of the job is left', () => jobProcesses(mark).length === 0)
  t.match(await run.ended, { code: 123, stdout: 'up\n', stderr: /^kappa: the job \w+ on target is lost: [^\n]+\n$/ })
  t.ok(performance.now() - at < LOST_WITHIN_MS, 'in time')
  t.match((await home.jobs())[0], { state: 'lost', exitCode: null, target: 'target' })
  await target.startDaemon()
  await both()
})

t.test('a target that comes back as another: it is lost at once', { buffered: true }, async (t) => {
  const { home, target } = await household(t)
  const { run } = await jobThere(home, target)
  await target.killDaemon()
  await target.startDaemon()
  t.match(await run.ended, { code: 123, stderr: /^kappa: the job \w+ on target is lost: [^\n]*restart[^\n]*\n$/ })
})

t.test('a target that stops in order ends its jobs and says so', { buffered: true }, async (t) => {
  const { home, target, both } = await household(t)
  const { mark, run } = await jobThere(home, target)
  await target.stopDaemon()
  t.same(jobProcesses(mark), [])
  const words = 'kappa: the job was ended: kappa was stopped there (on target)\n'
  t.match(await run.ended, { code: 137, stdout: 'up\n', stderr: words })
  await target.startDaemon()
  await both()
})

t.test('a home that is killed: its client says lost, the job ends at the target', { buffered: true }, async (t) => {
  const { home, target, both } = await household(t)
  const { mark, run, at } = await jobThere(home, target)
  await home.killDaemon()
  t.match(await run.ended, { code: 123, stderr: /^kappa: the daemon here ended[^\n]+\n$/ })
  await until('nothing of the job is left', () => jobProcesses(mark).length === 0)
  t.ok(performance.now() - at < NOTHING_LEFT_WITHIN_MS, 'in time')
  await home.startDaemon()
  await both()
  await until('its target tells how it ended', async () => (await home.jobs())[0]!.state === 'exited')
  t.match((await home.jobs())[0], { exitCode: null, signal: 'SIGTERM', target: 'target' })
  const guests = async () => (await target.ok(['ps', '--guests', '--json'])).trim().split('\n')
  await until('it is on record', async () => JSON.parse((await guests())[0]!).state === 'exited')
  t.match(await home.there(target, ['echo', 'again']), { code: 0, stdout: 'again\n' })
})

t.test('a client whose daemon is gone starts one, which survives it', { buffered: true }, async (t) => {
  const { home, target, both } = await household(t)
  await home.stopDaemon()
  t.match(await home.kappa(['run', '--local', 'echo', 'here']), { code: 0, stdout: 'here\n' })
  const pid = Number(readFileSync(join(home.directory, 'state/lock'), 'latin1').split(' ')[0])
  await both()
  t.match(await home.there(target, ['echo', 'there']), { code: 0, stdout: 'there\n' })
  t.equal(process.kill(pid, 0), true, 'the same daemon')
})
