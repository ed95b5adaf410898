import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { firstLine, gather, pair, read, TestPeer, until } from './peers.ts'

const [laptop, desktop] = await Promise.all([
  TestPeer.start(t, { name: 'laptop', config: '[machine]\ncores = 1' }),
  TestPeer.start(t, { name: 'desktop', config: '[guests]\nunsandboxed = false' })
])
await pair(desktop, laptop)
const there = ['run', '--plain', '--on', 'desktop']

t.test('streams, status and silence', async (t) => {
  const run = await laptop.kappa([...there, 'sh', '-c', 'cat; echo oops >&2; exit 3'], { input: 'in\n' })
  t.match(run, { code: 3, stdout: 'in\n', stderr: 'oops\n' })
  const quiet = await laptop.kappa([...there, 'true'])
  t.match(quiet, { code: 0, stdout: '', stderr: '' })
})

t.test('ends', async (t) => {
  for (const [script, code, signal] of [
    ['exit 143', 143, null],
    ['exit 255', 255, null],
    ['kill -TERM $$', null, 'SIGTERM'],
    ['kill -INT $$', null, 'SIGINT'],
    ['kill -KILL $$', 137, null],
    ['kill -SEGV $$', 139, null]
  ] as const) {
    t.match(await laptop.kappa([...there, 'sh', '-c', script]), { code, signal, stderr: '' }, script)
  }
  t.match(await laptop.kappa([...there, 'no-such-program']), {
    code: 127,
    stderr: /^kappa: .*no-such-program.*not found.*desktop/
  })
  t.match(await laptop.kappa([...there, '/etc/passwd']), { code: 126, stderr: /^kappa: .*\/etc\/passwd.*desktop/ })
  t.match(await laptop.kappa([...there, '/etc']), { code: 126, stderr: /^kappa: .*desktop/ })
})

t.test('large streams are byte-exact in both directions at once', async (t) => {
  const data = randomBytes(24 * 1024 * 1024)
  const run = await laptop.kappa([...there, 'sh', '-c', 'tee /dev/stderr'], { input: data })
  t.equal(run.code, 0)
  const hash = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
  t.equal(hash(run.bytes), hash(data))
})

t.test('head ends the job at once', async (t) => {
  const child = laptop.spawn([...there, 'yes'])
  await firstLine(child)
  child.stdout!.destroy()
  const signal = await new Promise((resolve) => child.once('exit', (_, signal) => resolve(signal)))
  t.equal(signal, 'SIGPIPE')
})

t.test('signals reach the job', async (t) => {
  const child = laptop.spawn([
    ...there,
    'sh',
    '-c',
    'trap "echo caught; exit 9" TERM; echo up; while :; do sleep 0.05; done'
  ])
  const ended = gather(child)
  await firstLine(child)
  child.kill('SIGTERM')
  t.match(await ended, { code: 9, stdout: 'up\ncaught\n' })
})

t.test('odd bytes in arguments and environment', async (t) => {
  const script = `printf %s "$1$2" | od -An -tx1; printf %s "$ODD" | od -An -tx1`
  const child = laptop.spawn(['run', '--plain', '--on', 'desktop', 'sh', '-c', script, 'sh', 'new\nline\'"$(x)', ''], {
    env: { ODD: 'a\tb=ü' }
  })
  child.stdin!.end()
  const { stdout } = await gather(child)
  t.equal(stdout.replaceAll(/\s+/g, ' ').trim(), '6e 65 77 0a 6c 69 6e 65 27 22 24 28 78 29 61 09 62 3d c3 bc')
  const long = 'x'.repeat(100_000)
  const many = await laptop.kappa([...there, 'sh', '-c', 'echo ${#1} ${#2}', 'sh', long, long])
  t.match(many, { code: 0, stdout: '100000 100000\n' })
})

t.test('a job sees an empty directory and its own names', async (t) => {
  const run = await laptop.kappa([...there, 'sh', '-c', 'ls -A; pwd; echo $HOME; echo $KAPPA_HOME $KAPPA_TARGET'])
  const [pwd, home, names] = run.stdout.split('\n')
  t.equal(pwd, home)
  t.equal(names, 'laptop desktop')
})

t.test('staged files and directories come and go', async (t) => {
  mkdirSync(join(laptop.work, 'tree/sub'), { recursive: true })
  writeFileSync(join(laptop.work, 'tree/sub/file'), 'inner', { mode: 0o755 })
  symlinkSync('sub/file', join(laptop.work, 'tree/link'))
  writeFileSync(join(laptop.work, 'in.txt'), 'hello\n')
  const script = 'cat in.txt tree/link > out.txt; mkdir -p made/deep; cp -a tree/sub/file made/deep/; ls'
  const run = await laptop.kappa([
    ...['run', '--on', 'desktop', '--in', 'in.txt', '--in', 'tree', '--out', 'out.txt', '--out', 'made'],
    ...['--', 'sh', '-c', script]
  ])
  t.match(run, { code: 0, stdout: 'in.txt\nmade\nout.txt\ntree\n', stderr: '' })
  t.equal(read(laptop, 'out.txt').toString(), 'hello\ninner')
  t.equal(read(laptop, 'made/deep/file').toString(), 'inner')
  t.same(
    readdirSync(laptop.work).filter((name) => name.includes('kappa')),
    [],
    'nothing is left beside them'
  )
  const failed = await laptop.kappa([
    'run',
    '--on',
    'desktop',
    '--out',
    'no.txt',
    'sh',
    '-c',
    'echo x > no.txt; exit 4'
  ])
  t.match(failed, { code: 4, stderr: '' })
  t.notOk(readdirSync(laptop.work).includes('no.txt'), 'none on failure')
  const missing = await laptop.kappa(['run', '--on', 'desktop', '--out', 'never.txt', 'true'])
  t.match(missing, { code: 1, stderr: /^kappa: .*never\.txt/ })
})

