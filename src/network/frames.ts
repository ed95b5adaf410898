/**
 * The one framing of every kappa protocol: a 4-byte big-endian length, then so many bytes, over one libp2p stream.
 *
 * Backpressure works both ways: `send` says when to wait, and a reader that doesn't read pauses the stream, so that the
 * other side's window closes. What is held here while paused is at most one window (node.ts bounds it).
 *
 * An end in order is no proof that all was said: a peer that stops ends its streams so. Protocols say it in a frame.
 */
import type { Stream } from '@libp2p/interface'
import { Uint8ArrayList } from 'uint8arraylist'
import { KappaError, messageOf } from '../errors.ts'

/** Bytes of the length in front of each frame. */
export const FRAME_HEADER_BYTES = 4

/** Frames up to this many bytes are sent as one piece: copying them is cheaper than one more piece for the cipher. */
const COPY_BELOW_BYTES = 4096

/** In longer frames the first part goes with the length, when it has so few bytes: the header of what follows. */
const JOIN_BELOW_BYTES = 64

/**
 * A payload of so many bytes is one message of yamux and one of Noise, whose longest is 65535 with its own 16; a byte more
 * makes a second message, which costs as much as 20 KiB.
 */
export const MESSAGE_PAYLOAD_BYTES = 65_535 - 16 - 12 - FRAME_HEADER_BYTES

/** A pulling reader lets so many bytes of whole or partial frames wait before it pauses the stream. */
const PULL_AHEAD_BYTES = 128 * 1024

export interface FrameStreamInit {
  /** Longest payload that may be sent or received, bytes. */
  maxFrameBytes: number
}

export class FrameStream {
  readonly stream: Stream
  readonly #maxFrameBytes: number

  /** Received and not yet cut into frames; at most one window of the stream. */
  #chunks: Uint8Array[] = []
  #chunkBytes = 0
  /** Where the next byte is in `#chunks[0]`. */
  #offset = 0
  readonly #header = new Uint8Array(FRAME_HEADER_BYTES)
  #headerFilled = 0
  /** Payload length of the frame that is being read; -1: the header is not complete. */
  #length = -1
  /** The frame that is being put together from several chunks. */
  #partial: Uint8Array | undefined
  #partialFilled = 0

  #reading = false
  #wantPaused = true
  #resuming = false
  #pumping = false
  /** The other side closed its writing half in order. */
  #remoteClosed = false
  /** No more bytes will come. */
  #inputOver = false
  #failure: Error | undefined
  #onInput: () => void = () => {}
  #onWritable: (() => void)[] = []

