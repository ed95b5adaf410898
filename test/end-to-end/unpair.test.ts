import t from 'tap'
import { jobProcesses, longJob, pair, TestPeer, until } from './peers.ts'

t.jobs = 3

for (const [who, what] of [
  ['target', 'the target'],
  ['home', 'home']
] as const) {
  t.test(`unpaired by ${what} while a job runs`, { buffered: true }, async (t) => {
    const [home, target] = await Promise.all([
      TestPeer.start(t, { name: 'home' }),
      TestPeer.start(t, { name: 'target' })
    ])
    await pair(home, target)
    const { mark, argv } = longJob()
    const run = await home.begun(target, argv)
    await until('the job runs', () => jobProcesses(mark).length > 0)
    const [here, there] = who === 'home' ? [home, target] : [target, home]
    t.equal(await here.ok(['unpair', there.name]), 'The pairing is ended.\n', 'the other side was told')
    await until('nothing of the job is left', () => jobProcesses(mark).length === 0)
    t.match(await run.ended, {
      code: 123,
      stdout: 'up\n',
      stderr: /^kappa: the job \w+ on \w+ is lost: [^\n]*pairing[^\n]*\n$/
    })
    t.equal(await there.ok(['peers', '--json']), '', 'forgotten there too')
    t.match(await home.kappa(['run', '--plain', '--on', 'target', 'true']), {
      code: 125,
      stderr: /^kappa: no paired machine/
    })
    t.same((await target.status()).neighbours, [])
  })
}

t.test(
  'a peer that was away when it was unpaired is turned away, says so, and stops asking',
  { buffered: true },
  async (t) => {
    const [home, target] = await Promise.all([
      TestPeer.start(t, { name: 'home' }),
      TestPeer.start(t, { name: 'target' })
    ])
    await pair(home, target)
    await home.stopDaemon()
    t.match(await target.ok(['unpair', 'home']), /the other machine is away/)
    await target.stopDaemon()
    await target.startDaemon()
    await home.startDaemon()
    await until('home says so', () => /turned away three times: the pairing may have been ended there/.test(home.log()))
    t.match(await home.kappa(['run', '--plain', '--remote', 'true']), {
      code: 125,
      stderr: /^kappa: nobody could take the job: [^\n]+\n$/
    })
    t.same((await target.status()).neighbours, [])
    await pair(target, home)
    t.match(await home.there(target, ['echo', 'again']), { code: 0, stdout: 'again\n' })
  }
)
