/** Kačer and Tvrdík: "a destination node is always chosen randomly", home among them. */

import { drawn } from '../near-best.ts'
import { played } from './played.ts'
import type { Chooser } from './strategy.ts'

const CHOOSER: Chooser = {
  width: 1,
  next: ({ choices, asked, random }) => {
    if (asked > 0) return undefined
    const choice = drawn([undefined, ...choices], random)
    if (choice === undefined) return 'this machine was drawn by chance'
    return { choice, best: 0, exact: true, phrase: 'was drawn by chance' }
  }
}

export const random = played(
  {
    name: 'random',
    information: 'broadcast',
    description: 'any machine by chance, this one among them'
  },
  () => CHOOSER
)
