/** Two sessions joined by a wire in memory, for transcripts: who sends what, what is stored, what is shown. */

import type { PairingKind } from '../../../src/core/types.ts'
import { decodeMessage, encodeMessage, type PairMessage } from '../../../src/protocols/pair/codec.ts'
import type { Party, Role } from '../../../src/protocols/pair/numbers.ts'
import type { NumbersSession } from '../../../src/protocols/pair/numbers-session.ts'
import type { PairingSession, SessionEffect } from '../../../src/protocols/pair/session.ts'

export const OPENER = '12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN'
export const JOINER = '12D3KooWRm8J3iL796zPFi2EtGGtUJn58AG67gcRzuq8yZVQqPUN'

export function party(role: Role, byte: number, kind: PairingKind = 'friend'): Party {
  const peerId = role === 'opener' ? OPENER : JOINER
  return { peerId, name: role, kind, addresses: ['/ip4/192.0.2.7/tcp/5277'], nonce: new Uint8Array(16).fill(byte) }
}

export interface Side {
  session: PairingSession
  role: Role
  /** Everything that it was told to do but sending, in order. */
  did: SessionEffect[]
  stored: 'none' | 'pending' | 'paired'
}

/** What a person does when asked; what comes back is carried out at once. */
export type Person = (side: Side, effect: SessionEffect) => SessionEffect[]

export interface Exchange {
  opener: Side
  joiner: Side
  /** `joiner numbers`, `opener numbers`, … in the order they were sent. */
  lines: string[]
}

/** Called with each message's bytes on the wire; gives what arrives, or undefined when the wire is cut there. */
export type Wire = (frame: Uint8Array, index: number, from: Role) => Uint8Array | undefined

/** Runs both until nothing is left to deliver. */
export function exchange(
  opener: PairingSession,
  joiner: PairingSession & { start(): SessionEffect[] },
  person: Person = () => [],
  wire: Wire = (frame) => frame
): Exchange {
  const sides: Record<Role, Side> = {
    opener: { session: opener, role: 'opener', did: [], stored: 'none' },
    joiner: { session: joiner, role: 'joiner', did: [], stored: 'none' }
  }
  const lines: string[] = []
  const waiting: { to: Side; frame: Uint8Array }[] = []
  let cut = false
  const carryOut = (side: Side, effects: SessionEffect[]): void => {
    for (const effect of effects) {
      if (effect.type === 'send') send(side, effect.message)
      else {
        side.did.push(effect)
        if (effect.type === 'store') side.stored = effect.state
        carryOut(side, person(side, effect))
      }
    }
  }
  const send = (side: Side, message: PairMessage): void => {
    if (cut) return
    const frame = wire(encodeMessage(message), lines.length, side.role)
    lines.push(`${side.role} ${message.type}${message.type === 'abort' ? ` ${message.code}` : ''}`)
    if (frame === undefined) cut = true
    else waiting.push({ to: side.role === 'opener' ? sides.joiner : sides.opener, frame })
  }
  carryOut(sides.joiner, joiner.start())
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
    carryOut(next.to, deliver(next.to.session, next.frame))
  }
  if (cut) for (const side of Object.values(sides)) carryOut(side, side.session.lost())
  return { ...sides, lines }
}

function deliver(session: PairingSession, frame: Uint8Array): SessionEffect[] {
  let message: PairMessage
  try {
    message = decodeMessage(frame)
  } catch {
    return session.cancel('protocol')
  }
  return session.receive(message)
}

/** The effects of a side as short words. */
export function words(side: Side): string[] {
  return side.did.map((effect) => {
    if (effect.type === 'store') return `store ${effect.state}`
    if (effect.type === 'failed') return `failed ${effect.code} ${effect.by}`
    return effect.type
  })
}

/** Types on one machine what the other shows, and answers there. */
export function honestPerson(does: { type?: (shown: string) => string; confirm?: boolean } = {}): Person {
  let shown = ''
  return (side, effect) => {
    const session = side.session as NumbersSession
    if (effect.type === 'show-digits') shown = effect.digits
    if (effect.type === 'ask-digits') return session.typed(does.type?.(shown) ?? shown)
    if (effect.type === 'matched' && side.role === 'opener') return session.confirmed(does.confirm ?? true)
    return []
  }
}
