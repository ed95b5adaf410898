import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { homedir, userInfo } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { LeaveResult } from '../daemon/control-results.ts'
import { directories, socketPath } from '../daemon/directories.ts'
import { holderOf } from '../daemon/lock.ts'
import { readIfThere } from '../daemon/state-file.ts'
import { KappaError, messageOf } from '../errors.ts'
import { readArguments, usageError } from './arguments.ts'
import { request, tryConnect } from './client.ts'
import type { Command, Takes } from './command.ts'
import { print, printJson, styled } from './output.ts'
import { say } from './run-streams.ts'
import { elsewhere } from './service/elsewhere.ts'
import {
  isInstalled,
  JOURNAL,
  loginctl,
  orderSystemctl,
  systemctl,
  UNIT,
  unitPath,
  unitText,
  userRuntime
} from './service/unit.ts'

const HELP = `Usage: kappa service install [--now]     have systemd start the daemon at boot, and again if it fails
       kappa service remove [--now]      no longer
       kappa service status [--json]     whether it is installed, whether it runs, and where its log is

Makes a unit of your own systemd, without root, with cgroups for guests (Delegate) and lingering, so that it runs while you
are not logged in. Where there is no systemd it says how else to start kappa daemon. A daemon that runs gives way when no job
needs it; a newer kappa that is installed in its place takes over in the same way, by itself.

  --now     don't wait for jobs: they end
  --json    one object: installed, enabled, active, pid, lingering, unit

Log:            journalctl --user -u kappa [-f]
Configuration:  kappa config set takes effect at once; after an edit by hand: systemctl --user reload kappa

Example:
  kappa service install && kappa service status`

const TAKES = {
  options: { now: { type: 'boolean' }, json: { type: 'boolean' } },
  arguments: { min: 1, max: 1, what: 'install, remove or status', completes: [['install', 'remove', 'status']] }
} as const satisfies Takes

/** Looks whether the daemon has given way, or come up, are so far apart. */
const LOOK_MS = 100
const START_MS = 20_000

export const command: Command = {
  help: HELP,
  takes: TAKES,
  async execute(args) {
    const parsed = readArguments({ name: 'kappa service', help: HELP, ...TAKES }, args)
    if (!parsed) return 0
    const { now = false, json = false } = parsed.values
    if (process.env.KAPPA_DIR) {
      throw new KappaError(
        'UsageError',
        'kappa service: it is for your own peer, and KAPPA_DIR names another: unset it'
      )
    }
    const [action] = parsed.positionals
    if (action === 'install') return install(now)
    if (action === 'remove') return remove(now)
    if (action === 'status') return status(json)
    throw usageError('kappa service', `it takes ${TAKES.arguments.what}`)
  }
}

async function install(now: boolean): Promise<number> {
  const { KAPPA_LAUNCHER: launched } = process.env
  if (launched === undefined) throw new KappaError('StateError', 'kappa service: start it as kappa, by its launcher')
  // It is called through a link, and known by where that is.
  const launcher = resolve(launched)
  const runtime = userRuntime()
  if (runtime === undefined) {
    print(elsewhere(launcher, userName(), homedir()))
    return 1
  }
  const text = unitText(launcher, process.env)
  const isNew = readIfThere(unitPath())?.toString() !== text
  if (isNew) write(unitPath(), text)
  orderSystemctl(runtime, 'daemon-reload')
  orderSystemctl(runtime, 'enable', UNIT)
  if (isNew || !isOurs(runtime)) {
    await giveWay(now)
    // A transient unit of the same name is gone only now.
    orderSystemctl(runtime, 'daemon-reload')
  }
  orderSystemctl(runtime, 'start', UNIT)
  await started()
  const lingers = linger()
  print(`kappa runs as a service${lingers ? ', from boot on' : ''}. Its log: ${JOURNAL}`)
  if (!lingers) say(lingerAdvice())
  return 0
}

async function remove(now: boolean): Promise<number> {
  if (!isInstalled())
    throw new KappaError('UsageError', `kappa service: it is not installed: there is no ${unitPath()}`)
  const runtime = userRuntime()
  if (runtime !== undefined) {
    if (isOurs(runtime)) await giveWay(now)
    orderSystemctl(runtime, 'disable', '--now', UNIT)
  }
  rmSync(unitPath(), { force: true })
  if (runtime !== undefined) orderSystemctl(runtime, 'daemon-reload')
  print('The service is removed: the daemon ends at reboot, and any command starts it.')
  if (runtime !== undefined && lingering() === true)
    print(`Lingering is left as it is, since others may need it; to end it: loginctl disable-linger ${userName()}`)
  return 0
}

