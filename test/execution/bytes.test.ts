import t from 'tap'
import { run, sandboxed, sh, specOf } from './executing.ts'

const SHOW = ['sh', '-c', 'for a; do printf "%s\\0" "$a"; done', 'sh']

/** Every byte that an argument can hold, the odd ones next to each other. */
const EVERY = Buffer.from(Array.from({ length: 255 }, (_, index) => index + 1))

t.test('arguments are bytes', async (t) => {
  const executor = await sandboxed(t)
  if (executor === null) return
  const odd = ['', ' ', '\n', "'", "''\\'", '"$HOME"', '`id`', '-n', '--', '*', '\xff', '\x81\x88'].map((word) =>
    Buffer.from(word, 'latin1')
  )
  const words = [EVERY, Buffer.from([...EVERY].reverse()), ...odd]
  const { out } = await run(executor, specOf([...SHOW, ...words]))
  t.same(out, Buffer.concat(words.flatMap((word) => [word, Buffer.from([0])])))
})

t.test('the environment is bytes, and nothing but what was given and the place', async (t) => {
  const executor = await sandboxed(t)
  if (executor === null) return
  const given = ['ODD=\xff\n\'"$x', 'with.dot=1', 'BASH_FUNC_x%%=() { :; }', 'IFS=x', 'EMPTY=', 'UID=7', '-i=3'].map(
    (e) => Buffer.from(e, 'latin1')
  )
  const place = ['HOME=/home/me', 'PATH=/home/me/bin', 'TMPDIR=/x', 'PWD=/y', 'OLDPWD=/z'].map((e) => Buffer.from(e))
  const junk = ['no equals sign', '=nameless'].map((e) => Buffer.from(e))
  const { out } = await run(executor, specOf(['cat', '/proc/self/environ'], { env: [...given, ...place, ...junk] }))
  const seen = out.toString('latin1').split('\0').slice(0, -1)
  t.same(
    seen.slice(0, given.length),
    given.map((entry) => entry.toString('latin1'))
  )
  const names = seen.slice(given.length).map((entry) => entry.slice(0, entry.indexOf('=')))
  t.same(names.sort(), ['HOME', 'PATH', 'PWD', 'TMPDIR'])
  t.equal(new Set(seen.filter((e) => /^(HOME|PWD|TMPDIR)=/.test(e)).map((e) => e.replace(/^\w+=/, ''))).size, 1)
  t.notMatch(seen.join('\n'), '/home/me')
})

t.test('long arguments arrive or are refused clearly', async (t) => {
  const executor = await sandboxed(t)
  if (executor === null) return
  const many = Array.from({ length: 2000 }, (_, index) => `${index}`.padEnd(99, 'x'))
  const { out } = await run(executor, specOf([...SHOW, ...many]))
  t.equal(out.toString(), many.map((word) => `${word}\0`).join(''), '200 kB of arguments')
  const { out: longest } = await run(executor, specOf([...SHOW, 'x'.repeat(131_071)]))
  t.equal(longest.length, 131_072, 'the longest argument')
  const tooLong = executor.begin(specOf(['true', 'x'.repeat(131_072)]))
  await t.rejects(tooLong, { name: 'NothingRanError', message: /131072 bytes; Linux takes 131071/ })
  const tooMany = executor.begin(specOf(['true', ...Array.from({ length: 30 }, () => 'x'.repeat(100_000))]))
  await t.rejects(tooMany, { name: 'NothingRanError', message: /take \d+ bytes; the target takes 2097152/ })
  await t.rejects(executor.begin(specOf([])), { name: 'UsageError' })
  await t.rejects(executor.begin(specOf(['a\0b'])), { name: 'UsageError' })
})

t.test('umask and soft limits travel, never above the hard limit', async (t) => {
  const executor = await sandboxed(t)
  if (executor === null) return
  const limits = [
    { name: 'nofile', soft: 77 },
    { name: 'core', soft: 'unlimited' },
    { name: 'stack', soft: 4 * 1024 * 1024 },
    { name: 'nproc', soft: 1e15 },
    { name: 'cpu', soft: 1000 }
  ] as const
  const shown = await sh(executor, 'umask; cat /proc/self/limits', { umask: 0o027, limits })
  t.match(shown, /^0027\n/)
  const soft = (title: string) => new RegExp(`^${title} +(\\S+) +(\\S+)`, 'm').exec(shown)
  t.equal(soft('Max open files')?.[1], '77')
  t.equal(soft('Max stack size')?.[1], '4194304')
  t.equal(soft('Max cpu time')?.[1], '1000')
  t.equal(soft('Max core file size')?.[1], soft('Max core file size')?.[2])
  t.equal(soft('Max processes')?.[1], soft('Max processes')?.[2])
})
