/**
 * Algorithm II as the paper prints it; Algorithms I and III are `information/paper.ts` and `paper-walks.ts`. It exists to be
 * compared with `kappa`. What the text leaves open, and what was chosen:
 *
 * - Step 5: "If a reply arrives, store it." What it is for, Table III tells (rows 8 and 9: "probe reply finds out that
 *   migration is not needed"): the job moves when the target's metric less the constant is above home's own. When no reply
 *   arrives "before the process ran" (row 1) the job stays; it waits as long as it does with the other strategies.
 * - A probe that ends at its home: the job stays.
 * - Equal metrics stay.
 *
 * All its metrics are for one core.
 */

import { metric, PAPER_HOP_COST } from '../metric.ts'
import type { PaperReply } from '../paper-messages.ts'
import { straightened } from '../paper-walks.ts'
import {
  isAllowed,
  mayBeHere,
  mayLeave,
  PLACE_BUDGET_MS,
  type PlaceOrder,
  type Placing,
  type Step,
  type Surroundings
} from '../placing.ts'
import type { Candidate, Effect, PeerId, PlacementTrace, ProbeReply, Refusal } from '../types.ts'
import type { Strategy } from './strategy.ts'

class PaperPlacement implements Placing {
  readonly order: PlaceOrder
  readonly #around: Surroundings
  readonly #candidates: Candidate[] = []
  #probe: { id: string; through: PeerId } | undefined
  #deadline: number

  constructor(order: PlaceOrder, now: number, around: Surroundings) {
    this.order = order
    this.#around = around
    this.#deadline = now + Math.min(order.request.budgetMs ?? PLACE_BUDGET_MS, PLACE_BUDGET_MS)
  }

  asked(probeId: string): boolean {
    return this.#probe?.id === probeId
  }

  nextTimer(): number {
    return this.#deadline
  }

  /** Steps 1 to 4. */
  begin(now: number): Step {
    const { self, paperMetrics, forward } = this.#around
    const { request } = this.order
    const own = this.#ownMetric()
    const ageMs = this.#around.sampleAgeMs(now)
    if (mayBeHere(request, self)) {
      this.#candidates.push({ peer: self, metric: own, hops: 0, ageMs: Number.isFinite(ageMs) ? ageMs : 0 })
    }
    if (!mayLeave(request, self)) return this.#conclude([], this.#whyStaying(), now)
    const best = paperMetrics.best((peer) => isAllowed(request, peer))
    for (const { peer, distance, heardAt } of paperMetrics.all()) {
      if (!isAllowed(request, peer)) continue
      this.#candidates.push({ peer, metric: distance, hops: 1, ageMs: now - heardAt })
    }
    if (best === undefined || forward < 1) return this.#conclude([], 'no other peer is known', now)
    if (this.#mayRunHere() && own >= best.distance) {
      const reason = `${Math.round(own)} here, ${Math.round(best.distance)} through ${this.#nameOf(best.peer)}`
      return this.#conclude([], reason, now)
    }
    const id = this.#around.newId()
    this.#probe = { id, through: best.peer }
    const message = { type: 'paper-probe' as const, id, origin: self, needs: request.needs, path: [self] }
    return { sends: [{ type: 'send', to: best.peer, message }] }
  }

  handleSample(_now: number): Step {
    return { sends: [] }
  }

  handleTimer(now: number): Step {
    if (now < this.#deadline || this.#probe === undefined) return { sends: [] }
    const reason = `no answer in ${Math.round(now - this.order.askedAt)} ms`
    return this.#stay({ peer: this.#probe.through, code: 'no-answer', reason }, now)
  }

  /** Step 5, and what Table III tells of it. */
  handleReply(_from: PeerId, reply: ProbeReply | PaperReply, now: number): Step {
    if (reply.type !== 'paper-reply' || !this.asked(reply.id)) return { sends: [] }
    const { target, ticket } = reply
    const { self } = this.#around
    const no = (code: string, reason: string) => this.#stay({ peer: target, code, reason }, now, reply.name)
    if (target === self) return no('not-better', 'the probe came back home')
    if (ticket?.target !== target) {
      const { code, reason } = reply.refusal ?? { code: 'void', reason: 'gave no usable ticket' }
      return no(code, reason)
    }
    const path = straightened([...reply.path, target])
    const neighbour = this.#around.neighbours.get(path[1]!)
    const vouched = path[0] === self && neighbour !== undefined && (path.length === 2 || neighbour.kind === 'own')
    if (!vouched || !isAllowed(this.order.request, target)) return no('not-connected', 'was not asked for')
    const own = this.#ownMetric()
    const reason = `${Math.round(reply.metric)} on ${reply.name}, ${Math.round(own)} here`
    if (this.#mayRunHere() && reply.metric - PAPER_HOP_COST <= own) return no('not-better', reason)
    const trace = this.#trace([...reply.path.slice(1), target], [], reason, now)
    const addresses = path.length > 2 ? (reply.addresses ?? []) : []
    const where = { where: 'there', probeId: reply.id, ticket, kind: neighbour.kind } as const
    return { sends: [], decision: { ...where, name: reply.name, path, addresses, trace } }
  }

  handleNeighbourDown(peer: PeerId, now: number): Step {
    if (this.#probe?.through !== peer) return { sends: [] }
    return this.#stay({ peer, code: 'no-answer', reason: 'the connection was lost' }, now)
  }

  /** Nothing is held for it. */
  cancel(): Effect[] {
    this.#probe = undefined
    return []
  }

  #ownMetric(): number {
    return metric(this.#around.ownRecord(), 1, { home: true }, this.#around.policy)
  }

  #mayRunHere(): boolean {
    const { request } = this.order
    return mayBeHere(request, this.#around.self) && this.#around.homeLack(request) === undefined
  }

  #whyStaying(): string {
    const { local, stays } = this.order.request
    return local ? 'asked for with --local' : (stays ?? 'this machine was asked for')
  }

  #stay(refusal: Refusal, now: number, name = this.#nameOf(refusal.peer)): Step {
    return this.#conclude([refusal], `${name}: ${refusal.reason}`, now)
  }

  #conclude(refusals: Refusal[], reason: string, now: number): Step {
    this.#probe = undefined
    const trace = this.#trace([], refusals, reason, now)
    if (this.#mayRunHere()) return { sends: [], decision: { where: 'here', trace } }
    return { sends: [], decision: { where: 'nowhere', hope: 'none', trace } }
  }

  #trace(hops: PeerId[], refusals: Refusal[], reason: string, now: number): PlacementTrace {
    return { candidates: this.#candidates, hops, refusals, placedMs: now - this.order.askedAt, reason }
  }

  #nameOf(peer: PeerId): string {
    return this.#around.neighbours.get(peer)?.name ?? peer
  }
}

export const kappaPaper: Strategy = {
  name: 'kappa-paper',
  information: 'paper',
  description: "where the paper's Algorithms II and III as printed lead; every machine has to be set to it",
  pulls: false,
  create: () => (order, now, around) => new PaperPlacement(order, now, around)
}
