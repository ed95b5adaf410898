import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  constants,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Hashes } from '../../../src/files/hashes.ts'
import { needs } from '../../require.ts'
import { finished, fuseUnavailable } from '../fuse/mounted.ts'
import type { Operation } from './executor.ts'
import { generator, random } from './random-operations.ts'
import { Executor, TreeMount } from './tree-mount.ts'

const unavailable = fuseUnavailable()
/** Others by hand: KAPPA_TEST_SEED, and how many from there on. */
const FIRST = Number(process.env.KAPPA_TEST_SEED ?? 1)
const SEEDS = Number(process.env.KAPPA_TEST_SEEDS ?? 8)
const CLOSING: Operation[] = [
  ...[0, 1, 2, 3, 4, 5].map((slot): Operation => ['close', slot]),
  ...[0, 1, 2].map((locker): Operation => ['unhold', locker])
]

function directory(t: Test): string {
  const made = mkdtempSync(join(realpathSync(tmpdir()), 'kappa-model-'))
  t.teardown(() => rmSync(made, { recursive: true, force: true }))
  return made
}

/** What was not changed for 30 ms counts as settled, instead of a minute: so that what is kept is used. */
const hashes = new Hashes(undefined, () => Date.now() + 59_970)

/** With all that a target keeps. */
function mountIn(top: string): Promise<TreeMount> {
  return TreeMount.start({ hashes, store: join(top, 'store') })
}

/** All that is in a directory, as it would be seen. */
function contents(top: string): string[] {
  const all: string[] = []
  for (const name of readdirSync(top, { encoding: 'latin1' as BufferEncoding, recursive: true }).toSorted()) {
    const path = Buffer.from(join(top, name), 'latin1')
    const { mode, nlink, size } = lstatSync(path)
    const type = mode & 0o170000
    const is = type === 0o040000 ? '' : type === 0o120000 ? readlinkSync(path) : readFileSync(path).toString('base64')
    all.push([name, mode.toString(8), nlink, type === 0o040000 ? '' : size, is].join(' '))
  }
  return all
}

/** The first difference with what led to it; undefined: none. */
function difference(operations: readonly Operation[], native: readonly string[], mounted: readonly string[]) {
  const at = native.findIndex((result, index) => result !== mounted[index])
  if (at < 0 && native.length === mounted.length) return undefined
  return {
    at,
    operation: operations[at],
    native: native[at],
    mounted: mounted[at],
    before: operations.slice(at - 5, at)
  }
}

t.test('random operations end as on the file system itself', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  const top = directory(t)
  await using mount = await mountIn(top)
  const [native, mounted] = [new Executor('/'), new Executor('/', mount)]
  for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
    const [here, there] = [join(top, `${seed}-native/w`), join(top, `${seed}-mounted/w`)]
    for (const made of [here, there]) mkdirSync(made, { recursive: true })
    await mount.settle()
    const operations = [...Array.from({ length: 300 }, generator(random(seed))), ...CLOSING]
    const begin = (at: string): Operation[] => [
      ['umask', 0o22],
      ['enter', at]
    ]
    const [ours, theirs] = await Promise.all([
      native.run([...begin(here), ...operations]),
      mounted.run([...begin(mount.root + there), ...operations])
    ])
    t.equal(difference([...begin(''), ...operations], ours, theirs), undefined, `seed ${seed}`)
    t.same(contents(there), contents(here), `seed ${seed}: what is there in the end`)
  }
  await Promise.all([native.close(), mounted.close()])
})

/** Without links: that a file has one more name is told only where that is. */
const SHARED = new Set(
  `truncate stat lstat chmod utimes access rename symlink readlink unlink mkdir rmdir list take put append copy
rename2 date hold unhold lock flock testLock`.split(/\s/)
)

t.test('two mounts and home itself, one after the other: each sees what the others did', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  const top = directory(t)
  await using one = await mountIn(top)
  await using two = await mountIn(top)
  const [here, there] = [join(top, 'native/w'), join(top, 'shared/w')]
  for (const made of [here, there]) mkdirSync(made, { recursive: true })
  // Locks are each one's own.
  const natives = [new Executor(here), new Executor(here), new Executor(here)]
  const actors = [new Executor(there), new Executor(there, one), new Executor(there, two)]
  const draw = random(FIRST)
  const next = generator(draw)
  let last = 0
  for (let count = 0; count < 150 * SEEDS; ) {
    const operation = next()
    if (!SHARED.has(operation[0])) continue
    count++
    const who = draw(actors.length)
    if (who !== last) {
      await actors[last]!.run([['settle']])
      await Promise.all([one.settle(), two.settle()])
    }
    last = who
    const [[ours], [theirs]] = await Promise.all([natives[who]!.run([operation]), actors[who]!.run([operation])])
    if (ours === theirs) continue
    t.fail(`seed ${FIRST}, operation ${count} of ${who}: ${JSON.stringify({ operation, ours, theirs })}`)
    break
  }
  t.same(contents(there), contents(here), 'what is there in the end')
  await Promise.all([...natives, ...actors].map((executor) => executor.close()))
})

t.test('what a tree that is seen anew shows is what is there, whatever happened since it was kept', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  const top = directory(t)
  const work = join(top, 'w')
  mkdirSync(work)
  const native = new Executor(work)
  const all = "find . -type f -printf '%p\\0' | LC_ALL=C sort -z | xargs -0 -r cksum"
  for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
    const operations = [...Array.from({ length: 100 }, generator(random(seed))), ...CLOSING]
    await native.run([['umask', 0o22], ...operations])
    writeFileSync(join(work, `large-${seed % 3}`), randomBytes(300_000))
    const before = await finished(spawn('sh', ['-c', all], { cwd: work }), 'cksum')
    await using mount = await mountIn(top)
    const { stdout, code } = await mount.run(work, all)
    t.same({ stdout, code }, { stdout: before.stdout, code: before.code }, `seed ${seed}`)
    await mount.stored()
  }
  await native.close()
})

t.test('a directory that moves at home while it is read is read to its end', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  const top = directory(t)
  mkdirSync(join(top, 'large'))
  for (let count = 0; count < 5000; count++) writeFileSync(join(top, `large/${count}`), '')
  await using mount = await mountIn(top)
  const mounted = new Executor(top, mount)
  t.same(await mounted.run([['scan', 'large']]), ['done'])
  renameSync(join(top, 'large'), join(top, 'moved'))
  await mount.settle()
  t.same(await mounted.run([['scanned'], ['lstat', 'large'], ['scan', 'moved'], ['scanned']]), [
    5000,
    'ENOENT',
    'done',
    5000
  ])
  await mounted.close()
})

t.test('a file that is made and emptied by who only reads it is empty', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  const top = directory(t)
  const [native, mount] = [join(top, 'native'), join(top, 'mounted')]
  for (const made of [native, mount]) mkdirSync(made)
  await using tree = await mountIn(top)
  const { O_WRONLY, O_RDONLY, O_CREAT, O_TRUNC } = constants
  const operations: Operation[] = [
    ['open', 0, 'f', O_WRONLY | O_CREAT | O_TRUNC, 0o644],
    ['pwrite', 0, 1, 1000, 0],
    ['open', 1, 'f', O_RDONLY | O_TRUNC, 0o644],
    ['take', 'f'],
    ['pwrite', 0, 2, 10, 5],
    ['take', 'f'],
    ...CLOSING
  ]
  const [here, there] = [new Executor(native), new Executor(mount, tree)]
  t.same(await there.run(operations), await here.run(operations))
  t.same(contents(mount), contents(native))
  await Promise.all([here.close(), there.close()])
})
