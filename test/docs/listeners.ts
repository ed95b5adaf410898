/** A neighbour that is up, as the one that is told. After every event the peer looks who is to be told, as the core does. */

import { Activity } from '../../src/core/activity.ts'
import { Advertiser, announcementOf } from '../../src/core/advertiser.ts'
import { Neighbours } from '../../src/core/neighbours.ts'
import { Offers } from '../../src/core/propagation.ts'
import type { MachineRecord } from '../../src/core/types.ts'
import { record } from '../core/scenario.ts'
import type { Play } from './play.ts'

const BUCKET = 6
const SETTLED = 100

class World {
  readonly #activity = new Activity()
  readonly #advertiser = new Advertiser(this.#activity)
  readonly #offers = new Offers(new Neighbours('self', () => false))
  #speed = 1
  /** Cores that guests hold, of 8 slots and 4 cores. */
  #guests = 0
  #toldSpeed = 1
  #now = SETTLED

  /** A neighbour that was told `messages` times, until `owed`: it would have to be told once more. */
  constructor(messages: number, owed: boolean) {
    if (messages > 0) this.connect()
    for (let told = 1; told < messages; told++) this.better()
    if (owed) this.better()
  }

  settle(laterMs = 0): string[] {
    this.#now += laterMs
    const own: MachineRecord = record({ speed: this.#speed, guestDemand: this.#guests })
    const { peers } = this.#advertiser.due(announcementOf(own, 'product'), this.#offers, 'product', this.#now)
    if (peers.length > 0) this.#toldSpeed = this.#speed
    return peers.map(() => 'advertise')
  }

  connect(): string[] {
    this.#advertiser.up('n', this.#now)
    return this.settle()
  }

  better(laterMs = 0): string[] {
    this.#speed *= 2
    return this.settle(laterMs)
  }

  asTold(): string[] {
    this.#speed = this.#toldSpeed
    return this.settle()
  }

  guestsCame(): string[] {
    this.#guests = 7
    return this.settle()
  }

  /** As good as a slower machine. */
  ownerCame(): string[] {
    this.#speed = this.#toldSpeed / 2
    return this.settle()
  }

  do(act: (advertiser: Advertiser, now: number) => void): string[] {
    act(this.#advertiser, this.#now)
    return this.settle()
  }

  wake(): string[] {
    return this.do((advertiser, now) => {
      if (this.#activity.heardOfJob(now, now)) advertiser.woke(now)
    })
  }

  answer(): string[] {
    const own = announcementOf(record({ speed: this.#speed, guestDemand: this.#guests }), 'product')
    return this.do((advertiser) => advertiser.answered('n', own, [0, 0]))
  }

  /** With a word owed the next look is not at the beat. */
  get state(): string {
    const due = this.#advertiser.nextTimer()
    if (due === undefined) return 'none'
    return (due - SETTLED) % 2_000 === 0 ? 'told' : 'owed'
  }
}

const told = (messages: number) => () => new World(messages, false)

export const LISTENERS: Play<World> = {
  states: { none: told(0), told: told(BUCKET - 1), owed: () => new World(BUCKET, true) },
  events: {
    'a new connection': (it) => it.connect(),
    'nothing new': (it) => it.settle(),
    'a job made it worse here': (it) => it.guestsCame(),
    'the owner uses more here': (it) => it.ownerCame(),
    'news, one saved up': (it) => (it.state === 'owed' ? it.settle(3_000) : it.better()),
    'news, none saved up': (it) => {
      if (it.state === 'told') it.better()
      return it.better()
    },
    'the news is taken back': (it) => it.asTold(),
    'the period is over': (it) => it.settle(10_000),
    'the own record went with an answer': (it) => it.answer(),
    'a job is heard of while the overlay rests': (it) => it.wake(),
    "the owner's rules change": (it) => it.do((advertiser) => advertiser.tellAll()),
    'the connection closes': (it) => it.do((advertiser) => advertiser.down('n'))
  },
  stateOf: (it) => it.state
}
