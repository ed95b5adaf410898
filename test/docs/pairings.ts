/** One side of a session that pairs two machines by numbers. */

import { commitmentOf, digitsOf, type Party, type Role } from '../../src/protocols/pair/numbers.ts'
import { NumbersSession } from '../../src/protocols/pair/numbers-session.ts'
import type { SessionEffect } from '../../src/protocols/pair/session.ts'
import { JOINER, OPENER, party } from '../protocols/pair/two-sides.ts'
import type { Play } from './play.ts'

const PARTIES = { opener: party('opener', 1), joiner: party('joiner', 2) }

function hello({ peerId, name, kind, addresses, nonce }: Party, role: Role) {
  return { type: 'numbers' as const, name, kind, addresses, commitment: commitmentOf(role, peerId, nonce) }
}

/** Each side as far as it comes without a person: the joiner is to type the digits, the opener to confirm. */
function session(role: Role): NumbersSession {
  const other = role === 'opener' ? 'joiner' : 'opener'
  const made = new NumbersSession(role, { self: PARTIES[role], peerId: role === 'opener' ? JOINER : OPENER })
  if (role === 'joiner') made.start()
  made.receive(hello(PARTIES[other], other))
  made.receive({ type: 'open', nonce: PARTIES[other].nonce })
  if (role === 'opener') made.receive({ type: 'matched' })
  return made
}

const DIGITS = digitsOf(PARTIES.opener, PARTIES.joiner)

class World {
  /** In the state `open` the side is the one that the event is about. */
  #session: NumbersSession | undefined

  constructor(made?: NumbersSession, ...acts: ((session: NumbersSession) => SessionEffect[])[]) {
    this.#session = made
    for (const act of acts) this.do('joiner', act)
  }

  do(role: Role, act: (session: NumbersSession) => SessionEffect[]): string[] {
    this.#session ??= session(role)
    return act(this.#session).flatMap(words)
  }

  get state(): string {
    const { isOver, isConfirmed, role } = this.#session ?? session('joiner')
    if (isOver) return 'over'
    if (isConfirmed) return role === 'opener' ? 'voted' : 'decided'
    const effects = this.do('joiner', (it) => it.lost())
    return effects.includes('unsettled') ? 'pending' : 'open'
  }
}

function words(effect: SessionEffect): string[] {
  if (effect.type === 'send') return [effect.message.type]
  if (effect.type === 'store') return [effect.state === 'none' ? 'take back' : `store ${effect.state}`]
  if (effect.type === 'failed') return effect.code === 'unsettled' ? ['unsettled'] : []
  return effect.type === 'done' ? ['done'] : []
}

type Act = (session: NumbersSession) => SessionEffect[]
const TYPED: Act = (it) => it.typed(DIGITS)
const CONFIRMED: Act = (it) => it.confirmed(true)
const CONFIRM: Act = (it) => it.receive({ type: 'confirm' })

const by =
  (role: Role, act: Act) =>
  (it: World): string[] =>
    it.do(role, act)

export const PAIRINGS: Play<World> = {
  states: {
    open: () => new World(),
    pending: () => new World(session('joiner'), TYPED),
    voted: () => new World(session('opener'), CONFIRMED),
    decided: () => new World(session('joiner'), TYPED, CONFIRM),
    over: () => new World(session('joiner'), (it) => it.lost())
  },
  events: {
    'joiner: the right digits were typed': by('joiner', TYPED),
    'joiner: other digits were typed': by('joiner', (it) => it.typed('none')),
    'opener: a person confirmed': by('opener', CONFIRMED),
    'opener: a person said no': by('opener', (it) => it.confirmed(false)),
    confirm: by('joiner', CONFIRM),
    paired: by('joiner', (it) => it.receive({ type: 'paired' })),
    "a message that doesn't belong here": by('joiner', (it) => it.receive({ type: 'bye' })),
    abort: by('joiner', (it) => it.receive({ type: 'abort', code: 'cancelled' })),
    'a person takes it back, or a deadline': by('joiner', (it) => it.cancel('timeout')),
    'the stream ends': by('joiner', (it) => it.lost()),
    'what was to be stored could not be': by('joiner', (it) => {
      const decides = it.isOver || (it.isConfirmed && it.role === 'joiner')
      return it.notStored(decides ? 'paired' : 'pending')
    })
  },
  stateOf: (it) => it.state
}
