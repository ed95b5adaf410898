/** One peer: everything below wired together, from the state on disk to the control socket. */

import { randomBytes } from 'node:crypto'
import { accessSync, constants, statSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import type { Stream } from '@libp2p/interface'
import { PeerCore } from '../core/peer-core.ts'
import { MAX_ADDRESSES, type PeerId } from '../core/types.ts'
import { isKappaError, KappaError } from '../errors.ts'
import { Benchmark } from '../machine/benchmark.ts'
import { machineClass } from '../machine/class.ts'
import { MachineSampler } from '../machine/sampler.ts'
import { trafficOf } from '../network/corked-tcp.ts'
import { FrameStream } from '../network/frames.ts'
import { Gater } from '../network/gater.ts'
import { createIdentity, type IdentityKey, identityFromBytes, identityToBytes, peerIdOf } from '../network/identity.ts'
import { windowByHalves } from '../network/lean-yamux.ts'
import { NeighbourConnections } from '../network/neighbours.ts'
import { createNode, type KappaNode, MAX_STREAM_WINDOW_BYTES } from '../network/node.ts'
import type { Pairing } from '../network/pairing.ts'
import { NAME_LENGTH_MAX, printable } from '../printable.ts'
import { EXEC_FRAME_BYTES_MAX, EXEC_PROTOCOL } from '../protocols/exec/constants.ts'
import { ExecHome } from '../protocols/exec/home.ts'
import { FILE_FRAME_BYTES_MAX, FILE_PROTOCOL } from '../protocols/file/constants.ts'
import { OverlayService } from '../protocols/overlay/service.ts'
import { type PairingChange, PairService } from '../protocols/pair/service.ts'
import { tooFar, VERSION } from '../version.ts'
import { SuspendClock } from './clock.ts'
import { commandHandlers, pageOf } from './commands.ts'
import { type Configuration, loadConfiguration } from './configuration.ts'
import { ControlServer } from './control.ts'
import type { ControlRequest } from './control-codec.ts'
import type { FiguresResult } from './control-results.ts'
import { CoreDriver } from './core-driver.ts'
import { DetachedJobs } from './detached.ts'
import { type Directories, directories, privateDirectory, socketPath } from './directories.ts'
import { Doctor } from './doctor/doctor.ts'
import { FIGURES_MS, Figures, figuresOf, type Span } from './figures.ts'
import { GivingWay, type Needing } from './giving-way.ts'
import { Guests } from './guests.ts'
import { History, type JobRecord } from './history.ts'
import { loadIdentity } from './identity-file.ts'
import { Learnt } from './learnt.ts'
import { takeLock } from './lock.ts'
import { createLog, type DaemonLog } from './log.ts'
import { JobCounts, metricsText, outcomeOf, secondsOf } from './metrics.ts'
import { MetricsEndpoint } from './metrics-endpoint.ts'
import { Others } from './others.ts'
import { Owner } from './owner.ts'
import type { Page } from './page.ts'
import { PairingStore } from './pairings.ts'
import { Runs } from './runs.ts'
import { ShownTrees } from './shown-trees.ts'
import { Sleep } from './sleep.ts'
import { StartState } from './start-state.ts'
import { Waking } from './waking.ts'

const KEYS = { create: createIdentity, fromBytes: identityFromBytes, toBytes: identityToBytes }
/** Of one home: one that is used, and those of connections that are dead without anybody knowing yet. */
const EXEC_STREAMS_MAX = 4
/** One for each tree that a home shows here. */
const FILE_STREAMS_MAX = 8
/** With the byte that tells what a frame is. */
const FILE_STREAM_BYTES_MAX = FILE_FRAME_BYTES_MAX + 1

/** Guests are made to yield, or not, this often. */
const YIELD_MS = 1_000
/** What all but kappa's jobs use when the owner runs something here: a part of the cores, and at least so much, for the daemon works too. */
const OWNER_PART = 0.1
const OWNER_LEAST = 0.1

/** Longest version that is shown. */
const VERSION_LENGTH_MAX = 32

/** What the overlay learnt of a connected peer. */
export interface PeerNews {
  name: string
  version: string
  via: string | undefined
  /** Bytes over the connection that is used; undefined when it is relayed. */
  traffic: { sent: number; received: number } | undefined
}

export class Daemon {
  readonly directories: Directories
  readonly log: DaemonLog
  readonly clock = new SuspendClock()
  readonly name: string
  configuration: Configuration
  /** The configuration as it was when the daemon started: some of it is only looked at then. */
  readonly startedWith: Configuration
  peerId!: PeerId
  node!: KappaNode
  pairings!: PairingStore
  history!: History
  benchmark!: Benchmark
  driver!: CoreDriver
  owner!: Owner
  pair!: PairService
  doctor!: Doctor
  guests!: Guests
  exec!: ExecHome
  runs!: Runs
  #detached!: DetachedJobs
  learnt!: Learnt
  others!: Others
  #sleep!: Sleep
  #sampler!: MachineSampler
  /** When guests were last made to yield, or not. */
  #yieldedAt = Number.NEGATIVE_INFINITY
  #gater!: Gater
  #neighbours!: NeighbourConnections
  #waking!: Waking
  #overlay!: OverlayService
  #shown!: ShownTrees
  readonly #figures = new Figures()
  readonly jobCounts = new JobCounts()
  readonly #metrics: MetricsEndpoint
  readonly page: Page
  /** When samples were last kept, ms since the epoch. */
  #figuresAt = 0
  #figuresTimer: NodeJS.Timeout | undefined
  #control!: ControlServer
  #lock: { release(): void } | undefined
  readonly #stopping = new AbortController()
  /** By peer; at most one for each pairing. */
  readonly #news = new Map<PeerId, Omit<PeerNews, 'via' | 'traffic'>>()
  /** Versions of peers that were too far from this one when they were last heard; at most one for each pairing. */
  readonly #tooFar = new Map<PeerId, string>()
  #givingWay!: GivingWay
  readonly #onLeave: (launcher: string | undefined) => void

  private constructor(onLeave: (launcher: string | undefined) => void) {
    this.#onLeave = onLeave
    this.directories = directories()
    privateDirectory(this.directories.state)
    this.log = createLog(2, join(this.directories.state, 'daemon.log.old'))
    this.configuration = loadConfiguration(this.directories.config, process.env)
    this.log.configure(this.configuration.log)
    this.page = pageOf(this)
    this.#metrics = new MetricsEndpoint(() => metricsText(this), this.log)
    this.startedWith = this.configuration
    this.name = printable(this.configuration.name ?? hostname(), NAME_LENGTH_MAX)
  }

  /** Starts a peer; resolves when it serves. `onLeave` is called when it should end, for the program of that launcher if there is one. */
  static async start(onLeave: (launcher: string | undefined) => void): Promise<Daemon> {
    const daemon = new Daemon(onLeave)
    try {
      await daemon.#start()
      return daemon
    } catch (error) {
      await daemon.stop()
      throw error
    }
  }

  async #start(): Promise<void> {
    const { state, cache } = this.directories
    const socket = socketPath()
    this.#lock = takeLock(join(state, 'lock'))
    const key = await loadIdentity(state, KEYS, this.log)
    this.peerId = peerIdOf(key)
    const start = await StartState.begin(state, this.log)
    this.pairings = new PairingStore(state, this.log)
    this.history = new History(state, this.log)
    this.#detached = await DetachedJobs.open(state, this.log)
    const { learn } = this.configuration
    this.learnt = new Learnt({ state, log: this.log, enabled: learn, now: () => this.clock.now() })
    await this.#startNetwork(key, start)
    await this.#startMachine(join(cache, 'benchmark.json'), start.epoch)
    await this.#startProtocols(start.epoch)
    this.#givingWay = this.#startGivingWay()
    this.#control = new ControlServer(commandHandlers(this), this.log, (request) => this.#noticeVersion(request))
    await this.#control.listen(socket)
    await this.#metrics.configure(this.configuration.metrics.listen)
    this.log.info('serving', { name: this.name, peer: this.peerId, port: this.node.port, version: VERSION })
  }

  async #startNetwork(key: IdentityKey, start: StartState): Promise<void> {
    const { announce, mdns } = this.configuration
    this.#gater = new Gater({ pairings: this.pairings, banned: this.pairings.bans() })
    this.node = await createNode({
      privateKey: key,
      name: this.name,
      listen: withPort(this.configuration.listen, start.port),
      announce,
      gater: this.#gater,
      mdns,
      agentVersion: `kappa/${VERSION}`
    })
    await start.keepPort(this.node.port)
    this.#neighbours = new NeighbourConnections({
      node: this.node,
      pairings: this.pairings,
      onAddresses: (peer, addresses) => this.#learnAddresses(peer, addresses),
      onNetworkChange: () => {
        this.others.networkChanged()
        this.#overlay.doubtAll()
      },
      onTurnedAway: (peer) =>
        this.log.warn('turned away three times: the pairing may have been ended there', { peer: this.nameOf(peer) })
    })
    this.#waking = new Waking(this, this.#neighbours)
    this.others = new Others(this, this.#neighbours, (peer, urgent) => {
      this.#neighbours.urgent(peer, urgent)
      this.#overlay.urgent(peer, urgent)
    })
  }

  async #startMachine(cacheFile: string, epoch: number): Promise<void> {
    const { cores } = this.configuration.machine
    this.#sampler = new MachineSampler(cores === undefined ? {} : { cores })
    this.benchmark = new Benchmark({
      cacheFile,
      kappaVersion: VERSION,
      ...(import.meta.url.endsWith('.ts') ? {} : { workerFile: new URL('./benchmark-worker.mjs', import.meta.url) }),
      signal: this.#stopping.signal,
      onError: (error) => this.log.warn(error.message)
    })
    this.guests = await Guests.create(this, epoch, () => this.#sampler.memory())
    const first = this.#sampler.sample(this.clock.now(), [])
    this.owner = new Owner({
      state: this.directories.state,
      configuration: this.configuration,
      unsafe: this.guests.unsafe,
      terminals: this.guests.terminals,
      ...(this.guests.noFiles && { noFiles: this.guests.noFiles.reason }),
      cores: first.cores,
      memoryTotal: first.memoryTotal,
      classOf: machineClass,
      log: this.log,
      onChange: () => this.driver.perform(this.driver.core.setRules(this.owner.rules, this.clock.now()))
    })
    const core = new PeerCore({
      self: this.peerId,
      name: this.name,
      epoch,
      metricPolicy: this.configuration.metric.policy,
      rules: this.owner.rules,
      random: Math.random,
      newId: () => randomBytes(16).toString('hex'),
      hasTool,
      forbids: (home, kind, command) => this.guests.forbids(home, kind, command),
      banned: (peer) => this.#gater.isBanned(peer),
      addresses: () => this.node.addresses().slice(0, MAX_ADDRESSES),
      learning: this.learnt.learning,
      ...this.#placing()
    })
    this.driver = new CoreDriver(core, {
      now: () => this.clock.now(),
      send: (to, message) => this.#overlay.send(to, message),
      sample: () => this.#sample(),
      admit: (home, admitted) => this.others.admit(home, admitted)
    })
    this.#keepFigures()
    this.#figuresTimer = setInterval(() => this.#keepFigures(), FIGURES_MS)
    // Not awaited: until the quick estimate is there, a speed of 1 stands.
    void this.benchmark.start().then(() => this.driver.sample())
  }

  #keepFigures(): void {
    const now = this.clock.now()
    this.#figures.take(figuresOf(this.peerId, this.driver.core.view(now)), now)
    this.#figuresAt = Date.now()
  }

  /** How this machine and those that it knows have fared: at most `last` values of each. */
  figures(span: Span, last: number): FiguresResult {
    return this.#figures.read(span, last, this.#figuresAt, (peer) => this.nameOf(peer))
  }

  /** A job of this home, or of another one that ran here, is over: counted, and told if its owner wants that. */
  jobOver(record: JobRecord): void {
    if (record.role === 'home') this.jobCounts.ended(record)
    else this.jobCounts.guestEnded(record)
    const { jobs } = this.configuration.log
    if (jobs === 'none') return
    const { id, role, home, target, exitCode, signal, error } = record
    this.log.info('job over', {
      job: id,
      ...(role === 'guest'
        ? { home: this.nameOf(home) }
        : { target: target === null ? undefined : this.nameOf(target) }),
      outcome: outcomeOf(record),
      exit: exitCode ?? undefined,
      signal: signal ?? undefined,
      why: error?.name,
      seconds: secondsOf(record),
      ...(jobs === 'commands' ? { command: record.argv.map((word) => Buffer.from(word).toString()).join(' ') } : {})
    })
  }

  #placing(): { strategy: string; information?: string } {
    const { strategy, information } = this.configuration.placement
    return information === undefined ? { strategy } : { strategy, information }
  }

  #sample() {
    const local = [...(this.runs?.localRoots() ?? [])]
    const now = this.clock.now()
    const load = this.#sampler.sample(now, [...local, ...this.guests.roots()])
    if (now - this.#yieldedAt >= YIELD_MS) {
      this.#yieldedAt = now
      const quota = this.#sampler.quotaUse()
      const owner = quota !== undefined && quota.others > Math.max(OWNER_LEAST, OWNER_PART * quota.cores)
      this.guests.yield(quota, owner || local.length > 0)
    }
    this.benchmark.observe(load, (this.runs?.live ?? 0) + this.guests.target.running > 0, now)
    const { speed, benchmarkVersion } = this.benchmark.score
    return { ...load, speed, benchmarkVersion }
  }

  /** Trees that homes show to their jobs here. */
  async #serveFiles(rights: readonly ('own' | 'friend' | 'home')[]): Promise<void> {
    await this.node.handle(FILE_PROTOCOL, { rights, maxStreams: FILE_STREAMS_MAX }, (stream, peer) =>
      this.guests.trees.serve(peer, fileFrames(stream))
    )
  }

  #shownTrees(): ShownTrees {
    return new ShownTrees({
      openStream: async (peer, signal) => {
        const connection = await this.others.connectionTo(peer, signal)
        const stream = await this.node.openStream(connection, FILE_PROTOCOL, signal)
        return fileFrames(stream)
      },
      nameOf: (peer) => this.nameOf(peer),
      audit: this.guests.audit,
      denied: Object.values(this.directories).map((path) => Buffer.from(path).toString('latin1')),
      journals: join(this.directories.state, 'unfinished'),
      hashes: join(this.directories.cache, 'hashes'),
      log: this.log
    })
  }

  #overlayService(epoch: number): OverlayService {
    return new OverlayService({
      node: this.node,
      name: this.name,
      epoch,
      version: VERSION,
      onTooFar: (peer, { version }) => this.#neighbourTooFar(peer, printable(version, VERSION_LENGTH_MAX)),
      onUp: (peer, news) => this.#neighbourUp(peer, news),
      onDown: (peer) => this.#neighbourDown(peer),
      onMessage: (peer, message) =>
        this.driver.perform(this.driver.core.handleMessage(peer, message, this.clock.now())),
      onRoundTrip: (peer, ms) => this.driver.core.handleRoundTrip(peer, ms),
      log: (line) => this.log.warn(line)
    })
  }

  async #startProtocols(epoch: number): Promise<void> {
    this.exec = new ExecHome({
      now: () => this.clock.now(),
      openStream: async (peer, signal) => {
        const met = this.runs.meetingOf(peer)
        if (met) this.others.meetAgain(peer, met.name, met.meeting)
        const connection = await this.others.connectionTo(peer, signal)
        const stream = await this.node.openStream(connection, EXEC_PROTOCOL, signal)
        return new FrameStream(stream, { maxFrameBytes: EXEC_FRAME_BYTES_MAX })
      },
      urgent: (peer, urgent) => this.others.urgent(peer, urgent),
      closeConnection: (peer) => this.others.hangUp(peer, 'it was silent while a job ran there'),
      log: (line) => this.log.error(line)
    })
    this.#shown = this.#shownTrees()
    this.runs = new Runs(
      {
        self: this.peerId,
        name: this.name,
        now: () => this.clock.now(),
        nameOf: (peer) => this.nameOf(peer),
        class: () => this.#programsClass(),
        show: (showing) => this.#shown.use(showing),
        find: (name) => this.#find(name),
        meet: (peer, name, meeting) => this.others.meet(peer, name, meeting),
        unreachable: () => this.others.unreachable(),
        sleepers: (among) => this.#waking.sleepers(among),
        wake: (peer) => this.#waking.wake(peer),
        tooFar: (peer) => {
          const version = this.versionTooFar(peer)
          return version && tooFar(version)
        },
        paired: () => [...this.pairings.all()].some(({ state }) => state === 'paired'),
        coresMax: () => this.#coresMax(),
        speed: () => (this.benchmark.score.confidence === 'none' ? undefined : this.benchmark.score.speed),
        advice: (key) => this.learnt.advice(key, this.benchmark.score.speed),
        learn: (run) => this.learnt.learn(run),
        trusts: (target, meeting) => this.#trusts(target, meeting?.path[1]),
        used: (root, cpuMs) => this.#sampler.ended(root, cpuMs),
        began: (sent, key) => this.learnt.began(sent, key),
        over: (record) => this.jobOver(record),
        ended: (id) => {
          this.learnt.ended(id)
          this.handOver()
        }
      },
      this.driver,
      this.exec,
      this.history,
      this.#detached,
      this.log
    )
    this.#overlay = this.#overlayService(epoch)
    this.#sleep = new Sleep({
      exec: this.exec,
      guests: () => this.configuration.guests.keep_awake && this.guests.target.running > 0,
      log: this.log
    })
    const rights = ['own', 'friend', 'home'] as const
    await this.node.handle(EXEC_PROTOCOL, { rights, maxStreams: EXEC_STREAMS_MAX }, (stream, peer) =>
      this.guests.target.serve(peer, new FrameStream(stream, { maxFrameBytes: EXEC_FRAME_BYTES_MAX }))
    )
    await this.#serveFiles(rights)
    await this.#startOthers()
    await this.#overlay.start()
    await this.#neighbours.start()
    await this.runs.resume()
  }

  /** What other machines may ask beside jobs. */
  async #startOthers(): Promise<void> {
    this.pair = new PairService({
      node: this.node,
      store: this.pairings,
      name: this.name,
      onChange: (change) => this.#pairingChanged(change)
    })
    await this.pair.start()
    this.doctor = new Doctor(this, (peer, signal) => this.#neighbours.connectionTo(peer, signal))
    await this.doctor.start()
    await this.others.start()
    await this.#waking.start()
  }

  /** Of a target that is no neighbour whoever brought it must still be an own machine. */
  #trusts(target: PeerId, voucher: PeerId | undefined): boolean {
    if (this.pairings.get(target)?.state === 'paired') return true
    const pairing = voucher === undefined ? undefined : this.pairings.get(voucher)
    return pairing?.state === 'paired' && pairing.kind === 'own'
  }

  // ------------------------------------------------------------------------------------------------- neighbours

  #neighbourTooFar(peer: PeerId, version: string): void {
    if (this.#tooFar.get(peer) !== version) this.log.warn(`${this.nameOf(peer)} ${tooFar(version)}`)
    this.#tooFar.set(peer, version)
  }

  /** The version of a paired machine that is too far from this one's to work with it. */
  versionTooFar(peer: PeerId): string | undefined {
    return this.#tooFar.get(peer)
  }

  #neighbourUp(peer: PeerId, { name, version }: { name: string; version: string }): void {
    const kind = this.pairings.get(peer)?.kind ?? 'friend'
    this.#tooFar.delete(peer)
    this.#news.set(peer, { name: printable(name, NAME_LENGTH_MAX), version: printable(version, VERSION_LENGTH_MAX) })
    this.log.info('connected', { peer: this.nameOf(peer), via: this.peer(peer)?.via, version })
    this.driver.perform(this.driver.core.handleNeighbourUp(peer, { kind, name }, this.clock.now()))
    void this.#waking.tell(peer)
    this.exec.connected(peer)
    for (const target of this.runs.targetsMetThrough(peer)) this.exec.connected(target)
    this.#shown.connected(peer)
    this.guests.target.homeIsBack(peer)
    void this.runs.correctLost(peer)
  }

  #neighbourDown(peer: PeerId): void {
    this.log.info('disconnected', { peer: this.nameOf(peer) })
    this.#news.delete(peer)
    this.driver.perform(this.driver.core.handleNeighbourDown(peer, this.clock.now()))
  }

  #learnAddresses(peer: PeerId, addresses: string[]): void {
    const pairing = this.pairings.get(peer)
    if (!pairing) return
    this.pairings
      .put({ ...pairing, addresses })
      .catch((error) => this.log.error('the addresses of a peer could not be kept', error))
  }

  #pairingChanged(change: PairingChange): void {
    const { peerId } = change.pairing
    if (change.type === 'paired') {
      this.log.info('paired', { peer: this.nameOf(peerId), kind: change.pairing.kind })
      this.#gater.unban(peerId)
      this.pairings.keepBans(this.#gater.bans())
      this.#neighbours.add(peerId)
    } else {
      const why = change.why === 'unpaired' ? 'a person there ended it' : 'it was never confirmed there'
      this.log.warn(`the pairing ended: ${why}`, { peer: printable(change.pairing.name, NAME_LENGTH_MAX) })
      this.#forget(peerId)
    }
  }

  /** Ends a pairing at once: connections, tickets, its jobs here and ours there. */
  async unpair(peer: PeerId): Promise<{ told: boolean }> {
    // First: the news goes by a connection of its own, since those that are there are closed with all that they carry.
    this.#forget(peer)
    const told = await this.pair.unpair(peer)
    this.pairings.keepBans(this.#gater.bans())
    return { told }
  }

  #forget(peer: PeerId): void {
    const { effects, running } = this.driver.core.voidTicketsOf(peer, this.clock.now())
    this.driver.perform(effects)
    this.guests.target.endJobs(running, 'the pairing was ended')
    this.guests.target.distrust(peer, 'the pairing was ended')
    this.exec.drop(peer, 'the pairing with it was ended')
    this.#neighbours.remove(peer)
    this.#tooFar.delete(peer)
    this.others.distrust(peer)
    this.learnt.forgetPeer(peer)
    this.#figures.forget(peer)
  }

  /** A person changed what the peer is to this one: what rested on its being more ends. */
  async changeKind(pairing: Pairing): Promise<void> {
    const { peerId, kind } = pairing
    await this.pairings.put(pairing)
    const now = this.clock.now()
    if (kind === 'friend') {
      const { effects, running } = this.driver.core.voidTicketsOf(peerId, now)
      this.driver.perform(effects)
      this.guests.target.endJobs(running, 'who vouched for its home is not trusted there any more')
      this.others.distrust(peerId)
    }
    const news = this.#news.get(peerId)
    if (news) this.driver.perform(this.driver.core.handleNeighbourUp(peerId, { kind, name: news.name }, now))
  }

  peer(peer: PeerId): PeerNews | undefined {
    const news = this.#news.get(peer)
    // One of several connections may be dead and not yet noticed: the one that is used counts.
    const connection = this.#neighbours.current(peer)
    return news && { ...news, via: connection?.remoteAddr.toString(), traffic: connection && trafficOf(connection) }
  }

  /** What a person calls that peer. */
  nameOf(peer: PeerId): string {
    if (peer === this.peerId) return this.name
    const name =
      this.pairings.get(peer)?.name ??
      this.#news.get(peer)?.name ??
      this.driver?.core.nameOf(peer) ??
      this.others?.nameOf(peer)
    return name === undefined ? peer.slice(-8) : printable(name, NAME_LENGTH_MAX)
  }

  /** A paired peer first, else one that others tell of. Throws UnknownPeerError, AmbiguousNameError. */
  #find(name: string): PeerId {
    if (name === this.name || name === this.peerId) return this.peerId
    try {
      return this.pairings.find(name).peerId
    } catch (error) {
      const { reachable } = this.driver.core.view(this.clock.now())
      const [found, another] = reachable.filter((peer) => peer.name === name || peer.peer === name)
      if (found === undefined || !isKappaError(error) || error.name !== 'UnknownPeerError') throw error
      if (another === undefined) return found.peer
      const ids = `${found.peer} and ${another.peer}`
      throw new KappaError('AmbiguousNameError', `"${printable(name)}" may be ${ids}; give the peer ID`)
    }
  }

  /** What a machine must be to run this one's programs. */
  #programsClass(): { os: string; arch: string } {
    const { os, arch } = this.owner.rules.class
    return { os, arch }
  }

  #coresMax(): number {
    const { self, reachable } = this.driver.core.view(this.clock.now())
    return Math.max(self.record.cores, ...reachable.map(({ record }) => record.cores))
  }

  // -------------------------------------------------------------------------------------------------- lifecycle

  configure(configuration: Configuration): void {
    this.configuration = configuration
    this.log.configure(configuration.log)
    void this.#metrics.configure(configuration.metrics.listen)
    this.driver.core.setMetricPolicy(configuration.metric.policy)
    const { strategy, information } = this.#placing()
    this.driver.perform(this.driver.core.setStrategy(strategy, information, this.clock.now()))
    this.owner.configure(configuration)
    this.guests.configure(configuration)
    this.learnt.configure(configuration.learn)
  }

  /** A client of another version: when it is newer, its daemon takes over as soon as no job lives. */
  #noticeVersion(request: ControlRequest): void {
    if (request.launcher && isNewer(request.version, VERSION)) this.#givingWay.to(request.launcher, request.version)
    setImmediate(() => this.handOver())
  }

  /** Starts anew in its own place when no job needs it, for what is only looked at then. */
  renew(): void {
    const launcher = process.env.KAPPA_LAUNCHER
    if (launcher === undefined) return
    this.#givingWay.anew(launcher)
    this.handOver()
  }

  /** Called whenever the last job may have ended. */
  handOver(): void {
    this.#givingWay.check()
  }

  /** Ends as soon as no job needs it, or at once; what needs it now. */
  leave(now: boolean): Needing {
    const needing = this.#needing()
    // Not before it is answered.
    setImmediate(() => {
      if (now) return this.#onLeave(undefined)
      this.#givingWay.leave()
      this.handOver()
    })
    return needing
  }

  #needing(): Needing {
    const { running, held } = this.guests.target
    return { homes: this.runs.live, guests: running, unfetched: held - running }
  }

  #startGivingWay(): GivingWay {
    const launcher = process.env.KAPPA_LAUNCHER
    const versionFile = new URL('./kappa-client.version', import.meta.url)
    return new GivingWay({
      log: this.log,
      needing: () => this.#needing(),
      refuse: (reason) => this.owner.leave(reason),
      onIdle: this.#onLeave,
      ...(launcher !== undefined && !import.meta.url.endsWith('.ts') && { installed: { versionFile, launcher } })
    })
  }

  /** Ends everything that was started, in reverse; jobs of others end with it. */
  async stop({ keepLock = false } = {}): Promise<void> {
    this.#stopping.abort()
    this.#givingWay?.stop()
    await this.#control?.close()
    await this.#metrics.close()
    await this.page.close()
    await this.pair?.stop()
    this.#neighbours?.stop()
    this.others?.stop()
    this.#waking?.stop()
    this.#overlay?.stop()
    this.#sleep?.stop()
    this.exec?.close()
    await this.runs?.stop()
    await this.#shown?.close()
    await this.guests?.close()
    clearInterval(this.#figuresTimer)
    this.driver?.stop()
    this.owner?.stop()
    await this.node?.stop()
    this.#gater?.stop()
    this.history?.close()
    await this.learnt?.stop()
    if (!keepLock) this.#lock?.release()
  }
}

