/**
 * The command of `kappa each` with its placeholders, as GNU parallel names them. Words are bytes, one for each character.
 * What is put in is an argument, never text of a shell; in a shell's script it stands quoted, if at all.
 */

import { basename, isShell } from '../../core/command.ts'
import { KappaError } from '../../errors.ts'
import { quoteForPeople } from '../../execution/quote.ts'

/** `{}`, `{.}`, `{/}`, `{//}`, `{/.}`, the same of one source, `{2}`, `{2/.}`, and `{#}`, the number of the job. */
const PLACEHOLDER = /\{(?:#|(\d{0,4})(\.|\/\/|\/\.|\/)?)\}/g

/** What stands for one job. */
export interface Row {
  /** Number of the job, from 1 on. */
  sequence: number
  /** One of each source. */
  values: readonly string[]
}

export class Template {
  readonly #words: readonly string[]
  /** Index of the word that is a script of a shell; -1: none is. */
  readonly #script: number

  /**
   * `quotes`: values may stand in a script, quoted; a command that is none of a shell's becomes one. Throws UsageError for a script with placeholders
   * unless they are quoted.
   */
  constructor(words: readonly string[], quotes: boolean) {
    let script = scriptOf(words)
    if (quotes && script < 0) {
      this.#words = ['sh', '-c', (hasPlaceholder(words) ? words : [...words, '{}']).join(' ')]
      this.#script = 2
      return
    }
    // A whole line in quotes, as for a shell: no program on PATH is called so.
    if (words.length === 1 && /^[^\s/]+\s/.test(words[0]!)) {
      throw new KappaError(
        'UsageError',
        'kappa each: no shell takes the command apart: give its words one by one, or add --sh'
      )
    }
    if (script >= 0 && !PLACEHOLDER_ONCE.test(words[script]!)) script = -1
    if (script >= 0 && !quotes)
      throw new KappaError(
        'UsageError',
        `kappa each: ${words[0]} would run what the arguments say, if they stood in its script: put them behind it ("$1"), or let --sh quote them`
      )
    this.#words = hasPlaceholder(words) ? words : [...words, '{}']
    this.#script = script
  }

  /** The command's words. `{}` alone is as many words as there are sources. */
  fill(row: Row): string[] {
    return this.#words.flatMap((word, index) => {
      if (word === '{}') return [...row.values]
      return [replaced(word, row, index === this.#script ? quoteForPeople : (value) => value)]
    })
  }
}

const PLACEHOLDER_ONCE = new RegExp(PLACEHOLDER.source)

function hasPlaceholder(words: readonly string[]): boolean {
  return words.some((word) => PLACEHOLDER_ONCE.test(word))
}

/** A word with its placeholders filled. */
export function filled(word: string, row: Row): string {
  return replaced(word, row, (value) => value)
}

function replaced(word: string, { sequence, values }: Row, as: (value: string) => string): string {
  return word.replaceAll(PLACEHOLDER, (whole, source: string | undefined, part: string | undefined) => {
    if (whole === '{#}') return String(sequence)
    if (!source) return values.map((value) => as(partOf(value, part))).join(' ')
    const value = values[Number(source) - 1]
    if (value === undefined) throw new KappaError('UsageError', `kappa each: there is no source ${source} for ${whole}`)
    return as(partOf(value, part))
  })
}

function partOf(value: string, part: string | undefined): string {
  switch (part) {
    case '.':
      return withoutExtension(value)
    case '/':
      return basename(value)
    case '/.':
      return withoutExtension(basename(value))
    case '//': {
      const slash = value.lastIndexOf('/')
      return slash < 0 ? '.' : slash === 0 ? '/' : value.slice(0, slash)
    }
    default:
      return value
  }
}

/** The dot of `.bashrc` begins no extension. */
function withoutExtension(value: string): string {
  const dot = value.lastIndexOf('.')
  const name = value.lastIndexOf('/') + 1
  return dot > name ? value.slice(0, dot) : value
}

/** The word behind `-c` of a shell, whatever stands before the shell. */
function scriptOf(words: readonly string[]): number {
  const shell = words.findIndex((word) => isShell(basename(word)))
  if (shell < 0) return -1
  for (let index = shell + 1; index < words.length; index++) {
    const word = words[index]!
    if (!/^[-+]/.test(word) || word === '--') return -1
    if (/^-[A-Za-z]*c/.test(word)) {
      // Options may come between: `sh -c -e SCRIPT`.
      while (words[index + 1]?.startsWith('-')) index++
      return index + 1 < words.length ? index + 1 : -1
    }
    if (/^[-+][A-Za-z]*[oO]$/.test(word)) index++
  }
  return -1
}
