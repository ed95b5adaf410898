/** The command line and the process of `kappa run`, read as bytes where bytes matter. */

import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import type { RunOptions } from '../daemon/control-codec.ts'
import { KappaError } from '../errors.ts'
import { LEASE_MS, LEASE_MS_MAX } from '../protocols/exec/constants.ts'
import type { Takes } from './command.ts'
import { millisecondsOf } from './length-of-time.ts'

/** What `kappa run` was asked. */
export interface RunRequest {
  options: RunOptions
  ins: string[]
  outs: string[]
  outAlways: boolean
  /** `--files`, which is what a job sees that is asked for without any of these. */
  files: boolean
  /** It outlives this client, and has no stdin. */
  detach: boolean
  /** Whether the job gets a terminal: always, never, or as it would have one here. */
  terminal: 'always' | 'never' | 'as-here'
  /** The directory to change to before anything else. */
  cwd?: string
  /** How often it may be tried again when its end is unknown; absent: never. */
  retry?: number
  /** The niceness of the job, 0–19; absent: that of this process. */
  nice?: number
  /** How many of the arguments behind `run` are its own; the command begins after them. */
  consumed: number
}

/** Those of one letter have no long name. */
const OPTIONS: Takes['options'] = {
  files: { type: 'boolean' },
  share: { type: 'string', completes: 'file' },
  tools: { type: 'string', completes: ['home', 'target'] },
  in: { type: 'string', completes: 'file' },
  out: { type: 'string', completes: 'file' },
  'out-always': { type: 'boolean' },
  plain: { type: 'boolean' },
  local: { type: 'boolean' },
  remote: { type: 'boolean' },
  on: { type: 'string', completes: 'peers' },
  not: { type: 'string', completes: 'peers' },
  cores: { type: 'string' },
  memory: { type: 'string' },
  tool: { type: 'string', completes: 'program' },
  need: { type: 'string' },
  wait: { type: 'boolean' },
  wake: { type: 'boolean' },
  timeout: { type: 'string' },
  retry: { type: 'string' },
  lease: { type: 'string' },
  detach: { type: 'boolean' },
  nice: { type: 'string' },
  cwd: { type: 'string', completes: 'directory' },
  t: { type: 'boolean' },
  T: { type: 'boolean' },
  env: { type: 'string' },
  'no-env': { type: 'boolean' },
  verbose: { type: 'boolean', short: 'v' },
  shim: { type: 'boolean', hidden: true }
}

export const RUN_TAKES: Takes = {
  options: OPTIONS,
  arguments: { min: 1, max: Number.POSITIVE_INFINITY, what: 'a command', completes: ['command'] }
}

function typeOf(option: string): 'boolean' | 'string' | undefined {
  return option.length > 1 && Object.hasOwn(OPTIONS, option) ? OPTIONS[option]!.type : undefined
}

/** As many of each repeated option as a message may carry. */
const REPEATED_MAX = 4_096
const RETRY_MAX = 100
/** 100 years. */
const TIME_MS_MAX = 36_500 * 86_400_000
const UNITS: Record<string, number> = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 }

/**
 * Takes options, each with a function that has the word behind it, up to the first word that is none or `--`. How many words
 * that are; undefined: help was asked for.
 */
export function readOptions(
  args: readonly string[],
  take: (word: string, next: () => string | undefined) => void
): number | undefined {
  for (let index = 0; index < args.length; index++) {
    const word = args[index]!
    if (word === '--') return index + 1
    if (!word.startsWith('-') || word === '-') return index
    if (word === '--help' || word === '-h') return undefined
    take(word, () => args[++index])
  }
  return args.length
}

/**
 * Reads options up to the first word that is none: the command. Not `node:util`'s parser, which costs 2 ms of start-up
 * and takes the command's own options too. `undefined`: help was asked for. Throws UsageError.
 */
export function readRunArguments(args: string[], environment: NodeJS.ProcessEnv): RunRequest | undefined {
  const request: RunRequest = {
    options: optionsOf(environment),
    ins: [],
    outs: [],
    outAlways: false,
    files: false,
    detach: false,
    terminal: 'as-here',
    consumed: 0
  }
  const index = readOptions(args, (word, next) => {
    if (word === '-v') {
      request.options.verbose = true
      return
    }
    if (word === '-t' || word === '-T') {
      const terminal = word === '-t' ? 'always' : 'never'
      if (request.terminal !== 'as-here' && request.terminal !== terminal) throw usage('-t and -T exclude each other')
      request.terminal = terminal
      return
    }
    const [option, joined] = splitOption(word)
    if (typeOf(option) === 'boolean' && joined === undefined) setFlag(request, option)
    else if (typeOf(option) === 'string') {
      const value = joined ?? next()
      if (value === undefined || value === '') throw usage(`--${option} needs a value`)
      setValue(request, option, value)
    } else throw unknownOption(word)
  })
  if (index === undefined) return undefined
  if (index >= args.length) throw usage('say which command')
  if (request.options.local && request.options.remote) throw usage('--local and --remote exclude each other')
  if (request.detach && request.terminal === 'always') throw usage('-t and --detach exclude each other')
  if (request.detach && request.retry) throw usage('--retry and --detach exclude each other')
  if (request.detach && request.options.leaseMs) throw usage('--lease and --detach exclude each other')
  checkMode(request)
  request.consumed = index
  return request
}

