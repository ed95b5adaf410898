import { execFileSync } from 'node:child_process'
import fc from 'fast-check'
import t from 'tap'
import { Template } from '../../../src/cli/each/template.ts'
import { quoteForPeople } from '../../../src/execution/quote.ts'

const fill = (words: string[], values: string[], sequence = 7, quotes = false) =>
  new Template(words, quotes).fill({ sequence, values })

t.test('placeholders stand for the value and its parts', async (t) => {
  const cases: [string, string][] = [
    ['{}', 'a/b.tar.gz'],
    ['{.}', 'a/b.tar'],
    ['{/}', 'b.tar.gz'],
    ['{//}', 'a'],
    ['{/.}', 'b.tar'],
    ['{#}', '7'],
    ['{1}', 'a/b.tar.gz'],
    ['{1/.}', 'b.tar'],
    ['x{/}y{#}', 'xb.tar.gzy7'],
    ['{x}', '{x}'],
    ['{1..3}', '{1..3}']
  ]
  for (const [word, expected] of cases) t.same(fill(['c', word, '{#}'], ['a/b.tar.gz']), ['c', expected, '7'], word)
  t.same(fill(['c', '{.}', '{//}'], ['.bashrc']), ['c', '.bashrc', '.'])
  t.same(fill(['c', '{.}', '{//}'], ['/d.x/file']), ['c', '/d.x/file', '/d.x'])
  t.same(fill(['c', '{//}'], ['/x']), ['c', '/'])
})

t.test('without any, the values come last; alone they are words of their own', async (t) => {
  t.same(fill(['c', '-x'], ['a b']), ['c', '-x', 'a b'])
  t.same(fill(['c'], ['a', 'b']), ['c', 'a', 'b'])
  t.same(fill(['c', '{}', 'x{}'], ['a', 'b']), ['c', 'a', 'b', 'xa b'])
  t.same(fill(['c', '{2}', '{1}'], ['a', 'b']), ['c', 'b', 'a'])
  t.throws(() => fill(['c', '{3}'], ['a', 'b']), { name: 'UsageError', message: /no source 3/ })
})

t.test('what a value says is never run', async (t) => {
  for (const words of [
    ['sh', '-c', 'echo {}'],
    ['/bin/bash', '-ec', 'echo {/}'],
    ['nice', '-n', '3', 'dash', '-c', '{}'],
    ['env', 'A=1', 'bash', '-o', 'pipefail', '-c', 'cat {1}'],
    ['sh', '-c', '-e', 'echo {}']
  ]) {
    t.throws(() => new Template(words, false), { name: 'UsageError', message: /script/ }, words.join(' '))
  }
  t.same(fill(['sh', '-c', 'echo "$1"', 'sh', '{}'], [';id']), ['sh', '-c', 'echo "$1"', 'sh', ';id'])
  t.same(fill(['bash', 'script.sh', '{}'], ['$(id)']), ['bash', 'script.sh', '$(id)'])
  t.same(fill(['sh', '-c', 'echo "$0"'], ['x']), ['sh', '-c', 'echo "$0"', 'x'])
})

t.test('a line for a shell is told from a program', async (t) => {
  for (const line of ['gzip -9 {}', 'wc -l'])
    t.throws(() => new Template([line], false), { name: 'UsageError', message: /one by one, or add --sh/ }, line)
  t.same(fill(['/opt/my tools/x'], ['a']), ['/opt/my tools/x', 'a'])
})

t.test('--sh quotes', async (t) => {
  t.same(fill(['sh', '-c', 'echo {} {#}', '{}'], ["it's"], 7, true), ['sh', '-c', `echo 'it'\\''s' 7`, "it's"])
  t.same(fill(['gzip < {} > {.}.gz'], ['a b.txt'], 7, true), ['sh', '-c', "gzip < 'a b.txt' > 'a b'.gz"])
  t.same(fill(['wc -l'], [';id'], 7, true), ['sh', '-c', "wc -l ';id'"])
  await fc.assert(
    fc.asyncProperty(fc.string({ unit: 'binary', maxLength: 40 }), async (text) => {
      const value = text.replaceAll('\0', '')
      const echoed = execFileSync('sh', ['-c', `printf %s. ${quoteForPeople(value)}`]).toString()
      return echoed === `${Buffer.from(value).toString()}.`
    }),
    { numRuns: 50 }
  )
})
