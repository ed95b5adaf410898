import t from 'tap'
import { randomFrom } from '../../src/simulator/random.ts'
import { type Edge, edgesOf, hopsBetween, TOPOLOGIES } from '../../src/simulator/topology.ts'

function reached(peers: number, edges: readonly Edge[]): number {
  const seen = new Set([0])
  for (let size = 0; size < seen.size; ) {
    size = seen.size
    for (const [a, b] of edges) if (seen.has(a) || seen.has(b)) seen.add(a).add(b)
  }
  return seen.size / peers
}

t.test('all are connected, no pairing is double or with oneself', async (t) => {
  for (const name of TOPOLOGIES) {
    for (const peers of [2, 3, 8, 16, 64]) {
      const edges = edgesOf(name, peers, randomFrom(peers))
      const keys = new Set(edges.map(([a, b]) => [Math.min(a, b), Math.max(a, b)].join()))
      t.equal(keys.size, edges.length, `${name} of ${peers}`)
      t.equal(
        edges.find(([a, b]) => a === b || a < 0 || b < 0 || a >= peers || b >= peers),
        undefined
      )
      t.equal(reached(peers, edges), 1, `${name} of ${peers} is connected`)
    }
  }
})

t.test('shapes', async (t) => {
  const random = randomFrom(1)
  t.equal(edgesOf('clique', 8, random).length, 28)
  t.same(edgesOf('line', 3, random), [
    [0, 1],
    [1, 2]
  ])
  t.equal(edgesOf('ring', 5, random).length, 5)
  t.same(edgesOf('star', 3, random), [
    [0, 1],
    [0, 2]
  ])
  t.same(edgesOf('tree', 6, random), [
    [0, 1],
    [0, 2],
    [1, 3],
    [1, 4],
    [2, 5]
  ])
  t.equal(edgesOf('two-cliques', 8, random).length, 13)
  t.equal(edgesOf('random', 64, random).length, 128)
  t.equal(edgesOf('small-world', 64, random).length, 128)
  t.not(edgesOf('random', 16, randomFrom(1)).join(), edgesOf('random', 16, randomFrom(2)).join())
})

t.test('hops on the shortest way', async (t) => {
  t.same(
    hopsBetween(
      5,
      edgesOf('ring', 5, () => 0)
    )[0],
    [0, 1, 2, 2, 1]
  )
  t.same(
    hopsBetween(
      4,
      edgesOf('line', 4, () => 0)
    )[3],
    [3, 2, 1, 0]
  )
  t.same(hopsBetween(2, [])[0], [0, Number.POSITIVE_INFINITY])
})
