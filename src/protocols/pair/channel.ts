/** One stream of the pair protocol: checked messages in, bounded messages out. */

import type { Connection, Stream } from '@libp2p/interface'
import type { PeerId } from '../../core/types.ts'
import { KappaError } from '../../errors.ts'
import { FrameStream } from '../../network/frames.ts'
import type { KappaNode } from '../../network/node.ts'
import { decodeMessage, encodeMessage, type PairMessage } from './codec.ts'
import { MESSAGE_BYTES_MAX, PAIR_PROTOCOL } from './constants.ts'

/** A connection that doesn't close in so many ms is cut. */
const LEAVE_MS = 1_000

/** Whom to call: an open connection is used when the peer is known and has one. */
export interface Target {
  /** The only peer that may answer; absent: whoever does. */
  peerId?: PeerId
  addresses: string[]
}

export class PairChannel {
  readonly connection: Connection
  readonly #frames: FrameStream
  readonly #received: AsyncGenerator<Uint8Array, void, undefined>

  constructor(stream: Stream, connection: Connection) {
    this.connection = connection
    this.#frames = new FrameStream(stream, { maxFrameBytes: MESSAGE_BYTES_MAX })
    this.#received = this.#frames.frames()
  }

  get peerId(): PeerId {
    return this.connection.remotePeer.toString()
  }

  /** Throws NetworkError when the stream has ended. */
  send(message: PairMessage): void {
    // A session is a handful of small messages: the stream's buffer never fills.
    this.#frames.send(encodeMessage(message))
  }

  /** The next message; undefined when the other side is through. One call at a time. Throws ProtocolError, NetworkError. */
  async receive(): Promise<PairMessage | undefined> {
    const next = await this.#received.next()
    return next.done === true ? undefined : decodeMessage(next.value)
  }

  /** The next message within so many ms; else the stream is ended, with TimeoutError. */
  async receiveWithin(ms: number): Promise<PairMessage | undefined> {
    const timer = setTimeout(
      () => this.abort(new KappaError('TimeoutError', `${this.peerId} didn't answer in time`)),
      ms
    )
    try {
      return await this.receive()
    } finally {
      clearTimeout(timer)
    }
  }

  /** Ends in order, so that what was sent arrives, if the other side ends too within so many ms; else at once. */
  async end(ms: number): Promise<void> {
    const timer = setTimeout(() => this.abort(new KappaError('TimeoutError', `${this.peerId} keeps a stream open`)), ms)
    try {
      await this.#frames.close()
      while ((await this.#received.next()).done !== true) {
        // What comes after the end is of no interest.
      }
    } catch {
      // It ended in disorder; there is nobody left to tell.
    } finally {
      clearTimeout(timer)
    }
  }

  /** Ends at once. */
  abort(error: Error): void {
    this.#frames.abort(error)
  }
}

/**
 * Calls a peer. Throws UnreachableError when nobody answers there, NetworkError when the peer turns this one away, and
 * the signal's reason.
 */
export async function openChannel(node: KappaNode, target: Target, signal: AbortSignal): Promise<PairChannel> {
  const open = target.peerId === undefined ? undefined : node.connections(target.peerId)[0]
  if (open !== undefined) {
    try {
      return new PairChannel(await node.openStream(open, PAIR_PROTOCOL, signal), open)
    } catch {
      // It was about to end, or dead already.
      signal.throwIfAborted()
    }
  }
  const connection = await node.dial(target.addresses, target.peerId, signal)
  try {
    return new PairChannel(await node.openStream(connection, PAIR_PROTOCOL, signal), connection)
  } catch (error) {
    await leave(node, connection)
    throw error
  }
}

/** Closes a connection that was only made for pairing, unless its peer has a right to one. */
export async function leave(node: KappaNode, connection: Connection): Promise<void> {
  if (node.gater.rightOf(connection.remotePeer.toString()) !== undefined) return
  try {
    await connection.close({ signal: AbortSignal.timeout(LEAVE_MS) })
  } catch (error) {
    connection.abort(error as Error)
  }
}
