/**
 * What kappa's placement is compared with: every peer knows all others and asks a few of them, chosen by chance, directly.
 * One set of rules covers the papers' strategies; targets hold a slot at the visit, as kappa's do, so that only the choice
 * differs. Jobs that wait, must leave or may only go to some peers aren't told apart: nobody compares those.
 */

import { guestCapacity, homeCapacity, metric, worthTheWay } from '../core/metric.ts'
import { lackForGuest } from '../core/needs.ts'
import type { PeerCoreInit } from '../core/peer-core.ts'
import { Reservations, type StartAnswer } from '../core/reservations.ts'
import type {
  Effect,
  JobEnd,
  MachineRecord,
  MachineSample,
  Needs,
  OverlayMessage,
  OwnerRules,
  PeerId,
  PlaceRequest,
  Probe,
  ProbeReply,
  Ticket
} from '../core/types.ts'
import { draw } from './random.ts'
import type { Oracle, SimulatedCore } from './simulated-core.ts'

/** Answers that take longer count as lost, ms: as with kappa. */
const ANSWER_WITHIN_MS = 50

export interface ReferenceRule {
  /** Peers asked at once, and how often that is done while nobody accepts. */
  width: number
  rounds: number
  /** A job leaves only if its home has too few idle cores for it. */
  onlyFromBusy: boolean
  /** A target accepts only with enough idle cores. */
  onlyToIdle: boolean
  /** Home is one of those that chance chooses from, and then nobody is asked. */
  homeIsDrawn: boolean
  /** The best answer counts, and only if it is better than home; else the first. */
  compares: boolean
}

interface Offer {
  peer: PeerId
  probeId: string
  ticket: Ticket
  metric: number
}

interface Asking {
  jobId: string
  request: PlaceRequest
  askedAt: number
  deadline: number
  /** Those who are still to be asked. */
  candidates: PeerId[]
  /** Unanswered probes and whom they went to; at most `width`. */
  pending: Map<string, PeerId>
  offers: Offer[]
}

export class ReferenceCore implements SimulatedCore {
  protected readonly init: PeerCoreInit
  protected readonly oracle: Oracle
  readonly #rule: ReferenceRule
  readonly #reservations: Reservations
  /** Bounded by the simulation. */
  readonly #members = new Set<PeerId>()
  readonly #asking = new Map<string, Asking>()
  /** Cores of own jobs that run here, by job. */
  readonly #homeJobs = new Map<string, number>()
  #rules: OwnerRules

  constructor(init: PeerCoreInit, oracle: Oracle, rule: ReferenceRule) {
    this.init = init
    this.oracle = oracle
    this.#rule = rule
    this.#rules = init.rules
    this.#reservations = new Reservations(init)
  }

  // ------------------------------------------------------------------------------------------------------ placing

