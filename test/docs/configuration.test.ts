import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { configurationPage } from '../../scripts/configuration-page.ts'
import { AT_START_KEYS, CONFIGURATION_KEYS } from '../../src/daemon/configuration.ts'

const root = join(import.meta.dirname, '../..')
/** Between kappa's own programs only. */
const INTERNAL = new Set(['KAPPA_LAUNCH', 'KAPPA_LAUNCHER', 'KAPPA_CLIENT_H'])

t.test('the reference is what its script writes', async (t) => {
  const written = readFileSync(join(root, 'docs/configuration.md'), 'utf8')
  t.ok(written === configurationPage(), 'else run: node scripts/configuration-page.ts')
})

t.test('every key is described, and says what a good value is', async (t) => {
  const rows = configurationPage()
    .split('\n')
    .filter((line) => line.startsWith('| `') && line.split(' | ').length === 4)
  t.equal(rows.length, CONFIGURATION_KEYS.length)
  for (const row of rows) t.match(row, /^\| `[\w.]+` \| .{4,} \| .+ \| .{10,} \|$/)
  for (const key of AT_START_KEYS)
    t.ok(
      rows.some((row) => row.includes(`\`${key}\``)),
      key
    )
})

t.test('every variable of the environment is in the reference', async (t) => {
  const sources = [...globSync('src/**/*.{ts,c}', { cwd: root }), 'scripts/kappa']
  const names = new Set(
    sources.flatMap((file) => readFileSync(join(root, file), 'utf8').match(/\bKAPPA_[A-Z_]*[A-Z]\b/g) ?? [])
  )
  const page = configurationPage()
  for (const name of names) if (!INTERNAL.has(name)) t.ok(page.includes(`\`${name}\``), name)
})
