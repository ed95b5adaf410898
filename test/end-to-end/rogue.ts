/**
 * A peer of the test's own, made of the real network and pairing, that says to a daemon whatever the test likes: a
 * stranger, a paired neighbour that sends garbage, or a target that doesn't keep its word.
 */

import { randomBytes } from 'node:crypto'
import type { Connection, Stream } from '@libp2p/interface'
import type { Test } from 'tap'
import type { MachineClass, MachineRecord, OverlayMessage, PairingKind } from '../../src/core/types.ts'
import { machineClass } from '../../src/machine/class.ts'
import { FrameStream } from '../../src/network/frames.ts'
import { Gater } from '../../src/network/gater.ts'
import { createIdentity, type IdentityKey, peerIdOf } from '../../src/network/identity.ts'
import { createNode, type KappaNode } from '../../src/network/node.ts'
import { EXEC_FRAME_BYTES_MAX, EXEC_PROTOCOL } from '../../src/protocols/exec/constants.ts'
import { OverlayService } from '../../src/protocols/overlay/service.ts'
import { PairService } from '../../src/protocols/pair/service.ts'
import { VERSION } from '../../src/version.ts'
import { MemoryStore } from '../protocols/pair/machines.ts'
import { Talk, type TestPeer, until } from './peers.ts'

const SOON_MS = 10_000
/** No claim of a rogue runs out while a test lasts. */
const PERIOD_MS = 60_000

export class Rogue {
  readonly name: string
  readonly node: KappaNode
  readonly store: MemoryStore
  readonly #pair: PairService

  private constructor(name: string, node: KappaNode, store: MemoryStore) {
    this.name = name
    this.node = node
    this.store = store
    this.#pair = new PairService({ node, store, name, onChange: () => undefined })
  }

  /** On loopback, stopped when the test ends; `below`: with a smaller peer ID, so that it is the rogue that opens overlay streams. */
  static async start(t: Test, name: string, below?: string): Promise<Rogue> {
    const store = new MemoryStore()
    const node = await createNode({
      privateKey: await identityBelow(below),
      name,
      listen: ['/ip4/127.0.0.1/tcp/0'],
      announce: [],
      gater: new Gater({ pairings: store, banned: [] }),
      mdns: false,
      agentVersion: 'kappa/test'
    })
    const rogue = new Rogue(name, node, store)
    await rogue.#pair.start()
    t.teardown(async () => {
      await rogue.#pair.stop()
      await node.stop()
    })
    return rogue
  }

  /** Accepts an invitation of the peer, to which it is of that kind. */
  async pairWith(peer: TestPeer, kind: PairingKind = 'own'): Promise<void> {
    const invitation = new Talk(peer.spawn(['pair', '--invite', `--${kind}`]))
    const [link] = (await invitation.hears(/^kappa:\S+(?=\n)/)) as [string]
    await this.#pair.accept({ link, kind, signal: AbortSignal.timeout(SOON_MS) })
    const { code } = await invitation.ended
    if (code !== 0) throw new Error(`the invitation ended with ${code}`)
  }

  /** An open connection to the peer, or a new one. */
  async connection(peer: TestPeer): Promise<Connection> {
    const { peerId, addresses } = await peer.status()
    const [open] = this.node.connections(peerId)
    if (open) return open
    const gate = this.node.gater.allowDial(peerId)
    try {
      return await this.node.dial(addresses, peerId, AbortSignal.timeout(SOON_MS))
    } finally {
      gate.close()
    }
  }

  /** A stream of that protocol; a paired rogue is turned away for a moment after it sent garbage. */
  async open(peer: TestPeer, protocol: string): Promise<Stream> {
    return until(`${peer.name} takes a stream of ${protocol}`, async () => {
      try {
        return await this.node.openStream(await this.connection(peer), protocol, AbortSignal.timeout(SOON_MS))
      } catch {
        return undefined
      }
    })
  }
}

async function identityBelow(peer: string | undefined): Promise<IdentityKey> {
  for (;;) {
    const key = await createIdentity()
    if (peer === undefined || peerIdOf(key) < peer) return key
  }
}

