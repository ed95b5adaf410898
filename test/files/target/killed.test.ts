import { mkdtempSync, realpathSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { needs } from '../../require.ts'
import { fuseUnavailable } from '../fuse/mounted.ts'
import { TreeMount } from './tree-mount.ts'

const unavailable = fuseUnavailable()

if (needs(t, unavailable === undefined, unavailable ?? '')) {
  t.test('what a program was making when it was killed does not pass as whole', async (t) => {
    const home = mkdtempSync(join(realpathSync(tmpdir()), 'kappa-killed-'))
    t.teardown(() => rmSync(home, { recursive: true, force: true }))
    await using mount = await TreeMount.start()
    const script = `echo old >appended; echo old >changed
sh -c 'exec 3>half 4>>appended 5<>changed; for fd in 3 4 5; do echo part >&$fd; done; kill -KILL $$'
sh -c 'exec 3>ended; echo part >&3; kill -TERM $$'
(sh -c 'echo part; kill -KILL $$'; echo rest) >closed
sync .`
    t.match(await mount.run(home, script), { code: 0 })
    const isOld = (name: string) => statSync(join(home, name)).mtimeMs === 0
    for (const name of ['half', 'ended']) t.equal(isOld(name), true, name)
    for (const name of ['appended', 'changed', 'closed']) t.equal(isOld(name), false, name)
    t.match(await mount.run(home, 'cat half; stat -c %Y half'), { stdout: 'part\n0\n' }, 'there, too')
  })
}
