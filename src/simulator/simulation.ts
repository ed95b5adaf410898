/** Many peers on one virtual network and clock: puts the parts together and carries out what the cores want done. */

import { Learning } from '../core/learning.ts'
import type { PeerCoreInit } from '../core/peer-core.ts'
import type { Effect, OverlayMessage, OwnerRules, PairingKind, PeerId } from '../core/types.ts'
import { Checker } from './checker.ts'
import { Execution } from './execution.ts'
import type { MachineSpec } from './machine.ts'
import { type LinkQuality, Network } from './network.ts'
import { between, type Random, randomFrom, seedFor } from './random.ts'
import type { Oracle, SimulatedCore, Strategy } from './simulated-core.ts'
import { type PeerClock, SimulatedPeer } from './simulated-peer.ts'
import { type Edge, hopsBetween } from './topology.ts'
import { Transcript } from './transcript.ts'
import type { Order, UserJob } from './user-job.ts'
import { VirtualTime } from './virtual-time.ts'

/** Peers come up within this time, ms, so that their timers don't beat together. */
const BOOT_MS = 1_000
/** What a leaving peer still says gets out in this time, ms. */
const LEAVING_MS = 50
/** After the last outcome, until holds and tickets that nobody uses are over, ms. */
const SETTLE_MS = 30_000

export interface SimulationInit {
  seed: number
  /** What else a run depends on, for the message of a failure: `--topology ring …`. */
  label?: string
  machines: readonly MachineSpec[]
  edges: readonly Edge[]
  /** Those of the edges that pair the machines of different persons; none if left out. */
  friends?: readonly Edge[]
  quality: LinkQuality
  strategy: Strategy
  /** Each clock is wrong by up to this part, and starts anywhere. */
  clockDrift: number
  /** ms after which an unanswered start is resolved. */
  startTimeoutMs: number
  /** ms that a guest's command starts later than one at home; none unless given. */
  guestStartMs?: number
  /** Peers that come later than the others, and when, ms. */
  joinsAt?: ReadonlyMap<number, number>
  /** A user learnt what became of a job. */
  over?: (job: UserJob) => void
}

export type MessageType = OverlayMessage['type']

export class Simulation {
  readonly time = new VirtualTime()
  readonly network: Network
  readonly peers: readonly SimulatedPeer[]
  readonly execution: Execution
  readonly checker: Checker
  readonly transcript: Transcript
  /** Overlay messages that were sent to connected neighbours. */
  readonly messages: Record<MessageType, number> = {
    advertisement: 0,
    probe: 0,
    'probe-reply': 0,
    release: 0,
    pull: 0,
    'paper-metric': 0,
    'paper-probe': 0,
    'paper-reply': 0
  }
  /** Both directions of all pairings. */
  readonly neighbourCount: number
  readonly #init: SimulationInit
  readonly #coreRandom: Random
  /** Of each peer, kept over its restarts. */
  readonly #learnings: readonly Learning[]
  readonly #indexOf: Map<PeerId, number>
  readonly #oracle: Oracle
  /** Both directions of the pairings of friends. */
  readonly #friends: ReadonlySet<string>
  #ids = 0

