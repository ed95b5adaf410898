/** The command line of `kappa each`. */

import { KappaError, messageOf } from '../../errors.ts'
import type { Takes } from '../command.ts'
import { millisecondsOf } from '../length-of-time.ts'
import { RUN_TAKES, type RunRequest, readOptions, readRunArguments, takesValue } from '../run-options.ts'
import type { Source } from './sources.ts'

export interface Halt {
  /** What runs is ended, or only nothing more begun. */
  when: 'now' | 'soon'
  of: 'fail' | 'success'
  count: number
}

export interface EachRequest {
  /** What holds for each job. */
  run: RunRequest
  /** The command with its placeholders, as bytes, one for each character. */
  words: string[]
  sources: Source[]
  separator: '\n' | '\0'
  /** Jobs at once at most; absent: as many as find a place. */
  jobs?: number
  order: 'kept' | 'as-ended' | 'lines'
  tag: boolean
  shell: boolean
  joblog?: string
  resume: boolean
  results?: string
  halt?: Halt | undefined
  dryRun: boolean
  /** ms between the beginnings of two jobs. */
  delayMs: number
}

const OPTIONS: Takes['options'] = {
  sh: { type: 'boolean' },
  'arg-file': { type: 'string', short: 'a', completes: 'file' },
  null: { type: 'boolean', short: '0' },
  jobs: { type: 'string', short: 'j' },
  unordered: { type: 'boolean' },
  'keep-order': { type: 'boolean', short: 'k', hidden: true },
  'line-buffer': { type: 'boolean' },
  tag: { type: 'boolean' },
  results: { type: 'string', completes: 'directory' },
  joblog: { type: 'string', completes: 'file' },
  resume: { type: 'boolean' },
  halt: { type: 'string', completes: ['never', 'now', 'soon', 'now,fail=3', 'soon,success=1'] },
  delay: { type: 'string' },
  'dry-run': { type: 'boolean' }
}
const { detach: _, t: __, ...ofRun } = RUN_TAKES.options

/** All but two of those of `kappa run` hold for each job. */
export const EACH_TAKES: Takes = { ...RUN_TAKES, options: { ...OPTIONS, ...ofRun } }

const SHORT = new Map(Object.entries(OPTIONS).flatMap(([name, { short }]) => (short ? [[`-${short}`, name]] : [])))

function typeOf(option: string): 'boolean' | 'string' | undefined {
  return Object.hasOwn(OPTIONS, option) ? OPTIONS[option]!.type : undefined
}

const JOBS_MAX = 1_000

/** Bytes of the command line, one for each character. `undefined`: help was asked for. Throws UsageError. */
export function readEachArguments(args: string[], environment: NodeJS.ProcessEnv): EachRequest | undefined {
  const request: Omit<EachRequest, 'run' | 'words' | 'sources'> & { files: string[] } = {
    ...{ separator: '\n', order: 'kept', tag: false, shell: false, resume: false, dryRun: false, delayMs: 0 },
    files: []
  }
  const forRun: string[] = []
  const index = readOptions(args, (word, next) => {
    const [option, joined] = optionOf(word)
    if (typeOf(option) === 'boolean' && joined === undefined) setFlag(request, option)
    else if (typeOf(option) === 'string') {
      const value = joined ?? next()
      if (value === undefined || value === '') throw usage(`${word} needs a value`)
      setValue(request, option, value)
    } else {
      forRun.push(word)
      if (!word.includes('=') && takesValue(word)) forRun.push(next() ?? '')
    }
  })
  if (index === undefined) return undefined
  const { files, ...rest } = request
  const [words, sources] = split(args.slice(index), files)
  if (forRun.includes('--detach')) throw usage('--detach is for single jobs: kappa run --detach')
  const run = readForRun([...forRun.map(pathOf), '--', words[0]!], environment)
  if (run.terminal === 'always') throw usage('its jobs have no terminal')
  if (rest.resume && rest.joblog === undefined) throw usage('--resume needs the --joblog of the earlier run')
  return { ...rest, run, words, sources }
}

