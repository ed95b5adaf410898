import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { kappa, kappaDir } from './fake-daemon.ts'

const KAPPA = join(import.meta.dirname, '../../scripts/kappa')

/** Ends what was started for that directory: a daemon that came too late for the lock takes it from the one that is ended. */
async function endDaemons(directory: string): Promise<void> {
  for (let quiet = 0; quiet < 3; await new Promise((resolve) => setTimeout(resolve, 100))) {
    const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && isOf(name, directory))
    quiet = pids.length === 0 ? quiet + 1 : 0
    for (const pid of pids) end(Number(pid))
  }
}

function end(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended by itself.
  }
}

function isOf(pid: string, directory: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(`KAPPA_DIR=${directory}`)
  } catch {
    // It has ended.
    return false
  }
}

t.test('a relative KAPPA_DIR means the same to the daemon that is started', async (t) => {
  const parent = kappaDir(t)
  t.teardown(() => endDaemons(join(parent, 'one')))
  const env = { PATH: process.env.PATH, HOME: parent, KAPPA_DIR: './one', KAPPA_LISTEN: '127.0.0.1:0' }
  const { status, stderr } = spawnSync(KAPPA, ['peers'], { cwd: parent, env, encoding: 'utf8' })
  t.match({ status, stderr }, { status: 0, stderr: '' })
  t.ok(existsSync(join(parent, 'one/state/identity')))
})

t.test('why a daemon did not start is said in its own words', async (t) => {
  const directory = kappaDir(t)
  t.teardown(() => endDaemons(directory))
  writeFileSync(join(directory, 'kappa.toml'), 'slots = "x"\n')
  t.match(await kappa(directory, ['peers']), {
    code: 1,
    stderr: /^kappa: .*kappa\.toml:1: slots is "x", it must be a number/
  })
})

t.test('clients that find no daemon at the same moment start one, and all are served', async (t) => {
  const directory = kappaDir(t)
  t.teardown(() => endDaemons(directory))
  const environment = { KAPPA_LISTEN: '127.0.0.1:0' }
  const runs = await Promise.all(Array.from({ length: 6 }, () => kappa(directory, ['peers'], '', environment)))
  for (const run of runs) t.match(run, { code: 0, stderr: '' })
})
