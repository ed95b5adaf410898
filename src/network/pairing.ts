/** What is remembered of a machine that a person paired with this one. The daemon stores it, everyone else reads it. */
import type { PairingKind, PeerId } from '../core/types.ts'

/** Addresses remembered of one peer. */
export const MAX_ADDRESSES = 16

/** Pairings of one peer: each may hold a connection, and the node keeps `MAX_CONNECTIONS` of them. */
export const MAX_PAIRINGS = 32

export interface Pairing {
  peerId: PeerId
  /** Name that the other side gave itself or that was given here; control characters are the viewer's to escape. */
  name: string
  kind: PairingKind
  /** `pending` until both sides confirmed. */
  state: 'pending' | 'paired'
  /** Multiaddrs where it was seen, best first; at most `MAX_ADDRESSES`. */
  addresses: string[]
  /** By which it can be woken, as it said last; at most `MAX_HARDWARE_ADDRESSES`. */
  hardware?: string[]
}

/** The pairings as they are now; injected, so that nothing here reads or writes files. */
export interface Pairings {
  /** At most `MAX_PAIRINGS`. */
  all(): Iterable<Pairing>
  get(peer: PeerId): Pairing | undefined
}
