import { IN_HEADER_BYTES } from './constants.ts'
import { Errno, type ErrnoName } from './errno.ts'

const HIGH = 0x1_0000_0000
/** High word of the first number that is no longer exact. */
const INEXACT_HIGH = 0x20_0000

/** A frame that no kernel sends: cut short, or with a length that isn't its own. */
export class FrameError extends Error {
  override readonly name = 'FrameError'
}

/**
 * One request as the kernel wrote it, read in place. Little-endian, as every machine is that kappa runs on; all numbers
 * are aligned because the buffer's memory begins with the frame.
 */
export class Frame {
  /** The whole read buffer; the frame is its first `length` bytes. */
  readonly bytes: Buffer
  length = 0
  readonly #words: Uint32Array

  /** `bytes` must begin at a multiple of 4 of its memory. */
  constructor(bytes: Buffer) {
    this.bytes = bytes
    this.#words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2)
  }

  /** Takes what was just read. Throws FrameError unless it is one whole frame. */
  take(length: number): void {
    this.length = length
    if (length < IN_HEADER_BYTES || length > this.bytes.length || this.#words[0] !== length) {
      throw new FrameError(`a frame of ${length} bytes that says ${length < 4 ? 'nothing' : this.#words[0]}`)
    }
  }

  get opcode(): number {
    return this.#words[1]!
  }

  u32(offset: number): number {
    if (offset + 4 > this.length) throw new FrameError(`a frame of ${this.length} bytes ends before ${offset + 4}`)
    return this.#words[offset >>> 2]!
  }

  i32(offset: number): number {
    return this.u32(offset) | 0
  }

  /** Throws `beyond` above 2^53 - 1: no file, node or handle of ours is there. */
  u64(offset: number, beyond: ErrnoName = 'EFBIG'): number {
    const high = this.u32(offset + 4)
    if (high >= INEXACT_HIGH) throw Errno.of(beyond)
    return high * HIGH + this.#words[offset >>> 2]!
  }

  /** Seconds may be negative. Throws EOVERFLOW beyond 2^53. */
  i64(offset: number): number {
    const high = this.i32(offset + 4)
    if (high >= INEXACT_HIGH || high < -INEXACT_HIGH) throw Errno.of('EOVERFLOW')
    return high * HIGH + this.#words[offset >>> 2]!
  }

  big(offset: number): bigint {
    return (BigInt(this.u32(offset + 4)) << 32n) | BigInt(this.u32(offset))
  }

  /** The string that begins at `offset` and ends at its NUL, one character per byte. */
  name(offset: number): string {
    const end = this.endOf(offset)
    return this.bytes.toString('latin1', offset, end)
  }

  /** Where the string that begins at `offset` has its NUL. */
  endOf(offset: number): number {
    const end = this.bytes.indexOf(0, offset)
    if (end < 0 || end >= this.length) throw new FrameError('a name without an end')
    return end
  }

  /** A view of the frame: valid until the next one is read. */
  data(offset: number, size: number): Buffer {
    if (offset + size > this.length) throw new FrameError(`${size} bytes of data in a frame of ${this.length}`)
    return this.bytes.subarray(offset, offset + size)
  }
}
