/** What is known of other machines and may be told on. */

import { ageOf } from '../neighbours.ts'
import { forwarded, mayBeTold } from '../propagation.ts'
import type { AdvertisementEntry, PeerId } from '../types.ts'
import type { Teller } from './policy.ts'

export type Freshness = Pick<AdvertisementEntry, 'epoch' | 'sequence'>

export function freshness({ epoch, sequence }: AdvertisementEntry): Freshness {
  return { epoch, sequence }
}

export function isFresher(entry: Freshness, than: Freshness): boolean {
  return entry.epoch > than.epoch || (entry.epoch === than.epoch && entry.sequence > than.sequence)
}

/** Entries for that neighbour, the freshest first: nothing of what it said itself, and as far as origins and owners allow. */
export function tellable({ neighbours, forwards }: Teller, to: PeerId, now: number): AdvertisementEntry[] {
  if (!forwards || neighbours.get(to)?.kind !== 'own') return []
  return neighbours
    .routes(to)
    .filter((route) => mayBeTold(route, to))
    .sort((a, b) => ageOf(a, now) - ageOf(b, now))
    .map((route) => forwarded(route, now))
}
