/**
 * yamux tells the sender with each frame anew how much more it may send: an encrypted message and a packet the other way
 * for every one. Its specification leaves open when; here it is said when half of the window is used.
 */
import type { Stream } from '@libp2p/interface'

/** What the package's streams have besides their interface; windows in bytes. */
interface Windowed {
  state?: number
  recvWindow?: number
  recvWindowCapacity?: number
  sendWindowUpdate?(): void
}

/** Before this state the update says as well that the stream is opened or accepted. */
const ESTABLISHED = 3

/** Grants so large a window at the next occasion, and then each half of it at once. */
export function windowByHalves(stream: Stream, windowBytes: number): void {
  const inner = stream as unknown as Windowed
  const update = inner.sendWindowUpdate
  if (update === undefined || inner.recvWindow === undefined || inner.recvWindowCapacity === undefined) return
  inner.recvWindow = windowBytes
  inner.sendWindowUpdate = () => {
    const used = inner.recvWindow! - inner.recvWindowCapacity!
    if (inner.state !== ESTABLISHED || used >= inner.recvWindow! / 2) update.call(inner)
  }
}
