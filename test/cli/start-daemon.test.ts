import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { kappa, kappaDir } from './fake-daemon.ts'

const KAPPA = join(import.meta.dirname, '../../scripts/kappa')

/** Ends the daemon that a command started. */
function endDaemon(directory: string): void {
  const lock = join(directory, 'state/lock')
  if (existsSync(lock)) process.kill(Number(readFileSync(lock, 'utf8').split(' ')[0]))
}

t.test('a relative KAPPA_DIR means the same to the daemon that is started', async (t) => {
  const parent = kappaDir(t)
  t.teardown(() => endDaemon(join(parent, 'one')))
  const env = { PATH: process.env.PATH, HOME: parent, KAPPA_DIR: './one', KAPPA_LISTEN: '127.0.0.1:0' }
  const { status, stderr } = spawnSync(KAPPA, ['peers'], { cwd: parent, env, encoding: 'utf8' })
  t.match({ status, stderr }, { status: 0, stderr: '' })
  t.ok(existsSync(join(parent, 'one/state/identity')))
})

t.test('why a daemon did not start is said in its own words', async (t) => {
  const directory = kappaDir(t)
  t.teardown(() => endDaemon(directory))
  writeFileSync(join(directory, 'kappa.toml'), 'slots = "x"\n')
  t.match(await kappa(directory, ['peers']), {
    code: 1,
    stderr: /^kappa: .*kappa\.toml:1: slots is "x", it must be a number/
  })
})

t.test('clients that find no daemon at the same moment start one, and all are served', async (t) => {
  const directory = kappaDir(t)
  t.teardown(() => endDaemon(directory))
  const environment = { KAPPA_LISTEN: '127.0.0.1:0' }
  const runs = await Promise.all(Array.from({ length: 6 }, () => kappa(directory, ['peers'], '', environment)))
  for (const run of runs) t.match(run, { code: 0, stderr: '' })
})
