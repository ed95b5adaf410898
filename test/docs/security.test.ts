import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { CONFIGURATION_KEYS } from '../../src/daemon/configuration.ts'
import { ATTACKS, OTHER_ATTACKS } from '../execution/attacks.ts'
import { plain, tablesOf } from './markdown.ts'

const [tried, limits] = tablesOf(readFileSync(join(import.meta.dirname, '../../docs/security.md'), 'utf8'))

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
