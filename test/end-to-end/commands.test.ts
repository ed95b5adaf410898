/** What the owner of a machine lets guests run there, and what nobody can meet. */

import { writeFileSync } from 'node:fs'
import { getPriority } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { gather, jobProcesses, longJob, pair, TestPeer, until } from './peers.ts'

const [laptop, desktop] = await Promise.all([
  TestPeer.start(t, { name: 'laptop' }),
  TestPeer.start(t, {
    name: 'desktop',
    config: 'guests.nice = 3\nguests.commands = ["friends:cat", "laptop:env", "laptop:/bin/echo"]'
  })
])
await pair(desktop, laptop)

const ONLY = /^kappa: .*desktop: its owner lets this home run only env, \/bin\/echo there, not \S+ \(guests\.commands\)/

t.test('what is allowed runs there', async (t) => {
  t.match(await laptop.there(desktop, ['/bin/echo', 'a']), { code: 0, stdout: 'a\n', stderr: '' })
  t.match(await laptop.there(desktop, ['/usr/bin/env']), { code: 0, stdout: /^KAPPA_TARGET=desktop$/m })
})

t.test('what is not says so, to the user and by why, and runs elsewhere unless told not to', async (t) => {
  for (const command of ['cat', 'echo', '/usr/bin/../bin/env']) {
    t.match(
      await laptop.kappa(['run', '--plain', '--remote', command]),
      { code: 125, stdout: '', stderr: ONLY },
      command
    )
  }
  const [job] = await laptop.jobs()
  t.match(await laptop.ok(['why', String(job!.id)]), /desktop +its owner lets this home run only env, /)
  t.match(await laptop.kappa(['run', '--plain', 'sh', '-c', 'echo $KAPPA_TARGET-']), {
    code: 0,
    stdout: '-\n',
    stderr: ''
  })
})

t.test("a program that a guest brings along is not the owner's of that name", async (t) => {
  writeFileSync(join(laptop.work, 'env'), '#!/bin/sh\necho mine\n', { mode: 0o755 })
  const brought = await laptop.kappa(['run', '--remote', '--in', 'env', './env'])
  t.match(brought, { code: 125, stderr: ONLY })
  const loaded = await laptop.there(desktop, ['env'], { options: ['--env', 'LD_PRELOAD=/x.so', '--env', 'OTHER=1'] })
  t.match(loaded, { code: 0, stdout: /^OTHER=1$/m, stderr: '' })
  t.notMatch(loaded.stdout, /LD_PRELOAD/)
})

t.test('a change holds at once', async (t) => {
  await desktop.ok(['config', 'set', 'guests.commands', '["own:*"]'])
  t.match(await laptop.there(desktop, ['echo', 'b']), { code: 0, stdout: 'b\n' })
  const bad = await desktop.kappa(['config', 'set', 'guests.commands', '["a b"]'])
  t.match(bad, {
    code: 2,
    stderr: /guests\.commands can't be \["a b"\]: it must be a list of commands, such as "ffmpeg"/
  })
})

t.test('jobs that wait know their place in line', async (t) => {
  const hold = () => desktop.spawn(['run', '--local', '--wait', '--cores', '1024', 'cat'])
  const first = hold()
  await until('it runs', async () => (await desktop.jobs()).some(({ state }) => state === 'running'))
  const second = hold()
  await until('it waits', async () => (await desktop.jobs()).some(({ position }) => position === 1))
  const third = desktop.spawn(['run', '-v', '--local', '--wait', '--cores', '1024', 'echo', 'at last'])
  const ended = gather(third)
  await until('one more waits', async () => (await desktop.jobs()).some(({ position }) => position === 2))
  t.match(await desktop.ok(['ps']), /queued, 2 .*\n.*queued, 1 .*\n.*running/)
  first.stdin!.end()
  await until('it has moved up', async () => {
    const [job] = await desktop.jobs()
    return job!.state === 'queued' && job!.position === 1
  })
  second.stdin!.end()
  const stderr =
    /^kappa: waiting for a free slot, number 2 in line\n(?:kappa: waiting .* 1 in line\n)?kappa: running here/
  t.match(await ended, { code: 0, stdout: 'at last\n', stderr })
})

