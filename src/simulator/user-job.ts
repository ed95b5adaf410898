/** One command of a user, wherever it runs. */

import type { HomeJob } from '../core/home-job.ts'
import type { Claimed, PeerId, PlacementTrace, PlaceRequest, Ticket } from '../core/types.ts'

/**
 * `orphaned`: its home died before it heard of an end. Exactly one for each job, in the end; the end of a lost job may
 * still be learnt, which changes nothing.
 */
export type Outcome = 'exited' | 'killed' | 'lost' | 'unplaceable' | 'cancelled' | 'orphaned'

/** What a workload asks for. */
export interface Order {
  /** ms from the start of the simulation. */
  at: number
  home: number
  workMs: number
  request: PlaceRequest
  /** Under which home learns what it takes, empty for one like no other; nothing is learnt when it has none. */
  command?: string
  /** Bytes of files that must get to wherever it runs. */
  stagedBytes?: number
  /** What the same user asks for when this is over. */
  next?: Omit<Order, 'at'>
  /** When the user asked for it first, if an earlier try was lost. */
  firstAt?: number
}

export interface UserJob extends Order {
  id: string
  /** Processes ever started for it. */
  runs: number
  outcomes: Outcome[]
  /** When the user asked, by home's clock; for a job that waited, when it was placed. */
  askedAt?: number
  /** It waits, or waited, in line at home. */
  queued?: true
  /** When the user learnt of the outcome, in true time. */
  endedAt?: number
  /** When the last attempt to place it began, by its home's clock, and how often that peer was stopped or started since. */
  placing?: { since: number; change: number } | undefined
  /** It was placed once more though its time was over. */
  late?: boolean
  /** Hops that its probe went; 0 at home. */
  hops: number
  /** Where it ran. */
  target?: number
  /** Why it went there; the last attempt's. */
  trace?: PlacementTrace
  /** When it last began to run at home or was sent to where it runs, in true time. */
  beganAt?: number
  /** The attempt to run it elsewhere. */
  attempt?: Attempt | undefined
}

export interface Attempt {
  ticket: Ticket
  probeId: string
  /** The neighbour that the probe went to. */
  via: PeerId
  rules: HomeJob
  /** What the target said of itself. */
  claim?: Claimed | undefined
  /** The start message was handed over. */
  sent: boolean
  /** When its rules are asked next, in true time. */
  timerAt: number
}
