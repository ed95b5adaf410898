/** A way through a common neighbour, as a transport's connection: each piece that is sent is a frame. */

import type { MessageStreamDirection } from '@libp2p/interface'
import { AbstractMultiaddrConnection } from '@libp2p/utils'
import type { Multiaddr } from '@multiformats/multiaddr'
import type { Uint8ArrayList } from 'uint8arraylist'
import type { FrameStream } from '../../network/frames.ts'
import { RELAY_FRAME_BYTES_MAX } from './constants.ts'

/** From the end that was said to the end of both sides. */
const CLOSE_MS = 1_000

export class Way extends AbstractMultiaddrConnection {
  readonly #frames: FrameStream

  /** Takes over a stream whose opening is done. */
  constructor(frames: FrameStream, remoteAddr: Multiaddr, direction: MessageStreamDirection) {
    super({ remoteAddr, direction, log: frames.stream.log, maxMessageSize: RELAY_FRAME_BYTES_MAX })
    this.#frames = frames
    frames.onFrame(
      (bytes) => this.onData(bytes),
      (error) => {
        this.onTransportClosed(error)
        if (error === undefined) void this.sendClose({ signal: AbortSignal.timeout(CLOSE_MS) })
      }
    )
  }

  override sendData(data: Uint8ArrayList): { sentBytes: number; canSendMore: boolean } {
    const sentBytes = data.byteLength
    const canSendMore = this.#frames.send(...data)
    if (!canSendMore) {
      this.#frames.drained().then(
        () => this.safeDispatchEvent('drain'),
        // Its end is told to all.
        () => undefined
      )
    }
    return { sentBytes, canSendMore }
  }

  override async sendClose(options?: { signal?: AbortSignal }): Promise<void> {
    // The other side may have ended it before.
    await this.#frames.close(options?.signal).catch(() => undefined)
  }

  override sendReset(error: Error): void {
    this.#frames.abort(error)
  }

  override sendPause(): void {
    this.#frames.pause()
  }

  override sendResume(): void {
    this.#frames.resume()
  }
}
