/** Every information policy: one line each. */

import { broadcast } from './broadcast.ts'
import { gossip } from './gossip.ts'
import { maxPropagation } from './max-propagation.ts'
import { paper } from './paper.ts'
import type { InformationPolicy } from './policy.ts'

export const INFORMATION_POLICIES: readonly InformationPolicy[] = [maxPropagation, broadcast, gossip, paper]

/** Throws for a name that isn't listed. */
export function informationPolicy(name: string): InformationPolicy {
  const found = INFORMATION_POLICIES.find((policy) => policy.name === name)
  if (found === undefined) throw new Error(`there is no information policy ${name}`)
  return found
}
