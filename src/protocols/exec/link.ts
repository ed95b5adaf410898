/**
 * One exec stream between home and target, as both sides use it: messages go out at once, data within what the pacer
 * allows, acknowledgements are gathered. A job's streams outlive the link: they are attached to the next one.
 */

import { KappaError } from '../../errors.ts'
import { type FrameStream, MESSAGE_PAYLOAD_BYTES } from '../../network/frames.ts'
import { Blocks } from './blocks.ts'
import { ACKNOWLEDGED_BYTES, Pacer, StreamReceiver, StreamSender, type WindowPool } from './flow.ts'
import { ackFrame, closeFrame, DATA_HEADER_BYTES, dataHeader, eofFrame, type Frame, parseFrame } from './frames.ts'

/** Bytes of data in one frame: as many as one message carries. */
const DATA_BYTES = MESSAGE_PAYLOAD_BYTES - DATA_HEADER_BYTES

/** What a link needs of a stream of frames. */
export type FrameChannel = Pick<FrameStream, 'send' | 'drained' | 'onFrame' | 'close' | 'abort'>

export interface LinkHandlers {
  onFrame(frame: Frame): void
  /** Called once, whatever ended it. */
  onClose(error?: Error): void
}

export class ExecLink {
  readonly #frames: FrameChannel
  readonly #now: () => number
  readonly #pacer = new Pacer()
  /** Streams that wait for room, in turn; at most four for each job of the link. */
  readonly #waiting = new Set<Outgoing>()
  /** Streams with bytes not yet acknowledged; at most four for each job of the link. */
  readonly #dirty = new Set<Incoming>()
  #unacknowledged = 0
  #full = false
  #open = true
  #lastHeard: number

  constructor(frames: FrameChannel, now: () => number) {
    this.#frames = frames
    this.#now = now
    this.#lastHeard = now()
  }

