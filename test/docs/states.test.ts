import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { CLAIMS } from './claims.ts'
import { HOME_JOBS } from './home-jobs.ts'
import { LISTENERS } from './listeners.ts'
import { outcomeOf, type Table, tablesOf } from './markdown.ts'
import { PAIRINGS } from './pairings.ts'
import { PLACEMENTS } from './placements.ts'
import { type Play, problemsOf } from './play.ts'
import { DETACHED_TARGET_JOBS, TARGET_JOBS } from './target-jobs.ts'
import { TICKETS } from './tickets.ts'
import { ARRIVALS, VISITS } from './visits.ts'

const text = readFileSync(join(import.meta.dirname, '../../docs/protocol.md'), 'utf8')
const tables = tablesOf(text).filter(({ path, head }) => path[1] === 'States' && head[0] === 'event')

function table(title: string): Table {
  const found = tables.filter(({ path }) => path[2] === title)
  if (found.length !== 1) throw new Error(`${found.length} tables of ${title}`)
  return found[0]!
}

const check = <World>(title: string, play: Play<World>) =>
  t.test(`${title}: what the table says is what the code does`, async (t) => {
    t.same(await problemsOf(table(title), play), [])
  })

check('Claim', CLAIMS)
check('Listener', LISTENERS)
check('Placement', PLACEMENTS)
check('Visit: a probe arrives', ARRIVALS)
check('Visit', VISITS)
check('Ticket', TICKETS)
check('Job, at home', HOME_JOBS)
check('Job, at the target', TARGET_JOBS)
check('Detached job, at the target', DETACHED_TARGET_JOBS)
check('Pairing session', PAIRINGS)

t.test('every table has a cell for every state, and moves to states that it has', async (t) => {
  t.equal(tables.length, 13)
  for (const { path, head, rows } of tables) {
    const places = [
      ...head,
      'gone',
      ...(path[2] === 'Visit: a probe arrives' ? [...table('Visit').head, 'none'] : ['none'])
    ]
    const wrong = rows.flatMap(([event, ...cells]) => {
      const outcomes = cells.map((cell, index) => outcomeOf(cell, head[index + 1]!))
      const odd = outcomes.some(({ state, effects }) => !places.includes(state) || effects.includes('–'))
      return odd || cells.includes('') || cells.length !== head.length - 1 ? [event] : []
    })
    t.same(wrong, [], path.at(-1) ?? '')
  }
})

t.test('a wrong table is noticed', async (t) => {
  const right = table('Ticket')
  const rows = right.rows.map((row) => [...row])
  rows[0]![1] = '→ running: refused: void'
  t.same(await problemsOf({ ...right, rows }, TICKETS), [
    'reserved × start by its home: told → running: refused: void, is → running: accepted'
  ])
  t.same(await problemsOf({ ...right, rows: right.rows.slice(1) }, TICKETS), [
    'event start by its home is known and not told'
  ])
  const head = [...right.head.slice(0, -1), 'lost']
  t.same(await problemsOf({ ...right, head }, TICKETS), [
    'state lost is told and not known',
    'state void is known and not told'
  ])
})
