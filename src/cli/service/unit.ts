/** The unit that has the user's systemd run the daemon, and how to ask that systemd. */

import { spawnSync } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { KappaError } from '../../errors.ts'

/** Of the unit that is installed, and of the transient one that other commands start the daemon as. */
export const UNIT = 'kappa.service'
export const JOURNAL = 'journalctl --user -u kappa'
const ASK_MS = 30_000

/** What a daemon must know that is not started by who has set it. */
const PASSED_ON = /^(KAPPA_(CONFIG|NAME|LISTEN|ANNOUNCE)|XDG_(CONFIG|STATE|CACHE|DATA)_HOME)$/

export function unitPath(environment: NodeJS.ProcessEnv = process.env): string {
  const { XDG_CONFIG_HOME, HOME } = environment
  const config = XDG_CONFIG_HOME?.startsWith('/') ? XDG_CONFIG_HOME : join(HOME || homedir(), '.config')
  return join(config, 'systemd/user', UNIT)
}

/** With KAPPA_DIR there may be several peers, and none of them is the user's. */
export function isInstalled(environment: NodeJS.ProcessEnv = process.env): boolean {
  return !environment.KAPPA_DIR && existsSync(unitPath(environment))
}

/** Where the user's systemd is to be found; undefined where none runs. */
export function userRuntime(environment: NodeJS.ProcessEnv = process.env): string | undefined {
  // `su` and cron know nothing of it.
  const usual = `/run/user/${process.getuid!()}`
  const runtime = environment.XDG_RUNTIME_DIR || (ownedByUser(usual) ? usual : undefined)
  return runtime !== undefined && existsSync(join(runtime, 'systemd/private')) ? runtime : undefined
}

function ownedByUser(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.uid === process.getuid!()
}

export interface Asked {
  status: number | null
  text: string
}

export function systemctl(runtime: string, ...words: string[]): Asked {
  return ask('systemctl', ['--user', '--no-ask-password', '--quiet', ...words], runtime)
}

/** As `systemctl`, for what must succeed. Throws DaemonError with its own words. */
export function orderSystemctl(runtime: string, ...words: string[]): void {
  const { status, text } = systemctl(runtime, ...words)
  if (status === 0) return
  const why = text.split('\n')[0] || `it ended with ${status}`
  throw new KappaError('DaemonError', `systemctl --user ${words.join(' ')} failed: ${why}; see: ${JOURNAL}`)
}

export function loginctl(...words: string[]): Asked {
  return ask('loginctl', ['--no-ask-password', ...words], undefined)
}

function ask(program: string, words: string[], runtime: string | undefined): Asked {
  const env = { ...process.env, LC_ALL: 'C', ...(runtime !== undefined && { XDG_RUNTIME_DIR: runtime }) }
  const run = spawnSync(program, words, { encoding: 'utf8', env, timeout: ASK_MS, stdio: ['ignore', 'pipe', 'pipe'] })
  return { status: run.status, text: (run.stdout || run.stderr || run.error?.message || '').trim() }
}

/**
 * Controllers of the cgroups that guests get. Not the CPU's: the unit would then have as much of it as all that the user runs beside
 * it, and guests half of it, whatever they have within the unit (measured: their owner kept 50 %). In one group with what the user
 * runs their niceness leaves them 2 %.
 */
export const DELEGATED = 'memory pids'

/**
 * Guests get cgroups of their own below the unit's (Delegate), one of them that needs too much memory ends alone
 * (OOMPolicy), and what a guest is given holds none of the user's keys (KeyringMode). The daemon ends its jobs itself within
 * 10 s; what is left then is killed (KillMode).
 */
export function unitText(launcher: string, environment: NodeJS.ProcessEnv): string {
  const passed = Object.entries(environment).filter(([name, value]) => PASSED_ON.test(name) && value)
  return `# Made by: kappa service install. Taken away by: kappa service remove
[Unit]
Description=kappa: runs jobs on whichever paired machine finishes them soonest
StartLimitIntervalSec=60
StartLimitBurst=5

[Service]
Type=exec
ExecStart=${word(launcher)} daemon
ExecReload=/bin/sh -c 'kill -HUP $MAINPID'
${passed.map(([name, value]) => `Environment=${word(`${name}=${value}`)}\n`).join('')}Restart=on-failure
RestartSec=5
TimeoutStopSec=20
KillMode=mixed
Delegate=${DELEGATED}
OOMPolicy=continue
KeyringMode=private

[Install]
WantedBy=default.target
`
}

/** As systemd reads it: quoted, and without its specifiers. */
function word(text: string): string {
  return `"${text.replaceAll(/["\\]/g, '\\$&').replaceAll('%', '%%')}"`
}
