/** Real nodes on loopback for tests. */
import { Gater } from '../../src/network/gater.ts'
import { createIdentity, type IdentityKey, peerIdOf } from '../../src/network/identity.ts'
import { createNode, type KappaNode } from '../../src/network/node.ts'
import type { Pairing, Pairings } from '../../src/network/pairing.ts'

/** Pairings that a test changes as it likes. */
export class MemoryPairings implements Pairings {
  readonly map = new Map<string, Pairing>()

  all(): Iterable<Pairing> {
    return this.map.values()
  }

  get(peer: string): Pairing | undefined {
    return this.map.get(peer)
  }

  pair(peerId: string, changes: Partial<Pairing> = {}): Pairing {
    const pairing: Pairing = { peerId, name: 'test', kind: 'own', state: 'paired', addresses: [], ...changes }
    this.map.set(peerId, pairing)
    return pairing
  }
}

export interface TestNode {
  key: IdentityKey
  id: string
  pairings: MemoryPairings
  gater: Gater
  node: KappaNode
}

/** A node on a free port of 127.0.0.1, stopped when the test ends. */
export async function startNode(
  t: { after(action: () => Promise<void>): void },
  init: { key?: IdentityKey; pairings?: MemoryPairings; listen?: string[] } = {}
): Promise<TestNode> {
  const key = init.key ?? (await createIdentity())
  const pairings = init.pairings ?? new MemoryPairings()
  const gater = new Gater({ pairings, banned: [] })
  const node = await createNode({
    privateKey: key,
    name: 'test',
    listen: init.listen ?? ['/ip4/127.0.0.1/tcp/0'],
    announce: [],
    gater,
    mdns: false,
    agentVersion: 'kappa/test'
  })
  t.after(() => node.stop())
  return { key, id: peerIdOf(key), pairings, gater, node }
}

/** Makes both know each other as paired, with their addresses. */
export function pairNodes(a: TestNode, b: TestNode): void {
  a.pairings.pair(b.id, { addresses: b.node.addresses() })
  b.pairings.pair(a.id, { addresses: a.node.addresses() })
}
