/**
 * Wake-on-LAN among paired machines: each tells its neighbours, at every connection, by which addresses its cards can be woken;
 * and asks them to wake another, since only who is on the sleeper's LAN is heard by its card.
 */

import type { Connection, Stream } from '@libp2p/interface'
import type { PeerId } from '../../core/types.ts'
import { isKappaError, messageOf } from '../../errors.ts'
import { FrameStream } from '../../network/frames.ts'
import { HARDWARE_ADDRESS } from '../../network/magic-packet.ts'
import type { KappaNode } from '../../network/node.ts'
import { MAX_PAIRINGS } from '../../network/pairing.ts'
import { TokenBucket } from '../overlay/rate.ts'
import { decodeMessage, encodeMessage, type WakeMessage } from './codec.ts'
import { ASKS_BURST, ASKS_PER_SECOND, MESSAGE_BYTES_MAX, SAY_MS, WAKE_PROTOCOL } from './constants.ts'

const STREAMS_MAX = 4

export interface WakeInit {
  node: KappaNode
  /** A neighbour told how it can be woken; none: it is not to be. */
  onHardware(peer: PeerId, addresses: string[]): void
  /** A neighbour asks that `peer` be woken: sends to those of the addresses that it may; to how many LANs. */
  onAsked(from: PeerId, peer: PeerId, addresses: string[]): Promise<number>
  log(line: string): void
}

export class WakeService {
  readonly #init: WakeInit
  /** By neighbour; at most `MAX_PAIRINGS`, the one that asked first is forgotten first. */
  readonly #asks = new Map<PeerId, TokenBucket>()

  constructor(init: WakeInit) {
    this.#init = init
  }

  async start(): Promise<void> {
    const limits = { rights: ['own', 'friend'], maxStreams: STREAMS_MAX } as const
    await this.#init.node.handle(WAKE_PROTOCOL, limits, (stream, from) => this.#serve(stream, from))
  }

  async #serve(stream: Stream, from: PeerId): Promise<void> {
    const frames = framed(stream)
    try {
      for await (const frame of frames.frames(AbortSignal.timeout(SAY_MS))) {
        const message = decodeMessage(frame)
        if (message.type === 'hardware') this.#init.onHardware(from, valid(message.addresses))
        else if (message.type === 'wake') {
          const lans = this.#mayAsk(from) ? await this.#init.onAsked(from, message.peer, valid(message.addresses)) : 0
          frames.send(encodeMessage({ type: 'sent', lans }))
        }
        break
      }
      await frames.close(AbortSignal.timeout(SAY_MS))
    } catch (error) {
      frames.abort(error as Error)
    }
  }

  #mayAsk(from: PeerId): boolean {
    const now = performance.now()
    const bucket = this.#asks.get(from) ?? new TokenBucket({ perSecond: ASKS_PER_SECOND, burst: ASKS_BURST }, now)
    this.#asks.set(from, bucket)
    if (this.#asks.size > MAX_PAIRINGS) this.#asks.delete(this.#asks.keys().next().value!)
    return bucket.take(1, now)
  }

  /** Tells a neighbour how this machine can be woken. An older one doesn't listen, which is no error. */
  async tell(connection: Connection, addresses: string[]): Promise<void> {
    await this.#exchange(connection, { type: 'hardware', addresses }, AbortSignal.timeout(SAY_MS))
  }

  /** Has a neighbour wake that machine; to how many LANs it sent. */
  async ask(connection: Connection, peer: PeerId, addresses: string[]): Promise<number> {
    const answer = await this.#exchange(connection, { type: 'wake', peer, addresses }, AbortSignal.timeout(SAY_MS))
    return answer?.type === 'sent' ? answer.lans : 0
  }

  async #exchange(connection: Connection, message: WakeMessage, signal: AbortSignal): Promise<WakeMessage | undefined> {
    try {
      const frames = framed(await this.#init.node.openStream(connection, WAKE_PROTOCOL, signal))
      try {
        frames.send(encodeMessage(message))
        for await (const frame of frames.frames(signal)) return decodeMessage(frame)
      } finally {
        await frames.close(signal).catch((error) => frames.abort(error as Error))
      }
    } catch (error) {
      if (!isKappaError(error)) this.#init.log(`a message of the wake protocol was lost: ${messageOf(error)}`)
    }
    return undefined
  }
}

function valid(addresses: string[]): string[] {
  return addresses.filter((address) => HARDWARE_ADDRESS.test(address))
}

function framed(stream: Stream): FrameStream {
  return new FrameStream(stream, { maxFrameBytes: MESSAGE_BYTES_MAX })
}