  constructor(init: SimulationInit) {
    this.#init = init
    const { seed, machines, edges, quality, strategy } = init
    const random = randomFrom(seedFor(seed, 'network'))
    this.#coreRandom = randomFrom(seedFor(seed, 'cores'))
    this.transcript = new Transcript(this.time)
    this.checker = new Checker(`${seed}${init.label === undefined ? '' : ` (${init.label})`}`, this.transcript)
    this.#indexOf = new Map(machines.map((_, index) => [nameOf(index), index]))
    this.#friends = new Set((init.friends ?? []).flatMap(([a, b]) => [`${a} ${b}`, `${b} ${a}`]))
    const hops = hopsBetween(machines.length, edges)
    this.#oracle = {
      hops: (from, to) => hops[this.#indexOf.get(from)!]![this.#indexOf.get(to)!]!,
      members: () => this.peers.filter(({ state }) => state === 'up').map(({ id }) => id),
      truth: (peer) => this.#peer(peer).sampler.truth(),
      sample: (peer) => this.#peer(peer).sampler.take(this.time.now),
      now: (peer) => this.#peer(peer).now,
      core: (peer) => this.#peer(peer).core
    }
    this.#learnings = machines.map(({ lies }) => (lies === undefined ? new Learning() : new KnowsBetter(lies)))
    const clocks = randomFrom(seedFor(seed, 'clocks'))
    this.peers = machines.map((spec, index) => this.#createPeer(spec, index, this.#clock(clocks)))
    const everybody = strategy.membership === 'everybody'
    this.network = new Network(this.time, random, this.#networkHost(), {
      peers: machines.length,
      edges,
      quality,
      everybody
    })
    this.neighbourCount = everybody ? machines.length * (machines.length - 1) : 2 * edges.length
    this.execution = new Execution({
      time: this.time,
      random,
      network: this.network,
      peers: this.peers,
      checker: this.checker,
      transcript: this.transcript,
      startTimeoutMs: init.startTimeoutMs,
      guestStartMs: init.guestStartMs ?? 0,
      kindOf: (a, b) => this.#kindOf(a, b),
      learningOf: (peer) => this.#learnings[peer]!,
      over: (job) => init.over?.(job)
    })
    for (const peer of this.peers) {
      this.time.at(init.joinsAt?.get(peer.index) ?? between(random, 0, BOOT_MS), () => this.#boot(peer, 1))
    }
  }

  submit(order: Order): UserJob {
    return this.execution.submit(order)
  }

  /** Until every job has its outcome, or the time is over. Then everything must be back to rest. */
  runToEnd(deadlineMs: number): void {
    this.time.runUntil(deadlineMs, () => this.execution.open === 0)
    this.time.runUntil(this.time.now + SETTLE_MS)
    this.checker.quiet(this.peers, this.execution.jobs.values())
  }

  get jobs(): Iterable<UserJob> {
    return this.execution.jobs.values()
  }

  // ------------------------------------------------------------------------------------------------------- faults

  /** The machine goes off, with all that runs on it, and comes back under a new epoch; never, if infinite. */
  crash(index: number, forMs: number): void {
    const peer = this.peers[index]!
    if (peer.state === 'down') return
    this.transcript.record('crashes', peer.id)
    peer.crash()
    this.network.died(index)
    this.execution.died(peer)
    if (Number.isFinite(forMs)) this.time.after(forMs, () => this.#boot(peer, peer.epoch + 1))
  }

  /** Its owner ends it: guests are ended in order, and it never comes back. */
  leave(index: number): void {
    const peer = this.peers[index]!
    if (peer.state !== 'up') return
    this.transcript.record('leaves', peer.id)
    this.execution.endGuests(peer)
    this.time.after(LEAVING_MS, () => this.crash(index, Number.POSITIVE_INFINITY))
  }

  /** The daemon stands still; nobody is told. */
  mute(index: number, forMs: number): void {
    const peer = this.peers[index]!
    if (peer.state !== 'up') return
    this.transcript.record('stands still', peer.id)
    peer.mute()
    const { change } = peer
    this.network.muted(index, () => peer.change === change)
    this.time.after(forMs, () => {
      if (peer.change !== change) return
      this.transcript.record('goes on', peer.id)
      peer.resume()
      this.network.runs(index)
    })
  }

  /** The owner's word: `refuses` says why no guest is taken. */
  setLending(index: number, refuses: string | undefined): void {
    const peer = this.peers[index]!
    const rules = rulesOf(peer.machine.spec, refuses)
    peer.act((core, now) => core.setRules(rules, now))
  }

  slowDown(index: number, times: number): void {
    const peer = this.peers[index]!
    peer.machine.slowDown(times, this.time.now)
    peer.watchMachine()
  }

  setOwner(index: number, tasks: number): void {
    const peer = this.peers[index]!
    peer.machine.setOwner(tasks, this.time.now)
    peer.watchMachine()
  }

  // -------------------------------------------------------------------------------------------------------- peers

  #peer(id: PeerId): SimulatedPeer {
    return this.peers[this.#indexOf.get(id)!]!
  }

  #kindOf(a: number, b: number): PairingKind {
    return this.#friends.has(`${a} ${b}`) ? 'friend' : 'own'
  }

  #clock(random: Random): PeerClock {
    const { clockDrift } = this.#init
    if (clockDrift === 0) return { offsetMs: 0, rate: 1 }
    return { offsetMs: between(random, 0, 1e7), rate: 1 + between(random, -clockDrift, clockDrift) }
  }

