/**
 * Tells what changes in directories that a target knows. The kernel drops events when its queue is full, and Node does not
 * say so: but then the queue was full when we came to read it, which is a number of events in one turn that can be counted.
 */

import { type FSWatcher, readFileSync, watch } from 'node:fs'
import type { ByteString } from '../../protocols/file/bytes.ts'

/** Directories of one target that are watched at once; the others are asked about anew. */
const WATCHED_MAX = 16_384

/** ms during which changes are gathered. */
const GATHER = 2

export interface WatcherInit {
  /** Names in a directory that changed, or are new or gone. */
  onChange(path: ByteString, names: ReadonlySet<ByteString>): void
  /** Anything may have changed. */
  onLoss(): void
}

export class Watcher {
  readonly #init: WatcherInit
  readonly #queueMax = queueMax()
  /** At most `WATCHED_MAX`. */
  readonly #watched = new Map<ByteString, FSWatcher>()
  /** Not yet told; at most as many as the kernel's queue holds. */
  readonly #changed = new Map<ByteString, Set<ByteString>>()
  #events = 0
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(init: WatcherInit) {
    this.#init = init
  }

  /** From now on; false: it can't be, so what is known of the directory is good for the moment only. `fd` is of the directory. */
  add(path: ByteString, fd: number): boolean {
    if (this.#watched.has(path)) return true
    if (this.#watched.size >= WATCHED_MAX) return false
    try {
      const watcher = watch(
        `/proc/self/fd/${fd}`,
        { persistent: false, encoding: 'latin1' as BufferEncoding },
        (_, name) => this.#heard(path, name)
      )
      watcher.on('error', () => this.#remove(path))
      this.#watched.set(path, watcher)
      return true
    } catch {
      return false
    }
  }

  /** The directory itself is gone or elsewhere. */
  #remove(path: ByteString): void {
    this.#watched.get(path)?.close()
    this.#watched.delete(path)
  }

  /** Tells at once what is known by now. */
  flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const changed = [...this.#changed]
    this.#changed.clear()
    for (const [path, names] of changed) this.#init.onChange(path, names)
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    for (const watcher of this.#watched.values()) watcher.close()
    this.#watched.clear()
  }

  #heard(path: ByteString, name: string | null): void {
    if (this.#closed) return
    if (this.#events === 0) setImmediate(() => (this.#events = 0))
    if (++this.#events >= this.#queueMax) {
      this.#events = Number.NEGATIVE_INFINITY
      this.#changed.clear()
      this.#init.onLoss()
      return
    }
    let names = this.#changed.get(path)
    if (names === undefined) {
      names = new Set()
      this.#changed.set(path, names)
    }
    if (name !== null) names.add(name)
    this.#timer ??= setTimeout(() => this.flush(), GATHER)
  }
}

/** Events that the kernel keeps for us; the last one may be its own, which says that it dropped some. */
function queueMax(): number {
  try {
    return Number(readFileSync('/proc/sys/fs/inotify/max_queued_events', 'latin1')) - 1
  } catch {
    return 1024
  }
}
