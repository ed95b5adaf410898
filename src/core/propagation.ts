/**
 * What a peer tells a neighbour of other machines (Algorithm I): the best for each demand and class, never what that
 * neighbour said itself. Only own machines are told of own machines, as far as their origins allow.
 */

import { distributionMetric } from './metric.ts'
import { ageOf, type Neighbours, type Ranked, type Route } from './neighbours.ts'
import { type AdvertisementEntry, MAX_HOPS, type MachineRecord, type MetricPolicy, type PeerId } from './types.ts'

/** An older record is told on as of this age, a year. */
export const MAX_AGE_MS = 365 * 24 * 3_600_000

/** Demands that are looked at one by one; beyond, machines differ by little but their cores. */
const MAX_DEMAND = 256

interface Offer {
  ranked: Ranked
  /** What the first route is worth to a neighbour. */
  value: number
}

/** Best first. */
type Ranking = Offer[]

/** What a machine is worth to a neighbour, for a demand of 1 and for the largest. */
interface Value {
  ranked: Ranked
  one: number
  most: number
}

/** The machines that may be told of, ranked once for all neighbours as long as nothing is heard. */
export class Offers {
  readonly #neighbours: Neighbours
  /** Of open machines; bounded as the routes are. */
  #values: Value[] = []
  /** For each class and each demand of 1, 2, 4, …, best first; made when something is told. */
  #rankings: Ranking[] | undefined
  /** What these were made from. */
  #version = -1
  #policy: MetricPolicy | undefined
  /** Records are never changed. */
  readonly #classNames = new WeakMap<MachineRecord, string>()

  constructor(neighbours: Neighbours) {
    this.#neighbours = neighbours
  }

  /** Another number whenever the offers may have changed. */
  get version(): number {
    return this.#neighbours.version
  }

  /** What the best is worth to that neighbour, for a demand of 1 and for the largest; of whatever class. */
  best(to: PeerId, policy: MetricPolicy): [number, number] {
    let one = 0
    let most = 0
    if (this.#neighbours.get(to)?.kind !== 'own') return [one, most]
    for (const value of this.#valued(policy)) {
      if ((value.one <= one && value.most <= most) || routeFor(value.ranked, to) === undefined) continue
      one = Math.max(one, value.one)
      most = Math.max(most, value.most)
    }
    return [one, most]
  }

  /**
   * At most `count` entries for that neighbour: for each class and demand the best, then for each the second best, and so on,
   * since a burst fills the best one first.
   */
  entriesFor(to: PeerId, policy: MetricPolicy, count: number, now: number): AdvertisementEntry[] {
    if (this.#neighbours.get(to)?.kind !== 'own') return []
    const picked = new Set<Route>()
    const left = this.#ranked(policy).map((offers) => offers.values())
    for (let going = left.length; going > 0 && picked.size < count; ) {
      going = 0
      for (const offers of left) {
        const route = nextFor(offers, to)
        if (route === undefined) continue
        going++
        if (picked.size < count) picked.add(route)
      }
    }
    return [...picked].map((route) => forwarded(route, now))
  }

  #valued(policy: MetricPolicy): Value[] {
    if (this.#version === this.#neighbours.version && this.#policy === policy) return this.#values
    this.#version = this.#neighbours.version
    this.#policy = policy
    this.#rankings = undefined
    this.#values = []
    for (const ranked of this.#neighbours.ranked()) {
      const { record, hops } = ranked.first.entry
      if (!isOpen(record)) continue
      const one = distributionMetric(record, 1, hops + 1, policy)
      this.#values.push({ ranked, one, most: distributionMetric(record, MAX_DEMAND, hops + 1, policy) })
    }
    return this.#values
  }

  #ranked(policy: MetricPolicy): Ranking[] {
    const values = this.#valued(policy)
    if (this.#rankings === undefined) {
      const classes = Map.groupBy(values, ({ ranked }) => this.#classOf(ranked.first.entry.record))
      this.#rankings = [...classes.values()].flatMap((members) => rankingsOf(members, policy))
    }
    return this.#rankings
  }

  #classOf(record: MachineRecord): string {
    let name = this.#classNames.get(record)
    if (name === undefined) {
      name = classOf(record)
      this.#classNames.set(record, name)
    }
    return name
  }
}

/** Machines of one class, for each demand. */
function rankingsOf(members: readonly Value[], policy: MetricPolicy): Ranking[] {
  const rankings: Ranking[] = []
  const cores = Math.min(MAX_DEMAND, Math.max(...members.map(({ ranked }) => ranked.first.entry.record.cores)))
  for (let demand = 1; demand === 1 || demand < 2 * cores; demand *= 2) {
    const offers = members.map(({ ranked }): Offer => {
      const { record, hops } = ranked.first.entry
      return { ranked, value: distributionMetric(record, demand, hops + 1, policy) }
    })
    offers.sort((a, b) => b.value - a.value || (a.ranked.first.entry.origin < b.ranked.first.entry.origin ? -1 : 1))
    rankings.push(offers)
  }
  return rankings
}

/** The entry as it goes on to a neighbour: one hop further, its age added up. Fields that we don't know are kept. */
export function forwarded(route: Pick<Route, 'entry' | 'receivedAt'>, now: number): AdvertisementEntry {
  const { entry } = route
  return {
    ...entry,
    ageMs: Math.min(MAX_AGE_MS, ageOf(route, now)),
    hops: entry.hops + 1,
    hopsLeft: Math.max(0, entry.hopsLeft - 1)
  }
}

function nextFor(offers: ArrayIterator<Offer>, to: PeerId): Route | undefined {
  for (let next = offers.next(); next.done !== true; next = offers.next()) {
    const route = routeFor(next.value.ranked, to)
    if (route !== undefined) return route
  }
  return undefined
}

/** As far as its origin allows, and no farther than anybody takes. */
function mayGoOn({ hops, hopsLeft }: AdvertisementEntry): boolean {
  return hopsLeft > 0 && hops < MAX_HOPS
}

/** The route by which that neighbour may be told of the machine: not its own, not to itself, and not beyond its right. */
function routeFor(ranked: Ranked, to: PeerId): Route | undefined {
  const route = ranked.without(to)
  return route !== undefined && mayBeTold(route, to) ? route : undefined
}

/** Whether that own neighbour may be told: not of itself, as far as the origin allows, and nothing of a friend. */
export function mayBeTold({ entry, via }: Route, to: PeerId): boolean {
  return entry.origin !== to && mayGoOn(entry) && via.kind === 'own'
}

/** Takes guests, and has room for one. */
function isOpen(record: MachineRecord): boolean {
  const { refuses, slots, guestDemand } = record
  return refuses === undefined && slots > 0 && guestDemand + Math.min(1, slots) <= slots
}

function classOf(record: MachineRecord): string {
  const { class: is, benchmarkVersion } = record
  return `${is.os} ${is.arch} ${is.cpuLevel} ${is.pageSize} ${benchmarkVersion} ${is.modes.join(' ')}`
}
