/** Every study, in the order of the index: one line each, and one for each topology of the grid. */

import { GRID } from './grid.ts'
import { information } from './information.ts'
import { initiative } from './initiative.ts'
import { kappaTable2 } from './kappa-table-2.ts'
import { kappaTable3 } from './kappa-table-3.ts'
import { shortProcesses } from './short-processes.ts'
import type { Study } from './study.ts'
import { topologies } from './topologies.ts'

export const STUDIES: readonly Study[] = [
  kappaTable2,
  kappaTable3,
  shortProcesses,
  initiative,
  information,
  topologies,
  ...GRID
]
