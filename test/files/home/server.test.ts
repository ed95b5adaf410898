import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  symlinkSync,
  utimesSync,
  writeFileSync
} from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Hashes } from '../../../src/files/hashes.ts'
import { HomeServer } from '../../../src/files/home/server.ts'
import { View } from '../../../src/files/home/view.ts'
import {
  type Answer,
  decodeAnswer,
  type Entry,
  encodeRequest,
  OPEN,
  type RequestFields,
  type RequestKind,
  SET,
  UNKNOWN
} from '../../../src/protocols/file/codec.ts'
import { LIST_ALL } from '../../../src/protocols/file/constants.ts'

const {
  EACCES,
  EAGAIN,
  EBADF,
  EEXIST,
  EINTR,
  EINVAL,
  EISDIR,
  ENOENT,
  ENOLCK,
  ENOSYS,
  ENOTEMPTY,
  ENXIO,
  EOPNOTSUPP,
  EPERM,
  EROFS,
  ESTALE
} = constants.errno
const ZERO = UNKNOWN.modified
const NO_CHANGE = { handle: 0, set: 0, mode: 0, uid: 0, gid: 0, size: 0, accessed: ZERO, modified: ZERO }

/** A home with a project in it, and a server that shows it; what is asked resolves with an answer or an errno. */
function home(t: Test, kind: 'own' | 'friend' = 'own', hashes = new Hashes()) {
  const top = realpathSync(t.testdir())
  const user = join(top, 'ann')
  const project = join(user, 'src/proj')
  mkdirSync(join(project, '.git/hooks'), { recursive: true })
  mkdirSync(join(user, '.ssh'))
  mkdirSync(join(user, 'other'))
  for (const [path, text] of [
    ['.ssh/id', 'key'],
    ['.netrc', 'password'],
    ['other/diary', 'private'],
    ['src/proj/a.c', 'int a;\n'],
    ['src/proj/.git/config', '[core]\n'],
    ['src/proj/.git/hooks/pre-commit', '#!/bin/sh\n']
  ] as const) {
    writeFileSync(join(user, path), text)
  }
  const asked = new Map<number, PromiseWithResolvers<Answer>>()
  const listed = new Map<number, Entry[]>()
  const denied: string[] = []
  const news: { path: string; entries: Entry[] }[] = []
  const server = new HomeServer({
    view: new View({ kind, home: user, project, shares: [], denied: [] }),
    hashes,
    send: (parts) => {
      const message = decodeAnswer(Buffer.concat(parts))
      if (message.kind === 'changed') news.push(message)
      else if (message.kind === 'entries') {
        listed.set(message.id, [...(listed.get(message.id) ?? []), ...message.entries])
        if (message.last) asked.get(message.id)?.resolve({})
      } else if (message.kind === 'done') asked.get(message.id)?.resolve(message.answer)
      else if (message.kind === 'failed') asked.get(message.id)?.reject(message.errno)
    },
    drained: () => Promise.resolve(),
    onRefused: (path, what, why) => why === 'denied' && denied.push(`${what} ${path}`),
    onFailure: (error) => t.fail(error.message)
  })
  t.teardown(() => server.close())
  let last = 0
  const ask = <K extends RequestKind>(what: K, fields: RequestFields<K>, data?: Uint8Array): Promise<Answer> => {
    const answer = Promise.withResolvers<Answer>()
    asked.set(++last, answer)
    server.handle(Buffer.concat(encodeRequest(what, last, fields, data)))
    return answer.promise
  }
  const list = async (path: string) => {
    const answer = ask('list', { path, most: LIST_ALL })
    const id = last
    await answer
    return listed.get(id) ?? []
  }
  const open = (path: string, flags: number, mode = 0o644) => ask('open', { path, flags, mode, version: UNKNOWN })
  return { top, user, project, server, ask, last: () => last, list, open, denied, news }
}

