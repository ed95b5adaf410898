/**
 * Where one job of this home goes (Algorithm II of the paper, with one budget and a second walk to another peer when the
 * first stays silent). Home's own metric is always the first candidate; nothing is delayed for want of an answer.
 */

import { metricWorth, type WayCost } from './learning.ts'
import { distributionMetric, homeCapacity, metric, share, worthTheWay } from './metric.ts'
import { isPassing, type Lack, lackForGuest } from './needs.ts'
import { ageOf, type Neighbours, type Route } from './neighbours.ts'
import {
  type Candidate,
  type Claimed,
  type Effect,
  MAX_NAMED,
  type MachineRecord,
  type MetricPolicy,
  type Needs,
  type PairingKind,
  type PeerId,
  type PlacementTrace,
  type PlaceRequest,
  type Probe,
  type ProbeReply,
  type Refusal,
  type Ticket,
  type Work
} from './types.ts'

/** ms from asking until the job runs at home for want of answers. */
export const PLACE_BUDGET_MS = 400
/** ms to wait for a fresh sample of the own load before the old one has to do. */
export const SAMPLE_WAIT_MS = 50
/** ms; an older sample is no basis for an answer. */
export const SAMPLE_FRESH_MS = 200
/** Candidates this near to the best are as good: a random one is asked, or homes that ask at once would collide. */
export const NEAR_EQUAL = 0.25
/** Walks that follow one that found nothing better than home, when the job can run here. */
const MAX_RETRIES = 2
/** ms that a walk gets for each hop beyond the first, before another is begun. */
export const HEDGE_HOP_MS = 25
/** Candidates that a trace tells. */
const MAX_CANDIDATES = 64

/** What a placement sees and uses of its peer. */
export interface Surroundings {
  readonly self: PeerId
  readonly policy: MetricPolicy
  readonly neighbours: Neighbours
  /** Hops that this home's jobs may go. */
  readonly forward: number
  random(): number
  newId(): string
  ownRecord(): MachineRecord
  /** Infinite before the first sample. */
  sampleAgeMs(now: number): number
  homeLack(needs: Needs): Lack | undefined
  /** How far that peer's own word about its speed is believed, in (0, 1]. */
  trust(peer: PeerId, now: number): number
  /** What the way to a peer so many hops away, through that neighbour, costs the job. */
  wayCost(peer: PeerId, via: PeerId, hops: number, work: Work): WayCost
  /** Whether one of home's own slots is free for a job that rather waits. */
  homeSlotFree(demand: number): boolean
}

export type Decision = { trace: PlacementTrace } & (
  | { where: 'here' }
  | {
      where: 'there'
      probeId: string
      ticket: Ticket
      kind: PairingKind
      name: string
      path: PeerId[]
      addresses: string[]
      claim?: Claimed
    }
  /** `hope`: whether waiting for slots may help (`soon`), or for a peer to come back or its owner to relent (`later`). */
  | { where: 'nowhere'; hope: 'soon' | 'later' | 'none' }
)

/** What one event led to: messages to send, and the decision when it fell. */
export interface Step {
  sends: Effect[]
  decision?: Decision
  /** The load must be sampled before the placement can go on. */
  sample?: true
}

/** A neighbour to be asked, for the sake of a machine so many hops away. */
interface Choice {
  origin: PeerId
  via: PeerId
  hops: number
  metric: number
  /** What it must say of itself to be chosen: more when its word is worth less. */
  best: number
}

interface Question {
  /** The neighbour that was asked. */
  peer: PeerId
  askedAt: number
  /** When to ask another; undefined once that was done. */
  hedgeAt: number | undefined
}

