/**
 * A target of a friend that holds a valid ticket and asks for everything but what it is shown, by the real file protocol:
 * all of it is refused and in home's audit file, and nothing on home's disk is another than before.
 */

import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { Remote } from '../../src/files/target/remote.ts'
import { FrameStream } from '../../src/network/frames.ts'
import { decodeMessage, encodeMessage } from '../../src/protocols/exec/codec.ts'
import { eofFrame, FRAME, frameHeader, parseFrame, STREAM } from '../../src/protocols/exec/frames.ts'
import { decodeHello, encodeHello, FileChannel } from '../../src/protocols/file/channel.ts'
import { encodeRequest, OPEN, type RequestFields, type RequestKind, SET } from '../../src/protocols/file/codec.ts'
import { FILE_FRAME_BYTES_MAX, FILE_PROTOCOL } from '../../src/protocols/file/constants.ts'
import { gather, TestPeer, until } from './peers.ts'
import { RogueTarget } from './rogue.ts'

const REASON = /why=(denied|absent|link|special|handle)/
const SOON_MS = 10_000
const SECRET = 'PRIVATE'
const base = realpathSync(mkdtempSync(join(tmpdir(), 'kappa-test-shown-')))
t.teardown(() => rmSync(base, { recursive: true, force: true }))
const user = join(base, 'user')
const project = join(user, 'project')
const other = join(user, 'other')
for (const path of ['.ssh', 'project/.git/hooks', 'project/src', 'project/work', 'other/.git']) {
  mkdirSync(join(user, path), { recursive: true })
}
for (const path of ['.netrc', '.npmrc', 'diary', '.ssh/id', 'project/.git/config', 'project/.git/hooks/pre-commit']) {
  writeFileSync(join(user, path), `${SECRET}\n`)
}
writeFileSync(join(other, 'notes'), SECRET)
writeFileSync(join(project, 'src/a.c'), 'int a;\n')
symlinkSync('../.ssh', join(project, 'ssh'))
symlinkSync('../.ssh/id', join(project, 'key'))
symlinkSync('/proc/self/environ', join(project, 'environ'))
execFileSync('mkfifo', [join(project, 'pipe')])

const home = await TestPeer.start(t, { name: 'home', env: { HOME: user } })

/** A stream of home's for one tree, and the tree as its target may ask for it. */
interface Seen {
  id: string
  remote: Remote
  channel: FileChannel
  /** Names that home told of unasked. */
  news: string[]
}

/** By the order in which home opened them. */
const trees: Seen[] = []
/** Of each job that was started: which tree it sees, and how to say that it ended. */
const started: { tree: string; end: (code: number) => void }[] = []

const rogue = await RogueTarget.start(t, home, () => undefined, 'friend')
rogue.serve = (frames) => {
  frames.send(...encodeMessage('hello', 0, { epoch: rogue.epoch }))
  frames.onFrame(
    (bytes) => {
      const frame = parseFrame(bytes)!
      if (frame.type === FRAME.renew) frames.send(frameHeader(FRAME.renewed, 0))
      if (!('payload' in frame) || frame.type !== FRAME.start) return
      const { channel } = frame
      frames.send(frameHeader(FRAME.started, channel))
      started.push({
        tree: decodeMessage('start', frame.payload).tree!.id,
        end: (exitCode) => {
          for (const stream of [STREAM.stdout, STREAM.stderr, STREAM.outs]) frames.send(eofFrame(channel, stream, 0))
          frames.send(...encodeMessage('end', channel, { exitCode, signal: null }))
        }
      })
    },
    () => undefined
  )
}
await rogue.rogue.node.handle(FILE_PROTOCOL, { rights: ['own', 'friend'], maxStreams: 32 }, (stream) => {
  const frames = new FrameStream(stream, { maxFrameBytes: FILE_FRAME_BYTES_MAX + 1 })
  frames.onFrame(
    (first) => {
      const { tree, received } = decodeHello(first)
      let seen = trees.find(({ id }) => id === tree)
      if (seen === undefined) {
        seen = seenTree(tree)
        trees.push(seen)
      }
      frames.send(...encodeHello({ tree, uid: 0, gid: 0, writable: [], received: seen.channel.received }))
      seen.channel.attach(frames, received)
    },
    () => undefined
  )
})

function seenTree(id: string): Seen {
  const news: string[] = []
  const remote = new Remote({
    send: (parts) => channel.send(parts),
    onChanged: (_, entries) => news.push(...entries.map(({ name }) => name)),
    onReset: () => news.push('reset'),
    onNews: () => undefined
  })
  const channel = new FileChannel({ onMessage: (bytes) => remote.handle(bytes), onDetached: () => undefined })
  return { id, remote, channel, news }
}

