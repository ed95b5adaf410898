/**
 * What this machine has promised to others, as their target: holds made at the visit of a probe, jobs that were started
 * with them, and how those ended. A ticket goes reserved → running → ended, once, or it is void for good.
 *
 * Void needs no memory: ids are random and made here, so a ticket that is in no table was never made or is over, and
 * every later start or resolve of it finds the same.
 */

import { ALREADY_STARTED, type TicketOutcome } from './home-job.ts'
import { type Lack, slotsWanted } from './needs.ts'
import type { JobEnd, Needs, PeerId, Ticket } from './types.ts'

/** ms that a hold lives unless it is started. */
export const TICKET_VALID_MS = 2_000

const MAX_HOLDS = 256
const MAX_RUNNING = 1_024
const KEEP_ENDS_MS = 24 * 3_600_000
const MAX_ENDS = 10_000
/** Homes ask for an end soon or never: while ends this young would have to be dropped, no new job is taken. */
const MUST_KEEP_MS = 60_000

export type StartAnswer = { accepted: true; needs: Needs } | { accepted: false; code: string; reason: string }

interface Granted {
  ticketId: string
  home: PeerId
  needs: Needs
  /** Thousandths of a core. */
  slots: number
  /** Bytes promised and, as far as is known, not yet used. */
  memory: number
}

interface Hold extends Granted {
  probeId: string
  expiresAt: number
}

interface End {
  home: PeerId
  end: JobEnd
  at: number
}

export class Reservations {
  readonly #self: PeerId
  readonly #epoch: number
  readonly #newId: () => string
  /** By ticket, oldest first, since all live equally long; at most MAX_HOLDS. */
  readonly #holds = new Map<string, Hold>()
  /** The ticket held for a probe, by home and probe; one for each hold. */
  readonly #byProbe = new Map<string, string>()
  /** By ticket; at most MAX_RUNNING. */
  readonly #running = new Map<string, Granted>()
  /** By ticket, oldest first; with #fetched at most MAX_ENDS. */
  readonly #ends = new Map<string, End>()
  /** Ends that home has acknowledged: dropped before the others. */
  readonly #fetched = new Map<string, End>()
  #slots = 0
  #memory = 0

  constructor(init: { self: PeerId; epoch: number; newId: () => string }) {
    this.#self = init.self
    this.#epoch = init.epoch
    this.#newId = init.newId
  }

  /** Cores promised to guests: holds and running jobs. */
  get demand(): number {
    return this.#slots / 1000
  }

  /** Bytes promised to guests and not yet used. */
  get memoryPromised(): number {
    return this.#memory
  }

  get running(): number {
    return this.#running.size
  }

  /** Entries of all tables; 0 when nothing is remembered of anyone. */
  get size(): number {
    return this.#holds.size + this.#byProbe.size + this.#running.size + this.#ends.size + this.#fetched.size
  }

  /** The ticket that a probe already got, so that a repeated probe holds nothing twice. */
  held(home: PeerId, probeId: string, now: number): Ticket | undefined {
    const hold = this.#holds.get(this.#byProbe.get(probeKey(home, probeId)) ?? '')
    return hold === undefined || now >= hold.expiresAt ? undefined : this.#ticket(hold, now)
  }

