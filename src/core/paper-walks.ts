/**
 * Algorithm III as the paper prints it, for probes that come by. Nothing is held for a probe: a reply carries a ticket for
 * whatever will be free at the start. What the text leaves open, and what was chosen:
 *
 * - Equal metrics: the paper decides for greater and for lower. Equal stays.
 * - It may send a probe back to where it came from, and round in circles. Kept; but the paper's probe has no bound, and here
 *   the sixteenth peer answers whatever it knows.
 * - PR(k,i,·) goes "from the system k to the system i", which need not be paired: it walks back along the probe's path, without
 *   the circles in it.
 * - What a job needs, and whom an owner trusts, the paper doesn't know: who can't or won't take a job says so in its reply.
 */

import { metric } from './metric.ts'
import { lackForGuest, lackOfCommand, lackOfTool } from './needs.ts'
import type { Neighbours } from './neighbours.ts'
import { MAX_PAPER_PATH, type PaperProbe, type PaperReply } from './paper-messages.ts'
import type { PaperMetrics } from './paper-metrics.ts'
import type { Reservations } from './reservations.ts'
import type { Effect, MachineRecord, MetricPolicy, PairingKind, PeerId, Refusal } from './types.ts'

/** What these walks see and use of their peer. */
export interface PaperHost {
  readonly self: PeerId
  readonly name: string
  readonly policy: MetricPolicy
  readonly neighbours: Neighbours
  readonly paperMetrics: PaperMetrics
  readonly reservations: Reservations
  /** Cores that guests may hold. */
  readonly slots: number
  /** Hops that this peer takes others' probes, and sends them on. */
  readonly forward: number
  hasTool(name: string): boolean
  forbids(home: PeerId, kind: PairingKind, command: string): string | undefined
  banned(peer: PeerId): boolean
  addresses(): string[]
  record(): MachineRecord
}

export class PaperWalks {
  readonly #host: PaperHost

  constructor(host: PaperHost) {
    this.#host = host
  }

  /** Sends it on, or answers it. */
  handleProbe(from: PeerId, probe: PaperProbe, now: number): Effect | PaperReply | undefined {
    const { self, name, policy } = this.#host
    const { id, path } = probe
    if (path.at(-1) !== from) return undefined
    const own = metric(this.#host.record(), 1, { home: false }, policy)
    const next = this.#next(from, probe)
    if (next !== undefined && own < next.distance && path.length < MAX_PAPER_PATH) {
      return { type: 'send', to: next.peer, message: { ...probe, path: [...path, self] } }
    }
    const reply = { type: 'paper-reply', id, target: self, name, metric: own, path } as const
    return probe.origin === self ? reply : { ...reply, ...this.#issue(from, probe, now) }
  }

  /** The way back of a reply to another's probe. */
  passBack(reply: PaperReply): Effect | undefined {
    const { path } = reply
    const { self, neighbours } = this.#host
    const walked = path.indexOf(self)
    const to = walked < 0 ? path.at(-1) : path[walked - 1]
    return to !== undefined && neighbours.isConnected(to) ? { type: 'send', to, message: reply } : undefined
  }

  /** Others' probes go on between own machines alone. */
  #next(from: PeerId, { origin }: PaperProbe) {
    const { self, neighbours, paperMetrics, forward } = this.#host
    if (forward <= 1 && origin !== self) return undefined
    if (neighbours.get(from)?.kind !== 'own') return undefined
    return paperMetrics.best((peer) => neighbours.get(peer)?.kind === 'own')
  }

  #issue(
    from: PeerId,
    { id, origin, path, needs }: PaperProbe,
    now: number
  ): Pick<PaperReply, 'ticket' | 'refusal' | 'addresses'> {
    const { self, hasTool, forbids, neighbours, reservations, slots, forward, banned } = this.#host
    const refused = ({ code, reason }: Pick<Refusal, 'code' | 'reason'>) => ({ refusal: { peer: self, code, reason } })
    const kind = neighbours.get(from)?.kind ?? 'friend'
    const vouchers = straightened(path).slice(1)
    if (path[0] !== origin || (vouchers.length > 0 && (kind !== 'own' || vouchers.length >= forward))) {
      return refused({ code: 'not-vouched', reason: 'takes no jobs from so far away' })
    }
    if (path.some(banned)) {
      return refused({ code: 'banned', reason: 'has ended the pairing with a machine on the way' })
    }
    const forbidden = needs.command === undefined ? undefined : forbids(origin, kind, needs.command)
    const lack = lackForGuest(this.#host.record(), needs) ?? lackOfTool(needs, hasTool) ?? lackOfCommand(forbidden)
    if (lack !== undefined) return refused(lack)
    const granted = reservations.reserve({ home: origin, vouchers, kind }, id, needs, slots, now, false)
    if ('code' in granted) return refused(granted)
    return vouchers.length === 0 ? { ticket: granted } : { ticket: granted, addresses: this.#host.addresses() }
  }
}

/** The path without the circles in it. */
export function straightened(path: readonly PeerId[]): PeerId[] {
  const straight: PeerId[] = []
  for (const peer of path) {
    const before = straight.indexOf(peer)
    if (before >= 0) straight.length = before
    straight.push(peer)
  }
  return straight
}
