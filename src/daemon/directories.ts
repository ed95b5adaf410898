/**
 * Where everything lives: under KAPPA_DIR when that is set, so that several peers can live on one machine, else in the
 * XDG directories. Light, because every start of the client imports it.
 */

import { lstatSync, mkdirSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { KappaError, messageOf } from '../errors.ts'

/** Absolute paths. */
export interface Directories {
  /** The configuration file (`kappa.toml`). */
  config: string
  /** Identity, pairings, job history, log: kept across reboots. */
  state: string
  /** The control socket: gone after a reboot. */
  runtime: string
  /** What can be made again. */
  cache: string
}

/** The kernel's bound on the path of a Unix socket, less the terminating zero. */
const SOCKET_PATH_BYTES_MAX = 107

type Environment = Record<string, string | undefined>

/** Where the daemon of this environment keeps its files; creates nothing. */
export function directories(environment: Environment = process.env): Directories {
  const { KAPPA_DIR, KAPPA_CONFIG } = environment
  const found = KAPPA_DIR ? allUnder(resolve(KAPPA_DIR)) : xdgDirectories(environment)
  return KAPPA_CONFIG ? { ...found, config: resolve(KAPPA_CONFIG) } : found
}

/** Where shims are: what is in a user's PATH stays where it is, and jobs may look there. */
export function shimsDirectory(environment: Environment = process.env): string {
  const { KAPPA_DIR, XDG_DATA_HOME, HOME } = environment
  if (KAPPA_DIR) return join(resolve(KAPPA_DIR), 'shims')
  const home = HOME || process.getBuiltinModule('node:os').homedir()
  return join(XDG_DATA_HOME?.startsWith('/') ? XDG_DATA_HOME : join(home, '.local/share'), 'kappa/shims')
}

function allUnder(root: string): Directories {
  return {
    config: join(root, 'kappa.toml'),
    state: join(root, 'state'),
    runtime: join(root, 'run'),
    cache: join(root, 'cache')
  }
}

function xdgDirectories(environment: Environment): Directories {
  const home = environment.HOME || process.getBuiltinModule('node:os').homedir()
  const under = (value: string | undefined, fallback: string) => (value?.startsWith('/') ? value : join(home, fallback))
  const state = join(under(environment.XDG_STATE_HOME, '.local/state'), 'kappa')
  const runtime = userRuntimeDirectory(environment)
  return {
    config: join(under(environment.XDG_CONFIG_HOME, '.config'), 'kappa', 'kappa.toml'),
    state,
    runtime: runtime ? join(runtime, 'kappa') : join(state, 'run'),
    cache: join(under(environment.XDG_CACHE_HOME, '.cache'), 'kappa')
  }
}

/** What login made for the user; also found from cron and the like, which lack the variable, so that all meet one daemon. */
function userRuntimeDirectory(environment: Environment): string | undefined {
  if (environment.XDG_RUNTIME_DIR?.startsWith('/')) return environment.XDG_RUNTIME_DIR
  const usual = `/run/user/${process.getuid!()}`
  return lstatSync(usual, { throwIfNoEntry: false })?.uid === process.getuid!() ? usual : undefined
}

/**
 * The path of the control socket, at most 107 bytes. Throws StateError when others could have put it there.
 * Creates nothing.
 */
export function socketPath(environment: Environment = process.env): string {
  const path = shortened(join(directories(environment).runtime, 'socket'), environment)
  const directory = dirname(path)
  const stat = lookAt(directory)
  if (stat) assertPrivate(directory, stat)
  return path
}

function lookAt(path: string) {
  try {
    return lstatSync(path, { throwIfNoEntry: false })
  } catch (cause) {
    throw new KappaError('StateError', `${path} can't be used: ${messageOf(cause)}`, { cause })
  }
}

/** Creates a directory that only this user may enter, or checks the one that is there. Throws StateError. */
export function privateDirectory(path: string): string {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 })
    assertPrivate(path, lstatSync(path))
  } catch (error) {
    if (error instanceof KappaError) throw error
    throw new KappaError('StateError', `${path} can't be made: ${messageOf(error)}`, { cause: error })
  }
  return path
}

function assertPrivate(path: string, stat: { isDirectory(): boolean; uid: number; mode: number }): void {
  const { KAPPA_DIR } = process.env
  const elsewhere = KAPPA_DIR
    ? 'set KAPPA_DIR to a directory of your own'
    : 'set KAPPA_DIR or XDG_RUNTIME_DIR to one of your own'
  if (!stat.isDirectory()) throw new KappaError('StateError', `${path} is not a directory; move it away`)
  if (stat.uid !== process.getuid!()) {
    throw new KappaError('StateError', `${path} belongs to another user (${stat.uid}); ${elsewhere}`)
  }
  if ((stat.mode & 0o077) !== 0) {
    throw new KappaError('StateError', `${path} is open to other users; mend it with: chmod 700 '${path}'`)
  }
}

/** A path that is too long for a socket gives way to a short one that is named after it. */
function shortened(path: string, environment: Environment): string {
  if (Buffer.byteLength(path) <= SOCKET_PATH_BYTES_MAX) return path
  const hash = process.getBuiltinModule('node:crypto').createHash('sha256').update(path).digest('hex').slice(0, 16)
  const runtime = userRuntimeDirectory(environment)
  const short = runtime ? join(runtime, 'kappa', hash) : ''
  if (short && Buffer.byteLength(short) <= SOCKET_PATH_BYTES_MAX) return short
  return `/tmp/kappa-${process.getuid!()}/${hash}`
}
