/** Who is paired with whom. Every topology is connected. */

import { draw, integer, type Random } from './random.ts'

export type Edge = readonly [number, number]

export const TOPOLOGIES = ['clique', 'line', 'star', 'ring', 'tree', 'random', 'small-world', 'two-cliques'] as const
export type TopologyName = (typeof TOPOLOGIES)[number]

/** Pairings of each peer on average where chance decides. */
const MEAN_DEGREE = 4
/** Children of each peer of a tree. */
const TREE_CHILDREN = 2
/** Chance that a pairing of the small world leads far away. */
const REWIRED = 0.2

/** Pairs of indices below `peers`, each once. */
export function edgesOf(name: TopologyName, peers: number, random: Random): Edge[] {
  switch (name) {
    case 'clique':
      return cliqueOf(0, peers)
    case 'line':
      return count(peers - 1).map((index) => [index, index + 1])
    case 'star':
      return count(peers - 1).map((index) => [0, index + 1])
    case 'ring':
      return peers < 3 ? cliqueOf(0, peers) : count(peers).map((index) => [index, (index + 1) % peers])
    case 'tree':
      return count(peers - 1).map((index) => [Math.floor(index / TREE_CHILDREN), index + 1])
    case 'random':
      return randomGraph(peers, random)
    case 'small-world':
      return smallWorld(peers, random)
    case 'two-cliques': {
      const half = Math.floor(peers / 2)
      return [...cliqueOf(0, half), ...cliqueOf(half, peers), [half - 1, half]]
    }
  }
}

/** Pairings on the shortest way between each two. */
export function hopsBetween(peers: number, edges: readonly Edge[]): readonly (readonly number[])[] {
  const paired: number[][] = Array.from({ length: peers }, () => [])
  for (const [a, b] of edges) {
    paired[a]!.push(b)
    paired[b]!.push(a)
  }
  return paired.map((_, from) => {
    const hops = paired.map((_, peer) => (peer === from ? 0 : Number.POSITIVE_INFINITY))
    const found = [from]
    for (const peer of found) {
      for (const next of paired[peer]!) {
        if (hops[next] !== Number.POSITIVE_INFINITY) continue
        hops[next] = hops[peer]! + 1
        found.push(next)
      }
    }
    return hops
  })
}

function count(to: number): number[] {
  return Array.from({ length: Math.max(0, to) }, (_, index) => index)
}

function cliqueOf(from: number, to: number): Edge[] {
  const edges: Edge[] = []
  for (let a = from; a < to; a++) for (let b = a + 1; b < to; b++) edges.push([a, b])
  return edges
}

/** A random tree, so that nobody is alone, and random pairings until the mean degree is reached. */
function randomGraph(peers: number, random: Random): Edge[] {
  const edges = new EdgeSet()
  for (let index = 1; index < peers; index++) edges.add(index, integer(random, 0, index - 1))
  const wanted = Math.min((peers * (peers - 1)) / 2, Math.round((peers * MEAN_DEGREE) / 2))
  while (edges.size < wanted) edges.add(integer(random, 0, peers - 1), integer(random, 0, peers - 1))
  return edges.all()
}

/** Watts and Strogatz: a ring where each is paired with the nearest, some of these pairings led elsewhere. The ring itself stays. */
function smallWorld(peers: number, random: Random): Edge[] {
  if (peers <= MEAN_DEGREE) return cliqueOf(0, peers)
  const edges = new EdgeSet()
  for (let index = 0; index < peers; index++) edges.add(index, (index + 1) % peers)
  for (let step = 2; step <= MEAN_DEGREE / 2; step++) {
    for (let index = 0; index < peers; index++) {
      const elsewhere = count(peers).filter((other) => other !== index && !edges.has(index, other))
      const near = (index + step) % peers
      edges.add(index, random() < REWIRED ? (draw(random, elsewhere, 1)[0] ?? near) : near)
    }
  }
  return edges.all()
}

class EdgeSet {
  readonly #edges = new Map<string, Edge>()

  get size(): number {
    return this.#edges.size
  }

  has(a: number, b: number): boolean {
    return this.#edges.has(a < b ? `${a} ${b}` : `${b} ${a}`)
  }

  add(a: number, b: number): void {
    if (a !== b) this.#edges.set(a < b ? `${a} ${b}` : `${b} ${a}`, a < b ? [a, b] : [b, a])
  }

  all(): Edge[] {
    return [...this.#edges.values()]
  }
}