const failsWith = (t: Test, promise: Promise<unknown>, errno: number, what: string) =>
  promise.then(
    () => t.fail(`${what}: it went through`),
    (error) => t.equal(error, errno, what)
  )

t.test('a file is made, written, read, changed, renamed, linked and removed as system calls do it', async (t) => {
  const { ask, open, list, project } = home(t)
  const path = join(project, 'new')
  const { handle = 0 } = await open(path, OPEN.both | OPEN.create | OPEN.handle, 0o777)
  t.equal(lstatSync(path).mode & 0o7777, 0o777, "the mode is the job's, whatever the umask here")
  t.match(await ask('write', { handle, offset: 0 }, Buffer.from('hello')), { value: 5 })
  t.match(await ask('write', { handle, offset: 10 }, Buffer.from('!')), { value: 1 })
  t.equal(Buffer.from((await ask('read', { handle, offset: 0, length: 100 })).data!).toString(), 'hello\0\0\0\0\0!')
  t.match(await ask('sync', { handle, what: 1 }), { attributes: { size: 11 } })
  t.match(await ask('close', { handle }), { attributes: { size: 11 } })
  await failsWith(t, ask('read', { handle, offset: 0, length: 1 }), EBADF, 'a closed handle')
  await failsWith(t, open(path, OPEN.write | OPEN.create | OPEN.exclusive), EEXIST, 'exclusively again')
  const at = { s: 1_000_000_000, ns: 0 }
  const set = SET.mode | SET.size | SET.modified
  const { attributes } = await ask('change', { ...NO_CHANGE, path, set, mode: 0o600, size: 3, modified: at })
  t.match(attributes, { size: 3, modified: at })
  t.match(lstatSync(path), { size: 3, mode: 0o100600, mtimeMs: 1e12 })
  await ask('rename', { path, to: join(project, 'moved'), flags: 0 })
  await ask('addName', { path: join(project, 'moved'), to: join(project, 'twice') })
  t.equal(lstatSync(join(project, 'twice')).nlink, 2)
  await ask('makeLink', { path: join(project, 'link'), link: 'moved' })
  await ask('makeDirectory', { path: join(project, 'd'), mode: 0o755 })
  t.same((await list(project)).map(({ name, link }) => [name, link]).toSorted(), [
    ['.git', undefined],
    ['a.c', undefined],
    ['d', undefined],
    ['link', 'moved'],
    ['moved', undefined],
    ['twice', undefined]
  ])
  for (const name of ['moved', 'twice', 'link']) await ask('remove', { path: join(project, name) })
  await ask('removeDirectory', { path: join(project, 'd') })
  await failsWith(t, ask('removeDirectory', { path: join(project, '.git') }), ENOTEMPTY, 'a directory in use')
  await failsWith(t, ask('remove', { path: join(project, 'moved') }), ENOENT, 'once more')
  t.equal((await ask('space', { path: project })).data?.length, 48)
})

t.test('appended data goes to the end, wherever that is by now', async (t) => {
  const { ask, open, project } = home(t)
  const path = join(project, 'log')
  const first = await open(path, OPEN.write | OPEN.create | OPEN.append | OPEN.handle)
  writeFileSync(path, 'from home\n')
  await ask('write', { handle: first.handle!, offset: 0 }, Buffer.from('from there\n'))
  t.equal(readFileSync(path, 'latin1'), 'from home\nfrom there\n')
})

t.test('a version is read, or refused: never another one', async (t) => {
  const { ask, open, project } = home(t)
  const path = join(project, 'a.c')
  const { attributes, data } = await open(path, OPEN.read)
  t.equal(Buffer.from(data!).toString(), 'int a;\n')
  const version = attributes!
  t.equal((await ask('open', { path, flags: OPEN.read, mode: 0, version })).data?.length, 0, 'it is known')
  t.equal(Buffer.from((await ask('fetch', { path, version, offset: 4, length: 10 })).data!).toString(), 'a;\n')
  writeFileSync(path, 'int b;\n')
  utimesSync(path, 1, 2)
  await failsWith(t, ask('fetch', { path, version, offset: 0, length: 10 }), ESTALE, 'written again')
  renameSync(path, join(project, 'old.c'))
  writeFileSync(path, 'int a;\n')
  await failsWith(t, ask('fetch', { path, version, offset: 0, length: 10 }), ESTALE, 'another file of that name')
})

