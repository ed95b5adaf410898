/**
 * Bundles the program into dist/: the client (one small file, rare commands in chunks of their own, no libp2p), the daemon
 * with everything that it needs, and the launcher. The result needs nothing but Node.
 */

import { chmodSync, copyFileSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build, type InputOptions, type OutputOptions } from 'rolldown'

const root = fileURLToPath(new URL('..', import.meta.url))
const dist = join(root, 'dist')
const fresh = join(dist, `.build-${process.pid}`)

const input: InputOptions = {
  cwd: root,
  platform: 'node',
  tsconfig: false,
  // The daemon is a bundle of its own, whoever imports it.
  plugins: [
    {
      name: 'daemon-apart',
      resolveId: (id) => (id.endsWith('/daemon/main.ts') ? { id: './daemon.mjs', external: true } : null)
    }
  ]
}
const output: OutputOptions = {
  dir: fresh,
  cleanDir: false,
  minify: { compress: true, mangle: false },
  comments: false
}

mkdirSync(fresh, { recursive: true })
try {
  // CommonJS starts about a millisecond sooner than ECMAScript modules.
  await build({
    ...input,
    input: { client: 'src/cli/main.ts' },
    output: { ...output, format: 'cjs', entryFileNames: '[name].cjs', chunkFileNames: 'client-[name].cjs' }
  })
  await build({
    ...input,
    input: { daemon: join(root, 'src/daemon/main.ts'), 'benchmark-worker': 'src/machine/benchmark-worker.ts' },
    plugins: [],
    output: { ...output, format: 'esm', entryFileNames: '[name].mjs', chunkFileNames: 'daemon-[name].mjs' }
  })
  copyFileSync(join(root, 'scripts/kappa'), join(fresh, 'kappa'))
  chmodSync(join(fresh, 'kappa'), 0o755)
  install()
} finally {
  rmSync(fresh, { recursive: true, force: true })
}

/** Moves the files into place one by one, so that a kappa that starts meanwhile finds each whole. */
function install(): void {
  const files = new Set(readdirSync(fresh))
  for (const file of files) renameSync(join(fresh, file), join(dist, file))
  for (const file of readdirSync(dist)) {
    if (!files.has(file) && !file.startsWith('.build-')) rmSync(join(dist, file), { recursive: true })
  }
}
