import { mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { quote } from '../../../src/execution/quote.ts'
import { abortScript } from '../../../src/files/fuse/mount.ts'
import { decodeRequest } from '../../../src/protocols/file/codec.ts'
import { needs } from '../../require.ts'
import { finished, fuseUnavailable } from '../fuse/mounted.ts'
import { TreeMount } from './tree-mount.ts'

const unavailable = fuseUnavailable()
const ENDED = /Transport endpoint is not connected|Software caused connection abort|Stale file handle/

/** A home whose `stuck` is never answered, and a program that waits for it. */
async function waiting(t: Test) {
  const home = mkdtempSync(join(realpathSync(tmpdir()), 'kappa-ends-'))
  t.teardown(() => rmSync(home, { recursive: true, force: true }))
  writeFileSync(join(home, 'stuck'), 'text\n')
  writeFileSync(join(home, 'there'), 'text\n')
  const asked = Promise.withResolvers<void>()
  const mount = await TreeMount.start({
    intercept(frame) {
      const request = decodeRequest(frame)
      if (request.kind !== 'fetch' || !request.path.endsWith('/stuck')) return false
      asked.resolve()
      return true
    }
  })
  t.match(await mount.run(home, 'cat there'), { stdout: 'text\n', code: 0 }, 'others are answered')
  const reader = mount.spawn(home, ['cat', 'stuck'])
  const read = finished(reader, 'cat stuck')
  await asked.promise
  const unmounts = async () => {
    const script = `umount -i -l ${quote(mount.root)} && ls -A ${quote(mount.root)}`
    t.match(await mount.run(undefined, script), { stdout: '', stderr: '', code: 0 }, 'it can be unmounted')
  }
  return { home, mount, reader, read, unmounts }
}

if (needs(t, unavailable === undefined, unavailable ?? '')) {
  t.test('the process that serves is killed: programs get errors', async (t) => {
    const { home, mount, read, unmounts } = await waiting(t)
    await using _ = mount
    process.kill(mount.serverPid, 'SIGKILL')
    t.match(await read, { code: 1, stderr: ENDED }, 'who waits')
    t.match(await mount.run(undefined, `cat ${quote(mount.root + home)}/there`), { stderr: ENDED }, 'who comes later')
    await unmounts()
  })

  t.test('home is lost: programs get errors, and the process ends', async (t) => {
    const { home, mount, read, unmounts } = await waiting(t)
    await using _ = mount
    mount.cut()
    t.match(await read, { code: 1, stderr: ENDED }, 'who waits')
    while (isThere(mount.serverPid)) await new Promise((resolve) => setTimeout(resolve, 5))
    t.match(await mount.run(undefined, `cat ${quote(mount.root + home)}/there`), { stderr: ENDED }, 'who comes later')
    await unmounts()
  })

  t.test('what home does not answer holds up nobody else, and the mount can be ended', async (t) => {
    const { home, mount, read } = await waiting(t)
    await using _ = mount
    t.match(await mount.run(home, 'cat there; echo more >> there; cat there'), {
      stdout: 'text\ntext\nmore\n',
      code: 0
    })
    const script = abortScript({ ...MOUNT, directory: quote(mount.root) })
    t.match(await mount.run(undefined, script), { code: 0 })
    t.match(await read, { code: 1, stderr: ENDED }, 'who waits')
  })

  t.test('what is denied is an error there, and told', async (t) => {
    await using mount = await TreeMount.start({ view: { denied: ['/usr/share'] } })
    t.match(await mount.run('', 'ls usr/share'), { stderr: /Permission denied/ })
    t.same(mount.denied, ['list /usr/share'])
  })
}

const MOUNT = { descriptor: 3, source: 'kappa', isReadOnly: false, checksModes: false, uid: 0, gid: 0 }

/** Neither gone nor dead. */
function isThere(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))
  } catch {
    return false
  }
}
