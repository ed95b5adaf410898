import * as fs from 'node:fs'
import t from 'tap'
import { Hashes, identityOf } from '../../../src/files/hashes.ts'
import { sameHere } from '../../../src/files/target/system-files.ts'
import { needs } from '../../require.ts'

const hashes = new Hashes(undefined, () => Date.now() + 120_000)

async function hashOf(path: string): Promise<string> {
  const fd = fs.openSync(path, 'r')
  try {
    return (await hashes.hash(fd))!
  } finally {
    fs.closeSync(fd)
  }
}

t.test("root's file that all may read is found, as it is", async (t) => {
  const path = fs.realpathSync('/bin/sh')
  const hash = await hashOf(path)
  t.same(await sameHere(hashes, path, hash), identityOf(fs.statSync(path, { bigint: true })))
  t.equal(await sameHere(hashes, path, '\0'.repeat(32)), undefined, 'it holds something else')
})

t.test('nothing else is looked at, whatever hash is asked for', async (t) => {
  const path = fs.realpathSync('/bin/sh')
  const hash = await hashOf(path)
  const own = t.testdir({ file: 'own' })
  for (const other of [
    `${own}/file`,
    `/usr/../${path}`,
    `/usr/.${path}`,
    `//usr${path.slice(4)}`,
    `${path}/`,
    `${path}/.`,
    '/usr',
    '/usr/nothing',
    '/dev/null',
    '/etc/../dev/zero',
    '/proc/self/exe',
    ''
  ]) {
    t.equal(await sameHere(hashes, other, hash), undefined, other)
  }
  t.equal(await sameHere(hashes, `${own}/file`, await hashOf(`${own}/file`)), undefined, 'not in a system directory')
})

t.test('a link on the way, or a file that not all may read, is none', async (t) => {
  const isLink = fs.lstatSync('/bin').isSymbolicLink()
  if (isLink) t.equal(await sameHere(hashes, '/bin/sh', await hashOf('/bin/sh')), undefined, 'a link on the way')
  const secret = fs.existsSync('/etc/shadow') && process.getuid!() === 0
  if (!needs(t, secret, '/etc/shadow, and to be root')) return
  t.equal(await sameHere(hashes, '/etc/shadow', await hashOf('/etc/shadow')), undefined)
})

t.test("a file that somebody else may write, or owns, is not root's word", async (t) => {
  const place = '/opt'
  const isRoot = process.getuid!() === 0 && fs.existsSync(place)
  if (!needs(t, isRoot, 'to be root, and /opt')) return
  const top = fs.mkdtempSync(`${place}/kappa-test-`)
  t.teardown(() => fs.rmSync(top, { recursive: true, force: true }))
  const path = `${top}/file`
  fs.writeFileSync(path, 'something', { mode: 0o644 })
  const same = async () => (await sameHere(hashes, path, await hashOf(path))) !== undefined
  t.equal(await same(), true)
  fs.chmodSync(path, 0o664)
  t.equal(await same(), false, 'its group may')
  fs.chmodSync(path, 0o646)
  t.equal(await same(), false, 'all may')
  fs.chmodSync(path, 0o644)
  fs.chownSync(path, 65_534, 65_534)
  t.equal(await same(), false, 'its owner may')
})
