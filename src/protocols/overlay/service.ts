/**
 * The overlay streams of a peer: exactly one to each connected neighbour. The one with the smaller peer ID opens it, and
 * opens it again when it ended while the connection lives; a stream on a newer connection replaces the older.
 */
import type { Connection, Stream } from '@libp2p/interface'
import type { OverlayMessage, PeerId } from '../../core/types.ts'
import { isKappaError, KappaError, messageOf } from '../../errors.ts'
import { FrameStream } from '../../network/frames.ts'
import type { KappaNode } from '../../network/node.ts'
import { MAX_PAIRINGS } from '../../network/pairing.ts'
import { distanceOf } from '../../version.ts'
import type { Hello } from './codec.ts'
import {
  MAX_MESSAGE_BYTES,
  MAX_NAME_LENGTH,
  MAX_REOPEN_MS,
  OPEN_DEADLINE_MS,
  OVERLAY_PROTOCOL,
  REOPEN_MS,
  STABLE_MS
} from './constants.ts'
import { Link, type NeighbourNews } from './link.ts'

export type { NeighbourNews } from './link.ts'

export interface OverlayInit {
  node: KappaNode
  /** Name of this machine, for people. */
  name: string
  /** Persisted start counter of this daemon. */
  epoch: number
  /** Of this program. */
  version: string
  /** The neighbour's version is too far from this one's: it won't be up as long as it is connected. */
  onTooFar(peer: PeerId, news: NeighbourNews): void
  /** The neighbour can be sent to from now on. */
  onUp(peer: PeerId, news: NeighbourNews): void
  /** It can't any more; always after an `onUp`. */
  onDown(peer: PeerId): void
  onMessage(peer: PeerId, message: OverlayMessage): void
  /** A round trip to the neighbour and back took so many ms. */
  onRoundTrip(peer: PeerId, ms: number): void
  /** Something that the owner should be able to read about. */
  log(line: string): void
}

/** What is known of a neighbour; forgotten when it has no connection and no penalty left. */
interface Neighbour {
  link: Link | undefined
  connection: Connection | undefined
  /** A stream is being opened. */
  opening: AbortController | undefined
  reopen: NodeJS.Timeout | undefined
  reopenMs: number
  /** No stream is taken from it before this time of `performance.now()`, for it sent garbage. */
  refusedUntil: number
  upAt: number
}

export class OverlayService {
  readonly #init: OverlayInit
  readonly #node: KappaNode
  readonly #hello: Hello
  /** At most `MAX_PAIRINGS` and those just unpaired. */
  readonly #neighbours = new Map<PeerId, Neighbour>()
  /** Neighbours that a job depends on; at most `MAX_PAIRINGS`. */
  readonly #urgent = new Set<PeerId>()
  #stopped = false

  constructor(init: OverlayInit) {
    this.#init = init
    this.#node = init.node
    const { epoch, version } = init
    this.#hello = { type: 'hello', epoch, name: init.name.slice(0, MAX_NAME_LENGTH), version }
  }

  /** Answers the protocol and opens streams to whoever is connected or will be. */
  async start(): Promise<void> {
    await this.#node.handle(
      OVERLAY_PROTOCOL,
      { rights: ['own', 'friend'], maxStreams: 2 },
      (stream, peer, connection) => this.#accepted(peer, stream, connection)
    )
    this.#node.onConnected((peer, connection) => this.#connected(peer, connection))
    for (const connection of this.#node.libp2p.getConnections()) {
      const peer = connection.remotePeer.toString()
      if (this.#node.gater.isPaired(peer)) this.#connected(peer, connection)
    }
  }

  stop(): void {
    this.#stopped = true
    for (const neighbour of this.#neighbours.values()) {
      this.#cancelOpening(neighbour)
      neighbour.link?.abort(new KappaError('NetworkError', 'this peer stops'))
    }
    this.#neighbours.clear()
  }

  /** Sends to a neighbour; false when it is not up or doesn't read. */
  send(peer: PeerId, message: OverlayMessage): boolean {
    return this.#neighbours.get(peer)?.link?.send(message) ?? false
  }

  isUp(peer: PeerId): boolean {
    return this.#neighbours.get(peer)?.link?.isUp ?? false
  }

