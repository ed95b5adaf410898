import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import t, { type Test } from 'tap'
import { History, type JobRecord } from '../../src/daemon/history.ts'
import { logLines } from './log-lines.ts'

const DAY_MS = 86_400_000

function job(id: string, changes: Partial<JobRecord> = {}): JobRecord {
  return {
    id,
    role: 'home',
    home: 'me',
    target: 'nas',
    state: 'exited',
    argv: [Buffer.from('true')],
    startedAt: 1_000,
    endedAt: 2_000,
    exitCode: 0,
    signal: null,
    reason: 'faster',
    trace: null,
    error: null,
    ticket: null,
    ...changes
  }
}

function open(t: Test, state = t.testdir(), now = () => 5_000) {
  const log = logLines()
  const history = new History(state, log, now)
  t.teardown(() => history.close())
  return { history, log, state }
}

t.test('nothing is opened before it is needed', async (t) => {
  const { state } = open(t)
  t.strictSame(readdirSync(state), [])
})

t.test('a job comes back as it was kept, odd bytes included', async (t) => {
  const { history, state } = open(t)
  const kept = job('abcd', {
    argv: [Buffer.from([0xff, 0x80]), Buffer.from(''), Buffer.from('a\nb')],
    trace: { candidates: [], hops: ['nas'], refusals: [], placedMs: 1.5, reason: 'faster' },
    error: { name: 'LostError', message: 'x' },
    exitCode: null,
    signal: 'SIGTERM'
  })
  history.record(kept)
  history.close()
  const found = open(t, state).history.find('abcd')
  t.strictSame(
    { ...found, argv: found.argv.map((word) => [...word]) },
    { ...kept, argv: kept.argv.map((word) => [...word]) }
  )
})

t.test('the newest state counts', async (t) => {
  const { history } = open(t)
  history.record(job('abcd', { state: 'running', endedAt: null, exitCode: null }))
  t.match(history.find('abcd'), { state: 'running', exitCode: null })
  history.record(job('abcd', { exitCode: 3 }))
  t.match(history.find('abcd'), { state: 'exited', exitCode: 3 })
  t.equal(history.latest('home', 10).length, 1)
})

t.test('a job is found by an unambiguous start of its id', async (t) => {
  const { history } = open(t)
  for (const id of ['abcd', 'abxy', 'abxyzzzz', 'qrst']) history.record(job(id))
  history.record(job('zzzz', { role: 'guest', home: 'you' }))
  t.equal(history.find('q').id, 'qrst')
  t.equal(history.find('abc').id, 'abcd')
  t.equal(history.find('abxy').id, 'abxy', 'a whole id goes before the start of another')
  t.equal(history.find('z', 'guest').home, 'you')
  t.throws(() => history.find('ab'), { name: 'AmbiguousNameError', message: /abcd, abxy, abxyzzzz/ })
  for (const prefix of ['', 'zz', '%', "a' OR 1=1", '\x1b']) {
    t.throws(() => history.find(prefix), { name: 'UnknownJobError', message: /kappa ps/ }, prefix)
  }
})

t.test('guests of different homes may have the same id', async (t) => {
  const { history } = open(t)
  history.record(job('abcd', { role: 'guest', home: 'one', startedAt: 1 }))
  history.record(job('abcd', { role: 'guest', home: 'two', startedAt: 2 }))
  t.strictSame(
    history.latest('guest', 10).map(({ home }) => home),
    ['two', 'one']
  )
})

t.test('the latest come first, and no more than asked for', async (t) => {
  const { history } = open(t)
  for (let index = 0; index < 20; index++) history.record(job(`job${index}`, { startedAt: index }))
  t.strictSame(
    history.latest('home', 3).map(({ id }) => id),
    ['job19', 'job18', 'job17']
  )
})

t.test('ids are short, begin with a letter and are not given twice', async (t) => {
  const { history } = open(t)
  const ids = new Set<string>()
  for (let index = 0; index < 1_000; index++) {
    const id = history.newId('me')
    t.match(id, /^[a-z][a-z2-7]{3}$/)
    ids.add(id)
    history.record(job(id))
  }
  t.equal(ids.size, 1_000)
})

t.test('counts where the last hundred jobs ran, and why', async (t) => {
  const { history } = open(t)
  for (let index = 0; index < 150; index++) {
    const here = index % 4 === 0
    history.record(
      job(`j${index}`, { startedAt: index, target: here ? 'me' : 'nas', reason: here ? 'idle here' : 'faster' })
    )
  }
  t.strictSame(history.counts(), [
    { target: 'nas', reason: 'faster', count: 75 },
    { target: 'me', reason: 'idle here', count: 25 }
  ])
})

t.test('jobs that nobody saw end are lost at the next start', async (t) => {
  const { history, state } = open(t)
  history.record(job('abcd', { state: 'running', endedAt: null }))
  history.record(job('gggg', { role: 'guest', home: 'you', state: 'running', endedAt: null }))
  history.close()
  const { history: next } = open(t, state, () => 9_000)
  t.match(next.find('abcd'), { state: 'lost', endedAt: 9_000 })
})

