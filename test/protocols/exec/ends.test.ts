import { PassThrough } from 'node:stream'
import t, { type Test } from 'tap'
import { KappaError } from '../../../src/errors.ts'
import type { LaunchRequest } from '../../../src/protocols/exec/target.ts'
import { FakeJob, Gathered, settled, until, Wires } from './wires.ts'

const WINDOW = 256 * 1024

function setUp(t: Test, launch?: (request: LaunchRequest) => Promise<FakeJob>) {
  const job = new FakeJob()
  const clock = { now: 1_000 }
  const wires = new Wires({ now: () => clock.now, launch: launch ?? (async () => job) })
  t.teardown(() => wires.close())
  return { wires, clock, job, gathered: new Gathered() }
}

/** More than its consumer takes, and then the end. */
async function writeAndEnd(job: FakeJob): Promise<void> {
  const blocked = new Promise<void>((resolve) => {
    const write = (): void => {
      if (job.stdout.write(Buffer.alloc(16 * 1024))) setImmediate(write)
      else if (job.stdout.isPaused()) resolve()
      else setImmediate(write)
    }
    write()
  })
  await blocked
  job.end()
}

t.test('a consumer that stalls for ever holds no slot after the job has ended', async (t) => {
  const { wires, job, gathered } = setUp(t)
  const remote = wires.start(wires.ticket(), ['x'], gathered)
  await until(() => gathered.events.includes('started'))
  await writeAndEnd(job)
  await until(() => wires.target.running === 0)
  t.match([...wires.tickets.values()], [{ state: 'ended', end: { exitCode: 0 } }])
  t.equal(wires.target.held, 1, 'its output is kept')
  let over = false
  void gathered.done.then(() => (over = true))
  await settled()
  t.equal(over, false, 'the end follows the last byte')
  gathered.onData = (stream, bytes) => remote.consumed(stream, bytes)
  remote.consumed(1, WINDOW)
  t.same(await gathered.done, { end: { exitCode: 0, signal: null } })
  await until(() => wires.target.held === 0)
  t.equal(job.disposed, 1)
})

t.test('a consumer that stalled and then goes away lets the end through', async (t) => {
  const { wires, job, gathered } = setUp(t)
  const remote = wires.start(wires.ticket(), ['x'], gathered)
  await until(() => gathered.events.includes('started'))
  await writeAndEnd(job)
  await until(() => wires.target.running === 0)
  remote.closeOutput(1)
  t.same(await gathered.done, { end: { exitCode: 0, signal: null } })
})

t.test('a lost home ends a job that is blocked on its output, and the target forgets it', async (t) => {
  const { wires, clock, job, gathered } = setUp(t)
  wires.start(wires.ticket(), ['x'], gathered)
  await until(() => gathered.events.includes('started'))
  const write = (): void => {
    if (job.stdout.write(Buffer.alloc(16 * 1024))) setImmediate(write)
  }
  write()
  await settled()
  wires.unplugged = true
  wires.cut()
  clock.now += 8_001
  await until(() => job.signals.includes(15))
  clock.now += 4_000
  await until(() => wires.target.running === 0)
  t.equal(job.disposed, 0, 'what it wrote is kept until home has surely given up')
  clock.now += 30_000
  await until(() => wires.target.held === 0)
  t.equal(job.disposed, 1)
})

t.test('a target that wakes up ends what its home gave up before it answers anyone', async (t) => {
  const { wires, clock, job, gathered } = setUp(t)
  wires.start(wires.ticket(), ['x'], gathered)
  await until(() => gathered.events.includes('started'))
  await new Promise((resolve) => setTimeout(resolve, 600))
  clock.now += 60_000
  const other = new Gathered()
  wires.start(wires.ticket(), ['y'], other)
  await until(() => other.events.includes('started'))
  t.match([...wires.tickets.values()][0], { state: 'ended', end: { signal: 'SIGKILL' } })
  t.equal(job.signals.includes(15), false)
})

t.test('an output that home closed before the process stood is closed when it stands', async (t) => {
  const gate = Promise.withResolvers<void>()
  const job = new FakeJob()
  const { wires, gathered } = setUp(t, () => gate.promise.then(() => job))
  const remote = wires.start(wires.ticket(), ['yes'], gathered)
  await until(() => gathered.events.includes('started'))
  remote.closeOutput(1)
  await settled()
  gate.resolve()
  await until(() => job.stdout.destroyed)
  job.end({ exitCode: null, signal: 'SIGPIPE' })
  t.same(await gathered.done, { end: { exitCode: null, signal: 'SIGPIPE' } })
})

t.test('stdin that came early, and its end, reach the process when it stands', async (t) => {
  const gate = Promise.withResolvers<void>()
  const job = new FakeJob()
  const { wires, gathered } = setUp(t, () => gate.promise.then(() => job))
  const remote = wires.start(wires.ticket(), ['cat'], gathered)
  await until(() => gathered.events.includes('started'))
  remote.write(0, Buffer.from('early '))
  remote.write(0, Buffer.from('bird'))
  remote.endStream(0)
  remote.signal(10)
  await settled()
  gate.resolve()
  job.stdin.pipe(job.stdout)
  await until(() => job.stdin.readableEnded)
  t.same(job.signals, [10], 'signals too')
  job.end()
  await gathered.done
  t.equal(Buffer.concat(gathered.out).toString(), 'early bird')
})

