/** A machine that speaks the pair protocol by hand, as an attacker would. */

import type { Stream } from '@libp2p/interface'
import { openChannel, type PairChannel } from '../../../src/protocols/pair/channel.ts'
import { PAIR_PROTOCOL } from '../../../src/protocols/pair/constants.ts'
import { commitmentOf } from '../../../src/protocols/pair/numbers.ts'
import { type Machine, never } from './machines.ts'

export class Liar {
  readonly machine: Machine
  channel: PairChannel | undefined

  constructor(machine: Machine) {
    this.machine = machine
  }

  /** A stream of the protocol on which nothing was said. */
  async call(victim: Machine): Promise<PairChannel> {
    // Not closed again: the connection would go with it.
    this.machine.gater.allowDial(victim.node.peerId)
    const target = { peerId: victim.node.peerId, addresses: victim.node.addresses() }
    this.channel = await openChannel(this.machine.node, target, never())
    return this.channel
  }

  /** The same, raw. */
  async stream(victim: Machine): Promise<Stream> {
    this.machine.gater.allowDial(victim.node.peerId)
    const { node } = this.machine
    // As many connections as it likes aren't let in.
    const [open] = node.connections(victim.node.peerId)
    const connection = open ?? (await node.dial(victim.node.addresses(), victim.node.peerId, never()))
    const stream = await node.openStream(connection, PAIR_PROTOCOL, never())
    return stream
  }

  /** Goes as far as the digits. */
  async join(victim: Machine): Promise<PairChannel> {
    const channel = await this.call(victim)
    const nonce = new Uint8Array(16)
    const commitment = commitmentOf('joiner', this.machine.node.peerId, nonce)
    channel.send({ type: 'numbers', name: this.machine.name, kind: 'own', addresses: [], commitment })
    await channel.receive()
    channel.send({ type: 'open', nonce })
    await channel.receive()
    return channel
  }
}