/** Whether the next word belongs to this one. */
export function takesValue(word: string): boolean {
  return word.startsWith('--') && typeOf(word.slice(2)) === 'string'
}

/** What the job sees is said once. */
function checkMode({ options, ins, outs, files, detach }: RunRequest): void {
  const { plain, shares, programs, local } = options
  const isStaged = ins.length > 0 || outs.length > 0
  if (!plain && !isStaged) {
    if (!detach || local) return
    throw usage('--detach needs --plain, --in or --out: what sees the files of this machine can not outlive it')
  }
  const others = isStaged ? '--in, --out' : '--plain'
  if (files) throw usage(`--files and ${others} exclude each other`)
  if (shares) throw usage(`--share and ${others} exclude each other: such a job sees nothing else of this machine`)
  if (programs) throw usage(`--tools and ${others} exclude each other: such a job has its machine's programs anyway`)
}

/** Shims take no options: the environment can carry them. */
function optionsOf(environment: NodeJS.ProcessEnv): RunOptions {
  const { KAPPA_ON, KAPPA_NOT, KAPPA_LOCAL, KAPPA_REMOTE, KAPPA_CORES, KAPPA_VERBOSE } = environment
  const options: RunOptions = {}
  if (KAPPA_ON) options.on = KAPPA_ON.split(',')
  if (KAPPA_NOT) options.not = KAPPA_NOT.split(',')
  if (KAPPA_LOCAL) options.local = true
  if (KAPPA_REMOTE) options.remote = true
  if (KAPPA_CORES) options.cores = coresOf(KAPPA_CORES, 'KAPPA_CORES')
  if (KAPPA_VERBOSE) options.verbose = true
  return options
}

function splitOption(word: string): [string, string | undefined] {
  if (!word.startsWith('--')) return [word, undefined]
  const equals = word.indexOf('=')
  return equals < 0 ? [word.slice(2), undefined] : [word.slice(2, equals), word.slice(equals + 1)]
}

function setFlag(request: RunRequest, option: string): void {
  const { options } = request
  if (option === 'plain') options.plain = true
  else if (option === 'files') request.files = true
  else if (option === 'local') options.local = true
  else if (option === 'remote') options.remote = true
  else if (option === 'wait') options.wait = true
  else if (option === 'wake') options.wake = true
  else if (option === 'no-env') options.noEnv = true
  else if (option === 'verbose') options.verbose = true
  else if (option === 'shim') options.shim = true
  else if (option === 'detach') request.detach = true
  else request.outAlways = true
}

function setValue(request: RunRequest, option: string, value: string): void {
  const { options } = request
  if (option === 'share') append((options.shares ??= []), resolve(value))
  else if (option === 'tools') setPrograms(options, value)
  else if (option === 'in') append(request.ins, value)
  else if (option === 'out') append(request.outs, value)
  else if (option === 'on') options.on = [...(options.on ?? []), ...value.split(',')]
  else if (option === 'not') options.not = [...(options.not ?? []), ...value.split(',')]
  else if (option === 'cores') options.cores = coresOf(value, '--cores')
  else if (option === 'memory') options.memoryBytes = bytesOf(value)
  else if (option === 'tool') append((options.tools ??= []), value)
  else if (option === 'need') append((options.needs ??= []), value)
  else if (option === 'timeout') options.timeoutMs = timeOf(value, '--timeout')
  else if (option === 'lease') options.leaseMs = leaseOf(value)
  else if (option === 'retry') request.retry = retryOf(value)
  else if (option === 'nice') request.nice = niceOf(value)
  else if (option === 'cwd') request.cwd = value
  // As bytes, like the environment itself.
  else append((options.env ??= []), Buffer.from(value).toString('latin1'))
}

function append(list: string[], value: string): void {
  if (list.length >= REPEATED_MAX) throw usage(`an option is repeated more than ${REPEATED_MAX} times`)
  list.push(value)
}

function setPrograms(options: RunOptions, value: string): void {
  if (value === 'target') options.programs = 'target'
  else if (value === 'home') delete options.programs
  else throw usage(`--tools must be home or target, whose programs it is to run, not ${value}`)
}

function coresOf(text: string, what: string): number {
  const cores = Number(text)
  if (!(cores > 0 && cores <= 1024))
    throw usage(`${what} must be a number of cores above 0 and up to 1024, not ${text}`)
  return cores
}

