/** A job with a terminal: its two streams, its size, its stops, whatever becomes of the connection. */

import { PassThrough } from 'node:stream'
import t from 'tap'
import { STREAM } from '../../../src/protocols/exec/frames.ts'
import { FakeJob, Gathered, settled, until, Wires, type WiresOptions } from './wires.ts'

const TERMINAL = { descriptors: 7, rows: 24, columns: 80, modes: [1, 2, 3] }

class TerminalJob extends FakeJob {
  readonly sizes: string[] = []
  readonly terminal = {
    keys: new PassThrough(),
    screen: new PassThrough(),
    resize: (rows: number, columns: number) => void this.sizes.push(`${rows} ${columns}`)
  }
  stop: (number: number) => void = () => undefined
  readonly onStopped = (listener: (number: number) => void) => {
    this.stop = listener
  }

  override end(...args: Parameters<FakeJob['end']>): void {
    this.terminal.screen.end()
    super.end(...args)
  }
}

function joined(options: WiresOptions = {}) {
  const process = new TerminalJob()
  const asked: unknown[] = []
  const wires = new Wires({
    launch: async ({ message }) => {
      asked.push(message.terminal)
      return process
    },
    ...options
  })
  const gathered = new Gathered()
  const job = wires.start(wires.ticket(), ['x'], gathered, { terminal: TERMINAL })
  return { wires, process, gathered, job, asked }
}

t.test('what is typed, what is shown, sizes and stops', async (t) => {
  const { wires, process, gathered, job, asked } = joined()
  t.teardown(() => wires.close())
  await until(() => gathered.events.includes('started'))
  t.strictSame(asked, [TERMINAL])
  job.write(STREAM.keys, Buffer.from('typed'))
  job.endStream(STREAM.keys)
  job.resize(50, 132)
  process.terminal.screen.write('shown')
  process.stop(20)
  await until(() => gathered.events.includes('stopped 20'))
  await until(() => gathered.screen.length > 0 && process.sizes.length > 0)
  t.equal(String(process.terminal.keys.read()), 'typed')
  await settled()
  t.ok(process.terminal.keys.writableEnded)
  t.equal(String(Buffer.concat(gathered.screen)), 'shown')
  t.strictSame(process.sizes, ['50 132'])
  job.signal(18)
  await until(() => process.signals.includes(18))
  process.stop(19)
  await until(() => gathered.events.includes('stopped 19'))
  process.end({ exitCode: 3, signal: null })
  t.strictSame(await gathered.done, { end: { exitCode: 3, signal: null } })
})

t.test('keys that come before the process are kept for it, and the last size', async (t) => {
  const launched = Promise.withResolvers<void>()
  const process = new TerminalJob()
  const { wires, gathered, job } = joined({ launch: () => launched.promise.then(() => process) })
  t.teardown(() => wires.close())
  job.resize(1, 2)
  await until(() => gathered.events.includes('started'))
  job.write(STREAM.keys, Buffer.from('early'))
  job.resize(3, 4)
  await settled()
  launched.resolve()
  await until(() => process.sizes.length > 0)
  t.equal(String(process.terminal.keys.read()), 'early')
  t.strictSame(process.sizes, ['3 4'])
  process.end()
  await gathered.done
})

t.test('a connection that breaks loses and doubles nothing; size and stop are told again', async (t) => {
  const { wires, process, gathered, job } = joined()
  t.teardown(() => wires.close())
  await until(() => gathered.events.includes('started'))
  const typed: Buffer[] = []
  process.terminal.keys.on('data', (bytes: Buffer) => typed.push(bytes))
  let shown = ''
  let wanted = ''
  for (let round = 0; round < 20; round++) {
    process.terminal.screen.write(`shown ${round};`)
    job.write(STREAM.keys, Buffer.from(`typed ${round};`))
    shown += `shown ${round};`
    wanted += `typed ${round};`
    if (round % 3 === 0) wires.mute(round % 2 === 0 ? 'home' : 'target')
    if (round === 9) {
      job.resize(9, 9)
      process.stop(20)
    }
    await settled()
    if (round % 3 !== 0) continue
    const hanging = gathered.events.filter((event) => event === 'back').length
    wires.cut()
    await until(() => gathered.events.filter((event) => event === 'back').length > hanging)
  }
  await until(
    () => Buffer.concat(gathered.screen).length >= shown.length && Buffer.concat(typed).length >= wanted.length
  )
  t.equal(String(Buffer.concat(gathered.screen)), shown)
  t.equal(String(Buffer.concat(typed)), wanted)
  t.equal(process.sizes.at(-1), '9 9')
  t.equal(gathered.events.filter((event) => event === 'stopped 20').length, 1, 'told once, however often it is said')
  process.end()
  t.match(await gathered.done, { end: { exitCode: 0 } })
})

t.test('a target that has no terminals is asked for none: the job is free to go elsewhere', async (t) => {
  const { wires, gathered } = joined({ terminals: false })
  t.teardown(() => wires.close())
  t.match(await gathered.done, { free: /can't give a job a terminal/ })
  t.strictSame(wires.started, [])
})

t.test('a job without a terminal has none of its streams', async (t) => {
  const process = new FakeJob()
  const wires = new Wires({ launch: async () => process })
  t.teardown(() => wires.close())
  const gathered = new Gathered()
  const job = wires.start(wires.ticket(), ['x'], gathered)
  await until(() => gathered.events.includes('started'))
  job.resize(1, 1)
  t.throws(() => job.write(STREAM.keys, Buffer.from('x')), { name: 'ProtocolError' })
  process.end()
  t.match(await gathered.done, { end: { exitCode: 0 } })
})

t.test('a home that is silent hangs up', async (t) => {
  let now = 0
  const { wires, process, gathered } = joined({ now: () => now })
  t.teardown(() => wires.close())
  await until(() => gathered.events.includes('started'))
  wires.silence()
  now = 9_000
  await until(() => process.signals.length > 0)
  t.strictSame(process.signals, [1])
})
