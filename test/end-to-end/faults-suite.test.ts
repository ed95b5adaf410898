/** A piece of `npm run test:faults`: whatever goes wrong, no job runs twice, has a wrong end or wrong bytes, or stays. */

import t from 'tap'
import { runSuite } from '../faults/suite.ts'
import { lanAvailable } from '../lan.ts'
import { needs } from '../require.ts'

const SEED = 1
const DURATION_MS = 40_000

const unavailable = lanAvailable()
if (needs(t, unavailable === undefined, unavailable ?? '')) {
  const { jobs, faults, exact, breaches } = await runSuite(t, SEED, DURATION_MS)
  t.same(breaches, [])
  t.ok(faults > 5, `${faults} faults`)
  t.ok(exact > jobs / 4, `${exact} of ${jobs} jobs came to their own end`)
}
