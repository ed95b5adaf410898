/** `--timeout` and `--lease`: what a job may run, and how long it lives without a word of home. */

import t, { type Test } from 'tap'
import { PATIENT_REDIAL_MS } from '../../../src/protocols/exec/constants.ts'
import { FakeJob, Gathered, settled, until, Wires } from './wires.ts'

const [SIGTERM, SIGCONT] = [15, 18]

/** Ends by TERM, or not at all. */
class TimedJob extends FakeJob {
  stubborn = false
  killed = false

  override signal(number: number): void {
    super.signal(number)
    if (number === SIGTERM && !this.stubborn) this.end({ exitCode: 0, signal: null })
  }

  override kill(): void {
    this.killed = true
    super.kill()
  }
}

async function started(t: Test, change: { timeoutMs?: number; leaseMs?: number; outs?: string[] }) {
  const job = new TimedJob()
  const clock = { now: 1_000 }
  const wires = new Wires({ now: () => clock.now, launch: async () => job })
  t.teardown(() => wires.close())
  const gathered = new Gathered()
  wires.start(wires.ticket(), ['x'], gathered, change)
  await until(() => gathered.events.includes('started'))
  await settled()
  return { wires, clock, job, gathered }
}

/** The clock goes on, while both sides hear of each other. */
async function pass(clock: { now: number }, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 1_000) {
    clock.now += Math.min(left, 1_000)
    await new Promise((resolve) => setTimeout(resolve, 300))
  }
}

t.test('a job that has run as long as it may gets TERM, and the end says why, however it ends', async (t) => {
  const { clock, job, gathered } = await started(t, { timeoutMs: 2_000, outs: ['a'] })
  job.packed = (async function* () {
    yield Buffer.from('packed')
  })()
  await pass(clock, 1_999)
  t.same(job.signals, [])
  clock.now += 1
  await until(() => job.signals.length > 0)
  t.same(job.signals, [SIGTERM, SIGCONT], 'one that is stopped gets it too')
  t.match(await gathered.done, { end: { exitCode: 0, signal: null, error: { name: 'TimeoutError' } } })
  t.same(gathered.outs, [], 'its files stay there, as after any failure')
})

t.test('one that goes on gets KILL 4 s later', async (t) => {
  const { clock, job, gathered } = await started(t, { timeoutMs: 1_000 })
  job.stubborn = true
  clock.now += 1_000
  await until(() => job.signals.includes(SIGTERM))
  await pass(clock, 3_999)
  t.equal(job.killed, false)
  clock.now += 1
  t.match(await gathered.done, { end: { exitCode: null, signal: 'SIGKILL', error: { name: 'TimeoutError' } } })
})

t.test('it holds while home is away', async (t) => {
  const { wires, clock, job, gathered } = await started(t, { timeoutMs: 5_000 })
  wires.unplugged = true
  wires.cut()
  clock.now += 5_000
  await until(() => wires.target.running === 0)
  t.ok(job.signals.includes(SIGTERM))
  wires.unplugged = false
  // It dials again by the same clock.
  clock.now += PATIENT_REDIAL_MS
  t.match(await gathered.done, { end: { error: { name: 'TimeoutError' } } })
})

t.test('a job that ends in time ends as it likes', async (t) => {
  const { clock, job, gathered } = await started(t, { timeoutMs: 2_000 })
  await pass(clock, 1_999)
  job.end({ exitCode: 3, signal: null })
  t.same(await gathered.done, { end: { exitCode: 3, signal: null } })
})

t.test('a longer lease keeps the job there, and home waiting for it', async (t) => {
  const { wires, clock, job, gathered } = await started(t, { leaseMs: 3_600_000 })
  wires.unplugged = true
  wires.cut()
  clock.now += 3_590_000
  await new Promise((resolve) => setTimeout(resolve, 600))
  t.same(job.signals, [])
  wires.unplugged = false
  // It dials again by the same clock.
  clock.now += PATIENT_REDIAL_MS
  await until(() => gathered.events.includes('back'))
  job.end()
  t.same(await gathered.done, { end: { exitCode: 0, signal: null } })
})

t.test('beyond it the target ends the job, and home reports it lost when nothing can be left', async (t) => {
  const { wires, clock, job, gathered } = await started(t, { leaseMs: 3_600_000 })
  job.stubborn = true
  wires.unplugged = true
  wires.cut()
  clock.now += 3_600_000
  await until(() => job.signals.includes(SIGTERM))
  let lost = false
  void gathered.done.then(() => (lost = true))
  clock.now += 4_000
  await until(() => wires.target.running === 0)
  await settled()
  t.equal(lost, false)
  clock.now += 1_000
  t.match(await gathered.done, { lost: /silen|heard/ })
  clock.now += 13_001
  await until(() => wires.target.held === 0)
})
