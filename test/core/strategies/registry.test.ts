import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { INFORMATION_POLICIES, informationPolicy } from '../../../src/core/information/index.ts'
import { DEFAULT_STRATEGY, STRATEGIES, strategyNamed } from '../../../src/core/strategies/index.ts'
import { peer } from '../scenario.ts'

const core = join(import.meta.dirname, '../../../src/core')
/** What is no strategy or policy by itself. */
const PARTS = ['index', 'strategy', 'played', 'load', 'policy', 'known', 'round']

function filesIn(folder: string): string[] {
  const names = readdirSync(join(core, folder)).map((file) => file.replace(/\.ts$/, ''))
  return names.filter((name) => !PARTS.includes(name)).sort()
}

t.test('every strategy and every information policy is one file and one line of registration', async (t) => {
  t.same(STRATEGIES.map(({ name }) => name).sort(), filesIn('strategies'))
  t.same(INFORMATION_POLICIES.map(({ name }) => name).sort(), filesIn('information'))
  for (const { information } of STRATEGIES) t.ok(informationPolicy(information))
  t.equal(DEFAULT_STRATEGY, 'kappa')
})

t.test('a name that nobody has is no silent default', async (t) => {
  t.throws(() => strategyNamed('best'), /no strategy best/)
  t.throws(() => informationPolicy('rumour'), /no information policy rumour/)
  t.throws(() => peer('A', { strategy: 'best' }), /no strategy best/)
})
