/**
 * The script that turns a waiting cell into a job: it finds the command as a shell would, sets what the job inherits
 * and becomes the command. Everything in it is bytes, one per character.
 */

import { readFileSync } from 'node:fs'
import { KappaError } from '../errors.ts'
import { bytesOf, latin1, quote } from './quote.ts'
import type { Seat } from './seat.ts'
import { TERMINAL_PIPES, type TerminalSpec, terminalCommand } from './terminal.ts'
import { targetPath } from './tools.ts'

/** Longest single argument or environment entry that Linux takes, its end included (MAX_ARG_STRLEN). */
const ARGUMENT_BYTES_MAX = 131072

/** Arguments and environment may take a quarter of the stack limit, and never more than this (three quarters of 8 MiB). */
const ARGUMENTS_BYTES_MAX = 6 * 1024 * 1024

/** What the launcher's own words, and the kernel's, may add. */
const ARGUMENTS_RESERVE_BYTES = 8192

/** A soft resource limit that travels with a job, in the kernel's own unit (bytes, seconds or a count). */
export interface SoftLimit {
  name: LimitName
  soft: number | 'unlimited'
}

export type LimitName = 'as' | 'core' | 'cpu' | 'data' | 'fsize' | 'memlock' | 'nofile' | 'nproc' | 'stack'

/** Flags of `ulimit` (the first that the shell knows), units in bytes, and the name in /proc/self/limits. */
const LIMITS: Record<LimitName, { flags: string[]; unit: number; title: string }> = {
  as: { flags: ['v'], unit: 1024, title: 'Max address space' },
  core: { flags: ['c'], unit: 512, title: 'Max core file size' },
  cpu: { flags: ['t'], unit: 1, title: 'Max cpu time' },
  data: { flags: ['d'], unit: 1024, title: 'Max data size' },
  fsize: { flags: ['f'], unit: 512, title: 'Max file size' },
  memlock: { flags: ['l'], unit: 1024, title: 'Max locked memory' },
  nofile: { flags: ['n'], unit: 1, title: 'Max open files' },
  nproc: { flags: ['u', 'p'], unit: 1, title: 'Max processes' },
  stack: { flags: ['s'], unit: 1024, title: 'Max stack size' }
}

/** The hard limits of this process, which every job inherits; read once, they only ever fall by our own doing. */
let hardLimits: Map<string, number> | undefined

function hardLimit(name: LimitName): number {
  if (hardLimits === undefined) {
    hardLimits = new Map()
    for (const line of readFileSync('/proc/self/limits', 'latin1').split('\n').slice(1)) {
      const [, title, , hard] = /^(\S.*?) {2,}(\S+) +(\S+)/.exec(line) ?? []
      if (title !== undefined) hardLimits.set(title, hard === 'unlimited' ? Number.POSITIVE_INFINITY : Number(hard))
    }
  }
  return hardLimits.get(LIMITS[name].title) ?? Number.POSITIVE_INFINITY
}

function softLimitLine({ name, soft }: SoftLimit): string {
  return limitLine(name, Math.min(soft === 'unlimited' ? Number.POSITIVE_INFINITY : soft, hardLimit(name)), '-S ')
}

function limitLine(name: LimitName, most: number, kind: '-S ' | ''): string {
  const { flags, unit } = LIMITS[name]
  const value = most === Number.POSITIVE_INFINITY ? 'unlimited' : String(Math.floor(most / unit))
  return `${flags.map((flag) => `ulimit ${kind}-${flag} ${value}`).join(' || ')}\n`
}

/** What a job can't raise, whatever home asks for: bytes of one file, processes and threads. */
export interface HardLimits {
  fsize: number
  /** Undefined where the kernel would count the owner's own too. */
  nproc: number | undefined
}

/** Files that a process may have open: enough for every program, too few to fill the kernel's memory. */
const OPEN_FILES_MAX = 65_536

/** No core dumps: this machine's handler would keep what belongs to the job. */
function hardLimitLines({ fsize, nproc }: HardLimits): string {
  const most = { core: 0, fsize, nofile: OPEN_FILES_MAX, ...(nproc !== undefined && { nproc }) }
  return Object.entries(most)
    .map(([name, value]) => limitLine(name as LimitName, Math.min(value, hardLimit(name as LimitName)), ''))
    .join('')
}

/** What a job is started with; `env` holds NAME=value bytes and is passed as it is but for the launcher's own names. */
export interface LaunchSpec {
  argv: readonly Uint8Array[]
  env: readonly Uint8Array[]
  umask: number
  limits: readonly SoftLimit[]
  /** So much more niceness than guests have; 0 unless given. */
  nicer?: number
  /** Absent: it has none. */
  terminal?: TerminalSpec
  /** The working directory of a job that sees home's tree, as bytes. */
  directory?: Uint8Array
}

function checkSizes(words: readonly string[], limits: readonly SoftLimit[]): void {
  const stack = limits.find((limit) => limit.name === 'stack')?.soft ?? 8 * 1024 * 1024
  const most = Math.max(
    131072,
    Math.min(stack === 'unlimited' ? Number.POSITIVE_INFINITY : stack / 4, ARGUMENTS_BYTES_MAX)
  )
  let total = ARGUMENTS_RESERVE_BYTES
  for (const word of words) {
    total += word.length + 1 + 8
    if (word.length < ARGUMENT_BYTES_MAX) continue
    const name = JSON.stringify(word.slice(0, 20))
    throw new KappaError(
      'NothingRanError',
      `the argument or variable that begins with ${name} has ${word.length} bytes; Linux takes ${ARGUMENT_BYTES_MAX - 1}`
    )
  }
  if (total <= most) return
  throw new KappaError('NothingRanError', `arguments and environment take ${total} bytes; the target takes ${most}`)
}

