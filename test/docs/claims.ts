/** A claim in the table of a neighbour `n`: of itself, or of the machine `o` behind it. */

import { Neighbours } from '../../src/core/neighbours.ts'
import { type Advertisement, MAX_HOPS } from '../../src/core/types.ts'
import { entry } from '../core/scenario.ts'
import type { Play } from './play.ts'

const PERIOD_MS = 1_000
/** What is known was told then, with this sequence. */
const SEQUENCE = 5

class World {
  readonly origin: 'n' | 'o'
  readonly banned = new Set<string>()
  readonly neighbours = new Neighbours('self', (peer) => this.banned.has(peer))

  constructor(origin: 'n' | 'o', known: boolean) {
    this.origin = origin
    for (const peer of ['n', 'm']) this.up(peer, 'own', 0)
    if (known) this.advertise({ sequence: SEQUENCE }, 10)
    else this.hear([], 10)
  }

  up(peer: string, kind: 'own' | 'friend', now: number): string[] {
    this.neighbours.up(peer, { kind, name: peer }, now)
    return []
  }

  entry(changes: { sequence?: number; epoch?: number; hops?: number }) {
    const { sequence = SEQUENCE, epoch = 1, hops = this.origin === 'n' ? 1 : 2 } = changes
    return { ...entry(this.origin, {}, sequence, epoch), hops }
  }

  hear(entries: Advertisement['entries'], now: number, from = 'n'): string[] {
    this.neighbours.heard(from, now)
    const before = this.#claim
    this.neighbours.advertised(from, { type: 'advertisement', periodMs: PERIOD_MS, idleMs: 0, entries }, now)
    return this.#isTaken(before)
  }

  advertise(changes: Parameters<World['entry']>[0], now = 20): string[] {
    return this.hear([this.entry(changes)], now)
  }

  answer(changes: Parameters<World['entry']>[0]): string[] {
    const before = this.#claim
    this.neighbours.answered('n', this.entry(changes), 20)
    return this.#isTaken(before)
  }

  /** Time passes, with a word in each period unless the neighbour is silent. */
  pass(ms: number, silent = false): string[] {
    for (let now = 10; now <= 10 + ms; now += PERIOD_MS) {
      if (!silent) this.neighbours.heard('n', now)
      this.neighbours.expire(now)
    }
    return []
  }

  get #claim() {
    return this.neighbours.get('n')?.claims.get(this.origin)
  }

  #isTaken(before: unknown): string[] {
    return this.#claim === undefined || this.#claim === before ? [] : ['taken']
  }

  get state(): string {
    return `${this.origin === 'n' ? 'itself' : 'another'} ${this.#claim === undefined ? 'none' : 'known'}`
  }
}

function quietly(act: () => void): string[] {
  act()
  return []
}

export const CLAIMS: Play<World> = {
  states: {
    'itself none': () => new World('n', false),
    'itself known': () => new World('n', true),
    'another none': () => new World('o', false),
    'another known': () => new World('o', true)
  },
  events: {
    'advertised, newer': (it) => it.advertise({}),
    'advertised, older': (it) => it.advertise({ sequence: SEQUENCE - 1 }),
    'advertised, older sequence of a later epoch': (it) => it.advertise({ sequence: 1, epoch: 2 }),
    'an advertisement without it': (it) => it.hear([], 20),
    'in an answer to a probe, newer': (it) => it.answer({}),
    'in an answer to a probe, older': (it) => it.answer({ sequence: SEQUENCE - 1 }),
    'advertised by another neighbour': (it) => it.hear([{ ...it.entry({ sequence: 9 }), hops: 2 }], 20, 'm'),
    "advertised with hops that can't be": (it) => {
      const far = it.origin === 'n' ? 2 : MAX_HOPS + 1
      const near = it.origin === 'n' ? 2 : 1
      return [...it.advertise({ hops: far }), ...it.advertise({ hops: near })]
    },
    'advertised, and banned here': (it) => {
      it.banned.add(it.origin)
      return it.advertise({})
    },
    'advertised by a friend': (it) => [...it.up('n', 'friend', 15), ...it.advertise({})],
    'any word for longer than 3 periods': (it) => it.pass(5 * PERIOD_MS),
    'not measured anew for 3 periods for each hop': (it) => it.pass(6 * PERIOD_MS),
    '3 periods without a word': (it) => it.pass(3 * PERIOD_MS, true),
    'the connection closes': (it) => quietly(() => it.neighbours.down('n')),
    'a second connection': (it) => it.up('n', 'own', 20),
    'the pairing ends': (it) => quietly(() => it.neighbours.forget('n'))
  },
  stateOf: (it) => it.state
}