t.test('no link is followed, whenever somebody puts it there', async (t) => {
  const { ask, open, list, project, user } = home(t)
  symlinkSync(join(user, '.ssh'), join(project, 'keys'))
  symlinkSync(join(user, '.netrc'), join(project, 'netrc'))
  await failsWith(t, open(join(project, 'netrc'), OPEN.read), ENXIO, 'a link to a file')
  await failsWith(t, open(join(project, 'keys/id'), OPEN.read), ESTALE, 'a file behind a link')
  await failsWith(t, list(join(project, 'keys')), ESTALE, 'a link to a directory')
  await failsWith(t, ask('stat', { path: join(project, 'keys/id') }), ESTALE, 'behind a link')
  // A directory that home holds open becomes a link.
  mkdirSync(join(project, 'd'))
  writeFileSync(join(project, 'd/id'), 'mine')
  t.equal((await list(join(project, 'd'))).length, 1)
  renameSync(join(project, 'd'), join(project, 'was'))
  symlinkSync(join(user, '.ssh'), join(project, 'd'))
  await failsWith(t, open(join(project, 'd/id'), OPEN.read), ESTALE, 'what was a directory is a link')
  await failsWith(t, open(join(project, 'd/new'), OPEN.write | OPEN.create), ESTALE, 'to write there')
  await failsWith(t, ask('remove', { path: join(project, 'd/id') }), ESTALE, 'to remove there')
  t.ok(existsSync(join(user, '.ssh/id')))
  // Modes and times of a link's target stay.
  const before = lstatSync(join(user, '.netrc'))
  await ask('change', { ...NO_CHANGE, path: join(project, 'netrc'), set: SET.modified, modified: { s: 5, ns: 0 } })
  await ask('change', { ...NO_CHANGE, path: join(project, 'netrc'), set: SET.mode, mode: 0o666 }).catch(() => undefined)
  await ask('change', { ...NO_CHANGE, path: join(project, 'netrc'), set: SET.size, size: 0 }).catch(() => undefined)
  t.match(lstatSync(join(user, '.netrc')), { mode: before.mode, size: before.size, mtimeMs: before.mtimeMs })
})

t.test('only regular files are opened', async (t) => {
  const { open, project } = home(t)
  execFileSync('mkfifo', [join(project, 'fifo')])
  await failsWith(t, open(join(project, 'fifo'), OPEN.read), ENXIO, 'a FIFO')
  await failsWith(t, open(join(project, 'fifo'), OPEN.write), ENXIO, 'a FIFO, to be written')
  await failsWith(t, open(project, OPEN.read), EISDIR, 'a directory')
  await failsWith(t, open('/dev/null', OPEN.read), ENOENT, 'a device')
  await failsWith(t, open('/proc/self/environ', OPEN.read), ENOENT, 'the environment of the daemon')
})

