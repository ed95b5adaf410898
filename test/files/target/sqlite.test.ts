import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { constants, mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import t, { type Test } from 'tap'
import { needs } from '../../require.ts'
import { finished, fuseUnavailable } from '../fuse/mounted.ts'
import { hasPython, Locker } from './locker.ts'
import { TreeMount } from './tree-mount.ts'

const unavailable = fuseUnavailable() ?? (hasPython ? undefined : 'no python3')
const EACH = 15

const COUNT = `
import sqlite3, sys
c = sqlite3.connect('db', timeout=60, isolation_level=None)
for i in range(${EACH}):
    c.execute('begin immediate')
    n, = c.execute('select n from counter').fetchone()
    c.execute('update counter set n = ?', (n + 1,))
    c.execute('insert into log values(?, ?)', (sys.argv[1], n + 1))
    c.execute('commit')
print('counted')
`

/** A statement; or what SQLite says. */
const DO = `
import sqlite3, sys
try:
    c = sqlite3.connect('db', timeout=0, isolation_level=None)
    print(*c.execute(sys.argv[1]).fetchone() or ['done'])
except sqlite3.Error as error: print(error)
`

/** Statements line by line. */
const KEEP = `
import sqlite3, sys
try:
    c = sqlite3.connect('db', timeout=0, isolation_level=None)
    for line in sys.stdin:
        try: print(*c.execute(line).fetchone() or ['done'], flush=True)
        except sqlite3.Error as error: print(error, flush=True)
except sqlite3.Error as error: print(error, flush=True)
`

async function place(t: Test, mode: string) {
  const home = mkdtempSync(join(realpathSync(tmpdir()), 'kappa-sqlite-'))
  t.teardown(() => rmSync(home, { recursive: true, force: true }))
  const native = (program: string, ...args: string[]) =>
    execFileSync('python3', ['-c', program, ...args], { cwd: home, encoding: 'utf8' }).trim()
  t.equal(native(DO, `pragma journal_mode=${mode}`), mode)
  native(DO, 'create table counter(n)')
  native(DO, 'insert into counter values(0)')
  native(DO, 'create table log(who, n unique)')
  const mounts = [await TreeMount.start(), await TreeMount.start()] as const
  /** On a mount, or at home. */
  const run = async (mount: TreeMount | undefined, program: string, ...args: string[]) => {
    const argv = ['python3', '-c', program, ...args]
    const child = mount?.spawn(home, argv) ?? spawn(argv[0]!, argv.slice(1), { cwd: home })
    child.stdin?.end()
    const { stdout, stderr } = await finished(child, 'sqlite', 120_000)
    return (stdout + stderr).trim()
  }
  const dispose = async () => {
    for (const mount of mounts) await mount[Symbol.asyncDispose]()
  }
  return { home, mounts, run, [Symbol.asyncDispose]: dispose }
}

t.test('writers at home and on two mounts lose nothing of each other', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  await using all = await place(t, 'delete')
  const [one, two] = all.mounts
  const counted = [undefined, one, two, one].map((mount, index) => all.run(mount, COUNT, String(index)))
  t.same(await Promise.all(counted), Array(4).fill('counted'))
  for (const mount of [undefined, one, two]) {
    t.equal(await all.run(mount, DO, 'select n from counter'), String(4 * EACH))
    t.equal(await all.run(mount, DO, 'select count(*) from log'), String(4 * EACH))
    t.equal(await all.run(mount, DO, 'pragma integrity_check'), 'ok')
  }
})

/** A connection that is kept; it answers line by line. */
function connection(child: ChildProcess) {
  const answers: ((line: string) => void)[] = []
  createInterface({ input: child.stdout! }).on('line', (line) => answers.shift()?.(line))
  const ask = (statement: string): Promise<string> => {
    child.stdin?.write(`${statement}\n`)
    return new Promise((resolve) => answers.push(resolve))
  }
  const close = (): Promise<unknown> => {
    child.stdin?.end()
    return once(child, 'close')
  }
  return { ask, close }
}

t.test('with a log ahead (WAL) it is used on one machine at a time', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  await using all = await place(t, 'wal')
  const { home, run } = all
  const [one, two] = all.mounts
  t.same(await Promise.all([run(one, COUNT, 'a'), run(one, COUNT, 'b')]), ['counted', 'counted'])
  t.equal(await run(undefined, DO, 'select n from counter'), String(2 * EACH), 'at home, when it is closed there')

  const keep = ['python3', '-c', KEEP]
  const here = connection(spawn(keep[0]!, keep.slice(1), { cwd: home, stdio: ['pipe', 'pipe', 2] }))
  t.equal(await here.ask('select n from counter'), String(2 * EACH))
  t.equal(await run(one, DO, 'select n from counter'), 'unable to open database file', 'home has it open')
  t.equal(await run(undefined, DO, 'select n from counter'), String(2 * EACH))
  await here.close()

  const there = connection(one.spawn(home, keep))
  t.equal(await there.ask('update counter set n = 7'), 'done')
  // By which SQLite says that it has the memory open; it asks for ten seconds, and then says "locking protocol".
  await using locker = new Locker(home)
  await locker.ask(`open shm db-shm ${constants.O_RDWR}`)
  t.equal(await locker.ask('shared shm 128 1'), 'EAGAIN', 'not at home while a job has it open')
  t.equal(await run(two, DO, 'select n from counter'), 'unable to open database file', 'on another machine')
  t.equal(await run(one, DO, 'select n from counter'), '7', 'on the same')
  await locker.ask('close shm')
  await there.close()
  for (const mount of [two, undefined, one]) t.equal(await run(mount, DO, 'update counter set n = n + 1'), 'done')
  t.equal(await run(two, DO, 'select n from counter'), '10')
  t.equal(await run(undefined, DO, 'pragma integrity_check'), 'ok')
})
