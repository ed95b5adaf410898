/**
 * Flow control of a job's byte streams, which is the same thing as the acknowledgements that resuming needs: both
 * directions number their bytes, the sender keeps what is not yet received there, the receiver says how far it may go.
 *
 * Two bounds hold at once. Per stream, the receiver's limit: what its consumer has taken plus a window. Per connection,
 * the pacer: what is under way is about twice the bandwidth-delay product, so that a signal or a heartbeat never waits
 * long behind data. Sans I/O: time is an argument, in ms.
 */

import { KappaError } from '../../errors.ts'

/** A stream's window at first. */
export const WINDOW_BYTES_MIN = 256 * 1024
/** A stream's window at most. */
export const WINDOW_BYTES_MAX = 1024 * 1024
/** What the windows of all streams of a process may add up to beyond their first size. */
export const WINDOW_POOL_BYTES = 64 * 1024 * 1024

/**
 * Bytes received before they are acknowledged, on one stream or on all of a connection together. Not above what a sender
 * may always have under way: it would wait for ever.
 */
export const ACKNOWLEDGED_BYTES = 128 * 1024

/** Lets windows grow while there is memory for it. */
export class WindowPool {
  #free: number

  constructor(bytes = WINDOW_POOL_BYTES) {
    this.#free = bytes
  }

  take(bytes: number): boolean {
    if (bytes > this.#free) return false
    this.#free -= bytes
    return true
  }

  give(bytes: number): void {
    this.#free += bytes
  }
}

/** The sending end of one stream. Holds at most the window, as the receiver never allows more. */
export class StreamSender {
  /** Bytes not yet received there, in order, the first one beginning at `#received`; bounded by the window. */
  #kept: Uint8Array[] = []
  #received: number
  #limit: number
  #sent: number
  #ended = false

  /** `begin`: offset of the first byte. */
  constructor(begin = 0) {
    this.#received = begin
    this.#sent = begin
    this.#limit = begin + WINDOW_BYTES_MIN
  }

  /** Offset of the next byte. */
  get offset(): number {
    return this.#sent
  }

  get limit(): number {
    return this.#limit
  }

  get ended(): boolean {
    return this.#ended
  }

  /** Bytes known as received there. */
  get received(): number {
    return this.#received
  }

  /** Bytes that may be sent now. */
  get room(): number {
    return this.#limit - this.#sent
  }

  /** Bytes sent and not yet received there. */
  get underWay(): number {
    return this.#sent - this.#received
  }

