import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { gate } from './gate.ts'
import { endedThere, jobProcesses, longJob, pair, read, sees, Talk, TestPeer, until } from './peers.ts'

async function household(t: Test) {
  const [home, target] = await Promise.all([TestPeer.start(t, { name: 'home' }), TestPeer.start(t, { name: 'target' })])
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

t.jobs = 3

t.test('detached, asked for, waited for, killed', { buffered: true }, async (t) => {
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

t.test("a job outlives its client, and home's daemon: stopped, killed", { buffered: true }, async (t) => {
  const end = gate()
  const { home, target, both } = await household(t)
  const script = `${end.wait} & i=0; while kill -0 $! 2>/dev/null; do echo $i; i=$((i+1)); sleep 0.05; done; echo end >&2; exit 3`
  const id = await detached(home, target, ['sh', '-c', script])
  await until('some came', async () => (await home.ok(['logs', id])).length > 10)
  await home.killDaemon()
  await home.startDaemon()
  t.match((await home.jobs())[0], { id, state: 'running', exitCode: null, endedAt: null })
  await both()
  const before = (await home.ok(['logs', id])).length
  await until('more came', async () => (await home.ok(['logs', id])).length > before)
  await home.stopDaemon()
  await home.startDaemon()
  await end.open()
  t.match(await home.kappa(['wait', id]), { code: 3, stderr: '' })
  const { stdout, stderr } = await home.kappa(['logs', id])
  const count = stdout.split('\n').length - 1
  t.equal(stdout, Array.from({ length: count }, (_, line) => `${line}\n`).join(''), 'every byte once and in order')
  t.equal(stderr, 'end\n')
  t.match((await home.jobs())[0], { id, state: 'exited', exitCode: 3 })
})

t.test('it ends while home is away', { buffered: true }, async (t) => {
  const end = gate()
  const { home, target } = await household(t)
  const id = await detached(home, target, ['sh', '-c', `${end.wait}; echo late; exit 4`])
  await home.stopDaemon()
  await end.open()
  await until('it has ended', () => endedThere(target, [id]))
  t.equal(recordings(target).length, 1, 'what it wrote waits there')
  await home.startDaemon()
  t.match(await home.kappa(['wait', id]), { code: 4 })
  t.match(await home.kappa(['logs', id]), { code: 0, stdout: 'late\n' })
  await until('nothing is left there', () => recordings(target).length === 0)
})

t.test("its target's daemon is killed: lost, and said so", { buffered: true }, async (t) => {
  const { home, target } = await household(t)
  const { mark, argv } = longJob()
  const id = await detached(home, target, argv)
  await until('it runs', () => jobProcesses(mark).length > 0)
  await until('its output came', async () => (await home.ok(['logs', id])) === 'up\n')
  const waiter = home.kappa(['wait', id])
  await target.killDaemon()
  await until('nothing of it is left', () => jobProcesses(mark).length === 0)
  await target.startDaemon()
  t.match(await waiter, { code: 123, stderr: /^kappa: the job \w+ on target is lost: it restarted[^\n]+\n$/ })
  t.match(await home.kappa(['logs', id]), { code: 0, stdout: 'up\n', stderr: /is lost/ })
  t.match((await home.jobs())[0], { id, state: 'lost' })
  t.same(recordings(target), [])
})

t.test('staged: ins go before the client returns, outs come when it ends', { buffered: true }, async (t) => {
  const { home, target } = await household(t)
  const bytes = Buffer.alloc(3_000_000, 'some text of no meaning\n')
  writeFileSync(join(home.work, 'in.txt'), bytes)
  const options = ['--in', 'in.txt', '--out', 'out.txt', '--out', 'more']
  const script = 'mkdir more; tr a-z A-Z <in.txt >out.txt; cp out.txt more/copy; echo done'
  const id = await detached(home, target, ['sh', '-c', script], options)
  writeFileSync(join(home.work, 'in.txt'), 'changed since')
  t.match(await home.kappa(['wait', id]), { code: 0, stderr: '' })
  t.equal(read(home, 'out.txt').toString(), bytes.toString().toUpperCase())
  t.equal(read(home, 'more/copy').length, bytes.length)
  const failing = await detached(home, target, ['sh', '-c', 'echo x >out.txt; exit 5'], ['--out', 'out.txt'])
  t.match(await home.kappa(['wait', failing]), { code: 5, stderr: '' })
  t.equal(read(home, 'out.txt').length, bytes.length, 'untouched')
  const none = await detached(home, target, ['true'], ['--out', 'nothing'])
  t.match(await home.kappa(['wait', none]), { code: 1, stderr: /^kappa: --out nothing: [^\n]+\n$/ })
  // Home is away when it ends, and is killed once more while the files come.
  const away = await detached(home, target, ['sh', '-c', 'sleep 1; head -c 40000000 /dev/zero >big'], ['--out', 'big'])
  await home.stopDaemon()
  await until('it has ended', () => endedThere(target, [away]))
  await home.startDaemon()
  await until('the file comes', () => readdirSync(home.work).some((name) => name.startsWith('big')))
  await home.killDaemon()
  await home.startDaemon()
  t.match(await home.kappa(['wait', away]), { code: 0, stderr: '' })
  t.equal(read(home, 'big').length, 40_000_000)
  t.same(readdirSync(home.work).sort(), ['big', 'in.txt', 'more', 'out.txt'], 'and nothing else')
})

t.test('placed at home: needs neither its client nor a daemon', { buffered: true }, async (t) => {
  const home = await TestPeer.start(t, { name: 'home' })
  writeFileSync(join(home.work, 'file'), 'of home\n')
  const { mark, argv } = longJob()
  const start = async (words: string[]) => (await home.ok(['run', '--detach', '--local', ...words])).trim()
  const id = await start(['sh', '-c', 'cat file; echo err >&2; exit 9'])
  t.match(await home.kappa(['wait', id]), { code: 9, stderr: '' })
  t.match(await home.kappa(['logs', id]), { code: 0, stdout: 'of home\n', stderr: 'err\n' })
  const long = await start(argv)
  await until('it runs', () => jobProcesses(mark).length > 0)
  await home.killDaemon()
  await home.startDaemon()
  t.match((await home.jobs())[0], { id: long, state: 'running', target: 'home', detached: true })
  const follower = new Talk(home.spawn(['logs', '-f', long]))
  await follower.hears(/up\n/)
  t.match(await home.kappa(['kill', long]), { code: 0, stderr: '' })
  t.match(await home.kappa(['wait', long]), { code: 143 })
  t.match(await follower.ended, { code: 0, stdout: 'up\n' })
  const missing = await start(['no-such-command'])
  t.match(await home.kappa(['wait', missing]), { code: 127, stderr: /no-such-command/ })
  const shortly = await start(['sh', '-c', 'sleep 0.5; echo done'])
  await home.stopDaemon()
  t.match(await home.kappa(['wait', shortly]), { code: 0 })
  t.match(await home.kappa(['logs', shortly]), { stdout: 'done\n' })
})
