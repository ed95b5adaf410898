/** A job's streams as Node's: connected once it is known where the job runs, with the backpressure of both sides. */

import { Readable, Writable } from 'node:stream'
import { WINDOW_BYTES_MIN } from '../protocols/exec/flow.ts'
import { DATA_BYTES_MAX, dataHeader, eofFrame, STREAM } from '../protocols/exec/frames.ts'

type Done = (error?: Error | null) => void

/** Where a job's stdin goes. */
export interface InputSink {
  write(bytes: Buffer, done: Done): void
  end(done: Done): void
}

/** What the job reads; what is written before it has a place waits. */
export class Input extends Writable {
  #sink: InputSink | undefined
  /** The write or the end that waits for a place; streams give one at a time. */
  #waiting: ((sink: InputSink) => void) | undefined

  constructor() {
    super({ decodeStrings: true })
    // A job may end without having read everything.
    this.on('error', () => undefined)
  }

  connect(sink: InputSink): void {
    this.#sink = sink
    const waiting = this.#waiting
    this.#waiting = undefined
    waiting?.(sink)
  }

  override _write(bytes: Buffer, _encoding: string, done: Done): void {
    this.#when((sink) => sink.write(bytes, done))
  }

  override _final(done: Done): void {
    this.#when((sink) => sink.end(done))
  }

  #when(use: (sink: InputSink) => void): void {
    if (this.#sink) use(this.#sink)
    else this.#waiting = use
  }
}

/** To a job elsewhere: no more than it has room for. */
export class RemoteInput implements InputSink {
  readonly #send: (...parts: Buffer[]) => void
  #sent = 0
  #limit = WINDOW_BYTES_MIN
  #held: { bytes: Buffer; done: Done } | undefined

  constructor(send: (...parts: Buffer[]) => void) {
    this.#send = send
  }

  write(bytes: Buffer, done: Done): void {
    this.#held = { bytes, done }
    this.#pump()
  }

  end(done: Done): void {
    this.#send(eofFrame(0, STREAM.stdin, this.#sent))
    done()
  }

  allow(limit: number): void {
    this.#limit = limit
    this.#pump()
  }

  #pump(): void {
    const held = this.#held
    if (!held) return
    while (held.bytes.length > 0 && this.#limit > this.#sent) {
      const bytes = held.bytes.subarray(0, Math.min(this.#limit - this.#sent, DATA_BYTES_MAX))
      held.bytes = held.bytes.subarray(bytes.length)
      this.#send(dataHeader(0, STREAM.stdin, this.#sent), bytes)
      this.#sent += bytes.length
    }
    if (held.bytes.length > 0) return
    this.#held = undefined
    held.done()
  }
}

/** What the job writes. */
export class Output extends Readable {
  /** Owed to who wrote what is not read yet. */
  #taken: (() => void) | undefined
  #onGone: () => void = () => undefined
  #isEnded = false
  #takenAt = 0

  /** `taken` is called when there is room for more. */
  deliver(bytes: Buffer, taken: () => void): void {
    if (this.#isEnded || this.destroyed) {
      taken()
      return
    }
    this.#takenAt = performance.now()
    if (this.push(bytes)) taken()
    else this.#taken = taken
  }

  end(): void {
    if (this.#isEnded || this.destroyed) return
    this.#isEnded = true
    this.push(null)
  }

  /** Nothing came for so long though there was room, or it is over. */
  isQuiet(ms: number): boolean {
    if (this.#isEnded || this.destroyed) return true
    return this.#taken === undefined && performance.now() - this.#takenAt >= ms
  }

  /** Nobody wants the rest. */
  onGone(listener: () => void): void {
    this.#onGone = listener
    if (this.destroyed && !this.#isEnded) listener()
  }

  override _read(): void {
    const taken = this.#taken
    this.#taken = undefined
    taken?.()
  }

  override _destroy(error: Error | null, done: Done): void {
    if (!this.#isEnded) this.#onGone()
    this._read()
    done(error)
  }
}
