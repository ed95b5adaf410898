import fc from 'fast-check'
import t from 'tap'
import { slotsWanted } from '../../src/core/needs.ts'
import type { PeerCore } from '../../src/core/peer-core.ts'
import type { Probe } from '../../src/core/types.ts'
import { advertisement, join, needs, peer, replyOf, rules, sample } from './scenario.ts'

/** Ids are drawn from few, so that messages repeat, cross and meet what is over. */
const small = fc.integer({ min: 0, max: 5 })
const step = fc.oneof(
  fc.record({
    do: fc.constant('probe' as const),
    id: small,
    home: fc.boolean(),
    demand: fc.constantFrom(0.001, 0.3, 1, 2.5, 16)
  }),
  fc.record({
    do: fc.constantFrom('release' as const, 'start' as const, 'resolve' as const, 'forget' as const),
    id: small,
    home: fc.boolean()
  }),
  fc.record({ do: fc.constant('end' as const), id: small }),
  fc.record({ do: fc.constant('rules' as const), slots: fc.constantFrom(0, 0.5, 1, 3, 8), refuses: fc.boolean() }),
  fc.record({ do: fc.constant('unpair' as const), home: fc.boolean() }),
  fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(1, 500, 1_999, 2_000) })
)
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

/** What must be true of the tickets of one target, by a much simpler account of them. */
class Account {
  readonly core: PeerCore = peer('nas', { rules: rules({ slots: 3 }) })
  now = 0
  #slots = 3
  /** By ticket, in the order in which they were made. */
  readonly #tickets = new Map<
    string,
    { home: string; demand: number; started: number; over: boolean; wanted: number }
  >()
  readonly #running = new Set<string>()

  constructor() {
    for (const home of ['a', 'b']) join(this.core, home, 0)
  }

  play(one: Step): void {
    this.core.handleSample(sample({ cores: 64 }), this.now)
    if (one.do === 'probe') this.#probe(one.home ? 'a' : 'b', `p${one.id}`, one.demand)
    else if (one.do === 'rules') {
      this.#slots = one.slots
      this.core.setRules(rules({ slots: one.slots, ...(one.refuses ? { refuses: 'paused' } : {}) }), this.now)
    } else if (one.do === 'pass') {
      this.now += one.ms
      this.core.handleTimer(this.now)
    } else if (one.do === 'unpair') this.#unpair(one.home ? 'a' : 'b')
    else if (one.do === 'end') this.#end([...this.#running][one.id])
    else this.#ask(one.do, one.home ? 'a' : 'b', one.id)
    this.#check()
  }

  finish(): void {
    for (const ticket of [...this.#running]) this.#end(ticket)
    this.now += 25 * 3_600_000
    this.core.handleTimer(this.now)
    if (this.core.remembered !== 0) throw new Error(`${this.core.remembered} entries are left`)
    const { guestDemand, memoryPromised } = this.core.ownRecord(this.now)
    if (guestDemand !== 0 || memoryPromised !== 0) throw new Error('promises are left')
  }

  #probe(home: string, id: string, demand: number): void {
    const probe: Probe = {
      type: 'probe',
      id,
      origin: home,
      needs: needs({ demand }),
      path: [home],
      hopsLeft: 0,
      best: 0,
      waitMs: 400,
      avoid: [],
      only: []
    }
    const before = this.core.ownRecord(this.now).guestDemand
    const { ticket } = replyOf(this.core.handleMessage(home, probe, this.now))
    if (ticket === undefined || this.#tickets.has(ticket.id)) return
    const wanted = slotsWanted(demand, this.#slots)
    if (before + wanted > this.#slots + 1e-9) throw new Error(`${before} and ${wanted} of ${this.#slots} were promised`)
    this.#tickets.set(ticket.id, { home, demand, started: 0, over: false, wanted })
  }

  #ask(what: 'release' | 'start' | 'resolve' | 'forget', home: string, index: number): void {
    if (what === 'release') {
      this.core.handleMessage(home, { type: 'release', id: `p${index}` }, this.now)
      return
    }
    const id = [...this.#tickets.keys()].at(-1 - index)
    const ticket = id === undefined ? undefined : this.#tickets.get(id)
    if (id === undefined || ticket === undefined) return
    if (what === 'forget') this.core.forgetTicket(home, id)
    else if (what === 'start') {
      if (!this.core.startTicket(home, id, this.now).accepted) return
      ticket.started++
      if (ticket.started > 1 || ticket.over || ticket.home !== home) throw new Error(`${id} was started wrongly`)
      this.#running.add(id)
    } else {
      const { state } = this.core.resolveTicket(home, id, this.now)
      if (state === 'void' && ticket.home === home) {
        if (ticket.started > 0) throw new Error(`${id} ran and is called void`)
        ticket.over = true
      }
    }
  }

  #unpair(home: string): void {
    const { running } = this.core.voidTicketsOf(home, this.now)
    const expected = [...this.#running].filter((id) => this.#tickets.get(id)?.home === home)
    if (running.join() !== expected.join()) throw new Error('unpair names other jobs than run')
    for (const ticket of this.#tickets.values()) if (ticket.home === home && ticket.started === 0) ticket.over = true
    join(this.core, home, this.now)
    this.core.handleMessage(home, advertisement(home), this.now)
  }

  #end(id: string | undefined): void {
    if (id === undefined) return
    this.#running.delete(id)
    this.core.guestJobEnded(id, { exitCode: 0, signal: null }, this.now)
  }

  #check(): void {
    const promised = this.core.ownRecord(this.now).guestDemand
    let least = 0
    for (const id of this.#running) least += this.#tickets.get(id)!.wanted
    if (promised < least - 1e-9) throw new Error(`${promised} promised, ${least} running`)
  }
}

t.test('in any order of probes, starts, resolves, ends and changes of mind the accounts are right', async (t) => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 60 }), (steps) => {
      const account = new Account()
      for (const one of steps) account.play(one)
      account.finish()
    }),
    { numRuns: 400, seed: 20110711 }
  )
  t.pass()
})
