import { createHash } from 'node:crypto'
import t, { type Test } from 'tap'
import { Gathered, SIGTERM, Wires } from './wires.ts'

async function run(t: Test, argv: string[], stdin?: string) {
  const wires = new Wires()
  t.teardown(() => wires.close())
  const gathered = new Gathered()
  const job = wires.start(wires.ticket(), argv, gathered)
  gathered.onData = (stream, bytes) => job.consumed(stream, bytes)
  if (stdin !== undefined) job.write(0, Buffer.from(stdin))
  job.endStream(0)
  const outcome = await gathered.done
  return { outcome, out: Buffer.concat(gathered.out).toString(), err: Buffer.concat(gathered.err).toString(), gathered }
}

t.test('streams are apart and whole before the end', async (t) => {
  const { outcome, out, err, gathered } = await run(t, ['sh', '-c', 'cat; echo error >&2; exit 7'], 'hello')
  t.same(outcome, { end: { exitCode: 7, signal: null } })
  t.equal(out, 'hello')
  t.equal(err, 'error\n')
  t.same(gathered.events.toSorted(), ['eof 1', 'eof 2', 'eof 4', 'started'])
})

t.test('the signal that ended a job is told', async (t) => {
  const { outcome } = await run(t, ['sh', '-c', 'kill -USR1 $$'])
  t.same(outcome, { end: { exitCode: null, signal: 'SIGUSR1' } })
})

t.test('a signal reaches the job', async (t) => {
  const wires = new Wires()
  t.teardown(() => wires.close())
  const gathered = new Gathered()
  const job = wires.start(wires.ticket(), ['sh', '-c', 'echo up; sleep 60'], gathered)
  gathered.onData = () => job.signal(SIGTERM)
  t.same(await gathered.done, { end: { exitCode: null, signal: 'SIGTERM' } })
})

t.test('a consumer that takes nothing stops the producer at the window', async (t) => {
  const wires = new Wires()
  t.teardown(() => wires.close())
  const gathered = new Gathered()
  let received = 0
  const job = wires.start(wires.ticket(), ['sh', '-c', 'yes & sleep 60'], gathered)
  await new Promise<void>((resolve) => {
    gathered.onData = (_, bytes) => {
      received += bytes
      if (received === 256 * 1024) resolve()
    }
  })
  job.signal(9)
  job.closeOutput(1)
  await gathered.done
  t.equal(received, 256 * 1024)
})

t.test('many short jobs on one link leave nothing under way behind', async (t) => {
  const wires = new Wires()
  t.teardown(() => wires.close())
  for (let count = 0; count < 12; count++) {
    const gathered = new Gathered()
    const job = wires.start(wires.ticket(), ['sh', '-c', 'head -c 60000; head -c 60000 /dev/zero'], gathered)
    gathered.onData = (stream, bytes) => job.consumed(stream, bytes)
    job.write(0, Buffer.alloc(60_000))
    job.endStream(0)
    t.same(await gathered.done, { end: { exitCode: 0, signal: null } })
    t.equal(Buffer.concat(gathered.out).length, 120_000)
  }
})

t.test('a consumer that goes away ends the producer', async (t) => {
  const wires = new Wires()
  t.teardown(() => wires.close())
  const gathered = new Gathered()
  const job = wires.start(wires.ticket(), ['sh', '-c', 'exec yes'], gathered)
  gathered.onData = (stream) => job.closeOutput(stream)
  // Over a socket, as here, a write may find the connection reset before it is broken: an error instead of SIGPIPE.
  const { end } = await gathered.done
  t.ok(end?.signal === 'SIGPIPE' || end?.exitCode === 1)
})

t.test('a job that closes its stdin early ends the feeding', async (t) => {
  const wires = new Wires()
  t.teardown(() => wires.close())
  const gathered = new Gathered()
  const job = wires.start(wires.ticket(), ['sh', '-c', 'exec <&-; sleep 0.2'], gathered)
  let limit = 256 * 1024
  let sent = 0
  const feed = () => {
    for (; sent + 65_536 <= limit; sent += 65_536) job.write(0, Buffer.alloc(65_536))
  }
  gathered.onStarted = feed
  gathered.onLimit = (to) => {
    limit = to
    feed()
  }
  t.match(await gathered.done, { end: { exitCode: 0 } })
  t.ok(gathered.events.includes('closed 0'))
})

t.test('cut at random moments and resumed: no byte is lost or doubled in either direction', async (t) => {
  const size = 3 * 1024 * 1024
  const data = Buffer.alloc(size)
  for (let index = 0; index < size; index += 4) data.writeUInt32LE((index * 2_654_435_761) >>> 0, index)
  for (let seed = 1; seed <= 20; seed++) {
    const wires = new Wires()
    const gathered = new Gathered()
    const job = wires.start(wires.ticket(), ['cat'], gathered)
    let limit = 256 * 1024
    let sent = 0
    let got = 0
    let random = seed
    const feed = () => {
      while (sent < size && sent < limit) {
        const end = Math.min(size, limit, sent + 50_000)
        job.write(0, data.subarray(sent, end))
        sent = end
      }
      if (sent === size) job.endStream(0)
    }
    let cutAt = size
    const plan = () => {
      random = (random * 1_103_515_245 + 12_345) % 2 ** 31
      cutAt = got + 50_000 + (random % 600_000)
    }
    plan()
    gathered.onStarted = feed
    gathered.onLimit = (to) => {
      limit = Math.max(limit, to)
      feed()
    }
    gathered.onData = (stream, bytes) => {
      got += bytes
      job.consumed(stream, bytes)
      if (got < cutAt) return
      plan()
      setImmediate(() => wires.cut())
    }
    const outcome = await gathered.done
    wires.close()
    t.match(outcome, { end: { exitCode: 0 } })
    const hash = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
    t.equal(hash(Buffer.concat(gathered.out)), hash(data), `seed ${seed}`)
    t.ok(gathered.events.includes('back'))
  }
})

t.test('many jobs share one stream', async (t) => {
  const wires = new Wires()
  t.teardown(() => wires.close())
  const all = await Promise.all(
    Array.from({ length: 40 }, async (_, index) => {
      const gathered = new Gathered()
      const job = wires.start(wires.ticket(), ['sh', '-c', `head -c 20000 /dev/zero; exit ${index}`], gathered)
      gathered.onData = (stream, bytes) => job.consumed(stream, bytes)
      const { end } = await gathered.done
      return [end?.exitCode, Buffer.concat(gathered.out).length]
    })
  )
  t.same(
    all,
    all.map((_, index) => [index, 20_000])
  )
  t.same(wires.urgent, [true, false])
})
