/** What is known of other machines and may be told on. */

import { ageOf } from '../neighbours.ts'
import { forwarded, mayBeTold } from '../propagation.ts'
import type { AdvertisementEntry, PeerId } from '../types.ts'
import type { Teller } from './policy.ts'

/** Entries for that neighbour, the freshest first: nothing of what it said itself, and as far as origins and owners allow. */
export function tellable({ neighbours, forwards }: Teller, to: PeerId, now: number): AdvertisementEntry[] {
  if (!forwards || neighbours.get(to)?.kind !== 'own') return []
  return neighbours
    .routes(to)
    .filter((route) => mayBeTold(route, to))
    .sort((a, b) => ageOf(a, now) - ageOf(b, now))
    .map((route) => forwarded(route, now))
}
