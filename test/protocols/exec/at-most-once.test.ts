import t, { type Test } from 'tap'
import { FakeJob, Gathered, settled, until, Wires, type WiresOptions } from './wires.ts'

/** Home and target on one clock that only the test moves; the jobs are fakes, in the order of their starts. */
function setUp(t: Test, options: WiresOptions = {}) {
  const jobs: FakeJob[] = []
  const clock = { now: 1_000 }
  const wires = new Wires({
    now: () => clock.now,
    launch: async () => {
      const job = new FakeJob()
      jobs.push(job)
      return job
    },
    ...options
  })
  t.teardown(() => wires.close())
  return { wires, clock, jobs, gathered: new Gathered() }
}

/** With the exec stream open ahead, so that a start is handed over at once. */
async function warm(wires: Wires): Promise<void> {
  wires.home.warm('target')
  await settled()
}

t.test('a start whose answer was lost is joined again, and runs once', async (t) => {
  const { wires, jobs, gathered } = setUp(t)
  await warm(wires)
  wires.mute('target')
  wires.start(wires.ticket(), ['true'], gathered)
  await until(() => jobs.length === 1)
  t.same(gathered.events, [])
  wires.cut()
  await until(() => gathered.events.includes('started'))
  jobs[0]!.stdout.write('whole')
  jobs[0]!.end({ exitCode: 3, signal: null })
  t.same(await gathered.done, { end: { exitCode: 3, signal: null } })
  t.equal(Buffer.concat(gathered.out).toString(), 'whole')
  t.equal(wires.started.length, 1)
})

t.test('a start that stays unanswered on a stream that lives is asked about, and runs once', async (t) => {
  const { wires, clock, jobs, gathered } = setUp(t)
  await warm(wires)
  wires.mute('target')
  wires.start(wires.ticket(), ['true'], gathered)
  await until(() => jobs.length === 1)
  jobs[0]!.stdout.write('before')
  await settled()
  wires.unmute()
  clock.now += 2_001
  await until(() => gathered.events.includes('started'))
  jobs[0]!.stdout.write(' and after')
  jobs[0]!.end()
  t.same(await gathered.done, { end: { exitCode: 0, signal: null } })
  t.equal(Buffer.concat(gathered.out).toString(), 'before and after')
  t.equal(wires.started.length, 1)
})

t.test('a start that never arrived is void, and may be placed elsewhere', async (t) => {
  const { wires, gathered } = setUp(t)
  await warm(wires)
  const ticket = wires.ticket()
  wires.mute('home')
  wires.start(ticket, ['true'], gathered)
  await settled()
  wires.cut()
  t.match(await gathered.done, { free: String })
  t.equal(wires.tickets.get(ticket.id)?.state, 'void', 'a late start finds nothing')
  t.same(wires.started, [])
})

t.test('silence after the start was handed over is lost after 13 s, not before', async (t) => {
  const { wires, clock, gathered } = setUp(t)
  await warm(wires)
  wires.start(wires.ticket(), ['true'], gathered)
  wires.silence()
  let over = false
  void gathered.done.then(() => (over = true))
  for (const at of [3_100, 8_000, 12_900]) {
    clock.now = 1_000 + at
    await new Promise((resolve) => setTimeout(resolve, 600))
    t.equal(over, false, `${at} ms`)
  }
  clock.now = 1_000 + 13_001
  t.match(await gathered.done, { lost: String })
})

t.test('silence while the job runs is lost after 13 s; the target has ended it before', async (t) => {
  const { wires, clock, jobs, gathered } = setUp(t)
  wires.start(wires.ticket(), ['true'], gathered)
  await until(() => gathered.events.includes('started'))
  wires.silence()
  clock.now += 8_001
  await until(() => jobs[0]!.signals.includes(15))
  t.same(gathered.events.at(-1), 'hanging')
  clock.now += 4_000
  await until(() => wires.target.running === 0)
  clock.now += 1_000
  t.match(await gathered.done, { lost: String })
  t.match([...wires.tickets.values()], [{ state: 'ended', end: { signal: 'SIGKILL' } }])
})

t.test('a target that was restarted while the start was unanswered: lost', async (t) => {
  const { wires, gathered } = setUp(t)
  await warm(wires)
  wires.mute('home')
  wires.start(wires.ticket(), ['true'], gathered)
  await settled()
  wires.restartTarget()
  t.match(await gathered.done, { lost: /restarted/ })
})

