import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { StartState } from '../../src/daemon/start-state.ts'
import { logLines } from './log-lines.ts'

t.test('an epoch never comes twice', async (t) => {
  const state = t.testdir()
  const begin = async (nowMs: number) => (await StartState.begin(state, logLines(), nowMs)).epoch
  t.equal(await begin(5_000_000), 5_000)
  t.equal(await begin(5_000_000), 5_001, 'started again within a second')
  t.equal(await begin(1_000_000), 5_002, 'the clock was set back')
  rmSync(join(state, 'start.json'))
  t.equal(await begin(9_000_000), 9_000, 'the file was lost')
  writeFileSync(join(state, 'start.json'), '{"epoch": -1}')
  t.equal(await begin(9_500_000), 9_500, 'the file was damaged')
})

t.test('the port is kept', async (t) => {
  const state = t.testdir()
  const first = await StartState.begin(state, logLines())
  t.equal(first.port, undefined)
  await first.keepPort(5277)
  const second = await StartState.begin(state, logLines())
  t.equal(second.port, 5277)
  t.ok(second.epoch > first.epoch)
})
