import { closeSync, openSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { createLog } from '../../src/daemon/log.ts'
import { KappaError } from '../../src/errors.ts'

t.test('a line has a time, a level, words and fields', async (t) => {
  const path = join(t.testdir(), 'log')
  const file = openSync(path, 'a')
  t.teardown(() => closeSync(file))
  const log = createLog(file)
  log.info('started', { port: 5277, name: undefined })
  log.warn('peer away', { peer: 'nas two' })
  log.error('refused', new KappaError('RefusedError', 'no slot'))
  const lines = readFileSync(path, 'utf8').split('\n')
  t.match(lines[0], /^\d{4}-\d\d-\d\dT[\d:.]+Z info started port=5277$/)
  t.match(lines[1], / warn peer away peer="nas two"$/)
  t.match(lines[2], / error refused: no slot$/)
  log.error('a bug', new Error('odd'))
  t.match(readFileSync(path, 'utf8'), /a bug: Error: odd \| at .*log\.test\.ts/, 'with its stack')
})

t.test('text of others can not forge lines or control a terminal, and is bounded', async (t) => {
  const path = join(t.testdir(), 'log')
  const file = openSync(path, 'a')
  t.teardown(() => closeSync(file))
  const log = createLog(file)
  log.info('name\n2020-01-01 info forged', { name: '\x1b[2Jx', long: 'y'.repeat(10_000) })
  const text = readFileSync(path, 'utf8')
  t.equal(text.split('\n').length, 2)
  t.notMatch(text, '\x1b')
  t.ok(text.length < 3_000)
})

t.test('a file that grew too long becomes the one old file', async (t) => {
  const path = join(t.testdir(), 'log')
  const file = openSync(path, 'a')
  t.teardown(() => closeSync(file))
  const log = createLog(file, `${path}.old`, 4_096)
  for (let line = 0; line < 500; line++) log.info(`line ${line}`)
  t.ok(statSync(path).size < 4_096 + 256)
  t.ok(statSync(`${path}.old`).size < 4_096 + 256)
  t.match(readFileSync(path, 'utf8'), /line 499\n$/)
})

t.test('a log that nobody can write is no error', async (t) => {
  const file = openSync('/dev/null', 'r')
  createLog(file, '/nowhere/old').info('lost')
  closeSync(file)
  t.doesNotThrow(() => createLog(file).info('lost'))
})

t.test('for the journal a line has no time, and its level where the journal looks for it', async (t) => {
  const path = join(t.testdir(), 'log')
  const file = openSync(path, 'a')
  t.teardown(() => closeSync(file))
  const { dev, ino } = statSync(path)
  const before = process.env.JOURNAL_STREAM
  process.env.JOURNAL_STREAM = `${dev}:${ino}`
  const log = createLog(file)
  if (before === undefined) delete process.env.JOURNAL_STREAM
  else process.env.JOURNAL_STREAM = before
  log.info('started', { port: 5277 })
  log.warn('peer away')
  log.error('refused')
  t.equal(readFileSync(path, 'utf8'), '<6>started port=5277\n<4>peer away\n<3>refused\n')
})

t.test('lines of JSON, as much as their reader wants', async (t) => {
  const path = join(t.testdir(), 'log')
  const file = openSync(path, 'a')
  t.teardown(() => closeSync(file))
  const log = createLog(file)
  log.configure({ format: 'json', level: 'warn' })
  log.info('not worth it')
  log.warn('away\nfor long', { peer: 'nas "two"\x1b', port: 5277, ok: true, level: 'forged', gone: undefined })
  log.error('refused', new KappaError('RefusedError', 'no slot'))
  const lines = readFileSync(path, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  t.match(lines, [
    { time: /^\d{4}-\d\d-\d\dT[\d:.]+Z$/, level: 'warn', message: 'away | for long', port: 5277, ok: true },
    { level: 'error', message: 'refused: no slot' }
  ])
  t.equal(lines.length, 2)
  t.notMatch(lines[0].peer, '\x1b')
  log.configure({ format: 'text', level: 'info' })
  log.info('again')
  t.match(readFileSync(path, 'utf8'), /Z info again\n$/)
})
