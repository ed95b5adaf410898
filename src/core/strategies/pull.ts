/** Receiver-initiated (Shah and Kapadia): jobs wait at home, and idle machines come for them. The asking is in `pulling.ts`. */

import type { PeerId } from '../types.ts'
import { played } from './played.ts'
import type { Chooser } from './strategy.ts'

const NOBODY: Chooser = { width: 1, next: () => undefined }

/** For a job that waits: the machine that asked for one. */
export function pulledBy(peer: PeerId): Chooser {
  return {
    width: 1,
    next: ({ choices, asked }) => {
      const choice = asked > 0 ? undefined : choices.find(({ origin }) => origin === peer)
      return choice && { choice, best: 0, exact: true, phrase: 'had an idle core and asked for a job' }
    }
  }
}

export const pull = played(
  {
    name: 'pull',
    information: 'broadcast',
    description: 'jobs for which no core is idle here wait until idle machines ask for them',
    pulls: true
  },
  () => NOBODY
)
