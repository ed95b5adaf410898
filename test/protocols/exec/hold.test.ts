import t, { type Test } from 'tap'
import {
  ANNOUNCE_MS,
  HOLD_MS,
  KILL_AFTER_MS,
  LEASE_MS,
  LOST_AFTER_MS,
  PATIENT_REDIAL_MS
} from '../../../src/protocols/exec/constants.ts'
import { FRAME } from '../../../src/protocols/exec/frames.ts'
import { FakeJob, Gathered, SIGTERM, settled, until, Wires } from './wires.ts'

const HOUR_MS = 3_600_000

/** A job that runs, on a clock that only the test moves. */
async function setUp(t: Test) {
  const job = new FakeJob()
  const clock = { now: 1_000 }
  const wires = new Wires({ now: () => clock.now, launch: async () => job })
  t.teardown(() => wires.close())
  const gathered = new Gathered()
  const remote = wires.start(wires.ticket(), ['true'], gathered)
  await until(() => gathered.events.includes('started'))
  return { wires, clock, job, gathered, remote }
}

/** Home announces that it sleeps, and nothing passes any more. */
async function fallAsleep({ wires }: { wires: Wires }): Promise<void> {
  await wires.home.hold()
  wires.silence()
}

function wake({ wires }: { wires: Wires }): void {
  wires.unplugged = false
  wires.cut()
  wires.home.awake()
}

t.test('a job outlives the announced sleep of its home, and no byte is lost or doubled', async (t) => {
  const all = await setUp(t)
  const { clock, job, gathered, remote, wires } = all
  job.stdout.write('before, ')
  await until(() => Buffer.concat(gathered.out).length > 0)
  await fallAsleep(all)
  remote.write(0, Buffer.from('typed as it fell asleep'))
  job.stdout.write('meanwhile, ')
  clock.now += 7 * HOUR_MS
  wake(all)
  await until(() => gathered.events.includes('back'))
  job.stdout.write('after')
  t.equal(
    await new Promise((resolve) => job.stdin.once('data', (bytes) => resolve(String(bytes)))),
    'typed as it fell asleep'
  )
  job.end({ exitCode: 3, signal: null })
  t.same(await gathered.done, { end: { exitCode: 3, signal: null } })
  t.equal(Buffer.concat(gathered.out).toString(), 'before, meanwhile, after')
  t.same(job.signals, [])
  t.equal(wires.started.length, 1)
})

t.test('what ended meanwhile gives its output and its end', async (t) => {
  const all = await setUp(t)
  const { clock, job, gathered } = all
  await fallAsleep(all)
  job.stdout.write('all of it')
  job.end({ exitCode: 4, signal: null })
  clock.now += 5 * HOUR_MS
  wake(all)
  t.same(await gathered.done, { end: { exitCode: 4, signal: null } })
  t.equal(Buffer.concat(gathered.out).toString(), 'all of it')
})

t.test('nothing is lost before it was asked for, however long home is without a network when it wakes', async (t) => {
  const all = await setUp(t)
  const { clock, job, gathered, wires } = all
  await fallAsleep(all)
  clock.now += HOUR_MS
  wires.home.awake()
  await until(() => gathered.events.includes('hanging') || wires.home.leased === 0)
  clock.now += 10 * LOST_AFTER_MS
  await until(() => wires.urgent.at(-1) === false)
  t.pass('nobody hurries any more')
  wires.unplugged = false
  clock.now += PATIENT_REDIAL_MS
  await until(() => gathered.events.includes('back'))
  await until(() => wires.urgent.at(-1) === true)
  job.end()
  t.same(await gathered.done, { end: { exitCode: 0, signal: null } })
})

t.test('a sleep of more than 8 h ends the job as a lease does', async (t) => {
  const all = await setUp(t)
  const { clock, job, gathered } = all
  await fallAsleep(all)
  clock.now += HOLD_MS
  await until(() => job.signals.length > 0)
  t.same(job.signals, [SIGTERM])
  clock.now += KILL_AFTER_MS
  wake(all)
  const { end } = await gathered.done
  t.match(end, { exitCode: null, signal: 'SIGKILL', error: { message: /silent/ } })
})

t.test('home says that it is back: the lease is as before', async (t) => {
  for (const how of ['without a cut', 'after a cut']) {
    const all = await setUp(t)
    const { clock, job, gathered, wires } = all
    await wires.home.hold()
    if (how === 'after a cut') {
      wires.silence()
      clock.now += HOUR_MS
      wake(all)
      await until(() => gathered.events.includes('back'))
    } else {
      wires.home.awake()
      clock.now += 500
      await until(() => wires.heardAtHome.lastIndexOf(FRAME.renewed) > wires.heardAtHome.indexOf(FRAME.held))
    }
    wires.silence()
    clock.now += LEASE_MS
    await until(() => job.signals.length > 0)
    t.same(job.signals, [SIGTERM], how)
    clock.now += LOST_AFTER_MS
    t.match(await gathered.done, { lost: String }, how)
  }
})

t.test('a home that comes back and knows nothing of the job: it ends as by lease, from then on', async (t) => {
  const all = await setUp(t)
  const { clock, job, wires } = all
  await fallAsleep(all)
  clock.now += 2 * HOUR_MS
  wires.target.homeIsBack('home')
  clock.now += LEASE_MS - 1
  await new Promise((resolve) => setTimeout(resolve, 600))
  t.same(job.signals, [])
  clock.now += 1
  await until(() => job.signals.length > 0)
  t.same(job.signals, [SIGTERM])
})

t.test('a target that is silent does not keep home from sleeping', async (t) => {
  const { wires, gathered } = await setUp(t)
  wires.mute('target')
  const began = performance.now()
  await wires.home.hold()
  t.ok(performance.now() - began >= ANNOUNCE_MS - 1, 'it is waited for, and not for ever')
  t.notMatch(gathered.events, ['hanging'])
})

t.test('without a job nobody is told', async (t) => {
  const { wires, job, gathered } = await setUp(t)
  job.end()
  await gathered.done
  await settled()
  wires.mute('target')
  await wires.home.hold()
  wires.home.awake()
  t.equal(wires.opened, 1)
})
