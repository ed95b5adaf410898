/**
 * Probes of other homes that visit this peer (Algorithm III). Each visit holds a slot here if this peer is better than the
 * best so far, sends the probe on while somebody else promises clearly more, and passes the answer back. A reply picks up
 * the ticket as it passes the peer that holds; whoever held before lets go as it passes.
 */

import { distributionMetric } from './metric.ts'
import { nearBest } from './near-best.ts'
import { lackForGuest, lackOfCommand, lackOfTool } from './needs.ts'
import type { Neighbours } from './neighbours.ts'
import { HEDGE_HOP_MS, releaseOf } from './placing.ts'
import { forwarded } from './propagation.ts'
import { type Reservations, TICKET_VALID_MS } from './reservations.ts'
import {
  type AdvertisementEntry,
  type Effect,
  MAX_HOPS,
  MAX_REFUSALS,
  type MachineRecord,
  type MetricPolicy,
  type PairingKind,
  type PeerId,
  type Probe,
  type ProbeReply,
  type Refusal
} from './types.ts'

/** A walk goes on only towards who promises so much more than the best so far: each step costs time. */
const WORTH_GOING_ON = 1.1
/** Neighbours that one visit tries in turn when they stay silent. */
const MAX_TRIES = 2
/** ms kept back of the time that the sender waits, for the way back. */
const MARGIN_MS = 5
/** Visits whose answer or release may still come; beyond, a probe is answered and not sent on. */
const MAX_VISITS = 1_024

/** What visits see and use of their peer. */
export interface Host {
  readonly self: PeerId
  readonly policy: MetricPolicy
  readonly neighbours: Neighbours
  readonly reservations: Reservations
  /** Cores that guests may hold. */
  readonly slots: number
  /** Hops that this peer takes others' probes, and sends them on. */
  readonly forward: number
  random(): number
  hasTool(name: string): boolean
  /** Why its owner doesn't let that home run the command; undefined: it may. */
  forbids(home: PeerId, kind: PairingKind, command: string): string | undefined
  banned(peer: PeerId): boolean
  addresses(): string[]
  record(): MachineRecord
  /** This machine's own entry, for that neighbour. */
  entryFor(peer: PeerId, now: number): AdvertisementEntry
  /** It goes to that neighbour with an answer. */
  answered(peer: PeerId): void
  /** Something is held for that home now. */
  held(home: PeerId, now: number): void
}

/** Why this peer does not hold: a stable word, and a phrase for people. */
type No = Pick<Refusal, 'code' | 'reason'>

/** To whom a probe is sent on, and how far from there the machine is that it is sent for. */
interface Next {
  via: PeerId
  hops: number
}

interface Visit {
  readonly from: PeerId
  readonly probe: Probe
  /** The walk so far, this peer last. */
  readonly path: PeerId[]
  readonly refusals: Refusal[]
  /** The best so far and who holds it: an index in `path`. */
  best: number
  bestAt: number | undefined
  /** Whose answer is awaited, or was given up. */
  next: { peer: PeerId; hops: number; silentAt: number } | undefined
  tries: number
  answered: boolean
  /** The sender no longer waits. */
  readonly endsAt: number
  /** Forgotten then: a release may come as long as a ticket is valid. */
  readonly forgetAt: number
}

export class Visits {
  readonly #host: Host
  /** By the neighbour that sent the probe and its id, oldest first as far as all wait equally long; at most MAX_VISITS. */
  readonly #visits = new Map<string, Visit>()

  constructor(host: Host) {
    this.#host = host
  }

  get size(): number {
    return this.#visits.size
  }

  /** This probe was here before, from the same neighbour. */
  knows(from: PeerId, probeId: string): boolean {
    return this.#visits.has(visitKey(from, probeId))
  }

  nextTimer(): number | undefined {
    let next: number | undefined
    for (const { answered, next: asked, endsAt, forgetAt } of this.#visits.values()) {
      const due = answered ? forgetAt : Math.min(endsAt, asked?.silentAt ?? endsAt)
      next = Math.min(next ?? Number.POSITIVE_INFINITY, due)
    }
    return next
  }

