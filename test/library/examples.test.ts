import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'

const ROOT = join(import.meta.dirname, '../..')
const EXAMPLES = join(ROOT, 'docs/examples')

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
