/** What an information policy is: when to tell whom what. All peers understand the messages of all policies. */

import type { Activity } from '../activity.ts'
import type { Announcement } from '../advertiser.ts'
import type { Neighbours } from '../neighbours.ts'
import type { PaperMetrics } from '../paper-metrics.ts'
import type { Offers } from '../propagation.ts'
import type { AdvertisementEntry, Effect, MachineRecord, MetricPolicy, PeerId } from '../types.ts'

/** What a policy sees and uses of its peer. */
export interface Teller {
  readonly policy: MetricPolicy
  readonly activity: Activity
  readonly neighbours: Neighbours
  readonly offers: Offers
  readonly paperMetrics: PaperMetrics
  /** Whether what is known of others may be told on. */
  readonly forwards: boolean
  /** The load was sampled at least once. */
  readonly measured: boolean
  /** ms between the rounds of Algorithm I, > 0. */
  readonly paperDelayMs: number
  random(): number
  record(): MachineRecord
  announcement(): Announcement
  /** This machine's own entry, for that neighbour. */
  entryFor(peer: PeerId, now: number): AdvertisementEntry
}

/** Tells the neighbours; lives as long as its owner wants this policy. */
export interface Informer {
  /** The neighbour is connected; told for each that is, also when the policy begins. */
  up(peer: PeerId, now: number): void
  down(peer: PeerId): void
  /** The overlay no longer rests. */
  woke(now: number): void
  /** The owner's rules changed. */
  tellAll(): void
  /** This machine's record went to that neighbour with an answer. */
  answered(peer: PeerId): void
  /** What is to be sent now; called after whatever may have changed something, and when a timer is due. */
  due(now: number): Effect[]
  /** Undefined: only events matter. */
  nextTimer(): number | undefined
}

export interface InformationPolicy {
  /** As in `placement.information`. */
  readonly name: string
  /** One line for people. */
  readonly description: string
  create(teller: Teller): Informer
}