  place(jobId: string, request: PlaceRequest, now: number): Effect[] {
    if (request.local || !this.#mayLeave(request.needs)) return [this.placedHere(jobId, request.needs)]
    const { width, rounds, homeIsDrawn } = this.#rule
    const others = [...this.#members].filter((peer) => !request.not.includes(peer))
    const drawn = draw(this.init.random, homeIsDrawn ? [...others, this.init.self] : others, width * rounds)
    if (drawn.length === 0 || drawn[0] === this.init.self) return [this.placedHere(jobId, request.needs)]
    const asking: Asking = {
      jobId,
      request,
      askedAt: now,
      deadline: 0,
      candidates: drawn,
      pending: new Map(),
      offers: []
    }
    this.#asking.set(jobId, asking)
    return this.#ask(asking, now)
  }

  cancel(jobId: string): Effect[] {
    const asking = this.#asking.get(jobId)
    this.#asking.delete(jobId)
    return asking === undefined ? [] : this.#releaseAll(asking)
  }

  homeJobEnded(jobId: string): Effect[] {
    this.#homeJobs.delete(jobId)
    return []
  }

  protected placedHere(jobId: string, needs: Needs): Effect {
    this.#homeJobs.set(jobId, needs.demand)
    const trace = { candidates: [], hops: [], refusals: [], placedMs: 0, reason: 'by rule' }
    return { type: 'placed', jobId, where: 'here', reason: 'by rule', trace }
  }

  protected placedThere(jobId: string, probeId: string, ticket: Ticket, placedMs: number): Effect {
    const trace = { candidates: [], hops: [ticket.target], refusals: [], placedMs, reason: 'by rule' }
    const { target } = ticket
    const path = [this.init.self, target]
    const way = { kind: 'own' as const, name: target, path, addresses: [] }
    return { type: 'placed', jobId, where: 'there', ticket, probeId, ...way, reason: 'by rule', trace }
  }

  #mayLeave({ demand }: Needs): boolean {
    return !this.#rule.onlyFromBusy || homeCapacity(this.#recordNow()).idle < demand
  }

  #ask(asking: Asking, now: number): Effect[] {
    asking.deadline = now + ANSWER_WITHIN_MS
    const { needs } = asking.request
    const { self } = this.init
    return asking.candidates.splice(0, this.#rule.width).map((to) => {
      const id = this.init.newId()
      asking.pending.set(id, to)
      const way = { path: [self], hopsLeft: 0, best: 0, waitMs: ANSWER_WITHIN_MS, avoid: [], only: [] }
      const message: Probe = { type: 'probe', id, origin: self, needs, ...way }
      return { type: 'send', to, message }
    })
  }

  #replied(from: PeerId, reply: ProbeReply, now: number): Effect[] {
    for (const asking of this.#asking.values()) {
      if (!asking.pending.delete(reply.id)) continue
      const { ticket, id } = reply
      if (ticket !== undefined) {
        const value = metric(reply.entries[0]!.record, asking.request.needs.demand, { home: false })
        asking.offers.push({ peer: from, probeId: id, ticket, metric: value })
      }
      return asking.pending.size > 0 ? [] : this.#answered(asking, now)
    }
    return reply.ticket === undefined ? [] : [{ type: 'send', to: from, message: { type: 'release', id: reply.id } }]
  }

  #answered(asking: Asking, now: number): Effect[] {
    const best = this.#best(asking)
    if (best === undefined && asking.offers.length === 0 && asking.candidates.length > 0) return this.#ask(asking, now)
    this.#asking.delete(asking.jobId)
    asking.offers = asking.offers.filter((offer) => offer !== best)
    const effects = this.#releaseAll(asking)
    if (best === undefined) effects.push(this.placedHere(asking.jobId, asking.request.needs))
    else effects.push(this.placedThere(asking.jobId, best.probeId, best.ticket, now - asking.askedAt))
    return effects
  }

  #best({ offers, request }: Asking): Offer | undefined {
    if (!this.#rule.compares) return offers[0]
    const home = metric(this.#recordNow(), request.needs.demand, { home: true })
    let best: Offer | undefined
    let toBeat = worthTheWay(home, request.transferFactor, 'product')
    for (const offer of offers) {
      if (offer.metric <= toBeat) continue
      best = offer
      toBeat = offer.metric
    }
    return best
  }

  #releaseAll({ pending, offers }: Asking): Effect[] {
    const held = [...[...pending].map(([probeId, peer]) => ({ probeId, peer })), ...offers]
    return held.map(({ probeId, peer }) => ({ type: 'send', to: peer, message: { type: 'release', id: probeId } }))
  }

  // ------------------------------------------------------------------------------------------------ target's side

  startTicket(from: PeerId, ticketId: string, now: number): StartAnswer {
    return this.#reservations.start(from, ticketId, now, (needs) => lackForGuest(this.#recordNow(), needs))
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

  /** A ticket, if this machine takes the job. */
  hold(home: PeerId, probeId: string, needs: Needs, now: number): Ticket | undefined {
    this.#reservations.expire(now)
    const record = this.#recordNow()
    const busy = this.#rule.onlyToIdle && guestCapacity(record).idle < needs.demand
    if (busy || lackForGuest(record, needs) !== undefined) return undefined
    const granted = this.#reservations.reserve(
      { home, vouchers: [], kind: 'own' },
      probeId,
      needs,
      this.#rules.slots,
      now
    )
    return 'id' in granted ? granted : undefined
  }

  #probed(from: PeerId, { id, needs, path }: Probe, now: number): Effect[] {
    const record = this.#recordNow()
    const { self, name, epoch } = this.init
    const entry = { origin: self, epoch, sequence: 0, ageMs: 0, hopsLeft: 0, hops: 1, name, record }
    const ticket = this.hold(from, id, needs, now)
    const refusals = ticket === undefined ? [{ peer: self, code: 'slots', reason: 'is busy' }] : []
    const outcome = { path: [...path, self], refusals, entries: [entry], ...(ticket && { ticket, bestAt: 1 }) }
    return [{ type: 'send', to: from, message: { type: 'probe-reply', id, ...outcome } }]
  }

  // ------------------------------------------------------------------------------------------------------- events

  handleMessage(from: PeerId, message: OverlayMessage, now: number): Effect[] {
    if (message.type === 'probe') return this.#probed(from, message, now)
    if (message.type === 'probe-reply') return this.#replied(from, message, now)
    if (message.type === 'release') this.#reservations.release(from, message.id)
    return []
  }

  handleNeighbourUp(peer: PeerId): Effect[] {
    this.#members.add(peer)
    return []
  }

  handleNeighbourDown(peer: PeerId): Effect[] {
    this.#members.delete(peer)
    return []
  }

  handleRoundTrip(): void {}

  handleSample(_sample: MachineSample, now: number): Effect[] {
    this.#reservations.expire(now)
    return []
  }

  setRules(rules: OwnerRules): Effect[] {
    this.#rules = rules
    return []
  }

  nextTimer(): number | undefined {
    let next = this.#reservations.nextTimer()
    for (const { deadline } of this.#asking.values()) next = Math.min(next ?? deadline, deadline)
    return next
  }

  handleTimer(now: number): Effect[] {
    this.#reservations.expire(now)
    const effects: Effect[] = []
    for (const asking of this.#asking.values()) {
      if (now < asking.deadline) continue
      for (const [probeId, peer] of asking.pending) {
        effects.push({ type: 'send', to: peer, message: { type: 'release', id: probeId } })
      }
      asking.pending.clear()
      effects.push(...this.#answered(asking, now))
    }
    return effects
  }

  get remembered(): number {
    return this.#asking.size + this.#homeJobs.size + this.#reservations.size
  }

  ownRecord(now: number): MachineRecord {
    this.#reservations.expire(now)
    return this.record(this.oracle.truth(this.init.self))
  }

  /** What this machine promised, on top of that load. */
  record(sample: MachineSample): MachineRecord {
    let homeDemand = 0
    for (const demand of this.#homeJobs.values()) homeDemand += demand
    const { demand: guestDemand, memoryPromised } = this.#reservations
    const { slots, refuses, memoryFloor, labels, class: machineClass } = this.#rules
    const why = refuses === undefined ? {} : { refuses }
    const promised = { homeDemand, guestDemand, memoryPromised, memoryFloor, slots, labels }
    return { ...sample, ...promised, ...why, class: machineClass }
  }

  /** Its load as sampled this moment. */
  #recordNow(): MachineRecord {
    return this.record(this.oracle.sample(this.init.self))
  }
}
