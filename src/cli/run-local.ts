/**
 * A job that runs at home is the client's own child: it inherits streams, terminal and descriptors, with nothing in
 * between, and gets back what the start of Node lost.
 */

import { isUtf8 } from 'node:buffer'
import type { ChildProcess } from 'node:child_process'
import { accessSync, constants, mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { EXIT } from '../errors.ts'
import { latin1, quote } from '../execution/quote.ts'
import { type LaunchState, rawEnvironment } from './run-options.ts'

export interface LocalEnd {
  exitCode: number | null
  signal: NodeJS.Signals | null
  /** What it took, when it was started: ms. */
  wallMs?: number
  cpuMs?: number
  /** It ran as long as it may. */
  timedOut?: true
  /** What kappa has to say, when the command could not be started. */
  message?: string
}

/** What the user asked for beside the command. */
export interface LocalWishes {
  nice?: number
  /** ms; 0: it may run for ever. */
  timeoutMs?: number
  /** Variables beside the client's, `NAME` or `NAME=value`, as bytes. */
  env?: string[]
  /** Only these. */
  noEnv?: boolean
  /** The descriptor that is its stdin; this process's own unless given. */
  stdin?: number
}

/** What a job without an environment has all the same, here as there. */
const PLACE = new Set(['HOME', 'PATH', 'PWD', 'TMPDIR'])

/** The signals that a terminal sends to its whole foreground group, the child included. */
const TERMINAL_SIGNALS: NodeJS.Signals[] = ['SIGINT', 'SIGQUIT']
/** TSTP keeps its default effect: the client stops beside the child, and the shell notices. */
const FORWARDED: NodeJS.Signals[] = [...TERMINAL_SIGNALS, 'SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2']

/** Loaded while the daemon decides rather than before: a job that runs elsewhere doesn't pay for it. */
export function prepareLocal(): typeof import('node:child_process') {
  return process.getBuiltinModule('node:child_process')
}

/** Runs the command here. */
export function runLocally(argv: Buffer[], launch: LaunchState, wishes: LocalWishes): Promise<LocalEnd> {
  const problem = whyNot(argv[0]!.toString())
  if (problem) return Promise.resolve(problem)
  const [file, args] = wrapped(argv, launch, wishes)
  const environment = environmentOf(launch, wishes)
  lower(wishes.nice)
  const stdio: (number | 'ignore')[] = [wishes.stdin ?? 0, 1, 2]
  for (const descriptor of launch.descriptors) {
    while (stdio.length < descriptor) stdio.push('ignore')
    stdio[descriptor] = descriptor
  }
  return new Promise((resolve) => {
    const failed = (error: Error) =>
      resolve({ exitCode: EXIT.notExecutable, signal: null, message: reasonOf(argv[0]!.toString(), error) })
    let child: ChildProcess
    const startedAt = performance.now()
    const cpuBefore = childrenCpuMs()
    // Before there is a child: what comes while it starts is passed on when it has.
    const stopForwarding = forwardSignals((signal) => child.kill(signal))
    let limit: import('./time-limit.ts').TimeLimit | undefined
    let over = false
    const stop = () => {
      over = true
      stopForwarding()
      limit?.stop()
    }
    try {
      child = prepareLocal().spawn(file, args, { stdio, env: environment })
    } catch (error) {
      // Such as E2BIG: only some errors come as an event.
      stop()
      failed(error as Error)
      return
    }
    const { timeoutMs = 0 } = wishes
    if (timeoutMs > 0 && child.pid !== undefined) {
      const { pid } = child
      import('./time-limit.ts').then(({ TimeLimit }) => {
        if (!over) limit = new TimeLimit(pid, timeoutMs)
      }, failed)
    }
    child.once('error', (error) => {
      stop()
      failed(error)
    })
    child.once('exit', (exitCode, signal) => {
      stop()
      const took = { wallMs: performance.now() - startedAt, cpuMs: childrenCpuMs() - cpuBefore }
      resolve({ exitCode, signal, ...took, ...(limit?.over ? { timedOut: true } : {}) })
    })
  })
}

/** The command inherits it; below what this process has only root may go, and a job never does. */
export function lower(nice = -20): void {
  const { getPriority, setPriority } = process.getBuiltinModule('node:os')
  if (nice > getPriority()) setPriority(nice)
}

export function environmentOf(launch: LaunchState, { env = [], noEnv = false }: LocalWishes): NodeJS.ProcessEnv {
  const whole = { ...process.env }
  delete whole.KAPPA_LAUNCH
  delete whole.KAPPA_LAUNCHER
  if (launch.nodeOptions !== undefined) whole.NODE_OPTIONS = launch.nodeOptions
  const environment = noEnv ? Object.fromEntries(Object.entries(whole).filter(([name]) => PLACE.has(name))) : whole
  for (const wish of env) {
    const [name, value] = nameAndValue(wish)
    const given = value ?? whole[name]
    if (given !== undefined) environment[name] = given
  }
  return environment
}

/** Of a variable that the user named; none: as it is here. */
function nameAndValue(wish: string): [string, string | undefined] {
  const text = Buffer.from(wish, 'latin1').toString()
  const equals = text.indexOf('=', 1)
  return equals < 0 ? [text, undefined] : [text.slice(0, equals), text.slice(equals + 1)]
}

/** ms of the ticks that /proc counts in, on every Linux of the architectures that kappa runs on. */
const TICK_MS = 10

/** CPU time of all children that have ended: fields 16 and 17 of /proc/self/stat. */
function childrenCpuMs(): number {
  const stat = readFileSync('/proc/self/stat', 'latin1')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[13]) + Number(fields[14])) * TICK_MS
}

