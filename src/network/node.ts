/**
 * The libp2p node: TCP, Noise, yamux, identify and (when wanted) multicast DNS; nothing else. Every limit is set here.
 */
import { createServer } from 'node:net'
import { type Identify, identify } from '@libp2p/identify'
import type { ComponentLogger, Connection, Logger, MultiaddrConnection, Stream, Upgrader } from '@libp2p/interface'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { createLibp2p, type Libp2p } from 'libp2p'
import type { PeerId } from '../core/types.ts'
import { KappaError, messageOf } from '../errors.ts'
import { isRelayed, loopbackLast, plainAddress } from './addresses.ts'
import { corkedTcp } from './corked-tcp.ts'
import { type DiscoveredPeer, LanDiscovery } from './discovery.ts'
import type { Gater, Right } from './gater.ts'
import { type IdentityKey, libp2pPeerId, peerIdOf } from './identity.ts'
import { leanNoise } from './lean-noise.ts'
import { leanYamux, windowByHalves } from './lean-yamux.ts'
import { noiseCrypto } from './noise-crypto.ts'

/** Connections at once, of all peers together: of neighbours, homes and targets, and those that come and go. */
export const MAX_CONNECTIONS = 128
/** A window of so many bytes per stream is what a sender may have under way, and a paused reader holds. */
export const MAX_STREAM_WINDOW_BYTES = 1024 * 1024
/** A sender that ignores `send() === false` loses its stream here. */
const MAX_WRITE_BUFFER_BYTES = 16 * 1024 * 1024
/** TCP connections that one host may open in a second, handshakes in progress, and how long one may take. */
const INBOUND_PER_SECOND = 20
const MAX_PENDING_INBOUND = 16
const HANDSHAKE_MS = 5000
/** A dial to one address. */
const DIAL_MS = 5000
/** Without a byte for so long a connection is closed; longer than a home may linger, liveness is the protocols' own. */
const IDLE_CLOSE_MS = 12 * 60 * 1000
/** yamux' ping also tells it the round trip by which it sizes windows. */
const MUXER_PING_MS = 60_000

export interface NodeInit {
  privateKey: IdentityKey
  /** Host name, announced by multicast DNS. */
  name: string
  /** Multiaddrs; a TCP port that is taken is replaced by a free one, the same for all. */
  listen: string[]
  /** Multiaddrs told to others instead of the ones listened on; empty: these. */
  announce: string[]
  gater: Gater
  mdns: boolean
  agentVersion: string
}

export interface HandlerInit {
  /** Who may open a stream of this protocol; asked when it is opened. */
  rights: readonly Right[]
  /** Streams at once per connection and direction. */
  maxStreams: number
}

export type StreamHandler = (stream: Stream, peer: PeerId, connection: Connection) => void | Promise<void>

export interface KappaNode {
  readonly peerId: PeerId
  readonly gater: Gater
  /** TCP port listened on; 0 when none. The caller keeps it across restarts. */
  readonly port: number
  /** What libp2p offers beside: events `connection:open`, `connection:close`, `peer:identify` of paired peers. */
  readonly libp2p: Libp2p
  /** Multiaddrs, without peer ID, that others can try, best first; changes with the network. */
  addresses(): string[]
  /** Answers a protocol. A handler that throws aborts its stream. */
  handle(protocol: string, init: HandlerInit, handler: StreamHandler): Promise<void>
  unhandle(protocol: string): Promise<void>
  /** Open direct connections to a peer, oldest first. */
  connections(peer: PeerId): Connection[]
  /** Open connections to a peer that a common neighbour relays, oldest first. */
  relayed(peer: PeerId): Connection[]
  /** Tries the addresses in their order. Without a peer ID whoever answers is taken. Throws UnreachableError. */
  dial(addresses: string[], peer: PeerId | undefined, signal: AbortSignal): Promise<Connection>
  /**
   * Makes a connection of a way to a peer that somebody relays: Noise from end to end, the peer ID that the address ends with
   * proven, the gater asked. The one that asked for the way dials. Throws UnreachableError, or the signal's reason.
   */
  upgrade(way: MultiaddrConnection, side: 'dials' | 'listens', signal: AbortSignal): Promise<void>
  /** Throws NetworkError when the connection ended or the other side doesn't speak the protocol. */
  openStream(connection: Connection, protocol: string, signal: AbortSignal): Promise<Stream>
  /** Closes every connection to the peer at once. */
  hangUp(peer: PeerId, reason: string): void
  /** Called for each open direct connection with a paired peer: when it opens, and when its peer becomes paired. */
  onConnected(listener: (peer: PeerId, connection: Connection) => void): void
  /** The peer became paired: its connections are told to the listeners of `onConnected`. */
  becamePaired(peer: PeerId): void
  /** Peers heard on the LAN; empty without multicast DNS. */
  discovered(): DiscoveredPeer[]
  /** Asks the LAN who is there. */
  askLan(): void
  /** Whether multicast DNS comes back to this machine at least; false without it. */
  hearsItself(): Promise<boolean>
  /** Called for each peer heard on the LAN. */
  onDiscovered(listener: (peer: DiscoveredPeer) => void): void
  stop(): Promise<void>
}

