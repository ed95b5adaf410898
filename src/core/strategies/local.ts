/** Everything runs at home. */

import { Placement } from '../placement.ts'
import type { Chooser, Strategy } from './strategy.ts'

const CHOOSER: Chooser = { width: 1, next: () => 'jobs stay here by placement.strategy' }

export const local: Strategy = {
  name: 'local',
  information: 'max-propagation',
  description: 'jobs stay here; others may still come',
  pulls: false,
  create: () => (order, now, around) => new Placement(order, now, around, CHOOSER)
}
