/** What a daemon may have said to `kappa top`. */

import type { News } from '../../../src/cli/top/rows.ts'
import type {
  FiguresResult,
  JobResult,
  NeighbourResult,
  PeerFigures,
  ReachableResult,
  StatusResult
} from '../../../src/daemon/control-results.ts'

/** 14:03:22 UTC. */
export const AT = Date.UTC(2026, 10, 22, 14, 3, 22)

export function neighbour(name: string, more: Partial<NeighbourResult> = {}): NeighbourResult {
  return {
    ...{ name, peerId: `id of ${name}`, kind: 'own', connected: true, metric: 80, trust: 1 },
    ...{ via: '/ip4/192.168.1.7/tcp/5277/p2p/12D3x', roundTripMs: 0.41, traffic: { sent: 1_000, received: 2_000 } },
    ...{ version: '0.1.0', refuses: null, plainOnly: null, ...more }
  }
}

export function reachable(name: string, more: Partial<ReachableResult> = {}): ReachableResult {
  return {
    ...{ peerId: `id of ${name}`, name, metric: 80, trust: 1, hops: 1, ageMs: 400 },
    ...{ slots: { total: 4, used: 1 }, through: null, via: null, ...more }
  }
}

export function status(more: Partial<StatusResult> = {}): StatusResult {
  return {
    ...{ name: 'desktop', peerId: 'id of desktop', version: '0.1.0', addresses: ['/ip4/192.168.1.5/tcp/5277'] },
    ...{ metric: 312.4, static: 1.05, load: { runnable: 0.2, idleCores: 3, cores: 4 }, slots: { total: 8, used: 1 } },
    ...{ refuses: null, paused: false, plainOnly: null },
    ...{ placement: { strategy: 'kappa', information: 'max-propagation' } },
    ...{ neighbours: [neighbour('nas')], reachable: [reachable('nas')], lastJobs: [], ...more }
  }
}

/** `values`: metrics, oldest first; the rest goes with them. */
export function figures(name: string, values: (number | null)[], cores = 4): PeerFigures {
  const of = (value: (metric: number) => number) => values.map((metric) => (metric === null ? null : value(metric)))
  return {
    ...{ peerId: `id of ${name}`, name, metric: values, busyCores: of((metric) => cores - (cores * metric) / 400) },
    ...{ cores: of(() => cores), homeCores: of(() => 0), slotsUsed: of((metric) => (metric > 200 ? 0 : 1)) },
    slots: of(() => 2 * cores)
  }
}

export function past(...peers: PeerFigures[]): FiguresResult {
  return { everyMs: 1_000, at: AT, peers }
}

export function job(id: string, more: Partial<JobResult> = {}): JobResult {
  return {
    ...{ id, state: 'running', argv: ['make', '-j8'], target: 'nas', home: 'desktop', startedAt: AT - 12_000 },
    ...{ endedAt: null, exitCode: null, signal: null, detached: false, ...more }
  }
}

export function news(more: Partial<News> = {}): News {
  return {
    ...{ at: AT, status: status(), jobs: [job('j7fa')], guests: [] },
    ...{ figures: past(figures('desktop', ramp(20)), figures('nas', [null, null, 80, 40, 80])), ...more }
  }
}

/** 0, 20, 40 … up to 380. */
export function ramp(count: number): number[] {
  return Array.from({ length: count }, (_, index) => (400 * index) / count)
}
