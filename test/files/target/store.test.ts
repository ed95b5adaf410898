import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Store } from '../../../src/files/target/store.ts'
import { WHOLE } from '../../../src/files/target/store-codec.ts'
import { needs } from '../../require.ts'

const MIB = 1024 * 1024
const sha256 = (data: Uint8Array): string => createHash('sha256').update(data).digest('binary')
const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text))

/** Paths of what is kept. */
function entries(directory: string): string[] {
  return fs
    .readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((name) => fs.lstatSync(join(directory, name)).isFile())
    .toSorted()
}

t.test('contents are kept by their hash, for one home alone, longer than the daemon lives', async (t) => {
  const directory = join(t.testdir(), 'made/contents')
  const store = new Store(directory, MIB)
  const [small, block] = [bytes('small'), bytes('a part')]
  const large = sha256(bytes('the whole of something large'))
  store.save('a', '', WHOLE, small)
  store.save('a', large, 3, block)
  for (const one of [store, new Store(directory, MIB)]) {
    t.same(one.load('a', sha256(small), WHOLE), small)
    t.same(one.load('a', large, 3), block)
    t.equal(one.load('a', large, 2), undefined, 'another block')
    t.equal(one.load('b', sha256(small), WHOLE), undefined, 'another home')
    t.equal(one.load('b', large, 3), undefined, 'another home')
  }
  t.equal(fs.lstatSync(directory).mode & 0o777, 0o700)
  for (const path of entries(directory)) t.equal(fs.lstatSync(join(directory, path)).mode & 0o777, 0o600)
})

t.test('what is not what its hash says is not kept', async (t) => {
  const directory = t.testdir({ contents: {} })
  fs.chmodSync(directory, 0o700)
  const store = new Store(directory, MIB)
  store.save('a', sha256(bytes('this')), WHOLE, bytes('that'))
  t.equal(store.load('a', sha256(bytes('this')), WHOLE), undefined)
  t.equal(store.load('a', sha256(bytes('that')), WHOLE), undefined)
})

t.test('what was damaged, cut off or exchanged is noticed and gone', async (t) => {
  const directory = join(t.testdir(), 'contents')
  const store = new Store(directory, MIB)
  const large = sha256(bytes('large'))
  const harms: [string, (path: string) => void][] = [
    ['a bit', (path) => flip(path, 40)],
    ['its digest', (path) => flip(path, 0)],
    ['cut off', (path) => fs.truncateSync(path, 35)],
    ['empty', (path) => fs.truncateSync(path, 0)],
    ['longer', (path) => fs.appendFileSync(path, 'x')]
  ]
  for (const [what, harm] of harms) {
    for (const [hash, block] of [
      [sha256(bytes('whole content')), WHOLE],
      [large, 0]
    ] as const) {
      store.save('a', hash, block, bytes('whole content'))
      const [path] = entries(directory)
      harm(join(directory, path!))
      t.equal(store.load('a', hash, block), undefined, what)
      t.same(entries(directory), [], 'it is removed')
    }
  }
  // Of another file, which is whole.
  store.save('a', '', WHOLE, bytes('other'))
  const [path] = entries(directory)
  const there = join(directory, path!)
  const whole = Buffer.from(sha256(bytes('whole')), 'latin1').toString('hex')
  fs.mkdirSync(join(directory, 'a', whole.slice(0, 2)), { recursive: true })
  fs.renameSync(there, join(directory, 'a', whole.slice(0, 2), whole))
  t.equal(store.load('a', sha256(bytes('whole')), WHOLE), undefined, 'under the name of another')
})

function flip(path: string, at: number): void {
  const data = fs.readFileSync(path)
  data[at] = data[at]! ^ 1
  fs.writeFileSync(path, data)
}

t.test('a link, or what never ends, is not followed or waited for', async (t) => {
  const directory = join(t.testdir({ secret: 'secret' }), 'contents')
  const store = new Store(directory, MIB)
  store.save('a', '', WHOLE, bytes('x'))
  const path = join(directory, entries(directory)[0]!)
  fs.rmSync(path)
  fs.symlinkSync(join(directory, '../secret'), path)
  t.equal(store.load('a', sha256(bytes('x')), WHOLE), undefined)
  fs.rmSync(path, { force: true })
  if (spawnSync('mkfifo', [path]).status === 0) t.equal(store.load('a', sha256(bytes('x')), WHOLE), undefined)
})

