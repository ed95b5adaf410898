/**
 * What this machine and those that it knows were worth, second by second: bounded rings of samples for whoever draws them.
 * Sans I/O: the daemon says when, and what holds then.
 */

import type { PeerView } from '../core/peer-core.ts'
import type { MachineRecord, PeerId } from '../core/types.ts'
import type { FiguresResult, PeerFigures } from './control-results.ts'

/** ms between two samples. */
export const FIGURES_MS = 1_000
/** The last five minutes second by second, and two hours by means of 15 s. */
export const SPANS = {
  minutes: { everyMs: FIGURES_MS, samples: 300 },
  hours: { everyMs: 15 * FIGURES_MS, samples: 480 }
} as const
export type Span = keyof typeof SPANS

/** Machines whose samples are kept, this one among them; about 16 KiB each. */
export const FIGURES_PEERS_MAX = 64

/** A daemon that was busy takes its sample late: it then stands for so many at most; what is longer ago is not known. */
const LATE_MAX = 5

/** What is kept of a machine at one time; numbers ≥ 0. */
const KINDS = ['metric', 'busyCores', 'cores', 'homeCores', 'slotsUsed', 'slots'] as const
type Kind = (typeof KINDS)[number]
export type Figure = Partial<Record<Kind, number>>

/** Of one machine: for each kind a ring of samples, at the place of the time's number; NaN where nothing is known. */
type Rings = Record<Kind, Float32Array>

export class Figures {
  /** At most FIGURES_PEERS_MAX. */
  readonly #peers = new Map<PeerId, { seenAt: number; rings: Record<Span, Rings> }>()
  /** Number of the newest sample: the time by FIGURES_MS. */
  #newest: number | undefined

  /** What holds now, this machine first; `now`, in ms, never goes back, but may leap. */
  take(figures: ReadonlyMap<PeerId, Figure>, now: number): void {
    const number = Math.floor(now / FIGURES_MS)
    if (this.#newest !== undefined && number <= this.#newest) return
    const before = this.#newest ?? number - 1
    this.#skip(before, number)
    this.#newest = number
    for (let at = number - before > LATE_MAX ? number : before + 1; at <= number; at++) this.#put(figures, at)
  }

  #put(figures: ReadonlyMap<PeerId, Figure>, number: number): void {
    for (const [peer, figure] of figures) {
      const known = this.#peers.get(peer) ?? this.#add(peer, figures)
      if (known === undefined) continue
      known.seenAt = number
      for (const kind of KINDS) {
        const { minutes, hours } = known.rings
        minutes[kind][number % SPANS.minutes.samples] = figure[kind] ?? Number.NaN
        hours[kind][coarseOf(number) % SPANS.hours.samples] = meanOf(minutes[kind], number)
      }
    }
  }

  /** The pairing with it was ended. */
  forget(peer: PeerId): void {
    this.#peers.delete(peer)
  }

  /** The last samples, at most so many, of all machines of which any is known. `at` is the time of the newest, as the caller counts it. */
  read(span: Span, last: number, at: number, nameOf: (peer: PeerId) => string): FiguresResult {
    const { everyMs, samples } = SPANS[span]
    const count = Math.min(last, samples)
    const newest = this.#newest === undefined ? 0 : span === 'minutes' ? this.#newest : coarseOf(this.#newest)
    const peers: PeerFigures[] = []
    for (const [peerId, { rings }] of this.#peers) {
      const of = (kind: Kind) => valuesOf(rings[span][kind], newest, count)
      const figures = Object.fromEntries(KINDS.map((kind) => [kind, of(kind)])) as Record<Kind, (number | null)[]>
      if (figures.metric.some((value) => value !== null)) peers.push({ peerId, name: nameOf(peerId), ...figures })
    }
    return { everyMs, at, peers }
  }

  /** Room for one more: of those that are away the one seen longest ago goes. Undefined when all are there. */
  #add(peer: PeerId, present: ReadonlyMap<PeerId, Figure>): { seenAt: number; rings: Record<Span, Rings> } | undefined {
    if (this.#peers.size >= FIGURES_PEERS_MAX) {
      let oldest: { peer: PeerId; seenAt: number } | undefined
      for (const [known, { seenAt }] of this.#peers) {
        if (!present.has(known) && (oldest === undefined || seenAt < oldest.seenAt)) oldest = { peer: known, seenAt }
      }
      if (oldest === undefined) return undefined
      this.#peers.delete(oldest.peer)
    }
    const added = { seenAt: 0, rings: { minutes: emptyRings('minutes'), hours: emptyRings('hours') } }
    this.#peers.set(peer, added)
    return added
  }

  /** Nothing is known of the times after `before` up to `number`; who has no sample left is forgotten. */
  #skip(before: number, number: number): void {
    for (const [peer, { seenAt, rings }] of this.#peers) {
      if (coarseOf(number) - coarseOf(seenAt) >= SPANS.hours.samples) this.#peers.delete(peer)
      for (const kind of KINDS) {
        clear(rings.minutes[kind], before, number)
        clear(rings.hours[kind], coarseOf(before), coarseOf(number))
      }
    }
  }
}

/** What there is to keep of the machines that a peer knows, this one first, then its neighbours, then the best of the others. */
export function figuresOf(self: PeerId, view: PeerView): Map<PeerId, Figure> {
  const figures = new Map<PeerId, Figure>([[self, figureOf(view.self.metric, view.self.record)]])
  for (const { peer, metric, record } of view.neighbours) {
    if (metric !== undefined) figures.set(peer, figureOf(metric, record))
  }
  for (const { peer, metric, record } of view.reachable.toSorted((a, b) => b.metric - a.metric)) {
    if (!figures.has(peer)) figures.set(peer, figureOf(metric, record))
  }
  return figures
}

function figureOf(metric: number, record: MachineRecord | undefined): Figure {
  if (record === undefined) return { metric }
  const { cores, idleCores, homeDemand, guestDemand, slots, refuses } = record
  return {
    metric,
    busyCores: Math.max(0, cores - idleCores),
    cores,
    homeCores: homeDemand,
    slotsUsed: guestDemand,
    slots: refuses === undefined ? slots : 0
  }
}

/** Number of the coarse sample that this one counts to. */
function coarseOf(number: number): number {
  return Math.floor((number * FIGURES_MS) / SPANS.hours.everyMs)
}

/** Of the samples of the coarse time that ends with that one so far; NaN for none. */
function meanOf(ring: Float32Array, number: number): number {
  const first = Math.ceil((coarseOf(number) * SPANS.hours.everyMs) / FIGURES_MS)
  let sum = 0
  let count = 0
  for (let at = first; at <= number; at++) {
    const value = ring[at % ring.length]!
    if (Number.isNaN(value)) continue
    sum += value
    count++
  }
  return sum / count
}

function emptyRings(span: Span): Rings {
  const ring = () => new Float32Array(SPANS[span].samples).fill(Number.NaN)
  return Object.fromEntries(KINDS.map((kind) => [kind, ring()])) as Rings
}

/** Nothing is known of the times after `before` up to `number`. */
function clear(ring: Float32Array, before: number, number: number): void {
  const first = Math.max(before, number - ring.length) + 1
  for (let at = first; at <= number; at++) ring[at % ring.length] = Number.NaN
}

/** Oldest first, to two decimals. */
function valuesOf(ring: Float32Array, newest: number, count: number): (number | null)[] {
  return Array.from({ length: count }, (_, index) => {
    const at = newest - count + 1 + index
    const value = at < 0 ? Number.NaN : ring[at % ring.length]!
    return Number.isNaN(value) ? null : Math.round(100 * value) / 100
  })
}
