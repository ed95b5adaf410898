/** Real peers on loopback with the pair service, for tests. */

import type { Test } from 'tap'
import { Gater } from '../../../src/network/gater.ts'
import { createIdentity, type IdentityKey } from '../../../src/network/identity.ts'
import { createNode, type KappaNode } from '../../../src/network/node.ts'
import type { Pairing } from '../../../src/network/pairing.ts'
import { PAIR_DEADLINES, type PairDeadlines } from '../../../src/protocols/pair/constants.ts'
import {
  type NumbersEvent,
  type PairingChange,
  type PairingStore,
  PairService
} from '../../../src/protocols/pair/service.ts'

/** Pairings in memory; `onPut` runs before one is stored and may refuse it. */
export class MemoryStore implements PairingStore {
  readonly pairings = new Map<string, Pairing>()
  onPut: (pairing: Pairing) => Promise<void> = async () => {}

  all() {
    return this.pairings.values()
  }

  get(peer: string) {
    return this.pairings.get(peer)
  }

  async put(pairing: Pairing): Promise<void> {
    await this.onPut(pairing)
    this.pairings.set(pairing.peerId, pairing)
  }

  async remove(peer: string): Promise<boolean> {
    return this.pairings.delete(peer)
  }
}

export interface Machine {
  name: string
  key: IdentityKey
  node: KappaNode
  gater: Gater
  store: MemoryStore
  pair: PairService
  changes: PairingChange[]
  /** How its pairing with another stands: `pending own`, `paired friend`, or undefined. */
  standing(other: Machine): string | undefined
  /** Its address, as a person types it. */
  address: string
}

export interface MachineInit {
  /** After a crash: the same key, store and port as this one had. */
  after?: Machine
  deadlines?: Partial<PairDeadlines>
  /** What multicast DNS hears. */
  lan?: Machine[]
}

/** A peer that is stopped when the test ends. */
export async function machine(t: Test, name: string, init: MachineInit = {}): Promise<Machine> {
  const store = init.after?.store ?? new MemoryStore()
  const key = init.after?.key ?? (await createIdentity())
  const gater = new Gater({ pairings: store, banned: [] })
  const node = await createNode({
    privateKey: key,
    name,
    listen: [`/ip4/127.0.0.1/tcp/${init.after?.node.port ?? 0}`],
    announce: [],
    gater,
    mdns: false,
    agentVersion: 'kappa/test'
  })
  const changes: PairingChange[] = []
  const pair = new PairService({
    node: init.lan === undefined ? node : hearing(node, init.lan),
    store,
    name,
    onChange: (change) => changes.push(change),
    deadlines: { ...PAIR_DEADLINES, progressMs: 5_000, ...init.deadlines }
  })
  await pair.start()
  t.teardown(async () => {
    await pair.stop()
    await node.stop()
  })
  const standing = (other: Machine) => {
    const pairing = store.get(other.node.peerId)
    return pairing && `${pairing.state} ${pairing.kind}`
  }
  return { name, key, node, gater, store, pair, changes, standing, address: `127.0.0.1:${node.port}` }
}

/** A node that hears these machines by multicast DNS, which a test's network may not carry. */
function hearing(node: KappaNode, lan: Machine[]): KappaNode {
  const heard = lan.map((other) => ({ peerId: other.node.peerId, name: other.name, addresses: other.node.addresses() }))
  return {
    peerId: node.peerId,
    gater: node.gater,
    port: node.port,
    libp2p: node.libp2p,
    addresses: () => node.addresses(),
    handle: (...args) => node.handle(...args),
    unhandle: (protocol) => node.unhandle(protocol),
    connections: (peer) => node.connections(peer),
    relayed: (peer) => node.relayed(peer),
    upgrade: (...args) => node.upgrade(...args),
    dial: (...args) => node.dial(...args),
    openStream: (...args) => node.openStream(...args),
    hangUp: (...args) => node.hangUp(...args),
    onConnected: (listener) => node.onConnected(listener),
    becamePaired: (peer) => node.becamePaired(peer),
    discovered: () => heard,
    askLan: () => {},
    hearsItself: async () => false,
    onDiscovered: () => {},
    stop: () => node.stop()
  }
}

/** A signal that nobody aborts. */
export const never = (): AbortSignal => new AbortController().signal

/** A promise's value, or the name and message of what it throws. */
export async function outcome(promise: Promise<unknown>): Promise<unknown> {
  try {
    return await promise
  } catch (error) {
    return `${(error as Error).name}: ${(error as Error).message}`
  }
}

/** What one machine shows to its person, to be read by the person of another. */
export class Screen {
  readonly events: NumbersEvent[] = []
  readonly #wanted: { type: NumbersEvent['type']; found: (event: NumbersEvent) => void }[] = []
  #read = 0

  readonly show = (event: NumbersEvent): void => {
    this.events.push(event)
    this.#look()
  }

  /** The next event of that type that wasn't read yet. */
  next<T extends NumbersEvent['type']>(type: T): Promise<Extract<NumbersEvent, { type: T }>> {
    const { promise, resolve } = Promise.withResolvers<NumbersEvent>()
    this.#wanted.push({ type, found: resolve })
    this.#look()
    return promise as Promise<Extract<NumbersEvent, { type: T }>>
  }

  types(): string[] {
    return this.events.map((event) => event.type)
  }

  #look(): void {
    while (this.#wanted.length > 0 && this.#read < this.events.length) {
      const event = this.events[this.#read++] as NumbersEvent
      if (event.type === this.#wanted[0]?.type) this.#wanted.shift()?.found(event)
    }
  }
}
