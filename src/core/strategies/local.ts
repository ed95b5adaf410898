/** Everything runs at home. */

import { played } from './played.ts'
import type { Chooser } from './strategy.ts'

const CHOOSER: Chooser = { width: 1, next: () => 'jobs stay here by placement.strategy' }

export const local = played(
  {
    name: 'local',
    information: 'max-propagation',
    description: 'jobs stay here; others may still come'
  },
  () => CHOOSER
)
