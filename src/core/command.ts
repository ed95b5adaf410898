/**
 * Which program a command line really runs: tables about programs (demand.ts, stays.ts) look through wrappers such as
 * `env`, `nice` and `timeout`. A guess from names alone, used to place a job well, never to allow or forbid anything.
 */

interface Wrapper {
  /** Options whose value is the next argument. */
  takesValue: readonly string[]
  /** Arguments of its own before the command. */
  operands: number
}

const WRAPPERS: Readonly<Record<string, Wrapper>> = {
  env: { takesValue: ['-u', '--unset', '-C', '--chdir'], operands: 0 },
  nice: { takesValue: ['-n', '--adjustment'], operands: 0 },
  ionice: { takesValue: ['-c', '-n', '--class', '--classdata'], operands: 0 },
  time: { takesValue: ['-f', '-o', '--format', '--output'], operands: 0 },
  timeout: { takesValue: ['-k', '-s', '--kill-after', '--signal'], operands: 1 },
  taskset: { takesValue: [], operands: 1 },
  chrt: { takesValue: [], operands: 1 },
  stdbuf: { takesValue: ['-i', '-o', '-e', '--input', '--output', '--error'], operands: 0 },
  nohup: { takesValue: [], operands: 0 },
  setsid: { takesValue: [], operands: 0 }
}

const SHELLS: ReadonlySet<string> = new Set(['sh', 'bash', 'dash', 'ash', 'zsh', 'ksh', 'mksh', 'fish'])
const ASSIGNMENT = /^[A-Za-z_][A-Za-z0-9_]*=/
/** A script of one simple command: words only, nothing that a shell would expand, join or redirect. */
const SIMPLE_SCRIPT = /^[\w@%+=:,./ -]+$/
/** Wrappers inside wrappers are looked through this deep. */
const MAX_DEPTH = 8

/** Whether a program of that name runs what it is given as text. */
export function isShell(name: string): boolean {
  return SHELLS.has(name)
}

/** The last part of a path. */
export function basename(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

/**
 * The command that `argv` comes down to, `[]` when nothing is left (`env` alone). `sh -c SCRIPT` is looked into only when
 * the script is one simple command without quotes, expansions or operators; otherwise the shell itself is the answer.
 */
export function innermostCommand(argv: readonly string[]): readonly string[] {
  let command = argv
  for (let depth = 0; depth < MAX_DEPTH; depth++) {
    const next = unwrapped(command)
    if (next === undefined) return command
    command = next
  }
  return command
}

function unwrapped(argv: readonly string[]): readonly string[] | undefined {
  const [first, second, script] = argv
  if (first === undefined) return undefined
  const program = basename(first)
  if (SHELLS.has(program) && second === '-c' && script !== undefined && SIMPLE_SCRIPT.test(script)) {
    return withoutAssignments(script.trim().split(/ +/))
  }
  const wrapper = Object.hasOwn(WRAPPERS, program) ? WRAPPERS[program] : undefined
  if (wrapper === undefined) return undefined
  let at = 1
  while (at < argv.length && argv[at]!.startsWith('-') && argv[at] !== '-') {
    const option = argv[at]!
    at += wrapper.takesValue.includes(option) ? 2 : 1
    if (option === '--') break
  }
  const rest = argv.slice(at + wrapper.operands)
  return program === 'env' ? withoutAssignments(rest) : rest
}

function withoutAssignments(words: readonly string[]): readonly string[] {
  const start = words.findIndex((word) => !ASSIGNMENT.test(word))
  return start < 0 ? [] : words.slice(start)
}
