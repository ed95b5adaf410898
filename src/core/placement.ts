/**
 * Where one job of this home goes (Algorithm II of the paper, with one budget and a second question to another peer when the
 * first stays silent). Home's own metric is always the first candidate; nothing is delayed for want of an answer.
 */

import { homeCapacity, metric, share, worthTheWay } from './metric.ts'
import { isPassing, type Lack, lackForGuest } from './needs.ts'
import { knownRecord, type Neighbour, type Neighbours } from './neighbours.ts'
import type {
  Candidate,
  Effect,
  MachineRecord,
  MetricPolicy,
  Needs,
  PeerId,
  PlacementTrace,
  PlaceRequest,
  Probe,
  ProbeReply,
  Refusal,
  Ticket
} from './types.ts'

/** ms from asking until the job runs at home for want of answers. */
export const PLACE_BUDGET_MS = 400
/** ms to wait for a fresh sample of the own load before the old one has to do. */
export const SAMPLE_WAIT_MS = 50
/** ms; an older sample is no basis for an answer. */
export const SAMPLE_FRESH_MS = 200
/** Candidates this near to the best are as good: a random one is asked, or homes that ask at once would collide. */
const NEAR_EQUAL = 0.25

/** What a placement sees and uses of its peer. */
export interface Surroundings {
  readonly self: PeerId
  readonly policy: MetricPolicy
  readonly neighbours: Neighbours
  random(): number
  newId(): string
  ownRecord(): MachineRecord
  /** Infinite before the first sample. */
  sampleAgeMs(now: number): number
  homeLack(needs: Needs): Lack | undefined
  /** Whether one of home's own slots is free for a job that rather waits. */
  homeSlotFree(demand: number): boolean
}

