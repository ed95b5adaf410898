import t from 'tap'
import { wokenFor } from '../../src/daemon/waking.ts'
import type { Pairing } from '../../src/network/pairing.ts'

const TOLD = ['02:00:00:00:00:01']
const sleeper = (more: Partial<Pairing>): Pairing => ({
  ...{ peerId: 'x', name: 'nas', kind: 'friend', state: 'paired', addresses: [] },
  ...more
})

t.test('who is woken for whom', async (t) => {
  const known = sleeper({ hardware: ['02:00:00:00:00:02'] })
  t.strictSame(wokenFor('own', known, TOLD), known.hardware, 'at what it said itself')
  t.strictSame(wokenFor('friend', known, TOLD), known.hardware)
  t.strictSame(wokenFor('own', undefined, TOLD), TOLD, 'an own machine is believed')
  t.strictSame(wokenFor('friend', undefined, TOLD), [], 'a friend wakes nobody who is not paired with this machine')
  t.strictSame(wokenFor('friend', sleeper({ state: 'pending', hardware: TOLD }), TOLD), [])
  t.strictSame(wokenFor('own', sleeper({ hardware: [] }), TOLD), [], 'who is not to be woken is not')
})
