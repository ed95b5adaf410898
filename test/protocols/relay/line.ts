/** Three machines in a line for tests: home and target are paired with the one between, and not with each other. */

import { FrameStream } from '../../../src/network/frames.ts'
import { RelayService } from '../../../src/protocols/relay/service.ts'
import { pairNodes, startNode, type TestNode } from '../../network/nodes.ts'
import { eventually } from '../overlay/peers.ts'

export const PROTOCOL = '/kappa/relay-test/1.0.0'

export const soon = (): AbortSignal => AbortSignal.timeout(15_000)

export interface RelayNode extends TestNode {
  relay: RelayService
}

export async function startRelayNode(t: { after(action: () => Promise<void>): void }): Promise<RelayNode> {
  const started = await startNode(t)
  const { node } = started
  const relay = new RelayService({ node, neighbour: (other) => node.connections(other).at(-1), forwards: () => true })
  await relay.start()
  return { ...started, relay }
}

export interface Line {
  home: RelayNode
  middle: RelayNode
  target: RelayNode
}

/** Connected with their neighbours; the target admits home, and home may dial the target unless the test sees to that. */
export async function line(
  t: { after(action: () => Promise<void>): void },
  { allowed = true }: { allowed?: boolean } = {}
): Promise<Line> {
  const [home, middle, target] = (await Promise.all([1, 2, 3].map(() => startRelayNode(t)))) as [
    RelayNode,
    RelayNode,
    RelayNode
  ]
  pairNodes(home, middle)
  pairNodes(middle, target)
  await home.node.dial(middle.node.addresses(), middle.id, soon())
  await target.node.dial(middle.node.addresses(), middle.id, soon())
  const met = () => [home, target].every(({ id }) => middle.node.connections(id).length === 1)
  await eventually(met, 'the one between knows both')
  target.gater.admitHome(home.id)
  if (allowed) home.gater.allowTarget(target.id)
  return { home, middle, target }
}

/** A stream over what is relayed from home to the target. */
export async function openRelayed({ home, target }: Line): Promise<FrameStream> {
  const connection = home.node.relayed(target.id).at(-1)
  if (connection === undefined) throw new Error('nothing is relayed')
  const stream = await home.node.openStream(connection, PROTOCOL, soon())
  return new FrameStream(stream, { maxFrameBytes: 1024 * 1024 })
}
