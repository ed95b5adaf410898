import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { pair, TestPeer } from './peers.ts'

const ONE_LINE = /^kappa: [^\n]+\n$/

t.jobs = 3

t.test('damaged state files are set aside, told of, and lived without', { buffered: true }, async (t) => {
  const [desktop, laptop] = await Promise.all([
    TestPeer.start(t, { name: 'desktop' }),
    TestPeer.start(t, { name: 'laptop' })
  ])
  await pair(desktop, laptop)
  await desktop.ok(['run', '--local', 'true'])
  await desktop.ok(['pause'])
  const before = await desktop.status()
  await desktop.stopDaemon()
  const state = join(desktop.directory, 'state')
  const damaged = ['pairings.json', 'bans.json', 'start.json', 'pause.json', 'history.db']
  for (const [index, name] of damaged.entries())
    writeFileSync(join(state, name), ['{', 'null', '[]', '\0\0\0', 'SQLite format 3\0 no it is not'.repeat(40)][index]!)
  mkdirSync(join(desktop.directory, 'cache'), { recursive: true })
  writeFileSync(join(desktop.directory, 'cache/benchmark.json'), '{"score":')
  const said = desktop.log().length
  await desktop.startDaemon()
  const after = await desktop.status()
  t.equal(after.peerId, before.peerId)
  t.same(after.neighbours, [])
  t.match(await desktop.kappa(['run', 'echo', 'here']), { code: 0, stdout: 'here\n' })
  t.equal((await desktop.jobs()).length, 1)
  const log = desktop.log().slice(said)
  for (const name of damaged) {
    t.match(log, new RegExp(` warn [^\n]*damaged[^\n]*${name.replace('.', '\\.')}`), name)
    t.ok(
      readdirSync(state).some((file) => file.startsWith(`${name}.corrupt-`)),
      `${name} is kept beside`
    )
  }
  await pair(desktop, laptop)
  t.match(await laptop.there(desktop, ['echo', 'again']), { code: 0, stdout: 'again\n' })
})

t.test('a damaged or missing identity is never replaced silently', { buffered: true }, async (t) => {
  const peer = await TestPeer.start(t, { name: 'desktop' })
  const { peerId } = await peer.status()
  await peer.stopDaemon()
  const file = join(peer.directory, 'state/identity')
  const good = readFileSync(file)
  for (const [what, bytes] of [
    ['garbage', Buffer.from('garbage')],
    ['empty', Buffer.alloc(0)],
    ['another key', Buffer.from('{"key":"AAAA","machine":null}')]
  ] as const) {
    writeFileSync(file, bytes)
    const daemon = await peer.kappa(['daemon'])
    t.match(daemon, { code: 1, stderr: /kappa: [^\n]*identity is damaged[^\n]*kappa daemon --new-identity\n$/ }, what)
    t.match(await peer.kappa(['status']), { code: 1, stderr: /^kappa: [^\n]*identity is damaged[^\n]*\n$/ }, what)
    t.match(
      await peer.kappa(['run', 'true']),
      { code: 125, stderr: /^kappa: [^\n]*identity is damaged[^\n]*\n$/ },
      what
    )
  }
  writeFileSync(file, good)
  chmodSync(file, 0o644)
  await peer.startDaemon()
  t.equal((await peer.status()).peerId, peerId)
  t.match(peer.log(), / warn [^\n]*readable by other users/)
  t.match(await peer.kappa(['daemon', '--new-identity']), { code: 1, stderr: /^kappa: a daemon runs[^\n]*\n$/ })
  await peer.stopDaemon()
  t.match(await peer.kappa(['daemon', '--new-identity']), { code: 0, stdout: /The next start makes a new identity/ })
  await peer.startDaemon()
  t.not((await peer.status()).peerId, peerId)
})

t.test('a configuration with a mistake is refused with its line', { buffered: true }, async (t) => {
  const peer = TestPeer.prepare(t, { name: 'desktop' })
  const file = join(peer.directory, 'kappa.toml')
  const good = readFileSync(file, 'utf8')
  writeFileSync(file, `${good}slot = 3\n`)
  const line = good.split('\n').length
  const words = new RegExp(`kappa: [^\n]*kappa\\.toml:${line}[^\n]*slot[^\n]*\n$`)
  t.match(await peer.kappa(['daemon']), { code: 2, stderr: words })
  t.match(await peer.kappa(['run', 'true']), { code: 125, stderr: words })
  writeFileSync(file, good)
  await peer.startDaemon()
  t.match(await peer.kappa(['run', 'echo', 'here']), { stdout: 'here\n' })
})

