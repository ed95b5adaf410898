/** What small files hold, and what was read of larger ones last: as many bytes as the bound allows, the latest used. */

import type { Version } from '../../protocols/file/codec.ts'
import { isSameVersion } from './nodes.ts'

interface Content {
  version: Version
  data: Uint8Array
}

export class Contents<Key> {
  readonly #max: number
  /** Together at most `max` bytes, in the order of their last use. */
  readonly #held = new Map<Key, Content>()
  #bytes = 0

  /** `max`: bytes. */
  constructor(max: number) {
    this.#max = max
  }

  get(key: Key, version: Version): Uint8Array | undefined {
    const held = this.#held.get(key)
    if (held === undefined) return undefined
    this.#held.delete(key)
    if (!isSameVersion(held.version, version)) {
      this.#bytes -= held.data.length
      return undefined
    }
    this.#held.set(key, held)
    return held.data
  }

  set(key: Key, version: Version, data: Uint8Array): void {
    this.delete(key)
    if (data.length > this.#max) return
    this.#held.set(key, { version, data })
    this.#bytes += data.length
    for (const oldest of this.#held.keys()) {
      if (this.#bytes <= this.#max) return
      this.delete(oldest)
    }
  }

  delete(key: Key): void {
    const held = this.#held.get(key)
    if (held === undefined) return
    this.#held.delete(key)
    this.#bytes -= held.data.length
  }
}
