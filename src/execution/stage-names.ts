/** Names of staged files, as the user gave them and as they are shown. */

import { KappaError } from '../errors.ts'
import { bytesOf } from './quote.ts'
import { NAME_BYTES_MAX } from './stage-codec.ts'

/** A name to be shown, from its bytes. */
export function shown(path: string): string {
  return Buffer.from(path, 'latin1').toString('utf8')
}

/**
 * The parts of a name that the user gave, as latin1; `.` has none. Throws UsageError for what can't be in the same
 * place on the target: absolute paths and `..`.
 */
function partsOfName(name: string, option: '--in' | '--out'): string[] {
  const refuse = (why: string) => new KappaError('UsageError', `${option} ${name}: ${why}`)
  if (name === '' || name.includes('\0')) throw refuse('not a file name')
  if (name.startsWith('/')) throw refuse('give it relative to the working directory, where the target has it too')
  const parts = bytesOf(name)
    .split('/')
    .filter((part) => part !== '' && part !== '.')
  if (parts.includes('..')) throw refuse('it is outside of the working directory')
  if (parts.some((part) => part.length > NAME_BYTES_MAX)) throw refuse('the name is too long')
  return parts
}

/** Names without those that lie in another one of them. */
export function outermost(names: readonly string[], option: '--in' | '--out'): string[][] {
  const all = names.map((name) => partsOfName(name, option))
  const paths = new Set(all.map((parts) => parts.join('/')))
  const within = (parts: string[]) => parts.some((_, length) => paths.has(parts.slice(0, length).join('/')))
  return [...new Map(all.filter((parts) => !within(parts)).map((parts) => [parts.join('/'), parts])).values()]
}
