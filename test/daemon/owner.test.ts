import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { mock } from 'node:test'
import t, { type Test } from 'tap'
import type { Configuration } from '../../src/daemon/configuration.ts'
import { loadConfiguration } from '../../src/daemon/configuration.ts'
import { Owner } from '../../src/daemon/owner.ts'

function setUp(
  t: Test,
  change: Partial<Configuration> = {},
  unsafe?: string,
  pause?: string,
  onBattery: () => boolean = () => false
) {
  const state = t.testdir()
  if (pause !== undefined) writeFileSync(join(state, 'pause.json'), pause)
  const logged: string[] = []
  let changes = 0
  const log = { info: () => undefined, warn: (line: string) => logged.push(line), error: () => undefined }
  const start = () =>
    new Owner({
      state,
      configuration: { ...loadConfiguration(join(state, 'none.toml'), {}), ...change },
      unsafe,
      terminals: unsafe === undefined,
      noFiles: 'no /dev/fuse',
      cores: 4,
      memoryTotal: 8 * 2 ** 30,
      classOf: (modes) => ({ modes }) as never,
      log: log as never,
      onBattery,
      onChange: () => changes++
    })
  const owner = start()
  t.teardown(() => owner.stop())
  return { owner, start, logged, state, changes: () => changes }
}

t.test('what the configuration says', async (t) => {
  t.match(setUp(t).owner.rules, { slots: 8, homeSlots: 4, class: { modes: ['plain', 'staged', 'pty'] } })
  t.equal(setUp(t).owner.rules.refuses, undefined)
  t.equal(setUp(t, { slots: 0.5 } as never).owner.rules.slots, 0.5)
  t.match(setUp(t, { lend: false }).owner.rules.refuses, /does not lend/)
})

t.test('no safe place for guests: none are taken, unless the owner says so', async (t) => {
  const { rules } = setUp(t, {}, 'no user namespaces').owner
  t.match(rules, { refuses: /safely: no user namespaces/, class: { modes: [] } })
  const { guests } = loadConfiguration(join(t.testdir(), 'none.toml'), {})
  const sure = setUp(t, { guests: { ...guests, unsandboxed: true } }, 'no user namespaces').owner
  t.equal(sure.rules.refuses, undefined)
})

t.test('on its battery it takes no guests, unless the owner says so; a pulled plug is noticed', async (t) => {
  mock.timers.enable({ apis: ['setInterval'] })
  t.teardown(() => mock.timers.reset())
  let plugged = true
  const { owner, changes } = setUp(t, {}, undefined, undefined, () => !plugged)
  t.equal(owner.rules.refuses, undefined)
  plugged = false
  mock.timers.tick(10_000)
  t.equal(changes(), 1, 'its neighbours are told')
  t.equal(owner.rules.refuses, 'it runs on its battery')
  const { guests } = loadConfiguration(join(t.testdir(), 'none.toml'), {})
  owner.configure({ ...loadConfiguration('/nowhere', {}), guests: { ...guests, on_battery: true } })
  t.equal(owner.rules.refuses, undefined)
  mock.timers.tick(60_000)
  t.equal(changes(), 2, 'only what changed is told')
})

t.test('a pause is told, kept over a restart, and ended', async (t) => {
  const { owner, start, changes } = setUp(t)
  t.equal(await owner.pause(undefined), null)
  t.match(owner.rules.refuses, /paused lending$/)
  const again = start()
  t.match(again.rules.refuses, /paused lending$/)
  again.stop()
  await owner.resume()
  t.equal(owner.rules.refuses, undefined)
  t.equal(changes(), 2)
  t.equal(start().rules.refuses, undefined)
})

t.test('a pause has its time, and ends by itself', async (t) => {
  const { owner, start } = setUp(t)
  const until = await owner.pause(3_600_000)
  t.match(owner.rules.refuses, /paused lending until \d\d:\d\d$|until \d{4}-/)
  t.ok(Math.abs(until! - Date.now() - 3_600_000) < 60_000)
  const again = start()
  t.match(again.rules.refuses, /until/)
  again.stop()
  await owner.pause(10)
  while (owner.rules.refuses !== undefined) await new Promise((resolve) => setTimeout(resolve, 5))
})

t.test('a pause that ended while no daemon ran, or that is garbage, is none', async (t) => {
  for (const pause of [`{"until":${Date.now() - 1}}`, '{"until":0}', '{"until":"soon"}', 'garbage', '{}']) {
    t.equal(setUp(t, {}, undefined, pause).owner.rules.refuses, undefined, pause)
  }
  t.match(setUp(t, {}, undefined, '{"until":null}').owner.rules.refuses, /paused/)
})

t.test('a changed configuration is told', async (t) => {
  const { owner, changes } = setUp(t)
  owner.configure({ ...loadConfiguration(join(t.testdir(), 'none.toml'), {}), lend: false })
  t.equal(changes(), 1)
  t.match(owner.rules.refuses, /does not lend/)
})
