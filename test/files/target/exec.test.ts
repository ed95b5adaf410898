import { mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { decodeRequest } from '../../../src/protocols/file/codec.ts'
import { needs } from '../../require.ts'
import { finished, fuseUnavailable } from '../fuse/mounted.ts'
import { TreeMount } from './tree-mount.ts'

const unavailable = fuseUnavailable()
/** Node opens what an exec closes. The kernel holds a lock until that is done, which readers of /proc/PID/stat wait for. */
const SCRIPT = `const file = require('fs').openSync('left', 'w')
require('fs').writeSync(file, 'text')
process.execve('/bin/cat', ['cat', '/proc/self/stat', '-'])`

if (needs(t, unavailable === undefined, unavailable ?? '')) {
  t.test('an exec does not wait for home, the end of the job does', async (t) => {
    const home = mkdtempSync(join(realpathSync(tmpdir()), 'kappa-exec-'))
    t.teardown(() => rmSync(home, { recursive: true, force: true }))
    writeFileSync(join(home, 'other'), 'text')
    const held: Uint8Array[] = []
    let holds = true
    await using mount = await TreeMount.start({
      intercept(frame) {
        if (!holds || !['write', 'sync', 'close'].includes(decodeRequest(frame).kind)) return false
        held.push(Uint8Array.from(frame))
        return true
      }
    })
    const program = mount.spawn(home, [process.execPath, '-e', SCRIPT])
    const over = finished(program, 'a program that goes on')
    const [stat] = await program.stdout!.take(1).toArray()
    const pid = Number.parseInt(String(stat), 10)
    t.match(readFileSync(`/proc/${pid}/stat`, 'latin1'), `${pid} (cat) `, 'others may look at it')
    program.stdin!.end()
    t.match(await over, { code: 0 })
    t.equal(readFileSync(join(home, 'left'), 'latin1'), '', 'home has nothing yet')
    let isSettled = false
    const settled = mount.written().then(() => (isSettled = true))
    t.match(await mount.run(home, 'cat other'), { stdout: 'text' })
    t.equal(isSettled, false)
    holds = false
    for (const frame of held) mount.server.handle(frame)
    await settled
    t.equal(readFileSync(join(home, 'left'), 'latin1'), 'text')
    t.match(await mount.run(home, 'stat -c %s left; cat left'), { stdout: '4\ntext' })
  })
}
