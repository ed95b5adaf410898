import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { fakeDaemon, kappa, kappaDir } from './fake-daemon.ts'

t.test('set, get and path, without a daemon', async (t) => {
  const directory = kappaDir(t)
  const file = join(directory, 'kappa.toml')
  t.match(await kappa(directory, ['config', 'path']), { code: 0, stdout: `${file}\n` })
  t.match(await kappa(directory, ['config', 'set', 'guests.paths', '/media:ro', '/srv:ro']), {
    code: 0,
    stdout: '',
    stderr: ''
  })
  t.match(await kappa(directory, ['config', 'get', 'guests.paths']), { code: 0, stdout: '/media:ro\n/srv:ro\n' })
  t.match(await kappa(directory, ['config', 'get', '--json', 'guests.paths']), { stdout: '["/media:ro","/srv:ro"]\n' })
  const { stdout } = await kappa(directory, ['config', 'get'])
  t.match(stdout, /\n# cores that guests may use at once; twice the cores when not set\n# slots =\n/)
  t.match(stdout, /\nguests\.paths = \["\/media:ro", "\/srv:ro"\]\n/)
  t.notOk(existsSync(join(directory, 'run')), 'and none was started')
})

t.test('mistakes are one line and 2', async (t) => {
  const directory = kappaDir(t)
  t.match(await kappa(directory, ['config', 'set', 'slot', '4']), {
    code: 2,
    stderr: /^kappa: there is no key "slot" .* did you mean "slots"\?\n$/
  })
  t.match(await kappa(directory, ['config', 'set', 'slots']), { code: 2, stderr: /set takes a KEY and a VALUE/ })
  writeFileSync(join(directory, 'kappa.toml'), '\nslots = "x"\n')
  t.match(await kappa(directory, ['config', 'get']), {
    code: 2,
    stderr: /^kappa: .*kappa\.toml:2: slots is "x", it must be/
  })
})

t.test('a daemon that runs is told, and what waits for its next start is said', async (t) => {
  let reloads = 0
  const directory = await fakeDaemon(t, {
    reload: () => {
      reloads++
      return { atNextStart: ['listen'] }
    }
  })
  const result = await kappa(directory, ['config', 'set', 'listen', '0.0.0.0:6000'])
  t.match(result, { code: 0, stdout: 'From the next start of the daemon on: listen\n' })
  t.equal(reloads, 1)
})

t.test('edit opens the editor on a file that explains itself, and checks what it left', async (t) => {
  const directory = kappaDir(t)
  const bin = join(directory, 'a b')
  mkdirSync(bin)
  writeFileSync(join(bin, 'editor'), '#!/bin/sh\ncp "$2" "$2.seen"; echo "$1" >"$2"\n', { mode: 0o755 })
  const edit = (line: string) => kappa(directory, ['config', 'edit'], '', { EDITOR: `'${bin}/editor' '${line}'` })
  t.match(await edit('slots = 4'), { code: 0, stderr: '' })
  t.match(readFileSync(join(directory, 'kappa.toml.seen'), 'utf8'), /# slots =\n/)
  t.match(await edit('slots = many'), { code: 2, stderr: /kappa\.toml:1: / })
  const failed = await kappa(directory, ['config', 'edit'], '', { EDITOR: 'false' })
  t.match(failed, { code: 2, stderr: /^kappa: the editor \(false\) failed/ })
})
