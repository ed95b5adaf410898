import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { CONFIGURATION_KEYS } from '../../src/daemon/configuration.ts'
import { travellingEnvironment } from '../../src/daemon/environment.ts'
import { ATTACKS, OTHER_ATTACKS } from '../execution/attacks.ts'
import { plain, tablesOf } from './markdown.ts'

const page = readFileSync(join(import.meta.dirname, '../../docs/security.md'), 'utf8')
const tables = tablesOf(page)
const tried = tables.find(({ head }) => head[0] === 'attempt')
const limits = tables.find(({ head }) => head[0] === 'key')

t.test('the attempts told are those that are tested, with what comes of them', async (t) => {
  const told = tried!.rows.map(([name, outcome]) => `${name}: ${outcome}`)
  t.same(new Set(told), new Set([...ATTACKS, ...OTHER_ATTACKS].map(({ name, outcome }) => `${name}: ${outcome}`)))
  t.ok(told.length >= 30)
  for (const [name, , why] of tried!.rows) t.match(why, /^.{8,}/, `${name}: a reason`)
})

t.test('the limits told are keys of the configuration', async (t) => {
  const keys = new Set(CONFIGURATION_KEYS.map(({ key }) => key))
  for (const [cell] of limits!.rows) for (const key of plain(cell!).split(', ')) t.ok(keys.has(key), key)
})

t.test('the variables that are kept from friends are those told', async (t) => {
  const names = ['A_TOKEN', 'MY_SECRET_1', 'PASSWORD', 'X_CREDENTIALS', 'SOME_KEY', 'AWS_REGION', 'KEYBOARD', 'EDITOR']
  const entries = names.map((name) => `${name}=1`)
  const { withheld } = travellingEnvironment(entries, 'friend', [], false, 'all')
  t.same(withheld, names.slice(0, 6))
  for (const pattern of ['*TOKEN*', '*SECRET*', '*PASSW*', '*CREDENTIAL*', '*_KEY', 'AWS_*'])
    t.ok(page.includes(`\`${pattern}\``), pattern)
})
