/** Requests that a handler has promised to answer: their deadlines, interruption and number. */

import type { Request } from './requests.ts'

interface Waiting {
  readonly request: Request
  /** By the clock of `now`. */
  readonly deadlineMs: number
}

/**
 * All have the same time, so that they are over in the order in which they came: one timer looks at the oldest only. The
 * session bounds their number.
 */
export class Pending {
  readonly #limitMs: number
  readonly #onLate: (request: Request) => void
  readonly #waiting = new Map<number, Waiting>()
  /** Locks may be waited for without end. */
  readonly #endless = new Map<number, Request>()
  #timer: NodeJS.Timeout | undefined

  constructor(limitMs: number, onLate: (request: Request) => void) {
    this.#limitMs = limitMs
    this.#onLate = onLate
  }

  /** Those with a deadline. */
  get size(): number {
    return this.#waiting.size
  }

  get endless(): number {
    return this.#endless.size
  }

  add(request: Request, isEndless: boolean): void {
    const id = idOf(request.uniqueLow, request.uniqueHigh)
    if (isEndless) {
      this.#endless.set(id, request)
      return
    }
    this.#waiting.set(id, { request, deadlineMs: performance.now() + this.#limitMs })
    // A sixteenth late at most, and rarely run at all.
    this.#timer ??= setInterval(() => this.#expire(), Math.max(10, this.#limitMs / 16)).unref()
  }

  /** False: it was answered before, as when its deadline passed. */
  remove(request: Request): boolean {
    const id = idOf(request.uniqueLow, request.uniqueHigh)
    return this.#waiting.delete(id) || this.#endless.delete(id)
  }

  find(low: number, high: number): Request | undefined {
    const id = idOf(low, high)
    return this.#waiting.get(id)?.request ?? this.#endless.get(id)
  }

  /** Takes all out: nothing waits any more. */
  clear(): Request[] {
    clearInterval(this.#timer)
    this.#timer = undefined
    const all = [...this.#waiting.values()].map(({ request }) => request).concat([...this.#endless.values()])
    this.#waiting.clear()
    this.#endless.clear()
    return all
  }

  #expire(): void {
    const now = performance.now()
    for (const [id, { request, deadlineMs }] of this.#waiting) {
      if (deadlineMs > now) break
      this.#waiting.delete(id)
      this.#onLate(request)
    }
    if (this.#waiting.size === 0) {
      clearInterval(this.#timer)
      this.#timer = undefined
    }
  }
}

/** The kernel counts its requests from 1 on: exact for the next 2^53. */
function idOf(low: number, high: number): number {
  return high * 0x1_0000_0000 + low
}