t.test('what is old goes', async (t) => {
  let now = 0
  const { history } = open(t, t.testdir(), () => now)
  history.record(job('old', { startedAt: 0, endedAt: 0 }))
  history.record(job('guest', { role: 'guest', home: 'you', startedAt: 29.5 * DAY_MS, endedAt: 29.5 * DAY_MS }))
  history.flush()
  now = 31 * DAY_MS
  // Old rows are looked for now and then.
  for (let index = 0; index < 250; index++) {
    history.record(job(`j${index}`, { startedAt: now }))
    history.flush()
  }
  t.throws(() => history.find('old'), { name: 'UnknownJobError' })
  t.strictSame(history.latest('guest', 10), [])
  t.equal(history.latest('home', 1_000).length, 250)
})

t.test('the number of rows is bounded', async (t) => {
  const { history, state } = open(t)
  for (let index = 0; index < 10_200; index++) {
    history.record(job(`j${index}x`, { startedAt: index }))
    if (index % 50 === 0) history.flush()
  }
  history.close()
  const { history: next } = open(t, state)
  next.record(job('last', { startedAt: 20_000 }))
  next.flush()
  t.equal(next.latest('home', 20_000).length, 10_000)
  t.throws(() => next.find('j200x'), { name: 'UnknownJobError' })
})

t.test('what was lost with a ticket is found, for as long as its target may know more', async (t) => {
  const { history, state } = open(t, t.testdir(), () => 2 * DAY_MS)
  const ticket = (id: string) => ({ id, target: 'nas', epoch: 7, validMs: 2_000 })
  const lost = (id: string, startedAt: number) => job(id, { state: 'lost', startedAt, ticket: ticket(id) })
  for (const id of ['later', 'sooner']) history.record(lost(id, DAY_MS + (id === 'later' ? 2 : 1)))
  history.record(lost('before', DAY_MS - 1))
  history.record(job('without', { state: 'lost', startedAt: DAY_MS + 3 }))
  history.record(job('ended', { startedAt: DAY_MS + 3, ticket: ticket('ended') }))
  history.record(job('unended', { state: 'running', startedAt: DAY_MS + 3, ticket: ticket('unended') }))
  t.same(
    history.lost(2).map(({ id }) => id),
    ['sooner', 'later']
  )
  history.close()
  const found = open(t, state, () => 2 * DAY_MS).history.lost(10)
  t.same(
    found.map((record) => [record.id, record.ticket]),
    ['sooner', 'later', 'unended'].map((id) => [id, ticket(id)])
  )
})

t.test('without a file nothing was lost, and none is made', async (t) => {
  const { history, state } = open(t)
  t.same(history.lost(10), [])
  t.same(readdirSync(state), [])
})

t.test('one of the version before goes on', async (t) => {
  const { history, state } = open(t)
  history.record(job('abcd'))
  history.close()
  const database = new DatabaseSync(join(state, 'history.db'))
  database.exec('ALTER TABLE jobs DROP COLUMN ticket; PRAGMA user_version = 1')
  database.close()
  const { history: next, log } = open(t, state)
  next.record(job('efgh', { state: 'lost', ticket: { id: 'x', target: 'nas', epoch: 7, validMs: 2_000 } }))
  t.match(next.find('abcd'), { state: 'exited', ticket: null })
  t.match(next.find('efgh'), { ticket: { id: 'x' } })
  t.same(log.lines, [])
})

t.test('a damaged database is set aside', async (t) => {
  const state = t.testdir({ 'history.db': 'this is no database, but long enough to be taken for one'.repeat(40) })
  const { history, log } = open(t, state)
  history.record(job('abcd'))
  t.equal(history.find('abcd').id, 'abcd')
  t.ok(existsSync(join(state, 'history.db.corrupt-1')))
  t.match(log.lines, [/can not be used/, /a damaged history is set aside.*history\.db\.corrupt-1/])
})

t.test('so is one of a newer version', async (t) => {
  const state = t.testdir()
  const database = new DatabaseSync(join(state, 'history.db'))
  database.exec('PRAGMA user_version = 99')
  database.close()
  const { history, log } = open(t, state)
  history.record(job('abcd'))
  t.equal(history.find('abcd').id, 'abcd')
  t.match(log.lines[0], /version 99, made by a newer kappa/)
})

t.test('where none can be kept, jobs go on, and it is said once', async (t) => {
  const state = t.testdir()
  mkdirSync(join(state, 'history.db'))
  const { history, log } = open(t, state)
  for (let index = 0; index < 10; index++) {
    history.record(job(history.newId('me')))
    history.flush()
  }
  t.throws(() => history.find('a'), { name: 'UnknownJobError' })
  t.strictSame(history.latest('home', 10), [])
  t.equal(log.lines.length, 1)
})

t.test('a directory that can not be written', async (t) => {
  const state = join(t.testdir(), 'gone')
  const { history } = open(t, state)
  history.record(job('abcd'))
  history.flush()
  mkdirSync(state)
  writeFileSync(join(state, 'x'), '')
  history.record(job('efgh'))
  t.equal(history.find('efgh').id, 'efgh', 'it is used as soon as it can be')
})
