/**
 * The rules of one peer: where home's jobs go, what guests may come, and what the neighbours are told.
 *
 * Sans I/O: events come in with the time, effects go out; the caller carries them out in order and calls `handleTimer` when
 * `nextTimer` is due, which may change with every call.
 */

import { Activity } from './activity.ts'
import { type Announcement, announcementOf } from './advertiser.ts'
import type { TicketOutcome } from './home-job.ts'
import { informationPolicy } from './information/index.ts'
import type { Informer, Teller } from './information/policy.ts'
import { MACHINES_TO_COMPARE } from './judging.ts'
import { Learning } from './learning.ts'
import { distributionMetric, homeCapacity, metric } from './metric.ts'
import { type Lack, lackForGuest, lackForHome, lackOfCommand, slotsWanted } from './needs.ts'
import { ageOf, Neighbours } from './neighbours.ts'
import { ownRecord } from './own-record.ts'
import type { PaperReply } from './paper-messages.ts'
import { PaperMetrics } from './paper-metrics.ts'
import { PaperWalks } from './paper-walks.ts'
import { Placement } from './placement.ts'
import {
  type Decision,
  isAllowed,
  mayLeave,
  type PlaceOrder,
  type Placing,
  releaseOf,
  SAMPLE_FRESH_MS,
  SAMPLE_WAIT_MS,
  type Step,
  type Surroundings
} from './placing.ts'
import { Offers } from './propagation.ts'
import { Pulling } from './pulling.ts'
import { Reservations, type StartAnswer, TICKET_VALID_MS } from './reservations.ts'
import { DEFAULT_STRATEGY, strategyNamed } from './strategies/index.ts'
import { pulledBy } from './strategies/pull.ts'
import type { Placer, Strategy } from './strategies/strategy.ts'
import {
  type AdvertisementEntry,
  type Effect,
  type JobEnd,
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
  type ProbeReply,
  type Pull
} from './types.ts'
import { Visits } from './visits.ts'
import { MAX_WAITING, WaitingJobs } from './waiting.ts'

/** Probes that wait for a fresh sample; more are answered from the old one. */
const MAX_PENDING_PROBES = 256
/** Won probes are remembered while a repeated reply could still release their ticket. */
const MAX_WON = 4_096
/** ms after which waiting jobs are tried again though nothing seems to have changed. */
const RETRY_MS = 1_000
/** "The measurements are taken every five seconds" (the paper), so Algorithm I goes round as often. */
const PAPER_DELAY_MS = 5_000

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
  /** Why its owner doesn't let that home run the command here; absent: everybody may run everything. */
  forbids?: (home: PeerId, kind: PairingKind, command: string) => string | undefined
  /** Whether the pairing with that peer was ended here: others don't bring it back. */
  banned: (peer: PeerId) => boolean
  /** Where this peer can be dialled: multiaddrs, at most MAX_ADDRESSES. */
  addresses: () => string[]
  /** What this home has learnt from its jobs; absent: everybody's word is taken. */
  learning?: Learning
  /** How jobs are placed; the first of the strategies unless given. */
  strategy?: string
  /** What is told to whom; the strategy's own unless given. */
  information?: string
  /** ms between the rounds of the paper's Algorithm I, > 0; 5 s unless given. */
  paperDelayMs?: number
}