/** Makes and starts a node. Throws NetworkError when it can't listen. */
export async function createNode(init: NodeInit): Promise<KappaNode> {
  const peerId = peerIdOf(init.privateKey)
  const { listen, port } = await chooseListen(init.listen)
  const listeners: ((peer: DiscoveredPeer) => void)[] = []
  let discovery: LanDiscovery | undefined
  let upgrader: Upgrader | undefined
  const options = {
    privateKey: init.privateKey,
    addresses: { listen, announce: init.announce },
    ...staticOptions(init.agentVersion),
    connectionGater: init.gater.callbacks(),
    services: {
      // Where a neighbour listens is worth knowing; a job that goes elsewhere doesn't wait for who else would ask.
      identify: identify({ maxInboundStreams: 2, maxOutboundStreams: 2, runOnConnectionOpen: false }),
      upgrader: (components: { upgrader: Upgrader }) => {
        upgrader = components.upgrader
        return upgrader
      },
      ...(init.mdns && {
        discovery: (components: ConstructorParameters<typeof LanDiscovery>[0]) => {
          const onHeard = (peer: DiscoveredPeer): void => {
            for (const listener of listeners) listener(peer)
          }
          discovery = new LanDiscovery(components, { self: peerId, name: init.name, onHeard })
          return discovery
        }
      })
    }
  }
  let libp2p: Libp2p
  try {
    libp2p = (await createLibp2p(options)) as unknown as Libp2p
  } catch (error) {
    // libp2p says it with advice about its own options, and a stack.
    const reason = /listen (E[A-Z]+: [a-z ]+)/.exec(messageOf(error))?.[1]?.trim() ?? messageOf(error)
    throw new KappaError(
      'NetworkError',
      `can't listen on ${listen.join(', ')}: ${reason}; say where with: kappa config set listen`,
      { cause: error }
    )
  }
  return new Node(libp2p, init.gater, port, upgrader!, () => discovery, listeners)
}

class Node implements KappaNode {
  readonly peerId: PeerId
  readonly gater: Gater
  readonly port: number
  readonly libp2p: Libp2p
  readonly #upgrader: Upgrader
  readonly #discovery: () => LanDiscovery | undefined
  readonly #onConnected: ((peer: PeerId, connection: Connection) => void)[] = []
  readonly #listeners: ((peer: DiscoveredPeer) => void)[]

  constructor(
    libp2p: Libp2p,
    gater: Gater,
    port: number,
    upgrader: Upgrader,
    discovery: () => LanDiscovery | undefined,
    listeners: ((peer: DiscoveredPeer) => void)[]
  ) {
    this.libp2p = libp2p
    this.peerId = libp2p.peerId.toString()
    this.gater = gater
    this.port = port === 0 ? boundPort(libp2p) : port
    this.#upgrader = upgrader
    this.#discovery = discovery
    this.#listeners = listeners
    gater.onLost = (peer, mayDial) => {
      for (const connection of this.#all(peer)) {
        if (mayDial && connection.direction === 'outbound') continue
        connection.abort(
          new KappaError('NetworkError', `the connection to ${peer} was closed: it may not connect any more`)
        )
      }
    }
    libp2p.addEventListener('connection:open', ({ detail: connection }) => {
      const peer = connection.remotePeer.toString()
      if (gater.isPaired(peer) && !isRelayed(connection.remoteAddr)) this.#connected(peer, connection)
    })
  }

  addresses(): string[] {
    return loopbackLast(unique(this.libp2p.getMultiaddrs().map(plainAddress)))
  }

  async handle(protocol: string, init: HandlerInit, handler: StreamHandler): Promise<void> {
    const options = { maxInboundStreams: init.maxStreams, maxOutboundStreams: init.maxStreams }
    await this.libp2p.handle(
      protocol,
      async (stream, connection) => {
        const peer = connection.remotePeer.toString()
        const right = this.gater.rightOf(peer)
        if (right === undefined || !init.rights.includes(right)) {
          stream.abort(new KappaError('ProtocolError', `${peer} may not use ${protocol}`))
          return
        }
        windowByHalves(stream, MAX_STREAM_WINDOW_BYTES)
        await handler(stream, peer, connection)
      },
      options
    )
  }

