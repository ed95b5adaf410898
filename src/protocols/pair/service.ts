/**
 * Pairing over libp2p. Everyone may open this protocol whom the gater lets in; what they may do with it is decided
 * here: strangers only what belongs to a pairing that a person has open, and only one of them at a time.
 */

import { randomBytes } from 'node:crypto'
import type { Connection, Stream } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import type { PairingKind, PeerId } from '../../core/types.ts'
import { isKappaError, KappaError } from '../../errors.ts'
import { parseAddress, plainAddress } from '../../network/addresses.ts'
import type { KappaNode } from '../../network/node.ts'
import { MAX_ADDRESSES, type Pairing } from '../../network/pairing.ts'
import { NAME_LENGTH_MAX, printable } from '../../printable.ts'
import { leave, openChannel, PairChannel, type Target } from './channel.ts'
import type { PairMessage, PairMessageOf } from './codec.ts'
import {
  ADDRESS_LENGTH_MAX,
  ADDRESSES_MAX,
  INBOUND_STREAMS_MAX,
  NONCE_BYTES,
  PAIR_DEADLINES,
  PAIR_PROTOCOL,
  type PairDeadlines,
  SECRET_BYTES,
  STREAMS_PER_CONNECTION
} from './constants.ts'
import { failureOf, invitationOver, type Method } from './failures.ts'
import { NameFinder } from './find.ts'
import { formatInvitation, parseInvitation } from './invitation.ts'
import { InvitationSession } from './invitation-session.ts'
import type { Party } from './numbers.ts'
import { NumbersSession } from './numbers-session.ts'
import { type Answer, type RunInit, runSession, type SessionResult } from './run.ts'
import type { PairingSession, SessionEffect } from './session.ts'
import { type PairingChange, type PairingStore, Settlement } from './settlement.ts'
import { type NumbersEvent, type Other, PairingWindow, type Way } from './window.ts'

export type { PairingChange, PairingStore } from './settlement.ts'
export type { NumbersEvent, Other } from './window.ts'

export interface PairServiceInit {
  node: KappaNode
  store: PairingStore
  /** What this machine is called; cut to `NAME_LENGTH_MAX`. */
  name: string
  onChange: (change: PairingChange) => void
  deadlines?: PairDeadlines
}

/** What `joinByNumbers` tells, for a person to see. */
export type JoinEvent = ({ type: 'found' } & Other) | { type: 'matched'; name: string }

export interface OpenInit {
  /** What this machine will show and lend to the other. */
  kind: PairingKind
  /** A person takes it back. */
  signal: AbortSignal
  onEvent: (event: NumbersEvent) => void
  /** Asks the person here whether the other machine shows `matched`; not awaited after `signal` aborts. */
  confirm: (other: Other, signal: AbortSignal) => Promise<boolean>
}

export interface JoinInit {
  /** A name on this network, `HOST[:PORT]` or a multiaddr. */
  target: string
  kind: PairingKind
  signal: AbortSignal
  onEvent: (event: JoinEvent) => void
  /** Asks the person here for the digits that the other machine shows; not awaited after `signal` aborts. */
  digits: (other: Other, signal: AbortSignal) => Promise<string>
}

export interface InviteInit {
  kind: PairingKind
  signal: AbortSignal
}

export interface AcceptInit {
  link: string
  kind: PairingKind
  signal: AbortSignal
}

export class PairService {
  readonly #node: KappaNode
  readonly #settlement: Settlement
  readonly #name: string
  readonly #deadlines: PairDeadlines
  readonly #finder: NameFinder
  readonly #stopping = new AbortController()
  #window: PairingWindow | undefined
  /** The one session that goes on, of either role, with its peer once that is known. */
  #underway: { peer: PeerId | undefined } | undefined
  /** Streams being answered; at most `INBOUND_STREAMS_MAX`. */
  #answering = 0

  constructor(init: PairServiceInit) {
    this.#node = init.node
    this.#name = init.name.slice(0, NAME_LENGTH_MAX).toWellFormed()
    this.#deadlines = init.deadlines ?? PAIR_DEADLINES
    this.#finder = new NameFinder(init.node, this.#deadlines.findMs)
    const isUnderwayWith = (peer: PeerId) => this.#underway?.peer === peer
    this.#settlement = new Settlement({ ...init, deadlines: this.#deadlines, isUnderwayWith })
  }

