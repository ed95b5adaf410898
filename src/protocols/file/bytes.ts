/** Fields of messages that are too many for CBOR: fixed sizes, big-endian, read with every bound checked. */

import { KappaError } from '../../errors.ts'

/** Names and paths are bytes; here each is a string of one character per byte (latin1), which maps and compares fast. */
export type ByteString = string

/** Seconds since 1970, negative before, and nanoseconds from 0 to 999,999,999. */
export interface Time {
  readonly s: number
  readonly ns: number
}

/** Writes into one buffer that grows as needed; `take` gives what was written and begins anew. */
export class Writer {
  #buffer: Buffer
  #length = 0

  constructor(bytes = 512) {
    this.#buffer = Buffer.allocUnsafeSlow(bytes)
  }

  get length(): number {
    return this.#length
  }

  u8(value: number): this {
    this.#room(1)
    this.#buffer[this.#length++] = value
    return this
  }

  u16(value: number): this {
    this.#room(2)
    this.#length = this.#buffer.writeUInt16BE(value, this.#length)
    return this
  }

  u32(value: number): this {
    this.#room(4)
    this.#length = this.#buffer.writeUInt32BE(value, this.#length)
    return this
  }

  /** Integers from 0 up to 2^53 − 1. */
  size(value: number): this {
    this.#room(8)
    this.#length = this.#buffer.writeUInt32BE(Math.floor(value / 2 ** 32), this.#length)
    this.#length = this.#buffer.writeUInt32BE(value % 2 ** 32, this.#length)
    return this
  }

  i64(value: bigint): this {
    this.#room(8)
    this.#length = this.#buffer.writeBigInt64BE(value, this.#length)
    return this
  }

  time({ s, ns }: Time): this {
    this.#room(12)
    const high = Math.floor(s / 2 ** 32)
    this.#length = this.#buffer.writeInt32BE(high, this.#length)
    this.#length = this.#buffer.writeUInt32BE(s - high * 2 ** 32, this.#length)
    this.#length = this.#buffer.writeUInt32BE(ns, this.#length)
    return this
  }

  text(value: ByteString): this {
    this.#room(2 + value.length)
    this.#length = this.#buffer.writeUInt16BE(value.length, this.#length)
    this.#length += this.#buffer.write(value, this.#length, 'latin1')
    return this
  }

  /** As many as the reader expects. */
  bytes(value: ByteString): this {
    this.#room(value.length)
    this.#length += this.#buffer.write(value, this.#length, 'latin1')
    return this
  }

  take(): Uint8Array {
    const bytes = new Uint8Array(this.#length)
    bytes.set(this.#buffer.subarray(0, this.#length))
    this.#length = 0
    return bytes
  }

  #room(bytes: number): void {
    if (this.#length + bytes <= this.#buffer.length) return
    const larger = Buffer.allocUnsafeSlow(Math.max(this.#buffer.length * 2, this.#length + bytes))
    this.#buffer.copy(larger, 0, 0, this.#length)
    this.#buffer = larger
  }
}

/** Reads a message; throws ProtocolError where it ends too soon or holds what may not be. */
export class Reader {
  readonly #buffer: Buffer
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get left(): number {
    return this.#buffer.length - this.#at
  }

  u8(): number {
    return this.#buffer[this.#take(1)]!
  }

  u16(): number {
    return this.#buffer.readUInt16BE(this.#take(2))
  }

  u32(): number {
    return this.#buffer.readUInt32BE(this.#take(4))
  }

  size(): number {
    const at = this.#take(8)
    const high = this.#buffer.readUInt32BE(at)
    if (high >= 2 ** 21) throw malformed('a number is too large')
    return high * 2 ** 32 + this.#buffer.readUInt32BE(at + 4)
  }

  i64(): bigint {
    return this.#buffer.readBigInt64BE(this.#take(8))
  }

  time(): Time {
    const at = this.#take(12)
    const s = this.#buffer.readInt32BE(at) * 2 ** 32 + this.#buffer.readUInt32BE(at + 4)
    const ns = this.#buffer.readUInt32BE(at + 8)
    if (!Number.isSafeInteger(s) || ns >= 1e9) throw malformed('there is no such time')
    return { s, ns }
  }

  text(longest: number): ByteString {
    const length = this.u16()
    if (length > longest) throw malformed(`a name of ${length} bytes is too long`)
    const at = this.#take(length)
    return this.#buffer.toString('latin1', at, at + length)
  }

  bytes(count: number): ByteString {
    const at = this.#take(count)
    return this.#buffer.toString('latin1', at, at + count)
  }

  /** All that is left, not copied. */
  rest(): Uint8Array {
    const at = this.#take(this.left)
    return this.#buffer.subarray(at)
  }

  end(): void {
    if (this.left > 0) throw malformed('bytes follow its end')
  }

  #take(bytes: number): number {
    const at = this.#at
    if (bytes > this.#buffer.length - at) throw malformed('it is cut off')
    this.#at = at + bytes
    return at
  }
}

export function malformed(what: string): KappaError {
  return new KappaError('ProtocolError', `a message of the file protocol is malformed: ${what}`)
}
