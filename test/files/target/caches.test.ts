/** What a tree that is seen anew need not get from home, and that it is right all the same. */

import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Hashes } from '../../../src/files/hashes.ts'
import { decodeRequest } from '../../../src/protocols/file/codec.ts'
import { needs } from '../../require.ts'
import { fuseUnavailable } from '../fuse/mounted.ts'
import { TreeMount, type TreeMountInit } from './tree-mount.ts'

const unavailable = fuseUnavailable()
/** Everything here was changed just now: a clock that is ahead takes it for settled. */
const LATER = (): number => Date.now() + 120_000
/** A library that is large and that every machine has. */
const SYSTEM_FILE = fs.realpathSync(process.execPath.startsWith('/usr') ? process.execPath : '/bin/bash')

function directory(t: Test): string {
  const made = fs.mkdtempSync(join(fs.realpathSync(tmpdir()), 'kappa-caches-'))
  t.teardown(() => fs.rmSync(made, { recursive: true, force: true }))
  return made
}

/** A fresh tree, in which a script runs; what it said, and what home was asked for, by paths. */
async function fresh(
  init: TreeMountInit,
  at: string | undefined,
  script: string | ((mount: TreeMount) => string),
  isDone: () => boolean = () => true
) {
  const asked = { list: new Set<string>(), fetch: new Set<string>(), stat: new Set<string>() }
  const intercept = (frame: Uint8Array): boolean => {
    const request = decodeRequest(frame)
    if (request.kind in asked) asked[request.kind as keyof typeof asked].add((request as { path: string }).path)
    return false
  }
  await using mount = await TreeMount.start({ ...init, intercept })
  const { stdout, stderr, code } = await mount.run(at, typeof script === 'string' ? script : script(mount))
  // What is kept is on its way while the script ends.
  await mount.stored()
  await until(isDone)
  if (code !== 0) throw new Error(stderr)
  return { stdout, asked }
}

async function until(isSo: () => boolean): Promise<void> {
  for (const end = Date.now() + 30_000; !isSo(); ) {
    if (Date.now() > end) throw new Error('waited in vain')
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

const inSystem = (path: string) => (mount: TreeMount) =>
  `cksum <'${mount.top}/s${path}'; head -c 3 '${mount.top}/s${path}' | cksum`
const native = async (path: string) => {
  const { execFileSync } = await import('node:child_process')
  return execFileSync('sh', ['-c', `cksum <'${path}'; head -c 3 '${path}' | cksum`], { encoding: 'utf8' })
}

t.test('a system file that is the same here is not fetched', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  const top = directory(t)
  const hashes = new Hashes(join(top, 'hashes'), LATER)
  const expected = await native(SYSTEM_FILE)
  for (const what of ['home says its hash when it is asked', 'home says it with the listing']) {
    const { stdout, asked } = await fresh({ store: join(top, 'store'), hashes }, undefined, inSystem(SYSTEM_FILE))
    t.equal(stdout, expected, what)
    t.notOk(asked.fetch.has(SYSTEM_FILE), what)
  }
})

t.test('one that is not the same comes from home, and is kept', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  const top = directory(t)
  // Home's is another, as far as its hash tells.
  const hashes = new (class extends Hashes {
    override get(stats: fs.BigIntStats): string | undefined {
      const known = super.get(stats)
      return known === undefined ? undefined : String.fromCharCode(known.charCodeAt(0) ^ 1) + known.slice(1)
    }
  })(undefined, LATER)
  const expected = await native(SYSTEM_FILE)
  const init = { store: join(top, 'store'), hashes }
  const first = await fresh(init, undefined, inSystem(SYSTEM_FILE))
  t.equal(first.stdout, expected)
  const second = await fresh(init, undefined, inSystem(SYSTEM_FILE))
  t.equal(second.stdout, expected)
  t.ok(second.asked.fetch.has(SYSTEM_FILE), 'its hash was not known before')
  // Home hashes beside its other work: the first blocks may have come before it knew.
  for (let left = 10; ; left--) {
    const { stdout, asked } = await fresh(init, undefined, inSystem(SYSTEM_FILE))
    t.equal(stdout, expected)
    if (!asked.fetch.has(SYSTEM_FILE)) break
    if (left === 0) throw new Error('it is never kept')
  }
})

