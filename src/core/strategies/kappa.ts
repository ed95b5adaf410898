/**
 * Kappa's own: the job goes towards the best machine that is better than home by more than the way costs, and stands on the
 * best that it meets. Homes that ask at once would collide on one best machine: among near-equals it asks a random one.
 * Where everybody is full and home is busy it binds late (as Sparrow does): it looks for a slot as long as its budget lasts.
 */

import { homeCapacity } from '../metric.ts'
import { nearBest } from '../near-best.ts'
import { played } from './played.ts'
import type { Chooser } from './strategy.ts'

/** Walks that follow one that found nothing better than home, when the job can run here. */
const MAX_RETRIES = 2
/** A slot that may become free is worth waiting for where it would make the job so many times as fast as it must be there. */
const WORTH_WAITING = 1.5

const CHOOSER: Chooser = {
  width: 1,
  next: ({ choices, failed, random }) => {
    if (failed > MAX_RETRIES) return undefined
    const choice = nearBest(
      choices.filter(({ metric, worth }) => metric >= worth),
      random
    )
    return choice && { choice, best: choice.best, exact: false }
  },
  looksAgain: ({ home, demand, isPatient }, full) =>
    homeCapacity(home).idle < demand &&
    full.some(({ metric, worth }) => metric >= (isPatient ? 1 / WORTH_WAITING : WORTH_WAITING) * worth)
}

export const kappa = played(
  {
    name: 'kappa',
    information: 'max-propagation',
    description: 'the best machine within reach, if it is better than home by more than the way costs'
  },
  () => CHOOSER
)
