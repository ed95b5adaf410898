/** This program as its next version would be installed. */

import { cpSync, mkdirSync, readdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { VERSION } from '../../src/version.ts'

/** The minor version that is so many later. */
export function later(minors: number): string {
  const [major, minor] = VERSION.split('.').map(Number)
  return `${major}.${minor! + minors}.0`
}

/** It works together with this one. */
export const NEWER = later(1)

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** Installs this version in that directory; returns its launcher. */
export function install(directory: string): string {
  cpSync(join(ROOT, 'dist'), join(directory, 'dist'), { recursive: true })
  mkdirSync(join(directory, 'node_modules'))
  const nodes = readdirSync(join(ROOT, 'node_modules')).filter((name) => /^node-linux-/.test(name))
  for (const name of nodes) symlinkSync(join(ROOT, 'node_modules', name), join(directory, 'node_modules', name))
  return join(directory, 'dist/kappa')
}

/** Installs the next one, or another, in that directory; returns its launcher. */
export function nextVersion(directory: string, version = NEWER): string {
  const launcher = install(directory)
  replace(directory, version)
  return launcher
}

/** Puts the next version in the place of the one that is installed there, file by file, as package managers do. */
export function replace(directory: string, version = NEWER): void {
  for (const file of ['client.cjs', 'daemon.mjs']) {
    const path = join(directory, 'dist', file)
    const text = readFileSync(path, 'utf8')
    if (!text.includes(`"${VERSION}"`)) throw new Error(`${file} doesn't say its version`)
    put(path, text.replaceAll(`"${VERSION}"`, `"${version}"`))
  }
  put(join(directory, 'dist/kappa-client.version'), version)
}

function put(path: string, text: string): void {
  writeFileSync(`${path}.new`, text)
  renameSync(`${path}.new`, path)
}
