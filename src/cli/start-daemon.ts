/**
 * Starts the daemon so that it outlives the client: as a transient unit of the user's systemd where that runs, else in a
 * session of its own.
 */

import { spawn, spawnSync } from 'node:child_process'
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { directories, privateDirectory } from '../daemon/directories.ts'
import { holderOf, takeLock } from '../daemon/lock.ts'
import { isKappaError, KappaError, messageOf } from '../errors.ts'
import type { Pipe } from './pipe.ts'
import { DELEGATED, isInstalled, JOURNAL, systemctl, UNIT, userRuntime } from './service/unit.ts'

const START_TIMEOUT_MS = 15_000
/** The socket is looked for this often, and later less often: others may wait for it, too, on a machine that is busy. */
const POLL_MS = { first: 20, longest: 250, growth: 1.1 }

/** A daemon that this client started. */
interface Started {
  /** Bytes of its log that were there before; undefined: it goes to the journal. */
  logged: number | undefined
  ended: boolean
}

/**
 * Returns the first connection that `connect` gets; throws with the daemon's own words when it doesn't come up. Of several
 * clients that find none one starts it, and all wait for it: starting is so much work that many at once would starve each other.
 */
export async function startDaemon(connect: () => Promise<Pipe | undefined>): Promise<Pipe> {
  const launcher = process.env.KAPPA_LAUNCHER
  if (!launcher) throw new KappaError('DaemonError', 'no daemon runs; start one with: kappa daemon')
  const state = privateDirectory(directories().state)
  const [lock, logPath] = [join(state, 'lock'), join(state, 'daemon.log')]
  const deadline = Date.now() + START_TIMEOUT_MS
  let started: Started | undefined
  let starting: ReturnType<typeof takeLock> | undefined
  try {
    for (let waitMs = POLL_MS.first; ; waitMs = Math.min(POLL_MS.longest, waitMs * POLL_MS.growth)) {
      // Asked before the connection is tried: what has ended may have served others before, and what serves may end.
      const over = (started?.ended && holderOf(lock) === undefined) || Date.now() > deadline
      const socket = await connect()
      if (socket) return socket
      if (over) break
      if (holderOf(lock) === undefined) starting ??= takeIfFree(join(state, 'starting'))
      if (starting !== undefined) started ??= start(launcher, logPath)
      await new Promise((resolve) => setTimeout(resolve, waitMs))
    }
  } finally {
    starting?.release()
  }
  throw notStarted(logPath, started, holderOf(lock))
}

/** Undefined while another client starts it. */
function takeIfFree(path: string): ReturnType<typeof takeLock> | undefined {
  try {
    return takeLock(path)
  } catch (error) {
    if (isKappaError(error) && error.name === 'DaemonError') return undefined
    throw error
  }
}

function start(launcher: string, logPath: string): Started {
  if (startService()) return { logged: undefined, ended: false }
  const started = { logged: existsSync(logPath) ? readFileSync(logPath).length : 0, ended: false }
  if (startAsUnit(launcher, logPath)) return started
  const log = openLog(logPath)
  const child = spawn(launcher, ['daemon'], {
    detached: true,
    stdio: ['ignore', log, log],
    cwd: '/',
    env: daemonEnvironment()
  })
  closeSync(log)
  child.once('exit', () => (started.ended = true))
  child.once('error', () => (started.ended = true))
  child.unref()
  return started
}

function notStarted(logPath: string, started: Started | undefined, holder: number | undefined): KappaError {
  if (started && started.logged === undefined)
    return new KappaError('DaemonError', `the service of kappa does not answer; see: ${JOURNAL} -n 20`)
  const words = existsSync(logPath) ? readFileSync(logPath).subarray(started?.logged).toString().trim().split('\n') : []
  const said = started && words.findLast((line) => line.startsWith('kappa: '))?.slice('kappa: '.length)
  if (said !== undefined) return new KappaError('DaemonError', said)
  const seconds = START_TIMEOUT_MS / 1_000
  if (holder !== undefined) {
    return new KappaError(
      'DaemonError',
      `the daemon (process ${holder}) did not answer in ${seconds} s; see ${logPath}`
    )
  }
  const why = started && words.join('') === '' ? `it left no word in ${logPath} (is the disk full?)` : `see ${logPath}`
  return new KappaError('DaemonError', `the daemon did not start; ${why}`)
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

/** The user's own service, where that is installed. */
function startService(): boolean {
  const runtime = isInstalled() ? userRuntime() : undefined
  return runtime !== undefined && systemctl(runtime, 'start', UNIT).status === 0
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
      `Delegate=${DELEGATED}`,
      ...properties,
      ...settings,
      launcher,
      'daemon'
    ],
    { stdio: 'ignore', timeout: 5_000 }
  )
  return run.status === 0
}
