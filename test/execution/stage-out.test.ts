import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { packOuts, receiveOuts } from '../../src/execution/staging.ts'
import { place, sandboxed, specOf } from './executing.ts'
import { listing, stageOut } from './staging.ts'

const SELF = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }

t.test('outs come to where they are named, directories with all that is in them', async (t) => {
  const [from, to] = [place(t), place(t)]
  mkdirSync(`${from}/out/sub/empty`, { recursive: true })
  writeFileSync(`${from}/out/sub/file`, 'new', { mode: 0o640 })
  symlinkSync('sub/file', `${from}/out/link`)
  chmodSync(`${from}/out/sub`, 0o555)
  mkdirSync(`${from}/x/y`, { recursive: true })
  writeFileSync(`${from}/x/y/z.o`, 'object')
  writeFileSync(`${from}/x/y/other`, 'not asked for')
  execFileSync('mkfifo', [`${from}/out/fifo`])
  await stageOut(['out', 'x/y/z.o'], from, to)
  const { 'x/y/other': _, 'out/fifo': __, x: ___, 'x/y': ____, out: _____, ...asked } = listing(from)
  const { x, 'x/y': y, out, ...came } = listing(to)
  t.same(came, asked)
  t.same(
    [x, y, out].map((entry) => entry?.slice(0, 9)),
    ['directory', 'directory', 'directory']
  )
})

t.test('what is there is replaced; what the job does not have stays', async (t) => {
  const [from, to] = [place(t), place(t)]
  for (const [directory, text] of [
    [from, 'new'],
    [to, 'old']
  ] as const) {
    mkdirSync(`${directory}/out/sub`, { recursive: true })
    writeFileSync(`${directory}/out/sub/both`, text)
    writeFileSync(`${directory}/out/${text}`, text)
    writeFileSync(`${directory}/file`, text)
  }
  mkdirSync(`${from}/out/fresh`, { mode: 0o555 })
  await stageOut(['out', 'file'], from, to)
  t.same(Object.keys(listing(to)).sort(), ['file', 'out', 'out/fresh', 'out/new', 'out/old', 'out/sub', 'out/sub/both'])
  t.equal(readFileSync(`${to}/out/sub/both`, 'utf8'), 'new')
  t.equal(readFileSync(`${to}/out/old`, 'utf8'), 'old')
  t.equal(readFileSync(`${to}/file`, 'utf8'), 'new')
  t.match(listing(to)['out/fresh'], /^directory 555/)
})

t.test('an out that was not produced leaves everything as it was', async (t) => {
  const [from, to] = [place(t), place(t)]
  writeFileSync(`${from}/there`, 'new')
  writeFileSync(`${to}/there`, 'old')
  const before = listing(to)
  const lacking = stageOut(['there', 'deep/missing'], from, to)
  await t.rejects(lacking, { name: 'StagingError', message: '--out deep/missing: there is no such file' })
  t.same(listing(to), before)
  await stageOut(['there', 'deep/missing'], from, to, 'friend', true)
  t.equal(readFileSync(`${to}/there`, 'utf8'), 'new', 'unless what there is was wanted')
})

t.test('an out of the other kind is refused, whole', async (t) => {
  const [from, to] = [place(t), place(t)]
  mkdirSync(`${from}/a`)
  writeFileSync(`${from}/a/f`, 'new')
  writeFileSync(`${from}/b`, 'new')
  writeFileSync(`${to}/a`, 'a file')
  await t.rejects(stageOut(['b', 'a'], from, to), { name: 'StagingError', message: /move it away/ })
  t.same(Object.keys(listing(to)), ['a'])
  mkdirSync(`${to}/b`)
  await t.rejects(stageOut(['b'], from, to), {
    name: 'StagingError',
    message: /there is a directory in the place of a file/
  })
  await t.rejects(stageOut(['.'], from, to), { name: 'StagingError' })
  await t.rejects(stageOut(['/x'], from, to), { name: 'UsageError' })
})

