import t, { type Test } from 'tap'
import { lanAvailable } from '../lan.ts'
import { needs } from '../require.ts'
import { PLACED_WITHIN_MS, provoked, ranOn, TARGET, type Through, through, warmUp, why } from './middle.ts'

/**
 * The ticket says where the target was, and it is elsewhere. Home can't know how long already: so the target may move and
 * find the middle again before the job is asked for, and the middle passes a ticket on that says the old address.
 */
async function moved(t: Test, all: Through, address: string): Promise<string> {
  const { lan, home, middle, target } = all
  const { addresses } = await target.status()
  await lan.readdress(TARGET, address)
  const ended = await provoked(all, 'reply', 'hold', () => middle.go(addresses))
  t.match(ended, { code: 0, stdout: /^ran on (home|target)\n$/ })
  const where = ended.stdout.slice('ran on '.length, -1)
  t.same(await ranOn(home, [target]), [where], 'once')
  const { reason, timesMs } = await why(home)
  t.comment(`on ${where} after ${Math.round(timesMs.placed)} ms: ${reason}`)
  return where
}

/** Nobody answers there: through the one between, or at home, in time. */
async function beforeDial(t: Test, all: Through): Promise<void> {
  const { home, target } = all
  await home.stopDaemon()
  await home.startDaemon()
  await moved(t, all, '10.77.0.98')
  t.ok((await why(home)).timesMs.placed < PLACED_WITHIN_MS)
  t.match(await home.there(target, ['echo', 'again']), { code: 0, stdout: 'again\n' })
}

/** The start goes out by a connection that is dead: asked about when it is found so, through the one between. */
async function beforeStart(t: Test, all: Through): Promise<void> {
  const { home, target } = all
  await warmUp(all)
  await moved(t, all, '10.77.0.99')
  t.match(await home.there(target, ['echo', 'again']), { code: 0, stdout: 'again\n' })
}

const unavailable = lanAvailable()
if (needs(t, unavailable === undefined, unavailable ?? '')) {
  t.test('the target has another address when the job is to start', async (t) => {
    const all = await through(t)
    await t.test('and a connection is kept', (t) => beforeStart(t, all))
    await t.test('and was never met', (t) => beforeDial(t, all))
  })
}