t.test('a hostile machine of a friend gets nothing but what it is shown', async (t) => {
  const { ask, open, list, project, user, top, denied } = home(t, 'friend')
  const write = OPEN.write | OPEN.create
  const secrets = [
    '.ssh/id',
    '.netrc',
    '.ssh/new',
    '.gnupg/x',
    '.aws/credentials',
    '.config/gh/hosts.yml',
    '.bash_history'
  ]
  for (const name of secrets) {
    await failsWith(t, open(join(user, name), OPEN.read), ENOENT, `read ${name}`)
    await failsWith(t, open(join(user, name), write), EROFS, `write ${name}`)
    await failsWith(t, ask('remove', { path: join(user, name) }), EROFS, `remove ${name}`)
  }
  await failsWith(t, list(join(user, '.ssh')), ENOENT, 'list .ssh')
  for (const path of [
    join(user, 'other/diary'),
    join(user, '.bashrc'),
    join(top, 'x'),
    '/root/.profile',
    '/var/mail'
  ]) {
    await failsWith(t, open(path, OPEN.read), ENOENT, `read ${path}`)
    await failsWith(t, open(path, write), EROFS, `write ${path}`)
    await failsWith(t, ask('stat', { path }), ENOENT, `stat ${path}`)
  }
  for (const path of ['.git/hooks/pre-commit', '.git/hooks/post-merge', '.git/config']) {
    const whole = join(project, path)
    await failsWith(t, open(whole, write), EROFS, `write ${path}`)
    await failsWith(t, ask('remove', { path: whole }), EROFS, `remove ${path}`)
    await failsWith(t, ask('change', { ...NO_CHANGE, path: whole, set: SET.mode, mode: 0o777 }), EROFS, `chmod ${path}`)
    await failsWith(t, ask('rename', { path: join(project, 'a.c'), to: whole, flags: 0 }), EROFS, `rename to ${path}`)
  }
  for (const path of ['/usr/bin/x', '/etc/cron.d/x', '/etc/ld.so.preload']) {
    await failsWith(t, open(path, write), EROFS, `write ${path}`)
  }
  // Ways round: to give a secret another name, or the project another place.
  const alias = join(project, 'alias')
  await failsWith(t, ask('addName', { path: join(user, '.ssh/id'), to: alias }), EROFS, 'a hard link to a key')
  await failsWith(t, ask('addName', { path: join(user, 'other/diary'), to: alias }), EROFS, 'a hard link to a diary')
  await failsWith(t, ask('rename', { path: join(user, '.ssh'), to: alias, flags: 0 }), EROFS, 'the keys moved here')
  await failsWith(t, ask('rename', { path: join(user, 'other'), to: alias, flags: 0 }), EROFS, 'a directory moved here')
  await failsWith(
    t,
    ask('rename', { path: join(project, '.git'), to: alias, flags: 0 }),
    EACCES,
    'the hooks moved away'
  )
  await failsWith(t, ask('rename', { path: project, to: join(user, 'other/p'), flags: 0 }), EROFS, 'the project moved')
  await failsWith(t, ask('makeLink', { path: join(user, 'l'), link: 'x' }), EROFS, 'a link outside')
  await failsWith(t, ask('makeDirectory', { path: join(user, 'd'), mode: 0o700 }), EROFS, 'a directory outside')
  t.same(
    (await list(user)).map(({ name }) => name),
    ['src']
  )
  t.same(
    (await list(join(user, 'src'))).map(({ name }) => name),
    ['proj']
  )
  for (const [path, text] of [
    ['.ssh/id', 'key'],
    ['.netrc', 'password'],
    ['other/diary', 'private']
  ] as const) {
    t.equal(readFileSync(join(user, path), 'latin1'), text)
  }
  t.ok(denied.length >= 30, `${denied.length} attempts were told`)
  // What it is shown, it may use.
  t.equal(Buffer.from((await open(join(project, 'a.c'), OPEN.read)).data!).toString(), 'int a;\n')
  const { handle = 0 } = await open(join(project, 'out'), write | OPEN.handle)
  await ask('write', { handle, offset: 0 }, Buffer.from('made'))
  t.equal(readFileSync(join(project, 'out'), 'latin1'), 'made')
})