function bytesOf(text: string): number {
  const match = /^(\d+(?:\.\d+)?)([kmgt]?)(?:i?b)?$/i.exec(text)
  if (!match) throw usage(`--memory must be a size such as 800M or 2G, not ${text}`)
  return Math.ceil(Number(match[1]) * UNITS[match[2]!.toLowerCase()]!)
}

/** As timeout(1) has it: a number alone is seconds. */
function timeOf(text: string, what: string): number {
  const ms = millisecondsOf(text, 's')
  if (ms === undefined || ms > TIME_MS_MAX)
    throw usage(`${what} must be a length of time such as 90s, 1.5h or 2d, not ${text}`)
  return ms
}

function leaseOf(text: string): number {
  const ms = timeOf(text, '--lease')
  if (ms >= LEASE_MS && ms <= LEASE_MS_MAX) return ms
  throw usage(
    `--lease must be from ${LEASE_MS / 1_000}s, which is what a job has without it, to ${LEASE_MS_MAX / 3_600_000}h, not ${text}`
  )
}

function retryOf(text: string): number {
  if (/^\d{1,3}$/.test(text) && Number(text) <= RETRY_MAX) return Number(text)
  throw usage(`--retry must be a whole number from 0 to ${RETRY_MAX}, not ${text}`)
}

function niceOf(text: string): number {
  if (/^\d{1,2}$/.test(text) && Number(text) <= 19) return Number(text)
  const why = text.startsWith('-') ? '; a job never goes before what others run' : ''
  throw usage(`--nice must be a whole number from 0 to 19, not ${text}${why}`)
}

function unknownOption(word: string): KappaError {
  return usage(`there is no option ${word}; a command's own options come after its name`)
}

function usage(problem: string): KappaError {
  return new KappaError('UsageError', `kappa run: ${problem}; see: kappa run --help`)
}

/** The command's words as bytes: what Node decodes loses bytes that aren't UTF-8. */
export function rawArguments(count: number): Buffer[] {
  const words = splitZeros(readFileSync('/proc/self/cmdline'))
  return count === 0 ? [] : words.slice(-count)
}

/** The environment as `NAME=value` bytes, less what the launcher added for the client. */
export function rawEnvironment(): Buffer[] {
  return splitZeros(readFileSync('/proc/self/environ')).filter(
    (entry) => !entry.toString('latin1', 0, 13).startsWith('KAPPA_LAUNCH')
  )
}

function splitZeros(bytes: Buffer): Buffer[] {
  const words: Buffer[] = []
  let start = 0
  for (let end = bytes.indexOf(0); end >= 0; end = bytes.indexOf(0, start)) {
    words.push(bytes.subarray(start, end))
    start = end + 1
  }
  if (start < bytes.length) words.push(bytes.subarray(start))
  return words
}

/** What the launcher saw before Node's start lost it. */
export interface LaunchState {
  /** Bit n-1 is set when signal n was ignored. */
  ignoredSignals: bigint
  /** Soft limit of open files: a number or `unlimited`; absent when unknown. */
  openFiles: string | undefined
  /** Inherited descriptors from 3 on. */
  descriptors: number[]
  /** The user's NODE_OPTIONS; absent when it wasn't set. */
  nodeOptions: string | undefined
}

export function launchState(text = process.env.KAPPA_LAUNCH ?? ''): LaunchState {
  const match = /^sigign:([0-9a-f]*);nofile:([^;]*);fds:([\d,]*)(?:;options:([\s\S]*))?$/.exec(text)
  return {
    ignoredSignals: BigInt(`0x${match?.[1] || '0'}`),
    openFiles: match?.[2] || undefined,
    descriptors: match?.[3] ? match[3].split(',').map(Number) : [],
    nodeOptions: match?.[4]
  }
}

/** The limits that travel, by their titles in /proc/self/limits. */
const LIMITS: Record<string, string> = {
  'address space': 'as',
  'core file size': 'core',
  'cpu time': 'cpu',
  'data size': 'data',
  'file size': 'fsize',
  'locked memory': 'memlock',
  'open files': 'nofile',
  processes: 'nproc',
  'stack size': 'stack'
}

/** Soft limits of this process as the job should get them; -1 is unlimited. */
export function softLimits(launch: LaunchState): { name: string; soft: number }[] {
  const limits: { name: string; soft: number }[] = []
  for (const line of readFileSync('/proc/self/limits', 'latin1').split('\n').slice(1)) {
    const match = /^Max (.+?)\s{2,}(\S+)/.exec(line)
    const name = match && LIMITS[match[1]!]
    if (!name) continue
    const text = name === 'nofile' && launch.openFiles ? launch.openFiles : match[2]!
    limits.push({ name, soft: text === 'unlimited' ? -1 : Number(text) })
  }
  return limits
}
