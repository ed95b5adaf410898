/** The beat of the policies that tell in rounds: each second while jobs come and go, else every ten. */

import type { Activity } from '../activity.ts'

/** "All-to-all broadcast performed every second" (Kačer and Tvrdík); MOSIX gossips as often. */
const ROUND_MS = 1_000
const IDLE_ROUND_MS = 10_000

export class Round {
  readonly #activity: Activity
  /** Undefined before the first one. */
  #endsAt: number | undefined

  constructor(activity: Activity) {
    this.#activity = activity
  }

  periodMs(now: number): number {
    return this.#activity.rests(now) ? IDLE_ROUND_MS : ROUND_MS
  }

  /** The next one begins at once. */
  hasten(now: number): void {
    if (this.#endsAt !== undefined) this.#endsAt = Math.min(this.#endsAt, now)
  }

  /** True when a round begins now. */
  begins(now: number): boolean {
    if (this.#endsAt !== undefined && now < this.#endsAt) return false
    this.#endsAt = now + this.periodMs(now)
    return true
  }

  nextTimer(): number | undefined {
    return this.#endsAt
  }
}
