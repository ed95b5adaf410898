/** Tokens that come at a steady rate and are saved up to a bound. */
export class TokenBucket {
  readonly #perMs: number
  readonly #burst: number
  #tokens: number
  #at: number

  /** Full at `now`, ms. */
  constructor(init: { perSecond: number; burst: number }, now: number) {
    this.#perMs = init.perSecond / 1000
    this.#burst = init.burst
    this.#tokens = init.burst
    this.#at = now
  }

  /** False when there aren't so many; none is taken then. */
  take(tokens: number, now: number): boolean {
    this.#tokens = Math.min(this.#burst, this.#tokens + Math.max(0, now - this.#at) * this.#perMs)
    this.#at = now
    if (this.#tokens < tokens) return false
    this.#tokens -= tokens
    return true
  }
}
