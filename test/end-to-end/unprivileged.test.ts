/** Not beside other tests: what some of these guests want to use up is the whole machine's, or the user's. */

import t from 'tap'
import { unprivileged } from '../execution/unprivileged.ts'

t.test('all of it holds for a daemon that is not root', { timeout: 110_000 }, async (t) => {
  await unprivileged(t, 54_321, [
    'ends',
    'streams',
    'sandbox',
    'leftovers',
    'signals',
    'unsandboxed',
    'stage-in',
    'stage-out',
    'terminal'
  ])
})
