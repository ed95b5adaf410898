/** The one clock of a simulation, and what is to happen when. What is due at the same time happens in the order in which it was asked for. */

import { Heap } from './heap.ts'

interface Event {
  at: number
  order: number
  run: () => void
}

export class VirtualTime {
  /** ms since the start. */
  now = 0
  /** Events that have happened. */
  happened = 0
  #order = 0
  readonly #events = new Heap<Event>((a, b) => a.at < b.at || (a.at === b.at && a.order < b.order))

  /** Events that are still to come. */
  get pending(): number {
    return this.#events.size
  }

  /** What should have happened already happens next. */
  at(time: number, run: () => void): void {
    this.#events.push({ at: Math.max(time, this.now), order: this.#order++, run })
  }

  after(ms: number, run: () => void): void {
    this.at(this.now + ms, run)
  }

  /** Until that time, or until nothing is to happen any more, or `done` says that it is enough. */
  runUntil(time: number, done: () => boolean = () => false): void {
    for (;;) {
      const next = this.#events.peek()
      if (next === undefined || next.at > time) break
      this.#events.pop()
      this.now = next.at
      this.happened++
      next.run()
      if (done()) return
    }
    this.now = Math.max(this.now, time)
  }
}
