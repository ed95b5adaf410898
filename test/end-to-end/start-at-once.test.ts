import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { TestPeer } from './peers.ts'

const CLIENTS = 12

t.test('many clients that find no daemon start one, and all are served', async (t) => {
  const peer = TestPeer.prepare(t, { name: 'laptop' })
  const runs = Array.from({ length: CLIENTS }, (_, index) => peer.kappa(['run', 'echo', String(index)]))
  for (const [index, ended] of (await Promise.all(runs)).entries()) {
    t.match(ended, { code: 0, stdout: `${index}\n`, stderr: '' })
  }
  const log = readFileSync(join(peer.directory, 'state/daemon.log'), 'latin1')
  t.equal(log.split(' serving ').length - 1, 1, 'one came up')
  t.notMatch(log, /runs already/, 'and no other was begun')
})

t.test('a client that was killed while it started one holds up nobody', async (t) => {
  const peer = TestPeer.prepare(t, { name: 'laptop' })
  const first = peer.spawn(['run', 'true'])
  first.kill('SIGKILL')
  t.match(await peer.kappa(['run', 'echo', 'served']), { code: 0, stdout: 'served\n' })
})
