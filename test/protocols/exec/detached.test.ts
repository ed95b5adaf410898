import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { JobEnd } from '../../../src/core/types.ts'
import { KILL_AFTER_MS, LEASE_MS } from '../../../src/protocols/exec/constants.ts'
import { STREAM } from '../../../src/protocols/exec/frames.ts'
import type { Keeper } from '../../../src/protocols/exec/home.ts'
import type { OutputFile } from '../../../src/protocols/exec/recorded.ts'
import type { JobRecording } from '../../../src/protocols/exec/target.ts'
import { FakeJob, Gathered, settled, until, Wires, type WiresOptions } from './wires.ts'

/** A file in memory that takes so many bytes. */
class Memory implements OutputFile {
  #bytes = Buffer.alloc(0)
  readonly #most: number

  constructor(most = Number.POSITIVE_INFINITY) {
    this.#most = most
  }

  get length(): number {
    return this.#bytes.length
  }

  async append(bytes: Uint8Array): Promise<{ kept: number; why?: string }> {
    await turn()
    const kept = Math.min(bytes.length, this.#most - this.#bytes.length)
    this.#bytes = Buffer.concat([this.#bytes, bytes.subarray(0, kept)])
    return kept < bytes.length ? { kept, why: 'it is full' } : { kept }
  }

  async read(offset: number, most: number): Promise<Uint8Array> {
    await turn()
    return this.#bytes.subarray(offset, offset + most)
  }
}

class Kept implements Keeper {
  readonly unkepts: [number, string][] = []
  end: JobEnd | undefined
  isForgotten = false
  /** Whether all that the job left is here for good. */
  safe = true

  unkept(bytes: number, reason: string): void {
    this.unkepts.push([bytes, reason])
  }

  async keep(end: JobEnd): Promise<boolean> {
    this.end = end
    return this.safe
  }