t.test('the launch fails: nothing ran, and it is said why', async (t) => {
  const { wires, gathered } = setUp(t, async () => {
    throw new KappaError('SandboxError', 'no user namespaces')
  })
  wires.start(wires.ticket(), ['x'], gathered)
  t.same(await gathered.done, {
    end: { exitCode: null, signal: null, error: { name: 'SandboxError', message: 'no user namespaces' } }
  })
  t.equal(wires.target.running, 0)
})

t.test('a job that is killed while it is launched is killed when it stands', async (t) => {
  const gate = Promise.withResolvers<void>()
  const job = new FakeJob()
  const { wires, gathered } = setUp(t, () => gate.promise.then(() => job))
  const ticket = wires.ticket()
  wires.start(ticket, ['x'], gathered)
  await until(() => gathered.events.includes('started'))
  wires.target.endJobs([ticket.id], 'the pairing was ended')
  gate.resolve()
  const error = { name: 'RefusedError', message: 'the job was ended: the pairing was ended' }
  t.same(await gathered.done, { end: { exitCode: null, signal: 'SIGKILL', error } })
})

t.test('no end overtakes bytes of another stream that a cut had swallowed', async (t) => {
  const { wires, job, gathered } = setUp(t)
  const remote = wires.start(wires.ticket(), ['x'], gathered)
  await until(() => gathered.events.includes('started'))
  // stdout is stopped by the link, not by its window; stderr is sent whole and lost on the way.
  wires.mute('target')
  job.stdout.write(Buffer.alloc(WINDOW - 1_000, 'o'))
  await settled()
  job.stderr.write(Buffer.alloc(900, 'e'))
  await settled()
  job.stdout.write(Buffer.alloc(900, 'p'))
  job.end({ exitCode: 5, signal: null })
  await until(() => wires.target.running === 0)
  gathered.onData = (stream, bytes) => remote.consumed(stream, bytes)
  wires.cut()
  t.same(await gathered.done, { end: { exitCode: 5, signal: null } })
  t.equal(Buffer.concat(gathered.out).length, WINDOW - 100)
  t.equal(Buffer.concat(gathered.err).toString(), 'e'.repeat(900))
})

t.test('a job whose process closes its stdin takes what is sent after it', async (t) => {
  const { wires, job, gathered } = setUp(t)
  const remote = wires.start(wires.ticket(), ['x'], gathered)
  await until(() => gathered.events.includes('started'))
  remote.write(0, Buffer.alloc(100_000))
  job.stdin.destroy()
  await until(() => gathered.events.includes('closed 0'))
  remote.write(0, Buffer.alloc(100_000))
  remote.endStream(0)
  await settled()
  job.end()
  t.same(await gathered.done, { end: { exitCode: 0, signal: null } })
})

t.test('a job that never reads its stdin ends all the same', async (t) => {
  const { wires, job, gathered } = setUp(t)
  const remote = wires.start(wires.ticket(), ['x'], gathered)
  await until(() => gathered.events.includes('started'))
  for (let sent = 0; sent < WINDOW; sent += 65_536) remote.write(0, Buffer.alloc(65_536))
  await settled()
  job.end()
  t.same(await gathered.done, { end: { exitCode: 0, signal: null } })
})

t.test('an output that its process left open to a stranger does not keep the job', async (t) => {
  const { wires, job, gathered } = setUp(t)
  Object.assign(job, { stdout: new PassThrough() })
  wires.start(wires.ticket(), ['x'], gathered)
  await until(() => gathered.events.includes('started'))
  job.stdout.write('said')
  job.stdout.end = () => job.stdout
  job.end()
  t.same(await gathered.done, { end: { exitCode: 0, signal: null } })
  t.equal(Buffer.concat(gathered.out).toString(), 'said')
})

t.test('a message longer than home takes is cut, not the job lost', async (t) => {
  const { wires, gathered } = setUp(t, async () => {
    throw new KappaError('StagingError', `no such file: /${'x'.repeat(4_000)}`)
  })
  wires.start(wires.ticket(), ['x'], gathered)
  const over = await gathered.done
  t.match(over, { end: { exitCode: null, error: { name: 'StagingError', message: /^no such file: \/x{1000,}…$/ } } })
})

t.test('what the job took comes with its end', async (t) => {
  const { wires, job, gathered } = setUp(t)
  job.took = { wallMs: 12.5, cpuMs: 10 }
  wires.start(wires.ticket(), ['x'], gathered)
  await until(() => gathered.events.includes('started'))
  job.end()
  t.same(await gathered.done, { end: { exitCode: 0, signal: null, usage: { wallMs: 12.5, cpuMs: 10 } } })
})

t.test('a time that is none is left out, and the end still comes', async (t) => {
  const { wires, job, gathered } = setUp(t)
  job.took = { wallMs: -1, cpuMs: Number.POSITIVE_INFINITY }
  wires.start(wires.ticket(), ['x'], gathered)
  await until(() => gathered.events.includes('started'))
  job.end()
  t.same(await gathered.done, { end: { exitCode: 0, signal: null } })
})
