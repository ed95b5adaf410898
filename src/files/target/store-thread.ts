/** The thread that keeps contents (store-worker.ts), as the daemon uses it. */

import { createHash } from 'node:crypto'
import { Worker } from 'node:worker_threads'
import { emptyAnswer } from './store-codec.ts'
import type { FromStore, StoreWorkerData, ToStore } from './store-worker.ts'

export interface StoreThreadInit extends StoreWorkerData {
  /** It ended by itself: nothing is answered any more. */
  onFailure(error: Error): void
}

/** As one tree asks it. */
export interface StoreAccess {
  /** A frame of the process that serves the tree, without its first byte. */
  handle(frame: Uint8Array): void
  close(): void
}

export class StoreThread {
  readonly #init: StoreThreadInit
  /** Of trees that are seen; their number is the caller's. */
  readonly #trees = new Map<number, (parts: Uint8Array[]) => void>()
  /** From the first question on. */
  #worker: Worker | undefined
  /** It has failed or is closed: nothing is kept, or found. */
  #isBroken = false
  #max: number
  #last = 0

  constructor(init: StoreThreadInit) {
    this.#init = init
    this.#max = init.max
  }

  /** Whatever is kept for one home is nobody else's. */
  open(home: string, onFrame: (parts: Uint8Array[]) => void): StoreAccess {
    const tree = ++this.#last
    this.#trees.set(tree, onFrame)
    const name = createHash('sha256').update(home).digest('hex').slice(0, 32)
    return {
      handle: (given) => {
        if (this.#isBroken) {
          this.#trees.get(tree)?.(emptyAnswer(given))
          return
        }
        // Of its own, so that no more than it is handed over.
        const frame = new Uint8Array(given)
        this.#started().postMessage({ tree, home: name, frame } satisfies ToStore, [frame.buffer])
      },
      close: () => void this.#trees.delete(tree)
    }
  }

  #started(): Worker {
    if (this.#worker !== undefined) return this.#worker
    const name = import.meta.url.endsWith('.ts') ? './store-worker.ts' : './tree-store.mjs'
    const { directory } = this.#init
    const workerData: StoreWorkerData = { directory, max: this.#max }
    const worker = new Worker(new URL(name, import.meta.url), { workerData })
    worker.unref()
    worker.on('message', ({ tree, frame }: FromStore) => this.#trees.get(tree)?.(frame))
    worker.on('error', (error) => {
      this.#worker = undefined
      this.#isBroken = true
      this.#init.onFailure(error as Error)
    })
    this.#worker = worker
    return worker
  }

  resize(max: number): void {
    this.#max = max
    this.#worker?.postMessage({ max } satisfies ToStore)
  }

  async close(): Promise<void> {
    this.#isBroken = true
    await this.#worker?.terminate()
  }
}