  forgotten(): void {
    this.isForgotten = true
  }
}

/** A detached job that writes what the test says, its recording, and a clock. */
async function world(t: Test, { most, ...options }: WiresOptions & { most?: number } = {}) {
  const clock = { now: 1_000 }
  const job = new FakeJob()
  const recording = { stdout: new Memory(most), stderr: new Memory(most), removed: 0 }
  const record = (): JobRecording => ({
    stdout: recording.stdout,
    stderr: recording.stderr,
    remove: async () => {
      recording.removed++
    }
  })
  const wires = new Wires({ now: () => clock.now, launch: async () => job, record, ...options })
  t.teardown(() => wires.close())
  const [heard, kept] = [new Gathered(), new Kept()]
  // What comes is consumed at once, as what is written down is.
  const ticket = wires.ticket()
  const remote = wires.start(ticket, ['x'], heard, {}, kept)
  heard.onData = (stream, bytes) => remote.consumed(stream, bytes)
  await settled()
  const text = (gathered = heard) => Buffer.concat(gathered.out).toString()
  return { clock, job, recording, wires, heard, kept, ticket, remote, text }
}

/** Home again, after it was started anew, with so many bytes. */
function rejoin({ wires, ticket }: Awaited<ReturnType<typeof world>>, stdout: number, stderr = 0) {
  const [heard, kept] = [new Gathered(), new Kept()]
  const remote = wires.home.rejoin(ticket, { stdout, stderr }, heard, kept)
  heard.onData = (stream, bytes) => remote.consumed(stream, bytes)
  return { heard, kept, remote }
}

t.test('its output comes and its end is kept before the target forgets it', async (t) => {
  const it = await world(t)
  it.kept.safe = false
  it.job.stdout.write('out')
  it.job.stderr.write('err')
  it.job.end({ exitCode: 3, signal: null })
  await until(() => it.kept.end !== undefined)
  await settled()
  t.match(it.kept.end, { exitCode: 3 })
  t.equal(it.text(), 'out')
  t.equal(Buffer.concat(it.heard.err).toString(), 'err')
  t.equal(it.recording.removed, 0)
  const again = rejoin(it, 3, 3)
  await until(() => again.kept.isForgotten)
  await settled()
  t.equal(again.heard.out.length, 0, 'nothing comes twice')
  t.equal(it.recording.removed, 1)
  t.equal(it.wires.target.held, 0)
})

t.test('it has no stdin, whatever comes', async (t) => {
  const it = await world(t)
  t.equal(it.job.stdin.writableEnded, true)
  it.remote.write(STREAM.stdin, Buffer.from('x'))
  await settled()
  t.equal(it.wires.target.running, 1)
})

t.test('it never waits for home, and goes on without it', async (t) => {
  const it = await world(t)
  it.wires.unplugged = true
  it.wires.cut()
  it.clock.now += LEASE_MS + KILL_AFTER_MS + 1
  const line = 'x'.repeat(9_999).concat('\n')
  for (let index = 0; index < 300; index++) {
    if (!it.job.stdout.write(line)) await new Promise((resolve) => it.job.stdout.once('drain', resolve))
  }
  await until(() => it.recording.stdout.length === 3_000_000)
  t.same(it.job.signals, [])
  it.job.end()
  await settled()
  t.equal(it.wires.target.held, 1)
  it.wires.unplugged = false
  it.wires.home.connected('target')
  await until(() => it.kept.isForgotten)
  t.equal(it.text(), line.repeat(300))
})

t.test('a home that was started anew has less than it had acknowledged', async (t) => {
  const it = await world(t)
  it.job.stdout.write('0123456789')
  await until(() => it.text() === '0123456789')
  for (const has of [10, 4, 0, 7]) {
    it.wires.restartHome()
    const { heard } = rejoin(it, has)
    await until(() => it.text(heard).length === 10 - has)
    t.equal(it.text(heard), '0123456789'.slice(has))
  }
  it.wires.restartHome()
  const last = rejoin(it, 9)
  it.job.stdout.write('abc')
  it.job.end()
  await until(() => last.kept.isForgotten)
  t.equal(it.text(last.heard), '9abc')
})

t.test('a home that claims more than was written, or a part of the files, is turned away', async (t) => {
  const it = await world(t)
  it.job.stdout.write('0123')
  await until(() => it.text() === '0123')
  it.wires.restartHome()
  const { heard } = rejoin(it, 5)
  await settled()
  t.same(heard.out, [])
  it.wires.restartHome()
  const right = rejoin(it, 1)
  await until(() => it.text(right.heard) === '123')
})

t.test('files that the job leaves come again from their beginning', async (t) => {
  const job = new FakeJob()
  let packings = 0
  const piece = Buffer.alloc(65_536, 'f')
  job.outs = async function* () {
    packings++
    for (let index = 0; index < 20; index++) yield piece
  }
  const it = await world(t, { launch: async () => job })
  // Only those that say so leave any.
  const ticket = it.wires.ticket()
  const [heard, kept] = [new Gathered(), new Kept()]
  kept.safe = false
  const remote = it.wires.start(ticket, ['x'], heard, { mode: 'staged', outs: ['a'] }, kept)
  heard.onData = (stream, bytes) => remote.consumed(stream, bytes)
  await settled()
  job.end()
  await until(() => kept.end !== undefined)
  t.equal(Buffer.concat(heard.outs).length, 20 * piece.length)
  it.wires.restartHome()
  const again = rejoin({ ...it, ticket }, 0)
  await until(() => again.kept.isForgotten)
  t.equal(Buffer.concat(again.heard.outs).length, 20 * piece.length)
  t.equal(packings, 2)
})

t.test('what is not kept is told at once, and how much at the end', async (t) => {
  const it = await world(t, { most: 10 })
  it.job.stdout.write('0123456789abc')
  await until(() => it.kept.unkepts.length > 0)
  t.same(it.kept.unkepts, [[3, 'it is full']])
  it.wires.restartHome()
  const { heard, kept } = rejoin(it, 10)
  await until(() => kept.unkepts.length === 1)
  it.job.stdout.write('x'.repeat(1_000))
  it.job.end()
  await until(() => kept.isForgotten)
  t.same(heard.out, [])
  t.same(kept.unkepts.at(-1), [1_003, 'it is full'])
})

t.test('an output that home closes is no longer kept, and the job does not notice', async (t) => {
  const it = await world(t)
  it.remote.closeOutput(STREAM.stdout)
  await settled()
  it.job.stdout.write('x'.repeat(100_000))
  await settled()
  t.equal(it.job.stdout.destroyed, false)
  t.equal(it.recording.stdout.length, 0)
  it.job.stderr.write('err')
  it.job.end()
  await until(() => it.kept.isForgotten)
  t.equal(Buffer.concat(it.heard.err).toString(), 'err')
  t.same(it.kept.unkepts, [], 'home knows itself')
})

t.test('until its files are there it has the lease of any job', async (t) => {
  const it = await world(t)
  const ticket = it.wires.ticket()
  const heard = new Gathered()
  const remote = it.wires.start(ticket, ['x'], heard, { mode: 'staged', ins: true }, new Kept())
  await settled()
  t.equal(remote.delivered(STREAM.ins), false)
  remote.write(STREAM.ins, Buffer.from('files'))
  remote.endStream(STREAM.ins)
  await until(() => remote.delivered(STREAM.ins))
})

t.test('a target that can not detach jobs gets none', async (t) => {
  const wires = new Wires()
  t.teardown(() => wires.close())
  const heard = new Gathered()
  wires.start(wires.ticket(), ['true'], heard, {}, new Kept())
  t.match(await heard.done, { free: /too old to detach/ })
  t.same(wires.started, [])
})

t.test('the end of the pairing leaves nothing', async (t) => {
  const it = await world(t)
  it.wires.target.distrust('another', 'the pairing was ended')
  t.equal(it.wires.target.held, 1)
  it.wires.target.distrust('home', 'the pairing was ended')
  await until(() => it.wires.target.held === 0)
  t.equal(it.recording.removed, 1)
  const other = await world(t)
  other.wires.unplugged = true
  other.wires.cut()
  other.job.end()
  await settled()
  t.equal(other.wires.target.held, 1)
  other.wires.target.distrust('home', 'the pairing was ended')
  t.equal(other.wires.target.held, 0)
  t.equal(other.recording.removed, 1)
})

t.test('a target that was started anew has lost it', async (t) => {
  const it = await world(t)
  it.wires.restartHome()
  it.wires.restartTarget()
  const { heard } = rejoin(it, 0)
  t.match(await heard.done, { lost: 'it restarted in between' })
})