  async unhandle(protocol: string): Promise<void> {
    await this.libp2p.unhandle(protocol)
  }

  connections(peer: PeerId): Connection[] {
    return this.#all(peer).filter(({ status, remoteAddr }) => status === 'open' && !isRelayed(remoteAddr))
  }

  relayed(peer: PeerId): Connection[] {
    return this.#all(peer).filter(({ status, remoteAddr }) => status === 'open' && isRelayed(remoteAddr))
  }

  /** A copy: who ends them changes what libp2p has. */
  #all(peer: PeerId): Connection[] {
    return [...this.libp2p.getConnections(libp2pPeerId(peer))]
  }

  async dial(addresses: string[], peer: PeerId | undefined, signal: AbortSignal): Promise<Connection> {
    const suffix = peer === undefined ? '' : `/p2p/${peer}`
    let failure: unknown = new Error('no address is known')
    for (const address of addresses) {
      signal.throwIfAborted()
      try {
        // `force`: a second connection is wanted when the first is dead and nobody noticed yet.
        return await this.libp2p.dial(multiaddr(`${address}${suffix}`), { signal, force: true })
      } catch (error) {
        failure = error
      }
    }
    signal.throwIfAborted()
    const where = addresses.join(', ')
    throw new KappaError('UnreachableError', `nobody to talk to at ${where}: ${messageOf(failure)}`, { cause: failure })
  }

  async upgrade(way: MultiaddrConnection, side: 'dials' | 'listens', signal: AbortSignal): Promise<void> {
    try {
      if (side === 'dials') await this.#upgrader.upgradeOutbound(way, { signal })
      else await this.#upgrader.upgradeInbound(way, { signal })
    } catch (error) {
      way.abort(error as Error)
      signal.throwIfAborted()
      const message = `no connection through ${way.remoteAddr}: ${messageOf(error)}`
      throw new KappaError('UnreachableError', message, { cause: error })
    }
  }

  async openStream(connection: Connection, protocol: string, signal: AbortSignal): Promise<Stream> {
    try {
      const stream = await connection.newStream(protocol, { signal })
      windowByHalves(stream, MAX_STREAM_WINDOW_BYTES)
      return stream
    } catch (error) {
      signal.throwIfAborted()
      const peer = connection.remotePeer.toString()
      const message = `can't open ${protocol} to ${peer}: ${messageOf(error)}`
      throw new KappaError('NetworkError', message, { cause: error })
    }
  }

  hangUp(peer: PeerId, reason: string): void {
    for (const connection of this.#all(peer)) {
      connection.abort(new KappaError('NetworkError', `the connection to ${peer} was closed: ${reason}`))
    }
  }

  onConnected(listener: (peer: PeerId, connection: Connection) => void): void {
    this.#onConnected.push(listener)
  }

  becamePaired(peer: PeerId): void {
    for (const connection of this.connections(peer)) this.#connected(peer, connection)
  }

  #connected(peer: PeerId, connection: Connection): void {
    for (const listener of this.#onConnected) listener(peer, connection)
    const { identify } = this.libp2p.services as { identify: Identify }
    // The connection ended, or the other side doesn't want it.
    identify.identify(connection).catch(() => undefined)
  }

  discovered(): DiscoveredPeer[] {
    return this.#discovery()?.peers() ?? []
  }

  askLan(): void {
    this.#discovery()?.ask()
  }

  async hearsItself(): Promise<boolean> {
    return (await this.#discovery()?.hearsItself()) ?? false
  }

  onDiscovered(listener: (peer: DiscoveredPeer) => void): void {
    this.#listeners.push(listener)
  }

  async stop(): Promise<void> {
    this.#listeners.length = 0
    this.#onConnected.length = 0
    this.gater.stop()
    await this.libp2p.stop()
  }
}