t.test('what changes in a listed directory is told, what the target did itself is not', async (t) => {
  const { server, ask, list, open, project, news } = home(t)
  await list(project)
  writeFileSync(join(project, 'fresh'), 'x')
  chmodSync(join(project, 'a.c'), 0o600)
  await server.settle()
  const told = new Map(news.flatMap(({ path, entries }) => entries.map((entry) => [join(path, entry.name), entry])))
  t.match(told.get(join(project, 'fresh')), { attributes: { size: 1 } })
  t.match(told.get(join(project, 'a.c')), { attributes: { mode: 0o100600 } })
  news.length = 0
  const { handle = 0 } = await open(join(project, 'own'), OPEN.write | OPEN.create | OPEN.handle)
  await ask('close', { handle })
  renameSync(join(project, 'fresh'), join(project, 'renamed'))
  linkSync(join(project, 'a.c'), join(project, 'b.c'))
  await server.settle()
  const names = new Map(news.flatMap(({ entries }) => entries).map((entry) => [entry.name, entry.attributes]))
  t.equal(names.has('own'), false)
  t.equal(names.get('fresh'), undefined)
  t.ok(names.has('fresh'))
  t.ok(names.get('renamed'))
  t.match(names.get('b.c'), { links: 2 })
})

t.test('a large directory comes in parts, and others are served meanwhile', async (t) => {
  const { ask, list, project } = home(t)
  const path = join(project, 'many')
  mkdirSync(path)
  for (let index = 0; index < 3000; index++) writeFileSync(join(path, `f${index}`), '')
  let isListed = false
  const listing = list(path).then((entries) => {
    isListed = true
    return entries
  })
  await ask('stat', { path: join(project, 'a.c') })
  t.equal(isListed, false)
  t.equal((await listing).length, 3000)
})

t.test('the hash of a file is said to whom it is shown, in the version asked for, unless it may change', async (t) => {
  const settled = new Hashes(undefined, () => Date.now() + 120_000)
  const { ask, list, project, user } = home(t, 'friend', settled)
  const sha256 = (text: string) => createHash('sha256').update(text).digest()
  const path = join(project, 'a.c')
  const version = async (of: string) => (await ask('stat', { path: of })).attributes!
  const { data } = await ask('hash', { path, version: await version(path) })
  t.same(Buffer.from(data!), sha256('int a;\n'))
  const hashIn = async (name: string) => (await list(project)).find((entry) => entry.name === name)?.attributes?.hash
  t.equal(await hashIn('a.c'), sha256('int a;\n').toString('latin1'), 'from then on it comes with the listing')
  await failsWith(t, ask('hash', { path, version: UNKNOWN }), ESTALE, 'another version')
  writeFileSync(path, 'int b;\n')
  t.equal(await hashIn('a.c'), undefined, 'it holds something else')
  await ask('fetch', { path, version: await version(path), offset: 0, length: 10 })
  let hash: string | undefined
  for (let tries = 0; hash === undefined && tries < 1000; tries++) {
    // Behind whatever else there is to do.
    await new Promise((resolve) => setImmediate(resolve))
    hash = await hashIn('a.c')
  }
  t.equal(hash, sha256('int b;\n').toString('latin1'), 'what was read is hashed, for the next time')
  await failsWith(t, ask('hash', { path: join(user, '.ssh/id'), version: UNKNOWN }), ENOENT, 'what is denied')
  await failsWith(t, ask('hash', { path: join(user, 'other/diary'), version: UNKNOWN }), ENOENT, 'what is not shown')
  await failsWith(t, ask('hash', { path: project, version: UNKNOWN }), EISDIR, 'a directory')
  execFileSync('mkfifo', [join(project, 'fifo')])
  await failsWith(t, ask('hash', { path: join(project, 'fifo'), version: UNKNOWN }), ENXIO, 'a FIFO')
})

t.test('nothing is said of a file that was changed a moment ago', async (t) => {
  const { ask, list, project } = home(t)
  const path = join(project, 'a.c')
  const { attributes } = await ask('stat', { path })
  await failsWith(t, ask('hash', { path, version: attributes! }), ESTALE, 'its hash')
  await ask('fetch', { path, version: attributes!, offset: 0, length: 10 })
  await list(project)
  t.equal((await list(project)).find(({ name }) => name === 'a.c')?.attributes?.hash, undefined)
})

