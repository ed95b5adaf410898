/** Every placement that can be simulated: all that the daemon has, and those that know what no peer can. */

import { INFORMATION_POLICIES } from '../core/information/index.ts'
import { PeerCore } from '../core/peer-core.ts'
import { STRATEGIES as STRATEGIES_OF_CORE } from '../core/strategies/index.ts'
import { MAX_HOPS } from '../core/types.ts'
import { GreedyCore } from './greedy-core.ts'
import type { Strategy } from './simulated-core.ts'

/** The paper's five seconds are for its slow network. */
const PAPER_DELAY_MS = 1_000

const ORACLES: readonly Strategy[] = [
  { name: 'greedy', membership: 'everybody', create: (init, oracle) => new GreedyCore(init, oracle) },
  {
    name: 'greedy-near',
    membership: 'everybody',
    create: (init, oracle) => new GreedyCore(init, oracle, MAX_HOPS)
  }
]

/** By name; for a strategy with another than its own information policy the name is `strategy+information`. */
export const STRATEGIES: ReadonlyMap<string, Strategy> = new Map(
  [
    ...STRATEGIES_OF_CORE.map(({ name }) => placedBy(name)),
    ...ORACLES,
    ...STRATEGIES_OF_CORE.flatMap(({ name }) => INFORMATION_POLICIES.map((policy) => placedBy(name, policy.name)))
  ].map((strategy) => [strategy.name, strategy])
)

function placedBy(strategy: string, information?: string): Strategy {
  const how = { strategy, paperDelayMs: PAPER_DELAY_MS, ...(information && { information }) }
  return {
    name: information === undefined ? strategy : `${strategy}+${information}`,
    membership: 'neighbours',
    create: (init) => new PeerCore({ ...init, ...how })
  }
}
