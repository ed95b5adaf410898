/**
 * The machine's sleep, as logind announces it: targets are told before this machine sleeps, and it doesn't go to sleep of
 * itself while guests run. Without a system bus or logind nothing of this happens: leases are judged by the clock.
 */

import { SleepLock } from '../machine/sleep-lock.ts'
import { listenOnSystemBus } from '../machine/system-bus.ts'
import type { ExecHome } from '../protocols/exec/home.ts'
import type { Log } from './log.ts'

const LOGIND = {
  sender: 'org.freedesktop.login1',
  path: '/org/freedesktop/login1',
  interface: 'org.freedesktop.login1.Manager',
  member: 'PrepareForSleep'
}

/** Whether jobs live is looked at so often: those that are over sooner need no lock, which takes two processes. */
const CHECK_MS = 1_000
/** Jobs often follow each other: a lock is kept for so many looks without any. */
const LINGERING_CHECKS = 3
/** A machine that isn't asleep so long after it said so stays awake. Timers stand still while it sleeps. */
const FALL_ASLEEP_MS = 30_000
/** A bus that ended may come back. */
const LISTEN_AGAIN_MS = 30_000

/**
 * What the machine's owner decides comes first. A lid that is closed is not held up by such locks, unless logind.conf says
 * LidSwitchIgnoreInhibited=no. `block-weak`, from systemd 257 on, is what `block` was before: a user's own locks don't hold
 * up that user. Who isn't at the machine may often not forbid sleep, but that it counts as idle.
 */
const STAY_AWAKE = [
  { what: 'idle:sleep', mode: 'block-weak' },
  { what: 'idle:sleep', mode: 'block' },
  { what: 'idle', mode: 'block' }
]
const TELL_FIRST = [{ what: 'sleep', mode: 'delay' }]

export interface SleepInit {
  exec: Pick<ExecHome, 'leased' | 'hold' | 'awake'>
  /** Whether guests run here and may keep the machine awake. */
  guests(): boolean
  log: Log
}

export class Sleep {
  readonly #init: SleepInit
  readonly #tellFirst: LingeringLock
  readonly #stayAwake: LingeringLock
  #stopListening: () => void = () => undefined
  #timer: NodeJS.Timeout | undefined
  #listenAgain: NodeJS.Timeout | undefined
  #wakeTimer: NodeJS.Timeout | undefined
  #asleep = false

  constructor(init: SleepInit) {
    this.#init = init
    const lock = (ways: typeof STAY_AWAKE, why: string, without: string) => {
      const onFailure = (reason: string) => init.log.warn(`${without}: ${reason}`)
      return new LingeringLock(new SleepLock({ ways, why, onFailure }))
    }
    this.#tellFirst = lock(
      TELL_FIRST,
      'tells the machines where jobs of this one run',
      "this machine's sleep can't be delayed until the machines where its jobs run know of it"
    )
    this.#stayAwake = lock(
      STAY_AWAKE,
      'jobs of other machines run here (kappa config: guests.keep_awake)',
      'guests do not keep this machine awake'
    )
    this.#listen()
  }

  stop(): void {
    this.#stopListening()
    clearTimeout(this.#listenAgain)
    this.#pause()
  }

  #listen(): void {
    this.#stopListening = listenOnSystemBus(LOGIND, {
      onReady: () => {
        this.#timer = setInterval(() => this.#check(), CHECK_MS).unref()
      },
      onSignal: (sleeps) => void (sleeps ? this.#fallAsleep() : this.#wake()),
      onClose: () => {
        // Without one from the start there is none.
        if (this.#timer === undefined) return
        this.#pause()
        this.#listenAgain = setTimeout(() => this.#listen(), LISTEN_AGAIN_MS).unref()
      }
    })
  }

  #pause(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#wake()
    this.#tellFirst.release()
    this.#stayAwake.release()
  }

  #check(): void {
    if (this.#asleep) return
    this.#tellFirst.check(this.#init.exec.leased > 0)
    this.#stayAwake.check(this.#init.guests())
  }

  async #fallAsleep(): Promise<void> {
    this.#asleep = true
    clearTimeout(this.#wakeTimer)
    this.#wakeTimer = setTimeout(() => this.#wake(), FALL_ASLEEP_MS).unref()
    const { exec, log } = this.#init
    const jobs = exec.leased
    if (jobs > 0) log.info('this machine goes to sleep: the machines where its jobs run are told', { jobs })
    await exec.hold()
    this.#tellFirst.release()
  }

  #wake(): void {
    clearTimeout(this.#wakeTimer)
    if (!this.#asleep) return
    this.#asleep = false
    this.#init.exec.awake()
    this.#check()
  }
}

/** A lock that is kept for a while after it was last wanted. */
class LingeringLock {
  readonly #lock: SleepLock
  #checks = 0

  constructor(lock: SleepLock) {
    this.#lock = lock
  }

  check(wanted: boolean): void {
    if (wanted) {
      this.#checks = LINGERING_CHECKS
      this.#lock.take()
    } else if (this.#checks > 0 && --this.#checks === 0) this.#lock.release()
  }

  release(): void {
    this.#checks = 0
    this.#lock.release()
  }
}
