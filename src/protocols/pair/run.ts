/** Drives one session over its channel: messages, people, deadlines and the store, one thing after the other. */

import { isKappaError } from '../../errors.ts'
import type { PairChannel } from './channel.ts'
import type { AbortCode, PairMessage } from './codec.ts'
import type { FailureCode, PairingSession, SessionEffect } from './session.ts'

export type SessionResult = { ok: true } | { ok: false; code: FailureCode; by: 'here' | 'there' }

/** What a person's answer means to the session. */
export type Answer = () => SessionEffect[]

export interface RunInit {
  session: PairingSession
  channel: PairChannel
  /** The joiner's first effects, or what the opener makes of the first message. */
  first: SessionEffect[]
  /** Resolves when it is safe on the disk. What it throws ends the session and the run. */
  store(state: 'none' | 'pending' | 'paired'): Promise<void>
  /** Shows something to people, and gives their answer where one is asked for. What it throws ends the session and the run. */
  show(effect: SessionEffect, signal: AbortSignal): Promise<Answer | undefined>
  /** A person here takes it back. */
  signal: AbortSignal
  /** How long people may take from now on, ms. */
  peopleMs: number
  /** How long the other machine may take for its next step, ms. */
  progressMs: number
}

/** Runs until the session is over. Throws what `store` or `show` threw, after telling the other side. */
export async function runSession(init: RunInit): Promise<SessionResult> {
  return await new Run(init).finish()
}

class Run {
  readonly #init: RunInit
  readonly #over = Promise.withResolvers<SessionResult>()
  /** Ends what people were asked when the session is over. */
  readonly #asking = new AbortController()
  #turn: Promise<void> = Promise.resolve()
  #silence: NodeJS.Timeout | undefined
  #peopleAreLate = false
  #thrown: { error: unknown } | undefined

  constructor(init: RunInit) {
    this.#init = init
  }

  async finish(): Promise<SessionResult> {
    const { session, signal, peopleMs, first } = this.#init
    const cancelled = () => void this.#take(() => session.cancel('cancelled'))
    const late = setTimeout(() => {
      this.#peopleAreLate = true
      void this.#take(() => [])
    }, peopleMs)
    signal.addEventListener('abort', cancelled, { once: true })
    void this.#take(() => first)
    if (signal.aborted) cancelled()
    void this.#pump()
    try {
      return await this.#over.promise
    } finally {
      clearTimeout(late)
      clearTimeout(this.#silence)
      signal.removeEventListener('abort', cancelled)
      this.#asking.abort()
    }
  }

  async #pump(): Promise<void> {
    const { session, channel } = this.#init
    while (!session.isOver) {
      let input: Answer
      try {
        const message = await channel.receive()
        input = () => (message === undefined ? session.lost() : session.receive(message))
      } catch (error) {
        const malformed = isKappaError(error) && error.name === 'ProtocolError'
        input = () => (malformed ? session.cancel('protocol') : session.lost())
      }
      await this.#take(input)
    }
  }

  /** Lets one thing happen after those before it. */
  #take(input: Answer): Promise<void> {
    this.#turn = this.#turn.then(() => this.#carryOut(input()))
    return this.#turn
  }

  async #carryOut(effects: SessionEffect[]): Promise<void> {
    clearTimeout(this.#silence)
    for (const effect of effects) {
      if (effect.type === 'send') this.#send(effect.message)
      else if (effect.type === 'done') this.#settle({ ok: true })
      else if (effect.type === 'failed') this.#settle({ ok: false, code: effect.code, by: effect.by })
      else if (effect.type !== 'store') this.#show(effect)
      else if (!(await this.#store(effect.state)) && effect.state !== 'none') {
        // What was to follow is only true of what is stored.
        await this.#carryOut(this.#init.session.notStored(effect.state))
        return
      }
    }
    this.#armSilence()
  }

  #send(message: PairMessage): void {
    try {
      this.#init.channel.send(message)
    } catch {
      // The stream is gone, which the pump sees too: the session learns it there, in its turn.
    }
  }

  async #store(state: 'none' | 'pending' | 'paired'): Promise<boolean> {
    try {
      await this.#init.store(state)
      return true
    } catch (error) {
      this.#thrown ??= { error }
      return false
    }
  }

  #show(effect: SessionEffect): void {
    this.#init.show(effect, this.#asking.signal).then(
      (answer) => (answer === undefined ? undefined : this.#take(answer)),
      (error) =>
        this.#take(() => {
          if (this.#init.session.isOver) return []
          this.#thrown ??= { error }
          return this.#init.session.cancel('cancelled')
        })
    )
  }

  #armSilence(): void {
    const { session, progressMs } = this.#init
    if (session.isOver) return
    const cancel = (code: AbortCode) => void this.#take(() => session.cancel(code))
    if (!session.waitsForPerson) this.#silence = setTimeout(cancel, progressMs, 'timeout')
    else if (this.#peopleAreLate) cancel('timeout')
  }

  #settle(result: SessionResult): void {
    if (this.#thrown === undefined) this.#over.resolve(result)
    else this.#over.reject(this.#thrown.error)
  }
}
