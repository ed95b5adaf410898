/** Requests that a handler has promised to answer: their deadlines, interruption and number. */

import { LockRequest, RenameRequest, type Request } from './requests.ts'

interface Waiting {
  readonly request: Request
  /** By the clock of `now`. */
  readonly deadlineMs: number
  /** Once for each notification that waits for the answer: the notifier bounds these. */
  readonly onAnswered: (() => void)[]
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
    this.#waiting.set(id, { request, deadlineMs: performance.now() + this.#limitMs, onAnswered: [] })
    // A sixteenth late at most, and rarely run at all.
    this.#timer ??= setInterval(() => this.#expire(), Math.max(10, this.#limitMs / 16)).unref()
  }

  /** False: it was answered before, as when its deadline passed. */
  remove(request: Request): boolean {
    const id = idOf(request.uniqueLow, request.uniqueHigh)
    const waiting = this.#waiting.get(id)
    if (waiting === undefined) return this.#endless.delete(id)
    this.#waiting.delete(id)
    answered(waiting)
    return true
  }

  /** Resolves when all requests about the node that wait now have been answered; undefined: there are none. */
  answers(nodeid: number): Promise<void> | undefined {
    const about = [...this.#waiting.values()].filter(({ request }) => isAbout(request, nodeid))
    if (about.length === 0) return undefined
    let left = about.length
    return new Promise((resolve) => {
      const one = () => --left === 0 && resolve()
      for (const { onAnswered } of about) onAnswered.push(one)
    })
  }

  find(low: number, high: number): Request | undefined {
    const id = idOf(low, high)
    return this.#waiting.get(id)?.request ?? this.#endless.get(id)
  }

  /** Takes all out: nothing waits any more. */
  clear(): Request[] {
    clearInterval(this.#timer)
    this.#timer = undefined
    const waiting = [...this.#waiting.values()]
    const all = waiting.map(({ request }) => request).concat([...this.#endless.values()])
    this.#waiting.clear()
    this.#endless.clear()
    for (const one of waiting) answered(one)
    return all
  }

  #expire(): void {
    const now = performance.now()
    for (const [id, waiting] of this.#waiting) {
      if (waiting.deadlineMs > now) break
      this.#waiting.delete(id)
      this.#onLate(waiting.request)
      answered(waiting)
    }
    if (this.#waiting.size === 0) {
      clearInterval(this.#timer)
      this.#timer = undefined
    }
  }
}

/** The answer is written in the same turn of the event loop in which it is told, and so before what waited for it. */
function answered(waiting: Waiting): void {
  for (const tell of waiting.onAnswered) tell()
}

/** A rename is about two directories. For a lock the kernel holds nothing of its own, and its handler may wait for notes. */
function isAbout(request: Request, nodeid: number): boolean {
  if (request instanceof LockRequest) return false
  return request.nodeid === nodeid || (request instanceof RenameRequest && request.newParent === nodeid)
}

/** The kernel counts its requests from 1 on: exact for the next 2^53. */
function idOf(low: number, high: number): number {
  return high * 0x1_0000_0000 + low
}