t.test('what Node has no call for: exchanges, holes, copies, times, FIFOs', async (t) => {
  const { ask, open, list, project, news, server } = home(t)
  const [a, b, c] = ['a.c', 'b', 'c'].map((name) => join(project, name)) as [string, string, string]
  mkdirSync(b)
  writeFileSync(join(b, 'inner'), '')
  await list(project)
  await list(b)
  await failsWith(t, ask('rename', { path: a, to: b, flags: 1 }), EEXIST, 'not over another')
  await ask('rename', { path: a, to: c, flags: 1 })
  await failsWith(t, ask('rename', { path: c, to: b, flags: 3 }), EINVAL, 'both')
  await failsWith(t, ask('rename', { path: c, to: b, flags: 4 }), EINVAL, 'a whiteout')
  await failsWith(t, ask('rename', { path: c, to: a, flags: 2 }), ENOENT, 'what is not there')
  await ask('rename', { path: c, to: b, flags: 2 })
  t.ok(lstatSync(b).isFile())
  await server.settle()
  news.length = 0
  writeFileSync(join(c, 'new'), '')
  await server.settle()
  t.same(
    news.map(({ path }) => path),
    [c],
    'what is told of a directory is told by its new name'
  )

  const { handle = 0 } = await open(a, OPEN.both | OPEN.create | OPEN.handle)
  t.match(await ask('allocate', { handle, mode: 0, offset: 0, length: 100_000 }), { attributes: { size: 100_000 } })
  await ask('write', { handle, offset: 0 }, Buffer.alloc(100_000, 'x'))
  t.match(await ask('allocate', { handle, mode: 3, offset: 8192, length: 8192 }), { attributes: { size: 100_000 } })
  t.match(await ask('seek', { handle, offset: 0, whence: 4 }), { value: 8192 })
  t.match(await ask('seek', { handle, offset: 8192, whence: 3 }), { value: 16_384 })
  await failsWith(t, ask('seek', { handle, offset: 100_000, whence: 3 }), ENXIO, 'behind the end')
  await failsWith(t, ask('allocate', { handle, mode: 2, offset: 0, length: 1 }), EOPNOTSUPP, 'a hole that grows')
  const copied = { handle, offset: 8191, toHandle: handle, toOffset: 200_000, length: 2 }
  t.match(await ask('copy', copied), { value: 2, attributes: { size: 200_002 } })
  t.equal(readFileSync(a, 'latin1').slice(200_000), 'x\0')
  await failsWith(t, ask('copy', { ...copied, toOffset: 8192 }), EINVAL, 'onto itself')

  const [accessed, modified] = [
    { s: -2, ns: 999_999_999 },
    { s: 2 ** 33, ns: 1 }
  ]
  const set = SET.accessed | SET.modified
  t.match(await ask('change', { ...NO_CHANGE, path: a, set, accessed, modified }), {
    attributes: { accessed, modified }
  })
  t.match(await ask('change', { ...NO_CHANGE, path: a, set: SET.accessedNow }), { attributes: { modified } })
  t.ok(lstatSync(a).atimeMs > 1e12)
  const fifo = join(project, 'fifo \xff')
  await ask('makeNode', { path: fifo, mode: 0o010666 })
  t.equal(lstatSync(Buffer.from(fifo, 'latin1')).mode, 0o010666)
  await failsWith(t, ask('makeNode', { path: fifo, mode: 0o010666 }), EEXIST, 'again')
})

