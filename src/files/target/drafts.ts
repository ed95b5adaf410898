/**
 * What a file holds that is made here, as long as it is small and nobody else changes it: it is known, so that it can be read
 * and its size told without home, and what is written goes out in few large pieces: soon, and at close or sync at the
 * latest.
 */

import { FILE_DATA_BYTES_MAX } from '../../protocols/file/constants.ts'

/** Bytes of one, and of all together. */
const DRAFT_BYTES_MAX = 4 * 1024 * 1024
const DRAFTS_BYTES_MAX = 32 * 1024 * 1024
/** At first; doubled as needed. */
const FIRST_BYTES = 16 * 1024
/** Pieces that wait to be sent; beyond, they are. */
const PIECES_MAX = 64
/** ms after which what was written goes out. */
const SEND_MS = 20

let heldBytes = 0

export interface DraftInit {
  /** To home; the data is nobody else's. */
  send(offset: number, data: Uint8Array): void
  /** Home alone knows by now what the file holds. */
  onEnd(): void
}

export class Draft {
  readonly #init: DraftInit
  #image = Buffer.alloc(0)
  #size = 0
  /** What home has not got, apart from each other; at most `PIECES_MAX`. */
  #unsent: [from: number, to: number][] = []
  #timer: NodeJS.Timeout | undefined
  /** How often it was written, and how often when home said last what it is. */
  #written = 0
  #knownAt = 0

  constructor(init: DraftInit) {
    this.#init = init
  }

  /** Bytes. */
  get size(): number {
    return this.#size
  }

  get written(): number {
    return this.#written
  }

  /** Home has said what it is since it was written last. */
  get isKnown(): boolean {
    return this.#knownAt === this.#written
  }

  /** What home said after so many writes is known. */
  known(written: number): void {
    this.#knownAt = Math.max(this.#knownAt, written)
  }

  /** False: it is too large for that. The data is copied. */
  write(offset: number, data: Uint8Array): boolean {
    const end = offset + data.length
    if (end > this.#image.length && !this.#grow(end)) return false
    this.#image.set(data, offset)
    this.#size = Math.max(this.#size, end)
    this.#written++
    this.#add(offset, end)
    if (this.#unsent.length >= PIECES_MAX) this.send()
    else this.#timer ??= setTimeout(() => this.send(), SEND_MS)
    return true
  }

  #grow(end: number): boolean {
    if (end > DRAFT_BYTES_MAX) return false
    const bytes = Math.min(DRAFT_BYTES_MAX, Math.max(FIRST_BYTES, 2 ** Math.ceil(Math.log2(end))))
    const more = bytes - this.#image.length
    if (heldBytes + more > DRAFTS_BYTES_MAX) return false
    heldBytes += more
    const image = Buffer.alloc(bytes)
    image.set(this.#image.subarray(0, this.#size))
    this.#image = image
    return true
  }

  #add(from: number, to: number): void {
    const last = this.#unsent.at(-1)
    if (last !== undefined && last[1] === from && this.#unsent.length === 1) {
      last[1] = to
      return
    }
    const apart = this.#unsent.filter((piece) => piece[1] < from || piece[0] > to)
    for (const piece of this.#unsent) {
      if (apart.includes(piece)) continue
      from = Math.min(from, piece[0])
      to = Math.max(to, piece[1])
    }
    this.#unsent = [...apart, [from, to]]
  }

  /** A view, for now. */
  read(offset: number, size: number): Uint8Array {
    return this.#image.subarray(offset, Math.min(this.#size, offset + size))
  }

  /** All of it. */
  whole(): Uint8Array {
    return Buffer.from(this.#image.subarray(0, this.#size))
  }

  /** Home gets what it has not got; what is asked of it after that is answered with this in it. */
  send(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const unsent = this.#unsent
    this.#unsent = []
    for (const [from, to] of unsent) {
      for (let at = from; at < to; at += FILE_DATA_BYTES_MAX) {
        this.#init.send(at, Buffer.from(this.#image.subarray(at, Math.min(to, at + FILE_DATA_BYTES_MAX))))
      }
    }
  }

  /** Once. */
  end(): void {
    this.send()
    heldBytes -= this.#image.length
    this.#image = Buffer.alloc(0)
    this.#init.onEnd()
  }
}
