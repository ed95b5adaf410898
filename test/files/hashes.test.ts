import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Hashes } from '../../src/files/hashes.ts'

/** Everything here was changed just now: a clock that is ahead takes it for settled. */
const LATER = (): number => Date.now() + 120_000
const sha256 = (data: string | Uint8Array): string => createHash('sha256').update(data).digest('binary')
const stat = (path: string) => fs.lstatSync(path, { bigint: true })

async function hashOf(hashes: Hashes, path: string): Promise<string | undefined> {
  const fd = fs.openSync(path, 'r')
  try {
    return await hashes.hash(fd)
  } finally {
    fs.closeSync(fd)
  }
}

t.test('what a file holds is remembered as long as it is as it was', async (t) => {
  const path = join(t.testdir({ file: 'one' }), 'file')
  const hashes = new Hashes(undefined, LATER)
  t.equal(hashes.get(stat(path)), undefined, 'nothing yet')
  t.equal(await hashOf(hashes, path), sha256('one'))
  t.equal(hashes.get(stat(path)), sha256('one'))
  const { mtimeMs, atimeMs } = fs.lstatSync(path)
  fs.writeFileSync(path, 'two')
  fs.utimesSync(path, atimeMs / 1000, mtimeMs / 1000)
  t.equal(hashes.get(stat(path)), undefined, 'of the same size, with the same time of modification')
  t.equal(await hashOf(hashes, path), sha256('two'))
  fs.renameSync(path, `${path}.moved`)
  t.equal(await hashOf(hashes, `${path}.moved`), sha256('two'), 'another name')
})

t.test('a file that was changed a moment ago may change again: nothing is said of it', async (t) => {
  const path = join(t.testdir({ file: 'one' }), 'file')
  const hashes = new Hashes()
  t.equal(await hashOf(hashes, path), undefined)
  t.equal(hashes.get(stat(path)), undefined)
})

t.test('a file that changes while it is read is not remembered', async (t) => {
  const path = join(t.testdir({ file: 'x'.repeat(3 * 1024 * 1024) }), 'file')
  const hashes = new Hashes(undefined, LATER)
  const hashing = hashOf(hashes, path)
  fs.appendFileSync(path, 'more')
  t.equal(await hashing, undefined)
  t.equal(hashes.get(stat(path)), undefined)
})

t.test('several ask at once, and one closes the file meanwhile: it is read once', async (t) => {
  const text = 'x'.repeat(3 * 1024 * 1024)
  const path = join(t.testdir({ file: text }), 'file')
  const hashes = new Hashes(undefined, LATER)
  const fd = fs.openSync(path, 'r')
  const first = hashes.hash(fd)
  const second = hashOf(hashes, path)
  fs.closeSync(fd)
  t.same(await Promise.all([first, second]), [sha256(text), sha256(text)])
})

t.test('they are kept in a file; what is damaged or torn in it counts for nothing', async (t) => {
  const directory = t.testdir({ a: 'one', b: 'two', c: 'three' })
  const kept = join(directory, 'made/hashes')
  const [a, b, c] = ['a', 'b', 'c'].map((name) => join(directory, name)) as [string, string, string]
  const hashes = new Hashes(kept, LATER)
  for (const path of [a, b, c]) await hashOf(hashes, path)
  t.equal(fs.lstatSync(kept).mode & 0o777, 0o600)
  t.equal(new Hashes(kept, LATER).get(stat(c)), sha256('three'), 'another one knows them')
  const bytes = fs.readFileSync(kept)
  bytes[100] = bytes[100]! ^ 1
  fs.writeFileSync(kept, bytes.subarray(0, bytes.length - 3))
  const again = new Hashes(kept, LATER)
  t.same(
    [a, b, c].map((path) => again.get(stat(path))),
    [sha256('one'), undefined, undefined]
  )
  t.equal(await hashOf(again, b), sha256('two'))
  const last = new Hashes(kept, LATER)
  t.same(
    [a, b, c].map((path) => last.get(stat(path))),
    [sha256('one'), sha256('two'), undefined],
    'it was written anew'
  )
  t.same(fs.readdirSync(join(directory, 'made')), ['hashes'])
})

t.test('where they can not be kept, they are known all the same', async (t) => {
  const directory = t.testdir({ a: 'one', file: '' })
  const hashes = new Hashes(join(directory, 'file/below'), LATER)
  t.equal(await hashOf(hashes, join(directory, 'a')), sha256('one'))
  t.equal(hashes.get(stat(join(directory, 'a'))), sha256('one'))
})
