import t from 'tap'
import { unprivileged } from './unprivileged.ts'

t.test('a daemon that is not root holds its guests as well', { timeout: 110_000 }, async (t) => {
  await unprivileged(t, ['attacks', 'limits', 'shown'])
})
