/** A probe of `home` that visits the peer `b`, between its sender `a` and the neighbours `c` and `d`. */

import type { PeerCore } from '../../src/core/peer-core.ts'
import { type Effect, MAX_HOPS, type OverlayMessage, type PeerId, type Probe } from '../../src/core/types.ts'
import { join, peer, probe, rules, sample, sends } from '../core/scenario.ts'
import type { Play } from './play.ts'

/** When the probe arrives; the sample is as old, unless it is old. */
const ARRIVES = 1_000
const WAIT_MS = 400

interface Step {
  at: number
  act: (core: PeerCore, now: number) => Effect[]
}

/** Kept as what happened, so that its state can be found out by what would happen next. */
class World {
  readonly #settings: { promising: boolean; fresh: boolean; slots: number; forward: number; banned: PeerId | undefined }
  readonly #steps: Step[] = []
  readonly core: PeerCore
  #held = 0

  constructor(
    settings: { promising?: boolean; fresh?: boolean; slots?: number; forward?: number; banned?: PeerId } = {}
  ) {
    const { promising = true, fresh = true, slots = 8, forward = MAX_HOPS, banned } = settings
    this.#settings = { promising, fresh, slots, forward, banned }
    this.core = this.#fresh()
  }

  #fresh(): PeerCore {
    const { promising, fresh, slots, forward, banned } = this.#settings
    const core = peer('b', { rules: rules({ slots, forward }), banned: (id) => id === banned })
    core.handleSample(sample(), fresh ? ARRIVES : 0)
    join(core, 'a', ARRIVES - 1)
    for (const id of ['c', 'd']) join(core, id, ARRIVES - 1, promising ? { speed: 4 } : { speed: 0.1 })
    core.handleNeighbourUp('friend', { kind: 'friend', name: 'friend' }, ARRIVES - 1)
    return core
  }

  step(act: Step['act'], laterMs: number): string[] {
    const at = ARRIVES + laterMs
    this.#steps.push({ at, act })
    const effects = act(this.core, at)
    const after = this.core.ownRecord(at).guestDemand
    const held = after === this.#held ? [] : [after > this.#held ? 'hold' : 'let go']
    this.#held = after
    return [
      ...held,
      ...effects.filter(({ type }) => type === 'sample').map(() => 'sample'),
      ...sends(effects).map(word)
    ]
  }

  hear(from: PeerId, message: OverlayMessage, laterMs = 10): string[] {
    return this.step((core, now) => core.handleMessage(from, message, now), laterMs)
  }

  #replayed(): { core: PeerCore; now: number } {
    const core = this.#fresh()
    for (const { at, act } of this.#steps) act(core, at)
    return { core, now: this.#steps.at(-1)?.at ?? ARRIVES }
  }

  get state(): string {
    const { core, now } = this.#replayed()
    const holds = core.ownRecord(now).guestDemand > 0 ? ', holds' : ''
    if (core.remembered === (holds === '' ? 0 : 2)) return `none${holds}`
    if (sends(core.handleSample(sample(), now)).length > 0) return `sampling${holds}`
    core.handleNeighbourUp('a', { kind: 'own', name: 'a' }, now)
    const again = sends(core.handleMessage('a', PROBE, now))
    return (again.some(({ message }) => message.type === 'probe-reply') ? 'answered' : 'walking') + holds
  }
}

const PROBE: Probe = probe('p1', { path: ['home', 'a'], hopsLeft: 3, best: 50, waitMs: WAIT_MS })
const RELEASE: OverlayMessage = { type: 'release', id: 'p1' }
const REPLY = { type: 'probe-reply', id: 'p1', refusals: [], entries: [] } as const

function reply(path: PeerId[], ticket: boolean): OverlayMessage {
  const base = { ...REPLY, path: ['home', 'a', ...path], refusals: [], entries: [] }
  const bestAt = base.path.length - 1
  const target = base.path[bestAt]!
  return ticket ? { ...base, bestAt, ticket: { id: 't9', target, epoch: 1, validMs: 2_000 } } : base
}

