/**
 * The layout of a frame of the exec protocol, used alike between peers and, with a length before it, between the client
 * and its daemon: so the daemon at home passes data on without looking into it. No dependencies: the client's start-up
 * is a hot path.
 *
 *     type u8 | channel u32 | rest
 *     data:  stream u8 | offset u48 | bytes
 *     ack:   stream u8 | received u48 | limit u48
 *     eof:   stream u8 | offset u48            (the stream ends at this offset)
 *     close: stream u8                         (the consumer is gone: send no more)
 *     others: CBOR between peers, JSON between client and daemon
 */

/** Numbers are for ever: append, never renumber. */
export const FRAME = {
  hello: 1,
  start: 2,
  started: 3,
  refused: 4,
  resolve: 5,
  resolved: 6,
  attach: 7,
  attached: 8,
  end: 9,
  forget: 10,
  signal: 11,
  renew: 12,
  renewed: 13,
  resize: 14,
  stopped: 15,
  data: 16,
  ack: 17,
  eof: 18,
  close: 19,
  hold: 20,
  held: 21,
  unkept: 22,
  // Between the client and its daemon only.
  request: 64,
  event: 65,
  answer: 66,
  result: 67,
  failure: 68,
  local: 69,
  localEnded: 70,
  notice: 71,
  detached: 72,
  queued: 73
} as const

/** Streams of a job. `ins` and `outs` carry staged files, `keys` and `screen` what its terminal gets and shows. */
export const STREAM = { stdin: 0, stdout: 1, stderr: 2, ins: 3, outs: 4, keys: 5, screen: 6 } as const

/** Bytes of data in one frame at most: small enough that a signal never waits long behind one. */
export const DATA_BYTES_MAX = 64 * 1024

const HEADER_BYTES = 5
const OFFSET_BYTES = 6

/** Bytes before the payload of a data frame. */
export const DATA_HEADER_BYTES = HEADER_BYTES + 1 + OFFSET_BYTES

/** A frame whose rest is given as it is. */
export function frameHeader(type: number, channel: number): Buffer {
  const header = Buffer.allocUnsafe(HEADER_BYTES)
  header[0] = type
  header.writeUInt32BE(channel, 1)
  return header
}

export function dataHeader(channel: number, stream: number, offset: number): Buffer {
  const header = Buffer.allocUnsafe(DATA_HEADER_BYTES)
  header[0] = FRAME.data
  header.writeUInt32BE(channel, 1)
  header[5] = stream
  header.writeUIntBE(offset, 6, OFFSET_BYTES)
  return header
}

export function eofFrame(channel: number, stream: number, offset: number): Buffer {
  const frame = dataHeader(channel, stream, offset)
  frame[0] = FRAME.eof
  return frame
}

export function ackFrame(channel: number, stream: number, received: number, limit: number): Buffer {
  const frame = Buffer.allocUnsafe(DATA_HEADER_BYTES + OFFSET_BYTES)
  frame[0] = FRAME.ack
  frame.writeUInt32BE(channel, 1)
  frame[5] = stream
  frame.writeUIntBE(received, 6, OFFSET_BYTES)
  frame.writeUIntBE(limit, 12, OFFSET_BYTES)
  return frame
}

export function closeFrame(channel: number, stream: number): Buffer {
  const frame = Buffer.allocUnsafe(HEADER_BYTES + 1)
  frame[0] = FRAME.close
  frame.writeUInt32BE(channel, 1)
  frame[5] = stream
  return frame
}

/** A received frame, its parts read where they lie. */
export type Frame =
  | { type: typeof FRAME.data; channel: number; stream: number; offset: number; bytes: Buffer }
  | { type: typeof FRAME.ack; channel: number; stream: number; received: number; limit: number }
  | { type: typeof FRAME.eof; channel: number; stream: number; offset: number }
  | { type: typeof FRAME.close; channel: number; stream: number }
  | { type: number; channel: number; payload: Buffer }

/**
 * Reads one whole frame; `undefined` when it is malformed. Data is a view, not a copy.
 */
export function parseFrame(bytes: Uint8Array): Frame | undefined {
  const frame = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (frame.length < HEADER_BYTES) return undefined
  const type = frame[0]!
  const channel = frame.readUInt32BE(1)
  if (type < FRAME.data || type > FRAME.close) return { type, channel, payload: frame.subarray(HEADER_BYTES) }
  if (frame.length < HEADER_BYTES + 1) return undefined
  const stream = frame[5]!
  if (stream > STREAM.screen) return undefined
  if (type === FRAME.close) return { type, channel, stream }
  if (frame.length < DATA_HEADER_BYTES) return undefined
  const offset = frame.readUIntBE(6, OFFSET_BYTES)
  if (type === FRAME.eof) return { type, channel, stream, offset }
  if (type === FRAME.data) {
    if (frame.length - DATA_HEADER_BYTES > DATA_BYTES_MAX) return undefined
    return { type, channel, stream, offset, bytes: frame.subarray(DATA_HEADER_BYTES) }
  }
  if (frame.length < DATA_HEADER_BYTES + OFFSET_BYTES) return undefined
  return { type: FRAME.ack, channel, stream, received: offset, limit: frame.readUIntBE(12, OFFSET_BYTES) }
}