t.test('directories that others may enter', { buffered: true }, async (t) => {
  const peer = await TestPeer.start(t, { name: 'desktop' })
  for (const name of ['run', 'state']) {
    chmodSync(join(peer.directory, name), 0o755)
    const problem = new RegExp(`^kappa: [^\n]*/${name} is open to other users; mend it with: chmod 700 [^\n]*\n$`)
    if (name === 'run') {
      t.match(await peer.kappa(['status']), { code: 1, stderr: problem })
      t.match(await peer.kappa(['run', 'true']), { code: 125, stderr: problem })
    }
    await peer.stopDaemon()
    t.match(await peer.kappa(['daemon']), { code: 1, stderr: problem })
    chmodSync(join(peer.directory, name), 0o700)
    await peer.startDaemon()
  }
  await peer.stopDaemon()
  rmSync(join(peer.directory, 'run'), { recursive: true })
  writeFileSync(join(peer.directory, 'run'), '')
  t.match(await peer.kappa(['status']), { code: 1, stderr: /^kappa: [^\n]*run is not a directory; move it away\n$/ })
  rmSync(join(peer.directory, 'run'))
  await peer.startDaemon()
  t.match(await peer.kappa(['run', 'echo', 'here']), { stdout: 'here\n' })
})

t.test('a second daemon for one directory', { buffered: true }, async (t) => {
  const peer = await TestPeer.start(t, { name: 'desktop' })
  t.match(await peer.kappa(['daemon']), {
    code: 1,
    stderr: /^kappa: a daemon runs already \(process \d+\); see: kappa status\n$/
  })
  t.equal((await peer.status()).name, 'desktop')
})

t.test('a path that is too long for a socket', { buffered: true }, async (t) => {
  const name = 'long'.repeat(30)
  const base = TestPeer.prepare(t, { name: 'base' })
  mkdirSync(join(base.directory, name), { mode: 0o700 })
  const peer = await TestPeer.start(t, {
    name: 'desktop',
    env: { KAPPA_DIR: join(base.directory, name), KAPPA_CONFIG: join(base.directory, 'kappa.toml') }
  })
  t.match(await peer.kappa(['run', 'echo', 'here']), { code: 0, stdout: 'here\n' })
  t.equal((await peer.status()).name, 'desktop')
})

t.test('a port that is in use', { buffered: true }, async (t) => {
  // The usual one, which something else on this machine may have as well.
  const env = { KAPPA_LISTEN: '127.0.0.1:5277' }
  const first = await TestPeer.start(t, { name: 'first', env })
  const second = await TestPeer.start(t, { name: 'second', env })
  const [port, other] = (await Promise.all([first.status(), second.status()])).map(({ addresses }) => addresses[0]!)
  t.not(other, port)
  await pair(first, second)
  t.match(await first.there(second, ['echo', 'there']), { code: 0, stdout: 'there\n' })
  await first.stopDaemon()
  await second.stopDaemon()
  await second.startDaemon()
  t.equal((await second.status()).addresses[0], other, 'the other port is kept')
  for (const listen of ['nonsense', '127.0.0.1:99999', '/ip4/127.0.0.1/udp/5277', '203.0.113.1:5277']) {
    const peer = TestPeer.prepare(t, { name: 'third', env: { KAPPA_LISTEN: listen } })
    const { code, stderr } = await peer.kappa(['daemon'])
    t.match(stderr, ONE_LINE, listen)
    t.notMatch(stderr, /a bug/)
    t.not(code, 0)
  }
})

t.test('a home directory that may not be written', { buffered: true }, async (t) => {
  for (const directory of ['/sys/kappa', '/etc/passwd/kappa']) {
    const peer = TestPeer.prepare(t, { name: 'desktop', env: { KAPPA_DIR: directory } })
    const stderr = new RegExp(`^kappa: ${directory}/\\w+ can't be [^\n]+\n$`)
    t.match(await peer.kappa(['run', 'true']), { code: 125, stderr })
    t.match(await peer.kappa(['status']), { code: 1, stderr })
    t.match(await peer.kappa(['daemon']), { code: 1, stderr })
  }
})
