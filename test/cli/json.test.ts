import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { fakeDaemon, kappa } from './fake-daemon.ts'

t.test('what is told to people in words is one object for programs', async (t) => {
  const pause = { until: 1_000, running: 1, ended: 0 }
  const directory = await fakeDaemon(t, {
    pause: () => pause,
    resume: () => ({}),
    unpair: () => ({ told: false }),
    status: () => ({ load: { cores: 2 }, reachable: [{ slots: { total: 4, used: 1 } }] })
  })
  const cases: [string[], unknown][] = [
    [['pause', '--json', '--for', '1h'], pause],
    [['resume', '--json'], {}],
    [['unpair', '--json', 'nas'], { told: false }],
    [['slots', '--json'], { slots: 5 }],
    [['slots', '--json', '--remote'], { slots: 3 }]
  ]
  for (const [args, object] of cases) {
    const { code, stdout } = await kappa(directory, args)
    t.equal(code, 0, args.join(' '))
    t.same(JSON.parse(stdout), object)
  }
})

t.test('shims, their programs, and whether they come first', async (t) => {
  const directory = t.testdir()
  const shims = join(directory, 'shims')
  t.same(JSON.parse((await kappa(directory, ['shim', 'list', '--json'])).stdout), {
    directory: shims,
    first: true,
    shims: []
  })
  mkdirSync(shims)
  writeFileSync(join(shims, 'nosuch-compiler'), '#!/bin/sh\n# A shim of kappa\n', { mode: 0o755 })
  t.same(JSON.parse((await kappa(directory, ['shim', 'list', '--json'])).stdout), {
    directory: shims,
    first: false,
    shims: [{ name: 'nosuch-compiler', program: null }]
  })
  t.match(await kappa(directory, ['shim', 'path', '--json']), { code: 2, stderr: /--json is for list/ })
})