function status(json: boolean): number {
  const installed = isInstalled()
  const runtime = userRuntime()
  const enabled = runtime !== undefined && installed && systemctl(runtime, 'is-enabled', UNIT).status === 0
  const active = runtime !== undefined && installed && isOurs(runtime)
  const pid = holderOf(lockPath())
  const lingers = runtime === undefined ? undefined : lingering()
  if (json) {
    printJson({
      installed,
      enabled,
      active,
      pid: pid ?? null,
      lingering: lingers ?? null,
      unit: installed ? unitPath() : null
    })
  } else {
    print(
      [
        ['service', installed ? unitPath() : styled('yellow', `not installed; ${installAdvice(runtime)}`)],
        ['starts', !enabled ? 'with the first command' : lingers ? 'at boot' : 'when you log in'],
        [
          'daemon',
          pid === undefined ? styled('red', 'does not run') : `process ${pid}${active ? '' : ', not of the service'}`
        ],
        ...(enabled && lingers === false ? [['lingering', styled('yellow', lingerAdvice())]] : []),
        ['log', active ? JOURNAL : join(directories().state, 'daemon.log')]
      ]
        .map(([name, value]) => `${name!.padEnd(9)}  ${value}`)
        .join('\n')
    )
  }
  return installed && active ? 0 : 1
}

function installAdvice(runtime: string | undefined): string {
  return runtime === undefined ? 'how to start it here: kappa service install' : 'mend: kappa service install'
}

function userName(): string {
  return userInfo().username
}

const lockPath = () => join(directories().state, 'lock')

/** Whether the daemon that runs is the service's, and not one that a command started. */
function isOurs(runtime: string): boolean {
  const { text } = systemctl(runtime, 'show', '--property=FragmentPath,MainPID', UNIT)
  const pid = Number(/^MainPID=(\d+)$/m.exec(text)?.[1] ?? 0)
  return text.includes(`FragmentPath=${unitPath()}\n`.trimEnd()) && pid > 0 && pid === holderOf(lockPath())
}

/** Until the daemon that runs has ended, which it does as soon as no job needs it. Ctrl-C only ends the waiting. */
async function giveWay(now: boolean): Promise<void> {
  const socket = await tryConnect(socketPath())
  if (!socket) return
  socket.close()
  const holder = holderOf(lockPath())
  const jobs = (await request('leave', { now })) as LeaveResult
  const count = jobs.homes + jobs.guests + jobs.unfetched
  if (count > 0 && !now) {
    const guests = jobs.guests > 0 ? `, ${jobs.guests} of other machines` : ''
    const unfetched = jobs.unfetched > 0 ? `, ${jobs.unfetched} with output to fetch` : ''
    say(
      `waits for ${count} job(s) of the daemon that runs${guests}${unfetched}; --now ends them, Ctrl-C leaves it to give way`
    )
  }
  while (holder !== undefined && holderOf(lockPath()) === holder) await delay(LOOK_MS)
}

async function started(): Promise<void> {
  for (const deadline = Date.now() + START_MS; Date.now() < deadline; await delay(LOOK_MS)) {
    const socket = await tryConnect(socketPath())
    socket?.close()
    if (socket) return
  }
  throw new KappaError('DaemonError', `the service was started and does not answer; see: ${JOURNAL} -n 20`)
}

/** Undefined: nobody knows. */
function lingering(): boolean | undefined {
  const { status, text } = loginctl('show-user', userName(), '--property=Linger', '--value')
  return status === 0 ? text === 'yes' : undefined
}

function linger(): boolean {
  return lingering() === true || loginctl('enable-linger', userName()).status === 0
}

function lingerAdvice(): string {
  return `it starts when you log in, and ends with your last session; to have it from boot on: sudo loginctl enable-linger ${userName()}`
}

function write(path: string, text: string): void {
  try {
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(`${path}.new`, text)
    renameSync(`${path}.new`, path)
  } catch (cause) {
    throw new KappaError('StateError', `${path} can't be written: ${messageOf(cause)}`, { cause })
  }
}
