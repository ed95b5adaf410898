/**
 * Starts the daemon so that it outlives the client: as a transient unit of the user's systemd where that runs, else in a
 * session of its own.
 */

import { spawn, spawnSync } from 'node:child_process'
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { directories, privateDirectory } from '../daemon/directories.ts'
import { holderOf } from '../daemon/lock.ts'
import { KappaError, messageOf } from '../errors.ts'
import type { Pipe } from './pipe.ts'

const START_TIMEOUT_MS = 15_000
const POLL_MS = 20

/** Returns the first connection that `connect` gets; throws with the daemon's own words when it doesn't come up. */
export async function startDaemon(connect: () => Promise<Pipe | undefined>): Promise<Pipe> {
  const launcher = process.env.KAPPA_LAUNCHER
  if (!launcher) throw new KappaError('DaemonError', 'no daemon runs; start one with: kappa daemon')
  const state = privateDirectory(directories().state)
  const logPath = join(state, 'daemon.log')
  const logged = existsSync(logPath) ? readFileSync(logPath).length : 0
  let ended = false
  if (!startAsUnit(launcher, logPath)) {
    const log = openLog(logPath)
    const child = spawn(launcher, ['daemon'], {
      detached: true,
      stdio: ['ignore', log, log],
      cwd: '/',
      env: daemonEnvironment()
    })
    closeSync(log)
    child.once('exit', () => (ended = true))
    child.once('error', () => (ended = true))
    child.unref()
  }
  const deadline = Date.now() + START_TIMEOUT_MS
  for (;;) {
    // Asked before the connection is tried: a daemon that lost a race for the lock ends because another one serves, or
    // will as soon as it is ready.
    const over = (ended && holderOf(join(state, 'lock')) === undefined) || Date.now() > deadline
    const socket = await connect()
    if (socket) return socket
    if (over) break
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
  const words = readFileSync(logPath).subarray(logged).toString().trim().split('\n')
  const said = words.findLast((line) => line.startsWith('kappa: '))?.slice('kappa: '.length)
  const why = words.join('') === '' ? `it left no word in ${logPath} (is the disk full?)` : `see ${logPath}`
  throw new KappaError('DaemonError', said ?? `the daemon did not start; ${why}`)
}

function openLog(path: string): number {
  try {
    return openSync(path, 'a', 0o600)
  } catch (cause) {
    throw new KappaError('StateError', `${path} can't be written: ${messageOf(cause)}`, { cause })
  }
}

/** The daemon serves many clients: what belongs to this one's job or terminal stays out of it. */
function daemonEnvironment(): NodeJS.ProcessEnv {
  const environment = { ...process.env }
  delete environment.KAPPA_LAUNCH
  delete environment.KAPPA_JOB
  // It starts in another directory.
  for (const name of ['KAPPA_DIR', 'KAPPA_CONFIG'])
    if (environment[name]) environment[name] = resolve(environment[name])
  return environment
}

function startAsUnit(launcher: string, logPath: string): boolean {
  const runtime = process.env.XDG_RUNTIME_DIR
  // With KAPPA_DIR several peers live on one machine, for tests and demonstrations: they end with who started them.
  if (process.env.KAPPA_DIR || !runtime || !existsSync(join(runtime, 'systemd', 'private'))) return false
  const settings = Object.entries(daemonEnvironment())
    .filter(([name]) => name.startsWith('KAPPA_') || name.startsWith('XDG_') || name === 'PATH')
    .map(([name, value]) => `--setenv=${name}=${value}`)
  const properties = [
    '-p',
    `StandardOutput=append:${logPath}`,
    '-p',
    `StandardError=append:${logPath}`,
    '-p',
    'KillMode=mixed'
  ]
  const run = spawnSync(
    'systemd-run',
    [
      '--user',
      '--quiet',
      '--collect',
      '--unit=kappa',
      '-p',
      'Delegate=yes',
      ...properties,
      ...settings,
      launcher,
      'daemon'
    ],
    { stdio: 'ignore', timeout: 5_000 }
  )
  return run.status === 0
}
