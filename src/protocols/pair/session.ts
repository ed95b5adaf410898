/**
 * One attempt to pair, seen from one side: sans I/O. It is told what arrived and what people did, and hands out what to
 * do, in order. What both ways of pairing share is the end: the *joiner* decides. The opener's confirmation is a vote
 * after which it is in doubt until it hears that the pairing stands, or that it doesn't. So a crash or a cut at any
 * point leaves `pending` pairings at worst, which the two settle when they meet again.
 */

import type { PairingKind, PeerId } from '../../core/types.ts'
import type { AbortCode, PairMessage } from './codec.ts'
import type { Party, Role } from './numbers.ts'

/** How a session failed: a word of either side, or what this side saw. */
export type FailureCode =
  | AbortCode
  /** The connection broke before this side had confirmed. */
  | 'lost'
  /** This side had confirmed and doesn't know how it ended there: settled when the two meet again. */
  | 'unsettled'

export type SessionEffect =
  | { type: 'send'; message: PairMessage }
  /** The other side said who it is. */
  | { type: 'greeted'; name: string; kind: PairingKind }
  /** Store before going on; `none` takes back what this session stored. */
  | { type: 'store'; state: 'none' | 'pending' | 'paired' }
  /** Opener, numbers: show these. */
  | { type: 'show-digits'; digits: string }
  /** Joiner, numbers: ask for the digits, answer with `typed`. */
  | { type: 'ask-digits' }
  /** The digits match: show it; the opener asks its person, and answers with `confirmed`. */
  | { type: 'matched' }
  /** Opener, invitation: the secret was used, rightly or wrongly. */
  | { type: 'burnt' }
  /** The pairing stands on both sides. */
  | { type: 'done' }
  | { type: 'failed'; code: FailureCode; by: 'here' | 'there' }

export interface SessionInit {
  /** This side, with a fresh random nonce. */
  self: Party
  /** The authenticated ID of the other side. */
  peerId: PeerId
}

type Standing =
  /** Nothing is stored. */
  | 'open'
  /** Stored as pending, and either side can still take it back. */
  | 'pending'
  /** Opener: confirmed; only the joiner can say how it ends. */
  | 'voted'
  /** Joiner: decided; only the opener's word that it stands there is missing. */
  | 'decided'
  | 'over'

export abstract class PairingSession {
  readonly role: Role
  readonly self: Party
  readonly peerId: PeerId
  protected peer: Party | undefined
  #standing: Standing = 'open'

  constructor(role: Role, init: SessionInit) {
    this.role = role
    this.self = init.self
    this.peerId = init.peerId
  }

  /** True while a person, here or there, is what it waits for. */
  abstract get waitsForPerson(): boolean

  /** What `message` leads to before anything is confirmed; undefined: it doesn't belong here. */
  protected abstract step(message: PairMessage): SessionEffect[] | undefined

  get isOver(): boolean {
    return this.#standing === 'over'
  }

  /** True once nobody here can take it back. */
  get isConfirmed(): boolean {
    return this.#standing === 'voted' || this.#standing === 'decided'
  }

  receive(message: PairMessage): SessionEffect[] {
    if (this.isOver) return []
    if (message.type === 'abort') return this.#aborted(message.code)
    if (message.type === 'paired' && this.isConfirmed) return this.#stands()
    return (this.isConfirmed ? undefined : this.step(message)) ?? this.cancel('protocol')
  }

  /** The connection is gone. */
  lost(): SessionEffect[] {
    if (this.isOver) return []
    return this.#fail(this.#standing === 'open' ? 'lost' : 'unsettled', 'here')
  }

  /** This side wants no more, or can't go on. */
  cancel(code: AbortCode): SessionEffect[] {
    if (this.isOver) return []
    if (this.isConfirmed) return this.#fail('unsettled', 'here')
    return [...this.#takeBack(), { type: 'send', message: { type: 'abort', code } }, ...this.#fail(code, 'here')]
  }

  /** What was to be stored could not be. Anything already sent stays true: the side then in doubt asks again. */
  notStored(state: 'pending' | 'paired'): SessionEffect[] {
    if (state === 'paired') return this.#fail('unsettled', 'here')
    this.#standing = 'open'
    return this.cancel('failed')
  }

  /** The other side, once it opened all it promised. */
  get other(): Party | undefined {
    return this.peer
  }

  /** Both parties by role. Only after `peer` is known. */
  protected get parties(): { opener: Party; joiner: Party } {
    const peer = this.peer
    if (peer === undefined) throw new Error('the other side is not known yet')
    return this.role === 'opener' ? { opener: this.self, joiner: peer } : { opener: peer, joiner: this.self }
  }

  /** Joiner: this side agrees; the opener's vote decides. */
  protected agree(message: PairMessage): SessionEffect[] {
    this.#standing = 'pending'
    return [
      { type: 'store', state: 'pending' },
      { type: 'send', message }
    ]
  }

  /** Opener: this side confirms, with a message that says so. */
  protected vote(message: PairMessage): SessionEffect[] {
    const effects = this.agree(message)
    this.#standing = 'voted'
    return effects
  }

  /** Joiner: the opener confirmed, so the pairing stands here. */
  protected decide(): SessionEffect[] {
    this.#standing = 'decided'
    return [
      { type: 'store', state: 'paired' },
      { type: 'send', message: { type: 'paired' } }
    ]
  }

  #stands(): SessionEffect[] {
    const effects: SessionEffect[] = this.#standing === 'voted' ? this.decide() : []
    this.#standing = 'over'
    return [...effects, { type: 'done' }]
  }

  #aborted(code: AbortCode): SessionEffect[] {
    // The opener voted before this side decided; it has no say any more, so its word only means that it is gone.
    if (this.#standing === 'decided') return this.#fail('unsettled', 'here')
    return [...this.#takeBack(), ...this.#fail(code, 'there')]
  }

  #takeBack(): SessionEffect[] {
    return this.#standing === 'open' ? [] : [{ type: 'store', state: 'none' }]
  }

  #fail(code: FailureCode, by: 'here' | 'there'): SessionEffect[] {
    this.#standing = 'over'
    return [{ type: 'failed', code, by }]
  }
}
