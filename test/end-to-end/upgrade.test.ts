import { spawn } from 'node:child_process'
import t from 'tap'
import { VERSION } from '../../src/version.ts'
import { NEWER, nextVersion } from './next-version.ts'
import { firstLine, gather, TestPeer, until } from './peers.ts'

t.test('a newer client uses the older daemon, which gives way when no job lives', async (t) => {
  const peer = await TestPeer.start(t, { name: 'laptop' })
  const newer = nextVersion(t.testdir())
  const run = (...args: string[]) => {
    const child = spawn(newer, args, { env: { ...process.env, ...peer.environment }, stdio: 'pipe' })
    child.stdin.end()
    return gather(child)
  }
  const job = peer.spawn(['run', '--local', 'sh', '-c', 'echo up; read line; echo $line'])
  const ended = gather(job)
  await firstLine(job)
  const { peerId } = await peer.status()
  t.match(await run('run', 'echo', 'served'), { code: 0, stdout: 'served\n' })
  t.equal((await peer.status()).version, VERSION, 'not while a job lives')
  job.stdin!.end('done\n')
  t.match(await ended, { code: 0, stdout: 'up\ndone\n' })
  const status = await until('the newer one serves', async () => {
    const { code, stdout } = await run('status', '--json')
    const status = code === 0 && JSON.parse(stdout)
    return status.version === NEWER && status
  })
  t.equal(status.peerId, peerId)
  t.equal(peer.daemon.exitCode, null, 'in the same process')
})
