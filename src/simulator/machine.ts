/**
 * The physics of one machine: processor sharing in two classes, or in one where guests are equals. The owner's tasks and
 * home's own jobs share the cores fairly; guests run at the lowest priority, get what is left, or next to nothing where
 * nothing is left, and share that among themselves. A job that can use d cores weighs and gets at most d, so all jobs of a
 * class go equally fast for each core that they can use; which is what `share()` of the core says that a newcomer finds.
 * Kappa's own work comes before all of them: it is short, and who slept is served first.
 */

import { Heap } from './heap.ts'

export interface MachineSpec {
  cores: number
  /** Work done by one core in one ms, relative to the reference machine. */
  speed: number
  memoryBytes: number
  /** Cores that guests may hold at once. */
  slots: number
  /** Guests share the cores with everything else as equals; else they get what is left. */
  guestsAreEquals?: boolean
  /** It tells others that it is so many times as fast as it is, and that their jobs used that much less; it knows better. */
  lies?: number
  /** Its benchmark was wrong: it believes that it is so many times as fast as it is. */
  misjudges?: number
  /** What kappa itself takes of it; nothing unless given, for it is little beside a whole core. */
  costs?: Costs
}

/** What a machine says of its speed. */
export function saidSpeed({ speed, lies = 1, misjudges = 1 }: MachineSpec): number {
  return speed * lies * misjudges
}

/** CPU time of the daemon, the client and the sandbox. */
export interface Costs {
  /** Cores, all the time. */
  daemon: number
  /** ms for each job that its home places. */
  placed: number
  /** More of it for one that goes elsewhere. */
  shipped: number
  /** ms for each guest. */
  guest: number
}

export interface Work {
  id: string
  /** Cores that it can use at once. */
  demand: number
  /** ms that it would take one core of the reference machine. */
  workMs: number
}

interface Running {
  id: string
  demand: number
  /** It ends when so much was done for each core of its class. */
  endsAtServed: number
  gone: boolean
}

/** Part of the cores that guests get beside any number of others: their cgroup weighs 20 beside 1024. */
const GUESTS_LEAST = 0.02

/** What is left when it should be nothing, for want of precision, in ms of work. */
const ROUNDING_MS = 1e-6

/** Jobs that go equally fast. */
class PriorityClass {
  /** Bounded by who admits jobs. */
  readonly #jobs = new Map<string, Running>()
  readonly #byEnd = new Heap<Running>((a, b) => a.endsAtServed < b.endsAtServed)
  demand = 0
  /** Work done so far for a job that can use one core. */
  #served = 0
  /** Work per ms now for a job that can use one core. */
  rate = 0

  get size(): number {
    return this.#jobs.size
  }

  advance(ms: number): void {
    this.#served += this.rate * ms
  }

  add({ id, demand, workMs }: Work): void {
    if (this.#jobs.has(id)) throw new Error(`${id} runs already`)
    const job = { id, demand, endsAtServed: this.#served + workMs / demand, gone: false }
    this.#jobs.set(id, job)
    this.#byEnd.push(job)
    this.demand += demand
  }

  remove(id: string): void {
    const job = this.#jobs.get(id)
    if (job === undefined) return
    this.#jobs.delete(id)
    job.gone = true
    this.demand = this.#jobs.size === 0 ? 0 : this.demand - job.demand
  }

  /** The job that is to end first, and in how many ms if nothing changes. */
  next(): { id: string; inMs: number } | undefined {
    let first = this.#byEnd.peek()
    while (first?.gone) {
      this.#byEnd.pop()
      first = this.#byEnd.peek()
    }
    if (first === undefined) return undefined
    const left = first.endsAtServed - this.#served
    return { id: first.id, inMs: left <= ROUNDING_MS ? 0 : left / this.rate }
  }
}

export class Machine {
  readonly spec: MachineSpec
  readonly #home = new PriorityClass()
  readonly #guests = new PriorityClass()
  #owner = 0
  #now = 0
  #ownerUsed = 0
  #slowness = 1
  /** ms of all cores until kappa's own work is done; till then no job goes on. */
  #heldUpMs = 0
  /** Part of what it can use that each task at normal priority gets. */
  #normal = 1

  constructor(spec: MachineSpec) {
    this.spec = spec
  }

  /** So many times slower than it was measured, from now on: it got too hot. */
  slowDown(times: number, now: number): void {
    this.#advance(now)
    this.#slowness = times
    this.#share()
  }

  /** Work done by one core in one ms now. */
  get speed(): number {
    return this.spec.speed / this.#slowness
  }

  /** Cores that the owner's tasks could use. */
  get owner(): number {
    return this.#owner
  }

  /** Cores that the owner's tasks use. */
  get ownerUses(): number {
    return this.#owner * this.#normal
  }

  /** ms of cores that all but kappa's jobs have used since the start: the owner's tasks, and kappa itself. */
  ownerUsedMs(now: number): number {
    this.#advance(now)
    return this.#ownerUsed
  }

  /** Kappa itself needs so much CPU time now, ms. */
  spend(cpuMs: number, now: number): void {
    this.#advance(now)
    this.#heldUpMs += cpuMs / this.spec.cores
  }

  get guestDemand(): number {
    return this.#guests.demand
  }

  setOwner(tasks: number, now: number): void {
    this.#advance(now)
    this.#owner = tasks
    this.#share()
  }

  start(work: Work, kind: 'home' | 'guest', now: number): void {
    this.#advance(now)
    this.#classOf(kind).add(work)
    this.#share()
  }

  /** It was killed, or its end was seen. */
  remove(id: string, kind: 'home' | 'guest', now: number): void {
    this.#advance(now)
    this.#classOf(kind).remove(id)
    this.#share()
  }

  /** Which job ends next and when, if nothing changes. */
  nextEnd(): { id: string; kind: 'home' | 'guest'; at: number } | undefined {
    const home = this.#home.next()
    const guest = this.#guests.next()
    if (home === undefined && guest === undefined) return undefined
    const homeFirst = guest === undefined || (home !== undefined && home.inMs <= guest.inMs)
    const { id, inMs } = homeFirst ? home! : guest
    return { id, kind: homeFirst ? 'home' : 'guest', at: this.#now + this.#heldUpMs + inMs }
  }

  #classOf(kind: 'home' | 'guest'): PriorityClass {
    return kind === 'home' ? this.#home : this.#guests
  }

  #advance(now: number): void {
    if (now <= this.#now) return
    const { cores, costs } = this.spec
    const heldUp = Math.min(this.#heldUpMs, now - this.#now)
    const ms = now - this.#now - heldUp
    this.#heldUpMs -= heldUp
    this.#home.advance(ms)
    this.#guests.advance(ms)
    this.#ownerUsed += (this.ownerUses + (costs?.daemon ?? 0)) * ms + cores * heldUp
    this.#now = now
  }

  #share(): void {
    const { guestsAreEquals = false, costs } = this.spec
    const { speed } = this
    const cores = this.spec.cores - (costs?.daemon ?? 0)
    const guests = this.#guests.demand
    const normal = this.#owner + this.#home.demand + (guestsAreEquals ? guests : 0)
    const left = Math.max(cores - normal, cores * GUESTS_LEAST)
    const forNormal = guestsAreEquals ? cores : cores - Math.min(left, guests)
    this.#normal = normal > forNormal ? forNormal / normal : 1
    this.#home.rate = speed * this.#normal
    this.#guests.rate = guestsAreEquals ? this.#home.rate : speed * (guests > left ? left / guests : 1)
  }
}
