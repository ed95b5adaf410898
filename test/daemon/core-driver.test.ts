import t from 'tap'
import type { PeerCore } from '../../src/core/peer-core.ts'
import type { Effect, PlaceRequest } from '../../src/core/types.ts'
import { CoreDriver } from '../../src/daemon/core-driver.ts'

/** A core that does what the test says. */
function setUp() {
  const clock = { now: 0 }
  const calls: string[] = []
  const sent: unknown[] = []
  const next: { timer: number | undefined; effects: Effect[] } = { timer: undefined, effects: [] }
  const core = {
    handleSample: () => {
      calls.push('sample')
      return []
    },
    handleTimer: () => {
      calls.push('timer')
      next.timer = undefined
      return next.effects.splice(0)
    },
    place: (id: string) => {
      calls.push(`place ${id}`)
      return next.effects.splice(0)
    },
    cancel: (id: string) => {
      calls.push(`cancel ${id}`)
      return []
    },
    nextTimer: () => next.timer
  }
  const driver = new CoreDriver(core as unknown as PeerCore, {
    now: () => clock.now,
    send: (to, message) => sent.push([to, message]),
    sample: () => ({}) as never,
    admit: (home, admitted) => calls.push(`${admitted ? 'admit' : 'dismiss'} ${home}`)
  })
  t.teardown(() => driver.stop())
  return { clock, calls, sent, next, driver }
}

const REQUEST = {} as PlaceRequest
const TRACE = { reason: '', candidates: [], hops: [], refusals: [], placedMs: 0 }

t.test('a decision reaches who asked, once, and nobody else', async (t) => {
  const { driver, next } = setUp()
  const places: number[] = []
  const one = driver.place('one', REQUEST, (position) => places.push(position))
  const two = driver.place('two', REQUEST, () => t.fail('not queued'))
  driver.perform([
    { type: 'queued', jobId: 'one', position: 3 } as Effect,
    { type: 'unplaceable', jobId: 'two', trace: TRACE } as Effect,
    { type: 'unplaceable', jobId: 'nobody', trace: TRACE } as Effect
  ])
  t.same(places, [3])
  t.same(await two, { where: 'nowhere', trace: TRACE })
  driver.perform([{ type: 'placed', jobId: 'one', where: 'here', reason: 'r', trace: TRACE } as Effect])
  t.match(await one, { where: 'here', reason: 'r' })
  t.equal(next.effects.length, 0)
})

t.test('a decision within the call itself is heard', async (t) => {
  const { driver, next } = setUp()
  next.effects = [{ type: 'unplaceable', jobId: 'one', trace: TRACE } as Effect]
  t.match(await driver.place('one', REQUEST, () => undefined), { where: 'nowhere' })
})

t.test('effects are carried out in order', async (t) => {
  const { driver, sent, calls } = setUp()
  const before = calls.length
  driver.perform([
    { type: 'send', to: 'a', message: 1 },
    { type: 'sample' },
    { type: 'send', to: 'b', message: 2 }
  ] as unknown as Effect[])
  t.same(sent, [
    ['a', 1],
    ['b', 2]
  ])
  t.same(calls.slice(before), ['sample'])
})

t.test('a timer is called when it is due; an earlier one replaces a later', async (t) => {
  const { driver, next, calls, clock } = setUp()
  next.timer = 3_600_000
  driver.perform([])
  next.timer = 5
  driver.perform([])
  clock.now = 5
  while (!calls.includes('timer')) await new Promise((resolve) => setTimeout(resolve, 1))
  t.equal(calls.filter((call) => call === 'timer').length, 1)
})

t.test('what came due while the machine slept is done with the next sample', async (t) => {
  const { driver, next, calls, clock } = setUp()
  next.timer = 60_000
  driver.perform([])
  clock.now = 3_600_000
  driver.sample()
  t.same(calls.slice(-2), ['sample', 'timer'])
})

t.test('a stopped driver asks nothing more', async (t) => {
  const { driver, next, calls } = setUp()
  driver.stop()
  next.timer = 0
  driver.perform([])
  await new Promise((resolve) => setTimeout(resolve, 5))
  t.notOk(calls.includes('timer'))
})