function word({ message }: { message: OverlayMessage }): string {
  if (message.type === 'release') return 'release there'
  if (message.type === 'probe') return 'send on'
  if (message.type !== 'probe-reply') throw new Error(`${message.type} is not expected`)
  if (message.ticket !== undefined) return message.ticket.target === 'b' ? 'reply: here' : 'reply: there'
  return message.bestAt === undefined ? 'reply: nobody' : 'reply: before'
}

function after(settings: ConstructorParameters<typeof World>[0], ...acts: ((it: World) => unknown)[]): () => World {
  return () => {
    const made = new World(settings)
    for (const act of acts) act(made)
    return made
  }
}

const timer = (laterMs: number) => (it: World) => it.step((core, now) => core.handleTimer(now), laterMs)
const arrives = (it: World) => it.hear('a', PROBE, 0)
const nobody = (it: World) => it.hear('c', reply(['b', 'c'], false), 5)

export const VISITS: Play<World> = {
  states: {
    sampling: after({ fresh: false }, arrives),
    walking: after({ slots: 0 }, arrives),
    'walking, holds': after({}, arrives),
    answered: after({ slots: 0 }, arrives, nobody),
    'answered, holds': after({}, arrives, nobody)
  },
  events: {
    'the same probe again': (it) => it.hear('a', PROBE),
    'the sample arrives': (it) => it.step((core, now) => core.handleSample(sample(), now), 10),
    '50 ms later': timer(50),
    '395 ms later': timer(395),
    '2.4 s later': timer(2_400),
    'a ticket from whom was asked': (it) => it.hear('c', reply(['b', 'c'], true)),
    'nobody better from whom was asked': nobody,
    'an answer to another question from whom was asked': (it) => it.hear('c', reply(['x', 'c'], true)),
    'a ticket from whom was not asked': (it) => it.hear('d', reply(['b', 'd'], true)),
    'the connection to whom was asked closes': (it) => it.step((core, now) => core.handleNeighbourDown('c', now), 10),
    'release from the sender': (it) => it.hear('a', RELEASE),
    'release from another': (it) => it.hear('d', RELEASE),
    'the connection to the sender closes': (it) => it.step((core, now) => core.handleNeighbourDown('a', now), 10)
  },
  stateOf: (it) => it.state
}

/** The probe may be another than the table's, and find another peer. */
function arrival(changes: Partial<Probe>, settings?: ConstructorParameters<typeof World>[0], from = 'a') {
  return (empty: { world: World | undefined }): string[] => {
    empty.world = new World(settings)
    return empty.world.hear(from, { ...PROBE, ...changes }, 0)
  }
}

export const ARRIVALS: Play<{ world: World | undefined }> = {
  states: { none: () => ({ world: undefined }) },
  events: {
    'best here, nobody promises more': arrival({}, { promising: false }),
    'best here, and a neighbour promises more by a tenth': arrival({}),
    'not better here, and a neighbour promises more': arrival({}, { slots: 0 }),
    'not better here, nobody promises more': arrival({ best: 9_999 }),
    'better before, nobody promises more': arrival({ best: 9_999, bestAt: 1 }),
    'the sample of the load is old': arrival({}, { fresh: false }),
    'no hops left': arrival({ hopsLeft: 0 }),
    'excluded by the user': arrival({ avoid: ['b'] }),
    "over a way that can't be": arrival({ path: ['home', 'c'] }),
    'brought by a friend for somebody else': arrival({ path: ['home', 'friend'] }, {}, 'friend'),
    'from farther than the owner lets jobs come': arrival({}, { forward: 1 }),
    'best here, a neighbour promises more, and the owner lets nothing be passed on': arrival(
      { origin: 'a', path: ['a'] },
      { forward: 1 }
    ),
    'a peer on its path is banned here': arrival({}, { banned: 'home' })
  },
  stateOf: ({ world }) => world?.state ?? 'none'
}
