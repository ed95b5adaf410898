import t, { type Test } from 'tap'
import { type Lan, lanAvailable } from '../lan.ts'
import { needs } from '../require.ts'
import { emulatedLan, jobProcesses, longJob, pair, sees, TestPeer, until } from './peers.ts'

/** Lease and kill time are 12 s: 15 s, and as much again for a machine that is busy. */
const NOTHING_LEFT_WITHIN_MS = 30_000

const HOME = 0
const TARGET = 1

async function household(t: Test) {
  const lan = (await emulatedLan(t, { hosts: 2 }))!
  const [home, target] = (await Promise.all(
    ['home', 'target'].map((name, host) => TestPeer.start(t, { name, lan, host }))
  )) as [TestPeer, TestPeer]
  await pair(home, target)
  const { mark, argv } = longJob()
  const run = await home.begun(target, argv)
  await until('the job runs', () => jobProcesses(mark).length > 0)
  return { lan, home, target, mark, run }
}

/** Nothing of the host says a last word, its kernel neither. */
async function powerOff(lan: Lan, host: number): Promise<void> {
  await lan.cut(host, 'drop')
  await lan.run(host, ['sh', '-c', 'kill -9 -1'])
}

async function boot(lan: Lan, host: number, peer: TestPeer): Promise<void> {
  await lan.mend(host)
  await peer.startDaemon()
}

async function worksAgain(t: Test, home: TestPeer, target: TestPeer): Promise<void> {
  await Promise.all([sees(home, target), sees(target, home)])
  t.match(await home.there(target, ['echo', 'again']), { code: 0, stdout: 'again\n' })
}

const unavailable = lanAvailable()
if (needs(t, unavailable === undefined, unavailable ?? '')) {
  t.jobs = 2
  t.test('the target loses its power while a job runs', { buffered: true }, async (t) => {
    const { lan, home, target, mark, run } = await household(t)
    await powerOff(lan, TARGET)
    t.match(await run.ended, { code: 123, stdout: 'up\n', stderr: /^kappa: the job \w+ on target is lost: [^\n]+\n$/ })
    t.same(jobProcesses(mark), [])
    const [job] = await home.jobs()
    t.match(job, { state: 'lost', exitCode: null, signal: null, target: 'target' })
    await boot(lan, TARGET, target)
    await worksAgain(t, home, target)
    const after = (await home.jobs()).find(({ id }) => id === job!.id)
    t.match(after, { state: 'lost', exitCode: null, signal: null }, 'nobody can say more of it')
  })

  t.test('home loses its power while its job runs', { buffered: true }, async (t) => {
    const { lan, home, target, mark, run } = await household(t)
    await powerOff(lan, HOME)
    t.match(await run.ended, { signal: 'SIGKILL' })
    await until('nothing of the job is left', () => jobProcesses(mark).length === 0, NOTHING_LEFT_WITHIN_MS)
    const guests = async () => JSON.parse((await target.ok(['ps', '--guests', '--json'])).split('\n')[0]!)
    await until('it is on record', async () => (await guests()).state === 'exited')
    t.match(await guests(), { exitCode: null, signal: 'SIGTERM' })
    t.equal((await target.status()).slots.used, 0)
    await boot(lan, HOME, home)
    const { id } = (await home.jobs())[0]!
    const known = async () => (await home.jobs()).find((job) => job.id === id)!
    await worksAgain(t, home, target)
    await until('its target tells how it ended', async () => (await known()).state === 'exited')
    t.match(await known(), { exitCode: null, signal: 'SIGTERM', target: 'target' })
  })
}
