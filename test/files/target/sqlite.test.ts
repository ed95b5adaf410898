import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { constants, mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import t, { type Test } from 'tap'
import { needs } from '../../require.ts'
import { fuseUnavailable } from '../fuse/mounted.ts'
import { hasPython, Locker } from './locker.ts'
import { TreeMount } from './tree-mount.ts'

const unavailable = fuseUnavailable() ?? (hasPython ? undefined : 'no python3')
const EACH = 10

/**
 * Answers each line: a statement, by a connection of its own, or with `+` by one that is kept, which `-` closes; `count` adds
 * to the counter, each time in a transaction.
 */
const PROGRAM = `
import sqlite3, sys
def connect(timeout): return sqlite3.connect('db', timeout=timeout, isolation_level=None)
def done(c, statement): return c.execute(statement).fetchone() or ['done']
def count(who):
    c = connect(60)
    for i in range(${EACH}):
        c.execute('begin immediate')
        n, = done(c, 'select n from counter')
        c.execute('update counter set n = ?', (n + 1,))
        c.execute('insert into log values(?, ?)', (who, n + 1))
        c.execute('commit')
    c.close()
    return ['counted']
kept = None
for line in sys.stdin:
    try:
        line = line.strip()
        if line == '-': kept = kept.close(); said = ['closed']
        elif line.startswith('count'): said = count(line)
        elif line.startswith('+'):
            kept = kept or connect(0)
            said = done(kept, line[1:])
        else:
            c = connect(0)
            try: said = done(c, line)
            finally: c.close()
    except sqlite3.Error as error: said = [error]
    print(*said, flush=True)
`

class Database {
  readonly child: ChildProcess
  readonly #answers: ((line: string) => void)[] = []

  constructor(home: string, mount?: TreeMount) {
    const argv = ['python3', '-SE', '-c', PROGRAM]
    this.child = mount?.spawn(home, argv) ?? spawn(argv[0]!, argv.slice(1), { cwd: home, stdio: ['pipe', 'pipe', 2] })
    this.child.stdin?.on('error', () => {})
    createInterface({ input: this.child.stdout! }).on('line', (line) => this.#answers.shift()?.(line))
    this.child.on('close', () => {
      for (const answer of this.#answers.splice(0)) answer('ended')
    })
  }

  ask(line: string): Promise<string> {
    if (this.child.exitCode !== null) return Promise.resolve('ended')
    this.child.stdin?.write(`${line}\n`)
    return new Promise((resolve) => this.#answers.push(resolve))
  }

  async end(signal?: NodeJS.Signals): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return
    const closed = once(this.child, 'close')
    if (signal === undefined) this.child.stdin?.end()
    else this.child.kill(signal)
    await closed
  }
}

/** For all of this. */
const mounts = unavailable === undefined ? [await TreeMount.start(), await TreeMount.start()] : []
t.teardown(async () => {
  for (const mount of mounts) await mount[Symbol.asyncDispose]()
})

/** A database, and who uses it: at home, on one mount, on another, and once more on the first. */
async function place(t: Test, mode: string) {
  const home = mkdtempSync(join(realpathSync(tmpdir()), 'kappa-sqlite-'))
  t.teardown(() => rmSync(home, { recursive: true, force: true }))
  for (const mount of mounts) await mount.settle()
  const [one, two] = mounts
  const all = [new Database(home), new Database(home, one), new Database(home, two), new Database(home, one)] as const
  t.equal(await all[0].ask(`pragma journal_mode=${mode}`), mode)
  for (const statement of [
    'create table counter(n)',
    'insert into counter values(0)',
    'create table log(who, n unique)'
  ])
    t.equal(await all[0].ask(statement), 'done')
  const dispose = async () => {
    for (const database of all) await database.end()
  }
  return { home, all, [Symbol.asyncDispose]: dispose }
}

t.test('writers at home and on two mounts lose nothing of each other', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  await using used = await place(t, 'delete')
  const { all } = used
  const counted = all.map((one, index) => one.ask(`count ${index}`))
  t.same(await Promise.all(counted), Array(4).fill('counted'))
  for (const one of all) {
    t.equal(await one.ask('select n from counter'), String(4 * EACH))
    t.equal(await one.ask('select count(*) from log'), String(4 * EACH))
    t.equal(await one.ask('pragma integrity_check'), 'ok')
  }

  // More than its memory holds: pages of the database are written before it is killed.
  const [home, killed, ...others] = all
  for (const statement of ['pragma cache_size=2', 'begin immediate', 'update log set who = hex(randomblob(5000))'])
    await killed.ask(`+${statement}`)
  for (const one of [home, ...others]) t.equal(await one.ask('select count(*) from log'), 'database is locked')
  await killed.end('SIGKILL')
  for (const one of [...others, home]) {
    t.equal(await one.ask('select count(*) from log where length(who) > 10'), '0', 'it is rolled back')
    t.equal(await one.ask('pragma integrity_check'), 'ok')
  }
})

t.test('with a log ahead (WAL) it is used on one machine at a time', async (t) => {
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return
  await using used = await place(t, 'wal')
  const [home, one, two, other] = used.all
  t.same(await Promise.all([one.ask('count a'), other.ask('count b')]), ['counted', 'counted'])
  t.equal(await home.ask('select n from counter'), String(2 * EACH), 'at home, when it is closed there')

  t.equal(await home.ask('+select n from counter'), String(2 * EACH))
  t.equal(await one.ask('select n from counter'), 'unable to open database file', 'home has it open')
  t.equal(await home.ask('select n from counter'), String(2 * EACH))
  await home.ask('-')

  t.equal(await one.ask('+update counter set n = 7'), 'done')
  // By which SQLite says that it has the memory open; it asks for ten seconds, and then says "locking protocol".
  await using locker = new Locker(used.home)
  await locker.ask(`open shm db-shm ${constants.O_RDWR}`)
  t.equal(await locker.ask('shared shm 128 1'), 'EAGAIN', 'not at home while a job has it open')
  t.equal(await two.ask('select n from counter'), 'unable to open database file', 'on another machine')
  t.equal(await other.ask('select n from counter'), '7', 'on the same')
  await locker.ask('close shm')
  await one.ask('-')
  for (const next of [two, home, one]) t.equal(await next.ask('update counter set n = n + 1'), 'done')
  t.equal(await two.ask('select n from counter'), '10')
  t.equal(await home.ask('pragma integrity_check'), 'ok')
})
