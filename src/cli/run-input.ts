/**
 * How large a command's input is, as far as that shows: what is staged, else the files that it reads or names. Here and not
 * in the daemon, because a file system that hangs, hangs who asks; the command would ask next.
 */

import { fstatSync, statSync } from 'node:fs'

/** Arguments that are looked at. */
const WORDS_MAX = 8
/** Its value is what comes out. */
const OUTPUT = Buffer.from('-o')

/** Bytes of a file on stdin, if it has ours, and of those among the first few arguments; 0 when there are none. */
export function inputBytes(argv: readonly Buffer[], hasStdin = true): number {
  let bytes = hasStdin ? sizeOf(() => fstatSync(0)) : 0
  let looked = 0
  for (let index = 1; index < argv.length && looked < WORDS_MAX; index++) {
    const word = argv[index]!
    if (word.equals(OUTPUT)) index++
    else if (word.length > 0 && word[0] !== 0x2d) {
      bytes += sizeOf(() => statSync(word, { throwIfNoEntry: false }))
      looked++
    }
  }
  return bytes
}

function sizeOf(look: () => { isFile(): boolean; size: number } | undefined): number {
  try {
    const found = look()
    return found?.isFile() ? found.size : 0
  } catch {
    return 0
  }
}
