import { parseArgs } from 'node:util'
import { nearest } from '../daemon/suggestion.ts'
import { KappaError } from '../errors.ts'
import type { OptionDeclaration, Takes } from './command.ts'
import { print } from './output.ts'

type Options = Record<string, OptionDeclaration>

/** What a command takes, and what is said of it. */
interface Shape<T extends Options> extends Takes {
  /** `kappa` and the command's name, for messages. */
  name: string
  help: string
  options: T
}

type Parsed<T extends Options> = ReturnType<
  typeof parseArgs<{ options: T; strict: true; allowPositionals: true; tokens: false }>
>

/** Options and arguments of a command; `undefined` when its help was asked for and printed. Throws UsageError. */
export function readArguments<const T extends Options>(shape: Shape<T>, args: string[]): Parsed<T> | undefined {
  const beforeEnd = args.includes('--') ? args.slice(0, args.indexOf('--')) : args
  if (beforeEnd.includes('--help') || beforeEnd.includes('-h')) {
    print(shape.help)
    return undefined
  }
  let parsed: Parsed<T>
  try {
    parsed = parseArgs({
      args,
      options: shape.options,
      strict: true,
      allowPositionals: true,
      tokens: false
    }) as Parsed<T>
  } catch (error) {
    throw usageError(shape.name, optionProblem(error as Error & { code?: string }, Object.keys(shape.options)))
  }
  const { min, max, what } = shape.arguments ?? { min: 0, max: 0, what: 'no arguments' }
  const count = parsed.positionals.length
  if (count < min || count > max) throw usageError(shape.name, `it takes ${what}`)
  return parsed
}

/** Wrong usage of a command, with where to read more. */
export function usageError(name: string, problem: string): KappaError {
  return new KappaError('UsageError', `${name}: ${problem}; see: ${name} --help`)
}

/** Node's message is several sentences of advice for programmers; a person needs one phrase. */
function optionProblem(error: Error & { code?: string }, options: string[]): string {
  const option = /'(-[^' ]*)/.exec(error.message)?.[1] ?? ''
  if (error.code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION') {
    const near = option.startsWith('--') ? nearest(option.slice(2), [...options, 'help']) : undefined
    return `there is no option ${option}${near ? `, did you mean --${near}?` : ''}`
  }
  const [, valued] = /'(?:-\w, )?(--[\w-]+) <value>' argument missing/.exec(error.message) ?? []
  if (valued !== undefined) return `${valued} needs a value`
  return error.message.split(/[.\n]/)[0]!.replace(/^Option /, 'option ')
}
