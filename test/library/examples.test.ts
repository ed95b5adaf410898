import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type Finished, finished } from '../cli/fake-daemon.ts'
import { pair, sees, TestPeer, until } from '../end-to-end/peers.ts'

const ROOT = join(import.meta.dirname, '../..')
const EXAMPLES = join(ROOT, 'docs/examples')

/** Runs an example as its reader would, with the peer's machines. */
function run(name: string, args: string[], environment: NodeJS.ProcessEnv): Promise<Finished> {
  return finished(spawn(process.execPath, [join(EXAMPLES, name), ...args], { env: environment, cwd: tmpdir() }))
}

t.test('examples and what the package says of itself fit together', async (t) => {
  const options = [
    '--noEmit',
    '--strict',
    '--exactOptionalPropertyTypes',
    '--target',
    'es2024',
    '--lib',
    'es2024,esnext.disposable'
  ]
  const files = readdirSync(EXAMPLES).map((name) => join(EXAMPLES, name))
  const words = [...options, '--module', 'nodenext', '--types', 'node', '--ignoreConfig', ...files]
  // tap gives every process that a test starts NODE_OPTIONS of its own, which tsc can't be started with.
  const command = ['-u', 'NODE_OPTIONS', join(ROOT, 'node_modules/.bin/tsc'), ...words]
  const { status, stdout, stderr } = spawnSync('env', command, { cwd: ROOT, encoding: 'utf8' })
  t.equal(status, 0, stdout + stderr)
  const text = readFileSync(join(ROOT, 'docs/library.md'), 'utf8')
  for (const name of readdirSync(EXAMPLES)) t.match(text, `examples/${name}`, `${name} is told of`)
  for (const [, code] of text.matchAll(/^```ts\n([\s\S]*?)^```/gm)) {
    const whole = readdirSync(EXAMPLES).map((name) => readFileSync(join(EXAMPLES, name), 'utf8'))
    t.ok(
      whole.some((example) => example.includes(code!)),
      `what is shown is run: ${code!.split('\n')[0]}`
    )
  }
})

t.test('with the machines that a peer is paired with', async (t) => {
  const [home, nas] = await Promise.all([TestPeer.start(t, { name: 'home' }), TestPeer.start(t, { name: 'nas' })])
  await pair(home, nas)
  await sees(home, nas)
  t.match(await run('run.ts', [], home.environment), {
    code: 0,
    stdout: /^8\n9\n10\nexit status 0, on (home|nas): .+\n$/,
    stderr: ''
  })
  t.match(await run('streams.ts', [], home.environment), {
    code: 0,
    stdout: 'got one\ngot two\ngot three\nended: three are enough\n'
  })
  writeFileSync(join(home.work, 'a'), 'alpha')
  writeFileSync(join(home.work, 'b'), 'beta')
  t.match(await run('each.ts', [home.work], home.environment), { code: 0, stdout: /^\d+ 5 a\n\d+ 4 b\n$/, stderr: '' })
})

t.test('with peers of its own', async (t) => {
  const { PATH, HOME } = process.env
  t.match(await run('pair.ts', [], { PATH, HOME }), { code: 0, stdout: '0: hello from attic\n' })
})

t.test('a peer ends with the program that it is part of, however that ends', async (t: Test) => {
  const directory = mkdtempSync(join(tmpdir(), 'kappa-embedded-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const program = join(directory, 'program.ts')
  writeFileSync(
    program,
    `import { createPeer } from ${JSON.stringify(join(ROOT, 'src/index.ts'))}
     await createPeer({ directory: ${JSON.stringify(join(directory, 'peer'))}, listen: ['127.0.0.1:0'] })
     console.log('up')`
  )
  const child = spawn(process.execPath, [program], { stdio: ['ignore', 'pipe', 'inherit'] })
  await new Promise((resolve) => child.stdout.once('data', resolve))
  const log = () => readFileSync(join(directory, 'peer/state/daemon.log'), 'utf8')
  t.match(log(), ' serving')
  child.kill('SIGKILL')
  await until('the peer has stopped', () => log().includes(' stopping'))
})