t.test('what was read once is there the next time, until it changes', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  const top = directory(t)
  fs.mkdirSync(join(top, 'home'))
  const [small, large] = [join(top, 'home/small'), join(top, 'home/large')]
  fs.writeFileSync(small, 'small\n')
  const line = (index: number) => `${index} of something large\n`
  const text = Array.from({ length: 60_000 }, (_, index) => line(index)).join('')
  fs.writeFileSync(large, text)
  const init = { store: join(top, 'store'), hashes: new Hashes(join(top, 'hashes'), LATER) }
  const read = () => fresh(init, join(top, 'home'), 'cat small large')
  const seen = async (what: string, fetched: string[]) => {
    const { stdout, asked } = await read()
    t.ok(stdout === fs.readFileSync(small, 'utf8') + fs.readFileSync(large, 'utf8'), what)
    t.same([...asked.fetch].toSorted(), fetched.toSorted(), `${what}: what was fetched`)
  }
  const kept = async () => {
    for (let left = 10; (await read()).asked.fetch.size > 0; left--) if (left === 0) throw new Error('it is never kept')
  }
  await seen('the first time', [large, small])
  // Home has hashed it meanwhile, the first blocks of it came before.
  await kept()
  await seen('kept', [])

  const { atimeMs, mtimeMs } = fs.lstatSync(large)
  const fd = fs.openSync(large, 'r+')
  fs.writeSync(fd, 'X', 700_000)
  fs.closeSync(fd)
  fs.utimesSync(large, atimeMs / 1000, mtimeMs / 1000)
  fs.writeFileSync(small, 'SMALL\n')
  await seen('changed in place, one with its old time', [large, small])
  await kept()
  await seen('kept as it is now', [])

  for (const name of fs.readdirSync(join(top, 'store/contents'), { recursive: true, encoding: 'utf8' })) {
    const path = join(top, 'store/contents', name)
    if (fs.lstatSync(path).isFile() && !name.endsWith('.json')) fs.truncateSync(path, 40)
  }
  await seen('after all that is kept was cut off', [large, small])
})

t.test('directories of the system that were listed before are listed at once, and are what they are now', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  const isRoot = process.getuid!() === 0 && fs.existsSync('/opt')
  if (!needs(t, isRoot, 'to be root, and /opt')) return
  const top = directory(t)
  const made = fs.mkdtempSync('/opt/kappa-test-')
  t.teardown(() => fs.rmSync(made, { recursive: true, force: true }))
  fs.mkdirSync(join(made, 'a/b'), { recursive: true })
  fs.writeFileSync(join(made, 'a/b/one'), '')
  const init = { store: join(top, 'store') }
  const isRemembered = () => {
    const [home = ''] = fs.readdirSync(join(top, 'store/contents'))
    const file = join(top, 'store/contents', home, 'listed.json')
    return fs.existsSync(file) && fs.readFileSync(file, 'utf8').includes(`${made}/a/b"`)
  }
  const list = () =>
    fresh(init, undefined, (mount) => `ls -R '${mount.top}/s${made}/a' | sed 's|.*/s/|/|'`, isRemembered)
  const first = await list()
  t.equal(first.stdout, `${made}/a:\nb\n\n${made}/a/b:\none\n`)
  fs.writeFileSync(join(made, 'a/b/two'), '')
  const { stdout } = await list()
  t.equal(stdout, `${made}/a:\nb\n\n${made}/a/b:\none\ntwo\n`)
  // Changed after they were listed ahead, and before they are used.
  let isAsked = false
  const intercept = (frame: Uint8Array): boolean => {
    const request = decodeRequest(frame)
    if (request.kind === 'list' && request.path === `${made}/a/b`) isAsked = true
    return false
  }
  await using mount = await TreeMount.start({ ...init, intercept })
  await until(() => isAsked)
  fs.rmSync(join(made, 'a/b'), { recursive: true })
  fs.mkdirSync(join(made, 'a/b'))
  fs.writeFileSync(join(made, 'a/b/three'), '')
  await mount.settle()
  const { stdout: now } = await mount.run(undefined, `ls '${mount.top}/s${made}/a/b'`)
  t.equal(now, 'three\n')
})