export class Placement {
  readonly jobId: string
  readonly request: PlaceRequest
  readonly askedAt: number
  readonly #around: Surroundings
  readonly #deadline: number
  /** Peers that walks have seen, and where they may not hold again; bounded by the walks. */
  readonly #seen = new Set<PeerId>()
  /** Machines for whose sake a walk was begun: nobody is asked twice for one. Bounded by the routes. */
  readonly #hoped = new Set<PeerId>()
  /** Walks that found nothing. */
  #failed = 0
  /** Unanswered probes by id; one for each neighbour at most. */
  readonly #questions = new Map<string, Question>()
  readonly #candidates: Candidate[] = []
  /** What the candidates said of themselves; bounded by the routes. */
  readonly #claims = new Map<PeerId, Claimed>()
  readonly #refusals: Refusal[] = []
  #hope: 'soon' | 'later' | 'none' = 'none'
  /** Until then a fresh sample is waited for. */
  #sampleBy: number | undefined
  #homeMetric = 0
  /** What another machine must reach to be chosen. */
  #toBeat = 0

  /** `askedAt`: when the user asked, which is earlier than `now` for a job that waited. */
  constructor(jobId: string, request: PlaceRequest, askedAt: number, now: number, around: Surroundings) {
    this.jobId = jobId
    this.request = request
    this.askedAt = askedAt
    this.#around = around
    this.#deadline = now + Math.min(request.budgetMs ?? PLACE_BUDGET_MS, PLACE_BUDGET_MS)
  }

  /** Whether this placement waits for the answer to that probe. */
  asked(probeId: string): boolean {
    return this.#questions.has(probeId)
  }

