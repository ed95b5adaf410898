import t from 'tap'
import { emulatedLan, pair, sees, TestPeer, until } from './peers.ts'

const lan = await emulatedLan(t, { hosts: 2 })
if (lan) {
  const [home, target] = (await Promise.all(
    ['home', 'target'].map((name, host) => TestPeer.start(t, { name, lan, host }))
  )) as [TestPeer, TestPeer]
  await pair(home, target)

  for (const [host, name, address] of [
    [1, 'target', '10.77.0.91'],
    [0, 'home', '10.77.0.90']
  ] as const) {
    t.test(`a job goes on when the address of ${name} changes`, async (t) => {
      const run = await home.begun(target, ['sh', '-c', 'echo up; cat; echo done'])
      let expected = 'up\n'
      run.say('before')
      expected += 'before\n'
      await until('it came back', () => run.stdout === expected)
      await lan.readdress(host, address)
      expected += 'after\n'
      run.say('after')
      await until('it goes on', () => run.stdout === expected)
      run.child.stdin!.end()
      t.match(await run.ended, { code: 0, stdout: `${expected}done\n`, stderr: '' })
      await Promise.all([sees(home, target), sees(target, home)])
      const peer = host === 1 ? home : target
      const [neighbour] = (await peer.status()).neighbours
      t.match(neighbour, { connected: true, via: new RegExp(`/ip4/${address}/`) })
    })
  }

  t.test('and both at once, with nothing running', async (t) => {
    await Promise.all([lan.readdress(0, '10.77.0.80'), lan.readdress(1, '10.77.0.81')])
    await until('they meet again', async () => {
      const [there] = (await home.status()).neighbours
      const [back] = (await target.status()).neighbours
      return there?.via?.includes('10.77.0.81') && back?.via?.includes('10.77.0.80')
    })
    t.match(await home.there(target, ['echo', 'there']), { code: 0, stdout: 'there\n' })
  })
}
