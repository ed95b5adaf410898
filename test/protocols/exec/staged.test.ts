import { createHash } from 'node:crypto'
import t, { type Test } from 'tap'
import { KappaError } from '../../../src/errors.ts'
import type { LaunchRequest } from '../../../src/protocols/exec/target.ts'
import { FakeJob, Gathered, settled, until, Wires } from './wires.ts'

const PIECE = 50_000
const WINDOW = 256 * 1024

/** A job that is launched when its files are complete, as by the daemon; they come back as they are. */
function setUp(t: Test) {
  const job = new FakeJob()
  const clock = { now: 1_000 }
  const unpacked: Uint8Array[] = []
  const jobs = { launched: false }
  const launch = async ({ ins }: LaunchRequest) => {
    for await (const bytes of ins ?? []) unpacked.push(Uint8Array.from(bytes))
    jobs.launched = true
    return job
  }
  const wires = new Wires({ now: () => clock.now, launch })
  t.teardown(() => wires.close())
  return { wires, clock, job, jobs, unpacked, gathered: new Gathered() }
}

const STAGED = { mode: 'staged' as const, ins: true, outs: ['out'] }

async function* pieces(data: Buffer): AsyncGenerator<Uint8Array> {
  for (let start = 0; start < data.length; start += PIECE) yield data.subarray(start, start + PIECE)
}

t.test('cut at random moments: files go and come back byte-exact', async (t) => {
  const size = 2 * 1024 * 1024
  const data = Buffer.alloc(size)
  for (let index = 0; index < size; index += 4) data.writeUInt32LE((index * 2_654_435_761) >>> 0, index)
  const hash = (bytes: Uint8Array[]) => createHash('sha256').update(Buffer.concat(bytes)).digest('hex')
  for (let seed = 1; seed <= 10; seed++) {
    const { wires, job, jobs, unpacked, gathered } = setUp(t)
    let random = seed
    let moved = 0
    let cutAt = 0
    const plan = () => {
      random = (random * 1_103_515_245 + 12_345) % 2 ** 31
      cutAt = moved + 50_000 + (random % 600_000)
    }
    plan()
    const count = (bytes: number) => {
      moved += bytes
      if (moved < cutAt) return
      plan()
      setImmediate(() => wires.cut())
    }
    job.packed = pieces(data)
    const remote = wires.start(wires.ticket(), ['x'], gathered, STAGED)
    let limit = WINDOW
    let sent = 0
    const feed = () => {
      while (sent < size && sent < limit) {
        const end = Math.min(size, limit, sent + PIECE)
        remote.write(3, data.subarray(sent, end))
        count(end - sent)
        sent = end
      }
      if (sent === size) remote.endStream(3)
    }
    gathered.onStarted = feed
    gathered.onLimit = (to) => {
      limit = Math.max(limit, to)
      feed()
    }
    gathered.onData = (stream, bytes) => {
      count(bytes)
      remote.consumed(stream, bytes)
    }
    await until(() => jobs.launched)
    job.end()
    t.same(await gathered.done, { end: { exitCode: 0, signal: null } })
    t.equal(hash(unpacked), hash([data]), `ins, seed ${seed}`)
    t.equal(hash(gathered.outs), hash([data]), `outs, seed ${seed}`)
    t.ok(gathered.events.includes('back'))
  }
})

for (const [number, signal] of [
  [2, 'SIGINT'],
  [9, 'SIGKILL'],
  [15, 'SIGTERM']
] as const) {
  t.test(`${signal} ends a job that waits for its files`, async (t) => {
    const { wires, job, gathered } = setUp(t)
    const remote = wires.start(wires.ticket(), ['x'], gathered, STAGED)
    await until(() => gathered.events.includes('started'))
    remote.write(3, Buffer.alloc(1_000))
    remote.signal(28)
    await settled()
    t.equal(wires.target.running, 1, 'a signal that is ignored by default ends nothing')
    remote.signal(number)
    t.same(await gathered.done, { end: { exitCode: null, signal } })
    t.same(job.signals, [])
    await until(() => wires.target.held === 0)
  })
}

t.test('a home that is lost while it sends its files leaves nothing there', async (t) => {
  const { wires, clock, gathered } = setUp(t)
  wires.start(wires.ticket(), ['x'], gathered, STAGED)
  await until(() => gathered.events.includes('started'))
  wires.unplugged = true
  wires.cut()
  clock.now += 12_001
  await until(() => wires.target.running === 0)
  clock.now += 30_000
  await until(() => wires.target.held === 0)
})

t.test('files that break off are said, and nothing ran', async (t) => {
  const { wires, gathered } = setUp(t)
  const ticket = wires.ticket()
  wires.start(ticket, ['x'], gathered, STAGED)
  await until(() => gathered.events.includes('started'))
  wires.target.endJobs([ticket.id], 'the pairing was ended')
  t.match(await gathered.done, { end: { exitCode: null, signal: null, error: { name: 'StagingError' } } })
})

t.test('outs that nobody takes hold no slot, and the end waits for them', async (t) => {
  const { wires, job, gathered } = setUp(t)
  job.packed = pieces(Buffer.alloc(1024 * 1024))
  const remote = wires.start(wires.ticket(), ['x'], gathered, { ...STAGED, ins: false })
  await until(() => gathered.events.includes('started'))
  job.end()
  await until(() => [...wires.tickets.values()][0]!.state === 'ended')
  let over = false
  void gathered.done.then(() => (over = true))
  await settled()
  t.equal(over, false)
  gathered.onData = (stream, bytes) => remote.consumed(stream, bytes)
  remote.consumed(4, Buffer.concat(gathered.outs).length)
  t.same(await gathered.done, { end: { exitCode: 0, signal: null } })
  t.equal(Buffer.concat(gathered.outs).length, 1024 * 1024)
})

t.test('a home that takes no more outs gets the end at once', async (t) => {
  const { wires, job, gathered } = setUp(t)
  let packed = 0
  job.packed = (async function* () {
    for (; packed < 1_000; packed++) yield Buffer.alloc(PIECE)
  })()
  const remote = wires.start(wires.ticket(), ['x'], gathered, { ...STAGED, ins: false })
  await until(() => gathered.events.includes('started'))
  job.end()
  await until(() => gathered.outs.length > 0)
  remote.closeOutput(4)
  t.same(await gathered.done, { end: { exitCode: 0, signal: null } })
  t.ok(packed < 100, 'the rest was not even packed')
})

t.test('outs that fail are told beside the end of the command, which did run', async (t) => {
  const { wires, job, gathered } = setUp(t)
  // biome-ignore lint/correctness/useYield: it fails before its first piece
  job.packed = (async function* () {
    throw new KappaError('StagingError', '--out out: it changed while it was read')
  })()
  wires.start(wires.ticket(), ['x'], gathered, { ...STAGED, ins: false })
  await until(() => gathered.events.includes('started'))
  job.end()
  t.match(await gathered.done, { end: { exitCode: 0, signal: null, error: { name: 'StagingError' } } })
})

t.test('a job that is killed while its outs leave is no success', async (t) => {
  const { wires, job, gathered } = setUp(t)
  job.packed = pieces(Buffer.alloc(1024 * 1024))
  const remote = wires.start(wires.ticket(), ['x'], gathered, { ...STAGED, ins: false })
  await until(() => gathered.events.includes('started'))
  job.end()
  await until(() => gathered.outs.length > 0)
  await settled()
  wires.target.endAll('it is wanted back')
  remote.closeOutput(4)
  t.match(await gathered.done, { end: { exitCode: 0, error: { name: 'StagingError' } } })
})
