/** A ticket at its target, of a home that came through a voucher. */

import type { Lack } from '../../src/core/needs.ts'
import { Reservations, TICKET_VALID_MS } from '../../src/core/reservations.ts'
import { needs } from '../core/scenario.ts'
import type { Play } from './play.ts'

const DAY_MS = 24 * 3_600_000
const TICKET = 't1'

class World {
  reservations = fresh()

  act(...acts: (() => unknown)[]): this {
    for (const act of acts) act()
    this.reservations.takeAdmissions()
    return this
  }

  reserve(): void {
    const guest = { home: 'home', vouchers: ['voucher'], kind: 'own' as const }
    this.reservations.reserve(guest, 'p1', needs(), 8, 0)
  }

  start(from: string, lack?: Lack): string[] {
    const answer = this.reservations.start(from, TICKET, 10, () => lack)
    return [answer.accepted ? 'accepted' : `refused: ${answer.code}`]
  }

  end(): void {
    this.reservations.jobEnded(TICKET, { exitCode: 0, signal: null }, 10)
  }

  forget(from: string): string[] {
    this.reservations.acknowledge(from, TICKET)
    return []
  }

  /** What was done, and who is let in or no longer by it. */
  with(effects: string[]): string[] {
    const admissions = this.reservations.takeAdmissions()
    return [...effects, ...admissions.map(({ admitted }) => (admitted ? 'admit' : 'dismiss'))]
  }

  /** An end that home has not fetched is a reason to admit it. */
  get state(): string {
    if (this.reservations.held('home', 'p1', 0) !== undefined) return 'reserved'
    const { state } = this.reservations.resolve('home', TICKET)
    if (state !== 'ended') return state
    return this.with(this.forget('home')).includes('dismiss') ? 'ended' : 'fetched'
  }
}

function fresh(epoch = 1): Reservations {
  let ids = 0
  return new Reservations({ self: 'nas', epoch, newId: () => `t${++ids}` })
}

const reserved = () => new World().act(function (this: void) {})

function world(...acts: ((world: World) => unknown)[]): World {
  const made = reserved()
  return made.act(...acts.map((act) => () => act(made)))
}

const RESERVE = (it: World) => it.reserve()
const START = (it: World) => it.start('home')
const END = (it: World) => it.end()
const FORGET = (it: World) => it.forget('home')

const PAUSED: Lack = { code: 'paused', reason: 'its owner paused lending' }

export const TICKETS: Play<World> = {
  states: {
    reserved: () => world(RESERVE),
    running: () => world(RESERVE, START),
    ended: () => world(RESERVE, START, END),
    fetched: () => world(RESERVE, START, END, FORGET),
    void: () => world()
  },
  events: {
    'start by its home': (it) => it.with(it.start('home')),
    'start by its home, the owner says no': (it) => it.with(it.start('home', PAUSED)),
    'start by another': (it) => it.with(it.start('another')),
    'resolve by its home': (it) => it.with([it.reservations.resolve('home', TICKET).state]),
    'resolve by another': (it) => it.with([it.reservations.resolve('another', TICKET).state]),
    'release of its probe': (it) => {
      it.reservations.release('home', 'p1')
      return it.with([])
    },
    'release of its probe by another': (it) => {
      it.reservations.release('another', 'p1')
      return it.with([])
    },
    'forget by its home': (it) => it.with(it.forget('home')),
    'forget by another': (it) => it.with(it.forget('another')),
    'the job ends': (it) => {
      it.end()
      return it.with([])
    },
    '2 s later': (it) => {
      it.reservations.expire(TICKET_VALID_MS)
      return it.with([])
    },
    '24 h later': (it) => {
      it.reservations.expire(10 + DAY_MS)
      return it.with([])
    },
    'the pairing with a voucher ends': (it) => {
      const running = it.reservations.voidHoldsOf('voucher')
      return it.with(running.map(() => 'end the job'))
    },
    'the daemon restarts': (it) => {
      it.reservations = fresh(2)
      return []
    }
  },
  stateOf: (it) => it.state
}
