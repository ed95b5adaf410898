/** Power of two choices (Mitzenmacher): two machines drawn by chance are asked, and the better answer counts if it beats home. */

import { drawn } from '../near-best.ts'
import { played } from './played.ts'
import type { Chooser } from './strategy.ts'

const WIDTH = 2

const CHOOSER: Chooser = {
  width: WIDTH,
  next: ({ choices, asked, random }) => {
    const choice = asked >= WIDTH ? undefined : drawn(choices, random)
    return choice && { choice, best: choice.best, exact: true }
  }
}

export const twoChoices = played(
  {
    name: 'two-choices',
    information: 'broadcast',
    description: 'the better of two machines drawn by chance, if it is better than this one'
  },
  () => CHOOSER
)
