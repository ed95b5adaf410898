import t from 'tap'
import { SuspendClock } from '../../src/daemon/clock.ts'

function setUp() {
  const machine = { monotonic: 5_000, boot: 90_000 }
  const clock = new SuspendClock(
    () => machine.monotonic,
    () => machine.boot
  )
  const pass = (awake: number, asleep = 0) => {
    machine.monotonic += awake
    machine.boot += awake + asleep
  }
  return { machine, clock, pass }
}

t.test('time passes as it does for the machine, sleep included', async (t) => {
  const { clock, pass } = setUp()
  const start = clock.now()
  pass(1_000)
  t.equal(clock.now() - start, 1_000)
  pass(10, 3_600_000)
  t.equal(clock.now() - start, 3_601_010)
  pass(500)
  t.equal(clock.now() - start, 3_601_510)
  pass(7, 200)
  t.equal(clock.now() - start, 3_601_717)
})

t.test('a coarse reading of the boot clock is no sleep', async (t) => {
  const { clock, machine } = setUp()
  const start = clock.now()
  for (let step = 0; step < 10_000; step++) {
    machine.monotonic += 7
    machine.boot = 90_000 + Math.floor((machine.monotonic - 5_000) / 10) * 10 + (step % 3) * 10
    clock.now()
  }
  t.equal(clock.now() - start, 70_000)
})

t.test('it never goes back, even when the boot clock does', async (t) => {
  const { clock, machine } = setUp()
  let last = clock.now()
  for (const jump of [5_000, -5_000, 0, 10_000, -90_000, 3]) {
    machine.monotonic += 20
    machine.boot += 20 + jump
    const now = clock.now()
    t.ok(now > last)
    last = now
  }
})

t.test('the machine itself', async (t) => {
  const clock = new SuspendClock()
  const first = clock.now()
  await new Promise((resolve) => setTimeout(resolve, 20))
  t.ok(clock.now() > first)
})
