/**
 * What this machine has promised to others, as their target: holds made at the visit of a probe, jobs that were started
 * with them, and how those ended. A ticket goes reserved → running → ended, once, or it is void for good.
 *
 * Void needs no memory: ids are random and made here, so a ticket that is in no table was never made or is over, and
 * every later start or resolve of it finds the same.
 */

import { ALREADY_STARTED, type TicketOutcome } from './home-job.ts'
import { type Lack, slotsWanted } from './needs.ts'
import type { JobEnd, Needs, PairingKind, PeerId, Ticket } from './types.ts'

/** ms that a hold lives unless it is started. */
export const TICKET_VALID_MS = 2_000

const MAX_HOLDS = 256
const MAX_RUNNING = 1_024
const KEEP_ENDS_MS = 24 * 3_600_000
const MAX_ENDS = 10_000
/** Homes ask for an end soon or never: while ends this young would have to be dropped, no new job is taken. */
const MUST_KEEP_MS = 60_000

/** `kind`: the weakest pairing between this machine and the home. */
export type StartAnswer =
  | { accepted: true; needs: Needs; kind: PairingKind; vouchers: PeerId[] }
  | { accepted: false; code: string; reason: string }

/** Homes that are no neighbours and have a hold, a job or an unfetched end here. */
export const MAX_VOUCHED_HOMES = 32

/** For whom something is held. */
export interface Guest {
  home: PeerId
  /** Who brought its probe here, from home's neighbour to ours; empty when home is a neighbour. */
  vouchers: PeerId[]
  /** The weakest kind of pairing on the way. */
  kind: PairingKind
}

interface Granted extends Guest {
  ticketId: string
  needs: Needs
  /** Thousandths of a core. */
  slots: number
  /** Bytes promised and, as far as is known, not yet used. */
  memory: number
}

interface Hold extends Granted {
  probeId: string
  expiresAt: number
  /** What the job will hold once it is started: as much as is held for it now, unless only a ticket was issued. */
  job: { slots: number; memory: number }
}

interface End {
  home: PeerId
  vouched: boolean
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
  /** Reasons to admit each home that is no neighbour: holds, jobs, unfetched ends; at most MAX_VOUCHED_HOMES. */
  readonly #vouched = new Map<PeerId, number>()
  /** What changed in these since it was last asked for. */
  #admissions: { home: PeerId; admitted: boolean }[] = []
  #slots = 0
  #memory = 0
  #version = 0

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