t.test('a target that was restarted while the job ran: lost', async (t) => {
  const { wires, gathered } = setUp(t)
  wires.start(wires.ticket(), ['true'], gathered)
  await until(() => gathered.events.includes('started'))
  wires.restartTarget()
  t.match(await gathered.done, { lost: /restarted/ })
})

t.test('a target that was restarted before the start was handed over: the job is free', async (t) => {
  const { wires, gathered } = setUp(t)
  const ticket = wires.ticket()
  wires.restartTarget()
  wires.start(ticket, ['true'], gathered)
  t.match(await gathered.done, { free: /restarted/ })
  t.same(wires.started, [])
})

t.test('a ticket that is newer than the stream: another is opened', async (t) => {
  const { wires, jobs, gathered } = setUp(t)
  await warm(wires)
  wires.restartTarget(false)
  wires.start(wires.ticket(), ['true'], gathered)
  await until(() => jobs.length === 1)
  jobs[0]!.end()
  t.same(await gathered.done, { end: { exitCode: 0, signal: null } })
  t.equal(wires.opened, 2)
})

t.test('a refused start is free', async (t) => {
  const { wires, gathered } = setUp(t)
  const ticket = wires.ticket()
  wires.tickets.set(ticket.id, { state: 'void' })
  wires.start(ticket, ['true'], gathered)
  t.match(await gathered.done, { free: 'no such ticket' })
  t.same(wires.started, [])
})

t.test('no stream within the time: free, and the ticket is not used later', async (t) => {
  const { wires, clock, gathered } = setUp(t)
  wires.unplugged = true
  wires.start(wires.ticket(), ['true'], gathered)
  await settled()
  clock.now += 501
  t.match(await gathered.done, { free: /reached/ })
  wires.unplugged = false
  await warm(wires)
  t.same(wires.started, [])
})

t.test('an end whose output the target has given up is lost', async (t) => {
  const { wires, gathered } = setUp(t)
  await warm(wires)
  const ticket = wires.ticket()
  wires.mute('home')
  wires.start(ticket, ['true'], gathered)
  await settled()
  wires.tickets.set(ticket.id, { state: 'ended', end: { exitCode: 0, signal: null } })
  wires.cut()
  t.match(await gathered.done, { lost: /output is gone/ })
})

t.test('a job that ended while the cable was out gives its output and its end when it is back', async (t) => {
  const { wires, clock, jobs, gathered } = setUp(t)
  wires.start(wires.ticket(), ['true'], gathered)
  await until(() => gathered.events.includes('started'))
  wires.unplugged = true
  wires.cut()
  jobs[0]!.stdout.write('late')
  jobs[0]!.stderr.write('later')
  jobs[0]!.end({ exitCode: 4, signal: null })
  await until(() => wires.target.running === 0)
  clock.now += 7_000
  wires.unplugged = false
  t.same(await gathered.done, { end: { exitCode: 4, signal: null } })
  t.equal(Buffer.concat(gathered.out).toString(), 'late')
  t.equal(Buffer.concat(gathered.err).toString(), 'later')
})

t.test('a stream that was idle for long is not taken for silent when a job starts', async (t) => {
  const { wires, clock, jobs, gathered } = setUp(t)
  await warm(wires)
  clock.now += 60_000
  wires.mute('target')
  wires.start(wires.ticket(), ['true'], gathered)
  await new Promise((resolve) => setTimeout(resolve, 600))
  t.same(gathered.events, [], 'a slow answer is waited for')
  wires.unmute()
  clock.now += 2_001
  await until(() => gathered.events.includes('started'))
  jobs[0]!.end()
  await gathered.done
  t.equal(wires.opened, 1)
})

t.test('what became of a ticket of another epoch: it is void', async (t) => {
  const { wires } = setUp(t)
  const ticket = wires.ticket()
  wires.restartTarget()
  t.same(await wires.home.resolve(ticket), { state: 'void' })
})

t.test('nobody to ask: no answer', async (t) => {
  const { wires } = setUp(t)
  wires.unplugged = true
  t.equal(await wires.home.resolve(wires.ticket()), undefined)
})
