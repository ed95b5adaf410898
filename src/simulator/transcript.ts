/** What happened, as a hash over all of it and the last of it in words. */

import type { VirtualTime } from './virtual-time.ts'

/** Events that are told when something fails. */
const KEPT = 60

export class Transcript {
  readonly #time: VirtualTime
  #hash = 0x811c9dc5
  #count = 0
  /** The last KEPT events, in a ring. */
  readonly #last: { at: number; what: string; who: string; other: string }[] = []

  constructor(time: VirtualTime) {
    this.#time = time
  }

  /** The same for the same events at the same times, in hex. */
  get hash(): string {
    return (this.#hash >>> 0).toString(16).padStart(8, '0')
  }

  record(what: string, who: string, other = ''): void {
    this.routine(what, who, other)
    const at = this.#time.now
    const slot = this.#count++ % KEPT
    const event = this.#last[slot]
    if (event === undefined) this.#last[slot] = { at, what, who, other }
    else {
      event.at = at
      event.what = what
      event.who = who
      event.other = other
    }
  }

  /** What happens all the time: it counts, but would crowd out the rest. */
  routine(what: string, who: string, other: string): void {
    this.#mix(Math.floor(this.#time.now * 1_000))
    this.#mixText(what)
    this.#mixText(who)
    this.#mixText(other)
  }

  /** Oldest first, one line each. */
  last(): string[] {
    const start = this.#count > KEPT ? this.#count % KEPT : 0
    const inOrder = [...this.#last.slice(start), ...this.#last.slice(0, start)]
    return inOrder.map(({ at, what, who, other }) => `${at.toFixed(3)} ${who}${other && ` > ${other}`}: ${what}`)
  }

  #mix(value: number): void {
    this.#hash = Math.imul(this.#hash ^ value, 0x01000193)
  }

  #mixText(text: string): void {
    for (let index = 0; index < text.length; index++) this.#mix(text.charCodeAt(index))
  }
}
