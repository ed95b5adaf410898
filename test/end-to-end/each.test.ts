import { randomInt } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { jobProcesses, pair, sees, Talk, TestPeer, until } from './peers.ts'

/** Of a job whose machine was too busy to answer in time: the whole is asked for again. */
const UNANSWERED = /no answer in|not answer (in time|at)|could not be reached in time/

async function household(t: Test): Promise<[TestPeer, TestPeer]> {
  const [home, target] = await Promise.all([TestPeer.start(t, { name: 'home' }), TestPeer.start(t, { name: 'target' })])
  await pair(home, target)
  await Promise.all([sees(home, target), sees(target, home)])
  return [home, target]
}

function sleeper(): { mark: string; argv: string[] } {
  const mark = `9${randomInt(10 ** 9, 10 ** 10)}`
  return { mark, argv: ['sh', '-c', 'exec sleep "$0"', mark] }
}

t.jobs = 2

t.test(
  'outputs are whole and in order, wherever the jobs run; the status counts failures',
  { buffered: true },
  async (t) => {
    const [home, target] = await household(t)
    const script = 'echo out $1; echo err $1 >&2; [ $1 = 1 ] && sleep 0.3; echo more $1; exit $(($1 % 3 == 0))'
    const values = Array.from({ length: 9 }, (_, index) => index + 1)
    for (const where of [['--local'], ['--on', 'target'], []]) {
      const { code, stdout, stderr } = await until('all get an answer', async () => {
        const ended = await home.kappa([
          'each',
          '--plain',
          ...where,
          'sh',
          '-c',
          script,
          'sh',
          ':::',
          ...values.map(String)
        ])
        return !UNANSWERED.test(ended.stderr) && ended
      })
      t.equal(code, 3, where.join(' '))
      t.equal(stdout, values.map((value) => `out ${value}\nmore ${value}\n`).join(''))
      t.equal(stderr, values.map((value) => `err ${value}\n`).join(''))
    }
    const shown = await home.kappa([
      'each',
      '--plain',
      '--tag',
      '--line-buffer',
      'sh',
      '-c',
      script,
      'sh',
      ':::',
      '1',
      '2'
    ])
    t.same(shown.stdout.split('\n').sort(), ['', '1\tmore 1', '1\tout 1', '2\tmore 2', '2\tout 2'])
    const inside = await home.there(target, [join(home.directory, 'nowhere'), 'x'])
    t.equal(inside.code, 127)
  }
)

t.test('values are arguments: nothing in them is run', { buffered: true }, async (t) => {
  const [home] = await household(t)
  const values = [';touch P', '$(touch P)', "it's", 'new\nline', '\xff\xfe', '-n', '']
  const { code, bytes } = await home.kappa(['each', '--plain', '-0', 'printf', '<%s>'], {
    input: Buffer.from(values.map((value) => `${value}\0`).join(''), 'latin1')
  })
  t.equal(code, 0)
  t.equal(bytes.toString('latin1'), values.map((value) => `<${value}>`).join(''))
  const piped = await home.kappa([
    'each',
    '--plain',
    '--sh',
    'printf "<%s>" {} | tr a-z A-Z',
    ':::',
    ';touch P',
    "it's"
  ])
  t.equal(piped.stdout, "<;TOUCH P><IT'S>")
  t.same(readdirSync(home.work), [])
})

t.test(
  'files go and come by placeholders; results are kept; what is not there fails alone',
  { buffered: true },
  async (t) => {
    const [home] = await household(t)
    mkdirSync(join(home.work, 'd'))
    for (const name of ['d/a.txt', 'd/b.txt']) writeFileSync(join(home.work, name), name)
    const options = ['--in', '{}', '--out', '{.}.up', '--results', 'kept']
    const script = 'tr a-z A-Z < "$1" > "$2"; echo did "$1"'
    const values = ['d/a.txt', 'd/none.txt', 'd/b.txt']
    const ended = await home.kappa(['each', ...options, 'sh', '-c', script, 'sh', '{}', '{.}.up', ':::', ...values])
    t.equal(ended.code, 1)
    t.equal(ended.stdout, 'did d/a.txt\ndid d/b.txt\n')
    t.match(ended.stderr, /^kappa: job 2 \(.*\): .*none\.txt.*\n$/)
    t.equal(readFileSync(join(home.work, 'd/b.up'), 'utf8'), 'D/B.TXT')
    t.notOk(existsSync(join(home.work, 'd/none.up')))
    t.equal(readFileSync(join(home.work, 'kept/1/stdout'), 'utf8'), 'did d/a.txt\n')
    t.equal(readFileSync(join(home.work, 'kept/2/status'), 'utf8'), '125\n')
  }
)

