/**
 * The control socket's framing: a length before each frame of the exec layout. Light, because the client imports it.
 */

import { KappaError, messageOf } from '../errors.ts'
import { FRAME, type Frame, frameHeader, parseFrame } from '../protocols/exec/frames.ts'

/** A request carries argv and environment, which Linux bounds to about 2 MiB (JSON can triple odd bytes). */
export const CONTROL_FRAME_BYTES_MAX = 16 * 1024 * 1024

const LENGTH_BYTES = 4

/** What is written to the socket for one frame: its length, then its parts, uncopied. */
export function withLength(...parts: Buffer[]): Buffer[] {
  let length = 0
  for (const part of parts) length += part.length
  const prefix = Buffer.allocUnsafe(LENGTH_BYTES)
  prefix.writeUInt32BE(length, 0)
  return [prefix, ...parts]
}

/** A control frame with a JSON value. */
export function jsonFrame(type: number, value: unknown): Buffer {
  return Buffer.concat(withLength(frameHeader(type, 0), Buffer.from(JSON.stringify(value))))
}

/** The JSON value of a frame; `undefined` when it has none. Throws ProtocolError. */
export function jsonOf(frame: Frame): unknown {
  if (!('payload' in frame) || frame.payload.length === 0) return undefined
  try {
    return JSON.parse(frame.payload.toString())
  } catch (cause) {
    throw new KappaError('ProtocolError', `a control frame is not JSON: ${messageOf(cause)}`, { cause })
  }
}

/** Cuts a byte stream into frames. Holds at most one incomplete frame. */
export class ControlReader {
  #held: Buffer[] = []
  #heldBytes = 0
  #needed = LENGTH_BYTES

  /** Calls `handle` for each whole frame; throws on an oversized or malformed one. */
  push(chunk: Buffer, handle: (frame: Frame) => void): void {
    this.#held.push(chunk)
    this.#heldBytes += chunk.length
    if (this.#heldBytes < this.#needed) return
    let bytes = this.#held.length === 1 ? chunk : Buffer.concat(this.#held, this.#heldBytes)
    while (bytes.length >= LENGTH_BYTES) {
      const length = bytes.readUInt32BE(0)
      if (length > CONTROL_FRAME_BYTES_MAX) throw new RangeError(`a control frame of ${length} bytes is too long`)
      if (bytes.length < LENGTH_BYTES + length) break
      const frame = parseFrame(bytes.subarray(LENGTH_BYTES, LENGTH_BYTES + length))
      if (frame === undefined) throw new RangeError('a control frame is malformed')
      bytes = bytes.subarray(LENGTH_BYTES + length)
      handle(frame)
    }
    this.#held = bytes.length === 0 ? [] : [bytes]
    this.#heldBytes = bytes.length
    this.#needed = bytes.length < LENGTH_BYTES ? LENGTH_BYTES : LENGTH_BYTES + bytes.readUInt32BE(0)
  }
}

export { FRAME }

/** First frame of the client on a new connection. */
export interface ControlRequest {
  command: string
  params: Record<string, unknown>
  /** The client's version: a daemon that is older restarts when it is idle. */
  version: string
  /** How the client was started, so that an older daemon can start the newer one: the launcher's path. */
  launcher?: string
}

/** What `run` asks: bytes are latin1 strings, which JSON carries without loss. */
export interface RunParams {
  argv: string[]
  /** `NAME=value` of the client's environment, less kappa's own. */
  env: string[]
  cwd: string
  umask: number
  nice: number
  /** Soft limits by their names in setrlimit(2) without RLIMIT_, in small letters; -1 for unlimited. */
  limits: { name: string; soft: number }[]
  options: RunOptions
  ins: boolean
  outs: string[]
  outAlways: boolean
  /** stderr is a terminal: one line may be said when it matters. */
  terminal: boolean
  /** Process ID of the client: the root of the process tree when the job runs at home. */
  pid: number
}

/** Options of `kappa run` that the daemon decides by. */
export interface RunOptions {
  plain?: boolean
  local?: boolean
  remote?: boolean
  wait?: boolean
  on?: string[]
  not?: string[]
  cores?: number
  memoryBytes?: number
  tools?: string[]
  needs?: string[]
  env?: string[]
  noEnv?: boolean
  verbose?: boolean
}

/** The end of a run as told to the client. */
export interface RunEnd {
  exitCode: number | null
  signal: string | null
  /** A line for stderr and the exit code behind it, when kappa itself has something to say. */
  message?: string
  status?: number
}
