/**
 * Bundles the program into dist/: the client (what every `kappa run` loads in one small file, rare commands in chunks, no
 * libp2p), the daemon with everything that it needs, the library with its types, the page of `kappa ui`, and the launcher. The result needs nothing but Node. Beside them come
 * the native programs, which are built before (scripts/build-native.sh) and only copied here.
 *
 * Not minified: that saves nothing measurable at the start, and stacks stay readable.
 */

import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync
} from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  build,
  type InputOptions,
  type OutputChunk,
  type OutputOptions,
  type Plugin,
  type RolldownOutput
} from 'rolldown'
import { isolatedDeclarationSync } from 'rolldown/experimental'
import { VERSION } from '../src/version.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const dist = join(root, 'dist')
const fresh = join(dist, `.build-${process.pid}`)
const native = join(root, 'src/cli/native/prebuilt')
/** The client of `kappa run`, what jobs begin with, and what home's files are served with. */
const programs = [native, join(root, 'src/execution/native/prebuilt'), join(root, 'src/files/native/prebuilt')]

const input: InputOptions = { cwd: root, platform: 'node', tsconfig: false }
const output: OutputOptions = { dir: fresh, comments: false }

/** The daemon is a bundle of its own, whoever imports it. */
const daemonApart = {
  name: 'daemon-apart',
  resolveId: (id: string) => (id.endsWith('/daemon/main.ts') ? { id: './daemon.mjs', external: true } : null)
}

/** What the client's entry imports at once: in one file, since `kappa run` pays for each that is opened. */
const atOnce = new Set<string>()
const findAtOnce: Plugin = {
  name: 'find-at-once',
  buildEnd() {
    const waiting = [...this.getModuleIds()].filter((id) => this.getModuleInfo(id)?.isEntry)
    for (const id of waiting) {
      atOnce.add(id)
      for (const imported of this.getModuleInfo(id)?.importedIds ?? [])
        if (!atOnce.has(imported)) waiting.push(imported)
    }
  }
}

mkdirSync(fresh, { recursive: true })
try {
  // CommonJS starts about a millisecond sooner than ECMAScript modules.
  const client = await build({
    ...input,
    input: { client: 'src/cli/main.ts' },
    plugins: [daemonApart, findAtOnce],
    output: {
      ...output,
      format: 'cjs',
      entryFileNames: '[name].cjs',
      chunkFileNames: 'client-[name].cjs',
      codeSplitting: { groups: [{ name: 'client', test: (id) => atOnce.has(id) }] }
    }
  })
  const daemon = await build({
    ...input,
    input: {
      daemon: 'src/daemon/main.ts',
      'benchmark-worker': 'src/machine/benchmark-worker.ts',
      'tree-home': 'src/files/home/worker.ts',
      'tree-store': 'src/files/target/store-worker.ts'
    },
    output: { ...output, format: 'esm', entryFileNames: '[name].mjs', chunkFileNames: 'daemon-[name].mjs' }
  })
  // One file that needs no other: it is read from a descriptor, where no directory can be reached.
  const server = await build({
    ...input,
    input: { 'tree-server': 'src/files/target/main.ts' },
    output: { ...output, format: 'esm', entryFileNames: '[name].mjs', codeSplitting: false }
  })
  // For browsers: what `kappa ui` serves.
  const page = await build({
    ...input,
    platform: 'browser',
    input: { page: 'src/page/main.ts' },
    output: { ...output, dir: join(fresh, 'page'), format: 'esm', entryFileNames: '[name].js', codeSplitting: false }
  })
  for (const file of ['index.html', 'page.css', 'icon.svg'])
    copyFileSync(join(root, 'src/page', file), join(fresh, 'page', file))
  // What other programs import: one file that needs no other, and its types.
  const library = await build({
    ...input,
    input: { index: 'src/index.ts' },
    output: { ...output, format: 'esm', entryFileNames: '[name].mjs', codeSplitting: false }
  })
  writeFileSync(join(fresh, 'index.d.mts'), declarations())
  writeFileSync(join(fresh, 'LICENSES'), licenses([client, daemon, server, library, page]))
  copyProgram(join(root, 'scripts/kappa'))
  for (const directory of programs) {
    for (const file of readdirSync(directory)) if (file.startsWith('kappa-')) copyProgram(join(directory, file))
  }
  // The native client reads it, so that a release needs no new build of that.
  writeFileSync(join(fresh, 'kappa-client.version'), VERSION)
  install()
} finally {
  rmSync(fresh, { recursive: true, force: true })
}

function copyProgram(path: string): void {
  const copy = join(fresh, basename(path))
  copyFileSync(path, copy)
  chmodSync(copy, 0o755)
}

/** The types of the library in one file: what its entry exports and the types that it passes on. */
function declarations(): string {
  const parts = ['src/library/types.ts', 'src/index.ts'].map((file) => {
    const path = join(root, file)
    const { code, errors } = isolatedDeclarationSync(path, readFileSync(path, 'utf8'))
    if (errors.length > 0) throw new Error(`${file}: ${errors.map(({ message }) => message).join('; ')}`)
    return code.replaceAll(/^(?:import|export) .*from "\.{1,2}\/.*\n/gm, '')
  })
  return parts.join('\n')
}

/** The terms of the packages whose code is in the bundles, and of the native programs' C library; most ask to be passed on. */
function licenses(results: RolldownOutput[]): string {
  const chunks = results.flatMap((result) => result.output).filter((file): file is OutputChunk => file.type === 'chunk')
  const packages = new Set<string>()
  for (const id of chunks.flatMap((chunk) => chunk.moduleIds)) {
    const home = /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/.exec(id)?.[0]
    if (home) packages.add(home)
  }
  const texts = [...packages].toSorted().map((home) => {
    const { name, version, license } = JSON.parse(readFileSync(join(home, 'package.json'), 'utf8'))
    const files = readdirSync(home).filter((file) => /^(licen[cs]e|notice|copying)/i.test(file))
    const terms = files.map((file) => readFileSync(join(home, file), 'utf8').trim())
    return [`${name} ${version} (${license})`, ...terms].join('\n\n')
  })
  texts.push(readFileSync(join(native, 'LICENSE-musl'), 'utf8').trim())
  return `${texts.join(`\n\n${'-'.repeat(80)}\n\n`)}\n`
}

/** Moves the files into place one by one, so that a kappa that starts meanwhile finds each whole; the client comes last. */
function install(): void {
  const files = readdirSync(fresh).filter((file) => file !== 'client.cjs')
  for (const file of [...files, 'client.cjs']) {
    // A directory takes the place of none but an empty one.
    if (statSync(join(dist, file), { throwIfNoEntry: false })?.isDirectory())
      rmSync(join(dist, file), { recursive: true })
    renameSync(join(fresh, file), join(dist, file))
  }
  for (const file of readdirSync(dist)) {
    const kept = file === 'client.cjs' || file.startsWith('.build-') || files.includes(file)
    if (!kept) rmSync(join(dist, file), { recursive: true })
  }
}