  /** Begins to answer others, and to settle pending pairings whenever one of their peers is connected. */
  async start(): Promise<void> {
    const init = { rights: ['own', 'friend', 'home', 'stranger'], maxStreams: STREAMS_PER_CONNECTION } as const
    await this.#node.handle(PAIR_PROTOCOL, init, (stream, _peer, connection) => this.#answer(stream, connection))
    this.#settlement.start()
  }

  /** Ends whatever goes on and answers no more. */
  async stop(): Promise<void> {
    this.#stopping.abort(
      new KappaError('PairingError', 'pairing ended, because the daemon stops; begin again with: kappa pair')
    )
    this.#settlement.stop()
    await this.#node.unhandle(PAIR_PROTOCOL)
  }

  /**
   * Waits, 5 minutes, until one machine paired by `joinByNumbers` and the person here confirmed. At most 3 tries.
   * Throws PairingError, StateError, and the signal's reason.
   */
  async openByNumbers(init: OpenInit): Promise<Pairing> {
    const { onEvent, confirm } = init
    const openMs = this.#deadlines.numbersMs
    const window = this.#openWindow({ method: 'numbers', onEvent, confirm }, openMs, init)
    return await this.#wait(window, () => onEvent({ type: 'waiting', name: printable(this.#name), forMs: openMs }))
  }

  /**
   * A link that is good once, for 10 minutes, until `signal` aborts. `done` settles when it was used, rightly or
   * wrongly, expired or was revoked: with InvitationError, PairingError, StateError or the signal's reason.
   * Throws PairingError when pairing is open already, InvitationError when this machine has no address.
   */
  invite(init: InviteInit): { link: string; done: Promise<Pairing> } {
    const secret = randomBytes(SECRET_BYTES)
    const { peerId } = this.#node
    const link = formatInvitation({ peerId, name: this.#name, addresses: this.#ownAddresses(), secret })
    const window = this.#openWindow({ method: 'invitation', secret }, this.#deadlines.invitationMs, init)
    return { link, done: this.#wait(window) }
  }

  /**
   * Pairs with a machine that has pairing open; resolves when the pairing stands on both sides. Throws UnknownPeerError,
   * AmbiguousNameError, UsageError (no address), UnreachableError, PairingError, StateError and the signal's reason.
   */
  async joinByNumbers(init: JoinInit): Promise<Pairing> {
    return await this.#join(init, init.target, 'numbers', async (signal) => {
      const call = await this.#callByText(init.target, signal)
      const { peerId } = call.channel
      const session = new NumbersSession('joiner', { self: this.#self(init.kind), peerId })
      const show = (effect: SessionEffect, over: AbortSignal) => showJoiner(init, session, effect, over)
      return { ...call, session, show }
    })
  }

  /**
   * Pairs with the machine that made the link; resolves when the pairing stands on both sides.
   * Throws InvitationError, UnreachableError, PairingError, StateError and the signal's reason.
   */
  async accept(init: AcceptInit): Promise<Pairing> {
    const { peerId, name, addresses, secret } = parseInvitation(init.link)
    if (peerId === this.#node.peerId) {
      throw new KappaError('InvitationError', 'this is an invitation of this machine: use it on the other one')
    }
    const heard = this.#node.discovered().find((peer) => peer.peerId === peerId)?.addresses ?? []
    const target = { peerId, addresses: [...new Set([...addresses, ...heard])] }
    return await this.#join(init, printable(name), 'invitation', async (signal) => {
      const call = await this.#call(target, signal, () => invitationOver(printable(name)))
      const session = new InvitationSession('joiner', { self: this.#self(init.kind), peerId, secret })
      return { ...call, session, show: async () => undefined }
    })
  }

  /**
   * Ends a pairing: the peer has no right here any more as soon as this is called, is banned and disconnected within a
   * second, and is told if it can be. True when it was told. Throws UnknownPeerError, StateError.
   */
  unpair(peer: PeerId): Promise<boolean> {
    return this.#settlement.unpair(peer)
  }

  /**
   * Settles a pending pairing by asking the other side whether it has confirmed; done by itself when the peer connects.
   * Gives how it stands afterwards; `pending` too when the peer can't be asked now. Throws StateError.
   */
  reconcile(peer: PeerId): Promise<'none' | 'pending' | 'paired'> {
    return this.#settlement.reconcile(peer)
  }

  // ------------------------------------------------------------------------------------------ the opener's side

  #openWindow(way: Way, openMs: number, { kind, signal }: { kind: PairingKind; signal: AbortSignal }): PairingWindow {
    if (this.#window !== undefined) {
      throw new KappaError('PairingError', 'pairing is open here already: end that first, or wait until it is over')
    }
    const { gater } = this.#node
    this.#window = new PairingWindow({ way, kind, openMs, signal: this.#stoppable(signal), gater })
    return this.#window
  }

  async #wait(window: PairingWindow, begin: () => void = () => {}): Promise<Pairing> {
    try {
      begin()
      return await window.wait()
    } finally {
      this.#window = undefined
    }
  }

  async #answer(stream: Stream, connection: Connection): Promise<void> {
    if (this.#answering >= INBOUND_STREAMS_MAX) {
      stream.abort(new KappaError('ProtocolError', 'too many pairing streams at once'))
      return
    }
    this.#answering++
    const channel = new PairChannel(stream, connection)
    try {
      await this.#answerFirst(channel)
    } catch (error) {
      // Silent, malformed or gone: nothing that a person here waits for.
      channel.abort(error as Error)
    } finally {
      this.#answering--
    }
  }

  async #answerFirst(channel: PairChannel): Promise<void> {
    const first = await channel.receiveWithin(this.#deadlines.progressMs)
    if (first?.type === 'numbers' || first?.type === 'invitation') return await this.#serve(first, channel)
    if (first?.type === 'reconcile') return await this.#settlement.answer(channel)
    if (first?.type === 'bye') return await this.#settlement.farewell(channel)
    if (first?.type === 'name?') channel.send(this.#isOpenFor('numbers') ? { type: 'name', name: this.#name } : CLOSED)
    else channel.send({ type: 'abort', code: 'protocol' })
    await channel.end(this.#deadlines.byeMs)
  }

  async #serve(first: PairMessageOf<Method>, channel: PairChannel): Promise<void> {
    const window = this.#window
    if (window === undefined || !this.#isOpenFor(first.type) || this.#underway !== undefined) {
      channel.send(this.#isOpenFor(first.type) ? { type: 'abort', code: 'busy' } : CLOSED)
      return await channel.end(this.#deadlines.byeMs)
    }
    const underway = { peer: channel.peerId }
    this.#underway = underway
    await window.serve(async () => {
      try {
        await this.#try(window, first, channel)
      } finally {
        await channel.end(this.#deadlines.byeMs)
        this.#underway = undefined
      }
    })
  }

  /** One try of a stranger, from its first message to its end. */
  async #try(window: PairingWindow, first: PairMessageOf<Method>, channel: PairChannel): Promise<void> {
    const { way, kind } = window.init
    const { peerId } = channel
    const other = { peerId, name: printable(first.name), kind: first.kind }
    const init = { self: this.#self(kind), peerId }
    const session =
      way.method === 'numbers'
        ? new NumbersSession('opener', init)
        : new InvitationSession('opener', { ...init, secret: way.secret })
    if (way.method === 'numbers') {
      const number = window.countTry()
      way.onEvent({ type: 'try', number, left: window.triesLeft, ...other })
    }
    let burnt = false
    const result = await this.#run(session, channel, {
      first: session.receive(first),
      show: (effect, over) => {
        if (effect.type === 'burnt') burnt = true
        return showOpener(way, session, other, effect, over)
      },
      signal: window.signal,
      peopleMs: window.leftMs
    })
    if (result.ok) this.#succeed(window, peerId)
    else judge(window, result, other, burnt)
  }

  #succeed(window: PairingWindow, peerId: PeerId): void {
    const pairing = this.#pairingWith(peerId)
    if (window.init.way.method === 'numbers') window.init.way.onEvent({ type: 'paired', pairing })
    window.succeed(pairing)
  }

  #isOpenFor(method: Method): boolean {
    return this.#window?.init.way.method === method && !this.#window.isOver
  }

  // ------------------------------------------------------------------------------------------ the joiner's side

  /** One attempt of this side: calls, runs the session, leaves. */
  async #join(
    init: { kind: PairingKind; signal: AbortSignal },
    name: string,
    method: Method,
    prepare: (signal: AbortSignal) => Promise<Call & { session: Joiner; show: RunInit['show'] }>
  ): Promise<Pairing> {
    if (this.#underway !== undefined) {
      throw new KappaError(
        'PairingError',
        'this machine is pairing with another one just now; try again when that is over'
      )
    }
    const underway: { peer: PeerId | undefined } = { peer: undefined }
    this.#underway = underway
    try {
      const signal = this.#stoppable(init.signal)
      const { channel, gate, session, show } = await prepare(signal)
      underway.peer = channel.peerId
      try {
        const peopleMs = this.#deadlines.numbersMs
        const result = await this.#run(session, channel, { first: session.start(), show, signal, peopleMs })
        if (result.ok) return this.#pairingWith(channel.peerId)
        if (signal.aborted && result.code === 'cancelled') throw signal.reason
        throw failureOf(result, { role: 'joiner', method, name: printable(session.other?.name ?? name) })
      } finally {
        await channel.end(this.#deadlines.byeMs)
        gate.close()
        await leave(this.#node, channel.connection)
      }
    } finally {
      this.#underway = undefined
    }
  }

  /** Calls what a person typed: an address, else a name on this network, else the name of a host. */
  async #callByText(text: string, signal: AbortSignal): Promise<Call> {
    const turnedAway = () =>
      new KappaError('PairingError', `${printable(text)} turned this machine away; run there first: kappa pair`)
    if (/[.:/]/.test(text)) {
      const { address, peerId } = parseAddress(text)
      return await this.#call({ addresses: [address], ...(peerId !== undefined && { peerId }) }, signal, turnedAway)
    }
    try {
      return await this.#call(await this.#finder.find(text, signal), signal, turnedAway)
    } catch (unknown) {
      if (!isKappaError(unknown) || unknown.name !== 'UnknownPeerError') throw unknown
      try {
        return await this.#call({ addresses: [parseAddress(text).address] }, signal, turnedAway)
      } catch (error) {
        signal.throwIfAborted()
        throw isKappaError(error) && error.name === 'PairingError' ? error : unknown
      }
    }
  }

  async #call(target: Target, signal: AbortSignal, turnedAway: () => KappaError): Promise<Call> {
    const { gater } = this.#node
    const gate = target.peerId === undefined ? gater.openPairing() : gater.allowDial(target.peerId)
    const late = AbortSignal.timeout(this.#deadlines.progressMs)
    try {
      const channel = await openChannel(this.#node, target, AbortSignal.any([signal, late]))
      return { channel, gate: gater.allowDial(channel.peerId) }
    } catch (error) {
      signal.throwIfAborted()
      if (isKappaError(error) && error.name === 'NetworkError') throw turnedAway()
      if (isKappaError(error) && (error.cause as Error | undefined)?.name === 'InvalidPeerIdError') {
        throw new KappaError('PairingError', 'this is the address of this machine itself; give the one of the other')
      }
      if (!late.aborted) throw error
      throw new KappaError(
        'UnreachableError',
        `nobody answered at ${target.addresses.join(', ')}; does kappa run there, and is its port open in the firewall?`,
        { cause: error }
      )
    } finally {
      gate.close()
    }
  }

  // ------------------------------------------------------------------------------------------ both sides

  async #run(
    session: PairingSession,
    channel: PairChannel,
    init: Pick<RunInit, 'first' | 'show' | 'signal' | 'peopleMs'>
  ): Promise<SessionResult> {
    // One that stands already stays as it is until the new one stands.
    const stood = this.#settlement.store.get(session.peerId)?.state === 'paired'
    const store = async (state: 'none' | 'pending' | 'paired'): Promise<void> => {
      if (stood && state !== 'paired') return
      if (state === 'none') await this.#settlement.store.remove(session.peerId)
      else await this.#settlement.keep({ ...pairingOf(session, channel.connection), state })
    }
    const result = await runSession({ session, channel, store, progressMs: this.#deadlines.progressMs, ...init })
    if (result.ok && !stood) this.#node.becamePaired(session.peerId)
    return result
  }

  #pairingWith(peer: PeerId): Pairing {
    const pairing = this.#settlement.store.get(peer)
    if (pairing === undefined)
      throw new KappaError(
        'PairingError',
        'the other machine ended the pairing at once; ask there, and begin again with: kappa pair'
      )
    return pairing
  }

  #self(kind: PairingKind): Party {
    const { peerId } = this.#node
    return { peerId, name: this.#name, kind, addresses: this.#ownAddresses(), nonce: randomBytes(NONCE_BYTES) }
  }

  #ownAddresses(): string[] {
    const usable = this.#node.addresses().filter((address) => address.length <= ADDRESS_LENGTH_MAX)
    return usable.slice(0, ADDRESSES_MAX)
  }

  #stoppable(signal: AbortSignal): AbortSignal {
    return AbortSignal.any([signal, this.#stopping.signal])
  }
}

type Joiner = PairingSession & { start(): SessionEffect[] }

interface Call {
  channel: PairChannel
  /** The peer may be called until this is closed. */
  gate: { close(): void }
}

const CLOSED: PairMessage = { type: 'abort', code: 'closed' }

/** What a session comes to, to be stored. */
function pairingOf(session: PairingSession, connection: Connection): Omit<Pairing, 'state'> {
  const other = session.other
  if (other === undefined) throw new Error('stored before the other side is known')
  // Where this side reached it is where it listens; where it called from is not.
  const reached = session.role === 'joiner' ? [plainAddress(connection.remoteAddr)] : []
  const known = [...reached, ...other.addresses.map(plainAddressOf)].filter((address) => address !== undefined)
  const addresses = [...new Set(known)].slice(0, MAX_ADDRESSES)
  return { peerId: other.peerId, name: printable(other.name), kind: session.self.kind, addresses }
}

function plainAddressOf(text: string): string | undefined {
  try {
    return plainAddress(multiaddr(text))
  } catch {
    return undefined
  }
}

async function showOpener(
  way: Way,
  session: PairingSession,
  other: Other,
  effect: SessionEffect,
  over: AbortSignal
): Promise<Answer | undefined> {
  if (way.method !== 'numbers' || !(session instanceof NumbersSession)) return undefined
  if (effect.type === 'show-digits') way.onEvent({ type: 'digits', digits: effect.digits, name: other.name })
  if (effect.type !== 'matched') return undefined
  way.onEvent({ type: 'matched', name: other.name })
  const yes = await way.confirm(other, over)
  return () => session.confirmed(yes)
}

async function showJoiner(
  init: JoinInit,
  session: NumbersSession,
  effect: SessionEffect,
  over: AbortSignal
): Promise<Answer | undefined> {
  const { other } = session
  if (other === undefined) return undefined
  const shown = { peerId: other.peerId, name: printable(other.name), kind: other.kind }
  if (effect.type === 'matched') init.onEvent({ type: 'matched', name: shown.name })
  if (effect.type !== 'ask-digits') return undefined
  init.onEvent({ type: 'found', ...shown })
  const digits = await init.digits(shown, over)
  return () => session.typed(digits)
}

/** A try failed: says so, and ends the window when no other may follow. */
function judge(window: PairingWindow, result: SessionResult & { ok: false }, { name }: Other, burnt: boolean): void {
  const { way } = window.init
  const error = failureOf(result, { role: 'opener', method: way.method, name })
  if (way.method === 'numbers') way.onEvent({ type: 'failed', reason: error.message, left: window.triesLeft })
  if (result.code === 'unsettled' || result.code === 'burnt') window.fail(error)
  else if (burnt) {
    window.fail(new KappaError('InvitationError', `${error.message}; the invitation is used up, make a new one`))
  } else if (way.method === 'numbers' && window.triesLeft === 0 && !window.signal.aborted) {
    window.fail(new KappaError('PairingError', `pairing is closed after 3 tries; the last: ${error.message}`))
  }
}
