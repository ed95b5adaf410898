import { spawnSync } from 'node:child_process'
import t, { type Test } from 'tap'
import { abortScript } from '../../../src/files/fuse/mount.ts'
import { needs } from '../../require.ts'
import { finished, fuseUnavailable, Mounted, type Ran } from './mounted.ts'

const unavailable = fuseUnavailable()

/** Programs that wait for an answer, each in a way of its own; the last one for the lock of the directory that the first has. */
async function waiting(mounted: Mounted) {
  await mounted.ask('hold', { on: true })
  const ends: Promise<Ran>[] = []
  for (const [i, script] of ['cat +hold', 'cat held', 'exec 9>+hold2'].entries()) {
    await mounted.until(({ waiting }) => waiting === i)
    ends.push(finished(mounted.spawn(script), script))
  }
  return ends
}

/** All end; the last one may have come too late to the mount to notice anything. */
async function gaveUp(t: Test, ends: Promise<Ran>[]) {
  const [one, two] = await Promise.all(ends)
  for (const ran of [one, two]) t.match(ran, { stderr: /(Host is down|connection abort|not connected)/ })
}

t.test('closed by the server: what waits and what comes gets its error, and the server ends', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  await using mounted = await Mounted.start()
  const ends = await waiting(mounted)
  // Blocked until the answer: the lock of the page, and that of the directory.
  const blocked = Promise.all([
    mounted.ask('invalidateInode', { name: 'held' }),
    mounted.ask('invalidateEntry', { name: 'x' })
  ]).catch(() => {})
  t.equal(await mounted.ask('close'), 'closed')
  await blocked
  // The kernel tries to read a page again by itself, and the last program had not asked yet.
  t.match(await ends[0], { stderr: /Host is down/ })
  await gaveUp(t, ends)
  t.match(await mounted.over, { code: 0, signal: null, stderr: '' })
})

t.test('unmounted', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  await using mounted = await Mounted.start()
  await mounted.run(`ls; cd /; umount -i ${mounted.directory}`)
  const { stdout, code } = await mounted.over
  t.match(stdout, /"end":"unmounted","faults":\[\]/)
  t.equal(code, 0)
})

t.test('aborted in the midst of requests', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  await using mounted = await Mounted.start()
  const ends = await waiting(mounted)
  const blocked = mounted.ask('invalidateInode', { name: 'held' }).catch(() => {})
  await mounted.run(`cd /; ${abortScript(mounted.mount)}`)
  await gaveUp(t, ends)
  const { stdout, code } = await mounted.over
  t.match(stdout, /"end":"unmounted","faults":\[\]/)
  t.equal(code, 0)
  await blocked
})

t.test('the server is stopped: whoever has the mount can still end it', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  await using mounted = await Mounted.start()
  const ends = await waiting(mounted)
  mounted.server.kill('SIGSTOP')
  const late = mounted.run('ls late')
  const enter = ['-t', String(mounted.server.pid), '-U', '-m', '--preserve-credentials', 'sh', '-c']
  const abort = spawnSync('nsenter', [...enter, abortScript(mounted.mount)], { timeout: 30_000, encoding: 'utf8' })
  t.match(abort, { status: 0, stderr: '' })
  await gaveUp(t, ends)
  t.not((await late).code, 0)
  mounted.server.kill('SIGCONT')
  t.match(await mounted.over, { code: 0 })
})

t.test('the server is killed: what waits ends, and so does the server', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  await using mounted = await Mounted.start()
  const ends = await waiting(mounted)
  mounted.server.kill('SIGKILL')
  t.match(await mounted.over, { signal: 'SIGKILL' })
  await gaveUp(t, ends)
})

t.test('the server exits without closing', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  await using mounted = await Mounted.start()
  const ends = await waiting(mounted)
  mounted.ask('exit').catch(() => {})
  t.match(await mounted.over, { code: 0, signal: null })
  await gaveUp(t, ends)
})