  /** A job depends on the neighbour: three silent seconds close its connection. */
  urgent(peer: PeerId, urgent: boolean): void {
    if (!urgent) this.#urgent.delete(peer)
    else if (this.#urgent.size < MAX_PAIRINGS) this.#urgent.add(peer)
    this.#neighbours.get(peer)?.link?.setUrgent(this.#urgent.has(peer))
  }

  /** The network of this machine changed: asks everyone at once, and closes who doesn't answer. */
  doubtAll(): void {
    for (const { link } of this.#neighbours.values()) link?.doubt()
  }

  #neighbour(peer: PeerId): Neighbour {
    let neighbour = this.#neighbours.get(peer)
    if (neighbour === undefined) {
      neighbour = {
        link: undefined,
        connection: undefined,
        opening: undefined,
        reopen: undefined,
        reopenMs: REOPEN_MS,
        refusedUntil: 0,
        upAt: 0
      }
      this.#neighbours.set(peer, neighbour)
    }
    return neighbour
  }

  #connected(peer: PeerId, connection: Connection): void {
    if (this.#stopped) return
    connection.addEventListener('close', () => this.#disconnected(peer), { once: true })
    const neighbour = this.#neighbour(peer)
    if (this.#node.peerId < peer) {
      this.#cancelOpening(neighbour)
      void this.#open(peer, neighbour)
    } else if (neighbour.link === undefined) this.#expectStream(peer, neighbour)
  }

  #disconnected(peer: PeerId): void {
    const neighbour = this.#neighbours.get(peer)
    if (neighbour === undefined || this.#node.connections(peer).length > 0) return
    this.#cancelOpening(neighbour)
    neighbour.link?.abort(new KappaError('NetworkError', 'the connection closed'))
    if (neighbour.refusedUntil < performance.now()) this.#neighbours.delete(peer)
  }

  async #open(peer: PeerId, neighbour: Neighbour): Promise<void> {
    const connection = this.#node.connections(peer).at(-1)
    if (connection === undefined || (neighbour.link !== undefined && neighbour.connection === connection)) return
    const opening = new AbortController()
    neighbour.opening = opening
    try {
      const signal = AbortSignal.any([opening.signal, AbortSignal.timeout(OPEN_DEADLINE_MS)])
      const stream = await this.#node.openStream(connection, OVERLAY_PROTOCOL, signal)
      if (opening.signal.aborted) stream.abort(new KappaError('NetworkError', 'not needed any more'))
      else this.#link(peer, neighbour, stream, connection)
    } catch (error) {
      if (opening.signal.aborted) return
      if (!isKappaError(error)) connection.abort(new KappaError('NetworkError', `${peer} does not answer`))
      // Refused, or the connection broke: tried again while there is one.
      this.#reopenLater(peer, neighbour)
    } finally {
      if (neighbour.opening === opening) neighbour.opening = undefined
    }
  }

  #accepted(peer: PeerId, stream: Stream, connection: Connection): void {
    const neighbour = this.#neighbour(peer)
    if (this.#stopped || peer > this.#node.peerId || neighbour.refusedUntil > performance.now()) {
      stream.abort(new KappaError('ProtocolError', 'not now'))
      return
    }
    this.#link(peer, neighbour, stream, connection)
  }

  #link(peer: PeerId, neighbour: Neighbour, stream: Stream, connection: Connection): void {
    const { reopenMs } = neighbour
    neighbour.link?.abort(new KappaError('NetworkError', 'replaced by a newer stream'))
    neighbour.reopenMs = reopenMs
    const init = this.#init
    const link = new Link({
      frames: new FrameStream(stream, { maxFrameBytes: MAX_MESSAGE_BYTES }),
      hello: this.#hello,
      urgent: this.#urgent.has(peer),
      accepts: (news) => {
        const distance = distanceOf(news.version, init.version)
        const accepted = distance === 'none' || distance === 'near'
        if (!accepted) init.onTooFar(peer, news)
        return accepted
      },
      onUp: (news) => {
        neighbour.upAt = performance.now()
        init.onUp(peer, news)
      },
      onMessage: (message) => init.onMessage(peer, message),
      onRoundTrip: (ms) => init.onRoundTrip(peer, ms),
      onSilent: (ms) => {
        const error = new KappaError('NetworkError', `${peer} was silent for ${Math.round(ms)} ms`)
        connection.abort(error)
      },
      onEnd: (error) => this.#ended(peer, neighbour, error)
    })
    neighbour.link = link
    neighbour.connection = connection
    // Only now: the stream may have ended already, and news of a neighbour that is up is answered by sending to it.
    link.start()
  }

  #ended(peer: PeerId, neighbour: Neighbour, error: Error | undefined): void {
    const wasUp = neighbour.upAt > 0
    neighbour.link = undefined
    neighbour.connection = undefined
    if (wasUp && performance.now() - neighbour.upAt > STABLE_MS) neighbour.reopenMs = REOPEN_MS
    neighbour.upAt = 0
    if (error !== undefined && !(isKappaError(error) && error.name === 'NetworkError')) {
      this.#init.log(`the overlay stream of ${peer} was ended: ${messageOf(error)}`)
      neighbour.refusedUntil = performance.now() + neighbour.reopenMs
    }
    if (wasUp) this.#init.onDown(peer)
    this.#reopenLater(peer, neighbour)
  }

  #reopenLater(peer: PeerId, neighbour: Neighbour): void {
    if (this.#stopped || this.#node.connections(peer).length === 0) return
    const afterMs = neighbour.reopenMs * (0.75 + Math.random() / 2)
    neighbour.reopenMs = Math.min(MAX_REOPEN_MS, 2 * neighbour.reopenMs)
    clearTimeout(neighbour.reopen)
    if (this.#node.peerId > peer) {
      this.#expectStream(peer, neighbour)
      return
    }
    neighbour.reopen = setTimeout(() => {
      if (neighbour.opening === undefined && neighbour.link === undefined) void this.#open(peer, neighbour)
    }, afterMs)
  }

  /** The other side is to open the stream: a connection on which it never does is dead. */
  #expectStream(peer: PeerId, neighbour: Neighbour): void {
    clearTimeout(neighbour.reopen)
    neighbour.reopen = setTimeout(() => {
      if (neighbour.link === undefined) this.#node.hangUp(peer, 'it opened no overlay stream')
    }, MAX_REOPEN_MS + OPEN_DEADLINE_MS)
  }

  #cancelOpening(neighbour: Neighbour): void {
    clearTimeout(neighbour.reopen)
    neighbour.opening?.abort()
    neighbour.opening = undefined
  }
}