const NO_VERSION = { inode: 0, size: 0, modified: { s: 0, ns: 0 } }
const ZERO = { s: 0, ns: 0 }

/** Whether home did it, and what it gave. */
async function asked<K extends RequestKind>(
  { remote }: Seen,
  kind: K,
  fields: Partial<RequestFields<K>>,
  data?: Uint8Array
): Promise<{ did: boolean; text: string }> {
  const whole = {
    offset: 0,
    length: 4096,
    version: NO_VERSION,
    mode: 0o644,
    flags: 0,
    most: 100,
    ...fields
  } as RequestFields<K>
  try {
    const answer = await remote.ask(kind, whole, data)
    return { did: true, text: JSON.stringify(answer) + Buffer.from(answer.data ?? []).toString('latin1') }
  } catch (error) {
    return { did: false, text: String(error) }
  }
}

const inside = (name: string) => `${project}/${name}`
const outside = (name: string) => `${user}/${name}`

/** All that is on home's disk, but what the test lets it change. */
function disk(directory = user): string {
  const lines: string[] = []
  const walk = (at: string): void => {
    for (const name of readdirSync(at).toSorted()) {
      const path = join(at, name)
      if (path === inside('work')) continue
      const stat = lstatSync(path)
      const content = stat.isSymbolicLink() ? readlinkSync(path) : stat.isFile() ? readFileSync(path, 'latin1') : ''
      const hash = createHash('sha256').update(content).digest('hex')
      lines.push(`${path} ${stat.mode} ${stat.nlink} ${stat.mtimeMs} ${hash}`)
      if (stat.isDirectory()) walk(path)
    }
  }
  walk(directory)
  return lines.join('\n')
}

const audit = () => readFileSync(join(home.directory, 'state/audit.log'), 'utf8')
const isAudited = (kind: string, what: string, why: RegExp) =>
  audit()
    .split('\n')
    .some((line) => line.includes(`asked=${kind} what=${what} `) && why.test(line))

/** A job of that directory, which lives until it is told to end. */
async function job(directory: string): Promise<{ tree: Seen; end: () => Promise<void> }> {
  const before = started.length
  let over: ReturnType<typeof gather> | undefined
  // Another try when home did not get an answer in time.
  await until('the job has begun', async () => {
    over ??= gather(home.spawn(['run', '--on', 'rogue', 'make'], { cwd: directory }))
    const ended = await Promise.race([over, new Promise((resolve) => setTimeout(resolve, 50))])
    if (ended !== undefined) over = undefined
    return started.length > before
  })
  const { tree: id, end } = started.at(-1)!
  const tree = await until('home shows its tree', () => trees.find((one) => one.id === id))
  return {
    tree,
    end: async () => {
      end(0)
      await over
    }
  }
}

const first = await job(project)
const { tree } = first

t.test('what it may do, it can', async (t) => {
  t.match(await asked(tree, 'open', { path: inside('src/a.c') }), { did: true, text: /int a/ })
  const names: string[] = []
  await tree.remote.list(user, 100, ({ entries }) => names.push(...entries.map(({ name }) => name)))
  t.same(names, ['project'], 'of the home directory it sees the way to the project')
})

