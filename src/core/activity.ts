/** Whether jobs come and go anywhere within hearing: the overlay wakes and rests as one. */

const IDLE_AFTER_MS = 5 * 60_000

export class Activity {
  /** When a job was last seen here or heard of. */
  #at = Number.NEGATIVE_INFINITY

  /** Somewhere a job was seen at that time, ≤ now. True when a rest ended by that. */
  heardOfJob(at: number, now: number): boolean {
    if (at <= this.#at) return false
    const rested = this.rests(now)
    this.#at = at
    return rested && !this.rests(now)
  }

  rests(now: number): boolean {
    return now - this.#at >= IDLE_AFTER_MS
  }

  /** ms since a job was last heard of anywhere, at most that of a rest. */
  idleMs(now: number): number {
    return Math.min(IDLE_AFTER_MS, Math.max(0, now - this.#at))
  }
}
