/** One peer: its core, the machine below it, its own clock, and the daemon's part of driving the core. */

import type { Effect, PeerId } from '../core/types.ts'
import { LoadSampler } from './load-sampler.ts'
import { type Costs, Machine, type MachineSpec, type Work } from './machine.ts'
import type { SimulatedCore } from './simulated-core.ts'
import type { VirtualTime } from './virtual-time.ts'

/** The load is sampled this often, and when the core asks. */
const SAMPLE_MS = 1_000
/** Reading it takes so long. */
const SAMPLING_MS = 1
/** A core that is due again and again without time going on never comes to an end. */
const MAX_SPINS = 1_000
/** What the two directions of converting a time may differ by, ms. */
const ROUNDING_MS = 1e-6

/** A clock of its own: where it starts, and how fast it goes beside the true one. */
export interface PeerClock {
  offsetMs: number
  rate: number
}

/** What happens to a peer: an event for its core, and what the core wants done then. */
type PeerStep = (core: SimulatedCore, now: number) => Effect[] | undefined

export interface Guest {
  jobId: string
  home: number
  /** Which life of home started it. */
  homeEpoch: number
  /** Slots that it holds. */
  wanted: number
  /** When home was heard last, by the peer's clock. */
  heardAt: number
}

export interface PeerHost {
  carryOut(peer: SimulatedPeer, effect: Effect): void
  /** A job on its machine came to its end; `id` as it was started. */
  workDone(peer: SimulatedPeer, id: string, kind: 'home' | 'guest'): void
  /** After each step of its core. */
  stepped(peer: SimulatedPeer): void
  fail(what: string): never
}

export class SimulatedPeer {
  readonly id: PeerId
  readonly index: number
  readonly machine: Machine
  readonly sampler: LoadSampler
  core: SimulatedCore
  epoch = 1
  state: 'up' | 'muted' | 'down' = 'up'
  /** Rises whenever `state` changes. */
  change = 0
  /** Running guests by ticket; bounded by the slots. */
  readonly guests = new Map<string, Guest>()
  /** Own jobs that run here, by id. */
  readonly homeJobs = new Set<string>()
  /** Homes that are no neighbours and may connect to run their jobs; bounded by the slots. */
  readonly admitted = new Set<PeerId>()
  readonly #time: VirtualTime
  readonly #clock: PeerClock
  readonly #host: PeerHost
  /** What waits for a muted peer to go on; its connections are given up soon, so it is little. */
  #inbox: PeerStep[] = []
  #last = Number.NEGATIVE_INFINITY
  #timerAt = Number.POSITIVE_INFINITY
  #endAt = Number.POSITIVE_INFINITY
  #spins = 0
  #spunAt = -1

  constructor(
    place: { id: PeerId; index: number; spec: MachineSpec; clock: PeerClock },
    core: SimulatedCore,
    time: VirtualTime,
    host: PeerHost
  ) {
    this.id = place.id
    this.index = place.index
    this.machine = new Machine(place.spec)
    this.sampler = new LoadSampler(this.machine)
    this.core = core
    this.#clock = place.clock
    this.#time = time
    this.#host = host
  }

  /** By its own clock, which never goes back. */
  get now(): number {
    const { offsetMs, rate } = this.#clock
    this.#last = Math.max(this.#last, offsetMs + rate * this.#time.now)
    return this.#last
  }

  /** The true time at which its clock will show `own`. */
  trueTime(own: number): number {
    return (own - this.#clock.offsetMs) / this.#clock.rate
  }

  /** Whatever comes to this peer: now, when it goes on, or never, if it is down or was started anew by then. */
  act(step: PeerStep): void {
    if (this.state === 'up') this.#run(step)
    else if (this.state === 'muted') this.#inbox.push(step)
  }

  #run(step: PeerStep): void {
    const effects = step(this.core, this.now)
    if (effects !== undefined) for (const effect of effects) this.#host.carryOut(this, effect)
    this.#arm()
    this.#host.stepped(this)
  }

  // --------------------------------------------------------------------------------------------------- life

