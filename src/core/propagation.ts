/**
 * What a peer tells a neighbour of other machines (Algorithm I): the best for each demand and class, never what that
 * neighbour said itself. Only own machines are told of own machines, as far as their origins allow.
 */

import { distributionMetric } from './metric.ts'
import { ageOf, type Neighbours, type Route } from './neighbours.ts'
import type { AdvertisementEntry, MachineRecord, MetricPolicy, PeerId } from './types.ts'

/** Demands that are looked at one by one; beyond, machines differ by little but their cores. */
const MAX_DEMAND = 256

/** The routes that may be told to this neighbour. */
export function tellable(neighbours: Neighbours, to: PeerId): Route[] {
  if (neighbours.get(to)?.kind !== 'own') return []
  return neighbours
    .routes(to)
    .filter(({ entry, via }) => entry.hopsLeft > 0 && entry.origin !== to && via.kind === 'own')
}

/** What the best of the routes is worth to the neighbour, for a demand of 1 and for the largest. */
export function bestValues(routes: readonly Route[], policy: MetricPolicy): [number, number] {
  let one = 0
  let most = 0
  for (const { entry } of routes) {
    if (!isOpen(entry.record)) continue
    one = Math.max(one, worthNext(entry, 1, policy))
    most = Math.max(most, worthNext(entry, MAX_DEMAND, policy))
  }
  return [one, most]
}

/**
 * At most `count` of the routes: for each class and each demand of 1, 2, 4, … the best, then for each the second best, and
 * so on, since a burst fills the best one first.
 */
export function chosen(routes: readonly Route[], policy: MetricPolicy, count: number): Route[] {
  const open = routes.filter(({ entry }) => isOpen(entry.record))
  if (open.length <= count) return open
  const rankings: Route[][] = []
  for (const group of Map.groupBy(open, ({ entry }) => classOf(entry.record)).values()) {
    const cores = Math.min(MAX_DEMAND, Math.max(...group.map(({ entry }) => entry.record.cores)))
    for (let demand = 1; demand === 1 || demand < 2 * cores; demand *= 2) rankings.push(ranked(group, demand, policy))
  }
  const picked = new Set<Route>()
  for (let place = 0; picked.size < count; place++) {
    for (const ranking of rankings) {
      const route = ranking[place]
      if (route !== undefined && picked.size < count) picked.add(route)
    }
  }
  return [...picked]
}

/** The entry as it goes on to a neighbour: one hop further, its age added up. Fields that we don't know are kept. */
export function forwarded(route: Pick<Route, 'entry' | 'receivedAt'>, now: number): AdvertisementEntry {
  const { entry } = route
  return { ...entry, ageMs: ageOf(route, now), hops: entry.hops + 1, hopsLeft: Math.max(0, entry.hopsLeft - 1) }
}

function worthNext(entry: AdvertisementEntry, demand: number, policy: MetricPolicy): number {
  return distributionMetric(entry.record, demand, entry.hops + 1, policy)
}

function ranked(routes: readonly Route[], demand: number, policy: MetricPolicy): Route[] {
  return routes
    .map((route) => ({ route, value: worthNext(route.entry, demand, policy) }))
    .sort((a, b) => b.value - a.value || (a.route.entry.origin < b.route.entry.origin ? -1 : 1))
    .map(({ route }) => route)
}

/** Takes guests, and has room for one. */
function isOpen(record: MachineRecord): boolean {
  return record.refuses === undefined && record.guestDemand + Math.min(1, record.slots) <= record.slots
}

function classOf({ class: is, benchmarkVersion }: MachineRecord): string {
  return [is.os, is.arch, is.cpuLevel, is.pageSize, benchmarkVersion, ...is.modes].join(' ')
}
