/** How pairings begin to count and end: the store, the ban, and what the two sides tell each other about it later. */

import type { Connection } from '@libp2p/interface'
import type { PeerId } from '../../core/types.ts'
import { KappaError } from '../../errors.ts'
import type { KappaNode } from '../../network/node.ts'
import type { Pairing, Pairings } from '../../network/pairing.ts'
import { leave, openChannel, type PairChannel } from './channel.ts'
import type { PairMessage } from './codec.ts'
import type { PairDeadlines } from './constants.ts'

/** Where pairings are kept; what `put` and `remove` did counts at once, and is safe on the disk when they resolve. */
export interface PairingStore extends Pairings {
  /** Adds or replaces. Throws PairingError when there are too many, StateError when it can't be kept. */
  put(pairing: Pairing): Promise<void>
  /** False when there was none. Throws StateError when it can't be kept, though it counts. */
  remove(peer: PeerId): Promise<boolean>
}

/** A pairing began to count, or ended otherwise than by `unpair` here; for the daemon's log, jobs and tickets. */
export type PairingChange =
  | { type: 'paired'; pairing: Pairing }
  /** `unpaired`: a person there ended it. `unconfirmed`: it never was confirmed there. */
  | { type: 'ended'; pairing: Pairing; why: 'unpaired' | 'unconfirmed' }

export interface SettlementInit {
  node: KappaNode
  store: PairingStore
  onChange: (change: PairingChange) => void
  deadlines: PairDeadlines
  /** True while a session with this peer goes on, which then decides. */
  isUnderwayWith: (peer: PeerId) => boolean
}

export class Settlement {
  readonly store: PairingStore
  readonly #node: KappaNode
  readonly #onChange: (change: PairingChange) => void
  readonly #deadlines: PairDeadlines
  readonly #isUnderwayWith: (peer: PeerId) => boolean

  constructor(init: SettlementInit) {
    this.store = init.store
    this.#node = init.node
    this.#onChange = init.onChange
    this.#deadlines = init.deadlines
    this.#isUnderwayWith = init.isUnderwayWith
  }

  /** Settles pending pairings whenever one of their peers connects. */
  start(): void {
    this.#node.libp2p.addEventListener('connection:open', this.#connected)
  }

  stop(): void {
    this.#node.libp2p.removeEventListener('connection:open', this.#connected)
  }

  /**
   * Ends a pairing: the peer has no right here any more as soon as this is called, is banned and disconnected within a
   * second, and is told if it can be. True when it was told. Throws UnknownPeerError, StateError.
   */
  async unpair(peer: PeerId): Promise<boolean> {
    const pairing = this.store.get(peer)
    if (pairing === undefined) throw new KappaError('UnknownPeerError', `${peer} is not paired with this machine`)
    const removed = this.store.remove(peer)
    const told = this.#ask(pairing, { type: 'bye' }, this.#deadlines.byeMs)
    try {
      await removed
      return (await told)?.type === 'bye'
    } finally {
      await told
      this.#node.gater.ban(peer)
    }
  }

  /**
   * Settles a pending pairing by asking the other side whether it has confirmed; called by itself when the peer
   * connects. Gives how it stands afterwards; `pending` too when the peer can't be asked now. Throws StateError.
   */
  async reconcile(peer: PeerId): Promise<'none' | 'pending' | 'paired'> {
    const pairing = this.store.get(peer)
    if (pairing?.state !== 'pending' || this.#isUnderwayWith(peer)) return pairing?.state ?? 'none'
    const answer = await this.#ask(pairing, { type: 'reconcile' }, this.#deadlines.progressMs)
    const now = this.store.get(peer)
    // A new attempt to pair, or an unpair, may have overtaken the answer.
    if (now?.state !== 'pending' || this.#isUnderwayWith(peer)) return now?.state ?? 'none'
    if (answer?.type !== 'standing' || answer.state === 'underway') return 'pending'
    if (answer.state !== 'none') {
      await this.keep({ ...now, state: 'paired' })
      this.#node.becamePaired(peer)
      return 'paired'
    }
    await this.store.remove(peer)
    this.#onChange({ type: 'ended', pairing: now, why: 'unconfirmed' })
    return 'none'
  }

  /** Says how the pairing with a peer stands here. Its asking says that it has confirmed. */
  async answer(channel: PairChannel): Promise<void> {
    const { peerId } = channel
    const pairing = this.store.get(peerId)
    const settles = pairing?.state === 'pending' && !this.#isUnderwayWith(peerId)
    if (settles) await this.keep({ ...pairing, state: 'paired' })
    const state = this.#isUnderwayWith(peerId) ? 'underway' : pairing === undefined ? 'none' : 'paired'
    channel.send({ type: 'standing', state })
    await channel.end(this.#deadlines.byeMs)
    if (settles) this.#node.becamePaired(peerId)
  }

  /** A person there ended the pairing. */
  async farewell(channel: PairChannel): Promise<void> {
    const pairing = this.store.get(channel.peerId)
    // It counts as ended, whether or not the disk takes it.
    if (pairing !== undefined) await this.store.remove(pairing.peerId).catch(() => false)
    channel.send({ type: 'bye' })
    // The news may close the connection: the answer goes first.
    await channel.end(this.#deadlines.byeMs)
    if (pairing !== undefined) this.#onChange({ type: 'ended', pairing, why: 'unpaired' })
    await leave(this.#node, channel.connection)
  }

  /** What the peer of a pairing answers to one question; undefined when it can't be asked within so many ms. */
  async #ask(
    pairing: Pairing,
    question: { type: 'bye' | 'reconcile' },
    withinMs: number
  ): Promise<PairMessage | undefined> {
    const { peerId, addresses } = pairing
    const endsAt = performance.now() + withinMs
    const gate = this.#node.gater.allowDial(peerId)
    let channel: PairChannel | undefined
    try {
      channel = await openChannel(this.#node, { peerId, addresses }, AbortSignal.timeout(withinMs))
      channel.send(question)
      return await channel.receiveWithin(Math.max(0, endsAt - performance.now()))
    } catch {
      // Off, away, or it turns this machine away.
      return undefined
    } finally {
      gate.close()
      if (channel !== undefined) void this.#hangUp(channel)
    }
  }

  async #hangUp(channel: PairChannel): Promise<void> {
    await channel.end(this.#deadlines.byeMs)
    await leave(this.#node, channel.connection)
  }

  /** A pairing counts from now on as it stands here. */
  async keep(pairing: Pairing): Promise<void> {
    await this.store.put(pairing)
    this.#node.gater.unban(pairing.peerId)
    if (pairing.state === 'paired') this.#onChange({ type: 'paired', pairing })
  }

  readonly #connected = (event: CustomEvent<Connection>): void => {
    const peer = event.detail.remotePeer.toString()
    if (this.store.get(peer)?.state !== 'pending') return
    // Not kept is as if not asked: it is asked again at the next connection.
    this.reconcile(peer).catch(() => {})
  }
}
