/**
 * Pairing by invitation: both sides prove that they know the link's secret, over the channel whose ends Noise has
 * authenticated; the secret itself never travels. The proofs cover both IDs and nonces, so none is good elsewhere.
 *
 *     joiner   invitation(nonce) →                 opener
 *                                  ← invitation(nonce)
 *              proof →                             burns the secret
 *                                  ← proof
 *              paired →
 *                                  ← paired
 */

import type { PairMessage, PairMessageOf } from './codec.ts'
import type { Role } from './numbers.ts'
import { isProof, proofOf } from './numbers.ts'
import { PairingSession, type SessionEffect, type SessionInit } from './session.ts'

export interface InvitationSessionInit extends SessionInit {
  secret: Uint8Array
}

export class InvitationSession extends PairingSession {
  readonly #secret: Uint8Array
  readonly waitsForPerson = false

  constructor(role: Role, init: InvitationSessionInit) {
    super(role, init)
    this.#secret = init.secret
  }

  /** Joiner: begins. */
  start(): SessionEffect[] {
    return [this.#sendHello()]
  }

  protected step(message: PairMessage): SessionEffect[] | undefined {
    if (message.type === 'invitation') return this.peer === undefined ? this.#greeted(message) : undefined
    if (message.type === 'proof') return this.peer === undefined ? undefined : this.#proven(message)
    return undefined
  }

  #greeted({ name, kind, addresses, nonce }: PairMessageOf<'invitation'>): SessionEffect[] {
    this.peer = { peerId: this.peerId, name, kind, addresses, nonce }
    const greeted: SessionEffect = { type: 'greeted', name, kind }
    return this.role === 'opener' ? [greeted, this.#sendHello()] : [greeted, ...this.agree(this.#proof())]
  }

  #proven({ mac }: PairMessageOf<'proof'>): SessionEffect[] {
    const { opener, joiner } = this.parties
    const right = isProof(mac, this.#secret, this.role === 'opener' ? 'joiner' : 'opener', opener, joiner)
    if (this.role === 'joiner') return right ? this.decide() : this.cancel('burnt')
    return [{ type: 'burnt' }, ...(right ? this.vote(this.#proof()) : this.cancel('burnt'))]
  }

  #proof(): PairMessage {
    const { opener, joiner } = this.parties
    return { type: 'proof', mac: proofOf(this.#secret, this.role, opener, joiner) }
  }

  #sendHello(): SessionEffect {
    const { name, kind, addresses, nonce } = this.self
    return { type: 'send', message: { type: 'invitation', name, kind, addresses, nonce } }
  }
}
