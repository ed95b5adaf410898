import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { jobProcesses, longJob, pair, read, sees, Talk, TestPeer, until } from './peers.ts'

async function household(t: Test, config = '') {
  const [home, target] = await Promise.all([
    TestPeer.start(t, { name: 'home' }),
    TestPeer.start(t, { name: 'target', config })
  ])
  await pair(home, target)
  return { home, target, both: () => Promise.all([sees(home, target), sees(target, home)]) }
}

/** The id of a job that was detached there. */
async function detached(home: TestPeer, target: TestPeer, argv: string[], options: string[] = []): Promise<string> {
  const { code, stdout, stderr } = await home.there(target, argv, { options: ['--detach', ...options] })
  if (code !== 0 || !/^[a-z][a-z2-7]+\n$/.test(stdout)) throw new Error(`${code}: ${stdout}${stderr}`)
  return stdout.trim()
}

const recordings = (peer: TestPeer) => {
  const directory = join(peer.directory, 'state/recordings')
  return existsSync(directory) ? readdirSync(directory) : []
}

t.test('detached, asked for, waited for, killed', async (t) => {
  const { home, target } = await household(t)
  const script = 'echo out; printf "\\377\\000err" >&2; cat; read -r line; exit 7'
  const id = await detached(home, target, ['sh', '-c', script])
  t.match(await home.kappa(['wait', id]), { code: 7, stdout: '', stderr: '' })
  for (let time = 0; time < 2; time++) {
    const logs = await home.kappa(['logs', id])
    t.match(logs, { code: 0, stdout: 'out\n' })
    t.equal(logs.stderr, Buffer.from('\xff\0err', 'latin1').toString())
  }
  const waited = JSON.parse(await home.kappa(['wait', '--json', id]).then(({ stdout }) => stdout))
  t.match(waited, { id, state: 'exited', exitCode: 7, signal: null, target: 'target', detached: true })
  await until('nothing is left there', () => recordings(target).length === 0)

  const { mark, argv } = longJob()
  const long = await detached(home, target, argv)
  await until('it runs', () => jobProcesses(mark).length > 0)
  const follower = new Talk(home.spawn(['logs', '-f', long]))
  await follower.hears(/up\n/)
  const waiter = home.kappa(['wait', long])
  t.match((await home.jobs())[0], { id: long, state: 'running', detached: true })
  await home.ok(['kill', '-s', 'KILL', long])
  t.match(await waiter, { code: 137, stderr: '' })
  t.match(await follower.ended, { code: 0, stdout: 'up\n' })
  t.same(jobProcesses(mark), [])

  const missing = await detached(home, target, ['no-such-command'])
  t.match(await home.kappa(['wait', id, missing]), { code: 127, stderr: /^kappa: no-such-command: [^\n]+\n$/ })
})