const attacks: [RequestKind, Record<string, unknown>, string?][] = [
  ...['.netrc', '.npmrc', '.ssh/id', 'diary', 'other/notes'].flatMap(
    (name): [RequestKind, Record<string, unknown>][] => [
      ['open', { path: outside(name) }],
      ['fetch', { path: outside(name), length: 64 }]
    ]
  ),
  ...['.ssh', 'other'].map((name): [RequestKind, Record<string, unknown>] => ['list', { path: outside(name) }]),
  ['stat', { path: outside('diary') }],
  ['list', { path: '/root' }],
  ['open', { path: '/etc/shadow' }],
  ['open', { path: '/proc/self/environ' }],
  ['open', { path: '/proc/1/root/etc/shadow' }],
  ['list', { path: '/proc/self/fd' }],
  ['open', { path: '/dev/mem' }],
  ['open', { path: '/dev/fuse', flags: OPEN.both }],
  ['open', { path: '/dev/tty' }],
  ['open', { path: '/sys/kernel/notes' }],
  ['list', { path: '/run/user' }],
  ['open', { path: join(home.inside, 'state/identity') }],
  ['list', { path: join(home.inside, 'state') }],
  // Through links, which it should have resolved itself.
  ['open', { path: inside('ssh/id') }],
  ['fetch', { path: inside('ssh/id'), length: 64 }],
  ['list', { path: inside('ssh') }],
  ['open', { path: inside('key') }],
  ['open', { path: inside('environ') }],
  ['open', { path: inside('pipe') }],
  // What would run at home later.
  ['open', { path: inside('.git/hooks/pre-commit'), flags: OPEN.write | OPEN.truncate }],
  ['open', { path: inside('.git/hooks/post-checkout'), flags: OPEN.write | OPEN.create }],
  ['open', { path: inside('.git/config'), flags: OPEN.both }],
  ['change', { path: inside('.git/config'), handle: 0, set: SET.size, size: 0, accessed: ZERO, modified: ZERO }],
  ['remove', { path: inside('.git/config') }],
  ['rename', { path: inside('src/a.c'), to: inside('.git/hooks/a') }, inside('.git/hooks/a')],
  ['rename', { path: inside('.git'), to: inside('work/git') }],
  ['makeLink', { path: inside('.git/hooks/link'), link: '/bin/sh' }],
  ['addName', { path: inside('src/a.c'), to: inside('.git/hooks/name') }, inside('.git/hooks/name')],
  // Out of the view, and into it.
  ['open', { path: outside('evil'), flags: OPEN.write | OPEN.create | OPEN.exclusive }],
  ['open', { path: outside('.profile'), flags: OPEN.write | OPEN.create | OPEN.append }],
  ['addName', { path: outside('diary'), to: inside('work/stolen') }],
  ['addName', { path: outside('.ssh/id'), to: inside('work/stolen') }],
  ['addName', { path: inside('src/a.c'), to: outside('a.c') }, outside('a.c')],
  ['rename', { path: outside('diary'), to: inside('work/stolen') }],
  ['rename', { path: inside('src/a.c'), to: outside('a.c') }, outside('a.c')],
  ['rename', { path: project, to: outside('renamed') }, outside('renamed')],
  ['makeDirectory', { path: outside('evil') }],
  ['makeNode', { path: outside('evil'), mode: 0o10600 }],
  ['makeLink', { path: outside('evil'), link: 'project' }],
  ['remove', { path: outside('diary') }],
  ['removeDirectory', { path: other }],
  ['change', { path: outside('.ssh'), handle: 0, set: SET.mode, mode: 0o777, size: 0, accessed: ZERO, modified: ZERO }],
  ['open', { path: '/etc/passwd', flags: OPEN.write }],
  ['open', { path: '/usr/bin/evil', flags: OPEN.write | OPEN.create }],
  ['open', { path: '/tmp/kappa-evil', flags: OPEN.write | OPEN.create }],
  ['open', { path: '/var/spool/cron/crontabs/root', flags: OPEN.write | OPEN.create }],
  ['space', { path: outside('other') }],
  // What it has not opened.
  ['read', { handle: 4711, offset: 0, length: 64 }, 'handle 4711'],
  ['close', { handle: 4712 }, 'handle 4712'],
  ['sync', { handle: 4713, what: 1 }, 'handle 4713']
]

t.test(`${attacks.length} reads and writes of what it is not shown`, async (t) => {
  const before = disk()
  t.ok(attacks.length >= 40)
  const expected: { name: string; kind: RequestKind; what: string }[] = []
  for (const [kind, fields, about] of attacks) {
    const { path, to } = fields as { path?: string; to?: string }
    const name = `${kind} ${path ?? about} ${to ?? ''}`
    const { did, text } = await asked(tree, kind, { uid: 0, gid: 0, ...fields } as never)
    t.notOk(did, name)
    t.notMatch(text, SECRET)
    const what = about ?? path!
    expected.push({ name, kind, what: what.includes(' ') ? JSON.stringify(what) : what })
  }
  const missing = () => expected.filter(({ kind, what }) => !isAudited(kind, what, REASON)).map(({ name }) => name)
  await until(
    () => `these are in the audit file: ${missing().join('; ')}`,
    () => missing().length === 0,
    SOON_MS
  )
  t.match(await asked(tree, 'write', { handle: 4714, offset: 0 }, Buffer.from('x')), { did: false })
  t.equal(disk(), before, 'nothing is other than it was')
  t.match(audit(), new RegExp(`warn refused job=\\w+ target=rogue peer=${rogue.rogue.node.peerId} asked=open what=`))
})

