import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { z } from 'zod'
import { StateFile, setAside, writeWhole } from '../../src/daemon/state-file.ts'
import { needs } from '../require.ts'
import { logLines } from './log-lines.ts'

const schema = z.object({ count: z.int() })

t.test('what is written is read again, by this user only', async (t) => {
  const path = join(t.testdir(), 'count.json')
  const file = new StateFile(path, schema, logLines())
  t.equal(file.read(), undefined)
  await file.write({ count: 3 })
  t.strictSame(new StateFile(path, schema, logLines()).read(), { count: 3 })
  t.equal(statSync(path).mode & 0o777, 0o600)
  t.strictSame(readdirSync(join(path, '..')), ['count.json'], 'nothing is left beside')
})

t.test('of several writes at once the last one counts, and each is safe when it resolves', async (t) => {
  const path = join(t.testdir(), 'count.json')
  const file = new StateFile(path, schema, logLines())
  const writes = Array.from({ length: 50 }, (_, count) => file.write({ count }))
  await writes[1]
  t.ok(JSON.parse(readFileSync(path, 'utf8')).count >= 1)
  await Promise.all(writes)
  t.strictSame(file.read(), { count: 49 })
  await Promise.all([file.write({ count: 50 }), file.remove()])
  t.equal(file.read(), undefined)
  await Promise.all([file.remove(), file.write({ count: 51 })])
  t.strictSame(file.read(), { count: 51 })
})

t.test('a damaged file is set aside and told of', async (t) => {
  const path = join(t.testdir(), 'count.json')
  const log = logLines()
  for (const [index, text] of ['', '{"count":', '{"count":"3"}', 'null', '\0\0\0'].entries()) {
    writeFileSync(path, text)
    t.equal(new StateFile(path, schema, log).read(), undefined)
    t.equal(readFileSync(`${path}.corrupt-${index + 1}`, 'utf8'), text)
    t.match(log.lines[index], /^warn a state file was damaged and is set aside .*count\.json\.corrupt-/)
  }
  t.notOk(existsSync(path))
})

t.test('a bounded number of files is set aside', async (t) => {
  const directory = t.testdir()
  for (let count = 0; count < 20; count++) {
    writeFileSync(join(directory, 'x'), String(count))
    setAside(join(directory, 'x'), 'corrupt')
  }
  t.equal(readdirSync(directory).length, 16)
  t.equal(readFileSync(join(directory, 'x.corrupt-16'), 'utf8'), '19')
})

t.test('what can not be written is an error, what was there stays, and the next write goes on', async (t) => {
  const directory = t.testdir()
  const path = join(directory, 'count.json')
  const file = new StateFile(path, schema, logLines())
  await file.write({ count: 1 })
  mkdirSync(`${path}.new`)
  const failed = file.write({ count: 2 })
  const next = file.write({ count: 3 })
  await t.rejects(failed, { name: 'StateError', message: /count\.json can't be written: EISDIR/ })
  await t.rejects(next, { name: 'StateError' })
  t.strictSame(file.read(), { count: 1 })
})

t.test('a full disk is an error', async (t) => {
  if (!needs(t, existsSync('/dev/full'), '/dev/full')) return
  const path = join(t.testdir({ 'x.new': t.fixture('symlink', '/dev/full') }), 'x')
  await t.rejects(writeWhole(path, 'text'), { name: 'StateError', message: /ENOSPC/ })
})
