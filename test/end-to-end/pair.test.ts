import { randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import { formatInvitation, parseInvitation } from '../../src/protocols/pair/invitation.ts'
import { pair, sees, Talk, TestPeer, until } from './peers.ts'

const [desktop, nas] = await Promise.all([TestPeer.start(t, { name: 'desktop' }), TestPeer.start(t, { name: 'nas' })])

/** HOST:PORT of a peer on loopback. */
async function addressOf(peer: TestPeer): Promise<string> {
  const { addresses } = await peer.status()
  return addresses[0]!.replace(/^\/ip4\/(.*)\/tcp\/(\d+)$/, '$1:$2')
}

async function kinds(peer: TestPeer): Promise<string[]> {
  const rows = (await peer.ok(['peers', '--json'])).split('\n').filter((line) => line !== '')
  return rows.map((row) => JSON.parse(row)).map(({ name, kind, state }) => `${name} ${kind} ${state}`)
}

async function unpair(t: Test): Promise<void> {
  await nas.ok(['unpair', 'desktop'])
  await until('both have forgotten', async () => (await kinds(desktop)).length === 0)
  t.same(await kinds(nas), [])
}

t.test('by numbers, typed on the other machine and confirmed', async (t) => {
  const waiting = new Talk(desktop.spawn(['pair', '--own']))
  await waiting.hears(/Waiting for 5 min.*kappa pair desktop/)
  const joining = new Talk(nas.spawn(['pair', await addressOf(desktop)]))
  await joining.hears(/Digits shown on desktop: /)
  await waiting.hears(/nas wants to pair as a friend's machine \(try 1; 2 left\)/)
  const [, first, second] = await waiting.hears(/Type these digits on nas: (\d{3}) (\d{3})/)
  joining.say(`${first}${second}`)
  await joining.hears(/digits match; confirm it on desktop/)
  await waiting.hears(/Does nas say that the digits match\? \[y\/N\] /)
  t.same((await kinds(desktop)).includes('nas own paired'), false, 'not before it is confirmed')
  waiting.say('y')
  t.match(await waiting.ended, { code: 0, stdout: '', stderr: /Paired with nas, a machine of your own/ })
  t.match(await joining.ended, { code: 0, stdout: '', stderr: /Paired with desktop, a friend's machine/ })
  await Promise.all([sees(desktop, nas), sees(nas, desktop)])
  t.same(await kinds(desktop), ['nas own paired'], 'each side says for itself what the other is')
  t.same(await kinds(nas), ['desktop friend paired'])
  t.match(await nas.kappa(['run', '--plain', '--on', 'desktop', 'echo', 'there']), { code: 0, stdout: 'there\n' })
  await unpair(t)
})

t.test('wrong digits and a person who declines pair nothing', async (t) => {
  const waiting = new Talk(desktop.spawn(['pair']))
  await waiting.hears(/Waiting/)
  const address = await addressOf(desktop)
  const wrong = new Talk(nas.spawn(['pair', address]))
  const [, first, second] = await waiting.hears(/digits on nas: (\d{3}) (\d{3})/)
  await wrong.hears(/Digits shown on desktop: /)
  wrong.say(`${first}${(Number(second) + 1) % 1000}`.padStart(6, '0'))
  t.match(await wrong.ended, { code: 1, stderr: /kappa: .*digits/ })
  await waiting.hears(/That try failed: .*2 left/)
  const declined = new Talk(nas.spawn(['pair', address]))
  await waiting.hears(/try 2; 1 left/)
  const [, third] = await waiting.hears(/try 2;[\s\S]*digits on nas: ([\d ]{7})/)
  await declined.hears(/Digits shown on desktop: /)
  declined.say(third!.replace(' ', ''))
  await waiting.hears(/Does nas say that the digits match/)
  waiting.say('n')
  t.match(await declined.ended, { code: 1, stderr: /kappa: .*desktop/ })
  await waiting.hears(/1 left\.$/m)
  waiting.child.kill('SIGINT')
  t.match(await waiting.ended, { code: null, signal: 'SIGINT' })
  await until('pairing is closed', async () => {
    const late = await nas.kappa(['pair', address])
    return /turned this machine away.*run there first: kappa pair/.test(late.stderr) && late.code === 1
  })
  t.same([await kinds(desktop), await kinds(nas)], [[], []])
})

t.test('by invitation, which is good once and for the other machine only', async (t) => {
  const invitation = new Talk(desktop.spawn(['pair', '--invite', '--own']))
  const [link] = (await invitation.hears(/^kappa:\S+\n/)) as [string]
  const own = await desktop.kappa(['pair', '--yes', link.trim()])
  t.match(own, { code: 1, stderr: /^kappa: .*of this machine: use it on the other one\n$/ })
  const piped = await nas.kappa(['pair', '--yes', '--own', '-'], { input: link })
  t.match(piped, { code: 0, stderr: /Paired with desktop/ })
  t.match(await invitation.ended, { code: 0, stdout: link, stderr: /Paired with nas/ })
  await Promise.all([sees(desktop, nas), sees(nas, desktop)])
  const used = await nas.kappa(['pair', '--yes', link.trim()])
  t.match(used, { code: 1, stderr: /^kappa: [^\n]*invitation[^\n]*\n$/ }, 'used')
  t.same(await kinds(nas), ['desktop own paired'], 'what stands is not touched by it')
  await unpair(t)
})

t.test('a wrong invitation uses it up', async (t) => {
  const invitation = new Talk(desktop.spawn(['pair', '--invite']))
  const [link] = (await invitation.hears(/^kappa:\S+(?=\n)/)) as [string]
  const garbled = link.replace(/.(?=.{3}$)/, (character) => (character === 'A' ? 'B' : 'A'))
  for (const nonsense of [garbled, 'kappa:nonsense', 'kappa:', `kappa:${'A'.repeat(5000)}`]) {
    t.match(await nas.kappa(['pair', '--yes', nonsense]), { code: 1, stderr: /^kappa: [^\n]*invitation[^\n]*\n$/ })
  }
  t.match(await nas.kappa(['pair', '--yes', '-']), { code: 1, stderr: /^kappa: stdin holds no invitation/ })
  const forged = formatInvitation({ ...parseInvitation(link), secret: randomBytes(16) })
  t.match(await nas.kappa(['pair', '--yes', forged]), { code: 1, stderr: /^kappa: [^\n]*invitation[^\n]*\n$/ })
  t.match(await invitation.ended, { code: 1, stderr: /kappa: nas came with a wrong secret, so the invitation is void/ })
  t.match(await nas.kappa(['pair', '--yes', link]), { code: 1, stderr: /^kappa: [^\n]*invitation[^\n]*\n$/ })
  t.same([await kinds(desktop), await kinds(nas)], [[], []])
})

t.test('a revoked invitation', async (t) => {
  const invitation = new Talk(desktop.spawn(['pair', '--invite']))
  const [link] = (await invitation.hears(/^kappa:\S+(?=\n)/)) as [string]
  t.match(await desktop.kappa(['pair', '--invite']), { code: 1, stderr: /^kappa: pairing is open here already/ })
  invitation.child.kill('SIGINT')
  t.match(await invitation.ended, { code: null, signal: 'SIGINT' })
  const late = await nas.kappa(['pair', '--yes', link])
  t.match(late, { code: 1, stderr: /^kappa: [^\n]*invitation[^\n]*\n$/ })
  t.same([await kinds(desktop), await kinds(nas)], [[], []])
})

t.test('pairing again after all that', async (t) => {
  await pair(nas, desktop, 'friend')
  t.same([await kinds(desktop), await kinds(nas)], [['nas friend paired'], ['desktop friend paired']])
  t.match(await desktop.kappa(['run', '--plain', '--on', 'nas', 'echo', 'there']), { code: 0, stdout: 'there\n' })
})
