import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { ROUND_TRIPS, RUNS_MIN, START_MS } from '../../src/core/learning.ts'
import { distributionMetric, share } from '../../src/core/metric.ts'
import { NEAR_EQUAL } from '../../src/core/near-best.ts'
import { PLACE_BUDGET_MS } from '../../src/core/placing.ts'
import { MAX_HOPS } from '../../src/core/types.ts'
import { record } from '../core/scenario.ts'
import { tablesOf } from './markdown.ts'
import { messages } from './messages.ts'

const page = readFileSync(join(import.meta.dirname, '../../docs/how-it-decides.md'), 'utf8')

t.test('the phrases told are those of the code', async (t) => {
  // Too short to be taken for one.
  t.match(readFileSync(join(import.meta.dirname, '../../src/core/placement.ts'), 'utf8'), /return 'idle here'/)
  const known = [...messages(), { text: 'idle here' }].map(({ text }) =>
    text.split(/…+/).map((part) => part.replaceAll(/[$()*+.?[\\\]^{|}]/g, '\\$&'))
  )
  const expressions = known
    .filter((parts) => parts.join('').length > 8)
    .map((parts) => new RegExp(`^${parts.join('.+')}$`))
  const [phrases] = tablesOf(page).filter(({ head }) => head[0] === 'it says')
  for (const [cell] of phrases!.rows) {
    for (const [, phrase] of cell!.matchAll(/`([^`]+)`/g)) {
      // Behind the name of a machine, or without it.
      const forms = [phrase!, phrase!.replace(/^\w+:? /, '')].map((form) => form.replace(/…$/, ''))
      t.ok(
        forms.some((form) => expressions.some((one) => one.test(form.trim()) || one.test(`${form}…`))),
        phrase!
      )
    }
  }
})

t.test('the equations and numbers told are those of the code', async (t) => {
  t.equal(share(1, { cores: 4, idle: 2, competing: 3 }), 1, 'idle cores suffice')
  t.equal(share(4, { cores: 4, idle: 1, competing: 4 }), (4 * 4) / (4 + 4), 'C d / (R + d)')
  t.equal(share(4, { cores: 4, idle: 3, competing: 30 }), 3, 'never less than the idle ones')
  const near = distributionMetric(record({}), 1, 1, 'product')
  t.equal(distributionMetric(record({}), 1, 3, 'product'), near * 0.95 ** 2)
  t.match(
    page,
    new RegExp(`t_\\{\\\\mathrm\\{way\\}\\} = ${START_MS}\\\\,\\\\mathrm\\{ms\\} \\+ \\(${ROUND_TRIPS} \\+ n\\)`)
  )
  t.equal(RUNS_MIN, 3)
  t.equal(NEAR_EQUAL, 0.25)
  t.equal(MAX_HOPS, 8)
  t.match(page, new RegExp(`All of it has ${PLACE_BUDGET_MS} ms`))
})
