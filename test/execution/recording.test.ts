import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { JobOutput, OUTPUT_BYTES_MAX, Recording, RecordingRoom } from '../../src/execution/recording.ts'

const room = (bytes: number) => new RecordingRoom(bytes, (mebibytes) => `there is room for ${mebibytes} MiB`)

function directory(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'kappa-recording-'))
  t.teardown(() => rmSync(path, { recursive: true, force: true }))
  return path
}

t.test('what is appended is read, from anywhere', async (t) => {
  const recording = new Recording(join(directory(t), 'made/out'), [])
  t.same(await recording.append(Buffer.from('0123')), { kept: 4 })
  t.same(await recording.append(Buffer.from('4567')), { kept: 4 })
  t.equal((await recording.read(2, 4)).toString(), '2345')
  t.equal((await recording.read(6, 100)).toString(), '67')
  t.equal((await recording.read(8, 100)).length, 0)
  t.equal((await recording.read(9, 100)).length, 0)
  await recording.close()
  await recording.append(Buffer.from('8'))
  t.equal(readFileSync(recording.path, 'utf8'), '012345678', 'also after it was closed')
})

t.test('the first bytes are kept, as far as every room goes', async (t) => {
  const path = directory(t)
  const all = room(10)
  const one = new Recording(join(path, 'one'), [room(8), all])
  const other = new Recording(join(path, 'other'), [room(8), all])
  t.same(await one.append(Buffer.from('0123456789')), { kept: 8, why: 'there is room for 0 MiB' })
  t.match(await other.append(Buffer.from('abcd')), { kept: 2 })
  t.equal(readFileSync(other.path, 'utf8'), 'ab')
  await one.discard()
  await one.discard()
  t.same(await other.append(Buffer.from('cdefgh')), { kept: 6 }, 'what is removed gives its room back, once')
  t.match(await other.append(Buffer.from('i')), { kept: 0 }, 'its own room is used up')
})

t.test('an owner may change the room', async (t) => {
  const all = room(2)
  const recording = new Recording(join(directory(t), 'out'), [all])
  t.match(await recording.append(Buffer.from('0123')), { kept: 2 })
  all.resize(5)
  t.match(await recording.append(Buffer.from('2345')), { kept: 3 })
  all.resize(1)
  t.match(await recording.append(Buffer.from('5')), { kept: 0 })
})

t.test('what can not be written is told', async (t) => {
  const path = directory(t)
  writeFileSync(join(path, 'file'), '')
  const recording = new Recording(join(path, 'file/out'), [room(10)])
  t.match(await recording.append(Buffer.from('x')), { kept: 0, why: /^the recording can't be written: E/ })
})

t.test('an earlier life or another process has written it', async (t) => {
  const path = directory(t)
  writeFileSync(join(path, 'stdout'), 'before')
  const all = room(100)
  const output = new JobOutput(path, all)
  await output.look()
  t.equal(output.bytes, 6)
  t.equal(all.take(100), 94)
  all.give(94)
  writeFileSync(join(path, 'stdout'), ' and after', { flag: 'a' })
  await output.look()
  t.equal((await output.stdout.read(0, 100)).toString(), 'before and after')
  t.equal((await output.stderr.read(0, 100)).length, 0)
  await output.remove()
  t.equal(existsSync(path), false)
  t.equal(all.take(100), 100)
  t.match(await output.stdout.append(Buffer.from('x')), { kept: 0 }, 'what was removed does not come again')
  t.equal(existsSync(path), false)
  t.ok(OUTPUT_BYTES_MAX > 0)
})
