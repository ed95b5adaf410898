/** Power of two choices (Mitzenmacher): two machines drawn by chance are asked, and the better answer counts if it beats home. */

import { Placement } from '../placement.ts'
import { drawn } from './load.ts'
import type { Chooser, Strategy } from './strategy.ts'

const WIDTH = 2

const CHOOSER: Chooser = {
  width: WIDTH,
  next: ({ choices, asked, random }) => {
    const choice = asked >= WIDTH ? undefined : drawn(choices, random)
    return choice && { choice, best: choice.best, exact: true }
  }
}

export const twoChoices: Strategy = {
  name: 'two-choices',
  information: 'broadcast',
  description: 'the better of two machines drawn by chance, if it is better than this one',
  pulls: false,
  create: () => (order, now, around) => new Placement(order, now, around, CHOOSER)
}
