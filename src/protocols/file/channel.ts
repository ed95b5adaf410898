/**
 * File messages between the daemons of home and target, over one stream after another: what the other side has not
 * confirmed is kept and sent again on the next stream, so that none is lost and none comes twice. Whoever uses it bounds
 * what is under way: requests that wait for answers, and bytes written.
 */

import { decode, encode } from 'cborg'
import { z } from 'zod'
import { KappaError } from '../../errors.ts'
import type { FrameStream } from '../../network/frames.ts'
import { PATH_BYTES_MAX } from './constants.ts'

/** Bytes that the other side has not confirmed; beyond, it does not do its part and is not gone on with. */
const UNCONFIRMED_BYTES_MAX = 64 * 1024 * 1024
/** A message is confirmed at the latest after so many, or so many ms. */
const CONFIRM_EVERY = 16
const CONFIRM_MS = 200

const FRAME = { hello: 0, message: 1, confirm: 2 } as const
const COUNT_MAX = 2 ** 48

/** Project and shares that lie in system directories. */
const WRITABLE_MAX = 65
const writablePath = z
  .string()
  .max(PATH_BYTES_MAX)
  .regex(/^(\/(?!\.{1,2}(\/|$))[^/\0]+)+$/)

const count = z.int().min(0).max(COUNT_MAX)
const helloSchema = z.object({
  /** Home's number of what it shows: 32 hexadecimal digits. */
  tree: z.string().regex(/^[0-9a-f]{32}$/),
  /** Who the user is at home. */
  uid: z
    .int()
    .min(0)
    .max(2 ** 32 - 2),
  gid: z
    .int()
    .min(0)
    .max(2 ** 32 - 2),
  /** What jobs may write though it lies in a system directory, the others of which are read only. */
  writable: z.array(writablePath).max(WRITABLE_MAX),
  /** Messages of the other side that have arrived so far. */
  received: count,
  /** Of the target: what home goes on with is not known there any more, and the stream ends. */
  gone: z.boolean().optional()
})

/** The first frame of a stream, of either side: home's first. */
export type FileHello = z.infer<typeof helloSchema>

export function encodeHello(hello: FileHello): Uint8Array[] {
  return [Uint8Array.of(FRAME.hello), encode(hello)]
}

/** Throws ProtocolError. */
export function decodeHello(frame: Uint8Array): FileHello {
  try {
    if (frame[0] === FRAME.hello) return helloSchema.parse(decode(frame.subarray(1)))
  } catch {}
  throw new KappaError('ProtocolError', 'a stream of the file protocol does not begin as it should')
}

type Frames = Pick<FrameStream, 'send' | 'drained' | 'onFrame' | 'abort'>

export interface FileChannelInit {
  onMessage(message: Uint8Array): void
  /** The stream ended, or said what makes no sense; the next one may be attached. */
  onDetached(error: Error | undefined): void
}

export class FileChannel {
  readonly #init: FileChannelInit
  /** Not yet confirmed, oldest first; at most `UNCONFIRMED_BYTES_MAX`, and one message. */
  #unconfirmed: Uint8Array[][] = []
  #unconfirmedBytes = 0
  #confirmed = 0
  #received = 0
  /** As the other side was told. */
  #told = 0
  #frames: Frames | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(init: FileChannelInit) {
    this.#init = init
  }

  get received(): number {
    return this.#received
  }

  /** Too much was not confirmed: it is of no use any more. */
  get isBroken(): boolean {
    return this.#unconfirmedBytes > UNCONFIRMED_BYTES_MAX
  }

  get isAttached(): boolean {
    return this.#frames !== undefined
  }

  /** Goes on over this stream, on which both have said hello. Throws ProtocolError when they don't agree on what was said. */
  attach(frames: Frames, theirReceived: number): void {
    const sent = this.#confirmed + this.#unconfirmed.length
    if (this.isBroken || theirReceived < this.#confirmed || theirReceived > sent) {
      throw new KappaError('ProtocolError', 'the other side of the file protocol has forgotten what was said')
    }
    this.detach()
    this.#confirm(theirReceived)
    this.#frames = frames
    this.#told = this.#received
    frames.onFrame(
      (frame) => this.#onFrame(frames, frame),
      (error) => this.#lost(frames, error)
    )
    for (const parts of this.#unconfirmed) this.#write(parts)
  }

  detach(): void {
    const frames = this.#frames
    this.#frames = undefined
    clearTimeout(this.#timer)
    this.#timer = undefined
    frames?.abort(new KappaError('NetworkError', 'another stream takes its place'))
  }

  /** Does nothing on a channel that is broken. */
  send(parts: Uint8Array[]): void {
    if (this.isBroken) return
    this.#unconfirmed.push(parts)
    this.#unconfirmedBytes += bytesOf(parts)
    if (!this.isBroken) this.#write(parts)
    else if (this.#frames === undefined) this.#init.onDetached(overflow())
    else this.#lost(this.#frames, overflow())
  }

  /** Resolves when more may be sent at once: at the latest when the stream ends. */
  async drained(): Promise<void> {
    await this.#frames?.drained().catch(() => {})
  }

  #write(parts: Uint8Array[]): void {
    const frames = this.#frames
    if (frames === undefined) return
    try {
      frames.send(Uint8Array.of(FRAME.message), ...parts)
    } catch (error) {
      this.#lost(frames, error as Error)
    }
  }

  #onFrame(frames: Frames, frame: Uint8Array): void {
    if (this.#frames !== frames) return
    if (frame[0] === FRAME.message) {
      this.#received++
      this.#confirmLater(frames)
      this.#init.onMessage(frame.subarray(1))
      return
    }
    const received = frame[0] === FRAME.confirm && frame.length === 9 ? countOf(frame) : -1
    if (received >= this.#confirmed && received <= this.#confirmed + this.#unconfirmed.length) this.#confirm(received)
    else this.#lost(frames, new KappaError('ProtocolError', 'a frame of the file protocol is malformed'))
  }

  #confirm(received: number): void {
    for (const parts of this.#unconfirmed.splice(0, received - this.#confirmed)) {
      this.#unconfirmedBytes -= bytesOf(parts)
    }
    this.#confirmed = received
  }

  #confirmLater(frames: Frames): void {
    if (this.#received - this.#told >= CONFIRM_EVERY) this.#tell(frames)
    else this.#timer ??= setTimeout(() => this.#tell(frames), CONFIRM_MS)
  }

  #tell(frames: Frames): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#frames !== frames || this.#told === this.#received) return
    this.#told = this.#received
    const frame = Buffer.alloc(9)
    frame[0] = FRAME.confirm
    frame.writeBigUInt64BE(BigInt(this.#received), 1)
    try {
      frames.send(frame)
    } catch (error) {
      this.#lost(frames, error as Error)
    }
  }

  #lost(frames: Frames, error: Error | undefined): void {
    if (this.#frames !== frames) return
    this.detach()
    this.#init.onDetached(error)
  }
}

function bytesOf(parts: readonly Uint8Array[]): number {
  let bytes = 0
  for (const part of parts) bytes += part.length
  return bytes
}

function overflow(): KappaError {
  return new KappaError('LimitError', 'the other side of the file protocol asks, or tells, and does not confirm')
}

function countOf(frame: Uint8Array): number {
  const value = Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength).readBigUInt64BE(1)
  return value <= COUNT_MAX ? Number(value) : -1
}
