/**
 * The memory of a stream that is sent: its bytes lie in blocks of one frame each, which are used again when the other side
 * has received them. Without it each piece is garbage that lives just long enough to be expensive.
 */

import { WINDOW_BYTES_MAX } from './flow.ts'

/** A stream that never sends more than this keeps no whole block. */
const SMALL_BYTES = 4096

export class Blocks {
  readonly #blockBytes: number
  /** In order, the last one is being filled; `end`: the stream's offset behind it. At most what is sent or waits. */
  readonly #used: { bytes: Buffer; end: number }[] = []
  /** Of this stream only: what a peer acknowledges too soon can only spoil its own. At most a window. */
  readonly #spare: Buffer[] = []
  /** How far the last block is filled. */
  #filled = 0
  #offset: number

  /** `begin`: offset of the first byte of the stream. */
  constructor(blockBytes: number, begin = 0) {
    this.#offset = begin
    this.#blockBytes = blockBytes
  }

  /** Copies bytes behind the last ones, and queues them: what lies together in one block is one piece of the queue. */
  append(queue: Uint8Array[], bytes: Uint8Array): void {
    for (let rest = bytes; rest.length > 0; ) {
      const block = this.#open(rest.length)
      const begin = this.#filled
      const taken = Math.min(rest.length, block.bytes.length - begin)
      block.bytes.set(rest.subarray(0, taken), begin)
      this.#filled += taken
      this.#offset += taken
      block.end = this.#offset
      rest = rest.subarray(taken)
      const last = queue.at(-1)
      // The waiting piece lies just before, as nothing else is ever queued.
      if (last && begin > 0) queue[queue.length - 1] = block.bytes.subarray(begin - last.length, this.#filled)
      else queue.push(block.bytes.subarray(begin, this.#filled))
    }
  }

  /** The other side has received everything before `offset`. */
  release(offset: number): void {
    while (this.#used.length > 1 && this.#used[0]!.end <= offset) {
      const { bytes } = this.#used.shift()!
      if (bytes.length === this.#blockBytes && this.#spare.length * this.#blockBytes < WINDOW_BYTES_MAX) {
        this.#spare.push(bytes)
      }
    }
  }

  /** The block in which there is room, a new one when the last is full. */
  #open(wanted: number): { bytes: Buffer; end: number } {
    const last = this.#used.at(-1)
    if (last && this.#filled < last.bytes.length) return last
    const size = last === undefined && wanted <= SMALL_BYTES ? SMALL_BYTES : this.#blockBytes
    const bytes = (size === this.#blockBytes && this.#spare.pop()) || Buffer.allocUnsafeSlow(size)
    this.#filled = 0
    this.#used.push({ bytes, end: this.#offset })
    return this.#used.at(-1)!
  }
}