  /** Counts bytes as sent and keeps them; returns the offset where they begin. */
  send(bytes: Uint8Array): number {
    if (this.#ended || bytes.length > this.room)
      throw new KappaError('ProtocolError', 'a stream was sent beyond its limit')
    const offset = this.#sent
    this.#kept.push(bytes)
    this.#sent += bytes.length
    return offset
  }

  end(): number {
    this.#ended = true
    return this.#sent
  }

  /** Takes an acknowledgement; returns how many bytes are newly known as received. Old and repeated ones change nothing. */
  acknowledge(received: number, limit: number): number {
    if (received > this.#sent) throw new KappaError('ProtocolError', 'bytes were acknowledged that were never sent')
    this.#limit = Math.max(this.#limit, limit)
    const progress = received - this.#received
    if (progress <= 0) return 0
    let left = progress
    let whole = 0
    while (left > 0 && this.#kept[whole]!.length <= left) left -= this.#kept[whole++]!.length
    this.#kept.splice(0, whole)
    if (left > 0) this.#kept[0] = this.#kept[0]!.subarray(left)
    this.#received = received
    return progress
  }

  /** What the other side lacks after a connection came back: the kept bytes from `received` on, with their offsets. */
  *missing(received: number): Generator<{ offset: number; bytes: Uint8Array }> {
    if (received < this.#received)
      throw new KappaError('ProtocolError', 'bytes were asked for again after they were acknowledged')
    this.acknowledge(received, this.#limit)
    let offset = this.#received
    for (const bytes of this.#kept) {
      yield { offset, bytes }
      offset += bytes.length
    }
  }
}

/** The receiving end of one stream. */
export class StreamReceiver {
  #pool: WindowPool
  #window = WINDOW_BYTES_MIN
  #received: number
  #consumed: number
  #acknowledged: number
  #announcedLimit: number
  #endsAt: number | undefined
  /** What was consumed when the window last grew or could not. */
  #grownAt: number

  /** `begin`: so many bytes are here already, of an earlier life of this program. */
  constructor(pool: WindowPool, begin = 0) {
    this.#pool = pool
    this.#received = this.#consumed = this.#acknowledged = this.#grownAt = begin
    this.#announcedLimit = begin + WINDOW_BYTES_MIN
  }

  get received(): number {
    return this.#received
  }

  /** Received and not yet consumed. */
  get held(): number {
    return this.#received - this.#consumed
  }

  get limit(): number {
    return this.#announcedLimit
  }

  /** All bytes up to the end have arrived. */
  get complete(): boolean {
    return this.#endsAt === this.#received
  }

  /** The part of a data frame that is new; empty for what was received before. Throws on a gap or beyond the limit. */
  accept(offset: number, bytes: Uint8Array): Uint8Array {
    const end = offset + bytes.length
    if (offset > this.#received || end > this.#announcedLimit || (this.#endsAt !== undefined && end > this.#endsAt)) {
      throw new KappaError('ProtocolError', 'a stream went beyond its limit, its end, or left a gap')
    }
    if (end <= this.#received) return bytes.subarray(bytes.length)
    const fresh = bytes.subarray(this.#received - offset)
    this.#received = end
    return fresh
  }

  /** The sender says where the stream ends. */
  acceptEnd(offset: number): void {
    if (offset < this.#received || (this.#endsAt !== undefined && this.#endsAt !== offset)) {
      throw new KappaError('ProtocolError', 'a stream ended twice or before its last byte')
    }
    this.#endsAt = offset
  }

  consume(bytes: number): void {
    this.#consumed += bytes
  }

  /**
   * The acknowledgement that is due, if one is: every 128 KiB received, or when a quarter of the window was consumed. A
   * window that its consumer has emptied once over doubles, while the pool lasts.
   */
  acknowledgement(force = false): { received: number; limit: number } | undefined {
    const open = this.#consumed + this.#window - this.#announcedLimit
    const due = this.#received - this.#acknowledged >= ACKNOWLEDGED_BYTES || open >= this.#window / 4
    if (!due && !force) return undefined
    if (this.#consumed - this.#grownAt >= this.#window && this.held * 4 < this.#window) this.#grow()
    this.#acknowledged = this.#received
    this.#announcedLimit = Math.max(this.#announcedLimit, this.#consumed + this.#window)
    return { received: this.#received, limit: this.#announcedLimit }
  }

  #grow(): void {
    this.#grownAt = this.#consumed
    if (this.#window < WINDOW_BYTES_MAX && this.#pool.take(this.#window)) this.#window *= 2
  }

  /** Gives the window's memory back. */
  release(): void {
    this.#pool.give(this.#window - WINDOW_BYTES_MIN)
    this.#window = WINDOW_BYTES_MIN
  }
}

const UNDER_WAY_BYTES_MIN = ACKNOWLEDGED_BYTES
const UNDER_WAY_BYTES_MAX = 8 * 1024 * 1024
/** How long a measured rate or round trip is believed. */
const MEASURED_MS = 5_000

/**
 * Bounds what is under way on one connection to twice its bandwidth-delay product, as measured from acknowledgements:
 * the highest rate and the shortest round trip of the last seconds (the model of BBR, without its pacing of packets).
 */
export class Pacer {
  #underWay = 0
  #bound = UNDER_WAY_BYTES_MIN * 2
  #delivered = 0
  /** One mark per data frame under way; bounded as the bytes under way are. */
  #marks: { at: number; delivered: number; upTo: number }[] = []
  #sent = 0
  #rate = { value: 0, at: 0 }
  #roundTrip = { value: Number.POSITIVE_INFINITY, at: 0 }

  get room(): number {
    return this.#bound - this.#underWay
  }

  get bound(): number {
    return this.#bound
  }

  sent(bytes: number, now: number): void {
    this.#underWay += bytes
    this.#sent += bytes
    this.#marks.push({ at: now, delivered: this.#delivered, upTo: this.#sent })
  }

  /** Bytes are known as received there. */
  received(bytes: number, now: number): void {
    this.#underWay -= bytes
    this.#delivered += bytes
    let mark: { at: number; delivered: number } | undefined
    let passed = 0
    while (passed < this.#marks.length && this.#marks[passed]!.upTo <= this.#delivered) mark = this.#marks[passed++]
    if (!mark) return
    this.#marks.splice(0, passed)
    const elapsed = Math.max(now - mark.at, 0.05)
    const rate = (this.#delivered - mark.delivered) / elapsed
    if (rate >= this.#rate.value || now - this.#rate.at > MEASURED_MS) this.#rate = { value: rate, at: now }
    if (elapsed <= this.#roundTrip.value || now - this.#roundTrip.at > MEASURED_MS) {
      this.#roundTrip = { value: elapsed, at: now }
    }
    const bound = 2 * this.#rate.value * this.#roundTrip.value
    this.#bound = Math.min(Math.max(bound, UNDER_WAY_BYTES_MIN), UNDER_WAY_BYTES_MAX)
  }

  /** Nobody will acknowledge these bytes any more: their job is over. They tell nothing about the rate. */
  abandoned(bytes: number): void {
    this.#underWay -= bytes
    this.#delivered += bytes
    for (const mark of this.#marks) mark.delivered += bytes
    this.#marks = this.#marks.filter((mark) => mark.upTo > this.#delivered)
  }
}
