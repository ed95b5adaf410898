/** Changes the configuration's file for its owner. */

import { mkdirSync, realpathSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { parse } from 'smol-toml'
import { KappaError } from '../errors.ts'
import { configurationKey, loadConfiguration, parseDocument } from './configuration.ts'
import { withValue } from './configuration-text.ts'
import { readIfThere, writeWhole } from './state-file.ts'

/**
 * Sets a key to what a person typed: a TOML value, a bare text, or several texts for a list. Comments and order stay.
 * Throws UsageError for an unknown key or a bad value, ConfigurationError when the file is wrong before or after.
 */
export async function changeConfiguration(path: string, key: string, words: string[]): Promise<void> {
  const declared = configurationKey(key)
  const candidates = readings(words)
  const value = candidates.find((candidate) => declared.schema.safeParse(candidate).success)
  if (value === undefined) {
    const must = declared.schema.safeParse(candidates[0]).error?.issues[0]?.message
    throw new KappaError('UsageError', `${key} can't be ${words.join(' ')}: it ${must}`)
  }
  const text = readIfThere(path)?.toString() ?? ''
  parseDocument(path, text)
  const changed = withValue(text, key.split('.'), value)
  await replace(path, changed)
  // The value was good; but is the rest of the file?
  loadConfiguration(path, {})
}

/** What the words may mean, the likeliest first. */
function readings(words: string[]): unknown[] {
  const [word = ''] = words
  const asToml = words.length === 1 ? tomlValueOf(word) : undefined
  const lists = [words, words.flatMap((each) => each.split(',').filter((part) => part !== ''))]
  return [...(asToml === undefined ? [] : [asToml]), ...(words.length === 1 ? [word] : []), ...lists]
}

function tomlValueOf(text: string): unknown {
  try {
    const { value } = parse(`value = ${text}`)
    return value
  } catch {
    return undefined
  }
}

/** Where the file is a link, as those who keep their settings in one place have it, what it points to is replaced. */
async function replace(path: string, text: string): Promise<void> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const present = statSync(path, { throwIfNoEntry: false })
  await writeWhole(present ? realpathSync(path) : path, text, present ? present.mode & 0o777 : 0o644)
}
