/**
 * The measure of all placements, though no bound: whoever asks for a job knows the state of every machine at this moment,
 * decides without a message, and takes what gives this job most. Jobs that wait, must leave or may only go to some peers
 * aren't told apart: nobody compares those.
 */

import { metric } from '../core/metric.ts'
import { lackForGuest } from '../core/needs.ts'
import { ownRecord } from '../core/own-record.ts'
import type { PeerCoreInit } from '../core/peer-core.ts'
import { Reservations, type StartAnswer } from '../core/reservations.ts'
import type {
  Effect,
  JobEnd,
  MachineRecord,
  MachineSample,
  Needs,
  OwnerRules,
  PeerId,
  PlaceRequest,
  Ticket
} from '../core/types.ts'
import type { Oracle, SimulatedCore } from './simulated-core.ts'

export class GreedyCore implements SimulatedCore {
  readonly #init: PeerCoreInit
  readonly #oracle: Oracle
  readonly #maxHops: number
  readonly #reservations: Reservations
  /** Cores of own jobs that run here, by job; bounded by the simulation. */
  readonly #homeJobs = new Map<string, number>()
  #rules: OwnerRules

  /** `maxHops`: farther peers are no choice, as they are none for kappa. */
  constructor(init: PeerCoreInit, oracle: Oracle, maxHops = Number.POSITIVE_INFINITY) {
    this.#init = init
    this.#oracle = oracle
    this.#maxHops = maxHops
    this.#rules = init.rules
    this.#reservations = new Reservations(init)
  }

  // ------------------------------------------------------------------------------------------------------ placing

  place(jobId: string, request: PlaceRequest): Effect[] {
    const { needs } = request
    const { self } = this.#init
    const target = request.local ? undefined : this.#bestOf(request)
    const probeId = this.#init.newId()
    const ticket =
      target === undefined ? undefined : this.#core(target).hold(self, probeId, needs, this.#oracle.now(target))
    if (target === undefined || ticket === undefined) {
      this.#homeJobs.set(jobId, needs.demand)
      return [{ type: 'placed', jobId, where: 'here', reason: BY_RULE, trace: traceOf([]) }]
    }
    const way = { kind: 'own' as const, name: target, path: [self, target], addresses: [] }
    const trace = traceOf([target])
    return [{ type: 'placed', jobId, where: 'there', ticket, probeId, ...way, reason: BY_RULE, trace }]
  }

  cancel(): Effect[] {
    return []
  }

  homeJobEnded(jobId: string): Effect[] {
    this.#homeJobs.delete(jobId)
    return []
  }

  /** Undefined: nobody is better than home. Among equals by chance. */
  #bestOf({ needs, not }: PlaceRequest): PeerId | undefined {
    const { self, random } = this.#init
    let best: PeerId | undefined
    let value = metric(this.record(this.#oracle.truth(self)), needs.demand, { home: true })
    let equals = 0
    for (const peer of this.#oracle.members()) {
      if (peer === self || not.includes(peer) || this.#oracle.hops(self, peer) > this.#maxHops) continue
      const record = this.#core(peer).record(this.#oracle.truth(peer))
      if (lackForGuest(record, needs) !== undefined) continue
      const here = metric(record, needs.demand, { home: false })
      if (here < value || (here === value && best === undefined)) continue
      equals = here === value ? equals + 1 : 1
      if (random() * equals < 1) best = peer
      value = here
    }
    return best
  }

  #core(peer: PeerId): GreedyCore {
    return this.#oracle.core(peer) as GreedyCore
  }

  // ------------------------------------------------------------------------------------------------ target's side

  /** A ticket, if this machine takes the job. */
  hold(home: PeerId, probeId: string, needs: Needs, now: number): Ticket | undefined {
    this.#reservations.expire(now)
    if (lackForGuest(this.#recordNow(), needs) !== undefined) return undefined
    const guest = { home, vouchers: [], kind: 'own' as const }
    const granted = this.#reservations.reserve(guest, probeId, needs, this.#rules.slots, now)
    return 'id' in granted ? granted : undefined
  }

  startTicket(from: PeerId, ticketId: string, now: number): StartAnswer {
    return this.#reservations.start(from, ticketId, now, ({ needs }) => lackForGuest(this.#recordNow(), needs))
  }

  guestJobEnded(ticketId: string, end: JobEnd, now: number): Effect[] {
    this.#reservations.jobEnded(ticketId, end, now)
    return []
  }

  resolveTicket(from: PeerId, ticketId: string): ReturnType<SimulatedCore['resolveTicket']> {
    return this.#reservations.resolve(from, ticketId)
  }

  forgetTicket(from: PeerId, ticketId: string): void {
    this.#reservations.acknowledge(from, ticketId)
  }

  // ------------------------------------------------------------------------------------------------------- events

  /** A hold that wasn't started is let go. */
  handleMessage(from: PeerId, message: { type: string; id?: string }): Effect[] {
    if (message.type === 'release') this.#reservations.release(from, message.id!)
    return []
  }

  handleNeighbourUp(): Effect[] {
    return []
  }

  handleNeighbourDown(): Effect[] {
    return []
  }

  handleRoundTrip(): void {}

  handleSample(_sample: MachineSample, now: number): Effect[] {
    return this.handleTimer(now)
  }

  setRules(rules: OwnerRules): Effect[] {
    this.#rules = rules
    return []
  }

  nextTimer(): number | undefined {
    return this.#reservations.nextTimer()
  }

  handleTimer(now: number): Effect[] {
    this.#reservations.expire(now)
    return []
  }

  get remembered(): number {
    return this.#homeJobs.size + this.#reservations.size
  }

  ownRecord(now: number): MachineRecord {
    this.#reservations.expire(now)
    return this.record(this.#oracle.truth(this.#init.self))
  }

  /** What this machine promised, on top of that load. */
  record(sample: MachineSample): MachineRecord {
    let homeDemand = 0
    for (const demand of this.#homeJobs.values()) homeDemand += demand
    return ownRecord(sample, this.#rules, homeDemand, this.#reservations)
  }

  /** Its load as sampled this moment. */
  #recordNow(): MachineRecord {
    return this.record(this.#oracle.sample(this.#init.self))
  }
}

const BY_RULE = 'by rule'

function traceOf(hops: PeerId[]) {
  return { candidates: [], hops, refusals: [], placedMs: 0, reason: BY_RULE }
}
