/** What a placement must offer to be simulated: the daemon's own core does, and so does everything that is compared with it. */

import type { PaperMessage } from '../core/paper-messages.ts'
import type { PeerCore, PeerCoreInit } from '../core/peer-core.ts'
import type {
  Effect,
  JobEnd,
  MachineSample,
  OverlayMessage,
  OwnerRules,
  PairingKind,
  PeerId,
  PlaceRequest
} from '../core/types.ts'

export type SimulatedMessage = OverlayMessage | PaperMessage

export type SimulatedEffect =
  | Exclude<Effect, { type: 'send' }>
  | { type: 'send'; to: PeerId; message: SimulatedMessage }

/** As `PeerCore`. Messages come from a core of the same kind. */
export interface SimulatedCore
  extends Pick<
    PeerCore,
    'startTicket' | 'resolveTicket' | 'forgetTicket' | 'ownRecord' | 'remembered' | 'nextTimer' | 'handleRoundTrip'
  > {
  place(jobId: string, request: PlaceRequest, now: number): SimulatedEffect[]
  cancel(jobId: string, now: number): SimulatedEffect[]
  homeJobEnded(jobId: string, now: number): SimulatedEffect[]
  guestJobEnded(ticketId: string, end: JobEnd, now: number): SimulatedEffect[]
  handleSample(sample: MachineSample, now: number): SimulatedEffect[]
  handleMessage(from: PeerId, message: SimulatedMessage, now: number): SimulatedEffect[]
  handleTimer(now: number): SimulatedEffect[]
  handleNeighbourUp(peer: PeerId, info: { kind: PairingKind; name: string }, now: number): SimulatedEffect[]
  handleNeighbourDown(peer: PeerId, now: number): SimulatedEffect[]
  setRules(rules: OwnerRules, now: number): SimulatedEffect[]
}

/** What no peer can know, for those that are compared with as if they did. */
export interface Oracle {
  /** Peers that run now. */
  members(): PeerId[]
  /** The load of that machine at this very moment. */
  truth(peer: PeerId): MachineSample
  /** The load of that machine as its own sampler would say now. */
  sample(peer: PeerId): MachineSample
  /** Pairings between the two. */
  hops(from: PeerId, to: PeerId): number
  /** What its clock shows, in ms. */
  now(peer: PeerId): number
  /** The core of that peer. */
  core(peer: PeerId): SimulatedCore
}

/** A way to place jobs, as it is run by every peer of a simulation. */
export interface Strategy {
  name: string
  /** Whom each peer is connected with: those that it is paired with, or everybody. */
  membership: 'neighbours' | 'everybody'
  create(init: PeerCoreInit, oracle: Oracle): SimulatedCore
}
