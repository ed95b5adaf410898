/** A thread that serves home's tree (worker.ts), as the daemon uses it. */

import { setTimeout as delay } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { KappaError } from '../../errors.ts'
import type { Refused } from './server.ts'
import { dateUnfinished } from './unfinished.ts'
import type { ViewInit } from './view.ts'
import type { FromServer, ToServer, TreeWorkerData } from './worker.ts'

/** ms for the thread to tell its news; it may wait for a disk that sleeps. */
const SETTLE_MS = 5000
/** ms for it to end; a disk that sleeps may hold it. */
const END_MS = 5000

export interface TreeThreadInit {
  view: ViewInit
  /** Path of a file of its own, see Unfinished. */
  journal: string
  /** Path of the file in which hashes of home's files are kept. */
  hashes: string
  /** For the target, all parts in order. */
  onFrame(parts: Uint8Array[]): void
  /** As of HomeServer. */
  onRefused(what: string, kind: string, why: Refused): void
  /** It ended by itself: nothing is served any more. */
  onFailure(error: Error): void
}

export class TreeThread {
  readonly #worker: Worker
  readonly #journal: string
  /** By number; each for at most SETTLE_MS. */
  readonly #settling = new Map<number, (news: number) => void>()
  #lastSettle = 0
  #isClosed = false

  constructor({ view, journal, hashes, onFrame, onRefused, onFailure }: TreeThreadInit) {
    this.#journal = journal
    const name = import.meta.url.endsWith('.ts') ? './worker.ts' : './tree-home.mjs'
    this.#worker = new Worker(new URL(name, import.meta.url), {
      workerData: { view, journal, hashes } satisfies TreeWorkerData
    })
    this.#worker.unref()
    this.#worker.on('message', (message: FromServer) => {
      if ('frame' in message) onFrame(message.frame)
      else if ('settled' in message) this.#settling.get(message.settled)?.(message.news)
      else if ('refused' in message) onRefused(message.refused, message.kind, message.why)
      else onFailure(new KappaError(message.isMalformed ? 'ProtocolError' : 'StateError', message.failed))
    })
    this.#worker.on('error', (error) => !this.#isClosed && onFailure(error as Error))
  }

  handle(frame: Uint8Array): void {
    this.#post({ frame })
  }

  /** Whether a job lives that it is shown to; without one nothing is answered. */
  live(isLive: boolean): void {
    this.#post({ live: isLive })
  }

  /** The network took what was sent. */
  drained(): void {
    this.#post({ drained: true })
  }

  /** Has it tell all that changed by now; the number of the last news, undefined when it doesn't answer. */
  settle(): Promise<number | undefined> {
    const number = ++this.#lastSettle
    return new Promise((resolve) => {
      const done = (news?: number): void => {
        clearTimeout(timer)
        this.#settling.delete(number)
        resolve(news)
      }
      const timer = setTimeout(done, SETTLE_MS)
      this.#settling.set(number, done)
      this.#post({ settle: number })
    })
  }

  /** Nothing of the target is done any more; the paths of what it was making, which is dated 1970. */
  async close(): Promise<string[]> {
    this.#isClosed = true
    await Promise.race([this.#worker.terminate(), delay(END_MS, undefined, { ref: false })])
    return dateUnfinished(this.#journal)
  }

  #post(message: ToServer): void {
    if (!this.#isClosed) this.#worker.postMessage(message)
  }
}
