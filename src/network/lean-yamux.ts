/**
 * yamux, with less work for what flows. A frame that came whole is cut out where it lies, without lists. And the windows:
 * yamux tells the sender with each frame anew how much more it may send: an encrypted message and a packet the other way
 * for every one. Its specification leaves open when; here it is said when half of the window is used. And what is sent in one turn of
 * the event loop leaves as one message: each costs as much as 20 KiB, on both sides.
 */
import type { Stream, StreamMuxerFactory } from '@libp2p/interface'
import { type YamuxMuxerInit, yamux } from '@libp2p/yamux'
import { Uint8ArrayList } from 'uint8arraylist'

/** What the package's streams have besides their interface; windows in bytes. */
interface Windowed {
  state?: number
  recvWindow?: number
  recvWindowCapacity?: number
  sendWindowUpdate?(): void
}

/** Before this state the update says as well that the stream is opened or accepted. */
const ESTABLISHED = 3

/**
 * ms in which half of a window should not be used up, or the sender waits: for the way there and back, and for processes on
 * both sides to have their turn. A window that lasts longer keeps others waiting on a slow link.
 */
const HALF_MS = 16

/**
 * Grants so large a window at the next occasion, and then each half of it at once; up to `mostBytes` where it is used up
 * quickly. Holds in place of an earlier call.
 */
export function windowByHalves(
  stream: Stream,
  leastBytes: number,
  mostBytes = leastBytes,
  clock: () => number = () => performance.now()
): void {
  const inner = stream as unknown as Windowed
  const update = (Object.getPrototypeOf(inner) as Windowed).sendWindowUpdate
  if (update === undefined || inner.recvWindow === undefined || inner.recvWindowCapacity === undefined) return
  let windowBytes = leastBytes
  let grantedAt = clock()
  // The package has a rule of its own, by the round trip alone.
  Object.defineProperty(inner, 'recvWindow', { get: () => windowBytes, set: () => {}, configurable: true })
  inner.sendWindowUpdate = () => {
    const isHalf = windowBytes - inner.recvWindowCapacity! >= windowBytes / 2
    if (isHalf) {
      const now = clock()
      const lasted = now - grantedAt
      if (lasted < HALF_MS) windowBytes = Math.min(2 * windowBytes, mostBytes)
      else if (lasted > 4 * HALF_MS) windowBytes = Math.max(windowBytes / 2, leastBytes)
      grantedAt = now
    }
    if (isHalf || inner.state !== ESTABLISHED) update.call(inner)
  }
}

const HEADER_BYTES = 12
const VERSION = 0
const DATA = 0

interface FrameInside {
  header: { type: number; flag: number; streamID: number; length: number }
  data?: Uint8Array
}

/** What the package's reader of frames has: its own way of reading, and what of a frame has come so far. */
interface Decoder {
  buffer?: Uint8ArrayList
  emitFrames?(bytes: Uint8ArrayList): Iterable<FrameInside>
}

/** What one message of Noise carries. */
const MESSAGE_BYTES = 65_535 - 16
const GO_AWAY = 3

/** What the package's muxer has inside. */
interface Sending {
  send?(data: Uint8Array | Uint8ArrayList): boolean
}

/** The package's muxer, except that frames which arrive whole are read where they lie, and small ones leave together. */
export function leanYamux(init: YamuxMuxerInit): () => StreamMuxerFactory {
  return () => {
    const factory = yamux(init)()
    const createStreamMuxer = factory.createStreamMuxer.bind(factory)
    factory.createStreamMuxer = (connection) => {
      const muxer = createStreamMuxer(connection)
      const { decoder } = muxer as unknown as { decoder?: Decoder }
      if (decoder?.buffer !== undefined && decoder.emitFrames !== undefined) readInPlace(decoder)
      gatherSends(muxer as unknown as Sending)
      return muxer
    }
    return factory
  }
}

/** Frames wait until this turn is over, at most as many as one message takes. */
function gatherSends(muxer: Sending): void {
  if (muxer.send === undefined) return
  const send = muxer.send.bind(muxer)
  let gathered: Uint8ArrayList | undefined
  const flush = (): void => {
    const frames = gathered
    gathered = undefined
    if (frames !== undefined) send(frames)
  }
  const atEndOfTurn = (): void => {
    try {
      flush()
    } catch {
      // The connection was closed in between: that is told by its own event.
    }
  }
  muxer.send = (frame) => {
    if (gathered !== undefined && gathered.byteLength + frame.byteLength > MESSAGE_BYTES) flush()
    // After it the connection may be closed in the same turn; what fills a message gains nothing by waiting.
    if (typeOf(frame) === GO_AWAY || frame.byteLength > MESSAGE_BYTES / 2) {
      flush()
      return send(frame)
    }
    if (gathered === undefined) {
      gathered = new Uint8ArrayList()
      process.nextTick(atEndOfTurn)
    }
    gathered.append(frame)
    // Who must wait is told when it is sent.
    return true
  }
}

function typeOf(frame: Uint8Array | Uint8ArrayList): number {
  return frame instanceof Uint8Array ? frame[1]! : frame.get(1)
}

function readInPlace(decoder: Decoder): void {
  const emitFrames = decoder.emitFrames!.bind(decoder)
  decoder.emitFrames = function* (list) {
    if (decoder.buffer!.byteLength > 0) {
      yield* emitFrames(list)
      return
    }
    const bytes = list.subarray()
    let at = 0
    while (bytes.byteLength - at >= HEADER_BYTES && bytes[at] === VERSION) {
      const header = headerAt(bytes, at)
      const end = at + HEADER_BYTES + (header.type === DATA ? header.length : 0)
      if (end > bytes.byteLength) break
      const begin = at + HEADER_BYTES
      at = end
      yield header.type === DATA ? { header, data: bytes.subarray(begin, end) } : { header }
    }
    // What is not whole, or not of this version, is for the package.
    if (at < bytes.byteLength) yield* emitFrames(new Uint8ArrayList(bytes.subarray(at)))
  }
}

/** As the specification has it: version u8, type u8, flags u16, stream u32, length u32. */
function headerAt(bytes: Uint8Array, at: number): FrameInside['header'] {
  return {
    type: bytes[at + 1]!,
    flag: bytes[at + 2]! * 0x100 + bytes[at + 3]!,
    streamID: wordAt(bytes, at + 4),
    length: wordAt(bytes, at + 8)
  }
}

function wordAt(bytes: Uint8Array, at: number): number {
  return bytes[at]! * 0x1000000 + bytes[at + 1]! * 0x10000 + bytes[at + 2]! * 0x100 + bytes[at + 3]!
}
