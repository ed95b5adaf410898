import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type Finished, finished } from '../cli/fake-daemon.ts'
import { pair, sees, TestPeer, until } from './peers.ts'

const ROOT = join(import.meta.dirname, '../..')
const EXAMPLES = join(ROOT, 'docs/examples')

/** Runs an example as its reader would, with the peer's machines. */
function run(name: string, args: string[], environment: NodeJS.ProcessEnv): Promise<Finished> {
  return finished(spawn(process.execPath, [join(EXAMPLES, name), ...args], { env: environment, cwd: tmpdir() }))
}

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
