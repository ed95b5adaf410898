import { execFileSync } from 'node:child_process'
import t from 'tap'
import { checkSandbox, guestOf } from '../../src/execution/availability.ts'
import { findProgram } from '../../src/execution/tools.ts'
import { needs } from '../require.ts'
import { place, sandboxed } from './executing.ts'

t.test('a machine that forbids user namespaces says so, and how to allow them', async (t) => {
  if ((await sandboxed(t)) === null) return
  const unshare = findProgram('unshare')!
  const helper = new URL('./asking.ts', import.meta.url).pathname
  const script = 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"'
  const said = execFileSync(unshare, ['-U', '-r', 'sh', '-c', script, 'sh', process.execPath, helper, place(t)])
  t.same(JSON.parse(said.toString()), {
    ok: false,
    reason: 'user.max_user_namespaces is 0',
    mend: 'sudo sysctl -w user.max_user_namespaces=16384'
  })
})

t.test('a scratch directory that cannot be used is a reason too', async (t) => {
  const answer = await checkSandbox({ ...guestOf({}), scratchDirectory: `${place(t)}/missing` })
  t.match(answer, { ok: false, reason: /ENOENT/ })
})

t.test('guests of a root daemon are never root', async (t) => {
  if (!needs(t, process.getuid?.() === 0, 'root')) return
  t.same(guestOf({ guestUid: 1234, guestGid: 5678 }), { uid: 1234, gid: 5678 })
  t.not(guestOf({ guestUid: 0, guestGid: 5678 }).uid, 0)
  t.not(guestOf({ guestUid: 1234, guestGid: 0 }).gid, 0)
  t.not(guestOf({}).uid, 0)
})
