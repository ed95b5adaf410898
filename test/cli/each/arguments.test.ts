import t from 'tap'
import { readEachArguments } from '../../../src/cli/each/arguments.ts'

const read = (...args: string[]) => readEachArguments(args, {})

t.test('options of its own, and of each run', async (t) => {
  const request = read(
    ...['-j4', '--on', 'nas,pi', '--timeout=3', '--tag', '--in', '{}', '--halt', 'soon,fail=2', '-0'],
    ...['flac', '-o', '{.}', ':::', 'a', '-b', ':::', 'c']
  )!
  t.match(request, {
    jobs: 4,
    tag: true,
    separator: '\0',
    halt: { when: 'soon', of: 'fail', count: 2 },
    run: { ins: ['{}'], options: { on: ['nas', 'pi'], timeoutMs: 3000 } },
    words: ['flac', '-o', '{.}'],
    sources: [
      { kind: 'words', words: ['a', '-b'] },
      { kind: 'words', words: ['c'] }
    ]
  })
  t.match(read('-j', '2', '-k', '--', '-odd-', '::::', 'list', 'more')!, {
    words: ['-odd-'],
    sources: [
      { kind: 'file', path: 'list' },
      { kind: 'file', path: 'more' }
    ]
  })
  t.same(read('c')!.sources, [{ kind: 'file', path: '-' }])
  t.equal(read('--help'), undefined)
})

t.test('what makes no sense is said', async (t) => {
  for (const [args, why] of [
    [[], /which command/],
    [[':::', 'a'], /which command/],
    [['-j0', 'c'], /-j must be/],
    [['--halt', 'later', 'c'], /--halt must be/],
    [['--resume', 'c'], /needs the --joblog/],
    [['--detach', 'c'], /--detach is for single/],
    [['-t', 'c'], /no terminal/],
    [['--nope', 'c'], /kappa each: there is no option --nope/],
    [['--cores', 'x', 'c'], /kappa each: --cores must be/],
    [['-a', '-', 'c', '::::', '-'], /only one of the sources/],
    [['--joblog'], /--joblog needs a value/]
  ] as const) {
    t.throws(() => read(...args), { name: 'UsageError', message: why }, args.join(' '))
  }
})