  #createPeer(spec: MachineSpec, index: number, clock: PeerClock): SimulatedPeer {
    const peer: SimulatedPeer = new SimulatedPeer(
      { id: nameOf(index), index, spec, clock },
      this.#createCore(index, spec, 1),
      this.time,
      {
        carryOut: (from, effect) => this.#carryOut(from, effect),
        workDone: (at, id, kind) => this.execution.workDone(at, id, kind),
        stepped: (stepped) => this.checker.stepped(stepped),
        fail: (what) => this.checker.fail(what)
      }
    )
    peer.state = 'down'
    return peer
  }

  #createCore(index: number, spec: MachineSpec, epoch: number): SimulatedCore {
    const init: PeerCoreInit = {
      self: nameOf(index),
      name: nameOf(index),
      epoch,
      metricPolicy: 'product',
      rules: rulesOf(spec, undefined),
      random: this.#coreRandom,
      newId: () => (++this.#ids).toString(16).padStart(32, '0'),
      hasTool: () => true,
      banned: () => false,
      addresses: () => [],
      learning: this.#learnings[index]!
    }
    return this.#init.strategy.create(init, this.#oracle)
  }

  #boot(peer: SimulatedPeer, epoch: number): void {
    if (peer.state !== 'down') return
    this.transcript.record('starts', peer.id)
    peer.start(epoch === 1 ? peer.core : this.#createCore(peer.index, peer.machine.spec, epoch), epoch)
    this.network.runs(peer.index)
  }

  #admits(listener: number, dialler: number): boolean {
    return this.peers[listener]!.admitted.has(nameOf(dialler))
  }

  #networkHost() {
    return {
      stateOf: (index: number) => this.peers[index]!.state,
      admits: (one: number, other: number) => this.#admits(one, other) || this.#admits(other, one),
      connected: (side: number, other: number, neighbours: boolean) => {
        const peer = this.peers[side]!
        const far = this.peers[other]!
        this.transcript.record('is connected', peer.id, far.id)
        if (neighbours) {
          peer.act((core, now) => {
            const effects = core.handleNeighbourUp(far.id, { kind: this.#kindOf(side, other), name: far.id }, now)
            core.handleRoundTrip(far.id, 2 * this.network.delayMs(side, other))
            return effects
          })
        }
        this.execution.connected(peer, far)
      },
      disconnected: (side: number, other: number, neighbours: boolean) => {
        const peer = this.peers[side]!
        const far = this.peers[other]!
        this.transcript.record('is disconnected', peer.id, far.id)
        if (neighbours) peer.act((core, now) => core.handleNeighbourDown(far.id, now))
        this.execution.disconnected(peer, far)
      }
    }
  }

  // ------------------------------------------------------------------------------------------------------ effects

  #carryOut(peer: SimulatedPeer, effect: Effect): void {
    if (effect.type === 'sample') peer.sample()
    else if (effect.type === 'admit') peer.admitted.add(effect.home)
    else if (effect.type === 'dismiss') peer.admitted.delete(effect.home)
    else if (effect.type !== 'send') this.execution.decided(peer, effect)
    else {
      const { message } = effect
      const to = this.#indexOf.get(effect.to)!
      if (!this.network.isNeighbour(peer.index, to)) return
      this.checker.sent(peer.id, effect.to, message)
      if (!this.network.stands(peer.index, to)) return
      this.messages[message.type]++
      if ('id' in message) this.transcript.record(`${message.type} ${message.id}`, peer.id, effect.to)
      else this.transcript.routine(message.type, peer.id, effect.to)
      this.network.send(peer.index, to, () =>
        this.peers[to]!.act((core, now) => core.handleMessage(peer.id, message, now))
      )
    }
  }
}

/** Of one that lies to others about its speed, but not to itself. */
class KnowsBetter extends Learning {
  readonly #lies: number

  constructor(lies: number) {
    super()
    this.#lies = lies
  }

  override trustHere(now: number): number {
    return super.trustHere(now) / this.#lies
  }
}

function nameOf(index: number): PeerId {
  return `p${index}`
}

function rulesOf(spec: MachineSpec, refuses: string | undefined): OwnerRules {
  return {
    slots: spec.slots,
    memoryFloor: 0,
    labels: [],
    class: { os: 'linux', arch: 'x64', cpuLevel: 3, pageSize: 4096, modes: ['plain', 'staged'] },
    homeSlots: spec.cores,
    forward: 8,
    ...(refuses === undefined ? {} : { refuses })
  }
}
