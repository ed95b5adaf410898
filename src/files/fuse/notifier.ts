/**
 * Tells the kernel what it must forget, from a thread of its own: the kernel takes the lock of the inode or page that is
 * meant, and whoever holds it may be waiting for an answer of the thread that handles requests.
 */

import { Worker } from 'node:worker_threads'
import { KappaError } from '../../errors.ts'

/** Notifications that wait or are being written, at most. */
const MAX_WAITING = 65_536

/**
 * The thread, as text: so it needs no file of its own in a bundle. Some errors are as good as success: there is nothing to
 * forget (ENOENT, ENOTDIR), a directory that is gone at home has children in use here (ENOTEMPTY, EBUSY), the mount ended.
 */
const WRITER = `
const { parentPort, workerData } = require('node:worker_threads')
const { writeSync } = require('node:fs')
parentPort.on('message', (frames) => {
  let failure
  for (const frame of frames) {
    try {
      writeSync(workerData, frame)
    } catch (error) {
      if (!['ENOENT', 'ENOTDIR', 'ENOTEMPTY', 'EBUSY', 'ENODEV'].includes(error.code)) failure = error.message
    }
  }
  parentPort.postMessage(failure)
})
`

interface Batch {
  frames: Buffer[]
  written: PromiseWithResolvers<void>
}

export class Notifier {
  readonly #descriptor: number
  #worker: Worker | undefined
  /** What goes with the next message; its frames, those of `#sent` and those that wait for others are at most MAX_WAITING. */
  #next: Batch | undefined
  /** Oldest first. */
  readonly #sent: Batch[] = []
  #waiting = 0
  #isClosed = false

  constructor(descriptor: number) {
    this.#descriptor = descriptor
  }

  /**
   * Resolves when the kernel has taken it, which it gets when `after` has resolved. What is asked for in one turn of the
   * event loop goes together. Rejects with
   * KappaError LimitError when too many wait, as behind a request that is not answered, and with Error when the kernel
   * refuses it; nobody need handle that. The end of the mount resolves it: nothing is cached then.
   */
  send(frame: Buffer, after?: Promise<void>): Promise<void> {
    if (this.#isClosed) return Promise.resolve()
    if (this.#waiting >= MAX_WAITING) {
      const what = `${MAX_WAITING} changes of files wait for the kernel of this machine: end the job that doesn't answer`
      return Promise.reject(new KappaError('LimitError', what))
    }
    this.#waiting++
    return after === undefined ? this.#queue(frame) : after.then(() => this.#queue(frame))
  }

  #queue(frame: Buffer): Promise<void> {
    if (this.#isClosed) return Promise.resolve()
    if (this.#next === undefined) {
      this.#next = { frames: [], written: Promise.withResolvers() }
      this.#next.written.promise.catch(() => {})
      setImmediate(() => this.#post())
    }
    this.#next.frames.push(frame)
    return this.#next.written.promise
  }

  #post(): void {
    const batch = this.#next
    this.#next = undefined
    if (batch === undefined || this.#isClosed) return
    this.#worker ??= this.#start()
    this.#sent.push(batch)
    this.#worker.postMessage(batch.frames)
  }

  #start(): Worker {
    const worker = new Worker(WRITER, { eval: true, workerData: this.#descriptor, name: 'kappa-notify', execArgv: [] })
    worker.unref()
    worker.on('message', (failure: string | undefined) => this.#written(failure))
    worker.on('error', (error) => this.#written(error.message))
    return worker
  }

  #written(failure: string | undefined): void {
    const batch = this.#sent.shift()
    if (batch === undefined) return
    this.#waiting -= batch.frames.length
    if (failure === undefined) batch.written.resolve()
    else batch.written.reject(new Error(`the kernel refused a notification: ${failure}`))
  }

  /**
   * Resolves what waits, and then itself: after that nothing is written any more, and the descriptor may be closed (before,
   * the thread might write to another file of the same number). It takes until the kernel lets go of the thread: whoever
   * calls this goes on answering requests.
   */
  async close(): Promise<void> {
    this.#isClosed = true
    await this.#sent.at(-1)?.written.promise.catch(() => {})
    await this.#worker?.terminate()
    this.#next?.written.resolve()
    this.#next = undefined
  }
}
