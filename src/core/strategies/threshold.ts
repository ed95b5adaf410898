/** Kačer and Tvrdík: "a process is executed remotely if the load of its source node exceeds a given source threshold", anywhere. */

import { drawn } from '../near-best.ts'
import { isOverloaded } from './load.ts'
import { played } from './played.ts'
import type { Chooser } from './strategy.ts'

const CHOOSER: Chooser = {
  width: 1,
  next: (situation) => {
    if (situation.asked > 0) return undefined
    if (!isOverloaded(situation)) return 'idle here'
    const choice = drawn(situation.choices, situation.random)
    return choice && { choice, best: 0, exact: true, phrase: 'was drawn by chance, no core is idle here' }
  }
}

export const threshold = played(
  {
    name: 'threshold',
    information: 'broadcast',
    description: 'any other machine by chance, when no core is idle here'
  },
  () => CHOOSER
)