t.test(
  'after a crash it goes on: what ended does not run again, what was begun is lost',
  { buffered: true },
  async (t) => {
    const [home] = await household(t)
    const { mark, argv } = sleeper()
    const done = join(home.work, 'done')
    const quoted = argv.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' ')
    // The third does not end by itself, at first.
    const script = `[ "$1" != 3 ] || [ -e again ] || exec ${quoted}\necho "$1" >> done\nexit $(($1 == 2))\n`
    writeFileSync(join(home.work, 'long'), `#!/bin/sh\n${script}`, { mode: 0o755 })
    const each = ['each', '-j1', '--local', '--joblog', 'log', './long', ':::', '1', '2', '3', '4']
    const first = home.spawn(each)
    await until('the third runs', () => jobProcesses(mark).length > 0)
    first.kill('SIGKILL')
    // What runs here is its user's, as without us.
    for (const pid of jobProcesses(mark)) process.kill(pid)
    t.equal(readFileSync(done, 'utf8'), '1\n2\n')
    const second = await home.kappa(['each', '--resume', ...each.slice(1)])
    t.match(second, { code: 1, stderr: /^kappa: job 3 \(\.\/long 3\) was begun and is lost[^\n]*\n$/ })
    t.equal(readFileSync(done, 'utf8'), '1\n2\n4\n')
    writeFileSync(join(home.work, 'again'), '')
    const third = await home.kappa(['each', '--resume', '--retry', '1', ...each.slice(1)])
    t.match(third, { code: 0, stderr: '' })
    t.equal(readFileSync(done, 'utf8'), '1\n2\n4\n3\n')
    t.match(await home.kappa(each), { code: 2, stderr: /log is there already/ })
    t.match(await home.kappa([...each.slice(0, 1), '--resume', ...each.slice(1, -4), 'x']), {
      code: 2,
      stderr: /other jobs/
    })
  }
)

t.test('it ends by a signal, by a reader that has enough, by the first failure', { buffered: true }, async (t) => {
  const [home] = await household(t)
  const { mark, argv } = sleeper()
  const talk = new Talk(home.spawn(['each', '--plain', '-j3', ...argv]))
  talk.child.stdin!.write('1\n2\n')
  await until('two run', () => jobProcesses(mark).length >= 2)
  talk.child.kill('SIGTERM')
  t.match(await talk.ended, { code: null, signal: 'SIGTERM' })
  await until('nothing is left', () => jobProcesses(mark).length === 0)

  const reader = home.spawn([
    'each',
    '--plain',
    'echo',
    ...Array(20).fill('x'.repeat(1000)),
    ':::',
    ...Array(400).fill('y')
  ])
  reader.stdout!.once('data', () => reader.stdout!.destroy())
  t.same(await new Promise((resolve) => reader.once('exit', (...end) => resolve(end))), [null, 'SIGPIPE'])

  const halted = await home.kappa([
    'each',
    '--local',
    '-j1',
    '--halt',
    'now',
    'sh',
    '-c',
    'echo $1; exit $1',
    'sh',
    ':::',
    '0',
    '4',
    '0'
  ])
  t.match(halted, { code: 1, stdout: '0\n4\n' })
  const some = await home.kappa([
    'each',
    '--local',
    '-j1',
    '--halt',
    'soon,success=1',
    'sh',
    '-c',
    'exit $1',
    'sh',
    ':::',
    '3',
    '0',
    '5'
  ])
  t.equal(some.code, 0)
})
