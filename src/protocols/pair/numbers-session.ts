/**
 * Pairing by comparing numbers. Each side commits to a nonce before either opens one, so neither can choose its nonce
 * to make the digits come out as it likes: somebody in between has one guess in a million, and is seen.
 *
 *     joiner   numbers(commitment) →            opener
 *                                  ← numbers(commitment)
 *              open(nonce) →
 *                                  ← open(nonce)          shows the digits
 *     its person types them
 *              matched →                                  its person confirms
 *                                  ← confirm
 *              paired →
 *                                  ← paired
 */

import type { PairMessage, PairMessageOf } from './codec.ts'
import { commitmentOf, digitsOf, opensCommitment } from './numbers.ts'
import { PairingSession, type SessionEffect } from './session.ts'

type Step = 'greeting' | 'opening' | 'typing' | 'confirming' | 'waiting'

export class NumbersSession extends PairingSession {
  #step: Step = 'greeting'
  /** What the other side said and promised in its first message. */
  #hello: PairMessageOf<'numbers'> | undefined

  get waitsForPerson(): boolean {
    return !this.isConfirmed && (this.#step === 'typing' || this.#step === 'confirming' || this.#step === 'waiting')
  }

  /** Joiner: begins. */
  start(): SessionEffect[] {
    return [this.#sendHello()]
  }

  /** Joiner: a person typed these; anything but digits in it is ignored. */
  typed(text: string): SessionEffect[] {
    if (this.#step !== 'typing' || this.isOver) return []
    const { opener, joiner } = this.parties
    if (text.replaceAll(/\D/g, '') !== digitsOf(opener, joiner)) return this.cancel('mismatch')
    this.#step = 'waiting'
    return [...this.agree({ type: 'matched' }), { type: 'matched' }]
  }

  /** Opener: a person answered whether the other machine shows `matched`. */
  confirmed(yes: boolean): SessionEffect[] {
    if (this.#step !== 'confirming' || this.isOver || this.isConfirmed) return []
    return yes ? this.vote({ type: 'confirm' }) : this.cancel('declined')
  }

  protected step(message: PairMessage): SessionEffect[] | undefined {
    switch (message.type) {
      case 'numbers':
        return this.#step === 'greeting' ? this.#greeted(message) : undefined
      case 'open':
        return this.#step === 'opening' ? this.#opened(message) : undefined
      case 'matched':
        if (this.role !== 'opener' || this.#step !== 'waiting') return undefined
        this.#step = 'confirming'
        return [{ type: 'matched' }]
      case 'confirm':
        return this.role === 'joiner' && this.#step === 'waiting' ? this.decide() : undefined
      default:
        return undefined
    }
  }

  #greeted(hello: PairMessageOf<'numbers'>): SessionEffect[] {
    this.#hello = hello
    this.#step = 'opening'
    // The joiner has committed already; only the opener's commitment makes it open.
    const answer = this.role === 'opener' ? this.#sendHello() : this.#sendOpen()
    return [{ type: 'greeted', name: hello.name, kind: hello.kind }, answer]
  }

  #opened({ nonce }: PairMessageOf<'open'>): SessionEffect[] | undefined {
    const hello = this.#hello
    const peerRole = this.role === 'opener' ? 'joiner' : 'opener'
    if (hello === undefined || !opensCommitment(hello.commitment, peerRole, this.peerId, nonce)) return undefined
    this.peer = { peerId: this.peerId, name: hello.name, kind: hello.kind, addresses: hello.addresses, nonce }
    if (this.role === 'joiner') {
      this.#step = 'typing'
      return [{ type: 'ask-digits' }]
    }
    this.#step = 'waiting'
    const { opener, joiner } = this.parties
    return [this.#sendOpen(), { type: 'show-digits', digits: digitsOf(opener, joiner) }]
  }

  #sendHello(): SessionEffect {
    const { peerId, name, kind, addresses, nonce } = this.self
    const commitment = commitmentOf(this.role, peerId, nonce)
    return { type: 'send', message: { type: 'numbers', name, kind, addresses, commitment } }
  }

  #sendOpen(): SessionEffect {
    return { type: 'send', message: { type: 'open', nonce: this.self.nonce } }
  }
}