t.test('the bound holds, over all that was kept before too; what was used last stays', async (t) => {
  const directory = join(t.testdir(), 'contents')
  const store = new Store(directory, MIB)
  const all = Array.from({ length: 12 }, (_, index) => new Uint8Array(100 * 1024).fill(index))
  for (const data of all) {
    store.save('a', '', WHOLE, data)
    t.ok(store.load('a', sha256(all[0]!), WHOLE), 'used again and again')
  }
  t.ok(store.bytes <= MIB)
  t.equal(store.load('a', sha256(all[1]!), WHOLE), undefined)
  t.ok(store.load('a', sha256(all[11]!), WHOLE))
  const before = entries(directory).length
  fs.writeFileSync(join(directory, 'a/.0123456789abcdef'), 'half')
  fs.writeFileSync(join(directory, entries(directory)[1]!, '../.0123456789abcdef'), 'half')
  const smaller = new Store(directory, MIB / 2)
  await smaller.count()
  t.ok(smaller.bytes <= MIB / 2)
  t.ok(entries(directory).length < before)
  t.notOk(
    entries(directory).some((path) => path.includes('.')),
    'what was half written is gone'
  )
  smaller.resize(0)
  t.same(entries(directory), [], 'none is wanted')
  smaller.save('a', '', WHOLE, bytes('x'))
  t.same(entries(directory), [])
})

t.test('a directory that is open to others is not used', async (t) => {
  const directory = join(t.testdir({ contents: {}, link: t.fixture('symlink', 'contents') }))
  fs.chmodSync(join(directory, 'contents'), 0o755)
  t.throws(() => new Store(join(directory, 'contents'), MIB), /open to others/)
  fs.chmodSync(join(directory, 'contents'), 0o700)
  t.throws(() => new Store(join(directory, 'link'), MIB), /open to others/)
  t.doesNotThrow(() => new Store(join(directory, 'contents'), MIB))
})

t.test('directories are remembered for each home; nonsense is none', async (t) => {
  const directory = join(t.testdir(), 'contents')
  const store = new Store(directory, MIB)
  store.remember('a', ['/usr', '/usr/l\xe9b'])
  t.same(new Store(directory, MIB).recall('a'), ['/usr', '/usr/l\xe9b'])
  t.same(store.recall('b'), [])
  for (const text of ['', '{}', '[1', '[1, "/usr"]']) {
    fs.writeFileSync(join(directory, 'a/listed.json'), text)
    t.same(store.recall('a'), text.includes('"') ? ['/usr'] : [], text)
  }
})

t.test('a full disk: nothing more is kept, nothing half, nothing thrown', async (t) => {
  const mounted = spawnSync('unshare', ['-Urm', 'sh', '-c', 'mount -t tmpfs none /mnt'])
  if (!needs(t, mounted.status === 0, 'a user namespace')) return
  const script = `
import { Store } from '${join(import.meta.dirname, '../../../src/files/target/store.ts')}'
import { readdirSync, lstatSync } from 'node:fs'
const store = new Store('/mnt/contents', 1e9)
const all = Array.from({ length: 20 }, (_, index) => new Uint8Array(60000).fill(index))
for (const data of all) store.save('a', '', ${WHOLE}, data)
const names = readdirSync('/mnt/contents', { recursive: true }).filter((name) => lstatSync('/mnt/contents/' + name).isFile())
console.log(names.length > 0 && names.length < 20, names.every((name) => lstatSync('/mnt/contents/' + name).size === 60032))`
  const { NODE_OPTIONS: _, ...env } = process.env
  const ended = spawnSync(
    'unshare',
    [
      '-Urm',
      'sh',
      '-c',
      'mount -t tmpfs -o size=512k none /mnt; exec "$@"',
      'sh',
      process.execPath,
      '--input-type=module',
      '-e',
      script
    ],
    { encoding: 'utf8', env }
  )
  t.same([ended.stdout, ended.stderr], ['true true\n', ''])
})
