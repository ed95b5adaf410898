/**
 * Finding a machine by its name: multicast DNS says who is there, and each that has pairing open is asked what it is
 * called. Names prove nothing; the digits do.
 */

import type { PeerId } from '../../core/types.ts'
import { KappaError } from '../../errors.ts'
import type { DiscoveredPeer } from '../../network/discovery.ts'
import type { KappaNode } from '../../network/node.ts'
import { printable } from '../../printable.ts'
import { leave, openChannel, type PairChannel } from './channel.ts'
import { CANDIDATES_AT_ONCE, CANDIDATES_MAX } from './constants.ts'

/** A name that was found is taken after this part of the time, when everyone heard so far has answered. */
const EARLY_PART = 1 / 5

export class NameFinder {
  readonly #node: KappaNode
  readonly #findMs: number
  #heard: (peer: DiscoveredPeer) => void = () => {}

  constructor(node: KappaNode, findMs: number) {
    this.#node = node
    this.#findMs = findMs
    node.onDiscovered((peer) => this.#heard(peer))
  }

  /** The one machine of that name, in any case, that has pairing open. One call at a time. Throws UnknownPeerError, AmbiguousNameError. */
  async find(name: string, signal: AbortSignal): Promise<DiscoveredPeer> {
    const search = new Search(this.#node, name)
    const stop = AbortSignal.any([signal, AbortSignal.timeout(this.#findMs)])
    this.#heard = (peer) => search.add(peer, stop)
    for (const peer of this.#node.discovered()) search.add(peer, stop)
    this.#node.askLan()
    const early = setTimeout(() => search.mayEndEarly(), this.#findMs * EARLY_PART)
    stop.addEventListener('abort', () => search.end(), { once: true })
    try {
      await search.ended
      signal.throwIfAborted()
      return search.result()
    } finally {
      this.#heard = () => {}
      clearTimeout(early)
      search.end()
    }
  }
}

class Search {
  readonly #node: KappaNode
  readonly #name: string
  /** Everyone heard, at most `CANDIDATES_MAX`; with the name it said once it answered. */
  readonly #candidates = new Map<PeerId, { peer: DiscoveredPeer; name?: string }>()
  readonly #waiting: DiscoveredPeer[] = []
  readonly #end = Promise.withResolvers<void>()
  #asking = 0
  #early = false
  #over = false

  constructor(node: KappaNode, name: string) {
    this.#node = node
    this.#name = name.toLowerCase()
  }

  get ended(): Promise<void> {
    return this.#end.promise
  }

  add(peer: DiscoveredPeer, signal: AbortSignal): void {
    if (this.#over || this.#candidates.has(peer.peerId) || this.#candidates.size >= CANDIDATES_MAX) return
    this.#candidates.set(peer.peerId, { peer })
    this.#waiting.push(peer)
    this.#askNext(signal)
  }

  mayEndEarly(): void {
    this.#early = true
    if (this.#asking === 0 && this.#matches().length > 0) this.end()
  }

  end(): void {
    this.#over = true
    this.#end.resolve()
  }

  result(): DiscoveredPeer {
    const matches = this.#matches()
    const [only, ...others] = matches
    if (only === undefined) throw this.#unknown()
    if (others.length === 0) return only
    const places = matches.map(({ peerId, addresses }) => `${addresses[0]} (…${peerId.slice(-8)})`).join(', ')
    throw new KappaError(
      'AmbiguousNameError',
      `${matches.length} machines say that they are "${printable(this.#name)}": ${places}; give the address instead of the name`
    )
  }

  #askNext(signal: AbortSignal): void {
    while (!this.#over && this.#asking < CANDIDATES_AT_ONCE) {
      const peer = this.#waiting.shift()
      if (peer === undefined) return
      this.#asking++
      void askName(this.#node, peer, signal).then((name) => {
        this.#asking--
        if (name !== undefined) this.#candidates.set(peer.peerId, { peer, name })
        this.#askNext(signal)
        if (this.#early) this.mayEndEarly()
      })
    }
  }

  #matches(): DiscoveredPeer[] {
    const all = [...this.#candidates.values()]
    return all.filter(({ name }) => name?.toLowerCase() === this.#name).map(({ peer }) => peer)
  }

  #unknown(): KappaError {
    const all = [...this.#candidates.values()]
    const open = all.flatMap(({ name }) => (name === undefined ? [] : [printable(name)]))
    const closed = all.flatMap(({ peer, name }) => (name === undefined ? [printable(peer.name)] : []))
    const seen = [
      open.length > 0 ? `open on: ${open.join(', ')}` : '',
      closed.length > 0 ? `not open on: ${closed.join(', ')}` : ''
    ].filter((part) => part !== '')
    return new KappaError(
      'UnknownPeerError',
      `no machine called "${printable(this.#name)}" has pairing open on this network (${seen.join('; ') || 'none was heard'}); run there first: kappa pair, or give its address`
    )
  }
}

/** What the peer says that it is called; undefined when it can't be reached or has no pairing open. */
async function askName(node: KappaNode, peer: DiscoveredPeer, signal: AbortSignal): Promise<string | undefined> {
  const gate = node.gater.allowDial(peer.peerId)
  let channel: PairChannel | undefined
  const stop = () => channel?.abort(signal.reason as Error)
  try {
    channel = await openChannel(node, peer, signal)
    signal.addEventListener('abort', stop, { once: true })
    signal.throwIfAborted()
    channel.send({ type: 'name?' })
    const answer = await channel.receive()
    return answer?.type === 'name' ? answer.name : undefined
  } catch {
    return undefined
  } finally {
    signal.removeEventListener('abort', stop)
    gate.close()
    if (channel !== undefined) {
      channel.abort(new KappaError('NetworkError', 'the name is known'))
      await leave(node, channel.connection)
    }
  }
}
