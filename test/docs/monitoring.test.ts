import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { CONFIGURATION_KEYS } from '../../src/daemon/configuration.ts'
import { plain, tablesOf } from './markdown.ts'

const ROOT = join(import.meta.dirname, '../..')
const [figures, keys] = tablesOf(readFileSync(join(ROOT, 'docs/monitoring.md'), 'utf8'))

t.test('every figure that there is is told of, and no other', async (t) => {
  const source = readFileSync(join(ROOT, 'src/daemon/metrics.ts'), 'utf8')
  const made = [...source.matchAll(/'((?:kappa|process)_\w+)'/g)].map((match) => match[1]!)
  const told = figures!.rows.flatMap(([names]) => plain(names!).split(', '))
  t.same(told.toSorted(), made.toSorted())
})

t.test('every key of the log is told of', async (t) => {
  const told = keys!.rows.map(([key]) => plain(key!))
  t.same(
    told,
    CONFIGURATION_KEYS.filter(({ key }) => key.startsWith('log.')).map(({ key }) => key)
  )
})
