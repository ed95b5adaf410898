import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmodSync, lutimesSync, mkdirSync, symlinkSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import t from 'tap'
import { prepareIns, unpackIns } from '../../src/execution/staging.ts'
import { finish, place, sandboxed, specOf } from './executing.ts'
import { cut, listing, stageIn } from './staging.ts'

/** A tree with everything that can be staged. */
function makeTree(directory: string): void {
  mkdirSync(`${directory}/tree/deep/er`, { recursive: true })
  mkdirSync(`${directory}/tree/empty`)
  writeFileSync(`${directory}/tree/program`, '#!/bin/sh\n', { mode: 0o755 })
  writeFileSync(`${directory}/tree/deep/er/zero`, '')
  writeFileSync(`${directory}/tree/deep/secret`, 'x', { mode: 0o600 })
  writeFileSync(Buffer.from(`${directory}/tree/odd \xff\n'name`, 'latin1'), 'odd')
  writeFileSync(`${directory}/tree/big`, randomBytes(700_001))
  symlinkSync('../program', `${directory}/tree/deep/link`)
  symlinkSync('/nowhere', `${directory}/tree/dangling`)
  chmodSync(`${directory}/tree/deep`, 0o550)
  utimesSync(`${directory}/tree/program`, 1_000_000.123, 1_000_000.123)
  utimesSync(`${directory}/tree/empty`, 5, 5)
  lutimesSync(`${directory}/tree/dangling`, 5, 5)
}

t.test('a tree arrives as it is: names, modes, times, links, empty directories', async (t) => {
  const [from, to] = [place(t), place(t)]
  makeTree(from)
  await stageIn(['tree'], from, to)
  t.same(listing(to), listing(from))
  const again = place(t)
  await unpackIns(cut((await prepareIns(['tree'], from)).pack(), 7), { directory: again, uid: 0, gid: 0 })
  t.same(listing(again), listing(from), 'in pieces of any size')
})

t.test('names keep their relative places; the whole directory can be named', async (t) => {
  const [from, to, all] = [place(t), place(t), place(t)]
  mkdirSync(`${from}/a/b`, { recursive: true })
  writeFileSync(`${from}/a/b/c`, '1')
  writeFileSync(`${from}/a/not`, '2')
  writeFileSync(`${from}/top`, '3')
  symlinkSync('top', `${from}/named`)
  await stageIn(['./a//b/c', 'a/b', 'top', 'named', 'top'], from, to)
  t.same(Object.keys(listing(to)).sort(), ['a', 'a/b', 'a/b/c', 'named', 'top'])
  t.match(listing(to).named, /^file .*3$/, 'a link that the user names is what it leads to')
  await stageIn(['.', 'top'], from, all)
  t.same(listing(all), listing(from))
})

t.test('what cannot be staged is named before anything is sent', async (t) => {
  const from = place(t)
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(`${from}/socket`, resolve))
  t.teardown(() => server.close())
  execFileSync('mkfifo', [`${from}/fifo`])
  mkdirSync(`${from}/directory`)
  execFileSync('mkfifo', [`${from}/directory/inner`])
  symlinkSync('gone', `${from}/dangling`)
  const reasons = {
    missing: 'there is no such file',
    'missing/below': 'there is no such file',
    dangling: 'there is no such file',
    socket: 'it is a socket',
    fifo: 'it is a FIFO',
    directory: 'it is a FIFO'
  }
  for (const [name, reason] of Object.entries(reasons)) {
    const message = new RegExp(`^--in ${name}.*: ${reason}$`)
    await t.rejects(prepareIns([name], from), { name: 'StagingError', message }, name)
  }
  for (const name of ['', '/etc/passwd', '..', 'a/../../b', `${'x'.repeat(256)}`, 'a\0b']) {
    await t.rejects(prepareIns([name], from), { name: 'UsageError' }, JSON.stringify(name))
  }
})

t.test('a file that the user cannot read is named', async (t) => {
  const from = place(t)
  if (process.getuid?.() === 0) {
    t.pass('root reads everything; unprivileged.test.ts runs this as another user')
    return
  }
  writeFileSync(`${from}/unreadable`, 'x', { mode: 0 })
  await t.rejects(prepareIns(['unreadable'], from), { name: 'StagingError', message: /permission denied/ })
})

t.test('a file that shrinks on the way breaks the staging off', async (t) => {
  const [from, to] = [place(t), place(t)]
  writeFileSync(`${from}/file`, randomBytes(2_000_000))
  const stream = (await prepareIns(['file'], from)).pack()
  async function* shrinking() {
    let first = true
    for await (const piece of stream) {
      yield piece
      if (first) truncateSync(`${from}/file`, 10)
      first = false
    }
  }
  await t.rejects(unpackIns(shrinking(), { directory: to, uid: 0, gid: 0 }), {
    name: 'StagingError',
    message: /shorter/
  })
})

t.test('a job works on staged files as their owner', async (t) => {
  const executor = await sandboxed(t)
  if (executor === null) return
  const from = place(t)
  makeTree(from)
  const job = await executor.begin(
    specOf(['sh', '-c', 'find tree ! -user "$(id -u)"; cat tree/deep/secret; chmod u+w tree/deep; rm -r tree'])
  )
  await unpackIns((await prepareIns(['tree'], from)).pack(), job.stage)
  const { out, err, end } = await finish(job)
  t.equal(out.toString() + err.toString(), 'x')
  t.same(end, { exitCode: 0, signal: null })
})
