/**
 * Large files of home that are only read: in blocks, of which the next ones are asked for before the kernel does, which has
 * no more than 128 KiB under way. What is read here and there in small pieces comes as it is asked for.
 */

import type { Attributes } from '../../protocols/file/codec.ts'
import { FILE_DATA_BYTES_MAX } from '../../protocols/file/constants.ts'
import type { Cache } from './cache.ts'
import { Contents } from './contents.ts'
import type { Node } from './nodes.ts'
import { BLOCK_BYTES } from './store-codec.ts'
import { uses } from './techniques.ts'

/** Blocks at hand, bytes of all together. */
const BLOCKS_BYTES_MAX = 32 * 1024 * 1024
/** Blocks asked for ahead of who reads on and on. */
const AHEAD_MAX = 8
/** Reads that are shorter are of here and there, unless they go on where the last one ended. */
const SMALL_READ_BYTES = 32 * 1024

export interface Fetched {
  data: Uint8Array
  isExact: boolean
}

interface Reading {
  /** Where the last read ended. */
  end: number
  /** Blocks to ask for ahead: more as it goes on. */
  ahead: number
}

export interface BlocksInit {
  cache: Cache
  /** Reads at home; whether the file was in exactly that state. Throws Errno. */
  fetch(node: Node, version: Attributes, offset: number, length: number): Promise<Fetched>
  /** sha256 of all that the file holds in a state, if home has told it by now; asked for if not. */
  hashOf(node: Node, version: Attributes): string | undefined
}

export class Blocks {
  readonly #init: BlocksInit
  readonly #isUsed = uses('read-ahead')
  readonly #contents = new Contents<string>(BLOCKS_BYTES_MAX)
  /** As many as requests wait for, and `AHEAD_MAX` for each. */
  readonly #coming = new Map<string, Promise<Uint8Array>>()
  readonly #readings = new WeakMap<Node, Reading>()

  constructor(init: BlocksInit) {
    this.#init = init
  }

  /** `offset` is within the file. Throws Errno. */
  async read(node: Node, version: Attributes, offset: number, size: number): Promise<Uint8Array> {
    const end = Math.min(offset + size, version.size)
    const reading = this.#readings.get(node) ?? { end: -1, ahead: 0 }
    this.#readings.set(node, reading)
    const goesOn = Math.abs(offset - reading.end) < BLOCK_BYTES
    reading.end = end
    reading.ahead = goesOn ? Math.min(AHEAD_MAX, Math.max(1, reading.ahead * 2)) : 0
    const [first, last] = [Math.floor(offset / BLOCK_BYTES), Math.floor((end - 1) / BLOCK_BYTES)]
    if (!this.#isUsed || (!goesOn && end - offset < SMALL_READ_BYTES)) {
      const block = first === last ? await this.#atHand(node, version, first) : undefined
      if (block !== undefined) return block.subarray(offset - first * BLOCK_BYTES, end - first * BLOCK_BYTES)
      return (await this.#init.fetch(node, version, offset, Math.min(end - offset, FILE_DATA_BYTES_MAX))).data
    }
    const wanted: Promise<Uint8Array>[] = []
    for (let index = first; index <= last; index++) wanted.push(this.#block(node, version, index))
    for (let index = last + 1; index <= last + reading.ahead && index * BLOCK_BYTES < version.size; index++) {
      this.#block(node, version, index).catch(() => {})
    }
    const blocks = await Promise.all(wanted)
    const from = offset - first * BLOCK_BYTES
    if (blocks.length === 1) return blocks[0]!.subarray(from, from + end - offset)
    return Buffer.concat(blocks).subarray(from, from + end - offset)
  }

  /** Without home. */
  async #atHand(node: Node, version: Attributes, index: number): Promise<Uint8Array | undefined> {
    const key = keyOf(node, index)
    const held = this.#contents.get(key, version) ?? (await this.#coming.get(key))
    if (held !== undefined || version.hash === undefined) return held
    const length = Math.min(BLOCK_BYTES, version.size - index * BLOCK_BYTES)
    const kept = await this.#init.cache.load(version.hash, index, length)
    if (kept !== undefined) this.#contents.set(key, version, kept)
    return kept
  }

  #block(node: Node, version: Attributes, index: number): Promise<Uint8Array> {
    const key = keyOf(node, index)
    const held = this.#contents.get(key, version)
    if (held !== undefined) return Promise.resolve(held)
    const coming = this.#coming.get(key)
    if (coming !== undefined) return coming
    const block = this.#get(node, version, index).then((data) => {
      this.#contents.set(key, version, data)
      return data
    })
    this.#coming.set(key, block)
    const done = (): void => void this.#coming.delete(key)
    block.then(done, done)
    return block
  }

  async #get(node: Node, version: Attributes, index: number): Promise<Uint8Array> {
    const { cache, fetch, hashOf } = this.#init
    const offset = index * BLOCK_BYTES
    const length = Math.min(BLOCK_BYTES, version.size - offset)
    const hash = hashOf(node, version)
    const kept = hash === undefined ? undefined : await cache.load(hash, index, length)
    if (kept !== undefined) return kept
    const { data, isExact } = await fetch(node, version, offset, length)
    const known = hash ?? version.hash
    if (known !== undefined && isExact && data.length === length) cache.save(known, index, data)
    return data
  }
}

/** What was written here since is no longer the same, whatever its time says. */
function keyOf({ id, changes }: Node, index: number): string {
  return `${id} ${changes} ${index}`
}
