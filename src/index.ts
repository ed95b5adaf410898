/** The library: `import { connect, createPeer } from 'kappa'`. For Linux and Node 22 or later; loads nothing but Node. */

import { connectPeer, startPeer } from './library/peer.ts'
import type { ConnectOptions, Peer, PeerOptions } from './library/types.ts'

export type * from './library/types.ts'

/**
 * Starts a peer with a directory of its own, as a process of its own that ends with this one: what blocks this process
 * doesn't cost it its jobs. Rejects with DaemonError when it doesn't come up.
 */
export function createPeer(options: PeerOptions): Promise<Peer> {
  return startPeer(options)
}

/** Uses a peer that runs: the user's own, with the machines that it is paired with, or the one of a directory. */
export function connect(options: ConnectOptions = {}): Promise<Peer> {
  return connectPeer(options)
}