function readForRun(args: string[], environment: NodeJS.ProcessEnv): RunRequest {
  try {
    return readRunArguments(args, environment)!
  } catch (error) {
    throw new KappaError('UsageError', messageOf(error).replaceAll('kappa run', 'kappa each'), { cause: error })
  }
}

function optionOf(word: string): [string, string | undefined] {
  const short = SHORT.get(word.slice(0, 2))
  if (short !== undefined && !word.startsWith('--')) {
    if (typeOf(short) === 'boolean') return [word.length === 2 ? short : word, undefined]
    return [short, word.length > 2 ? word.slice(2) : undefined]
  }
  const equals = word.indexOf('=')
  return equals < 0 ? [word.slice(2), undefined] : [word.slice(2, equals), word.slice(equals + 1)]
}

function setFlag(request: Partial<EachRequest>, option: string): void {
  if (option === 'unordered') request.order = 'as-ended'
  else if (option === 'line-buffer') request.order = 'lines'
  else if (option === 'keep-order') request.order = 'kept'
  else if (option === 'tag') request.tag = true
  else if (option === 'sh') request.shell = true
  else if (option === 'resume') request.resume = true
  else if (option === 'dry-run') request.dryRun = true
  else request.separator = '\0'
}

function setValue(request: Partial<EachRequest> & { files: string[] }, option: string, value: string): void {
  if (option === 'jobs') request.jobs = jobsOf(value)
  else if (option === 'joblog') request.joblog = pathOf(value)
  else if (option === 'results') request.results = pathOf(value)
  else if (option === 'halt') request.halt = haltOf(value)
  else if (option === 'arg-file') request.files.push(pathOf(value))
  else request.delayMs = delayOf(value)
}

/** The line is bytes; paths are text. */
function pathOf(bytes: string): string {
  return Buffer.from(bytes, 'latin1').toString()
}

function jobsOf(text: string): number {
  const jobs = Number(text)
  if (Number.isInteger(jobs) && jobs >= 1 && jobs <= JOBS_MAX) return jobs
  throw usage(`-j must be a whole number from 1 to ${JOBS_MAX}, not ${text}`)
}

function delayOf(text: string): number {
  const ms = millisecondsOf(text, 's')
  if (ms === undefined) throw usage(`--delay must be a length of time such as 0.5s, not ${text}`)
  return ms
}

/** `never`, `now`, `soon`, `now,fail=3`, `soon,success=1`. */
function haltOf(text: string): Halt | undefined {
  if (text === 'never') return undefined
  const match = /^(now|soon)(?:,(fail|success)=(\d{1,9}))?$/.exec(text)
  if (!match || match[3] === '0') throw usage(`--halt must be never, now or soon, or such as now,fail=3, not ${text}`)
  return { when: match[1] as Halt['when'], of: (match[2] ?? 'fail') as Halt['of'], count: Number(match[3] ?? 1) }
}

/** What is before the first `:::` or `::::` is the command. */
function split(args: string[], files: string[]): [string[], Source[]] {
  const first = args.findIndex((word) => word === ':::' || word === '::::')
  const words = first < 0 ? args : args.slice(0, first)
  const sources: Source[] = files.map((path) => ({ kind: 'file', path }))
  for (let index = first; index >= 0 && index < args.length; ) {
    let end = index + 1
    while (end < args.length && args[end] !== ':::' && args[end] !== '::::') end++
    const values = args.slice(index + 1, end)
    if (args[index] === ':::') sources.push({ kind: 'words', words: values })
    else for (const path of values) sources.push({ kind: 'file', path: pathOf(path) })
    index = end
  }
  if (words.length === 0) throw usage('say which command')
  if (sources.length === 0) sources.push({ kind: 'file', path: '-' })
  if (sources.filter((source) => source.kind === 'file' && source.path === '-').length > 1)
    throw usage('stdin can be only one of the sources')
  return [words, sources]
}

function usage(problem: string): KappaError {
  return new KappaError('UsageError', `kappa each: ${problem}; see: kappa each --help`)
}
