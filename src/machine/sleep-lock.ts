/**
 * A lock of logind that delays or forbids that the machine goes to sleep: held by a child, since logind gives it as a
 * descriptor and Node can't receive one. The child lives until this process closes its stdin, by intent or by dying.
 */

import { type ChildProcess, spawn } from 'node:child_process'

export interface SleepLockInit {
  /** `what` and `mode` of systemd-inhibit, the best first: the next is for where this is refused. */
  ways: readonly { what: string; mode: string }[]
  /** For people who ask what keeps their machine awake. */
  why: string
  /** It can't be had, by whatever way; the reason. Not tried again. */
  onFailure(reason: string): void
}

/** A reason is a line. */
const REASON_LENGTH_MAX = 500

export class SleepLock {
  readonly #init: SleepLockInit
  #way = 0
  #child: ChildProcess | undefined
  #wanted = false

  constructor(init: SleepLockInit) {
    this.#init = init
  }

  /** Takes it, or has it already; it is held a moment later. */
  take(): void {
    this.#wanted = true
    if (this.#child === undefined) this.#try('')
  }

  release(): void {
    this.#wanted = false
    this.#child?.stdin?.end()
    this.#child = undefined
  }

  #try(reason: string): void {
    const way = this.#init.ways[this.#way]
    if (way === undefined) {
      if (reason !== '') this.#init.onFailure(reason)
      return
    }
    const options = [`--what=${way.what}`, `--mode=${way.mode}`, '--who=kappa', `--why=${this.#init.why}`]
    const child = spawn('systemd-inhibit', [...options, 'cat'], { cwd: '/', stdio: 'pipe' })
    this.#child = child
    let said = ''
    let held = false
    child.stdin.on('error', () => undefined)
    // It runs cat when it has the lock, and that says again what it is told.
    child.stdin.write('\n')
    child.stdout.on('data', () => (held = true))
    child.stderr.on('data', (bytes) => (said = (said + bytes).slice(-REASON_LENGTH_MAX)))
    child.on('error', (error) => (said = error.message))
    child.on('close', () => {
      if (this.#child !== child) return
      this.#child = undefined
      if (!this.#wanted || held) return
      this.#way++
      this.#try(said.trim() || 'systemd-inhibit ended')
    })
  }
}
