/** `--timeout` of a job that runs here. Loaded only when there is one. */

import { uptime } from 'node:os'
import { send, treeOf } from '../execution/process.ts'
import { KILL_AFTER_MS } from '../protocols/exec/constants.ts'

const SIGKILL = 9
const SIGTERM = 15
const SIGCONT = 18
/** Timers stand still while the machine sleeps: the clock is looked at this often. */
const LOOK_MS = 500

/**
 * Ends a child of this process, and what it started, when `ms` have passed: TERM, and KILL if the child still lives then. The
 * time counts suspend.
 */
export class TimeLimit {
  /** It was over before the child was. */
  over = false
  readonly #child: number
  #at: number
  #timer: NodeJS.Timeout | undefined

  constructor(child: number, ms: number) {
    this.#child = child
    this.#at = uptime() * 1_000 + ms
    this.#look()
  }

  /** The child has ended. */
  stop(): void {
    clearTimeout(this.#timer)
  }

  #look(): void {
    const left = this.#at - uptime() * 1_000
    if (left > 0) {
      this.#timer = setTimeout(() => this.#look(), Math.min(left, LOOK_MS))
      return
    }
    // A stopped one must be woken to get it.
    for (const signal of this.over ? [SIGKILL] : [SIGTERM, SIGCONT]) {
      for (const pid of treeOf(this.#child)) send(pid, signal)
    }
    if (this.over) return
    this.over = true
    this.#at += KILL_AFTER_MS - left
    this.#look()
  }
}
