/**
 * System directories that the last jobs of a home listed: home is asked for all of them at once when a tree is first seen,
 * so that its first job need not wait for one after the other.
 */

import type { ByteString } from '../../protocols/file/bytes.ts'
import type { Attributes, Entry } from '../../protocols/file/codec.ts'
import { isUnder, SYSTEM } from '../home/view.ts'
import type { Cache } from './cache.ts'
import type { Remote } from './remote.ts'
import { REPLAYED_MAX } from './store-codec.ts'
import { uses } from './techniques.ts'

/** ms for which a listing waits for its use. */
const KEPT_MS = 30_000
/** ms after which new directories are written down together. */
const GATHER_MS = 250

/** A directory with so many names is fetched for the sake of one of them. */
export const FEW_NAMES = uses('whole-directories') ? 8192 : 0

export interface Listed {
  entries: Entry[]
  isWatched: boolean
  /** It has more names than were asked for. */
  isLarge: boolean
  own: Attributes | undefined
}

export class Replay {
  readonly #remote: Remote
  readonly #cache: Cache
  readonly #isUsed = uses('replay')
  /** Not yet used; at most `REPLAYED_MAX`. */
  readonly #coming = new Map<ByteString, Promise<Listed>>()
  /** Of this life, the latest last, and of the ones before; at most `REPLAYED_MAX`. */
  #paths: ByteString[] = []
  #timer: NodeJS.Timeout | undefined

  constructor(remote: Remote, cache: Cache) {
    this.#remote = remote
    this.#cache = cache
  }

  /** Asks for all; does not wait for the answers. */
  async start(): Promise<void> {
    if (!this.#isUsed) return
    const recalled = (await this.#cache.recall()).filter((path) => isSystem(path) && !this.#paths.includes(path))
    // Jobs may have begun meanwhile.
    this.#paths = [...recalled, ...this.#paths].slice(-REPLAYED_MAX)
    for (const path of recalled) {
      const listed = list(this.#remote, path, FEW_NAMES, () => {})
      // Whoever wants it hears why.
      listed.catch(() => {})
      this.#coming.set(path, listed)
    }
    setTimeout(() => this.#coming.clear(), KEPT_MS).unref()
  }

  has(path: ByteString): boolean {
    return this.#coming.has(path)
  }

  /** What home says of a directory, or has said if nothing came to it since; `onPart` hears as it comes. Throws Errno. */
  async list(path: ByteString, most: number, onPart: (so: Listed) => void): Promise<Listed> {
    const coming = this.#coming.get(path)
    this.#coming.delete(path)
    if (this.#isUsed && isSystem(path)) this.#note(path)
    const listed = await coming?.catch(() => undefined)
    if (listed === undefined || (listed.isLarge && most > FEW_NAMES)) return list(this.#remote, path, most, onPart)
    onPart(listed)
    return listed
  }

  /** News: what was listed before may be otherwise, and what is below is perhaps another directory. */
  changed(path: ByteString, entries: readonly Entry[]): void {
    for (const at of this.#coming.keys()) {
      const isBelow = isUnder(at, path) && at !== path
      const name = isBelow ? at.slice(path === '/' ? 1 : path.length + 1).split('/')[0] : undefined
      const isConcerned = at === path || (isBelow && entries.length === 0)
      if (isConcerned || entries.some((entry) => entry.name === name)) this.#coming.delete(at)
    }
  }

  reset(): void {
    this.#coming.clear()
  }

  #note(path: ByteString): void {
    const isNew = !this.#paths.includes(path)
    this.#paths = [...this.#paths.filter((other) => other !== path), path].slice(-REPLAYED_MAX)
    if (!isNew || this.#timer !== undefined) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#cache.remember(this.#paths)
    }, GATHER_MS)
  }
}

async function list(remote: Remote, path: ByteString, most: number, onPart: (so: Listed) => void): Promise<Listed> {
  const listed: Listed = { entries: [], isWatched: false, isLarge: false, own: undefined }
  await remote.list(path, most, ({ entries, watched, large, own }) => {
    for (const entry of entries) listed.entries.push(entry)
    listed.isWatched = watched
    listed.isLarge = large
    listed.own = own
    onPart(listed)
  })
  return listed
}

function isSystem(path: ByteString): boolean {
  return SYSTEM.some((top) => isUnder(path, top))
}
