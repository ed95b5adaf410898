/**
 * The rules of one peer: where home's jobs go, what guests may come, and what the neighbours are told.
 *
 * Sans I/O: events come in with the time, effects go out; the caller carries them out in order and calls `handleTimer` when
 * `nextTimer` is due, which may change with every call.
 */

import { Advertiser, type Announcement, announcementOf } from './advertiser.ts'
import type { TicketOutcome } from './home-job.ts'
import { Learning } from './learning.ts'
import { distributionMetric, metric } from './metric.ts'
import { type Lack, lackForGuest, lackForHome, slotsWanted } from './needs.ts'
import { ageOf, Neighbours } from './neighbours.ts'
import { ownRecord } from './own-record.ts'
import {
  type Decision,
  Placement,
  releaseOf,
  SAMPLE_FRESH_MS,
  SAMPLE_WAIT_MS,
  type Step,
  type Surroundings
} from './placement.ts'
import { Offers } from './propagation.ts'
import { Reservations, type StartAnswer, TICKET_VALID_MS } from './reservations.ts'
import {
  type AdvertisementEntry,
  type Effect,
  type JobEnd,
  MAX_ENTRIES,
  MAX_HOPS,
  type MachineRecord,
  type MachineSample,
  type MetricPolicy,
  type OverlayMessage,
  type OwnerRules,
  type PairingKind,
  type PeerId,
  type PlacementTrace,
  type PlaceRequest,
  type Probe,
  type ProbeReply
} from './types.ts'
import { Visits } from './visits.ts'
import { MAX_WAITING, WaitingJobs } from './waiting.ts'

/** Probes that wait for a fresh sample; more are answered from the old one. */
const MAX_PENDING_PROBES = 256
/** Won probes are remembered while a repeated reply could still release their ticket. */
const MAX_WON = 4_096
/** ms after which waiting jobs are tried again though nothing seems to have changed. */
const RETRY_MS = 1_000

export interface PeerCoreInit {
  self: PeerId
  name: string
  /** Persisted start counter of this daemon. */
  epoch: number
  metricPolicy: MetricPolicy
  rules: OwnerRules
  /** In [0, 1). */
  random: () => number
  /** 128 random bits in hex. */
  newId: () => string
  /** Whether a program of that name is on PATH here. */
  hasTool: (name: string) => boolean
  /** Whether the pairing with that peer was ended here: others don't bring it back. */
  banned: (peer: PeerId) => boolean
  /** Where this peer can be dialled: multiaddrs, at most MAX_ADDRESSES. */
  addresses: () => string[]
  /** What this home has learnt from its jobs; absent: everybody's word is taken. */
  learning?: Learning
}

export interface PeerView {
  /** `metric` is home's own view for a demand of 1. */
  self: { metric: number; record: MachineRecord }
  /** `metric`, for a demand of 1, and `record` are undefined while nothing fresh is known; `ageMs` is the record's. */
  neighbours: {
    peer: PeerId
    name: string
    connected: boolean
    metric: number | undefined
    ageMs: number | undefined
    record: MachineRecord | undefined
    /** How far its own word is believed here, in (0, 1]; its metric above is by that word. */
    trust: number
  }[]
  /** All machines that are known of now, neighbours included; `metric`, for a demand of 1, is less what the hops cost. */
  reachable: {
    peer: PeerId
    name: string
    via: PeerId
    metric: number
    hops: number
    ageMs: number
    record: MachineRecord
    trust: number
  }[]
}

export class PeerCore {
  readonly #init: PeerCoreInit
  readonly #neighbours: Neighbours
  readonly #visits: Visits
  readonly #offers: Offers
  readonly #advertiser = new Advertiser()
  readonly #reservations: Reservations
  readonly #around: Surroundings
  readonly #learning: Learning
  /** Jobs being placed; as many as clients wait, each for at most the budget. */
  readonly #placements = new Map<string, Placement>()
  readonly #waiting = new WaitingJobs()
  /** Thousandths of a core promised to each of home's own jobs that run here; home's jobs are never refused. */
  readonly #homeJobs = new Map<string, number>()
  /** By peer and probe; at most MAX_PENDING_PROBES. */
  readonly #pendingProbes = new Map<string, { from: PeerId; probe: Probe; arrivedAt: number; answerBy: number }>()
  /** When each won probe may be forgotten, oldest first; at most MAX_WON. */
  readonly #won = new Map<string, number>()
  #rules: OwnerRules
  #policy: MetricPolicy
  #sample: { values: MachineSample; at: number } | undefined
  #sampleAskedAt = Number.NEGATIVE_INFINITY
  #homeDemand = 0
  /** The own record, and what it was made from. */
  #recordOf:
    | {
        sample: { values: MachineSample; at: number } | undefined
        rules: OwnerRules
        homeDemand: number
        version: number
        record: MachineRecord
      }
    | undefined
  #announced: { record: MachineRecord; policy: MetricPolicy; announcement: Announcement } | undefined
  #sequence = 0
  #retryAt: number | undefined
  /** Something changed in a call that returns no effects: settle at this time. */
  #unsettledAt: number | undefined

