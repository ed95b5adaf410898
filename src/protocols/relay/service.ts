/**
 * Ways between two machines that can't reach each other, through a neighbour of both. Home opens a stream to the neighbour,
 * the neighbour one to the target, and bytes are passed on between them; within it home and target run a connection of their
 * own, encrypted from end to end, so that the neighbour sees only how much is said and when.
 */

import type { Connection } from '@libp2p/interface'
import type { PeerId } from '../../core/types.ts'
import { KappaError, messageOf } from '../../errors.ts'
import { relayedAddress } from '../../network/addresses.ts'
import { FrameStream } from '../../network/frames.ts'
import type { KappaNode } from '../../network/node.ts'
import { printable } from '../../printable.ts'
import { decodeMessage, encodeMessage, type RelayMessage } from './codec.ts'
import { IDLE_MS, OPEN_MS, RELAY_FRAME_BYTES_MAX, RELAY_PROTOCOL, RELAYED_MAX } from './constants.ts'
import { Way } from './way.ts'

/** Of one neighbour and direction: those beyond what is relayed are told so. */
const STREAMS_MAX = 2 * RELAYED_MAX
const CLOSE_MS = 1_000
const REASON_LENGTH_MAX = 200

export interface RelayInit {
  node: KappaNode
  /** The connection to a neighbour that is used now. */
  neighbour(peer: PeerId): Connection | undefined
  /** Whether the owner lets this peer pass on anything for others. */
  forwards(): boolean
}

/** A way that goes through this peer. */
interface Relayed {
  home: PeerId
  target: PeerId
  ending: AbortController
}

export class RelayService {
  readonly #init: RelayInit
  readonly #node: KappaNode
  /** At most `RELAYED_MAX`. */
  readonly #relayed = new Set<Relayed>()

  constructor(init: RelayInit) {
    this.#init = init
    this.#node = init.node
  }