/** The port that was listened on last goes before the configured default, so that what the peers remember stays true. */
function withPort(listen: string[], port: number | undefined): string[] {
  if (port === undefined) return listen
  return listen.map((address) => address.replace(/\/tcp\/(?:5277|0)$/, `/tcp/${port}`))
}

/** Whether a program of that name is where guests look for programs. */
function hasTool(name: string): boolean {
  if (!/^[\w.+-]{1,64}$/.test(name)) return false
  return GUEST_PATH.some((directory) => {
    const path = join(directory, name)
    try {
      accessSync(path, constants.X_OK)
      return statSync(path).isFile()
    } catch {
      return false
    }
  })
}

const GUEST_PATH = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin']

/** Versions as `1.2.3`; anything else is not newer. */
function isNewer(version: string, than: string): boolean {
  const parts = (text: string) => /^(\d+)\.(\d+)\.(\d+)$/.exec(text)?.slice(1).map(Number)
  const [a, b] = [parts(version), parts(than)]
  if (!a || !b) return false
  const index = a.findIndex((part, position) => part !== b[position])
  return index >= 0 && a[index]! > b[index]!
}

/** Of files there may be more under way than of other streams, where the network is that fast. */
const FILE_WINDOW_BYTES_MAX = 4 * 1024 * 1024

function fileFrames(stream: Stream): FrameStream {
  windowByHalves(stream, MAX_STREAM_WINDOW_BYTES, FILE_WINDOW_BYTES_MAX)
  return new FrameStream(stream, { maxFrameBytes: FILE_STREAM_BYTES_MAX })
}