/** Everything that is the same for each node. */
function staticOptions(agentVersion: string) {
  return {
    nodeInfo: { name: 'kappa', version: agentVersion, userAgent: agentVersion },
    transports: [
      corkedTcp({
        inboundSocketInactivityTimeout: IDLE_CLOSE_MS,
        outboundSocketInactivityTimeout: IDLE_CLOSE_MS,
        maxConnections: 2 * MAX_CONNECTIONS
      })
    ],
    connectionEncrypters: [leanNoise({ crypto: noiseCrypto })],
    streamMuxers: [
      leanYamux({
        keepAliveInterval: MUXER_PING_MS,
        maxInboundStreams: 256,
        maxOutboundStreams: 256,
        streamOptions: {
          maxStreamWindowSize: MAX_STREAM_WINDOW_BYTES,
          maxReadBufferLength: 2 * MAX_STREAM_WINDOW_BYTES,
          maxWriteBufferLength: MAX_WRITE_BUFFER_BYTES
        }
      })
    ],
    connectionManager: {
      maxConnections: MAX_CONNECTIONS,
      inboundConnectionThreshold: INBOUND_PER_SECOND,
      maxIncomingPendingConnections: MAX_PENDING_INBOUND,
      inboundUpgradeTimeout: HANDSHAKE_MS,
      inboundStreamProtocolNegotiationTimeout: HANDSHAKE_MS,
      outboundStreamProtocolNegotiationTimeout: HANDSHAKE_MS,
      addressDialTimeout: DIAL_MS,
      dialTimeout: DIAL_MS,
      maxParallelDials: MAX_CONNECTIONS
    },
    // Each neighbour's overlay stream is its heartbeat; libp2p's would open a stream every ten seconds besides.
    connectionMonitor: { enabled: false },
    logger: SILENT
  }
}

/** libp2p makes a logger for each stream; what matters to kappa comes as an error or an event. */
const SILENT: ComponentLogger = { forComponent: () => silentLog }
const silentLog: Logger = Object.assign(() => {}, {
  enabled: false,
  error: () => {},
  trace: () => {},
  newScope: () => silentLog
})

/** The addresses to listen on, with a port that is taken replaced by one that is free on each of them. */
async function chooseListen(wanted: string[]): Promise<{ listen: string[]; port: number }> {
  const parsed = wanted.map((text) => parseListen(text))
  const port = parsed.find((address) => address.port !== 0)?.port ?? 0
  if (port === 0) return { listen: wanted, port }
  if (await allFree(parsed)) return { listen: wanted, port }
  for (let attempt = 0; attempt < 10; attempt++) {
    const free = await freePort(parsed[0]?.host ?? '0.0.0.0')
    const moved = parsed.map((address) => ({ ...address, port: address.port === port ? free : address.port }))
    if (await allFree(moved)) return { listen: moved.map((a) => `/${a.kind}/${a.host}/tcp/${a.port}`), port: free }
  }
  throw new KappaError(
    'NetworkError',
    `port ${port} is taken and no other is free on ${wanted.join(', ')}; say where with: kappa config set listen`
  )
}

interface ListenAddress {
  kind: 'ip4' | 'ip6'
  host: string
  port: number
}

function parseListen(text: string): ListenAddress {
  let parsed: Multiaddr | undefined
  try {
    parsed = multiaddr(text)
  } catch {
    parsed = undefined
  }
  const [ip, port, ...rest] = parsed?.getComponents() ?? []
  if ((ip?.name !== 'ip4' && ip?.name !== 'ip6') || port?.name !== 'tcp' || rest.length > 0) {
    throw new KappaError('UsageError', `can't listen on ${text}: write IP:PORT or /ip4/IP/tcp/PORT`)
  }
  return { kind: ip.name, host: ip.value ?? '', port: Number(port.value) }
}

async function allFree(addresses: ListenAddress[]): Promise<boolean> {
  const free = await Promise.all(addresses.map((address) => isFree(address)))
  return free.every(Boolean)
}

/** False only when the port is taken; what else is wrong with an address is for libp2p to say. */
function isFree(address: ListenAddress): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code !== 'EADDRINUSE'))
    server.listen({ host: address.host, port: address.port, ipv6Only: address.kind === 'ip6', exclusive: true }, () =>
      server.close(() => resolve(true))
    )
  })
}

function freePort(host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen({ host, port: 0, exclusive: true }, () => {
      const address = server.address()
      server.close(() => resolve(address === null || typeof address === 'string' ? 0 : address.port))
    })
  })
}

/** The port that the system chose for port 0; 0 when the node doesn't listen. */
function boundPort(libp2p: Libp2p): number {
  for (const address of libp2p.getMultiaddrs()) {
    const port = address.getComponents().find((part) => part.name === 'tcp')?.value
    if (port !== undefined) return Number(port)
  }
  return 0
}

function unique(addresses: (string | undefined)[]): string[] {
  return [...new Set(addresses.filter((address) => address !== undefined))]
}