t.test('a directory that is exchanged for a link while it asks', async (t) => {
  const at = inside('work/d')
  mkdirSync(at)
  writeFileSync(join(at, 'id'), 'harmless')
  const before = disk()
  let texts = ''
  for (let round = 0; round < 40; round++) {
    const answers = await Promise.all([
      asked(tree, 'open', { path: `${at}/id` }),
      asked(tree, 'rename', { path: at, to: `${at}2` }),
      asked(tree, 'makeLink', { path: at, link: '../../.ssh' }),
      asked(tree, 'open', { path: `${at}/id` }),
      asked(tree, 'fetch', { path: `${at}/id`, length: 64 }),
      asked(tree, 'list', { path: at }),
      asked(tree, 'open', { path: `${at}/evil`, flags: OPEN.write | OPEN.create }),
      asked(tree, 'remove', { path: at }),
      asked(tree, 'rename', { path: `${at}2`, to: at })
    ])
    texts += answers.map(({ text }) => text).join('')
  }
  t.match(texts, 'harmless')
  t.notMatch(texts, SECRET)
  t.equal(disk(), before)
})

t.test('handles and trees of other jobs', async (t) => {
  const before = disk()
  const second = await job(other)
  t.not(second.tree.id, tree.id)
  const opened = await second.tree.remote.ask('open', {
    ...{ path: join(other, 'notes'), flags: OPEN.read | OPEN.handle, mode: 0, version: NO_VERSION }
  })
  t.ok(opened.handle)
  t.match(await asked(tree, 'read', { handle: opened.handle! + 1000 }), { did: false })
  t.match(await asked(tree, 'open', { path: join(other, 'notes') }), { did: false })
  t.match(await asked(second.tree, 'open', { path: inside('src/a.c') }), { did: false })
  // Home serves nobody who comes with the number of a tree: whoever opens such a stream would show it one of his own.
  const stream = await rogue.rogue.open(home, FILE_PROTOCOL)
  const frames = new FrameStream(stream, { maxFrameBytes: FILE_FRAME_BYTES_MAX + 1 })
  let answers = 0
  frames.onFrame(
    () => answers++,
    () => undefined
  )
  frames.send(...encodeHello({ tree: second.tree.id, uid: 0, gid: 0, writable: [], received: 0 }))
  const request = encodeRequest('open', 1, { path: join(other, 'notes'), flags: 0, mode: 0, version: NO_VERSION })
  frames.send(Buffer.from([1]), ...request)
  t.match(await asked(second.tree, 'open', { path: join(other, 'notes') }), { did: true })
  t.ok(answers <= 2, 'its hello, and that it heard')
  frames.abort(new Error('enough'))
  await second.end()
  t.match(await asked(second.tree, 'open', { path: join(other, 'notes') }), { did: false }, 'its job has ended')
  t.match(await asked(second.tree, 'read', { handle: opened.handle! }), { did: false }, 'what it had open, too')
  await until('that is audited', () => isAudited('open', join(other, 'notes'), /why="no job"/))
  t.equal(disk(), before)
})

t.test('after its job has ended home answers nothing, and tells nothing', async (t) => {
  await tree.remote.list(inside('src'), 100, () => undefined)
  await first.end()
  const told = tree.news.length
  const before = disk()
  t.match(await asked(tree, 'open', { path: inside('src/a.c') }), { did: false })
  t.match(await asked(tree, 'list', { path: inside('src') }), { did: false })
  t.match(await asked(tree, 'open', { path: inside('src/new'), flags: OPEN.write | OPEN.create }), { did: false })
  await until('that is audited', () => isAudited('list', inside('src'), /why="no job"/))
  t.equal(disk(), before)
  writeFileSync(inside('src/secret-name'), '')
  t.match(await asked(tree, 'stat', { path: inside('src/a.c') }), { did: false })
  t.equal(tree.news.length, told)
  // The next job of the same view has the same tree, and hears of it.
  const third = await job(project)
  t.equal(third.tree.id, tree.id)
  t.match(await asked(tree, 'open', { path: inside('src/a.c') }), { did: true, text: /int a/ })
  await until('it is told what it missed', () => tree.news.includes('secret-name'))
  await third.end()
})

t.test('malformed requests end what is shown', async (t) => {
  const { tree, end } = await job(project)
  const before = disk()
  const answers = Promise.all([
    asked(tree, 'open', { path: `${project}/../diary` }),
    asked(tree, 'open', { path: inside('src/a.c') })
  ])
  await until('that is audited', () => /warn refused .*what=.*why=malformed/.test(audit()))
  // Nobody answers any more.
  tree.remote.close()
  for (const { did } of await answers) t.notOk(did)
  t.equal(disk(), before)
  await end()
})

t.test('ever so many refusals do not fill the disk', async (t) => {
  const { tree, end } = await job(project)
  const before = audit().length
  for (let round = 0; round < 15; round++)
    await Promise.all(Array.from({ length: 100 }, (_, index) => asked(tree, 'open', { path: outside(`x${index}`) })))
  await end()
  await until('how many there were is told', () => /warn refused .* times=1500$/m.test(audit().slice(before)))
  t.ok(audit().length - before < 60_000)
})
