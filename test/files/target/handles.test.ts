import { mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { decodeRequest } from '../../../src/protocols/file/codec.ts'
import { needs } from '../../require.ts'
import { fuseUnavailable } from '../fuse/mounted.ts'
import { TreeMount } from './tree-mount.ts'

const unavailable = fuseUnavailable()

if (needs(t, unavailable === undefined, unavailable ?? '')) {
  t.test('a file that is closed while home is opening it is closed at home, too', async (t) => {
    const home = mkdtempSync(join(realpathSync(tmpdir()), 'kappa-handles-'))
    t.teardown(() => rmSync(home, { recursive: true, force: true }))
    writeFileSync(join(home, 'read'), 'text\n')
    const asked = Promise.withResolvers<Uint8Array>()
    const closed = Promise.withResolvers<void>()
    await using mount = await TreeMount.start({
      intercept(frame) {
        const request = decodeRequest(frame)
        if (request.kind === 'close') closed.resolve()
        if (request.kind !== 'open') return false
        asked.resolve(Uint8Array.from(frame))
        return true
      }
    })
    // Known to be there, it is opened without home; before its name goes home has to.
    const reader = mount.spawn(home, [
      'sh',
      '-c',
      'ls >/dev/null; exec 3<read; echo open; read line; exec 3<&-; echo closed'
    ])
    const heard = async (word: string) => {
      for await (const text of reader.stdout!.iterator({ destroyOnReturn: false }))
        if (`${text}` === `${word}\n`) return
    }
    await heard('open')
    const removed = mount.run(home, 'rm read')
    const open = await asked.promise
    reader.stdin?.end('\n')
    await heard('closed')
    mount.server.handle(open)
    t.match(await removed, { code: 0, stderr: '' })
    await closed.promise
    t.pass('closed')
  })
}
