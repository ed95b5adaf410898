import t from 'tap'
import { emulatedLan, pair, sees, Talk, TestPeer } from './peers.ts'

const lan = await emulatedLan(t, { hosts: 3 })
if (lan) {
  const [desktop, nas, other] = await Promise.all(
    ['desktop', 'nas', 'other'].map((name, host) => TestPeer.start(t, { name, lan, host }))
  )

  t.test('by the name that the other machine shows', async (t) => {
    const early = await nas!.kappa(['pair', 'Desktop'])
    t.match(early, { code: 1, stderr: /^kappa: no machine called "desktop" has pairing open[^\n]*kappa pair[^\n]*\n$/ })
    const waiting = new Talk(desktop!.spawn(['pair', '--own']))
    await waiting.hears(/kappa pair desktop/)
    const joining = new Talk(nas!.spawn(['pair', '--own', 'Desktop']))
    const [, digits] = await waiting.hears(/digits on nas: ([\d ]{7})/)
    await joining.hears(/Digits shown on desktop: /)
    joining.say(digits!.replace(' ', ''))
    await waiting.hears(/digits match\?/)
    waiting.say('yes')
    t.match(await Promise.all([waiting.ended, joining.ended]), [{ code: 0 }, { code: 0 }])
    await Promise.all([sees(desktop!, nas!), sees(nas!, desktop!)])
    t.match(await nas!.there('desktop', ['printenv', 'KAPPA_TARGET']), { code: 0, stdout: 'desktop\n' })
  })

  t.test('two machines of one name', async (t) => {
    const twin = await TestPeer.start(t, { name: 'desktop', lan, host: 2, directory: 'twin' })
    const windows = [desktop!, twin].map((peer) => new Talk(peer.spawn(['pair'])))
    for (const window of windows) await window.hears(/Waiting/)
    const joining = await other!.kappa(['pair', 'desktop'])
    t.match(joining, {
      code: 1,
      stderr: /^kappa: 2 machines say that they are "desktop": [^\n]*10\.77\.0\.1[^\n]*address instead of the name\n$/
    })
    for (const window of windows) window.child.kill('SIGINT')
    await Promise.all(windows.map(({ ended }) => ended))
  })

  t.test('a paired name that two machines have is ambiguous', async (t) => {
    const twin = await TestPeer.start(t, { name: 'desktop', lan, host: 2, directory: 'second-twin' })
    await pair(twin, nas!)
    const run = await nas!.kappa(['run', '--plain', '--on', 'desktop', 'true'])
    t.match(run, { code: 125, stderr: /^kappa: "desktop" may be desktop \(12D3\w+\), desktop \(12D3\w+\); [^\n]*\n$/ })
    t.match(await nas!.kappa(['unpair', 'desktop']), { code: 1, stderr: /^kappa: "desktop" may be/ })
    t.match(await nas!.kappa(['unpair', 'toaster']), {
      code: 1,
      stderr: /^kappa: no paired machine is called "toaster"/
    })
    const { peerId } = await twin.status()
    const chosen = await nas!.there(peerId, ['printenv', 'KAPPA_TARGET'])
    t.match(chosen, { code: 0, stdout: 'desktop\n' })
    await nas!.ok(['peers', peerId, '--name', 'twin'])
    t.match(await nas!.there('twin', ['true']), { code: 0 })
  })
}
