/**
 * A peer that leads from one machine to another, as a program for a host of an emulated LAN: our own core and protocols,
 * and a hook on what it says, so that a test can stop it at a given message. Commands come as lines of JSON and are
 * answered so.
 */

import { randomBytes } from 'node:crypto'
import { writeSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { PeerCore } from '../../src/core/peer-core.ts'
import type { MachineSample, OverlayMessage, PeerId } from '../../src/core/types.ts'
import { CoreDriver } from '../../src/daemon/core-driver.ts'
import { machineClass } from '../../src/machine/class.ts'
import { Gater } from '../../src/network/gater.ts'
import { createIdentity } from '../../src/network/identity.ts'
import { createNode } from '../../src/network/node.ts'
import { OverlayService } from '../../src/protocols/overlay/service.ts'
import { PairService } from '../../src/protocols/pair/service.ts'
import { RelayService } from '../../src/protocols/relay/service.ts'
import { VERSION } from '../../src/version.ts'
import { MemoryStore } from '../protocols/pair/machines.ts'
import type { MiddleAction, MiddleCommand, MiddleEvent, Moment } from './middle.ts'

const NAME = 'middle'
const EPOCH = 1
const PAIR_MS = 20_000

/** A machine on which nobody would run anything. */
const POOR: MachineSample = {
  benchmarkVersion: 1,
  speed: 0.001,
  cores: 1,
  idleCores: 0,
  runnable: 9,
  memoryAvailable: 0,
  memoryTotal: 1
}

const store = new MemoryStore()
const node = await createNode({
  privateKey: await createIdentity(),
  name: NAME,
  listen: ['/ip4/0.0.0.0/tcp/0'],
  announce: [],
  gater: new Gater({ pairings: store, banned: [] }),
  mdns: false,
  agentVersion: 'kappa/test'
})
const pair = new PairService({ node, store, name: NAME, onChange: () => undefined })
const relay = new RelayService({ forwards: () => true, node, neighbour: (peer) => node.connections(peer).at(-1) })
const now = () => performance.now()
const core = new PeerCore({
  self: node.peerId,
  name: NAME,
  epoch: EPOCH,
  metricPolicy: 'product',
  rules: { slots: 0, memoryFloor: 0, labels: [], class: machineClass([]), homeSlots: 0, forward: 8 },
  random: Math.random,
  newId: () => randomBytes(16).toString('hex'),
  hasTool: () => false,
  banned: () => false,
  addresses: () => []
})
let armed: { at: Moment; action: MiddleAction } | undefined
let held: { to: PeerId; message: OverlayMessage } | undefined

const driver = new CoreDriver(core, { now, send, sample: () => POOR, admit: () => undefined })
const overlay = new OverlayService({
  node,
  name: NAME,
  epoch: EPOCH,
  version: VERSION,
  onTooFar: () => undefined,
  onUp: (peer, { name }) => driver.perform(core.handleNeighbourUp(peer, { kind: 'own', name }, now())),
  onDown: (peer) => driver.perform(core.handleNeighbourDown(peer, now())),
  onMessage: (peer, message) => driver.perform(core.handleMessage(peer, message, now())),
  onRoundTrip: (peer, ms) => core.handleRoundTrip(peer, ms),
  log: () => undefined
})

function send(to: PeerId, message: OverlayMessage): void {
  const at = momentOf(message)
  if (armed === undefined || at === undefined || armed.at !== at) {
    overlay.send(to, message)
    return
  }
  const { action } = armed
  armed = undefined
  if (action === 'hold') held = { to, message }
  if (at === 'replied') overlay.send(to, message)
  // What was said last goes out with this turn.
  if (at === 'replied') setTimeout(() => act(action), 0)
  else act(action)
}

function momentOf(message: OverlayMessage): Moment | undefined {
  if (message.type === 'probe') return 'probe'
  if (message.type !== 'probe-reply' || message.ticket === undefined) return undefined
  return armed?.at === 'replied' ? 'replied' : 'reply'
}

function act(action: MiddleAction): void {
  tell({ event: 'there' })
  if (action !== 'hold') process.kill(process.pid, action)
}

function tell(event: MiddleEvent): void {
  writeSync(1, `${JSON.stringify(event)}\n`)
}

async function obey(command: MiddleCommand): Promise<void> {
  if ('pair' in command) await pair.accept({ link: command.pair, kind: 'own', signal: AbortSignal.timeout(PAIR_MS) })
  else if ('at' in command) armed = command
  else if (held !== undefined) {
    const { to, message } = held
    if (message.type === 'probe-reply' && command.addresses !== undefined) message.addresses = command.addresses
    overlay.send(to, message)
    held = undefined
  }
  tell({ event: 'obeyed' })
}

await pair.start()
await relay.start()
await overlay.start()
tell({ event: 'obeyed' })
for await (const line of createInterface({ input: process.stdin })) await obey(JSON.parse(line))
process.exit(0)
