/**
 * Tells what changes in directories that a target knows. The kernel drops events when its queue is full, and Node does not
 * say so: but then the queue was full when we came to read it, which is a number of events in one turn that can be counted.
 */

import { type FSWatcher, fstatSync, readFileSync, watch } from 'node:fs'
import type { ByteString } from '../../protocols/file/bytes.ts'
import { isUnder } from './view.ts'

/** Directories of one target that are watched at once; the others are asked about anew. */
const WATCHED_MAX = 16_384

/** ms during which changes are gathered. */
const GATHER = 2

interface Watched {
  watcher: FSWatcher
  /** Where it is by now. */
  path: ByteString
  device: bigint
  inode: bigint
}

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
  readonly #watched = new Map<ByteString, Watched>()
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
    const { dev: device, ino: inode } = fstatSync(fd, { bigint: true })
    const before = this.#watched.get(path)
    if (before?.inode === inode && before.device === device) return true
    // Another directory was there.
    this.#remove(path)
    if (this.#watched.size >= WATCHED_MAX) return false
    try {
      const watcher = watch(
        `/proc/self/fd/${fd}`,
        { persistent: false, encoding: 'latin1' as BufferEncoding },
        (_, name) => this.#heard(watched.path, name)
      )
      const watched: Watched = { watcher, path, device, inode }
      watcher.on('error', () => this.#remove(watched.path))
      this.#watched.set(path, watched)
      return true
    } catch {
      return false
    }
  }

  /** A directory is elsewhere, over another or not, and all below it, of which what is told has been told by its old path. */
  move(path: ByteString, to: ByteString): void {
    // What is below a directory was found by way of it.
    if (!this.#watched.has(path) && !this.#watched.has(to)) return
    const moved: Watched[] = []
    for (const [at, watched] of [...this.#watched]) {
      if (isUnder(at, to)) this.#remove(at)
      else if (isUnder(at, path)) {
        this.#watched.delete(at)
        watched.path = to + at.slice(path.length)
        moved.push(watched)
      }
    }
    for (const watched of moved) this.#watched.set(watched.path, watched)
  }

  /** Two names change places, neither below the other. */
  exchange(path: ByteString, other: ByteString): void {
    if (!this.#watched.has(path) && !this.#watched.has(other)) return
    const moved: Watched[] = []
    for (const [at, watched] of [...this.#watched]) {
      const [from, to] = isUnder(at, path) ? [path, other] : [other, path]
      if (!isUnder(at, from)) continue
      this.#watched.delete(at)
      watched.path = to + at.slice(from.length)
      moved.push(watched)
    }
    for (const watched of moved) this.#watched.set(watched.path, watched)
  }

  /** A directory is gone or elsewhere, with all below it. */
  drop(path: ByteString): void {
    if (!this.#watched.has(path)) return
    for (const at of [...this.#watched.keys()]) if (isUnder(at, path)) this.#remove(at)
  }

  #remove(path: ByteString): void {
    this.#watched.get(path)?.watcher.close()
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
    for (const { watcher } of this.#watched.values()) watcher.close()
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
