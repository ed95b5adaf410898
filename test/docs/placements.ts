/** A job of `home`, busy, with two neighbours `c` and `d` that promise more. */

import type { PeerCore } from '../../src/core/peer-core.ts'
import type { Effect, OverlayMessage, PeerId } from '../../src/core/types.ts'
import { advertisement, join, peer, request, sample } from '../core/scenario.ts'
import type { Play } from './play.ts'

const ASKED = 1_000
const BUSY = sample({ idleCores: 0, runnable: 8 })

class World {
  readonly #core: PeerCore
  #decided: 'here' | 'there' | undefined
  #now = ASKED

  constructor(fresh = true) {
    this.#core = peer('home')
    this.#core.handleSample(BUSY, fresh ? ASKED : 0)
    for (const id of ['c', 'd']) join(this.#core, id, ASKED - 1)
    this.step(0, (core, now) => core.place('j1', request({ not: ['x'] }), now))
  }

  step(laterMs: number, act: (core: PeerCore, now: number) => Effect[]): string[] {
    this.#now = ASKED + laterMs
    return act(this.#core, this.#now).flatMap((effect) => this.#word(effect))
  }

  hear(from: PeerId, message: OverlayMessage): string[] {
    return this.step(60, (core, now) => core.handleMessage(from, message, now))
  }

  #word(effect: Effect): string[] {
    if (effect.type === 'send') return effect.message.type === 'advertisement' ? [] : [effect.message.type]
    if (effect.type !== 'placed') return [effect.type]
    this.#decided = effect.where
    return [`place ${effect.where}`]
  }

  /** Whoever is asked is let go when the client goes away. */
  get state(): string {
    if (this.#decided !== undefined) return this.#decided
    if (this.#core.remembered === 0) return 'gone'
    const asked = this.step(this.#now - ASKED, (core, now) => core.cancel('j1', now)).length
    return ['sampling', 'asking', 'hedged'][asked] ?? `${asked} asked`
  }
}

function reply(id: string, path: PeerId[], ticket: boolean): OverlayMessage {
  const base = { type: 'probe-reply' as const, id, path, refusals: [], entries: [] }
  const bestAt = path.length - 1
  return ticket ? { ...base, bestAt, ticket: { id: 't9', target: path[bestAt]!, epoch: 1, validMs: 2_000 } } : base
}

const timer = (laterMs: number) => (it: World) => it.step(laterMs, (core, now) => core.handleTimer(now))
const ticket = (it: World) => it.hear('c', reply('home-1', ['home', 'c'], true))

function after(...acts: ((it: World) => unknown)[]): () => World {
  return () => {
    const made = new World()
    for (const act of acts) act(made)
    return made
  }
}

export const PLACEMENTS: Play<World> = {
  states: {
    sampling: () => new World(false),
    asking: after(),
    hedged: after(timer(50)),
    here: after(timer(400)),
    there: after(ticket)
  },
  events: {
    'the sample arrives': (it) => it.step(10, (core, now) => core.handleSample(BUSY, now)),
    '50 ms later': timer(50),
    '400 ms later': timer(400),
    'a ticket': ticket,
    'a ticket of a peer that may not have it': (it) => it.hear('c', reply('home-1', ['home', 'c', 'x'], true)),
    'nobody better': (it) => it.hear('c', reply('home-1', ['home', 'c'], false)),
    'the connection to whom was asked closes': (it) => it.step(60, (core, now) => core.handleNeighbourDown('c', now)),
    'a ticket that nobody asked for': (it) => it.hear('d', reply('home-9', ['home', 'd'], true)),
    'the client goes away': (it) => it.step(60, (core, now) => core.cancel('j1', now)),
    'an advertisement': (it) => it.hear('c', advertisement('c', {}, 2))
  },
  stateOf: (it) => it.state
}
