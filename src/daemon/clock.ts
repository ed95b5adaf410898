/** The daemon's one clock. */

import { uptime } from 'node:os'
import { performance } from 'node:perf_hooks'

/** How far the boot clock may be ahead of the monotonic one before it counts as a suspend, ms: its reading is coarse. */
const SUSPEND_MS_MIN = 100
/** The boot clock is read at most this often; it costs microseconds. */
const CHECK_MS = 5

/** Milliseconds that never go back and count suspend, which Node's own monotonic clock doesn't. */
export class SuspendClock {
  #offset = 0
  #checkedAt = Number.NEGATIVE_INFINITY
  #ahead: number
  readonly #monotonic: () => number
  readonly #boot: () => number

  constructor(monotonic: () => number = () => performance.now(), boot: () => number = () => uptime() * 1000) {
    this.#monotonic = monotonic
    this.#boot = boot
    this.#ahead = boot() - monotonic()
  }

  now(): number {
    const now = this.#monotonic()
    if (now - this.#checkedAt >= CHECK_MS) {
      this.#checkedAt = now
      const ahead = this.#boot() - now
      const slept = ahead - this.#ahead
      if (slept >= SUSPEND_MS_MIN) {
        this.#offset += slept
        this.#ahead = ahead
      }
    }
    return now + this.#offset
  }
}