/** Sends bytes as they are, and resolves when the other side has ended the stream, or after a while of silence. */
export async function throwAt(stream: Stream, ...chunks: Uint8Array[]): Promise<'ended' | 'silent'> {
  const ended = new Promise<'ended'>((resolve) => {
    stream.addEventListener('close', () => resolve('ended'))
    stream.addEventListener('remoteCloseWrite', () => resolve('ended'))
    if (stream.status !== 'open') resolve('ended')
  })
  try {
    for (const chunk of chunks) {
      if (!stream.send(chunk)) await stream.onDrain({ signal: AbortSignal.timeout(SOON_MS) })
    }
  } catch {
    // It was ended while we talked.
  }
  const silent = new Promise<'silent'>((resolve) => setTimeout(resolve, 500, 'silent'))
  const outcome = await Promise.race([ended, silent])
  stream.abort(new Error('the test is through with it'))
  return outcome
}

const GIB = 2 ** 30

/** What a machine says that is better than any that runs tests. */
function boast(machine: Partial<MachineClass>): MachineRecord {
  return {
    benchmarkVersion: 1,
    speed: 1_000,
    cores: 64,
    idleCores: 64,
    runnable: 0,
    homeDemand: 0,
    guestDemand: 0,
    memoryAvailable: 64 * GIB,
    memoryTotal: 64 * GIB,
    memoryPromised: 0,
    memoryFloor: 0,
    slots: 64,
    class: { ...machineClass(['plain', 'staged', 'files', 'programs']), ...machine },
    labels: []
  }
}

/** A target that every job goes to, and that does with it what the test says. */
export class RogueTarget {
  readonly rogue: Rogue
  epoch = 7
  /** What happens on an exec stream that home opened, its number from 1 on. */
  serve: (frames: FrameStream, number: number) => void
  #streams = 0
  readonly #machine: Partial<MachineClass>
  readonly #overlay: OverlayService
  #sequence = 0

  private constructor(
    rogue: Rogue,
    serve: (frames: FrameStream, number: number) => void,
    machine: Partial<MachineClass>
  ) {
    this.rogue = rogue
    this.#machine = machine
    this.serve = serve
    this.#overlay = new OverlayService({
      node: rogue.node,
      name: rogue.name,
      epoch: this.epoch,
      version: VERSION,
      onTooFar: () => undefined,
      onUp: (peer) => {
        this.#overlay.send(peer, { type: 'advertisement', periodMs: PERIOD_MS, idleMs: 0, entries: [this.#entry()] })
      },
      onDown: () => undefined,
      onMessage: (peer, message) => this.#answer(peer, message),
      onRoundTrip: () => undefined,
      log: () => undefined
    })
  }

  /** Pairs with `home`, which from then on finds nobody better. */
  static async start(
    t: Test,
    home: TestPeer,
    serve: (frames: FrameStream, number: number) => void,
    kind: PairingKind = 'own',
    machine: Partial<MachineClass> = {}
  ): Promise<RogueTarget> {
    const rogue = await Rogue.start(t, 'rogue')
    const target = new RogueTarget(rogue, serve, machine)
    await rogue.node.handle(EXEC_PROTOCOL, { rights: ['own', 'friend'], maxStreams: 32 }, (stream) => {
      target.serve(new FrameStream(stream, { maxFrameBytes: EXEC_FRAME_BYTES_MAX }), ++target.#streams)
    })
    await target.#overlay.start()
    t.teardown(() => target.#overlay.stop())
    await rogue.pairWith(home, kind)
    await until('home sees the rogue', async () => (await home.status()).reachable.length > 0)
    return target
  }

  #entry() {
    const { peerId } = this.rogue.node
    const sequence = ++this.#sequence
    const { epoch } = this
    return {
      origin: peerId,
      epoch,
      sequence,
      ageMs: 0,
      hopsLeft: 1,
      hops: 1,
      name: 'rogue',
      record: boast(this.#machine)
    }
  }

  #answer(peer: string, message: OverlayMessage): void {
    if (message.type !== 'probe') return
    const id = randomBytes(16).toString('hex')
    const ticket = { id, target: this.rogue.node.peerId, epoch: this.epoch, validMs: 2_000 }
    const path = [...message.path, ticket.target]
    this.#overlay.send(peer, {
      type: 'probe-reply',
      id: message.id,
      path,
      bestAt: path.length - 1,
      ticket,
      refusals: [],
      entries: [this.#entry()]
    })
  }
}
