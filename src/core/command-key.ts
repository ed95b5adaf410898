/**
 * Under which name the runs of a command are remembered: the program and the shape of its first arguments, such as
 * `cc -c`, `ffmpeg -i`, `git commit`. Options and subcommands only, never paths, values or contents: what is kept on disk
 * tells which tools somebody uses, and nothing of what is done with them.
 */

import { basename, innermostCommand } from './command.ts'

/** Longest key. */
export const KEY_LENGTH_MAX = 128
/** Arguments that are looked at. */
const WORDS_MAX = 16
const OPTIONS_MAX = 4

const PROGRAM = /^[A-Za-z0-9_][\w.+-]{0,31}$/
/** One letter alone, or a long one up to its value; anything else may have a value in it (`-psecret`, `-I/home/me`). */
const OPTION = /^(?:-[A-Za-z]|--[a-z][a-z-]{1,23})$/
const SUBCOMMAND = /^[a-z][a-z-]{0,23}$/
const MODULE = /^[a-z_][a-z_.]{0,31}$/

/** Programs whose first argument says what they do. */
const WITH_SUBCOMMANDS: ReadonlySet<string> = new Set(
  [
    'git hg svn cargo rustup go npm pnpm yarn bun deno pip pip3 poetry uv conda dotnet swift zig mvn gradle bazel bazelisk',
    'meson stack cabal dune mix bundle composer flutter dart terraform kubectl helm aws gcloud openssl samtools bcftools',
    'bwa restic borg rclone perf ollama dvc 7z'
  ].flatMap((names) => names.split(' '))
)

/** What they run is in a file or in the arguments: two runs have nothing in common but the program. */
const INTERPRETER =
  /^(?:(?:[bd]?a|z|k|c|tc|fi)?sh|python[\d.]*|pypy[\d.]*|perl[\d.]*|ruby[\d.]*|node|nodejs|deno|bun|php[\d.]*|lua[\d.]*|luajit|tclsh|Rscript|R|julia|java|octave|expect|[gmn]?awk|xargs|parallel|find|busybox|npx|ssh)$/

/** The key of a command line, at most KEY_LENGTH_MAX characters; undefined: its runs teach nothing about the next one. */
export function commandKey(argv: readonly string[]): string | undefined {
  const [first, ...args] = innermostCommand(argv)
  if (first === undefined) return undefined
  const program = basename(first)
  if (!PROGRAM.test(program)) return undefined
  if (WITH_SUBCOMMANDS.has(program)) {
    // Behind an option it could be that option's value.
    const [subcommand] = args
    if (subcommand !== undefined && SUBCOMMAND.test(subcommand)) return `${program} ${subcommand}`
  }
  if (INTERPRETER.test(program)) {
    const [option, module] = args
    const known = program.startsWith('py') && option === '-m' && module !== undefined && MODULE.test(module)
    return known ? `${program} -m ${module}` : undefined
  }
  return [program, ...optionsOf(args)].join(' ').slice(0, KEY_LENGTH_MAX)
}

/** Input of so many times more or less is of another size. */
const SIZE_STEP = 4
const SIZES = 24
const SIZED = /^(.*) <([0-9]{1,2})$/

/**
 * The key of a command whose input files have so many bytes: one tiny file and one large one take different times. Sizes go
 * up in steps of four; no more than the step is told.
 */
export function keyOfInput(key: string, bytes: number): string {
  if (!(bytes > 0)) return key
  const size = Math.min(SIZES, Math.max(1, Math.ceil(Math.log(bytes) / Math.log(SIZE_STEP))))
  return `${key.slice(0, KEY_LENGTH_MAX - 4)} <${size}`
}

/** Keys of the same command with larger input, the nearest first; none for a command without input. */
export function keysOfLargerInputs(key: string): string[] {
  const [, command, size] = SIZED.exec(key) ?? []
  if (command === undefined) return []
  return Array.from({ length: SIZES - Number(size) }, (_, index) => `${command} <${Number(size) + 1 + index}`)
}

/** In a fixed order: `-c -o x` and `-o x -c` are the same. */
function optionsOf(args: readonly string[]): string[] {
  const found = new Set<string>()
  for (const arg of args.slice(0, WORDS_MAX)) {
    if (arg === '--') break
    const [option] = arg.startsWith('--') ? arg.split('=') : [arg]
    if (option !== undefined && OPTION.test(option)) found.add(option)
    if (found.size === OPTIONS_MAX) break
  }
  return [...found].toSorted()
}