t.test('wrong input gets one line and 125', async (t) => {
  for (const [args, words] of [
    [['--cores', '0', 'true'], /--cores/],
    [['--on', 'toaster', 'true'], /no paired machine is called "toaster"/],
    [['--in', 'missing.txt', 'true'], /missing\.txt/],
    [['--in', '../x', 'true'], /\.\./],
    [['--out', '/etc/x', 'true'], /\/etc\/x/],
    [['--what'], /--what/],
    [[], /which command/],
    [['--remote', '--not', 'desktop', 'true'], /nobody could take the job/],
    [['--remote', '--tool', 'no-such-tool', 'true'], /no-such-tool/],
    [['--remote', '--need', 'gpu', 'true'], /gpu/],
    [['--remote', '--memory', '900T', 'true'], /memory/]
  ] as const) {
    const run = await laptop.kappa(['run', '--plain', ...args])
    t.equal(run.code, 125, args.join(' '))
    t.match(run.stderr, words)
    t.match(run.stderr, /^kappa: [^\n]+\n$/, 'one line')
  }
})

t.test('ps and why tell where a job went', async (t) => {
  await laptop.ok([...there, 'true'])
  const [job] = await laptop.jobs()
  t.match(job, { state: 'exited', target: 'desktop', home: 'laptop', exitCode: 0, signal: null, argv: ['true'] })
  const why = JSON.parse(await laptop.ok(['why', '--json', String(job!.id)]))
  t.match(why, { candidates: [{ name: 'desktop' }], hops: Array, refusals: [], timesMs: { placed: Number } })
  await laptop.ok(['run', '--local', 'true'])
  t.match((await laptop.jobs())[0], { state: 'exited', target: 'laptop', exitCode: 0 })
})

t.test('the death of the client ends the job', async (t) => {
  const child = laptop.spawn([...there, 'sh', '-c', 'echo up; sleep 1000'])
  await firstLine(child)
  t.equal((await desktop.status()).slots.used, 1)
  child.kill('SIGKILL')
  await until('the slot is free', async () => (await desktop.status()).slots.used === 0)
  const [job] = await until('its end is known', async () => {
    const jobs = await laptop.jobs()
    return jobs[0]!.state === 'exited' && jobs
  })
  t.match(job, { signal: 'SIGTERM' })
})

t.test('kill and ps', async (t) => {
  const child = laptop.spawn([...there, 'sh', '-c', 'echo up; sleep 1000'])
  const ended = gather(child)
  await firstLine(child)
  const [job] = await laptop.jobs()
  t.match(job, { state: 'running', argv: ['sh', '-c', 'echo up; sleep 1000'] })
  await laptop.ok(['each', '--local', 'true'], { input: '\n'.repeat(60) })
  const newest = await laptop.jobs()
  t.equal(newest.length, 51)
  t.equal(newest.at(-1)!.id, job!.id, 'those that are not over are shown, however old')
  await laptop.ok(['kill', String(job!.id)])
  t.match(await ended, { signal: 'SIGTERM' })
})

const ECHO = ['sh', '-c', 'echo up; exec cat']

t.test('an owner ends one guest', async (t) => {
  const [one, other] = [await laptop.begun(desktop, ECHO), await laptop.begun(desktop, ECHO)]
  const guests = (await desktop.ok(['ps', '--guests', '--json']))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  const [newer] = guests.filter(({ state }) => state === 'running')
  t.match(await desktop.kappa(['kill', newer.id]), { code: 1, stderr: /there is no job/ }, 'it is no job of its own')
  await desktop.ok(['kill', '--guest', newer.id])
  t.match(await other.ended, { code: 137, stderr: /its owner ended it \(on desktop\)/ })
  const gone = await desktop.kappa(['kill', '--guest', newer.id])
  t.match(gone, { code: 1, stderr: /^kappa: no job "\w+" of another machine runs here; see: kappa ps --guests\n/ })
  one.child.stdin!.end()
  t.match(await one.ended, { code: 0, stdout: 'up\n' })
})

t.test('an owner who pauses lending is asked no more', async (t) => {
  await desktop.ok(['pause'])
  const run = await laptop.kappa(['run', '--plain', '--remote', 'true'])
  t.match(run, { code: 125, stderr: /^kappa: .*desktop.*paused/ })
  await desktop.ok(['resume'])
  await until('it lends again', async () => (await laptop.kappa(['run', '--plain', '--remote', 'true'])).code === 0)
})