t.test('outs that are given up leave nothing', async (t) => {
  const [from, to] = [place(t), place(t)]
  mkdirSync(`${from}/x/y`, { recursive: true })
  writeFileSync(`${from}/x/y/z`, 'new')
  const names = ['x/y/z']
  const received = await receiveOuts(packOuts(names, { directory: from, ...SELF }), {
    names,
    directory: to,
    kind: 'own'
  })
  await received.discard()
  t.same(listing(to), {})
})

t.test("a guest's links are sent, never followed", async (t) => {
  const executor = await sandboxed(t)
  if (executor === null) return
  const [secrets, to] = [place(t), place(t)]
  writeFileSync(`${secrets}/secret`, 'SECRET')
  const script = `mkdir d; ln -s ${secrets}/secret file; ln -s ${secrets} d/dir; ln -s ${secrets} dir; ln -s /etc etc`
  const job = await executor.begin(specOf(['sh', '-c', script]))
  job.start()
  await job.ended
  const take = async (name: string) => {
    const received = await receiveOuts(packOuts([name], job.stage), { names: [name], directory: to, kind: 'own' })
    await received.commit()
  }
  await take('file')
  await take('d')
  t.match(
    listing(to),
    { file: `link ${secrets}/secret`, 'd/dir': `link ${secrets}` },
    'an own machine may send any link'
  )
  for (const name of ['dir/secret', 'd/dir/secret', 'etc/passwd']) {
    await t.rejects(take(name), { message: `--out ${name}: there is no such file` }, name)
  }
  await job.close()
})

t.test("a friend's links may not lead out of their out", async (t) => {
  const links = [
    ['/etc/passwd', 'out/l', false],
    ['../x', 'out/l', false],
    ['..', 'out/l', false],
    ['a/../../x', 'out/l', false],
    ['sub/..', 'out/l', false],
    ['../../x', 'out/sub/l', false],
    ['../f', 'out/sub/l', true],
    ['f', 'out/l', true],
    ['.//f', 'out/l', true],
    ['.', 'out/l', true]
  ] as const
  for (const [target, path, allowed] of links) {
    const [from, to] = [place(t), place(t)]
    mkdirSync(`${from}/out/sub`, { recursive: true })
    symlinkSync(target, `${from}/${path}`)
    const staged = stageOut(['out'], from, to)
    if (allowed) await t.resolves(staged, `${path} → ${target}`)
    else await t.rejects(staged, { name: 'StagingError', message: /leads out of it/ }, `${path} → ${target}`)
    await t.resolves(stageOut(['out'], from, place(t), 'own'))
    if (!allowed) t.same(listing(to), {}, 'nothing is left')
  }
})

t.test('links that a job puts in the place of its own directories lead to nothing of the owner', async (t) => {
  const owner = place(t)
  mkdirSync(`${owner}/home`)
  writeFileSync(`${owner}/secret`, 'SECRET')
  writeFileSync(`${owner}/home/secret`, 'SECRET')
  const executor = await sandboxed(t)
  if (executor === null) return
  const scripts = {
    'its working directory': `cd ..; mv home old; ln -s ${owner} home`,
    'the directory around it': `cd /; w=\${HOME%/home}; chmod 700 /work; mv $w $w.old; ln -s ${owner} $w`,
    'all that it may replace': `cd /; rm -rf "$HOME"; ln -s ${owner} "$HOME"; ln -s ${owner} "$HOME/../old"`
  }
  for (const [name, script] of Object.entries(scripts)) {
    const job = await executor.begin(specOf(['sh', '-c', script]))
    job.start()
    await job.ended
    const to = place(t)
    const received = await receiveOuts(packOuts(['secret'], job.stage), {
      names: ['secret'],
      directory: to,
      kind: 'own'
    })
    t.match(received.problems, [/no such file/], name)
    await received.discard()
    t.same(listing(to), {}, name)
    await job.close()
    t.equal(Object.keys(listing(owner)).length, 3, `${name}: the owner's files are as they were`)
  }
})
