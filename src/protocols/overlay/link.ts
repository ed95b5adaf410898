/** One overlay stream to one neighbour: hello, heartbeat, bounds. It lives until the stream ends. */
import type { OverlayMessage } from '../../core/types.ts'
import { KappaError } from '../../errors.ts'
import type { FrameStream } from '../../network/frames.ts'
import { decodeMessage, encodeMessage, type Hello, type WireMessage } from './codec.ts'
import {
  DEFAULT_PERIOD_MS,
  MAX_UNSENT_BYTES,
  OPEN_DEADLINE_MS,
  PING_PERIODS,
  RATE_BURST,
  RATE_PER_SECOND,
  ROUND_TRIP_INTERVAL_MS,
  SILENT_PERIODS,
  URGENT_SILENCE_MS
} from './constants.ts'
import { TokenBucket } from './rate.ts'

/** What a neighbour says of itself when its stream comes up. */
export type NeighbourNews = Omit<Hello, 'type'>

export interface LinkInit {
  frames: FrameStream
  hello: Hello
  urgent: boolean
  /** Whether this side can talk to such a neighbour. One that it can't is heard no further, and told nothing. */
  accepts(news: NeighbourNews): boolean
  onUp(news: NeighbourNews): void
  onMessage(message: OverlayMessage): void
  onRoundTrip(ms: number): void
  /** The neighbour was silent for too long: its connection is dead. */
  onSilent(silentMs: number): void
  /** Once, with the reason unless the neighbour ended the stream in order. */
  onEnd(error: Error | undefined): void
}

export class Link {
  readonly #init: LinkInit
  readonly #frames: FrameStream
  readonly #bucket = new TokenBucket({ perSecond: RATE_PER_SECOND, burst: RATE_BURST }, performance.now())
  #up = false
  /** Its version is too far away: the stream stays, so that nobody opens another one. */
  #refused = false
  #ended = false
  #urgent: boolean
  /** In doubt until something is heard: the silence that counts is the urgent one. */
  #doubted = false
  /** The period that the neighbour stated. */
  #periodMs = DEFAULT_PERIOD_MS
  #heardAt = performance.now()
  /** The ping that is under way. */
  #asked: { number: number; at: number } | undefined
  #askedAt = performance.now()
  #number = 0
  #timer: NodeJS.Timeout | undefined

  constructor(init: LinkInit) {
    this.#init = init
    this.#frames = init.frames
    this.#urgent = init.urgent
  }

  /** Says hello and begins to receive: what has arrived already, an end too, is told before this returns. */
  start(): void {
    this.#timer = setTimeout(() => this.#init.onSilent(OPEN_DEADLINE_MS), OPEN_DEADLINE_MS)
    // Before anything is read, for reading may answer.
    this.#write(this.#init.hello)
    this.#frames.onFrame(
      (frame) => this.#received(frame),
      (error) => this.#end(error)
    )
  }

  get isUp(): boolean {
    return this.#up && !this.#ended
  }

  /** False when it couldn't be sent: the link isn't up, or the neighbour doesn't read. */
  send(message: OverlayMessage): boolean {
    return this.isUp && this.#write(message)
  }

  /** With a job that depends on the neighbour, silence is noticed sooner. */
  setUrgent(urgent: boolean): void {
    if (this.#urgent === urgent) return
    this.#urgent = urgent
    if (this.#up) this.#look()
  }

  /** Something happened to the network: asks now, and takes silence for an end soon. */
  doubt(): void {
    if (!this.isUp) return
    this.#doubted = true
    this.#ask(performance.now())
    this.#look()
  }

  abort(error: Error): void {
    this.#frames.abort(error)
    this.#end(error)
  }

  #received(frame: Uint8Array): void {
    const now = performance.now()
    if (!this.#bucket.take(1 + frame.byteLength / 1024, now)) {
      throw new KappaError('ProtocolError', `more than ${RATE_PER_SECOND} messages in a second`)
    }
    if (this.#refused) return
    const message = decodeMessage(frame)
    this.#heardAt = now
    this.#doubted = false
    if (this.#up) this.#handle(message, now)
    else this.#greeted(message, now)
  }

  #greeted(message: WireMessage, now: number): void {
    if (message.type !== 'hello') throw new KappaError('ProtocolError', `${message.type} before hello`)
    const { type: _, ...news } = message
    if (!this.#init.accepts(news)) {
      this.#refused = true
      clearTimeout(this.#timer)
      return
    }
    this.#up = true
    this.#init.onUp(news)
    if (this.#ended) return
    this.#ask(now)
    this.#look()
  }

  #handle(message: WireMessage, now: number): void {
    switch (message.type) {
      case 'hello':
        throw new KappaError('ProtocolError', 'a second hello')
      case 'ping':
        this.#write({ type: 'pong', number: message.number })
        return
      case 'pong':
        if (message.number !== this.#asked?.number) return
        this.#init.onRoundTrip(now - this.#asked.at)
        this.#asked = undefined
        return
      case 'advertisement':
        this.#setPeriod(message.periodMs)
        break
    }
    this.#init.onMessage(message)
  }

  #setPeriod(periodMs: number): void {
    if (this.#periodMs === periodMs) return
    this.#periodMs = periodMs
    this.#look()
  }

  #ask(now: number): void {
    this.#asked = { number: this.#number++, at: now }
    this.#askedAt = now
    this.#write({ type: 'ping', number: this.#asked.number })
  }

  /** Asks or gives up when it is time to, and sets the timer for the next look. */
  #look(): void {
    clearTimeout(this.#timer)
    if (this.#ended) return
    const now = performance.now()
    const urgent = this.#urgent || this.#doubted
    const silenceMs = urgent ? Math.min(URGENT_SILENCE_MS, this.#silenceMs) : this.#silenceMs
    // Heard or asked a moment ago is soon enough: a neighbour in time is never asked.
    const askAfterMs = urgent ? URGENT_SILENCE_MS / 3 : PING_PERIODS * this.#periodMs
    const silentMs = now - this.#heardAt
    if (silentMs >= silenceMs) {
      this.#init.onSilent(silentMs)
      return
    }
    const dueMs = Math.max(this.#heardAt, this.#askedAt) + askAfterMs - now
    const roundTripDueMs = this.#askedAt + ROUND_TRIP_INTERVAL_MS - now
    if (Math.min(dueMs, roundTripDueMs) <= 0) this.#ask(now)
    const nextAskMs = Math.min(
      Math.max(this.#heardAt, this.#askedAt) + askAfterMs,
      this.#askedAt + ROUND_TRIP_INTERVAL_MS
    )
    this.#timer = setTimeout(() => this.#look(), Math.max(10, Math.min(nextAskMs, this.#heardAt + silenceMs) - now))
  }

  get #silenceMs(): number {
    return SILENT_PERIODS * this.#periodMs
  }

  #write(message: WireMessage): boolean {
    if (this.#ended) return false
    try {
      this.#frames.send(encodeMessage(message))
    } catch (error) {
      this.abort(error as Error)
      return false
    }
    if (this.#frames.stream.writeBufferLength > MAX_UNSENT_BYTES) {
      this.abort(new KappaError('ProtocolError', 'it does not read what it is sent'))
      return false
    }
    return true
  }

  #end(error: Error | undefined): void {
    if (this.#ended) return
    this.#ended = true
    clearTimeout(this.#timer)
    this.#init.onEnd(error)
  }
}