  /** Begins to receive; what has arrived already is handed over before this returns. */
  receive(handlers: LinkHandlers): void {
    const onFrame = (bytes: Uint8Array) => {
      const frame = parseFrame(bytes)
      // Who looks at the silence that this frame ended must still see it: after a suspend, old frames come first.
      if (frame) handlers.onFrame(frame)
      this.#lastHeard = this.#now()
      if (!frame) this.abort(new KappaError('ProtocolError', 'a frame of the exec protocol is malformed'))
    }
    this.#frames.onFrame(onFrame, (error) => {
      if (!this.#open) return
      this.#open = false
      handlers.onClose(error)
    })
  }

  get lastHeard(): number {
    return this.#lastHeard
  }

  get open(): boolean {
    return this.#open
  }

  get now(): number {
    return this.#now()
  }

  get room(): boolean {
    return this.#open && !this.#full && this.#pacer.room > 0
  }

  /** A message that isn't data: never waits behind data that wasn't handed over yet. */
  send(...parts: Uint8Array[]): void {
    if (!this.#open) return
    try {
      if (!this.#frames.send(...parts) && !this.#full) this.#waitForDrain()
    } catch (error) {
      this.abort(error as Error)
    }
  }

  sendData(channel: number, stream: number, offset: number, bytes: Uint8Array): void {
    this.#pacer.sent(bytes.length, this.#now())
    this.send(dataHeader(channel, stream, offset), bytes)
  }

  /** The other side received so many bytes more of one stream. */
  delivered(bytes: number): void {
    if (bytes > 0) this.#pacer.received(bytes, this.#now())
    this.#serveWaiting()
  }

  /** Bytes of a stream that leaves will not be acknowledged any more. */
  abandoned(bytes: number): void {
    if (bytes > 0) this.#pacer.abandoned(bytes)
    this.#serveWaiting()
  }

  waitForRoom(stream: Outgoing): void {
    this.#waiting.add(stream)
  }

  leave(stream: Outgoing | Incoming): void {
    this.#waiting.delete(stream as Outgoing)
    this.#dirty.delete(stream as Incoming)
  }

  /** Notes that a stream received bytes; acknowledges all that wait when it is time. */
  noteReceived(stream: Incoming, bytes: number): void {
    this.#unacknowledged += bytes
    this.#dirty.add(stream)
    if (this.#unacknowledged < ACKNOWLEDGED_BYTES) return
    this.#unacknowledged = 0
    for (const dirty of this.#dirty) dirty.acknowledge(true)
    this.#dirty.clear()
  }

  abort(error: Error): void {
    this.#frames.abort(error)
  }

  async close(): Promise<void> {
    await this.#frames.close(AbortSignal.timeout(1_000)).catch(() => undefined)
  }

  #waitForDrain(): void {
    this.#full = true
    this.#frames.drained().then(
      () => {
        this.#full = false
        this.#serveWaiting()
      },
      () => undefined
    )
  }

  #serveWaiting(): void {
    // A copy: who waits for a whole frame joins again.
    for (const stream of [...this.#waiting]) {
      if (!this.room) return
      this.#waiting.delete(stream)
      stream.pump()
    }
  }
}

/** A stream that had a frame's worth of bytes within so long flows: what comes next is soon a whole frame, */
const FLOWING_MS = 4
/** and is waited for so long. */
const GATHER_MS = 1

/**
 * The sending end of one of a job's streams. What the source pushes is bounded by it heeding `onRoom` and `full`. A stream
 * that flows is gathered into whole frames: a small one costs as much as a large one, on both sides.
 */
export class Outgoing {
  sender = new StreamSender()
  #blocks = new Blocks(DATA_BYTES)
  readonly #stream: number
  #link: ExecLink | undefined
  #channel = 0
  /** Pushed and not yet sent; the source stops pushing while `full`. */
  #queue: Uint8Array[] = []
  #ending = false
  #closed = false
  /** The source paused because of `full`, and may go on. */
  onRoom: () => void = () => undefined
  /** Everything up to the end was handed to a link. */
  onEnded: () => void = () => undefined
  /** Bytes pushed since `at`, and whether it flowed in the time before. */
  #lately = { at: 0, bytes: 0, flowed: false }
  #gathering: NodeJS.Timeout | undefined

  constructor(stream: number) {
    this.#stream = stream
  }

  get full(): boolean {
    const [first, second] = this.#queue
    return first !== undefined && (second !== undefined || first.length === DATA_BYTES || this.#link === undefined)
  }

  get closed(): boolean {
    return this.#closed
  }

  /** Copies the bytes. */
  push(bytes: Uint8Array): void {
    if (this.#closed || bytes.length === 0) return
    this.#note(bytes.length)
    this.#blocks.append(this.#queue, bytes)
    this.pump()
  }

  #note(bytes: number): void {
    const now = this.#link?.now ?? 0
    const { at, bytes: lately } = this.#lately
    if (now - at > FLOWING_MS) {
      this.#lately = { at: now, bytes, flowed: lately >= DATA_BYTES && now - at < 2 * FLOWING_MS }
    } else this.#lately.bytes += bytes
  }

  end(): void {
    if (this.#ending) return
    this.#ending = true
    this.pump()
  }

  /** The consumer is gone: what it didn't get is dropped. */
  close(): void {
    this.#closed = true
    this.#queue = []
    // Also when the end was waiting behind what is dropped now.
    this.#ending = true
    this.pump()
    this.onRoom()
  }

  attach(link: ExecLink, channel: number): void {
    this.#link = link
    this.#channel = channel
    this.pump()
  }

  detach(): void {
    this.#link?.leave(this)
    this.#link?.abandoned(this.sender.underWay)
    this.#link = undefined
  }

  /** After a connection came back: sends again what the other side lacks, then goes on. */
  resume(link: ExecLink, channel: number, received: number): void {
    // A start that stayed unanswered is joined again over the same link.
    this.detach()
    for (const { offset, bytes } of this.sender.missing(received)) link.sendData(channel, this.#stream, offset, bytes)
    if (this.sender.ended) link.send(eofFrame(channel, this.#stream, this.sender.offset))
    this.attach(link, channel)
  }

  /** Forgets what was sent and what waits, and its end: its source gives everything from `offset` on again. */
  restart(offset: number): void {
    this.detach()
    this.sender = new StreamSender(offset)
    this.#blocks = new Blocks(DATA_BYTES, offset)
    this.#queue = []
    this.#ending = this.#closed
  }

  acknowledge(received: number, limit: number): void {
    const progress = this.sender.acknowledge(received, limit)
    this.#blocks.release(received)
    this.#link?.delivered(progress)
    this.pump()
  }

  /** Sends what may be sent now; `gathered`: also what could still grow into a whole frame. */
  pump(gathered = false): void {
    const link = this.#link
    if (!link) return
    const held = this.#queue.length > 0
    this.#sendQueue(link, gathered)
    if (held && !this.full) this.onRoom()
    if (this.#queue.length === 0 && this.#ending && !this.sender.ended) {
      link.send(eofFrame(this.#channel, this.#stream, this.sender.end()))
      this.onEnded()
    }
  }

  #sendQueue(link: ExecLink, gathered: boolean): void {
    while (this.#queue.length > 0 && this.sender.room > 0) {
      const first = this.#queue[0]!
      const bytes = first.subarray(0, Math.min(first.length, this.sender.room))
      // What lies before another piece can't grow any more.
      const whole = bytes.length === DATA_BYTES || this.#queue.length > 1 || this.#ending
      if (!link.room) {
        link.waitForRoom(this)
        return
      }
      if (!whole && !gathered && this.#flows) {
        this.#gathering ??= setTimeout(() => {
          this.#gathering = undefined
          this.pump(true)
        }, GATHER_MS)
        return
      }
      if (bytes.length === first.length) this.#queue.shift()
      else this.#queue[0] = first.subarray(bytes.length)
      link.sendData(this.#channel, this.#stream, this.sender.send(bytes), bytes)
    }
  }

  get #flows(): boolean {
    return this.#lately.flowed || this.#lately.bytes >= DATA_BYTES
  }
}

/** The receiving end of one of a job's streams. */
export class Incoming {
  readonly receiver: StreamReceiver
  readonly #stream: number
  #link: ExecLink | undefined
  #channel = 0

  /** `begin`: so many bytes are here already. */
  constructor(stream: number, pool: WindowPool, begin = 0) {
    this.#stream = stream
    this.receiver = new StreamReceiver(pool, begin)
  }

  attach(link: ExecLink, channel: number): void {
    this.#link = link
    this.#channel = channel
  }

  detach(): void {
    this.#link?.leave(this)
    this.#link = undefined
  }

  accept(offset: number, bytes: Uint8Array): Uint8Array {
    const fresh = this.receiver.accept(offset, bytes)
    if (!this.acknowledge(false)) this.#link?.noteReceived(this, bytes.length)
    return fresh
  }

  consumed(bytes: number): void {
    this.receiver.consume(bytes)
    this.acknowledge(false)
  }

  /** Nobody takes the bytes any more. */
  close(): void {
    this.#link?.send(closeFrame(this.#channel, this.#stream))
  }

  acknowledge(force: boolean): boolean {
    const due = this.#link && this.receiver.acknowledgement(force)
    if (!due) return false
    this.#link?.send(ackFrame(this.#channel, this.#stream, due.received, due.limit))
    return true
  }
}
