/** Every placement that can be simulated: one line each. */

import { PaperCore } from '../core/paper-core.ts'
import { PeerCore } from '../core/peer-core.ts'
import { MAX_HOPS } from '../core/types.ts'
import { GreedyCore } from './greedy-core.ts'
import { ReferenceCore, type ReferenceRule } from './reference-core.ts'
import type { Strategy } from './simulated-core.ts'

/** Peers that `limited` asks one after the other. */
const LIMITED_ROUNDS = 3

/** The paper's five seconds are for its slow network; this is kappa's own period. */
const PAPER_DELAY_MS = 1_000

const NOBODY: ReferenceRule = {
  width: 0,
  rounds: 0,
  onlyFromBusy: false,
  onlyToIdle: false,
  homeIsDrawn: false,
  compares: false
}

const ALL: readonly Strategy[] = [
  { name: 'kappa', membership: 'neighbours', create: (init) => new PeerCore(init) },
  {
    name: 'kappa-paper',
    membership: 'neighbours',
    create: (init) => new PaperCore({ ...init, delayMs: PAPER_DELAY_MS })
  },
  { name: 'greedy', membership: 'everybody', create: (init, oracle) => new GreedyCore(init, oracle) },
  {
    name: 'greedy-near',
    membership: 'everybody',
    create: (init, oracle) => new GreedyCore(init, oracle, MAX_HOPS)
  },
  reference('two-choices', { width: 2, rounds: 1, compares: true }),
  reference('random', { width: 1, rounds: 1, homeIsDrawn: true }),
  reference('threshold', { width: 1, rounds: 1, onlyFromBusy: true }),
  reference('limited', { width: 1, rounds: LIMITED_ROUNDS, onlyFromBusy: true, onlyToIdle: true }),
  reference('local', {})
]

export const STRATEGIES: ReadonlyMap<string, Strategy> = new Map(ALL.map((strategy) => [strategy.name, strategy]))

function reference(name: string, rule: Partial<ReferenceRule>): Strategy {
  return {
    name,
    membership: 'everybody',
    create: (init, oracle) => new ReferenceCore(init, oracle, { ...NOBODY, ...rule })
  }
}
