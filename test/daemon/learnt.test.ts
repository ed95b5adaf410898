import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { LearnedState } from '../../src/core/learning.ts'
import { Learnt } from '../../src/daemon/learnt.ts'

const RUN = { key: 'flac', speed: 1, usage: { wallMs: 1_000, cpuMs: 1_000 } }

function setUp(t: Test, state = t.testdir()) {
  const warnings: string[] = []
  const log = {
    info: () => undefined,
    warn: (line: string) => warnings.push(line),
    error: (line: string) => warnings.push(line)
  }
  const file = join(state, 'learned.json')
  const open = (enabled = true) => new Learnt({ state, log, enabled, now: () => 0 })
  const kept = () => JSON.parse(readFileSync(file, 'utf8')) as LearnedState
  return { open, file, kept, warnings }
}

t.test('what was learnt is kept over a restart, with names and shapes of commands alone', async (t) => {
  const { open, kept, file } = setUp(t)
  const first = open()
  for (let run = 0; run < 3; run++) first.learn(RUN)
  t.notOk(existsSync(file), 'not at once')
  await first.stop()
  t.same(
    kept().commands.map(({ key }) => key),
    ['flac']
  )
  const second = open()
  t.same(second.advice('flac', 1).work, { ms: 1_000, stagedBytes: 0, streamedBytes: 0, turns: 0 })
  await second.stop()
})

t.test('nothing is written when nothing was learnt', async (t) => {
  const { open, file } = setUp(t)
  await open().stop()
  t.notOk(existsSync(file))
})

t.test('switched off it forgets, on the disk too, and learns no more', async (t) => {
  const { open, file } = setUp(t)
  const learnt = open()
  for (let run = 0; run < 3; run++) learnt.learn(RUN)
  await learnt.stop()
  t.ok(existsSync(file))
  const off = open(false)
  t.same(off.advice('flac', 1), {})
  off.configure(true)
  t.same(off.advice('flac', 1), {}, 'what was forgotten stays so')
  off.configure(false)
  off.learn(RUN)
  await off.stop()
  while (existsSync(file)) await new Promise((resolve) => setImmediate(resolve))
  t.same(off.learning.state().commands, [])
})

t.test('a damaged file is set aside', async (t) => {
  const texts = ['{', '{}', '{"version":3}', '{"version":2,"commands":[{"key":"x","runs":-1}],"links":[]}']
  for (const text of texts) {
    const { open, file, warnings } = setUp(t)
    writeFileSync(file, text)
    const learnt = open()
    t.same(learnt.learning.state(), { version: 2, commands: [], links: [] })
    t.equal(warnings.length, 1, text)
    learnt.learn(RUN)
    await learnt.stop()
  }
})

t.test('a peer that is paired no more is forgotten', async (t) => {
  const { open, kept } = setUp(t)
  const learnt = open()
  const sent = { id: 'j1', peer: 'nas', claim: { speed: 1 }, demand: 1 }
  learnt.learn({ ...RUN, sent, link: { totalMs: 1_100, stagedBytes: 1e6, streamedBytes: 0, turns: 0 } })
  await learnt.stop()
  t.match(JSON.stringify(kept()), 'nas')
  learnt.forgetPeer('nas')
  await learnt.stop()
  t.notMatch(JSON.stringify(kept()), 'nas')
})