  /** Another number whenever one of these two has changed. */
  get version(): number {
    return this.#version
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

  /**
   * Holds slots and memory for one probe, or nothing but the right to ask for them at the start, if they are not `promised`. The
   * caller has checked the needs against the record; only our own bounds are left.
   */
  reserve(guest: Guest, probeId: string, needs: Needs, slots: number, now: number, promised = true): Ticket | Lack {
    const { home, vouchers, kind } = guest
    if (this.#holds.size >= MAX_HOLDS || this.#running.size + this.#holds.size >= MAX_RUNNING) {
      return { code: 'slots', reason: 'too many jobs at once' }
    }
    if (!this.#hasRoomForEnd(now)) return { code: 'slots', reason: 'too many ended jobs wait for their homes to ask' }
    if (vouchers.length > 0 && !this.#vouched.has(home) && this.#vouched.size >= MAX_VOUCHED_HOMES) {
      return { code: 'slots', reason: 'too many homes at once' }
    }
    const wanted = Math.round(slotsWanted(needs.demand, slots) * 1000)
    if (promised && this.#slots + wanted > Math.floor(slots * 1000 + 1e-6))
      throw new Error('more slots reserved than there are')
    const ticketId = this.#newId()
    const expiresAt = now + TICKET_VALID_MS
    const job = { slots: wanted, memory: needs.memoryBytes }
    const held = promised ? job : { slots: 0, memory: 0 }
    const hold: Hold = { ticketId, probeId, home, vouchers, kind, needs, ...held, expiresAt, job }
    this.#holds.set(ticketId, hold)
    this.#byProbe.set(probeKey(home, probeId), ticketId)
    this.#count(hold, 1)
    return this.#ticket(hold, now)
  }

  /** Homes that are no neighbours and may, or may no longer, connect on their own: what changed since the last call. */
  takeAdmissions(): { home: PeerId; admitted: boolean }[] {
    const admissions = this.#admissions
    if (admissions.length > 0) this.#admissions = []
    return admissions
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
  start(
    home: PeerId,
    ticketId: string,
    now: number,
    check: (promised: { needs: Needs; kind: PairingKind }) => Lack | undefined
  ): StartAnswer {
    const known = this.#running.get(ticketId) ?? this.#ends.get(ticketId) ?? this.#fetched.get(ticketId)
    if (known?.home === home) return { accepted: false, code: ALREADY_STARTED, reason: 'the ticket was used' }
    const hold = this.#holds.get(ticketId)
    if (hold === undefined || hold.home !== home) return VOID
    this.#drop(hold)
    if (now >= hold.expiresAt) return VOID
    const lack = check(hold)
    if (lack !== undefined) return { accepted: false, ...lack }
    const { needs, vouchers, kind } = hold
    const job = { ticketId, home, vouchers, kind, needs, ...hold.job }
    this.#running.set(ticketId, job)
    this.#count(job, 1)
    return { accepted: true, needs, kind, vouchers }
  }

  /** Bytes that a running guest uses now: so much of its promise shows in the sampled memory already. */
  memoryUsed(ticketId: string, bytes: number): void {
    const job = this.#running.get(ticketId)
    if (job === undefined) return
    const memory = Math.min(job.memory, Math.max(0, job.needs.memoryBytes - bytes))
    this.#version++
    this.#memory += memory - job.memory
    job.memory = memory
  }

  jobEnded(ticketId: string, end: JobEnd, now: number): void {
    const job = this.#running.get(ticketId)
    if (job === undefined) return
    this.#running.delete(ticketId)
    const vouched = job.vouchers.length > 0
    this.#ends.set(ticketId, { home: job.home, vouched, end, at: now })
    if (vouched) this.#admit(job.home, 1)
    this.#count(job, -1)
    while (this.#ends.size + this.#fetched.size > MAX_ENDS) {
      const from = this.#fetched.size > 0 ? this.#fetched : this.#ends
      this.#dropEnd(from, from.keys().next().value!)
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
    this.#dropEnd(this.#ends, ticketId)
    this.#fetched.set(ticketId, ended)
  }

  /**
   * All holds of that peer, and those that it vouched for, are void; returns the tickets of such jobs that run, which the
   * caller ends.
   */
  voidHoldsOf(peer: PeerId): string[] {
    const hasPart = ({ home, vouchers }: Guest) => home === peer || vouchers.includes(peer)
    for (const hold of this.#holds.values()) if (hasPart(hold)) this.#drop(hold)
    return [...this.#running.values()].filter(hasPart).map((job) => job.ticketId)
  }

  expire(now: number): void {
    for (const hold of this.#holds.values()) {
      if (now < hold.expiresAt) break
      this.#drop(hold)
    }
    for (const table of [this.#ends, this.#fetched]) {
      for (const [ticketId, ended] of table) {
        if (now < ended.at + KEEP_ENDS_MS) break
        this.#dropEnd(table, ticketId)
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

  #dropEnd(table: Map<string, End>, ticketId: string): void {
    const ended = table.get(ticketId)
    table.delete(ticketId)
    if (table === this.#ends && ended?.vouched === true) this.#admit(ended.home, -1)
  }

  #admit(home: PeerId, sign: 1 | -1): void {
    const reasons = (this.#vouched.get(home) ?? 0) + sign
    if (reasons > 0) this.#vouched.set(home, reasons)
    else this.#vouched.delete(home)
    if (reasons > 1 || (reasons === 1 && sign === -1)) return
    // A hold that becomes a job is no news.
    const undone = this.#admissions.findIndex((change) => change.home === home)
    if (undone >= 0) this.#admissions.splice(undone, 1)
    else this.#admissions.push({ home, admitted: reasons > 0 })
  }

  #count(promise: Granted, sign: 1 | -1): void {
    if (promise.vouchers.length > 0) this.#admit(promise.home, sign)
    this.#version++
    this.#slots += sign * promise.slots
    this.#memory += sign * promise.memory
  }
}

const VOID: StartAnswer = { accepted: false, code: 'void', reason: 'the ticket is not or no longer valid' }

function probeKey(home: PeerId, probeId: string): string {
  return `${home} ${probeId}`
}
