import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { lanAvailable } from '../lan.ts'
import { needs } from '../require.ts'
import { provoked, ranOn, stayed, type Through, through, warmUp } from './middle.ts'
import { sees } from './peers.ts'

/** A ticket is valid for 2 s. */
const TICKET_OVER_MS = 3_000
/** Longer than the lease, what follows it, and what home waits. */
const ASLEEP_MS = 14_000

// A daemon that is stopped stands for a machine that sleeps: its clock goes on, it hears and says nothing.

/** The start can't be handed over: at home, and nothing later. */
async function beforeCold(t: Test, all: Through): Promise<void> {
  const { home, middle, target } = all
  const ended = await provoked(all, 'reply', 'hold', async () => {
    target.daemon.kill('SIGSTOP')
    await middle.go()
  })
  t.match(ended, { code: 0, stdout: 'ran on home\n', stderr: '' })
  target.daemon.kill('SIGCONT')
  await stayed(t, home, [target], ended)
}

/** The start was handed over and went unanswered, and the ticket ran out: void, so at home. */
async function beforeStart(t: Test, all: Through): Promise<void> {
  const { home, middle, target } = all
  await warmUp(all)
  const ended = await provoked(all, 'reply', 'hold', async () => {
    target.daemon.kill('SIGSTOP')
    await middle.go()
    await delay(TICKET_OVER_MS)
    target.daemon.kill('SIGCONT')
  })
  t.match(ended, { code: 0, stdout: 'ran on home\n' })
  t.same(await ranOn(home, [target]), ['home'], 'once')
}

/** As before, but home has given up when the target is back: lost, and what it gets then is void. */
async function forLong(t: Test, all: Through): Promise<void> {
  const { home, middle, target } = all
  await warmUp(all)
  const ended = await provoked(all, 'reply', 'hold', async () => {
    target.daemon.kill('SIGSTOP')
    await middle.go()
    await delay(ASLEEP_MS)
    target.daemon.kill('SIGCONT')
  })
  if (ended.code === 0) t.equal(ended.stdout, 'ran on home\n', 'placed before the start was handed over')
  else t.match(ended, { code: 123, stdout: '', stderr: /^kappa: the job \w+ on target is lost: [^\n]+\n$/ })
  await sees(home, target)
  t.same(await ranOn(home, [target]), ended.code === 0 ? ['home'] : [], 'it never ran there')
}

/** Home has its answer when the ticket ran out: whatever it tries, it runs once. */
async function homeStops(t: Test, all: Through): Promise<void> {
  const { home, middle, target } = all
  await warmUp(all)
  const ended = await provoked(all, 'reply', 'hold', async () => {
    home.daemon.kill('SIGSTOP')
    await middle.go()
    await delay(ASLEEP_MS)
    home.daemon.kill('SIGCONT')
  })
  t.match(ended, { code: 0, stdout: /^ran on (home|target)\n$/ })
  t.same(await ranOn(home, [target]), [ended.stdout.slice('ran on '.length, -1)], 'once')
}

const unavailable = lanAvailable()
if (needs(t, unavailable === undefined, unavailable ?? '')) {
  t.jobs = 2
  t.test('between reply and start the target stops', { buffered: true }, async (t) => {
    const all = await through(t)
    await t.test('and was never met', (t) => beforeCold(t, all))
    await t.test('until the ticket ran out', (t) => beforeStart(t, all))
    await t.test('until home gave up', (t) => forLong(t, all))
  })
  t.test('between reply and start home stops', { buffered: true }, async (t) => {
    await homeStops(t, await through(t))
  })
}
