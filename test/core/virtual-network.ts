/**
 * A tiny network of cores over a virtual clock: messages are delayed, overtake each other, come twice or not at all, links are
 * cut and come back, peers restart under a new epoch. Home's side and the target's side of running a job are played by the
 * rules of the core; a process is nothing but a count, so that running twice is seen.
 */

import { type HomeAction, type HomeEvent, HomeJob } from '../../src/core/home-job.ts'
import { slotsWanted } from '../../src/core/needs.ts'
import { PeerCore } from '../../src/core/peer-core.ts'
import type { Effect, JobEnd, OverlayMessage, PeerId, PlaceRequest, Ticket } from '../../src/core/types.ts'
import { rules, sample } from './scenario.ts'

const END: JobEnd = { exitCode: 0, signal: null }
/** Short beside STALL_MS and the life of a ticket, so that a resolve may overtake the start. */
const START_TIMEOUT_MS = 300
/** What may still be on its way on an old connection comes this late. */
const STALL_MS = 1_500
const LOST_AFTER_MS = 13_000

export interface Faults {
  seed: number
  /** Chances of 0..1 for each message. */
  loss: number
  duplication: number
  maxDelayMs: number
  /** Cuts of random links, and restarts of random peers, over the time of the workload. */
  cuts: number
  restarts: number
}

export type Outcome = 'exited' | 'lost' | 'unplaceable' | 'cancelled'

/** One command of a user, wherever it runs. */
export interface UserJob {
  id: string
  home: PeerId
  request: PlaceRequest
  durationMs: number
  /** Processes ever started for it. */
  runs: number
  outcomes: Outcome[]
  ticket?: Ticket
  rules?: HomeJob
}

interface Peer {
  id: PeerId
  core: PeerCore
  epoch: number
  slots: number
  /** Running guests: the cores that they hold, by ticket. */
  guests: Map<string, { home: PeerId; wanted: number; job: UserJob }>
}

interface Link {
  up: boolean
  /** Counts connections: what is under way on an old one never reaches home. */
  serial: number
}

