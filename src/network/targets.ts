/**
 * Connections to targets that home met through others: dialled where they said they are, relayed by a common neighbour
 * where that fails, kept a while for the next job. Each is allowed by the gater for as long as it is known here, and has no
 * right here by that. How long silence lasts, and when to dial again while a job lives there, is the exec protocol's.
 */
import type { Connection } from '@libp2p/interface'
import { MAX_ADDRESSES, type PeerId } from '../core/types.ts'
import { KappaError, messageOf } from '../errors.ts'
import { dialable, isLoopback, plainAddress } from './addresses.ts'
import type { KappaNode } from './node.ts'
import { reachable } from './race.ts'

/** A target is known so long after the last job or ticket there, and its connection kept; what somebody relays costs him too. */
const KEPT_MS = 10 * 60_000
const RELAYED_KEPT_MS = 60_000
/** A dial, of all addresses together or through a relay. */
const DIAL_MS = 1000
/** Where a relay may help, an address must take a TCP connection within this time: a job waits 500 ms for its target. */
const ANSWER_MS = 150
const CLOSE_MS = 1000
/** No job is sent so soon again to a target that could not be reached. */
const AVOIDED_MS = 30_000

/** How home came to know a target: from home to it, three peers or more; where it said that it can be dialled. */
export interface Meeting {
  path: PeerId[]
  addresses: string[]
}

export interface TargetsInit {
  node: KappaNode
  /** The connection to a neighbour that is used now. */
  neighbour(peer: PeerId): Connection | undefined
  /** Has a common neighbour relay a connection to a target; it stands when this resolves. */
  relay(neighbour: PeerId, target: PeerId, signal: AbortSignal): Promise<void>
  /** A connection to the target was made. */
  onConnected(peer: PeerId): void
}

interface Target {
  peer: PeerId
  /** At most `MAX_ADDRESSES`, best first. */
  addresses: string[]
  /** The neighbour by which it was met. */
  through: PeerId
  /** A neighbour that the target has too. */
  relay: PeerId | undefined
  gate: { close(): void }
  /** A job lives there. */
  urgent: boolean
  dialling: Promise<Connection> | undefined
  /** Why it could last not be reached, and until when it is spared. */
  failure: { reason: string; until: number } | undefined
  expiry: NodeJS.Timeout | undefined
}

export class TargetConnections {
  readonly #init: TargetsInit
  readonly #node: KappaNode
  /** At most `MAX_TARGETS` of the gater, in order of their last meetings. */
  readonly #targets = new Map<PeerId, Target>()
  readonly #stopping = new AbortController()

  constructor(init: TargetsInit) {
    this.#init = init
    this.#node = init.node
    this.#node.onDiscovered(({ peerId, addresses }) => this.#heard(peerId, addresses))
  }

