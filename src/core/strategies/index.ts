/** Every strategy: one line each; the first is the default. */

import { kappa } from './kappa.ts'
import { kappaPaper } from './kappa-paper.ts'
import { limited } from './limited.ts'
import { local } from './local.ts'
import { pull } from './pull.ts'
import { random } from './random.ts'
import { roundRobin } from './round-robin.ts'
import { shortest } from './shortest.ts'
import type { Strategy } from './strategy.ts'
import { threshold } from './threshold.ts'
import { twoChoices } from './two-choices.ts'

export const STRATEGIES: readonly Strategy[] = [
  kappa,
  kappaPaper,
  random,
  roundRobin,
  threshold,
  limited,
  shortest,
  twoChoices,
  pull,
  local
]

export const DEFAULT_STRATEGY = kappa.name

/** Throws for a name that isn't listed. */
export function strategyNamed(name: string): Strategy {
  const found = STRATEGIES.find((strategy) => strategy.name === name)
  if (found === undefined) throw new Error(`there is no strategy ${name}`)
  return found
}
