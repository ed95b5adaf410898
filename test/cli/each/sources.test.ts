import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { combinations, type Source } from '../../../src/cli/each/sources.ts'

async function all(sources: Source[], separator: '\n' | '\0' = '\n'): Promise<string[][]> {
  const rows: string[][] = []
  for await (const some of combinations(sources, separator)) rows.push(...some)
  return rows
}
const words = (...words: string[]): Source => ({ kind: 'words', words })

t.test('all combinations, the last source first', async (t) => {
  t.same(await all([words('A', 'B'), words('1', '2')]), [
    ['A', '1'],
    ['A', '2'],
    ['B', '1'],
    ['B', '2']
  ])
  t.same(await all([words('A'), words()]), [])
})

t.test('lines of files are bytes, whatever is in them', async (t) => {
  const path = join(t.testdir(), 'list')
  const file: Source = { kind: 'file', path }
  writeFileSync(path, Buffer.from('a b\n\n;touch P\n\'"\\\n\xff\xe9\nlast', 'latin1'))
  t.same(
    await all([file]),
    ['a b', '', ';touch P', `'"\\`, '\xff\xe9', 'last'].map((value) => [value])
  )
  writeFileSync(path, 'with\nnewline\0second\0')
  t.same(await all([file], '\0'), [['with\nnewline'], ['second']])
  await t.rejects(all([file]), { name: 'UsageError', message: /line 2 of .*NUL/ })
  writeFileSync(path, `short\n${'x'.repeat(140_000)}\n`)
  await t.rejects(all([file]), { name: 'UsageError', message: /line 2 of .*longer/ })
  await t.rejects(all([{ kind: 'file', path: '/nowhere' }]), { name: 'UsageError', message: /ENOENT/ })
})

t.test('the first source is read as it is used', async (t) => {
  let count = 0
  for await (const some of combinations([{ kind: 'file', path: '/dev/zero' }, words('A', 'B')], '\0')) {
    for (const row of some) if (count++ < 2) t.same(row, ['', count === 1 ? 'A' : 'B'])
    if (count > 100_000) break
  }
  t.ok(count > 100_000, 'it has no end')
})
