/** Drives the core: gives it time, samples and messages, and carries out what it wants done. */

import type { PeerCore } from '../core/peer-core.ts'
import type {
  Effect,
  MachineSample,
  OverlayMessage,
  PeerId,
  PlacedThere,
  PlacementTrace,
  PlaceRequest
} from '../core/types.ts'

export interface CoreHost {
  /** ms of a clock that counts suspend. */
  now(): number
  send(to: PeerId, message: OverlayMessage): void
  sample(): MachineSample
  /** A home that is no neighbour may connect on its own, or no longer. */
  admit(home: PeerId, admitted: boolean): void
}

/** What came of `place`. */
export type Placement =
  | { where: 'here'; reason: string; trace: PlacementTrace }
  | Omit<PlacedThere, 'type' | 'jobId'>
  | { where: 'nowhere'; trace: PlacementTrace }

interface Waiter {
  decided(placement: Placement): void
  queued(position: number): void
}

/** A sample is taken this often while something is going on; else the core's own timers ask for it. */
const SAMPLE_MS = 1_000
/** A timer that is due for longer has slept. */
const LATE_MS = 100

export class CoreDriver {
  readonly core: PeerCore
  readonly #host: CoreHost
  /** Jobs that are being placed; bounded by the clients. */
  readonly #waiters = new Map<string, Waiter>()
  #timer: NodeJS.Timeout | undefined
  #timerAt = Number.POSITIVE_INFINITY
  #sampler: NodeJS.Timeout

  constructor(core: PeerCore, host: CoreHost) {
    this.core = core
    this.#host = host
    this.#sampler = setInterval(() => this.sample(), SAMPLE_MS)
    this.sample()
  }

  get now(): number {
    return this.#host.now()
  }

  sample(): void {
    this.perform(this.core.handleSample(this.#host.sample(), this.now))
    // The timer stands still while the machine sleeps; this clock doesn't.
    const due = this.core.nextTimer()
    if (due !== undefined && due < this.now - LATE_MS) this.perform(this.core.handleTimer(this.now))
  }

  place(jobId: string, request: PlaceRequest, queued: (position: number) => void): Promise<Placement> {
    return new Promise((resolve) => {
      this.#waiters.set(jobId, { decided: resolve, queued })
      this.perform(this.core.place(jobId, request, this.now))
    })
  }

  cancel(jobId: string): void {
    this.#waiters.delete(jobId)
    this.perform(this.core.cancel(jobId, this.now))
  }

  perform(effects: Effect[]): void {
    for (const effect of effects) this.#carryOut(effect)
    this.#schedule()
  }

  stop(): void {
    clearInterval(this.#sampler)
    clearTimeout(this.#timer)
    this.#timerAt = Number.NEGATIVE_INFINITY
  }

  #carryOut(effect: Effect): void {
    if (effect.type === 'send') this.#host.send(effect.to, effect.message)
    else if (effect.type === 'sample') this.sample()
    else if (effect.type === 'admit' || effect.type === 'dismiss')
      this.#host.admit(effect.home, effect.type === 'admit')
    else {
      const waiter = this.#waiters.get(effect.jobId)
      if (effect.type === 'queued') {
        waiter?.queued(effect.position)
        return
      }
      this.#waiters.delete(effect.jobId)
      if (effect.type === 'unplaceable') waiter?.decided({ where: 'nowhere', trace: effect.trace })
      else {
        const { type: _, jobId: __, ...placement } = effect
        waiter?.decided(placement)
      }
    }
  }

  #schedule(): void {
    const due = this.core.nextTimer()
    if (due === undefined || due >= this.#timerAt) return
    clearTimeout(this.#timer)
    this.#timerAt = due
    this.#timer = setTimeout(
      () => {
        this.#timerAt = Number.POSITIVE_INFINITY
        this.perform(this.core.handleTimer(this.now))
      },
      Math.max(0, due - this.now)
    )
  }
}
