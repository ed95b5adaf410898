/** Kačer and Tvrdík: "execution on the least loaded node whenever the source node is overloaded". */

import { isOverloaded, known, loadOf } from './load.ts'
import { played } from './played.ts'
import type { Chooser } from './strategy.ts'

const CHOOSER: Chooser = {
  width: 1,
  next: (situation) => {
    const { choices, asked, home } = situation
    if (asked > 0) return undefined
    if (!isOverloaded(situation)) return 'idle here'
    let least = loadOf(home)
    let choice: (typeof choices)[number] | undefined
    for (const candidate of known(choices)) {
      const load = loadOf(candidate.record)
      if (load < least) choice = candidate
      least = Math.min(least, load)
    }
    if (choice === undefined) return 'this machine is the least loaded'
    return { choice, best: 0, exact: true, phrase: 'is the least loaded' }
  }
}

export const shortest = played(
  {
    name: 'shortest',
    information: 'broadcast',
    description: 'the least loaded machine, when no core is idle here'
  },
  () => CHOOSER
)
