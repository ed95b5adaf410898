/** Not beside other tests: what some of these guests want to use up is the whole machine's, or the user's. */

import t from 'tap'
import { unprivileged } from '../execution/unprivileged.ts'

t.test('a daemon that is not root holds its guests as well', { timeout: 110_000 }, async (t) => {
  await unprivileged(t, 54_322, ['attacks', 'limits', 'shown'])
})
