/**
 * At most once, home's side: what home may conclude about one job that it holds a ticket for.
 *
 * The job may be placed elsewhere only if its start message was never handed to the transport, or if the target, under the
 * epoch that made the ticket, answered `refused` or `void`. A start that went unanswered is resolved with the target;
 * another epoch, or silence until target and lease must have ended the job, is `lost`.
 */

import type { JobEnd, Ticket } from './types.ts'

/** The code with which a target turns away a second start of one ticket: no refusal, the first may well run. */
export const ALREADY_STARTED = 'already-started'

export type HomeEvent =
  /** Tell this before the first byte goes to the transport, and write only if the state is still `starting`. */
  | { type: 'start-sent' }
  | { type: 'started' }
  | { type: 'refused'; epoch: number; code: string; reason: string }
  /** A connection to the target stands, and the target said its epoch. */
  | { type: 'connected'; epoch: number }
  /** No connection, or none could be had in time; `heardAt`: when anything was last heard over it, if not just now. */
  | { type: 'disconnected'; heardAt?: number }
  | { type: 'resolved'; epoch: number; outcome: TicketOutcome }
  | { type: 'ended'; end: JobEnd }
  /** The target is asked to keep the job through a silence; nothing can be left of it after so many ms. */
  | { type: 'held'; lostAfterMs: number }
  /** The target knows that home is back: silence counts as before. */
  | { type: 'renewed' }
  | { type: 'timer' }

/** What the target answers to `resolve`; once it said `void` it will never start the ticket. */
export type TicketOutcome = { state: 'running' } | { state: 'ended'; end: JobEnd } | { state: 'void' }

export type HomeAction =
  /** Ask the target over the connection what became of the ticket. */
  | { type: 'resolve' }
  /** The job runs there: join its streams again. */
  | { type: 'attach' }
  /** Nothing ran and nothing will: place the job anew. */
  | { type: 'place-again'; code: string; reason: string }
  | { type: 'exited'; end: JobEnd }
  /** It may have run; its end is unknown. An end that is heard of later still comes as `exited`, to correct the record. */
  | { type: 'lost'; reason: string }

export type HomeJobState = 'starting' | 'running' | 'exited' | 'lost' | 'free'

export interface HomeJobInit {
  ticket: Ticket
  /** When the ticket arrived. */
  now: number
  /** ms from handing over the start message to asking what became of it, and between such questions. */
  startTimeoutMs: number
  /** ms of silence after which nothing of the job can be left: the lease, the time to kill it, and a second. */
  lostAfterMs: number
  /** It was started in an earlier life of this home: it runs there, or is lost. */
  rejoins?: boolean
}

export class HomeJob {
  readonly #ticket: Ticket
  readonly #sendBy: number
  readonly #startTimeoutMs: number
  readonly #lostAfterMs: number
  /** Instead of that, if it is more, while the target waits for home. */
  #heldMs: number | undefined
  #state: HomeJobState = 'starting'
  #sent = false
  #connected = true
  /** The streams are joined over the connection that stands. */
  #attached = false
  #heardAt: number
  #askAt = Number.POSITIVE_INFINITY

  constructor(init: HomeJobInit) {
    this.#ticket = init.ticket
    this.#sendBy = init.now + init.ticket.validMs
    this.#startTimeoutMs = init.startTimeoutMs
    this.#lostAfterMs = init.lostAfterMs
    this.#heardAt = init.now
    if (!init.rejoins) return
    this.#sent = true
    this.#state = 'running'
    this.#connected = false
  }

  get state(): HomeJobState {
    return this.#state
  }

