import t, { type Test } from 'tap'
import { lanAvailable } from '../lan.ts'
import { needs } from '../require.ts'
import {
  MIDDLE,
  Middle,
  PLACED_WITHIN_MS,
  provoked,
  ranOn,
  stayed,
  type Through,
  through,
  warmUp,
  why
} from './middle.ts'
import { sees, until } from './peers.ts'

/** What a probe held that led to no start is free again: at once by a release, else when the ticket runs out. */
async function nothingHeld(t: Test, { target }: Through): Promise<void> {
  await until('nothing is held', async () => (await target.status()).slots.used === 0)
  t.pass('nothing is held')
}

/** The probe was asked and unanswered: placed at home when the budget is over, the hold is let go. */
async function pausedAt(t: Test, all: Through, at: 'probe' | 'reply'): Promise<void> {
  const { home, middle, target } = all
  const { reason, refusals } = await stayed(t, home, [target], await provoked(all, at, 'SIGSTOP'))
  // On a busy machine a walk may have failed before.
  t.match(reason, /^(middle: no answer in \d+ ms|target: did not answer in time)$/)
  t.match(refusals.at(-1), { name: 'middle', code: 'no-answer' })
  middle.resume()
  await nothingHeld(t, all)
}

/** The ticket passed before the way was cut: the reply is lost, as if the middle were silent. */
async function cutAtReply(t: Test, all: Through): Promise<void> {
  const { lan, home, middle, target } = all
  const ended = await provoked(all, 'reply', 'hold', async () => {
    await lan.cut(MIDDLE, 'drop')
    await middle.go()
  })
  await stayed(t, home, [target], ended)
  await lan.mend(MIDDLE)
  await nothingHeld(t, all)
}

/** The ticket is won: home and target need nobody between. */
async function afterReply(t: Test, all: Through, action: 'SIGSTOP' | 'SIGKILL'): Promise<void> {
  const { home, target } = all
  await warmUp(all)
  t.match(await provoked(all, 'replied', action), { code: 0, stdout: 'ran on target\n', stderr: '' })
  t.same(await ranOn(home, [target]), ['target'])
  t.ok((await why(home)).timesMs.placed < PLACED_WITHIN_MS)
}

/** The connection that a probe went out by closes: there is nobody left to ask. */
async function killedAt(t: Test, all: Through, at: 'probe' | 'reply'): Promise<void> {
  const { home, target } = all
  const { reason } = await stayed(t, home, [target], await provoked(all, at, 'SIGKILL'))
  t.equal(reason, 'middle: the connection was lost')
  await nothingHeld(t, all)
}

async function another(t: Test, { lan, home, target }: Through): Promise<Middle> {
  const middle = await Middle.start(t, lan, MIDDLE)
  await middle.pairWith(home)
  await middle.pairWith(target)
  await sees(home, target)
  return middle
}

const unavailable = lanAvailable()
if (needs(t, unavailable === undefined, unavailable ?? '')) {
  t.test('the one between', async (t) => {
    const all = await through(t)
    await t.test('is paused when it has the probe', (t) => pausedAt(t, all, 'probe'))
    await t.test('is paused when it has the reply', (t) => pausedAt(t, all, 'reply'))
    await t.test('is cut off when it has the reply', (t) => cutAtReply(t, all))
    await t.test('is paused when it has passed the reply on', (t) => afterReply(t, all, 'SIGSTOP'))
    all.middle.resume()
    await t.test('dies when it has the probe', (t) => killedAt(t, all, 'probe'))
    all.middle = await another(t, all)
    await t.test('dies when it has passed the reply on', (t) => afterReply(t, all, 'SIGKILL'))
  })
}
