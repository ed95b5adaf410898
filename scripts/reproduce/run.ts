/** A scenario in words alone, so that it can be sent to a thread and written down. */

import { type Result, run, type Scenario } from '../../src/simulator/scenario.ts'
import { STRATEGIES } from '../../src/simulator/strategies.ts'

export interface Run extends Omit<Scenario, 'strategy'> {
  strategy: string
}

export function runNow({ strategy: name, ...scenario }: Run): Result {
  const strategy = STRATEGIES.get(name)
  if (strategy === undefined) throw new Error(`there is no strategy ${name}; there are: ${[...STRATEGIES.keys()]}`)
  const result = run({ ...scenario, strategy })
  if (result.jobs === 0)
    throw new Error(`nobody asked for anything in ${JSON.stringify({ ...scenario, strategy: name })}`)
  return result
}
