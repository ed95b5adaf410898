import { spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { holderOf, takeLock } from '../../src/daemon/lock.ts'

const TAKER = join(import.meta.dirname, 'lock-taker.ts')

/** A process that tries to take the lock; its first line. */
function taker(path: string) {
  const child = spawn(process.execPath, [TAKER, path], { stdio: ['pipe', 'pipe', 'inherit'] })
  const exited = new Promise((resolve) => child.once('exit', resolve))
  const said = new Promise<string>((resolve) => child.stdout.once('data', (text) => resolve(String(text).trim())))
  return { child, said, exited }
}

t.test('one at a time, within a process too', async (t) => {
  const path = join(t.testdir(), 'lock')
  const lock = takeLock(path)
  t.equal(holderOf(path), process.pid)
  t.throws(() => takeLock(path), { name: 'DaemonError', message: /runs already/ })
  t.match(await taker(path).said, new RegExp(`process ${process.pid}`))
  lock.release()
  t.equal(existsSync(path), false)
  takeLock(path).release()
})

t.test('a lock of the dead, of a number given away since, or of garbage is stale', async (t) => {
  const path = join(t.testdir(), 'lock')
  const { child, said, exited } = taker(path)
  t.equal(await said, 'taken')
  child.kill('SIGKILL')
  await exited
  for (const content of [readFileSync(path), `${process.pid} 1\n`, '', 'garbage', '1', '-1 -1', '\0\0\0\0']) {
    writeFileSync(path, content)
    t.equal(holderOf(path), undefined)
    const lock = takeLock(path)
    t.equal(holderOf(path), process.pid)
    lock.release()
  }
})

t.test('a lock of one that is dead and not reaped is stale', async (t) => {
  const path = join(t.testdir(), 'lock')
  // Its parent becomes a program that reaps nobody. A shell gives what it puts in the background an empty stdin, and a
  // taker ends with its stdin.
  const parent = spawn('sh', ['-c', 'exec 3<&0; "$0" "$1" "$2" <&3 & echo $!; exec cat', process.execPath, TAKER, path])
  t.teardown(() => parent.kill('SIGKILL'))
  const pid = Number(await new Promise((resolve) => parent.stdout.once('data', (text) => resolve(String(text)))))
  while (holderOf(path) !== pid) await delay(10)
  process.kill(pid, 'SIGKILL')
  while (!/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))) await delay(10)
  t.equal(holderOf(path), undefined)
  takeLock(path).release()
})

t.test('a process that replaced itself finds its own lock', async (t) => {
  const path = join(t.testdir(), 'lock')
  const lock = takeLock(path)
  const content = readFileSync(path)
  lock.release()
  writeFileSync(path, content)
  takeLock(path).release()
})

t.test('of many that find a stale lock at once, one gets it', async (t) => {
  const directory = t.testdir()
  const path = join(directory, 'lock')
  for (let round = 0; round < 3; round++) {
    writeFileSync(path, '999999999 5\n')
    const takers = Array.from({ length: 8 }, () => taker(path))
    const said = await Promise.all(takers.map((one) => one.said))
    t.equal(said.filter((line) => line === 'taken').length, 1, said.join('; '))
    for (const { child } of takers) child.stdin.end()
    await Promise.all(takers.map(({ exited }) => exited))
    t.same(readdirSync(directory), [], 'nothing is left behind')
  }
})

t.test('a lock is released by who holds it', async (t) => {
  const path = join(t.testdir(), 'lock')
  const lock = takeLock(path)
  writeFileSync(path, '1 1\n')
  lock.release()
  t.equal(readFileSync(path, 'latin1'), '1 1\n')
})