  /** Holds slots and memory for one probe. The caller has checked the needs against the record; only our own bounds are left. */
  reserve(home: PeerId, probeId: string, needs: Needs, slots: number, now: number): Ticket | Lack {
    if (this.#holds.size >= MAX_HOLDS || this.#running.size + this.#holds.size >= MAX_RUNNING) {
      return { code: 'slots', reason: 'too many jobs at once' }
    }
    if (!this.#hasRoomForEnd(now)) return { code: 'slots', reason: 'too many ended jobs wait for their homes to ask' }
    const wanted = Math.round(slotsWanted(needs.demand, slots) * 1000)
    if (this.#slots + wanted > Math.floor(slots * 1000)) throw new Error('more slots reserved than there are')
    const ticketId = this.#newId()
    const expiresAt = now + TICKET_VALID_MS
    const hold = { ticketId, probeId, home, needs, slots: wanted, memory: needs.memoryBytes, expiresAt }
    this.#holds.set(ticketId, hold)
    this.#byProbe.set(probeKey(home, probeId), ticketId)
    this.#count(hold, 1)
    return this.#ticket(hold, now)
  }

  /** Home no longer wants what its probe held. A job that was started is not touched. */
  release(home: PeerId, probeId: string): void {
    const hold = this.#holds.get(this.#byProbe.get(probeKey(home, probeId)) ?? '')
    if (hold !== undefined) this.#drop(hold)
  }

  /**
   * Reserved → running, at most once for each ticket and only for the home that it was made for. `check` is the owner's word
   * now, asked without this ticket's own promise; a ticket that it turns away is void.
   */
  start(home: PeerId, ticketId: string, now: number, check: (needs: Needs) => Lack | undefined): StartAnswer {
    const known = this.#running.get(ticketId) ?? this.#ends.get(ticketId) ?? this.#fetched.get(ticketId)
    if (known?.home === home) return { accepted: false, code: ALREADY_STARTED, reason: 'the ticket was used' }
    const hold = this.#holds.get(ticketId)
    if (hold === undefined || hold.home !== home) return VOID
    this.#drop(hold)
    if (now >= hold.expiresAt) return VOID
    const lack = check(hold.needs)
    if (lack !== undefined) return { accepted: false, ...lack }
    const { needs, slots, memory } = hold
    const job = { ticketId, home, needs, slots, memory }
    this.#running.set(ticketId, job)
    this.#count(job, 1)
    return { accepted: true, needs }
  }

  /** Bytes that a running guest uses now: so much of its promise shows in the sampled memory already. */
  memoryUsed(ticketId: string, bytes: number): void {
    const job = this.#running.get(ticketId)
    if (job === undefined) return
    const memory = Math.min(job.memory, Math.max(0, job.needs.memoryBytes - bytes))
    this.#memory += memory - job.memory
    job.memory = memory
  }

  jobEnded(ticketId: string, end: JobEnd, now: number): void {
    const job = this.#running.get(ticketId)
    if (job === undefined) return
    this.#running.delete(ticketId)
    this.#count(job, -1)
    this.#ends.set(ticketId, { home: job.home, end, at: now })
    while (this.#ends.size + this.#fetched.size > MAX_ENDS) {
      const from = this.#fetched.size > 0 ? this.#fetched : this.#ends
      from.delete(from.keys().next().value!)
    }
  }

  /** What became of the ticket; if nothing did, nothing will: it is void. Another peer than its home learns and changes nothing. */
  resolve(home: PeerId, ticketId: string): TicketOutcome {
    if (this.#running.get(ticketId)?.home === home) return { state: 'running' }
    const ended = this.#ends.get(ticketId) ?? this.#fetched.get(ticketId)
    if (ended?.home === home) return { state: 'ended', end: ended.end }
    const hold = this.#holds.get(ticketId)
    if (hold?.home === home) this.#drop(hold)
    return { state: 'void' }
  }

  /** Home knows the end. */
  acknowledge(home: PeerId, ticketId: string): void {
    const ended = this.#ends.get(ticketId)
    if (ended?.home !== home) return
    this.#ends.delete(ticketId)
    this.#fetched.set(ticketId, ended)
  }

  /** All holds of that home are void; returns the tickets of its running jobs, which the caller ends. */
  voidHoldsOf(home: PeerId): string[] {
    for (const hold of this.#holds.values()) if (hold.home === home) this.#drop(hold)
    return [...this.#running.values()].filter((job) => job.home === home).map((job) => job.ticketId)
  }

  expire(now: number): void {
    for (const hold of this.#holds.values()) {
      if (now < hold.expiresAt) break
      this.#drop(hold)
    }
    for (const table of [this.#ends, this.#fetched]) {
      for (const [ticketId, ended] of table) {
        if (now < ended.at + KEEP_ENDS_MS) break
        table.delete(ticketId)
      }
    }
  }

  nextTimer(): number | undefined {
    const times: number[] = []
    const [hold] = this.#holds.values()
    if (hold !== undefined) times.push(hold.expiresAt)
    for (const table of [this.#ends, this.#fetched]) {
      const [ended] = table.values()
      if (ended !== undefined) times.push(ended.at + KEEP_ENDS_MS)
    }
    return times.length === 0 ? undefined : Math.min(...times)
  }

  /** Dropping an end that home still may ask for would let it conclude that nothing ran. */
  #hasRoomForEnd(now: number): boolean {
    if (this.#ends.size + this.#running.size + this.#holds.size < MAX_ENDS) return true
    const [oldest] = this.#ends.values()
    return oldest !== undefined && now - oldest.at >= MUST_KEEP_MS
  }

  #ticket(hold: Hold, now: number): Ticket {
    return { id: hold.ticketId, target: this.#self, epoch: this.#epoch, validMs: hold.expiresAt - now }
  }

  #drop(hold: Hold): void {
    this.#holds.delete(hold.ticketId)
    this.#byProbe.delete(probeKey(hold.home, hold.probeId))
    this.#count(hold, -1)
  }

  #count(promise: Granted, sign: 1 | -1): void {
    this.#slots += sign * promise.slots
    this.#memory += sign * promise.memory
  }
}

const VOID: StartAnswer = { accepted: false, code: 'void', reason: 'the ticket is not or no longer valid' }

function probeKey(home: PeerId, probeId: string): string {
  return `${home} ${probeId}`
}