/** As a shell decides: not found is 127, found and not executable 126. */
export function whyNot(name: string): LocalEnd | undefined {
  const candidates = name.includes('/')
    ? [name]
    : (process.env.PATH ?? '/usr/local/bin:/usr/bin:/bin').split(':').map((directory) => join(directory || '.', name))
  let found: string | undefined
  for (const path of name === '' ? [] : candidates) {
    const stat = lookAt(path)
    if (!stat) continue
    // Only a name on PATH may be found elsewhere.
    if (stat instanceof Error) {
      if (name.includes('/')) return { exitCode: EXIT.notExecutable, signal: null, message: reasonOf(name, stat) }
      continue
    }
    if (stat.isFile() && executable(path)) return undefined
    found ??= stat.isDirectory() && !name.includes('/') ? undefined : path
  }
  if (!found) return { exitCode: EXIT.notFound, signal: null, message: `${name || "''"}: command not found` }
  const why = statSync(found).isDirectory() ? 'is a directory' : 'permission denied'
  return { exitCode: EXIT.notExecutable, signal: null, message: `${name}: ${why}` }
}

/** `undefined` when there is nothing; the error when that can't be known, as in a directory that may not be entered. */
function lookAt(path: string): ReturnType<typeof statSync> | Error {
  try {
    return statSync(path, { throwIfNoEntry: false })
  } catch (error) {
    return error as Error
  }
}

function reasonOf(name: string, error: Error): string {
  const { code } = error as NodeJS.ErrnoException
  if (code === 'EACCES') return `${name}: permission denied`
  return code === 'E2BIG' ? `${name}: the argument list is too long` : `${name}: ${error.message}`
}

function executable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Node raised the limit of open files and reset ignored signals: a shell puts both back before it becomes the command. */
export function wrapped(
  argv: Buffer[],
  launch: LaunchState,
  { env = [], noEnv = false }: LocalWishes
): [string, string[]] {
  const lines: string[] = []
  if (launch.openFiles && launch.openFiles !== openFilesNow()) lines.push(`ulimit -Sn ${launch.openFiles}`)
  const ignored = ignoredNumbers(launch.ignoredSignals)
  if (ignored.length > 0) lines.push(`trap '' ${ignored.join(' ')}`)
  const wanted = new Map(env.map((wish) => nameAndValue(wish)))
  const variables = rawEnvironment().filter((entry) => {
    const [name] = nameAndValue(entry.toString('latin1'))
    return !isUtf8(entry) && wanted.get(name) === undefined && (!noEnv || wanted.has(name) || PLACE.has(name))
  })
  if (variables.length > 0 || !argv.every((word) => isUtf8(word)))
    return ['/bin/sh', [oddScript(lines, variables, argv)]]
  const texts = argv.map((word) => word.toString())
  if (lines.length === 0) return [texts[0]!, texts.slice(1)]
  return ['/bin/sh', ['-c', `${lines.join('\n')}\nexec "$@"`, 'sh', ...texts]]
}

/** The soft limit of open files as Node's start left it, which is the hard one. */
function openFilesNow(): string | undefined {
  return /^Max open files\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1]
}

/** Bytes that aren't UTF-8 can't go through Node's spawn: a script that removes itself carries them. */
function oddScript(lines: string[], variables: Buffer[], argv: Buffer[]): string {
  const directory = mkdtempSync(join(tmpdir(), 'kappa-run-'))
  const path = join(directory, 'command')
  const parts: Buffer[] = [
    Buffer.from('rm -r -- '),
    quoted(Buffer.from(directory)),
    Buffer.from(`\n${lines.join('\n')}\nexec`)
  ]
  if (variables.length > 0) {
    parts.push(Buffer.from(' env'), ...variables.flatMap((entry) => [Buffer.from(' '), quoted(entry)]))
    // A command with an equals sign in its name would be one more variable to env.
    parts.push(Buffer.from(` /bin/sh -c 'exec "$@"' sh`))
  }
  for (const word of argv) parts.push(Buffer.from(' '), quoted(word))
  writeFileSync(path, Buffer.concat(parts), { mode: 0o600 })
  return path
}

function quoted(word: Buffer): Buffer {
  return Buffer.from(quote(latin1(word)), 'latin1')
}

function ignoredNumbers(mask: bigint): number[] {
  const numbers: number[] = []
  // A shell can't ignore KILL and STOP, and real-time signals are its C library's own.
  for (let number = 1; number <= 31; number++)
    if (number !== 9 && number !== 19 && (mask >> BigInt(number - 1)) & 1n) numbers.push(number)
  return numbers
}

/** What reaches the client alone is passed on; what a terminal sends to its foreground group has reached the child already. */
function forwardSignals(pass: (signal: NodeJS.Signals) => void): () => void {
  const handlers = FORWARDED.map((signal): [NodeJS.Signals, () => void] => [
    signal,
    () => {
      if (TERMINAL_SIGNALS.includes(signal) && inForeground()) return
      pass(signal)
    }
  ])
  for (const [signal, handler] of handlers) process.on(signal, handler)
  return () => {
    for (const [signal, handler] of handlers) process.off(signal, handler)
  }
}

/** Whether this process is in the foreground group of its terminal: fields 5 and 8 of /proc/self/stat. */
export function inForeground(): boolean {
  const stat = readFileSync('/proc/self/stat', 'latin1')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields[2] === fields[5]
}