  /** A ticket of the target was won through others; false: it can't be dialled, for it is banned or there are too many. */
  met(peer: PeerId, { path, addresses }: Meeting): boolean {
    const target = this.#targets.get(peer) ?? this.#fresh(peer)
    if (target === undefined) return false
    this.#targets.delete(peer)
    this.#targets.set(peer, target)
    const through = path[1] as PeerId
    target.through = through
    target.relay = path.length === 3 ? through : undefined
    const near = this.#init.neighbour(through)?.remoteAddr
    const reached = near === undefined ? undefined : plainAddress(near)
    target.addresses = this.#dialable(addresses, reached !== undefined && isLoopback(reached))
    if (!target.urgent && this.#hasMoved(target)) this.hangUp(peer, 'it is elsewhere now')
    this.#keep(target)
    return true
  }

  has(peer: PeerId): boolean {
    return this.#targets.has(peer)
  }

  /** The neighbour that may relay to the target. */
  relayOf(peer: PeerId): PeerId | undefined {
    return this.#targets.get(peer)?.relay
  }

  /** Targets that were last met through this neighbour. */
  through(neighbour: PeerId): PeerId[] {
    return [...this.#targets.values()].filter(({ through }) => through === neighbour).map(({ peer }) => peer)
  }

  /** Targets that could not be reached a moment ago, and why, in words for a person. */
  unreachable(): { peer: PeerId; reason: string }[] {
    const now = performance.now()
    return [...this.#targets.values()].flatMap(({ peer, failure }) =>
      failure !== undefined && failure.until > now ? [{ peer, reason: failure.reason }] : []
    )
  }

  /** A job lives there, or none any more. */
  urgent(peer: PeerId, urgent: boolean): void {
    const target = this.#targets.get(peer)
    if (target === undefined) return
    target.urgent = urgent
    this.#keep(target)
  }

  /** The network of this machine changed: who could not be reached may be now. */
  networkChanged(): void {
    for (const target of this.#targets.values()) target.failure = undefined
  }

  /** The connection that is used now: a direct one of ours, one that is relayed, or one that the target opened as a home. */
  current(peer: PeerId): Connection | undefined {
    const direct = this.#node.connections(peer)
    const ours = ({ direction }: Connection): boolean => direction === 'outbound'
    return direct.findLast(ours) ?? this.#node.relayed(peer).findLast(ours) ?? direct.at(-1)
  }

  /** The current connection, or a new one. Throws UnreachableError, or the signal's reason. */
  async connectionTo(peer: PeerId, signal: AbortSignal): Promise<Connection> {
    const current = this.current(peer)
    if (current !== undefined) return current
    const target = this.#targets.get(peer)
    if (target === undefined) throw new KappaError('UnreachableError', `nobody has vouched for ${peer} lately`)
    target.dialling ??= this.#connect(target).finally(() => {
      target.dialling = undefined
    })
    return orAborted(target.dialling, signal)
  }

  /** The connection in use is dead. */
  hangUp(peer: PeerId, reason: string): void {
    this.current(peer)?.abort(new KappaError('NetworkError', `the connection to ${peer} was closed: ${reason}`))
  }

  /** Not a target any more: what was opened to it is closed, unless it is paired now. */
  remove(peer: PeerId): void {
    const target = this.#targets.get(peer)
    if (target === undefined) return
    clearTimeout(target.expiry)
    this.#targets.delete(peer)
    target.gate.close()
    if (this.#node.gater.isPaired(peer)) return
    // A home may stay for what it has here; not on our connections. What was said last still goes out.
    for (const connection of [...this.#node.connections(peer), ...this.#node.relayed(peer)]) {
      if (connection.direction === 'outbound') void close(connection)
    }
  }

  stop(): void {
    this.#stopping.abort(new KappaError('NetworkError', 'this peer stops'))
    for (const { expiry } of this.#targets.values()) clearTimeout(expiry)
    this.#targets.clear()
  }

  /** Somebody on the LAN says where it is: its address may have changed, and anybody may say anything. */
  #heard(peer: PeerId, addresses: string[]): void {
    const target = this.#targets.get(peer)
    if (target === undefined) return
    const heard = this.#dialable(addresses, false).slice(0, MAX_ADDRESSES / 2)
    target.addresses = [...new Set([...heard, ...target.addresses])].slice(0, MAX_ADDRESSES)
    target.failure = undefined
  }

  #dialable(addresses: string[], loopback: boolean): string[] {
    const own = new Set(this.#node.addresses())
    return dialable(addresses, MAX_ADDRESSES, loopback).filter((address) => !own.has(address))
  }

  /** True when the connection is to none of its addresses, and so most likely dead; a name may stand for any address. */
  #hasMoved({ peer, addresses }: Target): boolean {
    const connection = this.current(peer)
    const reached = connection && plainAddress(connection.remoteAddr)
    if (reached === undefined || connection?.direction !== 'outbound' || addresses.length === 0) return false
    return !addresses.includes(reached) && addresses.every((address) => address.startsWith('/ip'))
  }

  #fresh(peer: PeerId): Target | undefined {
    let gate = this.#node.gater.allowTarget(peer)
    if (gate === false && !this.#node.gater.isBanned(peer)) {
      const idle = [...this.#targets.values()].find(({ urgent, dialling }) => !urgent && dialling === undefined)
      if (idle !== undefined) this.remove(idle.peer)
      gate = this.#node.gater.allowTarget(peer)
    }
    if (gate === false) return undefined
    return {
      peer,
      addresses: [],
      through: '',
      relay: undefined,
      gate,
      urgent: false,
      dialling: undefined,
      failure: undefined,
      expiry: undefined
    }
  }

  /** Sets when it is forgotten: not while a job lives there. */
  #keep(target: Target): void {
    clearTimeout(target.expiry)
    target.expiry = undefined
    if (target.urgent) return
    const relayed = this.#node.relayed(target.peer).length > 0
    target.expiry = setTimeout(() => this.remove(target.peer), relayed ? RELAYED_KEPT_MS : KEPT_MS)
    target.expiry.unref()
  }

  async #connect(target: Target): Promise<Connection> {
    target.failure = undefined
    try {
      const connection = await this.#dial(target)
      if (!target.urgent) this.#keep(target)
      this.#init.onConnected(target.peer)
      return connection
    } catch (error) {
      target.failure = { reason: messageOf(error), until: performance.now() + AVOIDED_MS }
      throw error
    }
  }

  async #dial({ peer, addresses, relay }: Target): Promise<Connection> {
    const within = (ms: number) => AbortSignal.any([AbortSignal.timeout(ms), this.#stopping.signal])
    const answerMs = relay === undefined ? DIAL_MS : ANSWER_MS
    for await (const address of reachable(addresses, within(answerMs))) {
      try {
        return await this.#node.dial([address], peer, within(DIAL_MS))
      } catch {
        // Somebody else answers there, or it was too slow.
      }
    }
    const failure = addresses.length === 0 ? 'it told no address' : `it does not answer at ${addresses.join(', ')}`
    if (relay === undefined) throw new KappaError('UnreachableError', `${failure}, and is no neighbour's neighbour`)
    try {
      await this.#init.relay(relay, peer, within(DIAL_MS))
    } catch (error) {
      throw new KappaError('UnreachableError', `${failure}, and ${messageOf(error)}`, { cause: error })
    }
    const connection = this.current(peer)
    if (connection === undefined) throw new KappaError('UnreachableError', `${failure}, and closed what was relayed`)
    return connection
  }
}

async function close(connection: Connection): Promise<void> {
  try {
    await connection.close({ signal: AbortSignal.timeout(CLOSE_MS) })
  } catch (error) {
    connection.abort(error as Error)
  }
}

/** Settles as the promise does, unless the signal is first. */
function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const aborted = (): void => reject(signal.reason)
    if (signal.aborted) aborted()
    signal.addEventListener('abort', aborted, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', aborted))
  })
}
