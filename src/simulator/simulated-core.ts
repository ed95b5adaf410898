/** What a placement must offer to be simulated: the daemon's own core does, and so does everything that is compared with it. */

import type { PeerCore, PeerCoreInit } from '../core/peer-core.ts'
import type { MachineSample, PeerId } from '../core/types.ts'

/** The part of `PeerCore` that a simulation uses. */
export type SimulatedCore = Pick<
  PeerCore,
  | 'startTicket'
  | 'resolveTicket'
  | 'forgetTicket'
  | 'ownRecord'
  | 'remembered'
  | 'nextTimer'
  | 'handleRoundTrip'
  | 'place'
  | 'cancel'
  | 'homeJobEnded'
  | 'guestJobEnded'
  | 'handleSample'
  | 'handleMessage'
  | 'handleTimer'
  | 'handleNeighbourUp'
  | 'handleNeighbourDown'
  | 'setRules'
>

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