t.test('a job whose machine is wanted back is tried again by the word of its user', async (t) => {
  await desktop.ok(['config', 'set', 'guests.commands', '[]'])
  const child = laptop.spawn(['run', '--plain', '-v', '--remote', '--retry', '1', 'sleep', '1000'])
  const ended = gather(child)
  child.stdin!.end()
  await until('it runs', async () => (await laptop.jobs())[0]!.state === 'running')
  await desktop.ok(['pause', '--now'])
  const stderr =
    /its owner wants the machine back \(on desktop\); trying again now\n.*desktop: its owner paused lending\. /
  t.match(await ended, { code: 125, stdout: '', stderr })
  await desktop.ok(['resume'])
  const lends = async () => (await laptop.there(desktop, ['true'])).code === 0
  await until('it is heard to lend again', lends)
})

t.test('--nice is the niceness there too, unless guests have more', async (t) => {
  // Of the tests, and so of the client and of the daemon there.
  const own = getPriority()
  for (const asked of [1, 9]) {
    const { stdout } = await laptop.there(desktop, ['nice'], { options: ['--nice', String(asked)] })
    t.equal(Number(stdout), Math.min(19, own + 3 + Math.max(0, Math.max(asked, own) - 3)), `--nice ${asked}`)
  }
})

t.test('--timeout ends a job there with all that it started', async (t) => {
  const { mark, argv } = longJob()
  const run = await laptop.there(desktop, argv, { options: ['--timeout', '1'] })
  t.match(run, { code: 124, stderr: '' })
  await until('nothing is left', () => jobProcesses(mark).length === 0)
})

t.test('what nobody can meet is said, with what each lacks and the next step', async (t) => {
  const cases: [string[], RegExp][] = [
    [
      ['--memory', '900T', 'true'],
      /: desktop: has .* of memory for guests at most, 921600 GiB needed; this machine: has /
    ],
    [
      ['--tool', 'nosuch', 'true'],
      /: desktop: has no nosuch; this machine: has no nosuch\. Ask for less, or see: kappa/
    ],
    [['--need', 'gpu', 'true'], /: desktop: has no label gpu; this machine: has no label gpu\. Ask for less, or see/],
    [['--remote', '--need', 'gpu', 'true'], /: desktop: has no label gpu\. Ask for less, or see: kappa why/],
    [['--on', 'nobody', 'true'], /^kappa: no paired machine is called "nobody"; paired are: desktop\n$/],
    [
      ['--not', 'laptop,desktop', 'true'],
      /: --not excludes laptop, desktop, and nobody else is connected\. Run it here/
    ],
    [['--wait', '--need', 'gpu', 'true'], /: desktop: has no label gpu; this machine: has no label gpu\. Ask for less/]
  ]
  for (const [args, stderr] of cases) {
    const run = await laptop.kappa(['run', '--plain', ...args])
    t.match(run, { code: 125, stdout: '', stderr }, args.join(' '))
    t.equal(run.stderr.split('\n').length, 2, 'one line')
  }
  t.match(await laptop.kappa(['run', '--plain', '--cores', '64', 'echo', 'all of it']), {
    code: 0,
    stdout: 'all of it\n'
  })
})

t.test('a program that goes along goes to its own kind of machine alone', async (t) => {
  const foreign = Buffer.alloc(128)
  foreign.write('\x7fELF\x02\x01\x01', 'latin1')
  foreign.writeUInt16LE(process.arch === 'arm64' ? 62 : 183, 18)
  writeFileSync(join(laptop.work, 'foreign'), foreign, { mode: 0o755 })
  const [has, needed] = process.arch === 'arm64' ? ['arm64', 'x64'] : ['x64', 'arm64']
  const lacks = `is ${has}, ${needed} needed`
  for (const words of [['./foreign'], ['nice', './foreign']]) {
    const run = await laptop.kappa(['run', '--in', 'foreign', ...words])
    t.match(run, { code: 125, stderr: `: desktop: ${lacks}; this machine: ${lacks}. Ask for less, or see` })
  }
})
