/** The time in which a person has pairing open here, in one of the two ways. */

import type { PairingKind, PeerId } from '../../core/types.ts'
import { KappaError } from '../../errors.ts'
import type { Gater } from '../../network/gater.ts'
import type { Pairing } from '../../network/pairing.ts'
import { TRIES_PER_WINDOW } from './constants.ts'

/** The machine on the other side, as shown to people. */
export interface Other {
  peerId: PeerId
  /** As it says, fit to be shown. */
  name: string
  /** What it will show and lend to this machine. */
  kind: PairingKind
}

/** What happens while `openByNumbers` waits, for a person to see. */
export type NumbersEvent =
  /** `name` is what to give to `kappa pair` on the other machine. */
  | { type: 'waiting'; name: string; forMs: number }
  /** A machine started a try; so many more may. */
  | ({ type: 'try'; number: number; left: number } & Other)
  /** To be typed on that machine. */
  | { type: 'digits'; digits: string; name: string }
  /** It says that the right digits were typed there; `confirm` is called next. */
  | { type: 'matched'; name: string }
  | { type: 'paired'; pairing: Pairing }
  | { type: 'failed'; reason: string; left: number }

/** By numbers, people are shown and asked things; an invitation speaks for itself. */
export type Way =
  | {
      method: 'numbers'
      onEvent: (event: NumbersEvent) => void
      confirm: (other: Other, signal: AbortSignal) => Promise<boolean>
    }
  | { method: 'invitation'; secret: Uint8Array }

export interface WindowInit {
  way: Way
  /** What this machine will show and lend to the other. */
  kind: PairingKind
  openMs: number
  /** A person takes it back. */
  signal: AbortSignal
  gater: Gater
}

export class PairingWindow {
  readonly init: WindowInit
  readonly signal: AbortSignal
  readonly #result = Promise.withResolvers<Pairing>()
  readonly #endsAt: number
  #tries = 0
  /** The try that is going on, until its last word is sent. */
  #serving: Promise<void> | undefined
  #isOver = false
  #isExpired = false

  constructor(init: WindowInit) {
    this.init = init
    this.signal = init.signal
    this.#endsAt = performance.now() + init.openMs
  }

  /** Strangers may come in until this settles. Throws PairingError, InvitationError, StateError and the signal's reason. */
  async wait(): Promise<Pairing> {
    const gate = this.init.gater.openPairing()
    // While a try goes on its own end decides.
    const end = () => {
      if (this.#serving === undefined) this.#endIfDue()
    }
    const expiry = setTimeout(() => {
      this.#isExpired = true
      end()
    }, this.init.openMs)
    this.signal.addEventListener('abort', end, { once: true })
    end()
    try {
      return await this.#result.promise
    } finally {
      this.#isOver = true
      clearTimeout(expiry)
      this.signal.removeEventListener('abort', end)
      await this.#serving
      gate.close()
    }
  }

  get isOver(): boolean {
    return this.#isOver
  }

  get leftMs(): number {
    return Math.max(0, this.#endsAt - performance.now())
  }

  get triesLeft(): number {
    return TRIES_PER_WINDOW - this.#tries
  }

  /** Counts a try; its number. */
  countTry(): number {
    return ++this.#tries
  }

  /** `work` is one try, up to its last word; what it throws ends the window. */
  async serve(work: () => Promise<void>): Promise<void> {
    this.#serving = work()
      .catch((error) => this.fail(error))
      .finally(() => {
        this.#serving = undefined
        this.#endIfDue()
      })
    await this.#serving
  }

  succeed(pairing: Pairing): void {
    this.#isOver = true
    this.#result.resolve(pairing)
  }

  fail(error: unknown): void {
    this.#isOver = true
    this.#result.reject(error)
  }

  #endIfDue(): void {
    if (this.#isOver) return
    if (this.signal.aborted) this.fail(this.signal.reason)
    else if (this.#isExpired) this.fail(this.#expired())
  }

  #expired(): KappaError {
    const minutes = Math.round(this.init.openMs / 60_000)
    return this.init.way.method === 'numbers'
      ? new KappaError('PairingError', `nobody paired within ${minutes} minutes; start again with: kappa pair`)
      : new KappaError(
          'InvitationError',
          `nobody used the invitation within ${minutes} minutes; make a new one with: kappa pair --invite`
        )
  }
}
