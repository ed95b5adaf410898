import { mkdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import t from 'tap'
import { PairingStore } from '../../src/daemon/pairings.ts'
import { MAX_PAIRINGS, type Pairing } from '../../src/network/pairing.ts'
import { logLines } from './log-lines.ts'

const pairing = (peerId: string, name: string): Pairing => ({
  peerId,
  name,
  kind: 'friend',
  state: 'paired',
  addresses: ['/ip4/192.168.1.5/tcp/5277']
})

t.test('pairings are kept across starts', async (t) => {
  const state = t.testdir()
  const store = new PairingStore(state, logLines())
  await store.put(pairing('12D3a', 'nas'))
  await store.put({ ...pairing('12D3b', 'desktop'), state: 'pending' })
  await store.put({ ...pairing('12D3a', 'nas'), kind: 'own' })
  const again = new PairingStore(state, logLines())
  t.strictSame([...again.all()], [...store.all()])
  t.match(again.get('12D3a'), { kind: 'own' })
  t.equal(await again.remove('12D3a'), true)
  t.equal(await again.remove('12D3a'), false)
  t.strictSame(
    [...new PairingStore(state, logLines()).all()].map(({ name }) => name),
    ['desktop']
  )
})

t.test('a person names one by its name or the start of its peer ID', async (t) => {
  const store = new PairingStore(t.testdir(), logLines())
  t.throws(() => store.find('nas'), { name: 'UnknownPeerError', message: /none is paired yet.*kappa pair/ })
  await store.put(pairing('12D3KooWabc', 'nas'))
  await store.put(pairing('12D3KooWabd', 'Desktop'))
  await store.put(pairing('12D3KooWxyz', 'nas2'))
  t.equal(store.find('nas').peerId, '12D3KooWabc', 'a whole name goes before the start of another')
  t.equal(store.find('desktop').peerId, '12D3KooWabd')
  t.equal(store.find('12D3KooWx').peerId, '12D3KooWxyz')
  t.throws(() => store.find('12D3KooWab'), { name: 'AmbiguousNameError', message: /nas \(12D3KooWabc\), Desktop/ })
  t.throws(() => store.find('laptop'), { name: 'UnknownPeerError', message: /paired are: nas, Desktop, nas2/ })
  t.throws(() => store.find(''), { name: 'UnknownPeerError' })
  await store.put(pairing('12D3KooWuvw', 'nas'))
  t.throws(() => store.find('nas'), { name: 'AmbiguousNameError', message: /give more of the peer ID/ })
})

t.test('names are shown without their control characters', async (t) => {
  const store = new PairingStore(t.testdir(), logLines())
  await store.put(pairing('12D3a', 'evil\x1b[2J'))
  t.throws(() => store.find('x'), { message: /paired are: evil\\u\{1b\}\[2J/ })
})

t.test('their number is bounded', async (t) => {
  const store = new PairingStore(t.testdir(), logLines())
  for (let index = 0; index < MAX_PAIRINGS; index++) await store.put(pairing(`id${index}`, `name${index}`))
  await t.rejects(store.put(pairing('one-more', 'x')), { name: 'PairingError', message: /kappa unpair PEER/ })
  await store.put({ ...pairing('id0', 'name0'), kind: 'own' })
})

t.test('what could not be kept does not count', async (t) => {
  const state = t.testdir()
  const store = new PairingStore(state, logLines())
  await store.put(pairing('a', 'nas'))
  const blocked = join(state, 'pairings.json.new')
  mkdirSync(blocked)
  await t.rejects(store.put(pairing('b', 'desktop')), { name: 'StateError' })
  await t.rejects(store.put({ ...pairing('a', 'nas'), kind: 'own' }), { name: 'StateError' })
  t.equal(store.get('b'), undefined)
  t.match(store.get('a'), { kind: 'friend' })
  rmdirSync(blocked)
  await store.put(pairing('b', 'desktop'))
})

t.test('a damaged file ends the pairings and is kept beside', async (t) => {
  const state = t.testdir()
  writeFileSync(join(state, 'pairings.json'), '[{"peerId":"a"}]')
  const log = logLines()
  t.strictSame([...new PairingStore(state, log).all()], [])
  t.match(log.lines, [/set aside.*pairings\.json\.corrupt-1/])
})

t.test('ended pairings are remembered', async (t) => {
  const state = t.testdir()
  const store = new PairingStore(state, logLines())
  t.strictSame(store.bans(), [])
  store.keepBans(['a'])
  store.keepBans(['a', 'b'])
  await store.put(pairing('c', 'nas'))
  while (store.bans().length < 2) await setImmediate()
  t.strictSame(new PairingStore(state, logLines()).bans(), ['a', 'b'])
})
