import { appendFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { commandOf, hashOf, JobLog } from '../../../src/cli/each/joblog.ts'

const ended = { host: 'nas', startedAt: 1.5, took: 0.25, received: 3, exitCode: 0, signal: 0 }

t.test('what ended and what was only begun is known again, after a line that was cut off too', async (t) => {
  const path = join(t.testdir(), 'log')
  const log = JobLog.create(path)
  for (const sequence of [1, 2, 3]) log.begun(sequence, ['c', String(sequence)])
  log.ended({ ...ended, sequence: 2, argv: ['c', '2'] })
  log.ended({ ...ended, sequence: 1, argv: ['c', '1'], exitCode: 4 })
  log.close()
  t.match(readFileSync(path, 'utf8').split('\n')[4], /^2\tnas\t1\.500\t0\.250\t0\t3\t0\t0\tc 2$/)
  appendFileSync(path, '3\tnas\t1.5')
  const known = new Map<number, string>()
  const again = JobLog.resume(path, (sequence, state, hash) => {
    known.set(sequence, state)
    t.equal(hash, hashOf(`c ${sequence}`))
  })
  t.same(
    [...known],
    [
      [1, 'ended'],
      [2, 'ended'],
      [3, 'begun']
    ]
  )
  again.ended({ ...ended, sequence: 3, argv: ['c', '3'] })
  again.close()
  JobLog.resume(path, (sequence, state) => known.set(sequence, state)).close()
  t.equal(known.get(3), 'ended')
})

t.test('what a crash cut off looks like nothing whole later', async (t) => {
  const path = join(t.testdir(), 'log')
  JobLog.create(path).close()
  appendFileSync(path, '#\t7\tcomm')
  const before = () => t.fail('nothing is known')
  JobLog.resume(path, before).close()
  JobLog.resume(path, before).close()
  const again = JobLog.resume(path, before)
  again.begun(7, ['command'])
  again.close()
  JobLog.resume(path, (...known) => t.same(known, [7, 'begun', hashOf('command')])).close()
})

t.test('nothing is written over, nothing else is taken for a log', async (t) => {
  const path = join(t.testdir(), 'log')
  writeFileSync(path, 'my notes\n')
  t.throws(() => JobLog.create(path), { name: 'UsageError', message: /is there already/ })
  t.throws(() => JobLog.resume(path, () => {}), { name: 'UsageError', message: /no log of jobs/ })
  t.throws(() => JobLog.create('/nowhere/log'), { name: 'UsageError', message: /ENOENT/ })
  t.equal(readFileSync(path, 'utf8'), 'my notes\n')
})

t.test('a command is one line that a shell reads', async (t) => {
  t.equal(commandOf(['c', 'a b', '', "it's", 'x\ny\t']), `c 'a b' '' 'it'\\''s' $'x\\x0ay\\x09'`)
})
