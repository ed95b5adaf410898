/** What a way to place one job sees of its peer, and what each of its steps may lead to. */

import type { WayCost } from './learning.ts'
import type { Lack } from './needs.ts'
import type { Neighbours } from './neighbours.ts'
import type { PaperReply } from './paper-messages.ts'
import type { PaperMetrics } from './paper-metrics.ts'
import type {
  Claimed,
  Effect,
  MachineRecord,
  MetricPolicy,
  PairingKind,
  PeerId,
  PlacementTrace,
  PlaceRequest,
  ProbeReply,
  Ticket,
  Work
} from './types.ts'

/** ms from asking until the job runs at home for want of answers. */
export const PLACE_BUDGET_MS = 400
/**
 * ms that one of many which make started looks for a slot: home's time is for what only home can do, and somewhere one of the
 * others ends soon.
 */
export const SHIM_PATIENCE_MS = 10_000
/** ms to wait for a fresh sample of the own load before the old one has to do. */
export const SAMPLE_WAIT_MS = 50
/** ms; an older sample is no basis for an answer. */
export const SAMPLE_FRESH_MS = 200
/** ms that a walk gets for each hop beyond the first, before another is begun. */
export const HEDGE_HOP_MS = 25

/** What a machine lacks that isn't connected. */
export const AWAY = 'not connected'

/** What a placement sees and uses of its peer. */
export interface Surroundings {
  readonly self: PeerId
  readonly policy: MetricPolicy
  readonly neighbours: Neighbours
  /** What the neighbours say by Algorithm I of the paper. */
  readonly paperMetrics: PaperMetrics
  /** Hops that this home's jobs may go. */
  readonly forward: number
  random(): number
  newId(): string
  ownRecord(): MachineRecord
  /** Infinite before the first sample. */
  sampleAgeMs(now: number): number
  homeLack(request: PlaceRequest): Lack | undefined
  /** How far that peer's own word about its speed is believed, in (0, 1]. */
  trust(peer: PeerId, now: number): number
  /** How far this machine's own score is believed, in (0, 1]. */
  trustHere(now: number): number
  /** What the way to a peer so many hops away, through that neighbour, costs the job. */
  wayCost(peer: PeerId, via: PeerId, hops: number, work: Work): WayCost
  /** Whether one of home's own slots is free for a job that rather waits. */
  homeSlotFree(demand: number): boolean
}

/** A job of this home that is to be placed. */
export interface PlaceOrder {
  jobId: string
  request: PlaceRequest
  /** When the user asked, which is earlier than now for a job that waited. */
  askedAt: number
  /** It rather waits than runs here beyond home's slots: its user's wish, or the strategy's way. */
  waits: boolean
}

export type Decision = { trace: PlacementTrace } & (
  | { where: 'here' }
  | {
      where: 'there'
      probeId: string
      ticket: Ticket
      kind: PairingKind
      name: string
      path: PeerId[]
      addresses: string[]
      claim?: Claimed
    }
  /** `hope`: whether waiting for slots may help (`soon`), or for a peer to come back or its owner to relent (`later`). */
  | { where: 'nowhere'; hope: 'soon' | 'later' | 'none' }
)

/** What one event led to: messages to send, and the decision when it fell. */
export interface Step {
  sends: Effect[]
  decision?: Decision
  /** The load must be sampled before the placement can go on. */
  sample?: true
}

/** The placing of one job, from its first step to the decision. */
export interface Placing {
  readonly order: PlaceOrder
  /** The first step. */
  begin(now: number): Step
  /** Whether it waits for the answer to that probe. */
  asked(probeId: string): boolean
  nextTimer(): number
  handleSample(now: number): Step
  handleTimer(now: number): Step
  handleReply(from: PeerId, reply: ProbeReply | PaperReply, now: number): Step
  handleNeighbourDown(peer: PeerId, now: number): Step
  /** Lets go of whatever its probes may hold. */
  cancel(): Effect[]
}

/** As far as the user's words go. */
export function mayBeHere({ remote, on, not }: PlaceRequest, self: PeerId): boolean {
  return !remote && !not.includes(self) && (on.length === 0 || on.includes(self))
}

/** Asked to run elsewhere, a reason to stay doesn't count. */
export function mayLeave(request: PlaceRequest, self: PeerId): boolean {
  const { local, on, stays } = request
  if (local || (on.length === 1 && on[0] === self)) return false
  return stays === undefined || !mayBeHere(request, self)
}

/** Whether the user lets it run on that peer. */
export function isAllowed({ on, not }: PlaceRequest, peer: PeerId): boolean {
  return !not.includes(peer) && (on.length === 0 || on.includes(peer))
}

export function releaseOf(peer: PeerId, probeId: string): Effect {
  return { type: 'send', to: peer, message: { type: 'release', id: probeId } }
}
