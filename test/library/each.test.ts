import t, { type Test } from 'tap'
import type { ControlConnection } from '../../src/daemon/control.ts'
import { FRAME, type RunParams } from '../../src/daemon/control-codec.ts'
import { connect, type EachResult } from '../../src/index.ts'
import { dataHeader } from '../../src/protocols/exec/frames.ts'
import { fakeDaemon } from '../cli/fake-daemon.ts'

/** Jobs wait for what the test says, by the last word of the command. */
async function setUp(t: Test) {
  const jobs = new Map<string, { connection: ControlConnection; params: RunParams }>()
  let arrived = Promise.withResolvers<void>()
  const directory = await fakeDaemon(t, {
    status: () => ({ name: 'here', peerId: 'id' }),
    run: (connection, params) => {
      const { argv } = params as RunParams
      jobs.set(argv.at(-1)!, { connection, params: params as RunParams })
      connection.onGone(() => jobs.delete(argv.at(-1)!))
      arrived.resolve()
      arrived = Promise.withResolvers()
    }
  })
  const peer = await connect({ directory })
  t.teardown(() => peer.stop())
  const until = async (wanted: () => boolean) => {
    while (!wanted()) await arrived.promise
  }
  const start = (name: string) => jobs.get(name)!.connection.tell(FRAME.started, { id: name, kind: 'own', name: 'nas' })
  const end = (name: string, exitCode = 0) => {
    const { connection } = jobs.get(name)!
    connection.send(dataHeader(0, 1, 0), Buffer.from(name))
    connection.tell(FRAME.end, { exitCode, signal: null })
    connection.end()
  }
  return { peer, jobs, until, start, end }
}

const text = (result: EachResult<unknown> | undefined) => result?.output?.stdout.toString()

t.test('results in the order of the items, whichever ends first; a failure is one, too', async (t) => {
  const { peer, until, start, end, jobs } = await setUp(t)
  const results = peer.each(['a', 'b', 'c'], (item) => ['x', item], { run: { plain: true } })[Symbol.asyncIterator]()
  const first = results.next()
  await until(() => jobs.size === 3)
  t.match(jobs.get('b')!.params.options, { plain: true, wait: true }, 'bound when there is room')
  for (const name of ['a', 'b', 'c']) start(name)
  end('c')
  end('b', 7)
  end('a')
  t.match((await first).value, { item: 'a', index: 0, output: { exitCode: 0, machine: 'nas' } })
  t.match((await results.next()).value, { item: 'b', index: 1, output: { exitCode: 7 } })
  t.equal(text((await results.next()).value as EachResult<string>), 'c')
  t.match(await results.next(), { done: true })
})

t.test('unordered, they come as they end; what kappa could not do is a result with an error', async (t) => {
  const { peer, until, start, end, jobs } = await setUp(t)
  const results = peer.each(['a', 'b'], (item) => ({ argv: ['x', item] }), { ordered: false })[Symbol.asyncIterator]()
  const first = results.next()
  await until(() => jobs.size === 2)
  start('b')
  end('b')
  t.match((await first).value, { item: 'b', index: 1 })
  jobs.get('a')!.connection.tell(FRAME.failure, { name: 'NothingRanError', message: 'nobody' })
  t.match((await results.next()).value, { item: 'a', error: { name: 'NothingRanError' } })
  t.match(await results.next(), { done: true })
})

t.test('no more are placed at once, nor begun, than is allowed, and the items are read no further', async (t) => {
  const { peer, until, start, end, jobs } = await setUp(t)
  let read = 0
  function* endless() {
    for (;;) yield String(read++)
  }
  const results = peer.each(endless(), (item) => ['x', item], { jobs: 10 })[Symbol.asyncIterator]()
  const first = results.next()
  await until(() => jobs.size === 8)
  t.ok(read <= 9, `${read} read while 8 look for a place`)
  for (let number = 0; number < 8; number++) start(String(number))
  await until(() => jobs.size === 10)
  t.ok(read <= 11, `${read} read while 10 run`)
  end('0')
  t.equal(text((await first).value as EachResult<string>), '0')
  const gone = jobs.get('5')!.connection
  await results.return!(undefined)
  await new Promise<void>((resolve) => gone.onGone(resolve))
  t.ok(read <= 13, 'leaving the loop ends the jobs and begins no more')
})

t.test('an abort, and a mistake of the caller, end all', async (t) => {
  const { peer, until, jobs } = await setUp(t)
  const controller = new AbortController()
  const results = peer.each(['a', 'b'], (item) => ['x', item], { signal: controller.signal })[Symbol.asyncIterator]()
  const first = results.next()
  await until(() => jobs.size === 2)
  const gone = jobs.get('a')!.connection
  controller.abort(new Error('enough'))
  await t.rejects(first, { message: 'enough' })
  await new Promise<void>((resolve) => gone.onGone(resolve))
  const wrong = peer.each(['a'], () => {
    throw new TypeError('my own mistake')
  })
  await t.rejects(wrong[Symbol.asyncIterator]().next(), { message: 'my own mistake' })
})
