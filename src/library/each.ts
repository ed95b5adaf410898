/** One job for each item, over all machines: no more begun than find a place, no more kept than is asked for. */

import type { RunningJob } from './job.ts'
import type { EachCommand, EachOptions, EachResult, RunOptions } from './types.ts'

/** Jobs that the peer looks for a place for at once: enough to keep many machines busy, few enough to be bound late. */
const PLACING_MAX = 8
const JOBS_MAX = 256
const OUTPUT_BYTES_MAX = 1024 * 1024

type Run = (argv: string[], options: RunOptions) => RunningJob

export class Each<T> implements AsyncIterable<EachResult<T>> {
  readonly #run: Run
  readonly #iterator: Iterator<T> | AsyncIterator<T>
  readonly #command: EachCommand<T>
  readonly #options: EachOptions
  readonly #jobsMax: number
  readonly #running = new Set<RunningJob>()
  /** Those that are over and wait to be taken, by number; at most as many as there may be jobs. */
  readonly #results = new Map<number, EachResult<T>>()
  #placing = 0
  #begun = 0
  #taken = 0
  #isRead = false
  #isStopped = false
  #failure: { error: unknown } | undefined
  #changed = Promise.withResolvers<void>()

  constructor(run: Run, items: Iterable<T> | AsyncIterable<T>, command: EachCommand<T>, options: EachOptions) {
    this.#run = run
    this.#iterator = Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]()
    this.#command = command
    this.#options = options
    this.#jobsMax = Math.max(1, options.jobs ?? JOBS_MAX)
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<EachResult<T>> {
    const { ordered = true, signal } = this.#options
    const stop = () => this.#stop(signal?.reason)
    signal?.addEventListener('abort', stop, { once: true })
    try {
      signal?.throwIfAborted()
      void this.#begin()
      for (;;) {
        if (this.#failure) throw this.#failure.error
        const number = ordered ? this.#taken : this.#results.keys().next().value
        const result = number === undefined ? undefined : this.#results.get(number)
        if (result) {
          this.#results.delete(number!)
          this.#taken++
          this.#change()
          yield result
        } else if (this.#isRead && this.#taken === this.#begun) return
        else await this.#changed.promise
      }
    } finally {
      signal?.removeEventListener('abort', stop)
      this.#isStopped = true
      this.#change()
      // Not awaited: a source may take its time for the item that was asked for last.
      void Promise.resolve(this.#iterator.return?.()).catch(() => undefined)
      for (const job of this.#running) job.abandon(new DOMException('nobody waits for it any more', 'AbortError'))
    }
  }

  /** Begins jobs as there is room; the items are read no further than that. */
  async #begin(): Promise<void> {
    try {
      for (;;) {
        const next = await this.#iterator.next()
        if (next.done === true || this.#isStopped) break
        while (!this.#isStopped && (this.#placing >= PLACING_MAX || this.#begun - this.#taken >= this.#jobsMax)) {
          await this.#changed.promise
        }
        if (this.#isStopped) return
        void this.#one(next.value, this.#begun++)
      }
      this.#isRead = true
      this.#change()
    } catch (error) {
      this.#stop(error)
    }
  }

  async #one(item: T, index: number): Promise<void> {
    const { run, maxBytes = OUTPUT_BYTES_MAX } = this.#options
    this.#placing++
    let isPlaced = false
    const placed = () => {
      if (isPlaced) return
      isPlaced = true
      this.#placing--
      this.#change()
    }
    let job: RunningJob | undefined
    try {
      const asked = this.#command(item, index)
      const { argv, ...options } = Array.isArray(asked) ? { argv: asked } : asked
      job = this.#run(argv, { wait: true, ...run, ...options })
      this.#running.add(job)
      job.placed.then(placed, placed)
      this.#results.set(index, { item, index, output: await job.output({ maxBytes }) })
    } catch (error) {
      // Anything else is the caller's own mistake, in `command`.
      if (job) this.#results.set(index, { item, index, error: error as Error })
      else this.#stop(error)
    }
    if (job) this.#running.delete(job)
    placed()
    this.#change()
  }

  #stop(error: unknown): void {
    this.#failure ??= { error }
    this.#isStopped = true
    this.#change()
  }

  #change(): void {
    this.#changed.resolve()
    this.#changed = Promise.withResolvers()
  }
}
