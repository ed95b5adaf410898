import { existsSync } from 'node:fs'
import t from 'tap'
import { needs } from '../require.ts'
import { pair, TestPeer } from './peers.ts'

const device = ['/dev/fuse', '/dev/kmsg', '/dev/loop-control', '/dev/rtc0'].find((path) => existsSync(path))
if (needs(t, device !== undefined, 'a device beyond the harmless ones')) {
  const config = `labels = ["odd", "other"]\n[guests]\ndevices = ["odd:${device}"]`
  const [home, target] = (await Promise.all([
    TestPeer.start(t, { name: 'home' }),
    TestPeer.start(t, { name: 'target', config })
  ])) as [TestPeer, TestPeer]
  await pair(home, target, 'friend')

  t.test('a label shows its devices to jobs that need it, and to no others', async (t) => {
    const look = ['sh', '-c', `[ -c ${device} ] && echo there || echo none`]
    const seen = async (...options: string[]) => (await home.there(target, look, { options })).stdout
    t.equal(await seen(), 'none\n')
    t.equal(await seen('--need', 'odd'), 'there\n')
    t.equal(await seen('--need', 'other'), 'none\n')
    t.equal(await seen('--need', 'other', '--need', 'odd'), 'there\n')
  })
}
