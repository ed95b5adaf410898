import t from 'tap'
import { emulatedLan, pair, sees, Talk, TestPeer, until } from './peers.ts'

const lan = await emulatedLan(t, { hosts: 2 })
if (lan) {
  const [desktop, laptop] = ['desktop', 'laptop'].map((name, host) =>
    TestPeer.prepare(t, { name, lan, host, config: name === 'desktop' ? '[machine]\ncores = 1' : '' })
  ) as [TestPeer, TestPeer]
  const state = `${desktop.inside}/state`
  const sh = (script: string) => lan.run(0, ['sh', '-c', script])
  const fill = () =>
    sh(`cat /dev/zero >${state}/filler 2>/dev/null; while echo x >>${state}/filler; do :; done 2>/dev/null`)
  const free = () => sh(`rm -f ${state}/filler`)
  await sh(`mkdir -m 700 ${state} && mount -t tmpfs -o size=2m,mode=700 none ${state}`)

  t.test('a daemon does not start on a full disk, and says why', async (t) => {
    await fill()
    const stderr = /^kappa: \/root\/kappa-desktop\/state\/\w+ can't be written: ENOSPC[^\n]*\n$/
    t.match(await desktop.kappa(['daemon']), { code: 1, stderr })
    t.match(await desktop.kappa(['run', 'true']), { code: 125, stderr: /^kappa: [^\n]+\n$/ })
    await free()
    await Promise.all([desktop.startDaemon(), laptop.startDaemon()])
  })

  t.test('a daemon whose disk becomes full lives and works', async (t) => {
    await pair(desktop, laptop)
    await fill()
    t.match(await desktop.kappa(['run', '--local', 'echo', 'here']), { code: 0, stdout: 'here\n' })
    t.match(await desktop.there(laptop, ['echo', 'there']), { code: 0, stdout: 'there\n' })
    t.match(await desktop.kappa(['pause']), {
      code: 1,
      stderr: /^kappa: [^\n]*pause\.json can't be written: ENOSPC[^\n]*\n$/
    })
    t.match(await desktop.kappa(['resume']), { code: 1, stderr: /^kappa: [^\n]*ENOSPC[^\n]*\n$/ })
    t.match(await desktop.kappa(['peers', 'laptop', '--name', 'lap']), {
      code: 1,
      stderr: /^kappa: [^\n]*pairings\.json can't be written: ENOSPC[^\n]*\n$/
    })
    t.equal((await desktop.status()).neighbours[0]!.name, 'laptop', 'what could not be kept does not count')
    t.match(desktop.log(), / warn the history of jobs can not be used [^\n]*full/)
  })

  t.test('guests on a full disk end with a clear word', async (t) => {
    const guest = await laptop.there(desktop, ['sh', '-c', 'echo started; echo x >file'])
    t.comment(JSON.stringify(guest))
    t.ok(guest.code !== 0)
    t.match(guest.stderr, /No space left|ENOSPC|full/)
    t.match(guest.stderr, /^[^\n]*\n$/, 'one line')
  })

  t.test('pairing on a full disk fails on both sides', async (t) => {
    await laptop.ok(['unpair', 'desktop'])
    await until('desktop has heard of it', async () => (await desktop.status()).neighbours.length === 0)
    const invitation = new Talk(desktop.spawn(['pair', '--invite']))
    const [link] = (await invitation.hears(/^kappa:\S+(?=\n)/)) as [string]
    t.match(await laptop.kappa(['pair', '--yes', link]), { code: 1, stderr: /^kappa: [^\n]+\n$/ })
    t.match(await invitation.ended, { code: 1, stderr: /\nkappa: [^\n]*ENOSPC[^\n]*\n$/ })
    t.equal(await laptop.ok(['peers', '--json']), '')
  })

  t.test('and all is well when there is room again', async (t) => {
    await free()
    await pair(desktop, laptop)
    t.match(await laptop.there(desktop, ['echo', 'fine']), { code: 0, stdout: 'fine\n' })
    await desktop.stopDaemon()
    await desktop.startDaemon()
    await sees(laptop, desktop)
    t.match(await laptop.there(desktop, ['echo', 'fine']), { code: 0, stdout: 'fine\n' })
  })
}
