/** This program as its next version would be installed. */

import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { VERSION } from '../../src/version.ts'

export const NEWER = '999.0.0'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** Installs it in that directory; returns its launcher. */
export function nextVersion(directory: string): string {
  cpSync(join(ROOT, 'dist'), join(directory, 'dist'), { recursive: true })
  mkdirSync(join(directory, 'node_modules'))
  const nodes = readdirSync(join(ROOT, 'node_modules')).filter((name) => /^node-linux-/.test(name))
  for (const name of nodes) symlinkSync(join(ROOT, 'node_modules', name), join(directory, 'node_modules', name))
  for (const file of ['client.cjs', 'daemon.mjs']) {
    const path = join(directory, 'dist', file)
    const text = readFileSync(path, 'utf8')
    if (!text.includes(`"${VERSION}"`)) throw new Error(`${file} doesn't say its version`)
    writeFileSync(path, text.replaceAll(`"${VERSION}"`, `"${NEWER}"`))
  }
  return join(directory, 'dist/kappa')
}
