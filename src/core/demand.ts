/** How many cores a command says that it will use: a table of programs and their options, and what applies to all. */

import { basename, innermostCommand } from './command.ts'

/** More than any machine has; larger demands are cut to it. */
export const MAX_DEMAND = 1024

interface ParallelProgram {
  programs: readonly string[]
  /** Options whose number is the count. A value of 0 means as many as there are. */
  options: readonly string[]
  /** The option without a number (`make -j`, `pytest -n auto`), or no option at all, means as many as there are. */
  all?: 'option-alone' | 'by-default'
}

/** The last option given counts. `by-default` includes `option-alone`. */
const PARALLEL_PROGRAMS: readonly ParallelProgram[] = [
  { programs: ['make', 'gmake', 'gnumake'], options: ['-j', '--jobs'], all: 'option-alone' },
  { programs: ['ninja', 'ninja-build', 'samu'], options: ['-j'], all: 'by-default' },
  { programs: ['cargo'], options: ['-j', '--jobs'], all: 'by-default' },
  { programs: ['go'], options: ['-p'], all: 'by-default' },
  { programs: ['bazel', 'bazelisk'], options: ['--jobs'], all: 'by-default' },
  { programs: ['meson'], options: ['-j', '--jobs'], all: 'by-default' },
  { programs: ['cmake', 'ctest'], options: ['-j', '--parallel'], all: 'option-alone' },
  { programs: ['scons', 'rake', 'waf', 'tox'], options: ['-j', '--jobs'], all: 'option-alone' },
  { programs: ['pytest', 'py.test'], options: ['-n', '--numprocesses'], all: 'option-alone' },
  { programs: ['parallel'], options: ['-j', '--jobs', '-P', '--max-procs'], all: 'by-default' },
  { programs: ['xargs'], options: ['-P', '--max-procs'] },
  { programs: ['xz', 'zstd', 'zstdmt', 'pzstd'], options: ['-T', '--threads'] },
  { programs: ['pigz'], options: ['-p', '--processes'], all: 'by-default' },
  { programs: ['pbzip2', 'pixz'], options: ['-p'], all: 'by-default' },
  { programs: ['lbzip2', 'plzip'], options: ['-n', '--threads'], all: 'by-default' },
  { programs: ['7z', '7za', '7zz', '7zr'], options: ['-mmt'], all: 'by-default' },
  { programs: ['mksquashfs'], options: ['-processors'], all: 'by-default' },
  { programs: ['ffmpeg'], options: ['-threads'], all: 'by-default' },
  { programs: ['x264', 'x265', 'aomenc', 'vpxenc'], options: ['--threads', '--pools'], all: 'by-default' },
  { programs: ['HandBrakeCLI', 'blender'], options: ['-t', '--threads'], all: 'by-default' },
  { programs: ['samtools', 'bcftools'], options: ['-@', '--threads'] },
  { programs: ['bwa', 'minimap2'], options: ['-t'] },
  { programs: ['tesseract', 'povray'], options: [], all: 'by-default' }
]

/**
 * What is read the same in a program that the table doesn't know: spellings that hardly mean anything else. `-j` with its
 * number apart isn't among them (`tar -j 8`).
 */
const ANY_PROGRAM = /^(?:-j|--jobs=|--threads=|--parallel=|--workers=)(\d{1,9})$/
const ANY_PROGRAM_APART: ReadonlySet<string> = new Set(['--jobs', '--threads'])

/**
 * Cores that the command can use at once, 1–1024, or undefined when it says nothing of that (then what its last runs
 * showed, else 1). `allCores` is what "as many as there are" stands for (`make -j`, `xz -T0`, `ninja`): such a job adapts to the
 * machine that it comes to, so pass the cores of the largest machine known; a smaller one shows its own share anyway.
 */
export function demandOf(argv: readonly string[], allCores: number): number | undefined {
  const [first, ...rest] = innermostCommand(argv)
  if (first === undefined) return undefined
  const end = rest.indexOf('--')
  const options = end < 0 ? rest : rest.slice(0, end)
  const name = basename(first)
  const program = PARALLEL_PROGRAMS.find((entry) => entry.programs.includes(name))
  const count = program === undefined ? anyProgramCount(options) : countOf(program, options)
  if (count === undefined) return undefined
  return Math.min(MAX_DEMAND, Math.max(1, count === 0 ? Math.ceil(allCores) : count))
}

/** The number that the last of the program's options gives; 0 is as many as there are. */
function countOf(program: ParallelProgram, args: readonly string[]): number | undefined {
  let count = program.all === 'by-default' ? 0 : undefined
  const alone = program.all === undefined ? undefined : 0
  args.forEach((arg, index) => {
    for (const option of program.options) {
      if (arg === option) {
        const next = args[index + 1]
        count = next !== undefined && /^\d{1,9}$/.test(next) ? Number(next) : alone
      } else {
        count = attachedCount(option, arg) ?? count
      }
    }
  })
  return count
}

/** `-j8`, `-j=8`, `--jobs=8`, `-mmt8`; for one letter also at the end of a cluster (`-9T4`). */
function attachedCount(option: string, arg: string): number | undefined {
  let text: string | undefined
  if (arg.startsWith(option)) text = arg.slice(option.length)
  else if (/^-[A-Za-z]$/.test(option) && !arg.startsWith('--') && /^-[0-9a-z]+[A-Za-z]\d+$/.test(arg)) {
    const letter = arg.lastIndexOf(option[1]!)
    text = letter > 0 ? arg.slice(letter + 1) : undefined
  }
  return text !== undefined && /^=?\d{1,9}$/.test(text) ? Number(text.replace('=', '')) : undefined
}

function anyProgramCount(args: readonly string[]): number | undefined {
  let count: number | undefined
  args.forEach((arg, index) => {
    const attached = ANY_PROGRAM.exec(arg)?.[1]
    const next = args[index + 1]
    if (attached !== undefined) count = Number(attached)
    else if (ANY_PROGRAM_APART.has(arg) && next !== undefined && /^\d{1,9}$/.test(next)) count = Number(next)
  })
  return count
}
