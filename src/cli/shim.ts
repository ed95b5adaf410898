import { chmodSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { delimiter, join, resolve } from 'node:path'
import { smallArguments } from '../core/stays.ts'
import { shimsDirectory } from '../daemon/directories.ts'
import { KappaError, messageOf } from '../errors.ts'
import { quote } from '../execution/quote.ts'
import { readArguments, usageError } from './arguments.ts'
import type { Command, Takes } from './command.ts'
import { print, printJson } from './output.ts'

const HELP = `Usage: kappa shim add CMD...
       kappa shim remove CMD...
       kappa shim list [--json]
       kappa shim path | prefix

Keeps a directory for the front of PATH in which a command of that name is kappa run of the real one, so that make and
the like run it on all machines without knowing. What is over before it could be elsewhere stays here: links, --version,
what ./configure tries. The directory is told by path; prefix tells a program to put in front of a compiler, for what asks
for one:

  CCACHE_PREFIX="$(kappa shim prefix)" make CC="ccache gcc"         what ccache hasn't got is compiled everywhere
  cmake -DCMAKE_C_COMPILER_LAUNCHER="$(kappa shim prefix)" .        also CMAKE_CXX_COMPILER_LAUNCHER
  RUSTC_WRAPPER="$(kappa shim prefix)" cargo build

  --json    one object: directory, first (whether it is in front of PATH), shims

Example:
  kappa shim add gcc g++ cc c++
  export PATH="$(kappa shim path):$PATH"
  make -j$(kappa slots)`

const NAME = /^[A-Za-z0-9_+.][A-Za-z0-9_+.-]{0,99}$/
/** What would run itself, or all that is typed. */
const NEVER = new Set(['kappa', 'sh', 'bash', 'dash', 'zsh', 'fish', 'env', 'sudo'])
const MARK = '# A shim of kappa'
/** What is put in front of a command stands among them. */
const PREFIX = 'kappa-prefix'

const TAKES = {
  options: { json: { type: 'boolean' } },
  arguments: {
    min: 1,
    max: 1_000,
    what: 'add, remove, list, path or prefix',
    completes: [['add', 'remove', 'list', 'path', 'prefix'], 'program']
  }
} as const satisfies Takes

export const command: Command = {
  help: HELP,
  takes: TAKES,
  async execute(args) {
    const parsed = readArguments({ name: 'kappa shim', help: HELP, ...TAKES }, args)
    if (!parsed) return 0
    const [verb, ...names] = parsed.positionals
    const { json = false } = parsed.values
    if (json && verb !== 'list') throw usageError('kappa shim', '--json is for list')
    if ((verb === 'add' || verb === 'remove') && names.length === 0) throw usageError('kappa shim', 'say which command')
    if (verb === 'add') add(names)
    else if (verb === 'remove') remove(names)
    else if (verb === 'list' && names.length === 0) list(json)
    else if (verb === 'path' && names.length === 0) print(shimsDirectory())
    else if (verb === 'prefix' && names.length === 0) print(makePrefix())
    else throw usageError('kappa shim', `it takes ${TAKES.arguments.what}`)
    return 0
  }
}

function add(names: string[]): void {
  for (const name of names) {
    if (!NAME.test(name)) throw usageError('kappa shim', `${name} is no name of a command`)
    if (NEVER.has(name)) throw usageError('kappa shim', `${name} can't have a shim: it runs what else is typed`)
    if (realOf(name) === undefined)
      throw new KappaError('UsageError', `kappa shim: there is no ${name} on PATH; install it first`)
  }
  for (const name of names) write(name, scriptOf(name))
  if (!isFirst(names)) print(`Now put them in front: export PATH="${shimsDirectory()}:$PATH"`)
}

function makePrefix(): string {
  return write(PREFIX, scriptOf())
}

function write(name: string, script: string): string {
  const directory = shimsDirectory()
  const path = join(directory, name)
  try {
    mkdirSync(directory, { recursive: true })
    writeFileSync(`${path}.new`, script, { mode: 0o755 })
    chmodSync(`${path}.new`, 0o755)
    renameSync(`${path}.new`, path)
    return path
  } catch (error) {
    throw new KappaError('StateError', `kappa shim: ${directory} can't be written: ${messageOf(error)}`)
  }
}

function remove(names: string[]): void {
  const missing = names.find((name) => !shims().includes(name))
  if (missing !== undefined) throw new KappaError('UsageError', `kappa shim: there is no shim of ${missing}`)
  for (const name of names) rmSync(join(shimsDirectory(), name))
}

function list(json: boolean): void {
  const names = shims()
  if (json) {
    const found = names.map((name) => ({ name, program: realOf(name) ?? null }))
    printJson({ directory: shimsDirectory(), first: isFirst(names), shims: found })
    return
  }
  for (const name of names) print(`${name}\t${realOf(name) ?? 'not installed'}`)
  if (names.length > 0 && !isFirst(names)) print(`Not in front of PATH: export PATH="${shimsDirectory()}:$PATH"`)
}

/** Names of what was made here. */
function shims(): string[] {
  try {
    return readdirSync(shimsDirectory())
      .filter((name) => name !== PREFIX && readFileSync(join(shimsDirectory(), name), 'latin1').includes(MARK))
      .toSorted()
  } catch {
    return []
  }
}

function directoriesOnPath(): string[] {
  return (process.env.PATH ?? '').split(delimiter).filter((directory) => directory !== '')
}

function realOf(name: string): string | undefined {
  const own = shimsDirectory()
  return directoriesOnPath()
    .filter((directory) => resolve(directory) !== own)
    .map((directory) => join(directory, name))
    .find((path) => isProgram(path))
}

function isProgram(path: string): boolean {
  const stat = statSync(path, { throwIfNoEntry: false })
  return stat?.isFile() === true && (stat.mode & 0o111) !== 0
}

/** Nothing of these names comes before them. */
function isFirst(names: string[]): boolean {
  const own = shimsDirectory()
  return names.every((name) => {
    const first = directoriesOnPath().find((directory) => isProgram(join(directory, name)))
    return first !== undefined && resolve(first) === own
  })
}

/** ./configure asks hundreds of times for what is over at once: kappa need not know. */
function smallWork(name: string): string {
  const patterns = smallArguments(name).flatMap((argument) => {
    if (argument.startsWith('-')) return [argument]
    return argument.endsWith('*')
      ? [argument, `*/${argument}`]
      : [argument, `${argument}/*`, `*/${argument}`, `*/${argument}/*`]
  })
  if (patterns.length === 0) return ''
  return `for argument; do
  case $argument in
    ${patterns.join(' | ')}) exec ${quote(name)} "$@" ;;
  esac
done
`
}

/** Who looks for a compiler on PATH finds its shim. */
const WITHOUT_SHIM = `case $1 in
  "$shims"/*)
    name=\${1##*/}
    shift
    set -- "$name" "$@"
    ;;
esac
`

/**
 * Without the shims on PATH the real command is found, by whoever runs it, and by what it runs itself. A build goes on where
 * kappa is gone, and inside a job, where there is no cluster in the cluster.
 */
function scriptOf(name?: string): string {
  const [words, rest] = name === undefined ? ['', WITHOUT_SHIM] : [quote(name), smallWork(name)]
  const launcher = process.env.KAPPA_LAUNCHER
  if (launcher === undefined) throw new KappaError('StateError', 'kappa shim: start it as kappa, by its launcher')
  return `#!/bin/sh
${MARK}: kappa run ${words}
shims=${quote(shimsDirectory())}
rest=:$PATH:
while :; do
  case $rest in
    *":$shims:"*) rest=\${rest%%":$shims:"*}:\${rest#*":$shims:"} ;;
    *) break ;;
  esac
done
rest=\${rest#:}
PATH=\${rest%:}
kappa=${quote(launcher)}
[ -z "\${KAPPA_JOB-}" ] && [ -x "$kappa" ] || exec ${words} "$@"
${rest}exec "$kappa" run --shim -T -- ${words} "$@"
`
}
