/**
 * Where one job of this home goes (Algorithm II of the paper, with one budget and a second walk to another peer when the
 * first stays silent). Home's own metric is always the first candidate; nothing is delayed for want of an answer.
 */

import { metricWorth } from './learning.ts'
import { distributionMetric, homeCapacity, metric, share, worthTheWay } from './metric.ts'
import { nearBest } from './near-best.ts'
import { isPassing, lackForGuest, slotsWanted } from './needs.ts'
import { ageOf, type Route } from './neighbours.ts'
import type { PaperReply } from './paper-messages.ts'
import {
  AWAY,
  type Decision,
  HEDGE_HOP_MS,
  isAllowed,
  mayBeHere,
  mayLeave,
  PLACE_BUDGET_MS,
  type PlaceOrder,
  type Placing,
  releaseOf,
  SAMPLE_FRESH_MS,
  SAMPLE_WAIT_MS,
  type Step,
  type Surroundings
} from './placing.ts'
import type { Choice, Chooser, Question, Situation } from './strategies/strategy.ts'
import {
  type Candidate,
  type Claimed,
  type Effect,
  MAX_NAMED,
  type MachineRecord,
  type PeerId,
  type PlacementTrace,
  type PlaceRequest,
  type Probe,
  type ProbeReply,
  type Refusal,
  type Ticket
} from './types.ts'

/** ms until a job that found only full machines looks again. */
const LOOK_MS = 50
/** A job whose work is known waits for a slot no longer than this part of what it would take at home. */
const WAITING_PART = 0.25
/** Candidates that a trace tells. */
const MAX_CANDIDATES = 64

interface Asked {
  /** The neighbour that was asked. */
  peer: PeerId
  askedAt: number
  phrase: string | undefined
  /** When to ask another; undefined once that was done. */
  hedgeAt: number | undefined
  /** ms of silence after which that was, or after which it is asked again, each time later. */
  patienceMs: number
  probe: Probe
}

/** An answer with a ticket that is kept until all were heard. */
interface Offer {
  from: PeerId
  reply: ProbeReply
  asked: Asked
  /** What it gives this job. */
  metric: number
}

export class Placement implements Placing {
  readonly order: PlaceOrder
  readonly #around: Surroundings
  readonly #chooser: Chooser
  /** Of the answers to what is asked now. */
  #deadline: number
  readonly #begunAt: number
  /** Until then it may look again. */
  readonly #lookUntil: number
  /** When to look again; undefined while somebody is asked. */
  #lookAt: number | undefined
  /** Peers that walks have seen since the last look, and where they may not hold again; bounded by the walks. */
  readonly #seen = new Set<PeerId>()
  /** Machines for whose sake a walk was begun since then: nobody is asked twice for one. Bounded by the routes. */
  readonly #hoped = new Set<PeerId>()
  /** Walks that found nothing. */
  #failed = 0
  /** Unanswered probes by id; one for each neighbour at most, or as many as are asked at once. */
  readonly #questions = new Map<string, Asked>()
  #questionCount = 0
  /** At most as many as are asked at once. */
  #offers: Offer[] = []
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
  /** The strategy's reason not to go on asking. */
  #stays: string | undefined
  /** Why it doesn't gain where it would run faster; undefined: nobody would be better but for the way. */
  #tooFar: string | undefined

  constructor(order: PlaceOrder, now: number, around: Surroundings, chooser: Chooser) {
    this.order = order
    this.#around = around
    this.#chooser = chooser
    this.#begunAt = now
    const { budgetMs = PLACE_BUDGET_MS, patienceMs = 0 } = order.request
    this.#deadline = now + Math.min(budgetMs, PLACE_BUDGET_MS)
    this.#lookUntil = Math.max(this.#deadline, now + patienceMs)
  }