  /** Answers the protocol, for own machines alone. */
  async start(): Promise<void> {
    await this.#node.handle(RELAY_PROTOCOL, { rights: ['own'], maxStreams: STREAMS_MAX }, (stream, peer) =>
      this.#serve(framed(stream), peer)
    )
  }

  /** Ways that go through this peer now. */
  get relayed(): number {
    return this.#relayed.size
  }

  /** As home: makes a connection to the target through a neighbour of both. Throws UnreachableError, NetworkError, or the signal's reason. */
  async connect(neighbour: PeerId, target: PeerId, signal: AbortSignal): Promise<void> {
    const connection = this.#init.neighbour(neighbour)
    if (connection === undefined) throw new KappaError('UnreachableError', 'who could relay is not connected')
    const frames = framed(await this.#node.openStream(connection, RELAY_PROTOCOL, signal))
    try {
      frames.send(encodeMessage({ type: 'connect', target }))
      const answer = await receive(frames, signal)
      if (answer.type !== 'accepted') {
        const reason =
          answer.type === 'refused' ? printable(answer.reason, REASON_LENGTH_MAX) : 'it breaks the protocol'
        throw new KappaError('UnreachableError', `it can't be reached through a common neighbour: ${reason}`)
      }
      await this.#node.upgrade(new Way(frames, relayedAddress(neighbour, target), 'outbound'), 'dials', signal)
    } catch (error) {
      frames.abort(error as Error)
      throw error
    }
  }

  /** The peer is no own machine any more: ways from and to it end. */
  drop(peer: PeerId): void {
    for (const { home, target, ending } of this.#relayed) {
      if (home === peer || target === peer)
        ending.abort(new KappaError('RefusedError', `${peer} is not trusted any more`))
    }
  }

  stop(): void {
    for (const { ending } of this.#relayed) ending.abort(new KappaError('NetworkError', 'this peer stops'))
  }

  async #serve(frames: FrameStream, peer: PeerId): Promise<void> {
    const opening = AbortSignal.timeout(OPEN_MS)
    try {
      const first = await receive(frames, opening)
      if (first.type === 'connect') await this.#relay(frames, peer, first.target, opening)
      else if (first.type === 'incoming') await this.#accept(frames, peer, first.home, opening)
      else throw new KappaError('ProtocolError', `${first.type} before anything was asked`)
    } catch (error) {
      frames.abort(error as Error)
    }
  }

  // --------------------------------------------------------------------------------------------------- as target

  /** Only a home that is admitted anyway; its identity is proven within, and this right asked again. */
  async #accept(frames: FrameStream, neighbour: PeerId, home: PeerId, signal: AbortSignal): Promise<void> {
    const right = this.#node.gater.rightOf(home)
    if (right === undefined || right === 'stranger') {
      await refuse(frames, 'its home has no ticket there')
      return
    }
    frames.send(encodeMessage({ type: 'accepted' }))
    await this.#node.upgrade(new Way(frames, relayedAddress(neighbour, home), 'inbound'), 'listens', signal)
  }

  // ------------------------------------------------------------------------------------------ as common neighbour

  async #relay(frames: FrameStream, home: PeerId, target: PeerId, opening: AbortSignal): Promise<void> {
    const connection = this.#init.neighbour(target)
    const reason = this.#objection(home, target, connection)
    if (connection === undefined || reason !== undefined) {
      await refuse(frames, reason ?? 'it is not connected there either')
      return
    }
    const relayed: Relayed = { home, target, ending: new AbortController() }
    this.#relayed.add(relayed)
    let onward: FrameStream | undefined
    let stands = false
    try {
      const signal = AbortSignal.any([opening, relayed.ending.signal])
      onward = framed(await this.#node.openStream(connection, RELAY_PROTOCOL, signal))
      onward.send(encodeMessage({ type: 'incoming', home }))
      const answer = await receive(onward, signal)
      if (answer.type === 'refused') throw new KappaError('RefusedError', answer.reason)
      if (answer.type !== 'accepted') throw new KappaError('ProtocolError', 'the target breaks the protocol')
      frames.send(encodeMessage({ type: 'accepted' }))
      stands = true
      await join(frames, onward, relayed.ending)
    } catch (error) {
      onward?.abort(error as Error)
      if (stands) frames.abort(error as Error)
      else await refuse(frames, messageOf(error))
    } finally {
      this.#relayed.delete(relayed)
    }
  }

  #objection(home: PeerId, target: PeerId, connection: Connection | undefined): string | undefined {
    // Said of a friend and of a stranger alike: who is paired here is nobody's business.
    if (this.#node.gater.rightOf(target) !== 'own' || home === target || connection === undefined) {
      return 'the target is not connected there either'
    }
    if (!this.#init.forwards()) return 'its owner lets it pass on nothing'
    if (this.#relayed.size >= RELAYED_MAX) return `it relays ${RELAYED_MAX} connections already`
    return undefined
  }
}

/** Passes on what comes, both ways, until both sides ended, one broke, nothing came for long, or it is ended here. */
async function join(a: FrameStream, b: FrameStream, ending: AbortController): Promise<void> {
  const idle = setTimeout(() => ending.abort(new KappaError('TimeoutError', 'nothing was said for long')), IDLE_MS)
  const pass = async (from: FrameStream, to: FrameStream): Promise<void> => {
    for await (const bytes of from.frames(ending.signal)) {
      idle.refresh()
      if (!to.send(bytes)) await to.drained(ending.signal)
    }
    await to.close(AbortSignal.timeout(CLOSE_MS))
  }
  try {
    await Promise.all([pass(a, b), pass(b, a)])
  } finally {
    clearTimeout(idle)
    ending.abort(new KappaError('NetworkError', 'the way ended'))
  }
}

function framed(stream: ConstructorParameters<typeof FrameStream>[0]): FrameStream {
  return new FrameStream(stream, { maxFrameBytes: RELAY_FRAME_BYTES_MAX })
}

/** The next message. Throws NetworkError, ProtocolError or the signal's reason. */
async function receive(frames: FrameStream, signal: AbortSignal): Promise<RelayMessage> {
  for await (const frame of frames.frames(signal)) return decodeMessage(frame)
  throw new KappaError('NetworkError', 'the stream ended before it was answered')
}

/** Says no and leaves the stream to the other side, for an end at once could overtake the word. */
async function refuse(frames: FrameStream, reason: string): Promise<void> {
  frames.send(encodeMessage({ type: 'refused', reason: reason.slice(0, REASON_LENGTH_MAX) }))
  await frames.close(AbortSignal.timeout(CLOSE_MS))
  setTimeout(() => frames.abort(new KappaError('NetworkError', 'it was refused')), OPEN_MS).unref()
}
