import t from 'tap'
import { unprivileged } from './unprivileged.ts'

t.test('all of it holds for a daemon that is not root', { timeout: 110_000 }, async (t) => {
  await unprivileged(t, [
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
