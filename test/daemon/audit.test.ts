import { existsSync, mkdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Audit } from '../../src/daemon/audit.ts'
import type { JobRecord } from '../../src/daemon/history.ts'
import type { Log } from '../../src/daemon/log.ts'

const record: JobRecord = {
  id: 'j7f',
  role: 'guest',
  home: '12D3home',
  target: '12D3self',
  state: 'running',
  argv: ['cc', '-o', 'a b', '\x1b[31m'].map((word) => Buffer.from(word)),
  startedAt: 0,
  endedAt: null,
  exitCode: null,
  signal: null,
  reason: null,
  trace: null,
  error: null
}

function logOf(errors: string[]): Log {
  return { info: () => undefined, warn: () => undefined, error: (line) => void errors.push(line) }
}

t.test('who, what, when, through whom; for the owner alone', async (t) => {
  const state = t.testdir()
  const audit = new Audit(state, logOf([]))
  audit.started(record, 'laptop', ['nas', 'attic'])
  audit.ended({ ...record, exitCode: 3 }, 'laptop')
  audit.ended({ ...record, signal: 'SIGTERM' }, 'laptop')
  audit.close()
  const path = join(state, 'audit.log')
  const lines = readFileSync(path, 'utf8').split('\n')
  t.match(lines[0], /^\S+Z info started job=j7f home=laptop peer=12D3home through=nas,attic command="cc -o a b \S+"$/)
  t.notMatch(lines[0], '\x1b')
  t.match(lines[1], /info ended job=j7f home=laptop peer=12D3home exit=3$/)
  t.match(lines[2], /info ended job=j7f home=laptop peer=12D3home signal=SIGTERM$/)
  t.equal(statSync(path).mode & 0o777, 0o600)
})

t.test('it goes on where it was', async (t) => {
  const state = t.testdir()
  for (const home of ['first', 'second']) {
    const audit = new Audit(state, logOf([]))
    audit.started(record, home, [])
    audit.close()
  }
  t.match(readFileSync(join(state, 'audit.log'), 'utf8'), /home=first.*\n.*home=second/)
})

t.test('where it can not be written, guests run all the same and the log says it', async (t) => {
  const state = t.testdir()
  mkdirSync(join(state, 'audit.log'))
  const errors: string[] = []
  const audit = new Audit(state, logOf(errors))
  audit.started(record, 'laptop', [])
  audit.close()
  t.same(errors, ['who runs what here can not be written down'])
  t.equal(existsSync(join(state, 'audit.log.old')), false)
})