export interface PeerView {
  /** `metric` is home's own view for a demand of 1. */
  self: { metric: number; record: MachineRecord }
  /** `metric`, for a demand of 1, and `record` are undefined while nothing fresh is known; `ageMs` is the record's. */
  neighbours: {
    peer: PeerId
    name: string
    connected: boolean
    /** Smoothed; undefined until measured. */
    roundTripMs: number | undefined
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
  readonly #activity = new Activity()
  readonly #paperMetrics = new PaperMetrics()
  readonly #paperWalks: PaperWalks
  readonly #pulling: Pulling
  readonly #teller: Teller
  readonly #reservations: Reservations
  readonly #around: Surroundings
  readonly #learning: Learning
  /** Jobs being placed; as many as clients wait, each for at most the budget. */
  readonly #placements = new Map<string, Placing>()
  readonly #waiting = new WaitingJobs()
  /** Thousandths of a core promised to each of home's own jobs that run here; home's jobs are never refused. */
  readonly #homeJobs = new Map<string, number>()
  /** By peer and probe; at most MAX_PENDING_PROBES. */
  readonly #pendingProbes = new Map<string, { from: PeerId; probe: Probe; arrivedAt: number; answerBy: number }>()
  /** When each won probe may be forgotten, oldest first; at most MAX_WON. */
  readonly #won = new Map<string, number>()
  #strategy: Strategy
  #placer: Placer
  #information: string
  #informer: Informer
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
  /** Who says that it is the fastest of all, and the speed of the next. */
  #fastest: { version: number; machines: number; first: { peer: PeerId; speed: number }; second: number } | undefined
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
    this.#learning.watch({
      recordOf: (peer) => this.#neighbours.route(peer)?.entry.record,
      nextSpeed: (peer) => this.#nextSpeed(peer)
    })
    this.#around = this.#surroundings()
    const host = this.#host()
    this.#visits = new Visits(host)
    this.#paperWalks = new PaperWalks(host)
    this.#pulling = new Pulling(host)
    this.#teller = host
    this.#strategy = strategyNamed(init.strategy ?? DEFAULT_STRATEGY)
    this.#placer = this.#strategy.create()
    this.#information = init.information ?? this.#strategy.information
    this.#informer = informationPolicy(this.#information).create(this.#teller)
  }

  // ----------------------------------------------------------------------------------------------- this machine

  /** The owner's word, from now on. Guests that run already stay; the caller ends them if the owner says so. */
  setRules(rules: OwnerRules, now: number): Effect[] {
    this.#rules = rules
    this.#informer.tellAll()
    this.#retryAt = now
    return this.#settle(now)
  }

  /** Neighbours learn of it with the next effects. */
  setMetricPolicy(policy: MetricPolicy): void {
    this.#policy = policy
  }

  /**
   * Jobs that are asked for, or tried again, from now on are placed by that strategy; those that are being placed go on as they
   * began, and those that run don't notice. `information`: the strategy's own unless given. Throws for unknown names.
   */
  setStrategy(name: string, information: string | undefined, now: number): Effect[] {
    if (name !== this.#strategy.name) {
      this.#strategy = strategyNamed(name)
      this.#placer = this.#strategy.create()
      this.#retryAt = now
    }
    const policy = information ?? this.#strategy.information
    if (policy !== this.#information) {
      this.#informer = informationPolicy(policy).create(this.#teller)
      this.#information = policy
      for (const { peer, connected } of this.#neighbours.all()) if (connected) this.#informer.up(peer, now)
    }
    return this.#settle(now)
  }

  /** What holds. */
  get strategy(): { name: string; information: string } {
    return { name: this.#strategy.name, information: this.#information }
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
    const neighbours = [...this.#neighbours.all()].map(({ peer, name, connected, roundTripMs, claims }) => {
      const own = claims.get(peer)
      const said = this.#paperMetrics.of(peer)
      const value = own === undefined ? said?.distance : metric(own.entry.record, 1, { home: false }, this.#policy)
      return {
        peer,
        name,
        connected,
        roundTripMs,
        metric: value,
        ageMs: own === undefined ? said && now - said.heardAt : ageOf(own, now),
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
    this.#paperMetrics.up(peer)
    this.#informer.up(peer, now)
    this.#retryAt = now
    return this.#settle(now)
  }

  handleNeighbourDown(peer: PeerId, now: number): Effect[] {
    this.#neighbours.down(peer)
    this.#paperMetrics.down(peer)
    this.#informer.down(peer)
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
    yield this.#informer.nextTimer()
    if (this.#strategy.pulls) yield this.#pulling.nextTimer()
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
    this.#active(now)
    const order = { jobId, request, askedAt: now, waits: request.wait || this.#mustQueue(request) }
    if (!order.waits) return this.#settled(this.#begin(this.#placer(order, now, this.#around), now), now)
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

  /** What keeps home itself from running that job, whatever its user says of machines. */
  homeLack(request: PlaceRequest): Lack | undefined {
    return this.#around.homeLack(request)
  }

  /** Jobs that wait, and their positions in line, 1 for the first. */
  waiting(): Iterable<[string, number]> {
    return this.#waiting.positions()
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
    this.#active(now)
    this.#retryAt = now
    return this.#settle(now)
  }

  /** A job of home's ended on that machine: what waits here need not hear from there that its place is free. */
  farJobEnded(target: PeerId, demand: number, now: number): Effect[] {
    if (this.#waiting.size === 0) return []
    this.#neighbours.freed(target, demand)
    this.#retryAt = now
    return this.#settle(now)
  }

  // ------------------------------------------------------------------------------------------------- target side

  /** May this ticket be started now, for that command? At most one call for each ticket is ever answered with yes. */
  startTicket(from: PeerId, ticketId: string, now: number, command?: string): StartAnswer {
    this.#active(now)
    this.#unsettledAt = now
    return this.#reservations.start(from, ticketId, now, ({ needs, kind }) => {
      const forbidden = command === undefined ? undefined : this.#init.forbids?.(from, kind, command)
      return lackForGuest(this.#record(), needs) ?? lackOfCommand(forbidden)
    })
  }

  /** Bytes that a running guest uses now: so much of what was promised to it shows in the samples already. */
  guestMemoryUsed(ticketId: string, bytes: number): void {
    this.#reservations.memoryUsed(ticketId, bytes)
  }

  guestJobEnded(ticketId: string, end: JobEnd, now: number): Effect[] {
    this.#reservations.jobEnded(ticketId, end, now)
    this.#pulling.freed(now)
    this.#active(now)
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
        if (this.#activity.heardOfJob(now - message.idleMs, now)) this.#informer.woke(now)
        if (this.#waiting.size > 0) this.#retryAt = now
        return []
      case 'probe':
        return this.#probed(from, message, now)
      case 'probe-reply':
        return this.#replied(from, message, now)
      case 'release':
        this.#pendingProbes.delete(pendingKey(from, message.id))
        return this.#visits.handleRelease(from, message.id)
      case 'pull':
        return this.#pulled(from, message, now)
      case 'paper-metric':
        this.#paperMetrics.heard(from, message.value, now)
        return []
      case 'paper-probe': {
        this.#active(now)
        const step = this.#paperWalks.handleProbe(from, message, now)
        if (step?.type === 'paper-reply') return this.#paperReplied(from, step, now)
        return step === undefined ? [] : [step]
      }
      case 'paper-reply':
        return this.#paperReplied(from, message, now)
    }
  }

  #paperReplied(from: PeerId, reply: PaperReply, now: number): Effect[] {
    if (reply.path[0] !== this.#init.self) {
      const back = this.#paperWalks.passBack(reply)
      return back === undefined ? [] : [back]
    }
    for (const placement of this.#placements.values()) {
      if (placement.asked(reply.id)) return this.#apply(placement, placement.handleReply(from, reply, now), now)
    }
    return []
  }

  /** Somebody has idle cores: gets the first job that waits and may go there, or the question goes on. */
  #pulled(from: PeerId, pull: Pull, now: number): Effect[] {
    const { to, path, entry } = pull
    if (path.at(-1) !== from || entry.origin !== path[0]) return []
    this.#neighbours.answered(from, entry, now)
    if (to !== this.#init.self) return this.#pulling.passOn(from, pull, now)
    for (const waiting of this.#waiting.heads()) {
      const { jobId, request, askedAt } = waiting
      if (waiting.placing || !isAllowed(request, entry.origin)) continue
      waiting.placing = true
      const order = { jobId, request, askedAt, waits: true }
      return this.#begin(new Placement(order, now, this.#around, pulledBy(entry.origin)), now)
    }
    return []
  }

  #probed(from: PeerId, probe: Probe, now: number): Effect[] {
    this.#active(now)
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

  #begin(placement: Placing, now: number): Effect[] {
    this.#placements.set(placement.order.jobId, placement)
    return this.#apply(placement, placement.begin(now), now)
  }

  #apply(placement: Placing, step: Step, now: number): Effect[] {
    const effects = step.sends
    if (step.decision !== undefined) {
      this.#placements.delete(placement.order.jobId)
      effects.push(...this.#decided(placement.order, step.decision, now))
    }
    if (step.sample === true) effects.push(...this.#askForSample(now))
    return effects
  }

  #decided({ jobId, request, waits }: PlaceOrder, decision: Decision, now: number): Effect[] {
    const { trace } = decision
    const { reason } = trace
    if (decision.where === 'nowhere') {
      if (waits) return this.#keepWaiting(jobId, decision.hope, trace)
      return [{ type: 'unplaceable', jobId, trace }]
    }
    if (waits) {
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
      const order = { jobId, request, askedAt, waits: true }
      effects.push(...this.#begin(this.#placer(order, now, this.#around), now))
    }
    return effects
  }

  /** Under a strategy that pulls, jobs for which no core is idle here wait for one, here or wherever one is idle first. */
  #mustQueue(request: PlaceRequest): boolean {
    return this.#strategy.pulls && mayLeave(request, this.#init.self) && !this.#homeSlotFree(request.needs.demand)
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
      paperMetrics: this.#paperMetrics,
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
      homeLack: ({ needs, memoryGuessed }): Lack | undefined =>
        lackForHome(this.#record(), memoryGuessed ? { ...needs, memoryBytes: 0 } : needs, this.#init.hasTool),
      homeSlotFree: (demand) => this.#homeSlotFree(demand),
      trust: (peer, now) => this.#learning.trust(peer, now),
      trustHere: (now) => this.#learning.trustHere(now),
      wayCost: (peer, via, hops, work) => {
        const roundTripMs = hops * (this.#neighbours.get(via)?.roundTripMs ?? 0)
        return this.#learning.wayCost(peer, work, roundTripMs)
      }
    }
  }

  /** By who is known now; made anew when that changes. */
  #nextSpeed(peer: PeerId): number | undefined {
    const { version } = this.#neighbours
    if (this.#fastest?.version !== version) {
      const routes = this.#neighbours.routes().map(({ entry }) => ({ peer: entry.origin, speed: entry.record.speed }))
      const machines = [...routes, { peer: this.#init.self, speed: this.#record().speed }]
      const [first, second] = machines.toSorted((a, b) => b.speed - a.speed)
      this.#fastest = { version, machines: machines.length, first: first!, second: second?.speed ?? 0 }
    }
    const { machines, first, second } = this.#fastest
    return machines < MACHINES_TO_COMPARE ? undefined : peer === first.peer ? second : first.speed
  }

  get #forward(): number {
    return Math.min(MAX_HOPS, this.#rules.forward)
  }

  #homeSlotFree(demand: number): boolean {
    if (this.#strategy.pulls) return this.#homeDemand === 0 || homeCapacity(this.#record()).idle >= demand
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

  /** What the parts see of this peer. */
  #host() {
    const core = this
    const {
      self,
      name,
      random,
      hasTool,
      forbids = () => undefined,
      banned,
      addresses,
      paperDelayMs = PAPER_DELAY_MS
    } = this.#init
    return {
      self,
      name,
      random,
      hasTool,
      forbids,
      banned,
      addresses,
      paperDelayMs,
      neighbours: this.#neighbours,
      reservations: this.#reservations,
      offers: this.#offers,
      activity: this.#activity,
      paperMetrics: this.#paperMetrics,
      get policy() {
        return core.#policy
      },
      get slots() {
        return core.#rules.slots
      },
      get forward() {
        return core.#forward
      },
      get forwards() {
        return core.#forward > 1
      },
      get measured() {
        return core.#sample !== undefined
      },
      get hasWaiting() {
        return core.#waiting.size > 0
      },
      record: () => this.#record(),
      announcement: () => this.#announcement(),
      entryFor: (peer: PeerId, now: number) => this.#entryFor(peer, now),
      answered: (peer: PeerId) => this.#informer.answered(peer),
      held: (home: PeerId, now: number) => this.#pulling.held(home, now)
    }
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
    if (busy) this.#active(now)
    for (const { home, admitted } of this.#reservations.takeAdmissions()) {
      effects.push({ type: admitted ? 'admit' : 'dismiss', home })
    }
    if (this.#strategy.pulls) effects.push(...this.#pulling.due(now))
    effects.push(...this.#informer.due(now))
    return effects
  }

  /** A job was asked for, came, or ended. */
  #active(now: number): void {
    if (this.#activity.heardOfJob(now, now)) this.#informer.woke(now)
  }
}

function pendingKey(from: PeerId, probeId: string): string {
  return `${from} ${probeId}`
}

function turnedAway(jobId: string): Effect {
  const reason = `${MAX_WAITING} jobs wait already`
  return { type: 'unplaceable', jobId, trace: { candidates: [], hops: [], refusals: [], placedMs: 0, reason } }
}
