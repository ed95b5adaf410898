import { readdirSync, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import t from 'tap'
import { ownGroupOf } from '../../src/execution/guest-group.ts'
import { childrenOf } from '../../src/execution/process.ts'
import { needs } from '../require.ts'
import { emulatedLan, firstLine, pair, TestPeer, until } from './peers.ts'

const ENDLESS = ['sh', '-c', 'echo on; while :; do :; done']

/** Of the group that all guests of a peer are in: its quota as the kernel says it; undefined where there is no group. */
function guestQuota(peer: TestPeer): string | undefined {
  const daemon = childrenOf(peer.daemon.pid!)[0]!
  const own = ownGroupOf(
    'cpu',
    readFileSync(`/proc/${daemon}/cgroup`, 'latin1'),
    readFileSync('/proc/self/mountinfo', 'latin1')
  )!
  const path = own.path.replace(/\/kappa-daemon$/, '')
  const group = readdirSync(path).find((name) => name.startsWith('kappa-guests-'))
  if (group === undefined) return undefined
  const [quota] = readFileSync(
    `${path}/${group}/${own.version === 1 ? 'cpu.cfs_quota_us' : 'cpu.max'}`,
    'latin1'
  ).split(' ')
  return quota!.trim()
}

const lan =
  needs(t, availableParallelism() > 1, 'needs two CPUs') && (await emulatedLan(t, { hosts: 2, cores: [0.4, 0.4] }))
if (lan) {
  const [home, target] = (await Promise.all(
    ['home', 'target'].map((name, host) => TestPeer.start(t, { name, lan, host }))
  )) as [TestPeer, TestPeer]
  await pair(home, target)

  t.test('under a quota on several CPUs guests yield to an own job, and come back after it', async (t) => {
    const guest = await home.begun(target, ENDLESS, { options: ['--memory', '16m'] })
    t.teardown(() => void guest.child.kill('SIGTERM'))
    if (!needs(t, guestQuota(target) !== undefined, 'needs a cgroup around guests')) return
    const isLimited = () => Number(guestQuota(target)) > 0
    // What the target did as it was paired counts as another's work for a moment.
    t.ok(await until('guests alone have all of it', () => !isLimited()))
    const own = target.spawn(['run', '--local', ...ENDLESS])
    t.teardown(() => void own.kill('SIGTERM'))
    await firstLine(own)
    t.ok(await until('guests are limited', isLimited))
    own.kill('SIGTERM')
    t.ok(await until('they are free again', () => !isLimited()))
  })
}
