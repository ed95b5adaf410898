/**
 * `npm run reproduce [-- OPTION... STUDY...]`: the papers' experiments and the comparison of all strategies, in the simulator.
 * Writes a page and its plots for each study, and the index, to docs/results: the same bytes for the same code.
 *
 *   --quick       few seeds and short times: seconds, to see that all works
 *   --into DIR    instead of docs/results; needed with --quick
 *
 * Without a name every study is run but the grid, which takes longer: `npm run reproduce -- grid`, or one topology of it, such
 * as grid-ring-16. Runs are kept under node_modules/.cache until the code changes, so that what was interrupted goes on where
 * it was.
 */

import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Laboratory } from './reproduce/laboratory.ts'
import { writeIndex, writePage } from './reproduce/pages.ts'
import { ResultStore } from './reproduce/result-store.ts'
import { STUDIES } from './reproduce/studies.ts'
import type { Study } from './reproduce/study.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const RESULTS = fileURLToPath(new URL('../docs/results', import.meta.url))
const CACHE = fileURLToPath(new URL('../node_modules/.cache/kappa-reproduce', import.meta.url))
/** Only when asked for by this name, which stands for all of them, or by their own. */
const GRID = 'grid'

const { values: options, positionals: names } = parseArgs({
  allowPositionals: true,
  options: { quick: { type: 'boolean', default: false }, into: { type: 'string' } }
})

function fail(problem: string): never {
  process.stderr.write(`reproduce: ${problem}\n`)
  process.exit(2)
}

function chosen(): readonly Study[] {
  const inGrid = ({ name }: Study) => name.startsWith(`${GRID}-`)
  if (names.length === 0) return STUDIES.filter((study) => !inGrid(study))
  return names.flatMap((name) => {
    if (name === GRID) return STUDIES.filter(inGrid)
    const known = STUDIES.map((study) => study.name).join(', ')
    return (
      STUDIES.find((study) => study.name === name) ?? fail(`there is no study ${name}; there are: ${GRID}, ${known}`)
    )
  })
}

if (options.quick && options.into === undefined) fail('--quick needs --into DIR: quick results are no results')
const { quick, into = RESULTS } = options
for (const study of chosen()) {
  const began = performance.now()
  const laboratory = new Laboratory({
    quick,
    ...(quick ? {} : { store: new ResultStore(CACHE, ROOT) }),
    ...(process.stderr.isTTY
      ? { progress: (done, of) => process.stderr.write(`\r${study.name}: ${done} of ${of}`) }
      : {})
  })
  writePage(into, study, await study.run(laboratory))
  const seconds = (performance.now() - began) / 1_000
  process.stderr.write(`${process.stderr.isTTY ? '\r' : ''}${study.name}: written in ${seconds.toFixed(1)} s\n`)
}
writeIndex(into, STUDIES)
