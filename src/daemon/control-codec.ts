/**
 * The control socket's framing: a length before each frame of the exec layout. Light, because the client imports it.
 */

import type { Needs, PairingKind, PeerId } from '../core/types.ts'
import { ERROR_CODES, type ErrorName, KappaError, messageOf } from '../errors.ts'
import {
  DATA_BYTES_MAX,
  DATA_HEADER_BYTES,
  FRAME,
  type Frame,
  frameHeader,
  parseFrame
} from '../protocols/exec/frames.ts'

/** A request carries argv and environment, which Linux bounds to about 2 MiB (JSON can triple odd bytes). */
export const CONTROL_FRAME_BYTES_MAX = 16 * 1024 * 1024

const LENGTH_BYTES = 4

/** A first part up to this many bytes is copied behind the length: one piece less to write. */
const JOIN_BELOW_BYTES = 64

/** What is written to the socket for one frame: its length, then its parts, the large ones uncopied. */
export function withLength(...parts: Buffer[]): Buffer[] {
  let length = 0
  for (const part of parts) length += part.length
  const [first, ...rest] = parts
  const joined = first !== undefined && first.length <= JOIN_BELOW_BYTES ? first.length : 0
  const prefix = Buffer.allocUnsafe(LENGTH_BYTES + joined)
  prefix.writeUInt32BE(length, 0)
  if (joined === 0) return [prefix, ...parts]
  first!.copy(prefix, LENGTH_BYTES)
  return [prefix, ...rest]
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

/** The error that the daemon told, with its name and exit code. */
export function errorOf(value: unknown): KappaError {
  const { name, message } = value as { name: string; message: string }
  return new KappaError(name in ERROR_CODES ? (name as ErrorName) : 'DaemonError', message)
}

/** What is needed of a data frame before its data can be passed on. */
const DATA_BEGINS = LENGTH_BYTES + DATA_HEADER_BYTES

/**
 * Cuts a byte stream into frames. Data is handed over as it comes, a frame of it in several when it comes in pieces; of
 * other frames the one that is incomplete is held. What is handed over lies in the pushed chunk, or is the reader's own.
 */
export class ControlReader {
  /** The beginning of a frame, copied; bounded by CONTROL_FRAME_BYTES_MAX. */
  #held: Buffer[] = []
  #heldBytes = 0
  #needed = LENGTH_BYTES
  /** The data frame of which some is still to come. */
  #data: Extract<Frame, { bytes: Buffer }> | undefined
  #dataLeft = 0

  /** Calls `handle` for each frame or piece of data; throws on an oversized or malformed one. */
  push(chunk: Buffer, handle: (frame: Frame) => void): void {
    let bytes = this.#data ? this.#moreData(this.#data, chunk, handle) : chunk
    if (this.#heldBytes > 0) {
      if (this.#heldBytes + bytes.length < this.#needed) {
        this.#hold(bytes)
        return
      }
      bytes = Buffer.concat([...this.#held, bytes])
      this.#held = []
      this.#heldBytes = 0
    }
    for (let frame = this.#next(bytes); frame !== undefined; frame = this.#next(bytes)) {
      bytes = bytes.subarray(LENGTH_BYTES + bytes.readUInt32BE(0))
      handle(frame)
    }
    if (bytes.length > 0 && !this.#data) this.#hold(bytes)
  }

  /** The frame at the beginning of the bytes, of data what is there; undefined when there is too little. */
  #next(bytes: Buffer): Frame | undefined {
    if (bytes.length < LENGTH_BYTES) return undefined
    const length = bytes.readUInt32BE(0)
    if (length > CONTROL_FRAME_BYTES_MAX) throw new RangeError(`a control frame of ${length} bytes is too long`)
    const whole = LENGTH_BYTES + length
    if (bytes.length === LENGTH_BYTES && length > 0) {
      this.#needed = LENGTH_BYTES + 1
      return undefined
    }
    const isData = bytes[LENGTH_BYTES] === FRAME.data && length >= DATA_HEADER_BYTES
    this.#needed = isData ? DATA_BEGINS : whole
    if (bytes.length < this.#needed) return undefined
    const frame = parseFrame(bytes.subarray(LENGTH_BYTES, whole))
    if (frame === undefined || (isData && length - DATA_HEADER_BYTES > DATA_BYTES_MAX)) {
      throw new RangeError('a control frame is malformed')
    }
    if (bytes.length < whole && 'bytes' in frame) {
      this.#dataLeft = whole - bytes.length
      this.#data = frame
    }
    return frame
  }

  /** Hands over the data at the beginning of a chunk; returns what follows it. */
  #moreData(data: Extract<Frame, { bytes: Buffer }>, chunk: Buffer, handle: (frame: Frame) => void): Buffer {
    const bytes = chunk.subarray(0, this.#dataLeft)
    const frame = { ...data, offset: data.offset + data.bytes.length, bytes }
    this.#dataLeft -= bytes.length
    this.#data = this.#dataLeft > 0 ? frame : undefined
    handle(frame)
    return chunk.subarray(bytes.length)
  }

  #hold(bytes: Buffer): void {
    this.#held.push(Buffer.from(bytes))
    this.#heldBytes += bytes.length
    if (this.#heldBytes < LENGTH_BYTES) this.#needed = LENGTH_BYTES
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
  /** It outlives its client. */
  detach?: boolean
  /** What a program that is staged needs of a machine; absent: none is, or that can't be told. */
  programClass?: NonNullable<Needs['class']>
  /** Bytes of the files that it is given or names; 0 when none are known. */
  inputBytes?: number
  /** stderr is a terminal: one line may be said when it matters. */
  terminal: boolean
  /** The terminal that the job gets if it runs elsewhere; absent: none. */
  pty?: TerminalParams
  /** Process ID of the client: the root of the process tree when the job runs at home. */
  pid: number
}

/** Lines, columns and modes of the client's terminal, and the job's descriptors that are it: bit n for descriptor n. */
export interface TerminalParams {
  descriptors: number
  rows: number
  columns: number
  /** Input, output and local flags of termios, then control characters; empty: those of a new terminal. */
  modes: number[]
}

/** What a client is told when its job runs here. */
export interface StartedHere {
  id: string
}

/** What a client is told when its job runs elsewhere. */
export interface StartedThere {
  id: string
  kind: PairingKind
  /** Of the machine. */
  name: string
  /** It has the terminal that was asked for, with these descriptors. */
  terminal?: number
}

/** What a client on a terminal is told while its job waits, each time that it changes: 1 for the first in line. */
export interface QueuedNews {
  position: number
}

/** Options of `kappa run` that the daemon decides by. */
export interface RunOptions {
  /** The job sees nothing of this machine. */
  plain?: boolean
  /** Whose programs a job runs that sees this machine's files; absent: this one's. */
  programs?: 'target'
  /** Absolute paths that it sees in spite of everything. */
  shares?: string[]
  local?: boolean
  remote?: boolean
  wait?: boolean
  /** Machines that sleep are woken for it: those of `on`, else all own ones. */
  wake?: boolean
  on?: string[]
  not?: string[]
  cores?: number
  memoryBytes?: number
  tools?: string[]
  needs?: string[]
  env?: string[]
  noEnv?: boolean
  verbose?: boolean
  /** A tool that is found in the shims' directory: its small work stays. */
  shim?: boolean
  /** Peers where an earlier try ended badly: others first. */
  avoid?: PeerId[]
  /** The job is ended when it has run so long; 0: never. */
  timeoutMs?: number
  /** A target keeps the job so long without a word of home. */
  leaseMs?: number
}

/** The end of a run as told to the client. */
export interface RunEnd {
  exitCode: number | null
  signal: string | null
  /** A line for stderr and the exit code behind it, when kappa itself has something to say. */
  message?: string
  status?: number
  /** It may be tried again, by the user's word, after so many ms: then nothing of it can be left anywhere. */
  again?: { afterMs: number; without: PeerId }
}