  handleTimer(now: number): Effect[] {
    const effects: Effect[] = []
    for (const [key, visit] of this.#visits) {
      if (visit.answered) {
        if (now >= visit.forgetAt) this.#visits.delete(key)
      } else if (now >= visit.endsAt) effects.push(...this.#giveUp(visit), ...this.#answer(visit, now))
      else if (visit.next !== undefined && now >= visit.next.silentAt) effects.push(...this.#goElsewhere(visit, now))
    }
    return effects
  }

  /** The connection closed: who sent a probe from there can't be answered, who was asked there won't answer. */
  handleNeighbourDown(peer: PeerId, now: number): Effect[] {
    const effects: Effect[] = []
    for (const [key, visit] of this.#visits) {
      if (visit.from === peer && !visit.answered) {
        this.#visits.delete(key)
        this.#release(visit)
        if (visit.next !== undefined) effects.push(releaseOf(visit.next.peer, visit.probe.id))
      } else if (visit.next?.peer === peer && !visit.answered) {
        visit.next = undefined
        visit.refusals.push({ peer, code: 'no-answer', reason: 'the connection was lost' })
        effects.push(...this.#goOn(visit, now))
      }
    }
    return effects
  }

  /** A probe: holds here, goes on, or turns back. `now`: the load was sampled; `arrivedAt`: the sender waits since then. */
  handleProbe(from: PeerId, probe: Probe, now: number, arrivedAt = now): Effect[] {
    const known = this.#visits.get(visitKey(from, probe.id))
    if (known !== undefined) return known.answered ? this.#answer(known, now) : []
    const { best, bestAt, path, waitMs } = probe
    const endsAt = arrivedAt + Math.max(0, Math.min(waitMs, MAX_WAIT_MS) - MARGIN_MS)
    const visit: Visit = {
      from,
      probe,
      path: [...path, this.#host.self],
      refusals: [],
      best,
      bestAt,
      next: undefined,
      tries: 0,
      answered: false,
      endsAt,
      forgetAt: endsAt + MARGIN_MS + TICKET_VALID_MS
    }
    const wrong = this.#wrongWay(from, probe)
    if (wrong !== undefined) {
      visit.refusals.push({ peer: this.#host.self, ...wrong })
      return this.#answer(visit, now)
    }
    const remembered = this.#visits.size < MAX_VISITS
    if (remembered) this.#visits.set(visitKey(from, probe.id), visit)
    this.#stand(visit, now)
    return remembered ? this.#goOn(visit, now) : this.#answer(visit, now)
  }

  /** An answer from where the probe was sent on to. What comes too late is let go. */
  handleReply(from: PeerId, reply: ProbeReply, now: number): Effect[] {
    const visit = this.#asking(from, reply.id, false)
    if (visit === undefined) {
      // What is passed on already is not let go when it comes again.
      const unwanted = reply.ticket !== undefined && this.#asking(from, reply.id, true) === undefined
      return unwanted ? [releaseOf(from, reply.id)] : []
    }
    visit.next = { peer: from, hops: 1, silentAt: Number.POSITIVE_INFINITY }
    const here = visit.path.length - 1
    const walked = visit.path.every((peer, index) => reply.path[index] === peer) && reply.path[here + 1] === from
    if (!walked) {
      visit.refusals.push({ peer: from, code: 'void', reason: 'gave an answer to another question' })
      return this.#goOn(visit, now)
    }
    visit.refusals.push(...reply.refusals)
    const better =
      reply.bestAt !== undefined && reply.bestAt > here && reply.ticket?.target === reply.path[reply.bestAt]
    if (better) this.#release(visit)
    return this.#answer(visit, now, reply, better)
  }

  /** Whoever sent the probe no longer wants what it holds, here or further on. */
  handleRelease(from: PeerId, probeId: string): Effect[] {
    const key = visitKey(from, probeId)
    const visit = this.#visits.get(key)
    if (visit === undefined) {
      this.#host.reservations.release(from, key)
      return []
    }
    this.#visits.delete(key)
    this.#release(visit)
    return visit.next === undefined ? [] : [releaseOf(visit.next.peer, probeId)]
  }

  // ------------------------------------------------------------------------------------------------ on the way

  /** A probe for somebody else comes only from an own machine, which vouches for its home, and never twice. */
  #wrongWay(from: PeerId, { origin, path }: Probe): No | undefined {
    const { self, neighbours, banned, forward } = this.#host
    if (origin === from) {
      return path.length === 1 && path[0] === from ? undefined : { code: 'void', reason: 'was asked a wrong question' }
    }
    const straight = path[0] === origin && path.at(-1) === from && path.length <= MAX_HOPS
    if (!straight || new Set([...path, self]).size !== path.length + 1) {
      return { code: 'void', reason: 'was asked a wrong question' }
    }
    if (neighbours.get(from)?.kind !== 'own' || path.length > forward) {
      return { code: 'not-vouched', reason: 'takes no jobs from so far away' }
    }
    return path.some(banned) ? { code: 'banned', reason: 'has ended the pairing with a machine on the way' } : undefined
  }

  #release({ from, probe }: Visit): void {
    this.#host.reservations.release(probe.origin, visitKey(from, probe.id))
  }

  /** Holds here if this is the best place so far. */
  #stand(visit: Visit, now: number): void {
    const { self, policy, reservations, slots } = this.#host
    const { from, probe, path } = visit
    const { needs } = probe
    if (probe.avoid.includes(self) || (probe.only.length > 0 && !probe.only.includes(self))) return
    const record = this.#host.record()
    const value = distributionMetric(record, needs.demand, path.length - 1, policy)
    const { hasTool, forbids } = this.#host
    const { command } = needs
    const forbidden = command === undefined ? undefined : forbids(probe.origin, this.#kindOf(from), command)
    let no: No | undefined = lackForGuest(record, needs) ?? lackOfTool(needs, hasTool) ?? lackOfCommand(forbidden)
    if (no === undefined && (visit.bestAt === undefined ? value < visit.best : value <= visit.best)) {
      no = { code: 'not-better', reason: 'is no longer better by more than the way costs' }
    }
    if (no === undefined) {
      const guest = { home: probe.origin, vouchers: path.slice(1, -1), kind: this.#kindOf(from) }
      const granted = reservations.reserve(guest, visitKey(from, probe.id), needs, slots, now)
      if ('code' in granted) no = granted
    }
    if (no === undefined) {
      this.#host.held(probe.origin, now)
      visit.best = value
      visit.bestAt = path.length - 1
    } else visit.refusals.push({ peer: self, ...no })
  }

  /** Sends the probe on to who promises more, or answers. */
  #goOn(visit: Visit, now: number): Effect[] {
    const next = this.#mayTry(visit, now) ? this.#nextHop(visit) : undefined
    return next === undefined ? this.#answer(visit, now) : this.#sendOn(visit, next, now)
  }

  #mayTry({ endsAt, tries }: Visit, now: number): boolean {
    return endsAt - now > MARGIN_MS && tries < MAX_TRIES
  }

  #sendOn(visit: Visit, { via, hops }: Next, now: number): Effect[] {
    const { probe, path, best, bestAt } = visit
    const waitMs = visit.endsAt - now
    visit.tries++
    // It may wait for somebody itself.
    const silentMs = this.#host.neighbours.hedgeAfterMs(via) + HEDGE_HOP_MS * (hops - 1)
    visit.next = { peer: via, hops, silentAt: Math.min(now + silentMs, visit.endsAt) }
    const { bestAt: _, ...rest } = probe
    const onward: Probe = { ...rest, path, hopsLeft: Math.min(probe.hopsLeft, this.#host.forward) - 1, best, waitMs }
    if (bestAt !== undefined) onward.bestAt = bestAt
    return [{ type: 'send', to: via, message: onward }]
  }

  #nextHop(visit: Visit): Next | undefined {
    const { policy, neighbours, forward } = this.#host
    const { from, probe, path } = visit
    const tried = [...visit.refusals, ...(visit.next ? [visit.next] : [])].map(({ peer }) => peer)
    const hopsLeft = Math.min(probe.hopsLeft, forward - 1)
    if (hopsLeft <= 0 || path.length > MAX_HOPS || neighbours.get(from)?.kind !== 'own') return undefined
    const enough = visit.bestAt === undefined ? visit.best : visit.best * WORTH_GOING_ON
    const { benchmarkVersion } = this.#host.record()
    const promising = neighbours.routes(from).flatMap(({ entry, via }) => {
      const { origin, record } = entry
      const allowed = probe.only.length > 0 ? probe.only.includes(origin) : record.benchmarkVersion === benchmarkVersion
      const reachable = via.kind === 'own' && via.connected && entry.hops <= hopsLeft
      if (!allowed || !reachable || path.includes(origin) || path.includes(via.peer)) return []
      if (probe.avoid.includes(origin) || tried.includes(via.peer)) return []
      if (lackForGuest(record, probe.needs) !== undefined) return []
      const value = distributionMetric(record, probe.needs.demand, path.length - 1 + entry.hops, policy)
      return value >= enough ? [{ via: via.peer, hops: entry.hops, metric: value }] : []
    })
    return nearBest(promising, this.#host.random)
  }

  /**
   * Nothing was heard from the next peer in time: another is tried. Where there is none and nobody holds so far the same is
   * asked once more, which holds nothing twice: what was lost may get through now.
   */
  #goElsewhere(visit: Visit, now: number): Effect[] {
    const { next } = visit
    const mayTry = this.#mayTry(visit, now)
    const other = mayTry ? this.#nextHop(visit) : undefined
    const again = mayTry && other === undefined && next !== undefined && visit.bestAt === undefined
    if (again) return this.#sendOn(visit, { via: next.peer, hops: next.hops }, now)
    const givenUp = this.#giveUp(visit)
    return [...givenUp, ...(other === undefined ? this.#answer(visit, now) : this.#sendOn(visit, other, now))]
  }

  #giveUp(visit: Visit): Effect[] {
    const { next } = visit
    visit.next = undefined
    if (next === undefined) return []
    visit.refusals.push({ peer: next.peer, code: 'no-answer', reason: 'did not answer in time' })
    return [releaseOf(next.peer, visit.probe.id)]
  }

  // -------------------------------------------------------------------------------------------------- answering

  /**
   * Passes the answer back, with the ticket if the best is held here, and with this machine's record as it is now.
   * `further`: what came back from there; `better`: somebody there holds.
   */
  #answer(visit: Visit, now: number, further?: ProbeReply, better = false): Effect[] {
    const { from, probe, path } = visit
    const here = path.length - 1
    visit.answered = true
    this.#host.answered(from)
    const reply: ProbeReply = {
      type: 'probe-reply',
      id: probe.id,
      path: further?.path ?? path,
      refusals: visit.refusals.slice(0, MAX_REFUSALS),
      entries: [
        this.#host.entryFor(from, now),
        ...(further?.entries ?? [])
          .filter(({ hops }) => hops < MAX_HOPS)
          .slice(0, MAX_HOPS - 1)
          .map((entry) => forwarded({ entry, receivedAt: now }, now))
      ]
    }
    if (better && further?.ticket !== undefined && further.bestAt !== undefined) {
      reply.bestAt = further.bestAt
      reply.ticket = further.ticket
      reply.addresses = further.addresses ?? []
    } else if (visit.bestAt === here) {
      const ticket = this.#host.reservations.held(probe.origin, visitKey(from, probe.id), now)
      if (ticket !== undefined) {
        reply.bestAt = here
        reply.ticket = ticket
        if (here > 1) reply.addresses = this.#host.addresses()
      }
    } else if (visit.bestAt !== undefined) reply.bestAt = visit.bestAt
    return [{ type: 'send', to: from, message: reply }]
  }

  /** The visit that sent its probe on to that peer and did not give it up; `answered`: whether it has answered since. */
  #asking(from: PeerId, probeId: string, answered: boolean): Visit | undefined {
    for (const visit of this.#visits.values()) {
      if (visit.probe.id === probeId && visit.answered === answered && visit.next?.peer === from) return visit
    }
    return undefined
  }

  #kindOf(from: PeerId): PairingKind {
    return this.#host.neighbours.get(from)?.kind ?? 'friend'
  }
}

/** What is believed of a stated wait, ms. */
const MAX_WAIT_MS = 1_000

/** A probe may come by two ways, when the first was given up: each has a hold of its own. */
function visitKey(from: PeerId, probeId: string): string {
  return `${from} ${probeId}`
}