  /** Begins to sample; `core` is the one of this epoch. */
  start(core: SimulatedCore, epoch: number): void {
    this.core = core
    this.epoch = epoch
    this.state = 'up'
    this.change++
    this.#timerAt = Number.POSITIVE_INFINITY
    this.#sampleRegularly(epoch)
  }

  /** The machine goes off with everything on it. */
  crash(): void {
    this.state = 'down'
    this.change++
    this.#inbox = []
    for (const ticket of this.guests.keys()) this.machine.remove(ticket, 'guest', this.#time.now)
    for (const id of this.homeJobs) this.machine.remove(id, 'home', this.#time.now)
    this.guests.clear()
    this.homeJobs.clear()
    this.admitted.clear()
  }

  /** The daemon is stopped; what it started runs on. */
  mute(): void {
    this.state = 'muted'
    this.change++
  }

  resume(): void {
    this.state = 'up'
    this.change++
    const waiting = this.#inbox
    this.#inbox = []
    for (const step of waiting) this.#run(step)
    this.act((core, now) => core.handleTimer(now))
  }

  sample(): void {
    this.#time.after(SAMPLING_MS, () => this.act((core, now) => core.handleSample(this.#reading(), now)))
  }

  #sampleRegularly(epoch: number): void {
    if (this.epoch !== epoch || this.state === 'down') return
    if (this.state === 'up') this.act((core, now) => core.handleSample(this.#reading(), now))
    this.#time.after(SAMPLE_MS / this.#clock.rate, () => this.#sampleRegularly(epoch))
  }

  #reading() {
    return this.sampler.take(this.#time.now)
  }

  // ------------------------------------------------------------------------------------------------- machine

  run(work: Work, kind: 'home' | 'guest'): void {
    this.machine.start(work, kind, this.#time.now)
    this.watchMachine()
  }

  /** Kappa itself works: nothing ends earlier by it. */
  spend(what: keyof Omit<Costs, 'daemon'>): void {
    const { costs } = this.machine.spec
    if (costs !== undefined) this.machine.spend(costs[what], this.#time.now)
  }

  /** Ends it before its time. */
  kill(id: string, kind: 'home' | 'guest'): void {
    this.machine.remove(id, kind, this.#time.now)
    this.watchMachine()
  }

  /** After whatever may bring the next end nearer. */
  watchMachine(): void {
    const next = this.machine.nextEnd()
    if (next === undefined || next.at >= this.#endAt) return
    const { at } = next
    this.#endAt = at
    this.#time.at(at, () => {
      if (this.#endAt !== at) return
      this.#endAt = Number.POSITIVE_INFINITY
      this.#reap()
    })
  }

  #reap(): void {
    const { now } = this.#time
    for (;;) {
      const next = this.machine.nextEnd()
      if (next === undefined || next.at > now + ROUNDING_MS) break
      this.machine.remove(next.id, next.kind, now)
      this.#host.workDone(this, next.id, next.kind)
    }
    this.watchMachine()
  }

  // -------------------------------------------------------------------------------------------------- timers

  #arm(): void {
    const due = this.core.nextTimer()
    if (due === undefined) return
    const at = Math.max(this.#time.now, this.trueTime(due))
    if (at >= this.#timerAt) return
    this.#timerAt = at
    const { epoch } = this
    this.#time.at(at, () => {
      if (this.epoch !== epoch || this.#timerAt !== at) return
      this.#timerAt = Number.POSITIVE_INFINITY
      if (this.state === 'up') this.#due()
    })
  }

  #due(): void {
    const due = this.core.nextTimer()
    if (due === undefined || due > this.now + ROUNDING_MS) {
      this.#arm()
      return
    }
    this.#last = Math.max(this.#last, due)
    this.#spins = this.#spunAt === this.#time.now ? this.#spins + 1 : 0
    this.#spunAt = this.#time.now
    if (this.#spins > MAX_SPINS) this.#host.fail(`${this.id} is due again and again at ${due}`)
    this.act((core, now) => core.handleTimer(now))
  }
}
