/** Real peers with neighbour connections and the overlay, on loopback, for tests. */
import type { OverlayMessage } from '../../../src/core/types.ts'
import type { IdentityKey } from '../../../src/network/identity.ts'
import { NeighbourConnections } from '../../../src/network/neighbours.ts'
import { type NeighbourNews, OverlayService } from '../../../src/protocols/overlay/service.ts'
import { type MemoryPairings, startNode, type TestNode } from '../../network/nodes.ts'

export type Seen =
  | { type: 'up'; peer: string; news: NeighbourNews }
  | { type: 'down'; peer: string }
  | { type: 'tooFar'; peer: string; news: NeighbourNews }
  | { type: 'message'; peer: string; message: OverlayMessage }
  | { type: 'roundTrip'; peer: string; ms: number }
  | { type: 'log'; line: string }
  | { type: 'addresses'; peer: string; addresses: string[] }
  | { type: 'turnedAway'; peer: string }

/** A peer and everything that it told. */
export interface TestPeer extends TestNode {
  neighbours: NeighbourConnections
  overlay: OverlayService
  seen: Seen[]
  /** Waits for something told, from now on or before unless `after` is the count of what is known. */
  until<T extends Seen['type']>(
    type: T,
    matches?: (seen: Extract<Seen, { type: T }>) => boolean,
    after?: number
  ): Promise<Extract<Seen, { type: T }>>
  stop(): Promise<void>
}

const DEADLINE_MS = 20_000

export interface PeerInit {
  key?: IdentityKey
  pairings?: MemoryPairings
  listen?: string[]
  epoch?: number
  version?: string
}

export async function startPeer(
  t: { after(action: () => Promise<void>): void },
  init: PeerInit = {}
): Promise<TestPeer> {
  const base = await startNode(t, init)
  const seen: Seen[] = []
  const watchers = new Set<() => void>()
  const tell = (event: Seen): void => {
    seen.push(event)
    for (const watcher of watchers) watcher()
  }
  const neighbours = new NeighbourConnections({
    node: base.node,
    pairings: base.pairings,
    onAddresses: (peer, addresses) => tell({ type: 'addresses', peer, addresses }),
    onTurnedAway: (peer) => tell({ type: 'turnedAway', peer })
  })
  const overlay = new OverlayService({
    node: base.node,
    name: 'test',
    epoch: init.epoch ?? 1,
    version: init.version ?? '1.2.3',
    onTooFar: (peer, news) => tell({ type: 'tooFar', peer, news }),
    onUp: (peer, news) => tell({ type: 'up', peer, news }),
    onDown: (peer) => tell({ type: 'down', peer }),
    onMessage: (peer, message) => tell({ type: 'message', peer, message }),
    onRoundTrip: (peer, ms) => tell({ type: 'roundTrip', peer, ms }),
    log: (line) => tell({ type: 'log', line })
  })
  await overlay.start()
  await neighbours.start()
  const stop = async (): Promise<void> => {
    neighbours.stop()
    overlay.stop()
    await base.node.stop()
  }
  t.after(stop)
  const until: TestPeer['until'] = (type, matches = () => true, after = 0) =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        watchers.delete(look)
        reject(new Error(`no ${type} within ${DEADLINE_MS} ms; seen: ${JSON.stringify(seen)}`))
      }, DEADLINE_MS)
      const look = (): void => {
        const found = seen.slice(after).find((event) => event.type === type && matches(event as never))
        if (found === undefined) return
        clearTimeout(timer)
        watchers.delete(look)
        resolve(found as never)
      }
      watchers.add(look)
      look()
    })
  return { ...base, neighbours, overlay, seen, until, stop }
}

/** Pairs two running peers; each then dials the other. */
export function pairPeers(a: TestPeer, b: TestPeer): void {
  a.pairings.pair(b.id, { addresses: b.node.addresses() })
  b.pairings.pair(a.id, { addresses: a.node.addresses() })
  a.neighbours.add(b.id)
  b.neighbours.add(a.id)
}

/** Until a condition holds. */
export async function eventually(condition: () => boolean, what: string): Promise<void> {
  const giveUp = Date.now() + DEADLINE_MS
  while (!condition()) {
    if (Date.now() > giveUp) throw new Error(`never: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
