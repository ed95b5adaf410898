import { chmodSync, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { abandonIdentity, adoptIdentity, type KeyCodec, loadIdentity } from '../../src/daemon/identity-file.ts'
import { logLines } from './log-lines.ts'

let made = 0
const keys: KeyCodec<string> = {
  create: async () => `key ${++made}`,
  fromBytes: (bytes) => {
    const text = Buffer.from(bytes).toString()
    if (!text.startsWith('key')) throw new Error('no key')
    return text
  },
  toBytes: (key) => Buffer.from(key)
}
const load = (state: string, machine: string | null = 'machine A') => loadIdentity(state, keys, logLines(), machine)

t.test('a key is made once, for this user only', async (t) => {
  const state = t.testdir()
  const key = await load(state)
  t.equal(await load(state), key)
  t.equal(statSync(join(state, 'identity')).mode & 0o777, 0o600)
})

t.test('a key that others could read is closed to them', async (t) => {
  const state = t.testdir()
  await load(state)
  chmodSync(join(state, 'identity'), 0o644)
  const log = logLines()
  await loadIdentity(state, keys, log, 'machine A')
  t.equal(statSync(join(state, 'identity')).mode & 0o777, 0o600)
  t.match(log.lines, [/was readable by other users/])
})

t.test('a damaged identity stops with what to do, and is never replaced silently', async (t) => {
  const state = t.testdir()
  const path = join(state, 'identity')
  const damaged = ['', 'x', '{"key":"!","machine":null}', JSON.stringify({ key: 'AAAA', machine: null })]
  for (const text of damaged) {
    writeFileSync(path, text)
    await t.rejects(load(state), {
      name: 'StateError',
      message: /identity is damaged.*restore it from a backup.*kappa daemon --new-identity/
    })
    t.equal(readFileSync(path, 'utf8'), text)
  }
})

t.test('an identity that is missing beside its pairings is not made anew', async (t) => {
  const state = t.testdir({ 'pairings.json': '[]' })
  await t.rejects(load(state), { name: 'StateError', message: /identity is missing, though there are pairings/ })
})

t.test('a copy on another machine is refused; it can get its own or take over', async (t) => {
  const state = t.testdir({ 'pairings.json': '[]', identity: '' })
  writeFileSync(
    join(state, 'identity'),
    JSON.stringify({ key: Buffer.from('key old').toString('base64'), machine: 'machine A' })
  )
  await t.rejects(load(state, 'machine B'), {
    name: 'StateError',
    message: /made on another machine.*--new-identity.*--keep-identity/
  })
  await adoptIdentity(state, 'machine B')
  t.equal(await load(state, 'machine B'), 'key old')
  await t.rejects(load(state, 'machine A'), { name: 'StateError' })
  t.strictSame(abandonIdentity(state), [join(state, 'identity.old-1'), join(state, 'pairings.json.old-1')])
  t.not(await load(state, 'machine A'), 'key old')
  t.ok(existsSync(join(state, 'identity.old-1')))
})

t.test('where there is no machine id, nothing is compared; it is recorded once there is one', async (t) => {
  const state = t.testdir()
  const key = await load(state, null)
  t.equal(await load(state, 'machine A'), key)
  t.equal(await load(state, null), key)
  await t.rejects(load(state, 'machine B'))
})

t.test('an identity that is missing can not be kept', async (t) => {
  await t.rejects(adoptIdentity(t.testdir()), { name: 'StateError', message: /there is no identity to keep/ })
})
