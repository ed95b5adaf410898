import t from 'tap'
import type { CheckResult } from '../../src/daemon/control-results.ts'
import { VERSION } from '../../src/version.ts'
import { later, nextVersion } from './next-version.ts'
import { pair, pairOnly, TestPeer, until } from './peers.ts'

t.test('the next minor version works together with this one; the one after it is told of on both sides', async (t) => {
  const directory = t.testdir({ near: {}, far: {} })
  const program = (name: string, version: string) => ({
    launcher: nextVersion(`${directory}/${name}`, version),
    version
  })
  const [now, near, far] = await Promise.all([
    TestPeer.start(t, { name: 'now' }),
    TestPeer.start(t, { name: 'near', program: program('near', later(1)) }),
    TestPeer.start(t, { name: 'far', program: program('far', later(2)) })
  ])
  await pair(now, near)
  for (const [home, target] of [
    [now, near],
    [near, now]
  ] as const) {
    const { stdout } = await home.there(target, ['sh', '-c', 'cat; echo $KAPPA_TARGET'], { input: 'from ' })
    t.equal(stdout, `from ${target.name}\n`)
    const files = await home.there(target, ['sh', '-c', 'echo $KAPPA_TARGET >made'], { options: ['--files'] })
    t.equal(files.code, 0, files.stderr)
    t.equal(await home.ok(['run', '--local', 'cat', 'made']), `${target.name}\n`)
  }
  t.match(await now.ok([]), `near runs kappa ${later(1)}, this machine ${VERSION}: they work together.`)

  await pairOnly(now, far, 'own')
  const said = async (peer: TestPeer, other: string) =>
    until('it says so', async () => (await peer.status()).neighbours.find(({ name }) => name === other)?.refuses)
  t.equal(await said(now, 'far'), `runs kappa ${later(2)}, too new for ${VERSION} here: update this machine`)
  t.equal(await said(far, 'now'), `runs kappa ${VERSION}, too old for ${later(2)} here: update it`)
  t.match(await now.ok(['status']), /far .*runs kappa .* too new for .* here: update this machine/)
  const refused = await now.kappa(['run', '--on', 'far', '--plain', 'true'])
  t.match(refused, { code: 125, stderr: /far: runs kappa .* too new for .*: update this machine/ })
  const { code, stdout } = await now.kappa(['doctor', '--json', 'far'])
  const versions = (JSON.parse(stdout).between as CheckResult[]).find(({ id }) => id === 'versions')
  t.match({ code, versions }, { code: 1, versions: { verdict: 'failure', found: /too far apart/ } })
})
