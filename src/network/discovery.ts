/**
 * Finding peers on the LAN by multicast DNS. What is heard is a hint from anyone on the network: it leads to a dial at
 * most, never to trust, and is kept in a small bounded table.
 */
import type { PeerDiscovery, Startable } from '@libp2p/interface'
import { type MulticastDNSComponents, mdns } from '@libp2p/mdns'
import { CODE_P2P, multiaddr } from '@multiformats/multiaddr'
import type { PeerId } from '../core/types.ts'
import { loopbackLast, plainAddress } from './addresses.ts'
import { parsePeerId } from './identity.ts'
import { MAX_ADDRESSES } from './pairing.ts'

const SERVICE_TAG = '_kappa._udp.local'
/** A start, and a pairing, ask at once; in between one question in so many ms is enough. */
const QUERY_INTERVAL_MS = 30_000
/** What this machine says comes back to it in less, unless its firewall or its network lets no multicast through. */
const ECHO_MS = 1_500
/** Peers remembered; the one not heard for the longest is forgotten first. */
const MAX_DISCOVERED = 64
/** A DNS label is at most 63 bytes; 9 are for the mark that keeps two machines of one name apart. */
const MAX_NAME_LENGTH = 54
const MARK_LENGTH = 8
const ADDRESS_PREFIX = 'dnsaddr='

export interface DiscoveredPeer {
  peerId: PeerId
  /** Host name as it said, lower case letters, digits and hyphens; not to be trusted. */
  name: string
  addresses: string[]
}

interface Answer {
  type: string
  data?: unknown
}

interface ResponsePacket {
  answers?: Answer[]
  additionals?: Answer[]
}

/** What libp2p's service has besides its interface: the multicast socket, whose packets also carry the names. */
type MdnsService = PeerDiscovery &
  Startable & {
    mdns?: {
      on(event: 'response', listener: (packet: ResponsePacket) => void): void
      query(question: { questions: { name: string; type: 'PTR' }[] }): void
    }
  }

export class LanDiscovery implements Startable {
  readonly #service: MdnsService
  readonly #self: PeerId
  /** At most `MAX_DISCOVERED`, the most recently heard last. */
  readonly #heard = new Map<PeerId, DiscoveredPeer>()
  readonly #onHeard: (peer: DiscoveredPeer) => void
  /** Those that wait for this machine's own answer. */
  #onEcho: (() => void)[] = []

  constructor(
    components: MulticastDNSComponents,
    init: { self: PeerId; name: string; onHeard: (peer: DiscoveredPeer) => void }
  ) {
    this.#self = init.self
    this.#onHeard = init.onHeard
    const peerName = `${dnsLabel(init.name)}-${init.self.slice(-MARK_LENGTH).toLowerCase()}`
    this.#service = mdns({ serviceTag: SERVICE_TAG, peerName, interval: QUERY_INTERVAL_MS })(components) as MdnsService
  }

  async start(): Promise<void> {
    await this.#service.start()
    this.#service.mdns?.on('response', (packet) => this.#heardPacket(packet))
  }

  async stop(): Promise<void> {
    await this.#service.stop()
  }

  /** Asks the LAN now. */
  ask(): void {
    this.#service.mdns?.query({ questions: [{ name: SERVICE_TAG, type: 'PTR' }] })
  }

  /** Asks the LAN, and whether this machine hears its own answer. */
  hearsItself(): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), ECHO_MS)
      this.#onEcho.push(() => {
        clearTimeout(timer)
        resolve(true)
      })
      this.ask()
    })
  }

  /** Who answered since the start, at most `MAX_DISCOVERED`. */
  peers(): DiscoveredPeer[] {
    return [...this.#heard.values()]
  }

  #heardPacket(packet: ResponsePacket): void {
    const peer = parseResponse(packet)
    if (peer?.peerId === this.#self) {
      for (const heard of this.#onEcho.splice(0)) heard()
      return
    }
    if (peer === undefined) return
    this.#heard.delete(peer.peerId)
    this.#heard.set(peer.peerId, peer)
    if (this.#heard.size > MAX_DISCOVERED) this.#heard.delete(this.#heard.keys().next().value as PeerId)
    this.#onHeard(peer)
  }
}

/** The peer that a response speaks of; undefined when it is none of kappa's or makes no sense. */
export function parseResponse(packet: ResponsePacket): DiscoveredPeer | undefined {
  const answers = [...(packet.answers ?? []), ...(packet.additionals ?? [])].slice(0, 4 * MAX_ADDRESSES)
  const pointer = answers.find((answer) => answer.type === 'PTR')?.data
  if (typeof pointer !== 'string' || !pointer.endsWith(`.${SERVICE_TAG}`)) return undefined
  const label = pointer.slice(0, -SERVICE_TAG.length - 1)
  const name = dnsLabel(label.slice(0, -MARK_LENGTH - 1))
  let peerId: PeerId | undefined
  const addresses = new Set<string>()
  for (const answer of answers) {
    if (answer.type !== 'TXT') continue
    for (const text of Array.isArray(answer.data) ? answer.data : [answer.data]) {
      const found = parseText(String(text))
      if (found === undefined || (peerId !== undefined && found.peerId !== peerId)) continue
      peerId = found.peerId
      if (addresses.size < MAX_ADDRESSES) addresses.add(found.address)
    }
  }
  return peerId === undefined ? undefined : { peerId, name, addresses: loopbackLast([...addresses]) }
}

function parseText(text: string): { peerId: PeerId; address: string } | undefined {
  if (!text.startsWith(ADDRESS_PREFIX)) return undefined
  try {
    const parsed = multiaddr(text.slice(ADDRESS_PREFIX.length))
    const id = parsed.getComponents().find((part) => part.code === CODE_P2P)?.value
    const address = plainAddress(parsed)
    return id === undefined || address === undefined ? undefined : { peerId: parsePeerId(id), address }
  } catch {
    return undefined
  }
}

/** A host name as one DNS label. */
export function dnsLabel(name: string): string {
  const label = name
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]+/g, '-')
    .replaceAll(/^-+|-+$/g, '')
  return label.slice(0, MAX_NAME_LENGTH) || 'kappa'
}
