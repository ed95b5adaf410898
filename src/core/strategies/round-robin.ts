/** Kačer and Tvrdík: all machines in turn, home among them. */

import type { PeerId } from '../types.ts'
import { played } from './played.ts'
import type { Chooser } from './strategy.ts'

/** Whose turn it was last; by ID, so that it goes on when machines come and go. */
class Turns implements Chooser {
  readonly width = 1
  #last: PeerId = ''

  next: Chooser['next'] = ({ choices, asked, self }) => {
    if (asked > 0) return undefined
    const all = [...choices.map(({ origin }) => origin), self].sort()
    this.#last = all.find((peer) => peer > this.#last) ?? all[0]!
    const choice = choices.find(({ origin }) => origin === this.#last)
    if (choice === undefined) return "it was this machine's turn"
    return { choice, best: 0, exact: true, phrase: 'had its turn' }
  }
}

export const roundRobin = played(
  {
    name: 'round-robin',
    information: 'broadcast',
    description: 'all machines in turn, this one among them'
  },
  () => new Turns()
)