  get #request(): PlaceRequest {
    return this.order.request
  }

  asked(probeId: string): boolean {
    return this.#questions.has(probeId)
  }

  nextTimer(): number {
    if (this.#sampleBy !== undefined) return this.#sampleBy
    let next = Math.min(this.#deadline, this.#lookAt ?? this.#deadline)
    for (const { hedgeAt } of this.#questions.values()) next = Math.min(next, hedgeAt ?? next)
    return next
  }

  /** May end with the wish for a sample, when home's own load is what decides. */
  begin(now: number): Step {
    const compares = this.#mayRunHere() && this.#mayLeave && this.#homeIsOpen() && this.#anyoneConnected()
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
    if (this.#lookAt !== undefined && now >= this.#lookAt) return this.#look(now)
    const sends: Effect[] = []
    for (const question of [...this.#questions.values()]) {
      if (question.hedgeAt === undefined || now < question.hedgeAt) continue
      if (this.#offers.length > 0) return this.#bestOffer(now)
      question.hedgeAt = undefined
      const next = this.#askNext(now)
      sends.push(...(next.length > 0 ? next : this.#askAgain(question, now)))
    }
    return { sends }
  }

  handleReply(from: PeerId, reply: ProbeReply | PaperReply, now: number): Step {
    const question = this.#questions.get(reply.id)
    if (question === undefined || question.peer !== from || reply.type !== 'probe-reply') return { sends: [] }
    this.#questions.delete(reply.id)
    for (const peer of [from, ...reply.path.slice(1)]) this.#see(peer)
    this.#noteRefusals(...reply.refusals)
    if (this.#isSound(from, reply)) {
      if (this.#chooser.width === 1) return this.#won({ from, reply, asked: question, metric: 0 }, now)
      this.#offers.push({ from, reply, asked: question, metric: this.#offered(reply) })
      return this.#questions.size > 0 ? { sends: [] } : this.#bestOffer(now)
    }
    const told = reply.refusals.some(({ peer }) => peer !== this.#around.self)
    if (!told) this.#noteRefusals({ peer: from, code: 'not-better', reason: 'found nobody better' })
    return this.#refused(reply.refusals, now, reply.ticket === undefined ? [] : [releaseOf(from, reply.id)])
  }

  handleNeighbourDown(peer: PeerId, now: number): Step {
    const sends: Effect[] = []
    for (const [id, question] of this.#questions) {
      if (question.peer !== peer) continue
      this.#questions.delete(id)
      this.#see(peer)
      const refusal = { peer, code: 'no-answer', reason: 'the connection was lost' }
      this.#noteRefusals(refusal)
      const step = this.#refused([refusal], now, sends)
      if (step.decision !== undefined) return step
    }
    return { sends }
  }

  cancel(): Effect[] {
    const sends: Effect[] = []
    for (const [id, { peer }] of this.#questions) sends.push(releaseOf(peer, id))
    for (const { from, reply } of this.#offers) sends.push(releaseOf(from, reply.id))
    this.#questions.clear()
    this.#offers = []
    return sends
  }

  // ------------------------------------------------------------------------------------------------ candidates

  get #mayLeave(): boolean {
    return mayLeave(this.#request, this.#around.self)
  }

  get #mayBeHere(): boolean {
    return mayBeHere(this.#request, this.#around.self)
  }

  #mayRunHere(): boolean {
    return this.#mayBeHere && this.#around.homeLack(this.#request) === undefined
  }

  /** A job that rather waits doesn't start here beyond home's slots. */
  #homeIsOpen(): boolean {
    return !this.order.waits || this.#around.homeSlotFree(this.#request.needs.demand)
  }

  #anyoneConnected(): boolean {
    for (const neighbour of this.#around.neighbours.all()) if (neighbour.connected) return true
    return false
  }

  #decide(now: number): Step {
    this.#sampleBy = undefined
    this.#considerHome(now)
    if (this.#mayLeave) {
      const { neighbours } = this.#around
      for (const route of neighbours.routes()) this.#consider(route.entry.origin, route, now)
      for (const { peer } of neighbours.all()) this.#considerSilent(peer, now)
      for (const peer of this.#request.on) this.#considerSilent(peer, now)
      this.#candidates.splice(MAX_CANDIDATES)
    }
    return this.#askSome(now)
  }

  #askSome(now: number): Step {
    const sends: Effect[] = []
    for (let asked = 0; asked < this.#chooser.width; asked++) sends.push(...this.#askNext(now))
    return sends.length > 0 ? { sends } : this.#unanswered(now)
  }

  #considerHome(now: number): void {
    const { self } = this.#around
    if (!this.#mayBeHere) return
    const trust = this.#rateHome(now)
    const ageMs = this.#around.sampleAgeMs(now)
    const candidate: Candidate = {
      peer: self,
      metric: this.#homeMetric,
      hops: 0,
      ageMs: Number.isFinite(ageMs) ? ageMs : 0
    }
    if (trust < 1) candidate.trust = trust
    const lack = this.#around.homeLack(this.#request)
    if (lack !== undefined) candidate.lacks = lack.reason
    else if (!this.#homeIsOpen()) {
      candidate.lacks = 'its own slots are taken'
      this.#hope = 'soon'
    }
    this.#candidates.push(candidate)
  }

  #rateHome(now: number): number {
    const { policy } = this.#around
    const { needs, transferFactor } = this.#request
    const record = this.#around.ownRecord()
    const trust = this.#around.trustHere(now)
    this.#homeMetric = metric(record, needs.demand, { home: true }, policy) * trust
    // With too little memory home stays the last resort, but anyone who has enough is better.
    const has = record.memoryAvailable - record.memoryPromised >= needs.memoryBytes
    const open = this.#around.homeLack(this.#request) === undefined && this.#homeIsOpen()
    this.#toBeat = has && open ? worthTheWay(this.#homeMetric, transferFactor, policy) : 0
    return trust
  }

  #consider(peer: PeerId, route: Route | undefined, now: number): void {
    if (!isAllowed(this.#request, peer)) return
    const { policy } = this.#around
    const { demand } = this.#request.needs
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
    candidate.lackCode = lack.code
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
      if (!this.#around.neighbours.isConnected(peer)) return { code: 'not-connected', reason: AWAY }
      return mustLeave ? undefined : { code: 'no-answer', reason: 'nothing heard from it yet' }
    }
    const { record } = route.entry
    const lack = lackForGuest(record, this.#request.needs)
    if (lack !== undefined || mustLeave) return lack
    if (record.benchmarkVersion === this.#around.ownRecord().benchmarkVersion) return undefined
    return { code: 'class', reason: 'its speed was measured by another version of the benchmark' }
  }

  // --------------------------------------------------------------------------------------------------- questions

  #see(peer: PeerId): void {
    this.#seen.add(peer)
  }

  /** Who may be asked now: machines that no walk has seen yet, each neighbour once at a time unless several are asked at once. */
  #choices(doubtful: boolean, now: number): Choice[] {
    const { neighbours } = this.#around
    const asked = new Set(this.#chooser.width > 1 ? [] : [...this.#questions.values()].map(({ peer }) => peer))
    const mustLeave = !this.#mayRunHere()
    const choices: Choice[] = []
    for (const route of neighbours.routes()) {
      const { origin, record, hops } = route.entry
      if (
        !isAllowed(this.#request, origin) ||
        this.#seen.has(origin) ||
        this.#hoped.has(origin) ||
        asked.has(route.via.peer) ||
        !route.via.connected
      )
        continue
      const lack = this.#lackOf(origin, route)
      // What was heard of its slots is a moment old: worth a question when the alternative is to fail.
      if (doubtful ? lack === undefined || !isPassing(lack.code) : lack !== undefined) continue
      const choice = this.#choiceOf(route, record, now)
      if (choice.metric >= this.#toBeat && choice.metric < choice.worth) {
        this.#tooFar ??= this.#whyTooFar(origin, route.via.peer, hops)
      }
      choices.push(choice)
    }
    // A neighbour that has said nothing yet is worth a question when the alternative is to fail.
    for (const { peer, connected, claims } of mustLeave && !doubtful ? neighbours.all() : []) {
      const isNew =
        connected && !claims.has(peer) && !this.#seen.has(peer) && !this.#hoped.has(peer) && !asked.has(peer)
      if (!isNew || !isAllowed(this.#request, peer)) continue
      choices.push({ origin: peer, via: peer, hops: 1, record: undefined, metric: 0, worth: 0, best: this.#toBeat })
    }
    return choices
  }

  /** What that machine is worth with such a record. */
  #choiceOf({ via: { peer: via }, entry: { origin, hops } }: Route, record: MachineRecord, now: number): Choice {
    const trust = this.#around.trust(origin, now)
    const value = trust * distributionMetric(record, this.#request.needs.demand, hops, this.#around.policy)
    const worth = this.#worth(origin, via, hops)
    return { origin, via, hops, record, metric: value, worth, best: worth / trust }
  }

  #askNext(now: number): Effect[] {
    const next = this.#mayLeave ? this.#next(now) : undefined
    return next === undefined ? [] : [this.#ask(next, now)]
  }

  /** The strategy decides whether and for whom a job leaves that may stay; one that must leave goes to the best. */
  #next(now: number): Question | undefined {
    const choices = this.#choices(false, now)
    const { random } = this.#around
    if (!this.#mayRunHere()) {
      const some = choices.length > 0 || this.order.waits ? choices : this.#choices(true, now)
      const choice = nearBest(some, random)
      return choice && { choice, best: choice.best, exact: false }
    }
    const next = this.#chooser.next({ choices, ...this.#situation() })
    if (typeof next !== 'string') return next
    this.#stays = next
    return undefined
  }

  #situation(): Omit<Situation, 'choices'> {
    const { self, random } = this.#around
    const { demand } = this.#request.needs
    return {
      asked: this.#questionCount,
      failed: this.#failed,
      home: this.#around.ownRecord(),
      self,
      demand,
      isPatient: this.#isPatient,
      random
    }
  }

  #ask({ choice, best, exact, phrase }: Question, now: number): Effect {
    const { self, neighbours } = this.#around
    const { needs, on, not } = this.#request
    const id = this.#around.newId()
    const { origin, via, hops } = choice
    this.#hoped.add(origin)
    this.#questionCount++
    const probe: Probe = {
      type: 'probe',
      id,
      origin: self,
      needs,
      path: [self],
      hopsLeft: this.#around.forward - 1,
      best,
      waitMs: Math.max(0, this.#deadline - now),
      avoid: [...new Set([...not, ...this.#seen, ...this.#overrated(origin, now)])].slice(0, MAX_NAMED),
      only: exact ? [origin] : on.filter((peer) => peer !== self).slice(0, MAX_NAMED)
    }
    const patienceMs = neighbours.hedgeAfterMs(via) + HEDGE_HOP_MS * (hops - 1)
    this.#questions.set(id, { peer: via, askedAt: now, phrase, hedgeAt: now + patienceMs, patienceMs, probe })
    return { type: 'send', to: via, message: probe }
  }

  /** Nobody else is left to ask. The same probes, for which nothing is held twice: what was lost may get through now. */
  #askAgain(last: Asked, now: number): Effect[] {
    // Each time later, for a neighbour that is slow.
    last.patienceMs *= 2
    last.hedgeAt = now + last.patienceMs
    const waitMs = Math.max(0, this.#deadline - now)
    return [...this.#questions.values()].map(({ peer, probe }) => ({
      type: 'send',
      to: peer,
      message: { ...probe, waitMs }
    }))
  }

  /** What that peer must reach for the job to gain by going there. */
  #worth(peer: PeerId, via: PeerId, hops: number): number {
    const { work } = this.#request
    if (work === undefined || this.#toBeat === 0 || this.#around.policy !== 'product') return this.#toBeat
    return Math.max(this.#toBeat, metricWorth(this.#homeMetric, work.ms, this.#around.wayCost(peer, via, hops, work)))
  }

  /** Others whose own word isn't believed in full: on the way it would win the job from better ones. */
  #overrated(hopedFor: PeerId, now: number): PeerId[] {
    return [...this.#claims.keys()].filter((peer) => peer !== hopedFor && this.#around.trust(peer, now) < 1)
  }

  #refused(refusals: readonly Refusal[], now: number, sends: Effect[]): Step {
    this.#failed++
    if (refusals.some(({ code }) => isPassing(code) || code === 'no-answer')) this.#hope = 'soon'
    if (this.#offers.length === 0) sends.push(...this.#askNext(now))
    if (this.#questions.size > 0) return { sends }
    return this.#offers.length > 0 ? this.#bestOffer(now, sends) : this.#unanswered(now, sends)
  }

  #noteRefusals(...refusals: readonly Refusal[]): void {
    for (const refusal of refusals) {
      const { peer, code } = refusal
      if (!this.#refusals.some((known) => known.peer === peer && known.code === code)) this.#refusals.push(refusal)
    }
  }

  // ---------------------------------------------------------------------------------------------------- late binding

  /** Nobody is asked any more. */
  #unanswered(now: number, sends: Effect[] = []): Step {
    if (this.#mayLookAgain(now)) {
      this.#lookAt = now + LOOK_MS
      // Who is asked then gets the time of any other.
      if (this.#isPatient) this.#deadline = this.#lookAt + PLACE_BUDGET_MS
      return { sends }
    }
    const end = this.#conclude(now)
    return { ...end, sends: [...sends, ...end.sends] }
  }

  get #isPatient(): boolean {
    return this.#request.patienceMs !== undefined
  }

  #mayLookAgain(now: number): boolean {
    const { looksAgain } = this.#chooser
    if (looksAgain === undefined || this.order.waits || !this.#mayLeave || !this.#mayRunHere()) return false
    const { work } = this.#request
    // What one of many usually takes says little of this one, and home has other work.
    const isUnknown = work === undefined || this.#isPatient
    const atHomeMs = isUnknown ? Number.POSITIVE_INFINITY : (100 * work.ms) / this.#homeMetric
    const until = Math.min(this.#lookUntil, this.#begunAt + WAITING_PART * atHomeMs)
    return now + LOOK_MS < until && looksAgain(this.#situation(), this.#full(now))
  }

  /** Machines that may be asked as soon as a slot is free there. */
  #full(now: number): Choice[] {
    const { neighbours } = this.#around
    const { demand } = this.#request.needs
    const full: Choice[] = []
    for (const route of neighbours.routes()) {
      const { via, entry } = route
      const { origin } = entry
      const { slots } = entry.record
      const takes = slots > 0 && via.connected && isAllowed(this.#request, origin)
      if (!takes || this.#lackOf(origin, route)?.code !== 'slots') continue
      const record = { ...entry.record, guestDemand: Math.max(0, slots - slotsWanted(demand, slots)) }
      full.push(this.#choiceOf(route, record, now))
    }
    return full
  }

  /** With what was heard since, and home as it is now. */
  #look(now: number): Step {
    this.#lookAt = undefined
    // What they said of anything else than slots still holds, and their records may not show it.
    const passes = (code: string) => isPassing(code) || code === 'not-better' || code === 'no-answer'
    const out = new Set(this.#refusals.filter(({ code }) => !passes(code)).map(({ peer }) => peer))
    for (const peers of [this.#seen, this.#hoped]) {
      for (const peer of peers) if (!out.has(peer)) peers.delete(peer)
    }
    this.#failed = 0
    this.#rateHome(now)
    return this.#askSome(now)
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

  /** Somebody holds, who may, and the answer came by the way that the probe went. */
  #isSound(from: PeerId, { ticket, bestAt, path }: ProbeReply): boolean {
    const { self, neighbours } = this.#around
    const neighbour = neighbours.get(from)
    if (ticket === undefined || bestAt === undefined || neighbour === undefined) return false
    const target = path[bestAt]
    const walked = path[0] === self && path[1] === from && bestAt >= 1 && ticket.target === target
    return walked && isAllowed(this.#request, target!) && (bestAt === 1 || neighbour.kind === 'own')
  }

  /** What the target gives the job, by the record that came with the hold: that counts the job already. */
  #offered({ path, bestAt, entries }: ProbeReply): number {
    const { needs } = this.#request
    const record = entries.find(({ origin }) => origin === path[bestAt!])?.record
    if (record === undefined) return 0
    const guestDemand = Math.max(0, record.guestDemand - slotsWanted(needs.demand, record.slots))
    return distributionMetric({ ...record, guestDemand }, needs.demand, bestAt!, this.#around.policy)
  }

  #bestOffer(now: number, sends: Effect[] = []): Step {
    const best = this.#offers.reduce((one, other) => (other.metric > one.metric ? other : one))
    this.#offers = this.#offers.filter((offer) => offer !== best)
    const step = this.#won(best, now)
    return { ...step, sends: [...sends, ...step.sends] }
  }

  /** The job goes to the peer that holds. `#isSound` was asked before. */
  #won({ from, reply, asked }: Offer, now: number): Step {
    const { ticket, bestAt, path, addresses } = reply as ProbeReply & { ticket: Ticket; bestAt: number }
    const target = path[bestAt]!
    const sends = this.#giveUpQuestions(now)
    const trace = this.#trace(path.slice(1, bestAt + 1), this.#whyThere(target, asked.phrase), now)
    const decision: Decision = {
      where: 'there',
      probeId: reply.id,
      ticket,
      kind: this.#around.neighbours.get(from)!.kind,
      name: this.#nameOf(target),
      path: path.slice(0, bestAt + 1),
      addresses: bestAt > 1 ? (addresses ?? []) : [],
      trace
    }
    const claim = this.#claimOf(target)
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
      placedMs: now - this.order.askedAt,
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

  #whyThere(peer: PeerId, phrase: string | undefined): string {
    const name = this.#nameOf(peer)
    if (phrase !== undefined) return `${name} ${phrase}`
    if (!this.#mayBeHere) return `${name} was asked for`
    const lack = this.#around.homeLack(this.#request)
    if (lack !== undefined) return `this machine ${lack.reason}`
    if (this.#toBeat === 0) return `${name} has room, this machine has not`
    const value = this.#candidates.find((candidate) => candidate.peer === peer)?.metric
    if (value === undefined) return `${name} was found on the way and is better`
    return `${name} is ${(value / this.#homeMetric).toFixed(1)} times better`
  }

  #whyHere(): string {
    const { local, stays, needs } = this.#request
    if (local) return 'asked for with --local'
    if (!this.#mayLeave) return stays ?? 'this machine was asked for'
    if (this.#stays !== undefined && this.#refusals.length === 0) return this.#stays
    // Who was only passed on the way says less than who was hoped for.
    const refusals = this.#refusals.filter(({ code }) => code !== 'not-better')
    const refusal = refusals.find(({ peer }) => this.#isHopedFor(peer)) ?? refusals[0] ?? this.#refusals[0]
    if (refusal !== undefined) return `${this.#nameOf(refusal.peer)}: ${refusal.reason}`
    if (!this.#anyoneConnected()) return 'no other peer is connected'
    if (this.#tooFar !== undefined) return this.#tooFar
    const record = this.#around.ownRecord()
    if (share(needs.demand, homeCapacity(record)) >= needs.demand) return 'idle here'
    const others = this.#candidates.filter((candidate) => candidate.peer !== this.#around.self)
    const out = others.find((candidate) => candidate.lacks !== undefined)
    if (out !== undefined && others.every((candidate) => candidate.lacks !== undefined)) {
      return `${this.#nameOf(out.peer)}: ${out.lacks}`
    }
    return 'no other peer is better by more than the way costs'
  }

  /** Of a job of which it is known what it usually takes. */
  #whyTooFar(peer: PeerId, via: PeerId, hops: number): string {
    const work = this.#request.work!
    const { addedMs, streamMs } = this.#around.wayCost(peer, via, hops, work)
    const bare = this.#around.wayCost(peer, via, hops, { ...work, stagedBytes: 0, streamedBytes: 0 }).addedMs
    const homeMs = Math.max(1, Math.round((100 * work.ms) / this.#homeMetric))
    const bytesMs = Math.round(addedMs - bare + streamMs)
    if (bytesMs > bare) return `it takes ${homeMs} ms here, and what it reads and writes takes ${bytesMs} ms to send`
    return `it takes ${homeMs} ms here: too short to send`
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

/** True when the peer or its owner may lift it, at no known time. */
function isLifted(code: string): boolean {
  return code === 'not-connected' || code === 'paused' || code === 'no-answer'
}