/** Finds the command on PATH as execvp does, without running anything; says `notfound` or `notexecutable` on 3. */
const FIND = `
case $c in
*/*) [ -e "$c" ] || { echo notfound >&3; exit 127; }
  [ ! -d "$c" ] && [ -x "$c" ] || { echo notexecutable >&3; exit 126; } ;;
*) s=notfound
  set -f; IFS=:
  for d in $P; do
    f=\${d:-.}/$c
    [ -f "$f" ] || continue
    if [ -x "$f" ]; then s=found; break; fi
    s=notexecutable
  done
  case $s in found) ;; notfound) echo notfound >&3; exit 127 ;; *) echo $s >&3; exit 126 ;; esac ;;
esac
`

/** A job without a terminal has nothing open but its streams. */
const CLOSE_TERMINAL = Object.values(TERMINAL_PIPES)
  .map((fd) => `${fd}>&-`)
  .join(' ')

/**
 * The script for `sh`: its descriptors 0–2 are the job's, 3 takes one word when the command can't be started.
 * Throws NothingRanError when it can't fit, UsageError when it can't be passed at all.
 */
export function launchScript(
  spec: LaunchSpec,
  seat: Pick<Seat, 'inside' | 'enter' | 'terminalProgram' | 'tools'>,
  hard?: HardLimits
): Buffer {
  const argv = spec.argv.map(latin1)
  const env = environmentOf(spec, seat)
  if (argv.length === 0) throw new KappaError('UsageError', 'no command to run')
  if ([...argv, ...env].some((word) => word.includes('\0'))) {
    throw new KappaError('UsageError', 'an argument or a variable contains a NUL byte')
  }
  checkSizes([...argv, ...env], spec.limits)
  const limits = (hard === undefined ? '' : hardLimitLines(hard)) + spec.limits.map(softLimitLine).join('')
  const begin = seat.enter === undefined ? beginHere(argv, env, spec, seat) : beginInTree(argv, env, spec, seat)
  const script =
    `cd ${quote(bytesOf(seat.inside))} || exit 125\n` +
    `umask ${(spec.umask & 0o777).toString(8).padStart(4, '0')}\n` +
    `${begin.before}{\n:\n${limits}} 2>/dev/null\nexec ${begin.words.map(quote).join(' ')}\n`
  return Buffer.from(script, 'latin1')
}

/** What says where the job is: the launcher's to say, whatever home says; home's own where the job sees home's tree. */
function environmentOf(spec: LaunchSpec, { inside, enter }: Pick<Seat, 'inside' | 'enter'>): string[] {
  const set =
    enter === undefined
      ? { HOME: bytesOf(inside), TMPDIR: bytesOf(inside), PWD: bytesOf(inside), PATH: targetPath, OLDPWD: undefined }
      : { PWD: latin1(spec.directory ?? bytes('/')), OLDPWD: undefined }
  const env = spec.env.map(latin1).filter((entry) => {
    const equals = entry.indexOf('=')
    return equals > 0 && !(entry.slice(0, equals) in set)
  })
  for (const [name, value] of Object.entries(set)) if (value !== undefined) env.push(`${name}=${value}`)
  const usual = enter === undefined ? {} : { TMPDIR: enter.temporary, PATH: enter.path }
  for (const [name, value] of Object.entries(usual)) {
    if (value !== undefined && !env.some((entry) => entry.startsWith(`${name}=`))) env.push(`${name}=${value}`)
  }
  return env
}

interface Beginning {
  /** Shell text. */
  before: string
  /** What the shell becomes. */
  words: string[]
}

/** After an assignment env takes no options any more, but would take such a command for another assignment. */
function beginHere(
  argv: string[],
  env: string[],
  { nicer = 0, terminal }: LaunchSpec,
  { terminalProgram, tools }: Pick<Seat, 'terminalProgram' | 'tools'>
): Beginning {
  const command = argv[0]!
  const through = command.includes('=') || nicer > 0 ? [tools.nice, '-n', String(nicer), '--'] : []
  const shown = terminal === undefined ? [] : terminalCommand(terminalProgram, terminal)
  const close = terminal === undefined ? `exec 3>&- ${CLOSE_TERMINAL}\n` : ''
  return {
    before: `c=${quote(command)} P=${quote(targetPath)}${FIND}${close}`,
    words: [...shown, tools.env, '-i', '--', ...env, ...through, ...argv]
  }
}

/** The command is home's to find; 3 stays open for its word. */
function beginInTree(
  argv: string[],
  env: string[],
  { nicer = 0, terminal, directory }: LaunchSpec,
  { enter, terminalProgram, tools }: Pick<Seat, 'enter' | 'terminalProgram' | 'tools'>
): Beginning {
  const { program, root } = enter!
  const through = nicer > 0 ? [tools.nice, '-n', String(nicer), '--'] : []
  const shown = terminal === undefined ? [] : terminalCommand(terminalProgram, terminal)
  return {
    before: terminal === undefined ? `exec ${CLOSE_TERMINAL}\n` : '',
    words: [...through, ...shown, program, root, latin1(directory ?? bytes('/')), String(env.length), ...env, ...argv]
  }
}

function bytes(text: string): Buffer {
  return Buffer.from(text)
}
