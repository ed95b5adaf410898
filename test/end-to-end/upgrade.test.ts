import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { VERSION } from '../../src/version.ts'
import { install, NEWER, nextVersion, replace } from './next-version.ts'
import { firstLine, gather, pair, TestPeer, until } from './peers.ts'

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

t.test(
  'a version that is installed in its place takes over when the guests are gone, who notice nothing',
  async (t) => {
    const directory = t.testdir()
    const launcher = install(directory)
    const home = await TestPeer.start(t, { name: 'laptop' })
    const target = TestPeer.prepare(t, { name: 'nas' })
    target.daemon = spawn(launcher, ['daemon'], { env: target.environment, stdio: 'ignore' })
    await until('it serves', () => existsSync(join(target.directory, 'run/socket')))
    await pair(home, target)
    const job = await home.begun(target, ['sh', '-c', 'echo up; read line; echo $line; exit 3'])
    replace(directory)
    const refuses = await until('it takes no more guests', async () => (await target.status()).refuses ?? undefined)
    t.equal(refuses, `kappa ${NEWER} was installed there, and starts when the jobs there are over`)
    t.equal((await target.status()).version, VERSION, 'not while a job lives')
    job.child.stdin!.end('done\n')
    t.match(await job.ended, { code: 3, stdout: 'up\ndone\n' })
    await until('the newer one serves', async () => (await target.kappa(['status', '--json'])).stdout.includes(NEWER))
    t.match(await target.status(), { refuses: null, version: NEWER })
    t.equal(target.daemon.exitCode, null, 'in the same process')
  }
)
