/** What every package with a Node of its own holds: the bundles, the native programs of its platform, and that Node. */

import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { SCRIPTS } from '../../src/cli/completions/scripts.ts'
import { manPage } from './man.ts'

export const ROOT = fileURLToPath(new URL('../..', import.meta.url))

export interface Platform {
  /** As in the name of Node's package: `linux-x64`. */
  name: string
  /** What Debian calls it. */
  debian: string
}

export const PLATFORMS: readonly Platform[] = [
  { name: 'linux-x64', debian: 'amd64' },
  { name: 'linux-arm64', debian: 'arm64' }
]

/** Where completions and the page of the manual go, by the file. */
export interface Places {
  bash: string
  zsh: string
  fish: string
  man: string
}

/** Lays the program out in `home`, which is made. */
export async function layOut({ name }: Platform, home: string, work: string): Promise<void> {
  const dist = join(home, 'dist')
  const others = PLATFORMS.filter((platform) => platform.name !== name)
  mkdirSync(dist, { recursive: true })
  for (const file of readdirSync(join(ROOT, 'dist'))) {
    if (!others.some((other) => file.endsWith(other.name)))
      cpSync(join(ROOT, 'dist', file), join(dist, file), { recursive: true })
  }
  const node = join(home, 'node_modules', `node-${name}`)
  const from = nodePackage(name, work)
  mkdirSync(join(node, 'bin'), { recursive: true })
  for (const file of ['bin/node', 'LICENSE', 'package.json']) cpSync(join(from, file), join(node, file))
  chmodSync(join(node, 'bin/node'), 0o755)
}

export async function addPapers(root: string, places: Places): Promise<void> {
  const add = (path: string, bytes: string | Buffer) => {
    mkdirSync(join(root, path, '..'), { recursive: true })
    writeFileSync(join(root, path), bytes, { mode: 0o644 })
  }
  for (const shell of ['bash', 'zsh', 'fish'] as const) add(places[shell], SCRIPTS[shell]!)
  add(places.man, gzipSync(await manPage(ROOT), { level: 9 }))
}

/** The one that is installed here, else npm's. */
function nodePackage(name: string, work: string): string {
  const installed = join(ROOT, 'node_modules', `node-${name}`)
  if (existsSync(installed)) return installed
  const unpacked = join(work, `node-${name}`)
  if (existsSync(unpacked)) return join(unpacked, 'package')
  const lock = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8'))
  const { version, integrity } = lock.packages[`node_modules/node-${name}`] as { version: string; integrity: string }
  mkdirSync(unpacked)
  const file = run('npm', ['pack', '--silent', '--pack-destination', unpacked, `node-${name}@${version}`]).trim()
  const archive = join(unpacked, file)
  const digest = `sha512-${createHash('sha512').update(readFileSync(archive)).digest('base64')}`
  if (digest !== integrity) throw new Error(`${file} is not what package-lock.json says: ${digest}`)
  run('tar', ['-xzf', archive, '-C', unpacked, 'package/bin/node', 'package/LICENSE', 'package/package.json'])
  return join(unpacked, 'package')
}

/** What it prints. Throws when it fails. */
export function run(program: string, args: string[], options: { cwd?: string; env?: NodeJS.ProcessEnv } = {}): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8', ...options })
  if (status !== 0)
    throw new Error(`${program} ${args.join(' ')}: ${error?.message ?? (stderr || `ended with ${status}`)}`)
  return stdout
}