  /** When to call with `timer`, in ms of the same clock; undefined: only events matter. */
  nextTimer(): number | undefined {
    if (this.#state === 'starting') {
      if (!this.#sent) return this.#sendBy
      return Math.min(this.goneAt, this.#connected ? this.#askAt : Number.POSITIVE_INFINITY)
    }
    return this.#state === 'running' && !this.#connected ? this.goneAt : undefined
  }

  handle(event: HomeEvent, now: number): HomeAction[] {
    if (this.#state === 'exited' || this.#state === 'free') return []
    if (this.#state === 'lost') return this.#afterLost(event)
    if (!this.#sent && saysStarted(event)) return []
    // A clock that jumped, as over suspend, brings news before the timer: the silence still counts, unless they are certain.
    if (this.#wasSilent(now) && !isCertain(event)) return this.#lose('nothing was heard from it for too long')
    switch (event.type) {
      case 'start-sent':
        return this.#startSent(now)
      case 'started':
        return this.#started(now)
      case 'refused':
        return this.#refused(event, now)
      case 'connected':
        return this.#connect(event.epoch, now)
      case 'disconnected':
        return this.#disconnect(event.heardAt ?? now)
      case 'resolved':
        return this.#resolved(event.epoch, event.outcome, now)
      case 'ended':
        return this.#exit(event.end)
      case 'held':
        return this.#hold(event.lostAfterMs, now)
      case 'renewed':
        return this.#heldMs === undefined ? [] : this.#hold(undefined, now)
      case 'timer':
        return this.#timer(now)
    }
  }

  /** When nothing can be left of the job if nothing more is heard. */
  get goneAt(): number {
    return this.#heardAt + Math.max(this.#heldMs ?? 0, this.#lostAfterMs)
  }

  #hold(lostAfterMs: number | undefined, now: number): HomeAction[] {
    if (!this.#sent) return []
    this.#heldMs = lostAfterMs
    this.#heardAt = now
    return []
  }

  /** Silence counts while a start is unanswered, and while no connection stands. */
  #wasSilent(now: number): boolean {
    return (this.#state === 'starting' ? this.#sent : !this.#connected) && now >= this.goneAt
  }

  #startSent(now: number): HomeAction[] {
    if (this.#state !== 'starting' || this.#sent) return []
    this.#sent = true
    this.#heardAt = now
    this.#askAt = now + this.#startTimeoutMs
    return []
  }

  #started(now: number): HomeAction[] {
    this.#heardAt = now
    this.#attached = true
    this.#connected = true
    this.#state = 'running'
    return []
  }

  #refused(event: { epoch: number; code: string; reason: string }, now: number): HomeAction[] {
    if (this.#state !== 'starting') return []
    this.#heardAt = now
    if (this.#sent && event.epoch !== this.#ticket.epoch) return this.#restarted()
    if (event.code === ALREADY_STARTED) return this.#ask(now)
    return this.#free(event.code, event.reason)
  }

  #connect(epoch: number, now: number): HomeAction[] {
    if (epoch !== this.#ticket.epoch) {
      return this.#sent ? this.#restarted() : this.#free('void', 'it restarted in between')
    }
    this.#connected = true
    this.#attached = false
    if (!this.#sent) return []
    this.#heardAt = now
    if (this.#state === 'starting') return this.#ask(now)
    this.#attached = true
    return [{ type: 'attach' }]
  }

  /** Without a start message nothing is risked by going elsewhere at once. */
  #disconnect(heardAt: number): HomeAction[] {
    this.#connected = false
    this.#attached = false
    if (!this.#sent) return this.#free('not-connected', 'the connection was lost')
    this.#heardAt = Math.max(this.#heardAt, heardAt)
    return []
  }

  #resolved(epoch: number, outcome: TicketOutcome, now: number): HomeAction[] {
    if (epoch !== this.#ticket.epoch) {
      return this.#sent ? this.#restarted() : this.#free('void', 'it restarted in between')
    }
    this.#heardAt = now
    if (outcome.state === 'ended') return this.#exit(outcome.end)
    if (outcome.state === 'void') {
      if (this.#state === 'running') return this.#lose('it no longer knows how the job ended')
      return this.#free('void', 'the start did not arrive in time')
    }
    this.#state = 'running'
    if (this.#attached) return []
    this.#attached = true
    return [{ type: 'attach' }]
  }

  #timer(now: number): HomeAction[] {
    if (this.#state !== 'starting') return []
    if (!this.#sent) return now >= this.#sendBy ? this.#free('void', 'the start could not be sent in time') : []
    return this.#connected && now >= this.#askAt ? this.#ask(now) : []
  }

  #ask(now: number): HomeAction[] {
    this.#askAt = now + this.#startTimeoutMs
    return [{ type: 'resolve' }]
  }

  /** Never placed anew: what was said to the user stands. Only the record may still learn of the end. */
  #afterLost(event: HomeEvent): HomeAction[] {
    if (event.type === 'ended') return this.#exit(event.end)
    if (event.type === 'resolved' && event.epoch === this.#ticket.epoch && event.outcome.state === 'ended') {
      return this.#exit(event.outcome.end)
    }
    return []
  }

  #exit(end: JobEnd): HomeAction[] {
    this.#state = 'exited'
    return [{ type: 'exited', end }]
  }

  #free(code: string, reason: string): HomeAction[] {
    this.#state = 'free'
    return [{ type: 'place-again', code, reason }]
  }

  /** Nothing is held by a daemon that knows nothing of it. */
  #restarted(): HomeAction[] {
    this.#heldMs = undefined
    return this.#lose('it restarted in between')
  }

  #lose(reason: string): HomeAction[] {
    this.#state = 'lost'
    return [{ type: 'lost', reason }]
  }
}

/** No answer to what was not asked: it may not make a start that is sent afterwards look like none. */
function saysStarted(event: HomeEvent): boolean {
  if (event.type === 'resolved') return event.outcome.state !== 'void'
  return event.type === 'started' || event.type === 'ended'
}

/** News that hold however late they are. `void` doesn't: after so long the target may have forgotten that the job ended. */
function isCertain(event: HomeEvent): boolean {
  if (event.type === 'resolved') return event.outcome.state !== 'void'
  return event.type === 'started' || event.type === 'ended' || event.type === 'refused'
}