t.test('without the program for that, what it does is refused, and the rest goes on', async (t) => {
  const { arch } = process
  Object.defineProperty(process, 'arch', { value: 'none' })
  t.teardown(() => Object.defineProperty(process, 'arch', { value: arch }))
  const { ask, open, project } = home(t)
  const path = join(project, 'a.c')
  const { handle = 0 } = await open(path, OPEN.both | OPEN.handle)
  const lock = { handle, owner: 1n, type: 1, start: 0n, end: 5n }
  await failsWith(t, ask('lock', { ...lock, wait: 0, whole: 0 }), ENOLCK, 'a lock')
  await failsWith(t, ask('lock', { ...lock, wait: 1, whole: 1 }), ENOLCK, 'one that would be waited for')
  await failsWith(t, ask('testLock', lock), ENOLCK, 'a question')
  await failsWith(t, ask('rename', { path, to: join(project, 'b'), flags: 1 }), ENOSYS, 'a rename with flags')
  await failsWith(t, ask('allocate', { handle, mode: 0, offset: 0, length: 1 }), ENOSYS, 'room')
  await failsWith(t, ask('seek', { handle, offset: 0, whence: 4 }), ENOSYS, 'holes')
  const copied = { handle, offset: 0, toHandle: handle, toOffset: 100, length: 1 }
  await failsWith(t, ask('copy', copied), ENOSYS, 'a copy')
  await failsWith(t, ask('makeNode', { path: join(project, 'fifo'), mode: 0o010666 }), EPERM, 'a FIFO')
  const modified = { s: 1_000_000_000, ns: 250_000_000 }
  t.match(await ask('change', { ...NO_CHANGE, path, set: SET.modified, modified }), { attributes: { modified } })
})

t.test('locks are held towards each other, and end with what they were taken by', async (t) => {
  const { ask, last, open, project, server } = home(t)
  const path = join(project, 'a.c')
  const [{ handle: one = 0 }, { handle: two = 0 }] = [
    await open(path, OPEN.both | OPEN.handle),
    await open(path, OPEN.read | OPEN.handle)
  ]
  const lock = (handle: number, owner: bigint, type: number, more = {}) =>
    ask('lock', { handle, owner, type, start: 0n, end: 9n, wait: 0, whole: 0, ...more })
  await lock(one, 1n, 1)
  await failsWith(t, lock(one, 2n, 0), EAGAIN, 'another owner')
  await lock(one, 2n, 0, { start: 10n, end: 19n })
  t.same(Buffer.from((await ask('testLock', { handle: two, owner: 3n, type: 1, start: 0n, end: 99n })).data!)[0], 1)
  t.same(Buffer.from((await ask('testLock', { handle: two, owner: 3n, type: 1, start: 20n, end: 99n })).data!)[0], 2)
  await failsWith(t, lock(one, 4n, 3), EINVAL, 'no such type')
  await failsWith(t, lock(one, 4n, 0, { end: -1n }), EINVAL, 'no such range')
  // Nothing else keeps this process waiting.
  const alive = setInterval(() => {}, 60_000)
  t.teardown(() => clearInterval(alive))
  const waiting = lock(one, 2n, 1, { wait: 1 })
  const cancelled = lock(one, 3n, 1, { wait: 1 })
  await ask('cancel', { request: last() })
  await failsWith(t, cancelled, EINTR, 'what is no longer waited for')
  await ask('close', { handle: one })
  await failsWith(t, waiting, EINTR, 'what waits by a file that is closed')
  await lock(two, 5n, 0)
  await lock(two, 5n, 1, { whole: 1 })
  server.close()
})

t.test('without a living job nothing is done but what ends it', async (t) => {
  const { ask, open, project, server } = home(t)
  const path = join(project, 'half')
  const { handle = 0 } = await open(path, OPEN.write | OPEN.create | OPEN.handle)
  await ask('write', { handle, offset: 0 }, Buffer.from('part'))
  server.live(false)
  const { EACCES } = constants.errno
  await failsWith(t, ask('write', { handle, offset: 4 }, Buffer.from('more')), EACCES, 'write')
  const dates = { ...NO_CHANGE, path: '/', handle, set: SET.modified }
  await failsWith(t, ask('change', { ...dates, modified: { s: 5, ns: 0 } }), EACCES, 'any date')
  await failsWith(t, ask('change', { ...dates, path, handle: 0 }), EACCES, 'by its name')
  await ask('change', dates)
  await ask('close', { handle })
  t.match(lstatSync(path), { size: 4, mtimeMs: 0 })
})
