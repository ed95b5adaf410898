/**
 * Own machines vouch for what they bring. Who no longer does says so to its own neighbours, they to theirs, as far as probes
 * walk: jobs that came that way end also where their home is connected on its own.
 */

import type { Connection } from '@libp2p/interface'
import { MAX_HOPS, type PeerId } from '../../core/types.ts'
import { isKappaError, KappaError, messageOf } from '../../errors.ts'
import { FrameStream } from '../../network/frames.ts'
import type { KappaNode } from '../../network/node.ts'
import { decodeMessage, encodeMessage, type Withdrawal } from './codec.ts'
import { FRESH_MS, MESSAGE_BYTES_MAX, NEWS_MAX, SAY_MS, WITHDRAW_PROTOCOL } from './constants.ts'

const STREAMS_MAX = 8

export interface WithdrawInit {
  node: KappaNode
  /** The connections to own machines that are used now. */
  ownNeighbours(): Iterable<[PeerId, Connection]>
  /** `peer` is trusted no more by `by`: what came from one through the other is void. */
  onWithdrawn(peer: PeerId, by: PeerId): void
  log(line: string): void
}

export class WithdrawService {
  readonly #init: WithdrawInit
  readonly #node: KappaNode
  /** News told on lately, with the times of `performance.now()`, oldest first; at most `NEWS_MAX`. */
  readonly #told = new Map<string, number>()

  constructor(init: WithdrawInit) {
    this.#init = init
    this.#node = init.node
  }

  /** Listens to own machines alone. */
  async start(): Promise<void> {
    await this.#node.handle(WITHDRAW_PROTOCOL, { rights: ['own'], maxStreams: STREAMS_MAX }, async (stream, from) => {
      const frames = framed(stream)
      try {
        for await (const frame of frames.frames(AbortSignal.timeout(SAY_MS))) {
          this.#heard(from, decodeMessage(frame))
          break
        }
        await frames.close(AbortSignal.timeout(SAY_MS))
      } catch (error) {
        frames.abort(error as Error)
      }
    })
  }

  /** This machine trusts that peer no more. Who is away hears nothing: what it runs of that peer goes on to its end. */
  withdraw(peer: PeerId): void {
    this.#tellOn({ peer, by: this.#node.peerId, hopsLeft: MAX_HOPS - 1 }, undefined)
  }

  #heard(from: PeerId, { peer, by, hopsLeft }: Withdrawal): void {
    // Only of itself does this machine say so.
    if (by === this.#node.peerId) return
    this.#init.onWithdrawn(peer, by)
    if (hopsLeft > 0) this.#tellOn({ peer, by, hopsLeft: hopsLeft - 1 }, from)
  }

  #tellOn(news: Withdrawal, from: PeerId | undefined): void {
    if (!this.#isFresh(`${news.peer} ${news.by}`)) return
    for (const [neighbour, connection] of this.#init.ownNeighbours()) {
      if (neighbour !== from && neighbour !== news.peer && neighbour !== news.by) void this.#say(connection, news)
    }
  }

  #isFresh(key: string): boolean {
    const now = performance.now()
    for (const [old, at] of this.#told) if (now - at >= FRESH_MS) this.#told.delete(old)
    if (this.#told.has(key) || this.#told.size >= NEWS_MAX) return false
    this.#told.set(key, now)
    return true
  }

  async #say(connection: Connection, news: Withdrawal): Promise<void> {
    try {
      const signal = AbortSignal.timeout(SAY_MS)
      const frames = framed(await this.#node.openStream(connection, WITHDRAW_PROTOCOL, signal))
      frames.send(encodeMessage(news))
      await frames.close(signal)
      setTimeout(() => frames.abort(new KappaError('NetworkError', 'all is said')), SAY_MS).unref()
    } catch (error) {
      if (!isKappaError(error)) this.#init.log(`a withdrawal was not told: ${messageOf(error)}`)
    }
  }
}

function framed(stream: ConstructorParameters<typeof FrameStream>[0]): FrameStream {
  return new FrameStream(stream, { maxFrameBytes: MESSAGE_BYTES_MAX })
}
