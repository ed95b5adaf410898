/** What goes wrong in a household while its placement is measured: now and then a partition, now and then a machine that goes off. */

import { between, integer, pick, type Random } from './random.ts'
import type { Simulation } from './simulation.ts'
import type { Edge } from './topology.ts'

/** Part of all messages that is lost. */
export const DISTURBED_LOSS = 0.05
/** In each of these there is one partition and one crash, ms. */
const EACH_MS = 60_000
/** How long they last, ms. */
const LASTS_MS = { least: 2_000, most: 20_000 }

/** Has them happen at random times within that time. */
export function disturb(
  simulation: Simulation,
  edges: readonly Edge[],
  { fromMs, toMs }: { fromMs: number; toMs: number },
  random: Random
): void {
  const { time, network, peers } = simulation
  const forMs = () => between(random, LASTS_MS.least, LASTS_MS.most)
  for (let from = fromMs; from < toMs; from += EACH_MS) {
    const to = Math.min(from + EACH_MS, toMs)
    const groups = parted(peers.length, edges, random)
    const apart = forMs()
    time.at(between(random, from, to), () => network.partition(groups, apart))
    const crashed = integer(random, 0, peers.length - 1)
    const off = forMs()
    time.at(between(random, from, to), () => simulation.crash(crashed, off))
  }
}

/** The group of each peer: a connected piece of up to half of the household is cut off from the rest. */
function parted(count: number, edges: readonly Edge[], random: Random): number[] {
  const groups: number[] = Array.from({ length: count }, () => 0)
  groups[integer(random, 0, count - 1)] = 1
  for (let size = integer(random, 1, Math.floor(count / 2)); size > 1; size--) {
    const [a, b] = pick(
      random,
      edges.filter(([one, other]) => groups[one] !== groups[other])
    )
    groups[a] = 1
    groups[b] = 1
  }
  return groups
}