/** Small, fast and good enough: mulberry32. */
export function randomFrom(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

export class VirtualNetwork {
  readonly peers = new Map<PeerId, Peer>()
  readonly jobs: UserJob[] = []
  /** What must never be; empty at the end. */
  readonly violations: string[] = []
  now = 0
  readonly #random: () => number
  readonly #faults: Faults
  readonly #links = new Map<string, Link>()
  readonly #events: { at: number; order: number; run: () => void }[] = []
  #order = 0
  #faultless = false

  constructor(faults: Faults, peers: { id: PeerId; slots: number; cores: number }[]) {
    this.#faults = faults
    this.#random = randomFrom(faults.seed)
    for (const { id, slots, cores } of peers) {
      const peer: Peer = { id, core: this.#core(id, 1, slots), epoch: 1, slots, guests: new Map() }
      this.peers.set(id, peer)
      this.#sampleRegularly(id, cores)
    }
    for (const a of this.peers.keys()) for (const b of this.peers.keys()) if (a < b) this.#connect(a, b)
  }

  random(below: number): number {
    return this.#random() * below
  }

  at(time: number, run: () => void): void {
    const event = { at: Math.max(this.now, time), order: this.#order++, run }
    let low = 0
    let high = this.#events.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#events[middle]!.at > event.at) low = middle + 1
      else high = middle
    }
    this.#events.splice(low, 0, event)
  }

  runUntil(time: number): void {
    for (;;) {
      const next = this.#events.at(-1)
      if (next === undefined || next.at > time) break
      this.#events.pop()
      this.now = next.at
      next.run()
      this.#check()
    }
    this.now = time
  }

  /** From here on nothing goes wrong any more. */
  heal(): void {
    this.#faultless = true
    for (const [key, link] of this.#links) {
      const [a, b] = key.split(' ') as [PeerId, PeerId]
      if (!link.up) this.#connect(a, b)
    }
  }

  submit(job: UserJob): void {
    this.jobs.push(job)
    this.#perform(job.home, this.#core_(job.home).place(job.id, job.request, this.now))
  }

  cancel(job: UserJob): void {
    if (job.outcomes.length > 0 || job.runs > 0 || job.rules !== undefined) return
    job.outcomes.push('cancelled')
    this.#perform(job.home, this.#core_(job.home).cancel(job.id, this.now))
  }

  cut(a: PeerId, b: PeerId, forMs: number): void {
    const link = this.#link(a, b)
    if (!link.up) return
    link.up = false
    this.#perform(a, this.#core_(a).handleNeighbourDown(b, this.now))
    this.#perform(b, this.#core_(b).handleNeighbourDown(a, this.now))
    for (const job of this.jobs) if (joins(job, a, b)) this.#tell(job, { type: 'disconnected' })
    const { serial } = link
    this.at(this.now + forMs, () => {
      if (!link.up && link.serial === serial) this.#connect(a, b)
    })
  }

  /** The daemon dies with all its guests, and comes back knowing nothing. Homes that have jobs of their own are spared. */
  restart(id: PeerId, afterMs: number): void {
    const peer = this.peers.get(id)!
    for (const other of this.peers.keys()) if (other !== id) this.cut(id, other, afterMs + this.random(500))
    peer.guests.clear()
    peer.epoch++
    peer.core = this.#core(id, peer.epoch, peer.slots)
  }

  // -------------------------------------------------------------------------------------------------- the overlay

  #core(self: PeerId, epoch: number, slots: number): PeerCore {
    const newId = () => `${self}.${epoch}.${this.#order++}`
    const own = rules({ slots, homeSlots: 2 })
    const random = this.#random
    return new PeerCore({
      self,
      name: self,
      epoch,
      metricPolicy: 'product',
      rules: own,
      random,
      newId,
      hasTool: () => true,
      banned: () => false,
      addresses: () => []
    })
  }

  #core_(id: PeerId): PeerCore {
    return this.peers.get(id)!.core
  }

  #link(a: PeerId, b: PeerId): Link {
    const key = a < b ? `${a} ${b}` : `${b} ${a}`
    const link = this.#links.get(key) ?? { up: false, serial: 0 }
    this.#links.set(key, link)
    return link
  }

  #connect(a: PeerId, b: PeerId): void {
    const link = this.#link(a, b)
    link.up = true
    link.serial++
    this.#perform(a, this.#core_(a).handleNeighbourUp(b, { kind: 'own', name: b }, this.now))
    this.#perform(b, this.#core_(b).handleNeighbourUp(a, { kind: 'own', name: a }, this.now))
    for (const job of this.jobs) {
      if (joins(job, a, b)) this.#tell(job, { type: 'connected', epoch: this.peers.get(job.ticket!.target)!.epoch })
    }
  }

  #sampleRegularly(id: PeerId, cores: number): void {
    const once = () => this.#perform(id, this.#core_(id).handleSample(sample({ cores }), this.now))
    const again = () => {
      once()
      this.at(this.now + 1_000, again)
    }
    this.#samplers.set(id, once)
    this.at(this.random(100), again)
  }

  readonly #samplers = new Map<PeerId, () => void>()

  #perform(id: PeerId, effects: Effect[]): void {
    for (const effect of effects) this.#carryOut(id, effect)
    this.#schedule(id)
  }

  #schedule(id: PeerId): void {
    const { core } = this.peers.get(id)!
    const due = core.nextTimer()
    if (due === undefined) return
    this.at(due, () => {
      const current = this.#core_(id)
      if (current !== core || (core.nextTimer() ?? Number.POSITIVE_INFINITY) > this.now) return
      this.#perform(id, core.handleTimer(this.now))
    })
  }

  #carryOut(id: PeerId, effect: Effect): void {
    if (effect.type === 'sample') this.at(this.now + this.random(80), () => this.#samplers.get(id)!())
    else if (effect.type === 'send') this.#send(id, effect.to, effect.message)
    else if (effect.type !== 'queued' && effect.type !== 'admit' && effect.type !== 'dismiss') {
      const job = this.jobs.find((candidate) => candidate.id === effect.jobId)!
      if (effect.type === 'unplaceable') job.outcomes.push('unplaceable')
      else if (effect.where === 'here') this.#runAtHome(job)
      else this.#startThere(job, effect.ticket)
    }
  }

  #send(from: PeerId, to: PeerId, message: OverlayMessage): void {
    this.#deliver(from, to, () => this.#perform(to, this.#core_(to).handleMessage(from, message, this.now)))
  }

  /** What was said to a target may arrive long after its connection was cut; nothing old comes back over a new one. */
  #deliver(from: PeerId, to: PeerId, run: () => void, way: { reliable?: boolean; late?: boolean } = {}): void {
    const link = this.#link(from, to)
    if (!link.up) return
    const { serial } = link
    const lost = way.reliable !== true && !this.#faultless && this.random(1) < this.#faults.loss
    const copies = lost ? 0 : !this.#faultless && this.random(1) < this.#faults.duplication ? 2 : 1
    for (let copy = 0; copy < copies; copy++) {
      const stalled = way.late === true && !this.#faultless && this.random(1) < this.#faults.loss ? STALL_MS : 0
      this.at(this.now + 0.2 + this.random(this.#faults.maxDelayMs + stalled), () => {
        if (way.late === true || link.serial === serial) run()
      })
    }
  }

  // ------------------------------------------------------------------------------------------------- running jobs

  #runAtHome(job: UserJob): void {
    job.runs++
    this.at(this.now + job.durationMs, () => {
      job.outcomes.push('exited')
      this.#perform(job.home, this.#core_(job.home).homeJobEnded(job.id, this.now))
    })
  }

  #startThere(job: UserJob, ticket: Ticket): void {
    const init = { ticket, now: this.now, startTimeoutMs: START_TIMEOUT_MS, lostAfterMs: LOST_AFTER_MS }
    const homeJob = new HomeJob(init)
    job.ticket = ticket
    job.rules = homeJob
    if (!this.#link(job.home, ticket.target).up) this.#tell(job, { type: 'disconnected' })
    const slow = this.random(1) < 0.1 && !this.#faultless
    this.at(this.now + this.random(slow ? 3_000 : 5), () => {
      if (job.rules !== homeJob || homeJob.state !== 'starting') return
      this.#tell(job, { type: 'start-sent' })
      const { home } = job
      this.#deliver(home, ticket.target, () => this.#startArrived(job, home, ticket), { late: true })
    })
    this.#scheduleJob(job)
  }

  #startArrived(job: UserJob, home: PeerId, ticket: Ticket): void {
    const target = this.peers.get(ticket.target)!
    const answer = target.core.startTicket(home, ticket.id, this.now)
    const { epoch } = target
    this.#schedule(target.id)
    if (answer.accepted) {
      job.runs++
      target.guests.set(ticket.id, { home, wanted: slotsWanted(answer.needs.demand, target.slots), job })
      const { core } = target
      this.at(this.now + job.durationMs, () => {
        if (target.core === core) this.#guestEnded(target, ticket)
      })
    }
    const { code, reason } = answer.accepted ? { code: '', reason: '' } : answer
    const event: HomeEvent = answer.accepted ? { type: 'started' } : { type: 'refused', epoch, code, reason }
    this.#deliver(target.id, home, () => this.#tellTicket(job, ticket, event))
  }

  #guestEnded(target: Peer, ticket: Ticket): void {
    const guest = target.guests.get(ticket.id)
    if (guest === undefined) return
    target.guests.delete(ticket.id)
    this.#perform(target.id, target.core.guestJobEnded(ticket.id, END, this.now))
    this.#deliver(target.id, guest.home, () => this.#tellTicket(guest.job, ticket, { type: 'ended', end: END }), {
      reliable: true
    })
  }

  #ask(job: UserJob, ticket: Ticket, reliable: boolean): void {
    const { home } = job
    const arrived = () => {
      const target = this.peers.get(ticket.target)!
      const outcome = target.core.resolveTicket(home, ticket.id, this.now)
      const { epoch } = target
      this.#schedule(target.id)
      if (reliable && outcome.state === 'running') return
      this.#deliver(target.id, home, () => this.#tellTicket(job, ticket, { type: 'resolved', epoch, outcome }), {
        reliable
      })
    }
    this.#deliver(home, ticket.target, arrived, { reliable, late: true })
  }

  #tellTicket(job: UserJob, ticket: Ticket, event: HomeEvent): void {
    if (job.ticket === ticket) this.#tell(job, event)
  }

  #tell(job: UserJob, event: HomeEvent): void {
    const ticket = job.ticket!
    for (const action of job.rules?.handle(event, this.now) ?? []) this.#act(job, ticket, action)
    this.#scheduleJob(job)
  }

  #act(job: UserJob, ticket: Ticket, action: HomeAction): void {
    if (action.type === 'resolve') this.#ask(job, ticket, false)
    else if (action.type === 'attach') this.#ask(job, ticket, true)
    else if (action.type === 'exited') {
      if (!job.outcomes.includes('lost')) job.outcomes.push('exited')
      this.#core_(ticket.target).forgetTicket(job.home, ticket.id)
    } else if (action.type === 'lost') job.outcomes.push('lost')
    else {
      delete job.ticket
      delete job.rules
      this.#perform(job.home, this.#core_(job.home).place(job.id, job.request, this.now))
    }
  }

  #scheduleJob(job: UserJob): void {
    const homeJob = job.rules
    const due = homeJob?.nextTimer()
    if (homeJob === undefined || due === undefined) return
    this.at(due, () => {
      if (job.rules === homeJob && (homeJob.nextTimer() ?? Number.POSITIVE_INFINITY) <= this.now) {
        this.#tell(job, { type: 'timer' })
      }
    })
  }

  // ---------------------------------------------------------------------------------------------------- checking

  #check(): void {
    for (const peer of this.peers.values()) {
      let wanted = 0
      for (const guest of peer.guests.values()) wanted += guest.wanted
      const promised = peer.core.ownRecord(this.now).guestDemand
      if (promised > peer.slots) this.violations.push(`${this.now}: ${peer.id} promised ${promised} of ${peer.slots}`)
      if (wanted > promised + 1e-9) this.violations.push(`${this.now}: ${peer.id} runs ${wanted}, promised ${promised}`)
    }
    for (const job of this.jobs) {
      if (job.runs > 1) this.violations.push(`${this.now}: ${job.id} ran ${job.runs} times`)
      if (job.outcomes.length > 1) this.violations.push(`${this.now}: ${job.id} is ${job.outcomes.join(' and ')}`)
      if (job.outcomes[0] === 'unplaceable' && job.runs > 0)
        this.violations.push(`${this.now}: ${job.id} ran and failed`)
    }
  }
}

function joins(job: UserJob, a: PeerId, b: PeerId): boolean {
  const target = job.ticket?.target
  return (job.home === a && target === b) || (job.home === b && target === a)
}