  nextTimer(): number {
    if (this.#sampleBy !== undefined) return this.#sampleBy
    let next = this.#deadline
    for (const { hedgeAt } of this.#questions.values()) next = Math.min(next, hedgeAt ?? next)
    return next
  }

  /** The first step. May end with the wish for a sample, when home's own load is what decides. */
  begin(now: number): Step {
    const compares = this.#mayRunHere() && this.#mayLeave() && this.#homeIsOpen() && this.#anyoneConnected()
    if (!compares || this.#around.sampleAgeMs(now) <= SAMPLE_FRESH_MS) return this.#decide(now)
    this.#sampleBy = now + SAMPLE_WAIT_MS
    return { sends: [], sample: true }
  }

  handleSample(now: number): Step {
    return this.#sampleBy === undefined ? { sends: [] } : this.#decide(now)
  }

  handleTimer(now: number): Step {
    if (this.#sampleBy !== undefined) return now >= this.#sampleBy ? this.#decide(now) : { sends: [] }
    if (now >= this.#deadline) return this.#conclude(now)
    const sends: Effect[] = []
    for (const question of [...this.#questions.values()]) {
      if (question.hedgeAt === undefined || now < question.hedgeAt) continue
      question.hedgeAt = undefined
      sends.push(...this.#askNext(now))
    }
    return { sends }
  }

  handleReply(from: PeerId, reply: ProbeReply, now: number): Step {
    const question = this.#questions.get(reply.id)
    if (question === undefined || question.peer !== from) return { sends: [] }
    this.#questions.delete(reply.id)
    for (const peer of [from, ...reply.path.slice(1)]) this.#see(peer)
    this.#refusals.push(...reply.refusals)
    const won = this.#wonBy(from, reply, now)
    if (won !== undefined) return won
    const told = reply.refusals.some(({ peer }) => peer !== this.#around.self)
    if (!told) this.#refusals.push({ peer: from, code: 'not-better', reason: 'found nobody better' })
    return this.#refused(reply.refusals, now, reply.ticket === undefined ? [] : [releaseOf(from, reply.id)])
  }

  handleNeighbourDown(peer: PeerId, now: number): Step {
    const sends: Effect[] = []
    for (const [id, question] of this.#questions) {
      if (question.peer !== peer) continue
      this.#questions.delete(id)
      this.#see(peer)
      const refusal = { peer, code: 'no-answer', reason: 'the connection was lost' }
      this.#refusals.push(refusal)
      const step = this.#refused([refusal], now, sends)
      if (step.decision !== undefined) return step
    }
    return { sends }
  }

  /** Lets go of whatever its probes may hold. */
  cancel(): Effect[] {
    const sends: Effect[] = []
    for (const [id, { peer }] of this.#questions) sends.push(releaseOf(peer, id))
    this.#questions.clear()
    return sends
  }

  // ------------------------------------------------------------------------------------------------ candidates

  /** Asked to run elsewhere, a reason to stay doesn't count. */
  #mayLeave(): boolean {
    const { local, on, stays } = this.request
    if (local || (on.length === 1 && on[0] === this.#around.self)) return false
    return stays === undefined || !this.#mayBeHere()
  }

  /** As far as the user's words go. */
  #mayBeHere(): boolean {
    const { remote, on, not } = this.request
    const { self } = this.#around
    return !remote && !not.includes(self) && (on.length === 0 || on.includes(self))
  }

  #mayRunHere(): boolean {
    return this.#mayBeHere() && this.#around.homeLack(this.request.needs) === undefined
  }

  /** A job that rather waits doesn't start here beyond home's slots. */
  #homeIsOpen(): boolean {
    return !this.request.wait || this.#around.homeSlotFree(this.request.needs.demand)
  }

  #anyoneConnected(): boolean {
    for (const neighbour of this.#around.neighbours.all()) if (neighbour.connected) return true
    return false
  }

  #decide(now: number): Step {
    this.#sampleBy = undefined
    this.#considerHome(now)
    if (this.#mayLeave()) {
      const { neighbours } = this.#around
      for (const route of neighbours.routes()) this.#consider(route.entry.origin, route, now)
      for (const { peer } of neighbours.all()) this.#considerSilent(peer, now)
      for (const peer of this.request.on) this.#considerSilent(peer, now)
      this.#candidates.splice(MAX_CANDIDATES)
    }
    const sends = this.#askNext(now)
    return sends.length > 0 ? { sends } : this.#conclude(now)
  }

  #considerHome(now: number): void {
    const { self, policy } = this.#around
    if (!this.#mayBeHere()) return
    const record = this.#around.ownRecord()
    const { needs, transferFactor } = this.request
    this.#homeMetric = metric(record, needs.demand, { home: true }, policy)
    const ageMs = this.#around.sampleAgeMs(now)
    const candidate: Candidate = {
      peer: self,
      metric: this.#homeMetric,
      hops: 0,
      ageMs: Number.isFinite(ageMs) ? ageMs : 0
    }
    const lack = this.#around.homeLack(needs)
    if (lack !== undefined) candidate.lacks = lack.reason
    else if (!this.#homeIsOpen()) {
      candidate.lacks = 'its own slots are taken'
      this.#hope = 'soon'
    } else if (record.memoryAvailable - record.memoryPromised >= needs.memoryBytes) {
      // With too little memory home stays the last resort, but anyone who has enough is better.
      this.#toBeat = worthTheWay(this.#homeMetric, transferFactor, policy)
    }
    this.#candidates.push(candidate)
  }

  #isAllowed(peer: PeerId): boolean {
    const { on, not } = this.request
    return !not.includes(peer) && (on.length === 0 || on.includes(peer))
  }

  #consider(peer: PeerId, route: Route | undefined, now: number): void {
    if (!this.#isAllowed(peer)) return
    const { policy } = this.#around
    const { demand } = this.request.needs
    const hops = route?.entry.hops ?? 1
    const claimed = route === undefined ? 0 : distributionMetric(route.entry.record, demand, hops, policy)
    const trust = this.#around.trust(peer, now)
    const ageMs = route === undefined ? 0 : ageOf(route, now)
    const candidate: Candidate = { peer, metric: claimed * trust, hops, ageMs }
    if (trust < 1) candidate.trust = trust
    if (route !== undefined && policy === 'product') {
      this.#claims.set(peer, { speed: route.entry.record.speed, metric: claimed })
    }
    if (route !== undefined && hops > 1) candidate.via = route.via.peer
    this.#candidates.push(candidate)
    const lack = this.#lackOf(peer, route)
    if (lack === undefined) return
    candidate.lacks = lack.reason
    const hope = isPassing(lack.code) ? 'soon' : isLifted(lack.code) ? 'later' : 'none'
    if (hope === 'soon' || this.#hope === 'none') this.#hope = hope
  }

  /** Neighbours of which nothing is known now, and peers that the user named and that nobody has told of. */
  #considerSilent(peer: PeerId, now: number): void {
    if (this.#candidates.some((candidate) => candidate.peer === peer) || peer === this.#around.self) return
    this.#consider(peer, undefined, now)
  }

  #lackOf(peer: PeerId, route: Route | undefined): { code: string; reason: string } | undefined {
    const mustLeave = !this.#mayRunHere()
    if (route === undefined) {
      if (!this.#around.neighbours.isConnected(peer)) return { code: 'not-connected', reason: 'not connected' }
      return mustLeave ? undefined : { code: 'no-answer', reason: 'nothing heard from it yet' }
    }
    const { record } = route.entry
    const lack = lackForGuest(record, this.request.needs)
    if (lack !== undefined || mustLeave) return lack
    if (record.benchmarkVersion === this.#around.ownRecord().benchmarkVersion) return undefined
    return { code: 'class', reason: 'its speed was measured by another version of the benchmark' }
  }

  // --------------------------------------------------------------------------------------------------- questions

  #see(peer: PeerId): void {
    this.#seen.add(peer)
  }

  /** Who may be asked now: each neighbour once at a time, for origins that no walk has seen yet. */
  #choices(doubtful: boolean, now: number): Choice[] {
    const { policy, neighbours } = this.#around
    const { needs } = this.request
    const asked = new Set([...this.#questions.values()].map(({ peer }) => peer))
    const mustLeave = !this.#mayRunHere()
    const choices: Choice[] = []
    for (const route of neighbours.routes()) {
      const { origin, record, hops } = route.entry
      if (
        !this.#isAllowed(origin) ||
        this.#seen.has(origin) ||
        this.#hoped.has(origin) ||
        asked.has(route.via.peer) ||
        !route.via.connected
      )
        continue
      const lack = this.#lackOf(origin, route)
      // What was heard of its slots is a moment old: worth a question when the alternative is to fail.
      if (doubtful ? lack === undefined || !isPassing(lack.code) : lack !== undefined) continue
      const trust = this.#around.trust(origin, now)
      const value = trust * distributionMetric(record, needs.demand, hops, policy)
      const worth = this.#worth(origin, route.via.peer, hops)
      if (value >= worth) choices.push({ origin, via: route.via.peer, hops, metric: value, best: worth / trust })
    }
    // A neighbour that has said nothing yet is worth a question when the alternative is to fail.
    for (const { peer, connected, claims } of mustLeave && !doubtful ? neighbours.all() : []) {
      const isNew =
        connected && !claims.has(peer) && !this.#seen.has(peer) && !this.#hoped.has(peer) && !asked.has(peer)
      if (isNew && this.#isAllowed(peer))
        choices.push({ origin: peer, via: peer, hops: 1, metric: 0, best: this.#toBeat })
    }
    return choices
  }

  #askNext(now: number): Effect[] {
    if (!this.#mayLeave()) return []
    const mayRunHere = this.#mayRunHere()
    if (mayRunHere && this.#failed > MAX_RETRIES) return []
    const doubtful = !mayRunHere && !this.request.wait
    const choice =
      this.#pick(this.#choices(false, now)) ?? (doubtful ? this.#pick(this.#choices(true, now)) : undefined)
    if (choice === undefined) return []
    const { self, neighbours } = this.#around
    const { needs, on, not } = this.request
    const id = this.#around.newId()
    const { origin, via, hops, best } = choice
    this.#hoped.add(origin)
    const hedgeAt = now + neighbours.hedgeAfterMs(via) + HEDGE_HOP_MS * (hops - 1)
    this.#questions.set(id, { peer: via, askedAt: now, hedgeAt })
    const message: Probe = {
      type: 'probe',
      id,
      origin: self,
      needs,
      path: [self],
      hopsLeft: this.#around.forward - 1,
      best,
      waitMs: Math.max(0, this.#deadline - now),
      avoid: [...new Set([...not, ...this.#seen, ...this.#overrated(origin, now)])].slice(0, MAX_NAMED),
      only: on.filter((peer) => peer !== self).slice(0, MAX_NAMED)
    }
    return [{ type: 'send', to: via, message }]
  }

  /** What that peer must reach for the job to gain by going there. */
  #worth(peer: PeerId, via: PeerId, hops: number): number {
    const { work } = this.request
    if (work === undefined || this.#toBeat === 0 || this.#around.policy !== 'product') return this.#toBeat
    return Math.max(this.#toBeat, metricWorth(this.#homeMetric, work.ms, this.#around.wayCost(peer, via, hops, work)))
  }

  /** Others whose own word isn't believed in full: on the way it would win the job from better ones. */
  #overrated(hopedFor: PeerId, now: number): PeerId[] {
    return [...this.#claims.keys()].filter((peer) => peer !== hopedFor && this.#around.trust(peer, now) < 1)
  }

  #pick(choices: Choice[]): Choice | undefined {
    if (choices.length === 0) return undefined
    const best = Math.max(...choices.map((choice) => choice.metric))
    const near = choices.filter((choice) => choice.metric >= best * (1 - NEAR_EQUAL))
    return near[Math.min(near.length - 1, Math.floor(this.#around.random() * near.length))]!
  }

  #refused(refusals: readonly Refusal[], now: number, sends: Effect[]): Step {
    this.#failed++
    if (refusals.some(({ code }) => isPassing(code) || code === 'no-answer')) this.#hope = 'soon'
    sends.push(...this.#askNext(now))
    if (this.#questions.size > 0) return { sends }
    const end = this.#conclude(now)
    return { ...end, sends: [...sends, ...end.sends] }
  }

  /** Whoever was asked and did not answer in time is let go. */
  #giveUpQuestions(now: number): Effect[] {
    for (const { peer, askedAt } of this.#questions.values()) {
      this.#refusals.push({ peer, code: 'no-answer', reason: `no answer in ${Math.round(now - askedAt)} ms` })
    }
    if (this.#questions.size > 0) this.#hope = 'soon'
    return this.cancel()
  }

  // --------------------------------------------------------------------------------------------------- decisions

  /** The step that takes the job to the peer that holds; undefined when nobody does, or nobody that may. */
  #wonBy(from: PeerId, reply: ProbeReply, now: number): Step | undefined {
    const { self, neighbours } = this.#around
    const { ticket, bestAt, path, addresses } = reply
    const neighbour = neighbours.get(from)
    if (ticket === undefined || bestAt === undefined || neighbour === undefined) return undefined
    const target = path[bestAt]
    const walked = path[0] === self && path[1] === from && bestAt >= 1 && ticket.target === target
    if (!walked || !this.#isAllowed(target!) || (bestAt > 1 && neighbour.kind !== 'own')) return undefined
    const sends = this.#giveUpQuestions(now)
    const trace = this.#trace(path.slice(1, bestAt + 1), this.#whyThere(target!), now)
    const decision: Decision = {
      where: 'there',
      probeId: reply.id,
      ticket,
      kind: neighbour.kind,
      name: this.#nameOf(target!),
      path: path.slice(0, bestAt + 1),
      addresses: bestAt > 1 ? (addresses ?? []) : [],
      trace
    }
    const claim = this.#claimOf(target!)
    if (claim !== undefined) decision.claim = claim
    return { sends, decision }
  }

  #claimOf(peer: PeerId): Claimed | undefined {
    const record = this.#around.neighbours.route(peer)?.entry.record
    if (record?.benchmarkVersion !== this.#around.ownRecord().benchmarkVersion) return undefined
    return this.#claims.get(peer) ?? { speed: record.speed }
  }

  #conclude(now: number): Step {
    const sends = this.#giveUpQuestions(now)
    if (this.#mayRunHere() && this.#homeIsOpen()) {
      return { sends, decision: { where: 'here', trace: this.#trace([], this.#whyHere(), now) } }
    }
    return { sends, decision: { where: 'nowhere', hope: this.#hope, trace: this.#trace([], this.#whyNowhere(), now) } }
  }

  #trace(hops: PeerId[], reason: string, now: number): PlacementTrace {
    const trace: PlacementTrace = {
      candidates: this.#candidates,
      hops,
      refusals: this.#refusals,
      placedMs: now - this.askedAt,
      reason
    }
    const { self, neighbours } = this.#around
    const told = [...this.#candidates, ...this.#refusals].map(({ peer }) => peer).concat(hops)
    for (const peer of told) {
      const route = peer === self || neighbours.get(peer) !== undefined ? undefined : neighbours.route(peer)
      if (route !== undefined) (trace.names ??= {})[peer] = route.entry.name
    }
    return trace
  }

  #whyThere(peer: PeerId): string {
    const name = this.#nameOf(peer)
    if (!this.#mayBeHere()) return `${name} was asked for`
    const lack = this.#around.homeLack(this.request.needs)
    if (lack !== undefined) return `this machine ${lack.reason}`
    if (this.#toBeat === 0) return `${name} has room, this machine has not`
    const value = this.#candidates.find((candidate) => candidate.peer === peer)?.metric
    if (value === undefined) return `${name} was found on the way and is better`
    return `${name} is ${(value / this.#homeMetric).toFixed(1)} times better`
  }

  #whyHere(): string {
    const { local, stays, needs } = this.request
    if (local) return 'asked for with --local'
    if (!this.#mayLeave()) return stays ?? 'this machine was asked for'
    // Who was only passed on the way says less than who was hoped for.
    const refusals = this.#refusals.filter(({ code }) => code !== 'not-better')
    const refusal = refusals.find(({ peer }) => this.#isHopedFor(peer)) ?? refusals[0] ?? this.#refusals[0]
    if (refusal !== undefined) return `${this.#nameOf(refusal.peer)}: ${refusal.reason}`
    if (!this.#anyoneConnected()) return 'no other peer is connected'
    const record = this.#around.ownRecord()
    if (share(needs.demand, homeCapacity(record)) >= needs.demand) return 'idle here'
    const others = this.#candidates.filter((candidate) => candidate.peer !== this.#around.self)
    const out = others.find((candidate) => candidate.lacks !== undefined)
    if (out !== undefined && others.every((candidate) => candidate.lacks !== undefined)) {
      return `${this.#nameOf(out.peer)}: ${out.lacks}`
    }
    return 'no other peer is better by more than the way costs'
  }

  #isHopedFor(peer: PeerId): boolean {
    return this.#candidates.some((candidate) => candidate.peer === peer && candidate.lacks === undefined)
  }

  #whyNowhere(): string {
    const [refusal] = this.#refusals
    if (refusal !== undefined) return `${this.#nameOf(refusal.peer)}: ${refusal.reason}`
    const out = this.#candidates.find((candidate) => candidate.lacks !== undefined)
    if (out !== undefined) return `${this.#nameOf(out.peer)}: ${out.lacks}`
    return this.#anyoneConnected() ? 'no peer is left that may run it' : 'no other peer is connected'
  }

  #nameOf(peer: PeerId): string {
    const { self, neighbours } = this.#around
    if (peer === self) return 'this machine'
    return neighbours.get(peer)?.name ?? neighbours.route(peer)?.entry.name ?? peer
  }
}

export function releaseOf(peer: PeerId, probeId: string): Effect {
  return { type: 'send', to: peer, message: { type: 'release', id: probeId } }
}

/** True when the peer or its owner may lift it, at no known time. */
function isLifted(code: string): boolean {
  return code === 'not-connected' || code === 'paused' || code === 'no-answer'
}