export type Decision = { trace: PlacementTrace } & (
  | { where: 'here' }
  | { where: 'there'; probeId: string; ticket: Ticket }
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

interface Choice {
  peer: PeerId
  metric: number
}

interface Question {
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
  /** Neighbours still to be asked; bounded as these are. */
  #choices: Choice[] = []
  /** Those whose slots seemed taken: asked last, and only when the job can't run here. */
  #doubtful: Choice[] = []
  /** Unanswered probes by id; each choice is asked once. */
  readonly #questions = new Map<string, Question>()
  readonly #candidates: Candidate[] = []
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
    this.#deadline = now + PLACE_BUDGET_MS
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
    if (reply.ticket?.target === from) return this.#win(from, reply.id, reply.ticket, now)
    const refusal = reply.refusal ?? { code: 'void', reason: 'gave no usable ticket' }
    return this.#refused({ peer: from, ...refusal }, now)
  }

  handleNeighbourDown(peer: PeerId, now: number): Step {
    const sends: Effect[] = []
    this.#choices = this.#choices.filter((choice) => choice.peer !== peer)
    this.#doubtful = this.#doubtful.filter((choice) => choice.peer !== peer)
    for (const [id, question] of this.#questions) {
      if (question.peer !== peer) continue
      this.#questions.delete(id)
      const step = this.#refused({ peer, code: 'no-answer', reason: 'the connection was lost' }, now)
      sends.push(...step.sends)
      if (step.decision !== undefined) return { sends, decision: step.decision }
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
      for (const neighbour of this.#around.neighbours.all()) this.#consider(neighbour, now)
      this.#considerUnknown()
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
    const candidate: Candidate = { peer: self, metric: this.#homeMetric, ageMs: Number.isFinite(ageMs) ? ageMs : 0 }
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

  #consider(neighbour: Neighbour, now: number): void {
    const { peer } = neighbour
    const { needs, on, not } = this.request
    if (not.includes(peer) || (on.length > 0 && !on.includes(peer))) return
    const known = knownRecord(neighbour, now)
    const value = known === undefined ? 0 : metric(known.record, needs.demand, { home: false }, this.#around.policy)
    const candidate: Candidate = { peer, metric: value, ageMs: known?.ageMs ?? 0 }
    this.#candidates.push(candidate)
    const mustLeave = !this.#mayRunHere()
    const lack = this.#lackOf(neighbour, known?.record, mustLeave)
    if (lack !== undefined) {
      candidate.lacks = lack.reason
      const hope = isPassing(lack.code) ? 'soon' : isLifted(lack.code) ? 'later' : 'none'
      if (hope === 'soon' || this.#hope === 'none') this.#hope = hope
      // What was heard of its slots is a moment old: worth a question when the alternative is to fail.
      if (mustLeave && !this.request.wait && isPassing(lack.code)) this.#doubtful.push({ peer, metric: value })
    } else if (value >= this.#toBeat) this.#choices.push({ peer, metric: value })
  }

  #lackOf(
    neighbour: Neighbour,
    record: MachineRecord | undefined,
    mustLeave: boolean
  ): { code: string; reason: string } | undefined {
    if (!neighbour.connected) return { code: 'not-connected', reason: 'not connected' }
    if (record === undefined) return mustLeave ? undefined : { code: 'no-answer', reason: 'nothing heard from it yet' }
    const lack = lackForGuest(record, this.request.needs)
    if (lack !== undefined || mustLeave) return lack
    if (record.benchmarkVersion === this.#around.ownRecord().benchmarkVersion) return undefined
    return { code: 'class', reason: 'its speed was measured by another version of the benchmark' }
  }

  /** Peers that the user named and that never connected. */
  #considerUnknown(): void {
    for (const peer of this.request.on) {
      if (peer === this.#around.self || this.request.not.includes(peer)) continue
      if (this.#around.neighbours.get(peer) !== undefined) continue
      this.#candidates.push({ peer, metric: 0, ageMs: 0, lacks: 'not connected' })
      if (this.#hope === 'none') this.#hope = 'later'
    }
  }

  // --------------------------------------------------------------------------------------------------- questions

  #askNext(now: number): Effect[] {
    const choice = this.#pick(this.#choices) ?? this.#pick(this.#doubtful)
    if (choice === undefined) return []
    const { self, neighbours } = this.#around
    const id = this.#around.newId()
    const { peer } = choice
    this.#questions.set(id, { peer, askedAt: now, hedgeAt: now + neighbours.hedgeAfterMs(peer) })
    // Asked for themselves only: a ticket of a machine that isn't a neighbour could not be used.
    const { needs } = this.request
    const message: Probe = { type: 'probe', id, origin: self, needs, path: [self], hopsLeft: 0, best: this.#toBeat }
    return [{ type: 'send', to: peer, message }]
  }

  #pick(choices: Choice[]): Choice | undefined {
    if (choices.length === 0) return undefined
    const best = Math.max(...choices.map((choice) => choice.metric))
    const near = choices.filter((choice) => choice.metric >= best * (1 - NEAR_EQUAL))
    const picked = near[Math.min(near.length - 1, Math.floor(this.#around.random() * near.length))]!
    choices.splice(choices.indexOf(picked), 1)
    return picked
  }

  #refused(refusal: Refusal, now: number): Step {
    this.#refusals.push(refusal)
    if (isPassing(refusal.code) || refusal.code === 'no-answer') this.#hope = 'soon'
    const sends = this.#askNext(now)
    return sends.length > 0 || this.#questions.size > 0 ? { sends } : this.#conclude(now)
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

  #win(peer: PeerId, probeId: string, ticket: Ticket, now: number): Step {
    const sends = this.#giveUpQuestions(now)
    return {
      sends,
      decision: { where: 'there', probeId, ticket, trace: this.#trace([peer], this.#whyThere(peer), now) }
    }
  }

  #conclude(now: number): Step {
    const sends = this.#giveUpQuestions(now)
    if (this.#mayRunHere() && this.#homeIsOpen()) {
      return { sends, decision: { where: 'here', trace: this.#trace([], this.#whyHere(), now) } }
    }
    return { sends, decision: { where: 'nowhere', hope: this.#hope, trace: this.#trace([], this.#whyNowhere(), now) } }
  }

  #trace(hops: PeerId[], reason: string, now: number): PlacementTrace {
    return { candidates: this.#candidates, hops, refusals: this.#refusals, placedMs: now - this.askedAt, reason }
  }

  #whyThere(peer: PeerId): string {
    const name = this.#nameOf(peer)
    if (!this.#mayBeHere()) return `${name} was asked for`
    const lack = this.#around.homeLack(this.request.needs)
    if (lack !== undefined) return `this machine ${lack.reason}`
    if (this.#toBeat === 0) return `${name} has room, this machine has not`
    const value = this.#candidates.find((candidate) => candidate.peer === peer)?.metric ?? 0
    return `${name} is ${(value / this.#homeMetric).toFixed(1)} times better`
  }

  #whyHere(): string {
    const { local, stays, needs } = this.request
    if (local) return 'asked for with --local'
    if (!this.#mayLeave()) return stays ?? 'this machine was asked for'
    const [refusal] = this.#refusals
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

  #whyNowhere(): string {
    const [refusal] = this.#refusals
    if (refusal !== undefined) return `${this.#nameOf(refusal.peer)}: ${refusal.reason}`
    const out = this.#candidates.find((candidate) => candidate.lacks !== undefined)
    if (out !== undefined) return `${this.#nameOf(out.peer)}: ${out.lacks}`
    return this.#anyoneConnected() ? 'no peer is left that may run it' : 'no other peer is connected'
  }

  #nameOf(peer: PeerId): string {
    return peer === this.#around.self ? 'this machine' : (this.#around.neighbours.get(peer)?.name ?? peer)
  }
}

export function releaseOf(peer: PeerId, probeId: string): Effect {
  return { type: 'send', to: peer, message: { type: 'release', id: probeId } }
}

/** True when the peer or its owner may lift it, at no known time. */
function isLifted(code: string): boolean {
  return code === 'not-connected' || code === 'paused' || code === 'no-answer'
}