  constructor(init: PeerCoreInit) {
    this.#init = init
    this.#rules = init.rules
    this.#policy = init.metricPolicy
    this.#neighbours = new Neighbours(init.self, init.banned)
    this.#offers = new Offers(this.#neighbours)
    this.#reservations = new Reservations(init)
    this.#learning = init.learning ?? new Learning()
    this.#around = this.#surroundings()
    this.#visits = this.#makeVisits()
  }

  // ----------------------------------------------------------------------------------------------- this machine

  /** The owner's word, from now on. Guests that run already stay; the caller ends them if the owner says so. */
  setRules(rules: OwnerRules, now: number): Effect[] {
    this.#rules = rules
    this.#advertiser.tellAll()
    this.#retryAt = now
    return this.#settle(now)
  }

  /** Neighbours learn of it with the next effects. */
  setMetricPolicy(policy: MetricPolicy): void {
    this.#policy = policy
  }

  /** Answers what waited for it. */
  handleSample(sample: MachineSample, now: number): Effect[] {
    this.#sample = { values: sample, at: now }
    this.#expire(now)
    const effects: Effect[] = []
    for (const key of this.#pendingProbes.keys()) effects.push(...this.#takePending(key, now))
    for (const placement of [...this.#placements.values()]) {
      effects.push(...this.#apply(placement, placement.handleSample(now), now))
    }
    return this.#settled(effects, now)
  }

  /** This machine's record as it would be told now, counting every promise. */
  ownRecord(now: number): MachineRecord {
    this.#reservations.expire(now)
    return this.#record()
  }

  /** What a peer calls itself, as far as it is told now. */
  nameOf(peer: PeerId): string | undefined {
    return this.#neighbours.get(peer)?.name ?? this.#neighbours.route(peer)?.entry.name
  }

  /** For `status`. */
  view(now: number): PeerView {
    const record = this.ownRecord(now)
    this.#neighbours.expire(now)
    const neighbours = [...this.#neighbours.all()].map(({ peer, name, connected, claims }) => {
      const own = claims.get(peer)
      const value = own && metric(own.entry.record, 1, { home: false }, this.#policy)
      return {
        peer,
        name,
        connected,
        metric: value,
        ageMs: own && ageOf(own, now),
        record: own?.entry.record,
        trust: this.#learning.trust(peer, now)
      }
    })
    const reachable = this.#neighbours.routes().map((route) => {
      const { origin, name, hops, record } = route.entry
      const value = distributionMetric(record, 1, hops, this.#policy)
      return {
        peer: origin,
        name,
        via: route.via.peer,
        metric: value,
        hops,
        ageMs: ageOf(route, now),
        record,
        trust: this.#learning.trust(origin, now)
      }
    })
    return { self: { metric: metric(record, 1, { home: true }, this.#policy), record }, neighbours, reachable }
  }

  // -------------------------------------------------------------------------------------------------- neighbours

  handleNeighbourUp(peer: PeerId, info: { kind: PairingKind; name: string }, now: number): Effect[] {
    this.#neighbours.up(peer, info, now)
    this.#advertiser.up(peer, now)
    this.#retryAt = now
    return this.#settle(now)
  }

  handleNeighbourDown(peer: PeerId, now: number): Effect[] {
    this.#neighbours.down(peer)
    this.#advertiser.down(peer)
    for (const [key, { from }] of this.#pendingProbes) if (from === peer) this.#pendingProbes.delete(key)
    const effects = this.#visits.handleNeighbourDown(peer, now)
    for (const placement of [...this.#placements.values()]) {
      effects.push(...this.#apply(placement, placement.handleNeighbourDown(peer, now), now))
    }
    return this.#settled(effects, now)
  }

  /** A measured round trip to that neighbour, in ms. */
  handleRoundTrip(peer: PeerId, ms: number): void {
    this.#neighbours.roundTrip(peer, ms)
  }

  /** Messages count only from neighbours that are connected. */
  handleMessage(from: PeerId, message: OverlayMessage, now: number): Effect[] {
    if (!this.#neighbours.isConnected(from)) return []
    this.#expire(now)
    this.#neighbours.heard(from, now)
    return this.#settled(this.#received(from, message, now), now)
  }

  // ------------------------------------------------------------------------------------------------------- times

  handleTimer(now: number): Effect[] {
    this.#expire(now)
    const effects: Effect[] = []
    for (const [key, { answerBy }] of this.#pendingProbes) {
      if (now >= answerBy) effects.push(...this.#takePending(key, now))
    }
    effects.push(...this.#visits.handleTimer(now))
    for (const placement of [...this.#placements.values()]) {
      if (now >= placement.nextTimer()) effects.push(...this.#apply(placement, placement.handleTimer(now), now))
    }
    return this.#settled(effects, now)
  }

  /** When to call `handleTimer`, in ms of the same clock; undefined: only events matter. */
  nextTimer(): number | undefined {
    let next = Number.POSITIVE_INFINITY
    for (const time of this.#times()) if (time !== undefined && time < next) next = time
    return Number.isFinite(next) ? next : undefined
  }

  *#times(): Generator<number | undefined> {
    yield this.#reservations.nextTimer()
    yield this.#neighbours.nextTimer()
    yield this.#advertiser.nextTimer()
    yield this.#visits.nextTimer()
    yield this.#retryAt
    yield this.#unsettledAt
    for (const { answerBy } of this.#pendingProbes.values()) yield answerBy
    for (const placement of this.#placements.values()) yield placement.nextTimer()
    const [won] = this.#won.values()
    yield won
  }

  // --------------------------------------------------------------------------------------------------- home side

  /**
   * Places a job of this home: ends in `placed` or `unplaceable` within the budget, or after `queued` whenever a slot is free.
   * A job that is placed here counts until `homeJobEnded`. Throws for a job that is being placed already.
   */
  place(jobId: string, request: PlaceRequest, now: number): Effect[] {
    if (this.#placements.has(jobId) || this.#waiting.get(jobId)) throw new Error(`job ${jobId} is being placed already`)
    this.#expire(now)
    this.#advertiser.active(now)
    if (!request.wait) {
      const placement = new Placement(jobId, request, now, now, this.#around)
      return this.#settled(this.#begin(placement, now), now)
    }
    const position = this.#waiting.add(jobId, request, now)
    if (position === undefined) return this.#settled([turnedAway(jobId)], now)
    const effects = this.#tryWaiting(now)
    const waiting = this.#waiting.get(jobId)
    if (waiting !== undefined && !waiting.announced && !waiting.placing) {
      waiting.announced = true
      effects.push({ type: 'queued', jobId, position })
    }
    return this.#settled(effects, now)
  }

  /** The client went away while its job was being placed or waited. */
  cancel(jobId: string, now: number): Effect[] {
    const effects = this.#placements.get(jobId)?.cancel() ?? []
    this.#placements.delete(jobId)
    this.#waiting.delete(jobId)
    this.#retryAt = now
    return this.#settled(effects, now)
  }

  /** A job that was placed here ended; others are passed over. */
  homeJobEnded(jobId: string, now: number): Effect[] {
    this.#homeDemand -= this.#homeJobs.get(jobId) ?? 0
    this.#homeJobs.delete(jobId)
    this.#advertiser.active(now)
    this.#retryAt = now
    return this.#settle(now)
  }

  // ------------------------------------------------------------------------------------------------- target side

  /** May this ticket be started now? At most one call for each ticket is ever answered with yes. */
  startTicket(from: PeerId, ticketId: string, now: number): StartAnswer {
    this.#advertiser.active(now)
    this.#unsettledAt = now
    return this.#reservations.start(from, ticketId, now, (needs) => lackForGuest(this.#record(), needs))
  }

  /** Bytes that a running guest uses now: so much of what was promised to it shows in the samples already. */
  guestMemoryUsed(ticketId: string, bytes: number): void {
    this.#reservations.memoryUsed(ticketId, bytes)
  }

  guestJobEnded(ticketId: string, end: JobEnd, now: number): Effect[] {
    this.#reservations.jobEnded(ticketId, end, now)
    this.#advertiser.active(now)
    return this.#settle(now)
  }

  /** What became of the ticket; unless it was started it never will be after this. */
  resolveTicket(from: PeerId, ticketId: string, now: number): TicketOutcome {
    this.#unsettledAt = now
    return this.#reservations.resolve(from, ticketId)
  }

  /** Home knows how the job ended: its record goes before others when room is needed. */
  forgetTicket(from: PeerId, ticketId: string): void {
    this.#reservations.acknowledge(from, ticketId)
  }

  /**
   * The pairing ended: the peer is forgotten, and all that is held for it or for homes that it vouched for is void.
   * `running`: tickets of such jobs, for the caller to end.
   */
  voidTicketsOf(peer: PeerId, now: number): { effects: Effect[]; running: string[] } {
    const running = this.#reservations.voidHoldsOf(peer)
    const effects = this.handleNeighbourDown(peer, now)
    this.#neighbours.forget(peer)
    return { effects, running }
  }

  /** Entries of all tables but the neighbours'; 0 when nothing is remembered of any job. */
  get remembered(): number {
    const home = this.#placements.size + this.#waiting.size + this.#homeJobs.size + this.#won.size
    return home + this.#pendingProbes.size + this.#visits.size + this.#reservations.size
  }

  // --------------------------------------------------------------------------------------------------- messages

  #received(from: PeerId, message: OverlayMessage, now: number): Effect[] {
    switch (message.type) {
      case 'advertisement':
        this.#neighbours.advertised(from, message, now)
        this.#advertiser.heardOfJob(now - message.idleMs, now)
        if (this.#waiting.size > 0) this.#retryAt = now
        return []
      case 'probe':
        return this.#probed(from, message, now)
      case 'probe-reply':
        return this.#replied(from, message, now)
      case 'release':
        this.#pendingProbes.delete(pendingKey(from, message.id))
        return this.#visits.handleRelease(from, message.id)
    }
  }

  #probed(from: PeerId, probe: Probe, now: number): Effect[] {
    this.#advertiser.active(now)
    const known = this.#visits.knows(from, probe.id)
    const fresh = this.#sampleAgeMs(now) <= SAMPLE_FRESH_MS
    if (known || fresh || this.#pendingProbes.size >= MAX_PENDING_PROBES) {
      return this.#visits.handleProbe(from, probe, now)
    }
    const answerBy = now + Math.min(SAMPLE_WAIT_MS, probe.waitMs)
    const key = pendingKey(from, probe.id)
    // One that comes again waits no longer than the first.
    if (!this.#pendingProbes.has(key)) this.#pendingProbes.set(key, { from, probe, arrivedAt: now, answerBy })
    return this.#askForSample(now)
  }

  /** Nobody waits any more for one that was held up, as by a suspend, beyond its time. */
  #takePending(key: string, now: number): Effect[] {
    const { from, probe, arrivedAt } = this.#pendingProbes.get(key)!
    this.#pendingProbes.delete(key)
    return now > arrivedAt + probe.waitMs ? [] : this.#visits.handleProbe(from, probe, now, arrivedAt)
  }

  /** An answer to a probe of this home, or to one that was sent on for another. */
  #replied(from: PeerId, reply: ProbeReply, now: number): Effect[] {
    for (const entry of reply.entries) {
      if (reply.path.includes(entry.origin)) this.#neighbours.answered(from, entry, now)
    }
    if (reply.path[0] !== this.#init.self) return this.#visits.handleReply(from, reply, now)
    for (const placement of this.#placements.values()) {
      if (placement.asked(reply.id)) return this.#apply(placement, placement.handleReply(from, reply, now), now)
    }
    // Too late, or cancelled: nobody will use what it holds.
    return reply.ticket === undefined || this.#won.has(reply.id) ? [] : [releaseOf(from, reply.id)]
  }

  // -------------------------------------------------------------------------------------------------- placements

  #begin(placement: Placement, now: number): Effect[] {
    this.#placements.set(placement.jobId, placement)
    return this.#apply(placement, placement.begin(now), now)
  }

  #apply(placement: Placement, step: Step, now: number): Effect[] {
    const effects = step.sends
    if (step.decision !== undefined) {
      this.#placements.delete(placement.jobId)
      effects.push(...this.#decided(placement, step.decision, now))
    }
    if (step.sample === true) effects.push(...this.#askForSample(now))
    return effects
  }

  #decided(placement: Placement, decision: Decision, now: number): Effect[] {
    const { jobId, request } = placement
    const { trace } = decision
    const { reason } = trace
    if (decision.where === 'nowhere') {
      if (request.wait) return this.#keepWaiting(jobId, decision.hope, trace)
      return [{ type: 'unplaceable', jobId, trace }]
    }
    if (request.wait) {
      this.#waiting.delete(jobId)
      this.#retryAt = now
    }
    if (decision.where === 'there') {
      this.#rememberWon(decision.probeId, now)
      return [{ ...decision, type: 'placed', jobId, reason }]
    }
    const promised = Math.ceil(request.needs.demand * 1000)
    this.#homeDemand += promised - (this.#homeJobs.get(jobId) ?? 0)
    this.#homeJobs.set(jobId, promised)
    return [{ type: 'placed', jobId, where: 'here', reason, trace }]
  }

  /** A job that was told to wait also waits for peers that left and owners that paused; a new one is told so instead. */
  #keepWaiting(jobId: string, hope: 'soon' | 'later' | 'none', trace: PlacementTrace): Effect[] {
    const waiting = this.#waiting.get(jobId)!
    if (hope === 'none' || (hope === 'later' && !waiting.announced)) {
      this.#waiting.delete(jobId)
      return [{ type: 'unplaceable', jobId, trace }]
    }
    waiting.placing = false
    if (waiting.announced) return []
    waiting.announced = true
    return [{ type: 'queued', jobId, position: 1 }]
  }

  /** One of each lane at a time. */
  #tryWaiting(now: number): Effect[] {
    const effects: Effect[] = []
    for (const waiting of this.#waiting.heads()) {
      if (waiting.placing) continue
      waiting.placing = true
      const { jobId, request, askedAt } = waiting
      effects.push(...this.#begin(new Placement(jobId, request, askedAt, now, this.#around), now))
    }
    return effects
  }

  #rememberWon(probeId: string, now: number): void {
    this.#won.set(probeId, now + TICKET_VALID_MS)
    if (this.#won.size > MAX_WON) this.#won.delete(this.#won.keys().next().value!)
  }

  #surroundings(): Surroundings {
    const core = this
    return {
      self: this.#init.self,
      neighbours: this.#neighbours,
      random: this.#init.random,
      newId: this.#init.newId,
      get policy() {
        return core.#policy
      },
      get forward() {
        return core.#forward
      },
      ownRecord: () => this.#record(),
      sampleAgeMs: (now) => this.#sampleAgeMs(now),
      homeLack: (needs): Lack | undefined => lackForHome(this.#record(), needs, this.#init.hasTool),
      homeSlotFree: (demand) => this.#homeSlotFree(demand),
      trust: (peer, now) => this.#learning.trust(peer, now),
      wayCost: (peer, via, hops, work) => {
        const roundTripMs = hops * (this.#neighbours.get(via)?.roundTripMs ?? 0)
        return this.#learning.wayCost(peer, work, roundTripMs)
      }
    }
  }

  get #forward(): number {
    return Math.min(MAX_HOPS, this.#rules.forward)
  }

  #homeSlotFree(demand: number): boolean {
    const { homeSlots } = this.#rules
    if (homeSlots <= 0) return false
    return this.#homeDemand + Math.round(slotsWanted(demand, homeSlots) * 1000) <= Math.floor(homeSlots * 1000)
  }

  // -------------------------------------------------------------------------------------------------- own record

  /** Made anew only when something in it has changed. */
  #record(): MachineRecord {
    const of = this.#recordOf
    const { version } = this.#reservations
    const known = of !== undefined && of.sample === this.#sample && of.rules === this.#rules && of.version === version
    if (known && of.homeDemand === this.#homeDemand) return of.record
    this.#recordOf = {
      sample: this.#sample,
      rules: this.#rules,
      homeDemand: this.#homeDemand,
      version,
      record: ownRecord(this.#sample?.values, this.#rules, this.#homeDemand / 1000, this.#reservations)
    }
    return this.#recordOf.record
  }

  #announcement(): Announcement {
    const record = this.#record()
    if (this.#announced?.record !== record || this.#announced.policy !== this.#policy) {
      this.#announced = { record, policy: this.#policy, announcement: announcementOf(record, this.#policy) }
    }
    return this.#announced.announcement
  }

  /** A friend tells nobody else. */
  #entryFor(peer: PeerId, now: number): AdvertisementEntry {
    const own = this.#neighbours.get(peer)?.kind === 'own'
    const ageMs = this.#sample === undefined ? 0 : now - this.#sample.at
    this.#sequence++
    return {
      origin: this.#init.self,
      epoch: this.#init.epoch,
      sequence: this.#sequence,
      ageMs,
      hopsLeft: own ? this.#forward - 1 : 0,
      hops: 1,
      name: this.#init.name,
      record: this.#record()
    }
  }

  #advertisementFor(peer: PeerId, periodMs: number, now: number): Effect {
    const mayForward = this.#forward > 1
    const others = mayForward ? this.#offers.entriesFor(peer, this.#policy, MAX_ENTRIES - 1, now) : []
    const entries = [this.#entryFor(peer, now), ...others]
    const idleMs = this.#advertiser.idleMs(now)
    return { type: 'send', to: peer, message: { type: 'advertisement', periodMs, idleMs, entries } }
  }

  #makeVisits(): Visits {
    const core = this
    const { self, random, hasTool, banned, addresses } = this.#init
    return new Visits({
      self,
      random,
      hasTool,
      banned,
      addresses,
      neighbours: this.#neighbours,
      reservations: this.#reservations,
      get policy() {
        return core.#policy
      },
      get slots() {
        return core.#rules.slots
      },
      get forward() {
        return core.#forward
      },
      record: () => this.#record(),
      entryFor: (peer, now) => {
        this.#advertiser.answered(peer, this.#announcement(), this.#offers.best(peer, this.#policy))
        return this.#entryFor(peer, now)
      }
    })
  }

  #sampleAgeMs(now: number): number {
    return this.#sample === undefined ? Number.POSITIVE_INFINITY : now - this.#sample.at
  }

  /** Once, however many wait for it. */
  #askForSample(now: number): Effect[] {
    if (now - this.#sampleAskedAt < SAMPLE_WAIT_MS && this.#sampleAskedAt > (this.#sample?.at ?? -1)) return []
    this.#sampleAskedAt = now
    return [{ type: 'sample' }]
  }

  // ---------------------------------------------------------------------------------------------------- settling

  #expire(now: number): void {
    this.#reservations.expire(now)
    this.#neighbours.expire(now)
    for (const [id, until] of this.#won) {
      if (now < until) break
      this.#won.delete(id)
    }
  }

  #settled(effects: Effect[], now: number): Effect[] {
    effects.push(...this.#settle(now))
    return effects
  }

  /** What follows from whatever just changed: waiting jobs are tried, neighbours are told. */
  #settle(now: number): Effect[] {
    this.#unsettledAt = undefined
    const effects: Effect[] = []
    while (this.#waiting.size > 0 && this.#retryAt !== undefined && now >= this.#retryAt) {
      this.#retryAt = undefined
      effects.push(...this.#tryWaiting(now))
    }
    this.#retryAt = this.#waiting.size > 0 ? (this.#retryAt ?? now + RETRY_MS) : undefined
    const busy = this.#reservations.running > 0 || this.#homeJobs.size > 0 || this.#waiting.size > 0
    if (busy) this.#advertiser.active(now)
    for (const { home, admitted } of this.#reservations.takeAdmissions()) {
      effects.push({ type: admitted ? 'admit' : 'dismiss', home })
    }
    const { peers, periodMs } = this.#advertiser.due(this.#announcement(), this.#offers, this.#policy, now)
    for (const peer of peers) effects.push(this.#advertisementFor(peer, periodMs, now))
    return effects
  }
}

function pendingKey(from: PeerId, probeId: string): string {
  return `${from} ${probeId}`
}

function turnedAway(jobId: string): Effect {
  const reason = `${MAX_WAITING} jobs wait already`
  return { type: 'unplaceable', jobId, trace: { candidates: [], hops: [], refusals: [], placedMs: 0, reason } }
}