  /** Takes over a stream on which nothing was read yet: it is paused until someone reads. */
  constructor(stream: Stream, init: FrameStreamInit) {
    this.stream = stream
    this.#maxFrameBytes = init.maxFrameBytes
    stream.addEventListener('remoteCloseWrite', () => {
      this.#remoteClosed = true
      this.#inputChanged()
    })
    stream.addEventListener('end', () => this.#inputChanged())
    stream.addEventListener('close', (event) => this.#closed(event.error))
    stream.addEventListener('drain', () => queueMicrotask(() => this.#drained()))
    this.#remoteClosed = stream.remoteWriteStatus === 'closed' && stream.status === 'open'
    if (stream.status === 'aborted' || stream.status === 'reset' || stream.status === 'closed') {
      this.#closed(stream.status === 'closed' ? undefined : new Error(`the stream was ${stream.status}`))
    } else if (stream.readStatus === 'readable') stream.pause()
  }

  /** The error that ended the stream, if one did. */
  get failure(): Error | undefined {
    return this.#failure
  }

  /**
   * Sends one frame made of all parts, without copying large ones; they must not be changed afterwards.
   * False: it was taken, but wait for `drained()` before the next.
   * Throws ProtocolError above the bound, NetworkError when the stream is closed.
   */
  send(...parts: Uint8Array[]): boolean {
    let length = 0
    for (const part of parts) length += part.byteLength
    if (length > this.#maxFrameBytes) {
      throw new KappaError(
        'ProtocolError',
        `a frame of ${length} bytes is longer than the ${this.#maxFrameBytes} that ${this.#label()} allows`
      )
    }
    try {
      return this.stream.send(frameOf(length, parts))
    } catch (error) {
      throw this.#failure ?? this.#networkError(`can't send on ${this.#label()}`, error)
    }
  }

  /** Waits until `send` may be called again. Throws NetworkError when the stream ends first. */
  drained(signal?: AbortSignal): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    if (signal?.aborted === true) return Promise.reject(signal.reason as Error)
    if (!this.stream.writableNeedsDrain || this.stream.writeStatus === 'closed') return Promise.resolve()
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        signal?.removeEventListener('abort', aborted)
        if (this.#failure === undefined) resolve()
        else reject(this.#failure)
      }
      const aborted = (): void => {
        this.#onWritable = this.#onWritable.filter((waiter) => waiter !== settle)
        reject(signal?.reason as Error)
      }
      signal?.addEventListener('abort', aborted, { once: true })
      this.#onWritable.push(settle)
    })
  }

  /**
   * Whole frames, one at a time; the stream is paused while they are not taken. Ends when the other side closed its
   * writing half in order; throws NetworkError when the stream broke, ProtocolError when a frame was too long or cut off.
   * A frame is a view: copy what is to be kept for long.
   */
  async *frames(signal?: AbortSignal): AsyncGenerator<Uint8Array, void, undefined> {
    let wake: () => void = () => {}
    this.#startReading(() => {
      if (this.#chunkBytes >= PULL_AHEAD_BYTES) this.pause()
      wake()
    })
    const aborted = (): void => wake()
    signal?.addEventListener('abort', aborted)
    try {
      while (true) {
        signal?.throwIfAborted()
        const frame = this.#failure === undefined ? this.#take() : undefined
        if (frame !== undefined) {
          yield frame
          continue
        }
        if (this.#isOver()) {
          if (this.#failure !== undefined) throw this.#failure
          return
        }
        this.resume()
        if (this.#chunkBytes > 0 || this.#isOver()) continue
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    } finally {
      signal?.removeEventListener('abort', aborted)
      this.#onInput = () => {}
      this.pause()
    }
  }

  /**
   * Calls `handler` with each frame as it arrives, and `onEnd` once: without an error when the other side closed its
   * writing half in order. A handler that throws aborts the stream. The handler may call `pause()`.
   */
  onFrame(handler: (frame: Uint8Array) => void, onEnd: (error?: Error) => void): void {
    let ended = false
    const end = (error?: Error): void => {
      if (ended) return
      ended = true
      this.#onInput = () => {}
      if (error === undefined) onEnd()
      else onEnd(error)
    }
    this.#startReading(() => {
      if (this.#pumping || ended) return
      this.#pumping = true
      try {
        while (!this.#wantPaused && this.#failure === undefined) {
          const frame = this.#take()
          if (frame === undefined) break
          handler(frame)
        }
      } catch (error) {
        this.abort(error instanceof Error ? error : new Error(String(error)))
      } finally {
        this.#pumping = false
      }
      if (this.#failure !== undefined || this.#isOver()) end(this.#failure)
    })
    this.resume()
  }

  /** Stops delivering frames; the other side's window closes when it is full. */
  pause(): void {
    this.#wantPaused = true
    // Inside stream.resume() a pause would be undone by its last step; `resume` below does it afterwards.
    if (!this.#resuming && this.stream.readStatus === 'readable') this.stream.pause()
  }

  /** Goes on delivering frames, those at hand first and before it returns. */
  resume(): void {
    this.#wantPaused = false
    this.#onInput()
    if (this.#wantPaused || this.#resuming || this.stream.readStatus !== 'paused') return
    this.#resuming = true
    try {
      this.stream.resume()
    } catch (error) {
      // With the connection gone there is nobody to send the window to; 'close' tells the reader.
      this.stream.log('resume failed - %s', messageOf(error))
    } finally {
      this.#resuming = false
    }
    if (this.#wantPaused) this.pause()
    this.#inputChanged()
  }

  /** Closes the writing half once everything sent is on its way. Throws NetworkError when the stream ended before. */
  async close(signal?: AbortSignal): Promise<void> {
    try {
      await this.stream.close(signal === undefined ? {} : { signal })
    } catch (error) {
      signal?.throwIfAborted()
      throw this.#failure ?? this.#networkError(`can't close ${this.#label()}`, error)
    }
  }

  /** Ends both halves at once; the other side sees a reset. Unsent and unread data is dropped. */
  abort(error: Error): void {
    this.#failure ??= error
    this.stream.abort(error)
    this.#closed(error)
  }

  #startReading(onInput: () => void): void {
    if (this.#onInput === onInput) return
    this.#onInput = onInput
    if (this.#reading) return
    this.#reading = true
    this.stream.addEventListener('message', (event) => {
      this.#push(event.data)
      this.#onInput()
    })
  }

  #push(data: Uint8Array | Uint8ArrayList): void {
    if (data instanceof Uint8Array) this.#chunks.push(data)
    else for (const chunk of data) this.#chunks.push(chunk)
    this.#chunkBytes += data.byteLength
  }

  /** Cuts the next frame out of the chunks; undefined when it is not complete. */
  #take(): Uint8Array | undefined {
    while (this.#chunks.length > 0) {
      const chunk = this.#chunks[0] as Uint8Array
      if (this.#offset === chunk.byteLength) {
        this.#chunks.shift()
        this.#offset = 0
        continue
      }
      if (this.#length < 0 && !this.#readHeader(chunk)) continue
      if (this.#length > this.#maxFrameBytes) {
        this.abort(
          new KappaError(
            'ProtocolError',
            `the other side announced a frame of ${this.#length} bytes on ${this.#label()}, which allows ${this.#maxFrameBytes}`
          )
        )
        return undefined
      }
      const frame = this.#readPayload(this.#chunks[0] as Uint8Array)
      if (frame !== undefined) return frame
    }
    return undefined
  }

  /** True when the header is complete. */
  #readHeader(chunk: Uint8Array): boolean {
    while (this.#headerFilled < FRAME_HEADER_BYTES && this.#offset < chunk.byteLength) {
      this.#header[this.#headerFilled++] = chunk[this.#offset++] as number
      this.#chunkBytes--
    }
    if (this.#headerFilled < FRAME_HEADER_BYTES) return false
    const [a, b, c, d] = this.#header as unknown as [number, number, number, number]
    this.#length = a * 0x1000000 + (b << 16) + (c << 8) + d
    this.#headerFilled = 0
    return true
  }

  #readPayload(chunk: Uint8Array): Uint8Array | undefined {
    const available = chunk.byteLength - this.#offset
    if (this.#partial === undefined && available >= this.#length) {
      const frame = chunk.subarray(this.#offset, this.#offset + this.#length)
      this.#consume(this.#length)
      this.#length = -1
      return frame
    }
    this.#partial ??= Buffer.allocUnsafeSlow(this.#length)
    const taken = Math.min(available, this.#length - this.#partialFilled)
    this.#partial.set(chunk.subarray(this.#offset, this.#offset + taken), this.#partialFilled)
    this.#partialFilled += taken
    this.#consume(taken)
    if (this.#partialFilled < this.#length) return undefined
    const frame = this.#partial
    this.#partial = undefined
    this.#partialFilled = 0
    this.#length = -1
    return frame
  }

  #consume(bytes: number): void {
    this.#offset += bytes
    this.#chunkBytes -= bytes
  }

  /** True when nothing more will come and every byte was taken or failed; sets the failure when a frame was cut off. */
  #isOver(): boolean {
    if (this.#failure !== undefined) return true
    if (!this.#inputOver || this.#chunkBytes > 0 || this.stream.readBufferLength > 0) return false
    if (this.#length >= 0 || this.#headerFilled > 0) {
      this.#failure = new KappaError('ProtocolError', `the other side ended ${this.#label()} within a frame`)
    }
    return true
  }

  #inputChanged(): void {
    if (this.#remoteClosed || this.stream.readableEnded) this.#inputOver = true
    this.#onInput()
  }

  #closed(error: Error | undefined): void {
    if (error !== undefined) this.#failure ??= this.#networkError(`${this.#label()} broke`, error)
    else if (!this.#remoteClosed) {
      this.#failure ??= new KappaError('NetworkError', `the connection under ${this.#label()} closed`)
    }
    this.#inputOver = true
    if (this.#failure !== undefined) {
      this.#chunks = []
      this.#chunkBytes = 0
      this.#partial = undefined
    }
    this.#drained()
    this.#onInput()
  }

  #drained(): void {
    if (this.#failure === undefined && this.stream.writableNeedsDrain && this.stream.writeStatus !== 'closed') return
    const waiting = this.#onWritable
    this.#onWritable = []
    for (const settle of waiting) settle()
  }

  #label(): string {
    return this.stream.protocol === '' ? 'a stream' : this.stream.protocol
  }

  #networkError(what: string, cause: unknown): KappaError {
    if (cause instanceof KappaError) return cause
    return new KappaError('NetworkError', `${what}: ${messageOf(cause)}`, { cause })
  }
}

function frameOf(length: number, parts: Uint8Array[]): Uint8Array | Uint8ArrayList {
  const copied = length <= COPY_BELOW_BYTES ? parts : parts.slice(0, parts[0]!.byteLength <= JOIN_BELOW_BYTES ? 1 : 0)
  const head = Buffer.allocUnsafe(copied.reduce((sum, part) => sum + part.byteLength, FRAME_HEADER_BYTES))
  head.writeUInt32BE(length, 0)
  let at = FRAME_HEADER_BYTES
  for (const part of copied) {
    head.set(part, at)
    at += part.byteLength
  }
  return copied.length === parts.length ? head : new Uint8ArrayList(head, ...parts.slice(copied.length))
}
