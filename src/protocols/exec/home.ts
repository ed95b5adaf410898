/**
 * Home's side of the exec protocol: hands start messages over, joins a job's streams to its client, and keeps at it
 * while connections break and return. What may be concluded from silence is the core's `HomeJob`.
 */

import type { HomeAction, HomeEvent, TicketOutcome } from '../../core/home-job.ts'
import { HomeJob } from '../../core/home-job.ts'
import type { JobEnd, PeerId, Ticket } from '../../core/types.ts'
import { KappaError, messageOf } from '../../errors.ts'
import { decodeMessage, type ExecMessage, encodeMessage, problemOfStart, toJobEnd } from './codec.ts'
import {
  ANNOUNCE_MS,
  DETACHED_SILENCE_MS,
  EXEC_FRAME_BYTES_MAX,
  GONE_AFTER_LEASE_MS,
  HELD_LOST_AFTER_MS,
  LEASE_MS,
  LOST_AFTER_MS,
  PATIENT_REDIAL_MS,
  REDIAL_MS,
  RENEW_MS,
  RESTING_MS,
  SILENCE_MS,
  START_TIMEOUT_MS
} from './constants.ts'
import { WindowPool } from './flow.ts'
import { FRAME, type Frame, frameHeader, STREAM } from './frames.ts'
import { ExecLink, type FrameChannel, Incoming, Outgoing } from './link.ts'

/** Links to the last so many targets are kept open without a live job. */
const LINKS_KEPT = 8
const LINK_KEPT_MS = 10 * 60_000
const CHANNEL_MAX = 0xffffffff
const SIGKILL = 9
const SIGCONT = 18

/** What the daemon gives to home's side. */
export interface HomeHost {
  /** ms of a clock that counts suspend. */
  now(): number
  /** A new exec stream to that peer over the connection that is there, or a new one. */
  openStream(peer: PeerId, signal: AbortSignal): Promise<FrameChannel>
  /** While true, a lost connection to the peer is dialled again without backoff. */
  urgent(peer: PeerId, urgent: boolean): void
  /** The connection is silent although it should not be. */
  closeConnection(peer: PeerId): void
  log(line: string): void
}

/** What happens to a job, told to whoever joined it to its client. Exactly one of the last three is the last. */
export interface HomeListener {
  started(): void
  data(stream: number, offset: number, bytes: Uint8Array): void
  eof(stream: number, offset: number): void
  /** The job takes no more of this stream. */
  closed(stream: number): void
  /** The job may be sent up to `limit` of this stream. */
  limit(stream: number, limit: number): void
  /** The connection is lost (true) or back (false). */
  hanging(hanging: boolean): void
  /** The job, which has a terminal, was stopped by this signal; CONT goes on. */
  stopped(number: number): void
  ended(end: JobEnd): void
  /** From so many ms on nothing can be left of it. */
  lost(reason: string, goneMs: number): void
  /** Nothing ran there and nothing will: it may be placed elsewhere. */
  free(code: string, reason: string): void
}

/** What takes the end of a detached job, in place of the listener's `ended`. */
export interface Keeper {
  /** So many bytes of what it wrote were not kept there so far, for that reason. */
  unkept(bytes: number, reason: string): void
  /** Resolves when all that the job left is here, to whether it is so for good: its target may forget it. Never rejects. */
  keep(end: JobEnd): Promise<boolean>
  /** Its target was told to. */
  forgotten(): void
}

export class ExecHome {
  readonly #host: HomeHost
  readonly #pool = new WindowPool()
  /** By target: those with live jobs and at most LINKS_KEPT others. */
  readonly #sessions = new Map<PeerId, Session>()

  constructor(host: HomeHost) {
    this.#host = host
  }

  /**
   * Starts a job with its ticket; `startWithinMs` bounds the wait before the start message is handed over. Throws
   * NothingRanError when the message is more than a target takes. A detached job has a keeper.
   */
  start(
    ticket: Ticket,
    message: Omit<ExecMessage<'start'>, 'ticket' | 'detached'>,
    startWithinMs: number,
    listener: HomeListener,
    keeper?: Keeper
  ): RemoteJob {
    return this.#session(ticket.target).start(ticket, message, startWithinMs, listener, keeper)
  }

  /**
   * Goes on with a detached job of an earlier life of this home, which has so many bytes of its outputs. Of the files that
   * it leaves everything comes again.
   */
  rejoin(ticket: Ticket, received: Received, listener: HomeListener, keeper: Keeper): RemoteJob {
    return this.#session(ticket.target).rejoin(ticket, received, listener, keeper)
  }

  /** Opens the exec stream to a likely target ahead. */
  warm(target: PeerId): void {
    this.#session(target).warm()
  }

  /**
   * Asks a target what became of a ticket that was given up; unless it was started it never will be after this.
   * `undefined`: no answer could be had. After a restart of the target it is void for good.
   */
  resolve(ticket: Ticket): Promise<TicketOutcome | undefined> {
    return this.#session(ticket.target).resolve(ticket)
  }

  /** The network has a connection to that peer again. */
  connected(target: PeerId): void {
    this.#sessions.get(target)?.reconnect()
  }

  /** Jobs that end without a word of this home. */
  get leased(): number {
    let leased = 0
    for (const session of this.#sessions.values()) leased += session.leased
    return leased
  }

  /**
   * This machine is about to sleep: every target with live jobs is asked to keep them meanwhile. Resolves when all know, or
   * those that don't answer have had their time. Until `awake` nothing is concluded from silence.
   */
  async hold(): Promise<void> {
    const held = [...this.#sessions.values()].filter(({ leased }) => leased > 0).map((session) => session.hold())
    if (held.length === 0) return
    const late = Promise.withResolvers<void>()
    const timer = setTimeout(late.resolve, ANNOUNCE_MS)
    await Promise.race([Promise.all(held), late.promise])
    clearTimeout(timer)
  }

  /** It woke up, or didn't sleep after all. */
  awake(): void {
    for (const session of this.#sessions.values()) session.awake()
  }

  /** The pairing ended: its jobs are lost to this home. */
  drop(target: PeerId, reason: string): void {
    this.#sessions.get(target)?.drop(reason)
    this.#sessions.delete(target)
  }

  close(): void {
    for (const session of this.#sessions.values()) session.close()
  }

  #session(target: PeerId): Session {
    const known = this.#sessions.get(target)
    // Move to the end: the map is in order of use.
    if (known) this.#sessions.delete(target)
    const session = known ?? new Session(this.#host, this.#pool, target, (idle) => this.#forget(idle))
    this.#sessions.set(target, session)
    const idle = [...this.#sessions.values()].filter((other) => other !== session && other.jobs === 0)
    for (const old of idle.slice(0, Math.max(0, idle.length - LINKS_KEPT))) this.#forget(old)
    return session
  }

  #forget(session: Session): void {
    if (this.#sessions.get(session.target) === session) this.#sessions.delete(session.target)
    session.close()
  }
}

interface Question {
  ask(link: ExecLink): void
  answer(resolved: ExecMessage<'resolved'>): void
}

function outcomeOf({ outcome }: ExecMessage<'resolved'>): TicketOutcome {
  return outcome.state === 'ended' ? { state: 'ended', end: toJobEnd(outcome.end) } : outcome
}

/** All jobs of this home on one target, over one exec stream at a time. */
class Session {
  readonly target: PeerId
  readonly #host: HomeHost
  readonly #pool: WindowPool
  readonly #forget: (session: Session) => void
  /** By channel; bounded by the slots of the target and the clients here. */
  readonly #jobs = new Map<number, RemoteJob>()
  /** Questions about given-up tickets, by channel; each for at most SILENCE_MS. */
  readonly #questions = new Map<number, Question>()
  #link: ExecLink | undefined
  #epoch: number | undefined
  /** What jobs can have there. */
  #offers: Offers = { terminals: false, times: false, detached: false }
  /** It understands `hold`. */
  #holds = false
  /** This machine is about to sleep, or sleeps. */
  #asleep = false
  /** The target knows of it. */
  #onHeld: (() => void) | undefined
  /** Sent over this link and not answered. */
  #holdsSent = 0
  #opening = false
  /** When a stream could last not be opened, and how often in a row. */
  #failedAt = 0
  #failures = 0
  #nextChannel = 1
  #timer: NodeJS.Timeout | undefined
  /** Only detached jobs live here, that nobody waits for. */
  #resting = false
  #idleTimer: NodeJS.Timeout | undefined
  #renewedAt = 0
  /** When the first of the live jobs came: a link that was idle before is not silent. */
  #liveSince = 0
  /** Since when there is no link, while there is none. */
  #downSince = 0
  #urgent = false
  #closed = false

  constructor(host: HomeHost, pool: WindowPool, target: PeerId, forget: (session: Session) => void) {
    this.#host = host
    this.#pool = pool
    this.target = target
    this.#forget = forget
  }

  get jobs(): number {
    return this.#jobs.size
  }

  /** Those that end without a word of home. */
  get leased(): number {
    let leased = 0
    for (const job of this.#jobs.values()) if (!job.resting) leased++
    return leased
  }

  start(
    ticket: Ticket,
    message: Omit<ExecMessage<'start'>, 'ticket' | 'detached'>,
    startWithinMs: number,
    listener: HomeListener,
    keeper: Keeper | undefined
  ): RemoteJob {
    const channel = this.#takeChannel()
    const parts = encodeStart(channel, { ticket: ticket.id, ...message, ...(keeper ? { detached: true } : {}) })
    clearTimeout(this.#idleTimer)
    // Where the target's end went unnoticed, the ticket is newer than the stream; where not, the next one says the same again.
    if (this.#epoch !== undefined && this.#epoch !== ticket.epoch) {
      this.#link?.abort(new Error('outdated'))
    }
    const asked = { startWithinMs, leaseMs: message.leaseMs, timeoutMs: message.timeoutMs }
    const job = new RemoteJob(this.#host, this.#pool, this, channel, ticket, { parts, asked }, listener, keeper)
    if (message.terminal) job.addTerminal(this.#pool)
    this.#add(job)
    return job
  }

  rejoin(ticket: Ticket, received: Received, listener: HomeListener, keeper: Keeper): RemoteJob {
    clearTimeout(this.#idleTimer)
    const channel = this.#takeChannel()
    const job = new RemoteJob(this.#host, this.#pool, this, channel, ticket, { received }, listener, keeper)
    this.#add(job)
    return job
  }

  #add(job: RemoteJob): void {
    this.#jobs.set(job.channel, job)
    if (!this.#timer) this.#liveSince = this.#renewedAt = this.#downSince = this.#host.now()
    this.pace()
    if (this.#link && this.#epoch !== undefined) job.connected(this.#link, this.#epoch, this.#offers)
    else this.warm()
  }

  /** Where nobody waits for a job, its connection may rest. */
  pace(): void {
    const resting = [...this.#jobs.values()].every((job) => job.resting)
    if (this.#timer && resting === this.#resting) return
    clearInterval(this.#timer)
    // A link that rested until now is not silent.
    if (!resting) this.#liveSince = this.#host.now()
    this.#resting = resting
    this.#setUrgent(!resting)
    this.#timer = setInterval(() => this.#tick(), resting ? RESTING_MS : REDIAL_MS)
  }

  resolve({ id, epoch }: Ticket): Promise<TicketOutcome | undefined> {
    this.warm()
    return new Promise((resolve) => {
      const channel = this.#takeChannel()
      const settle = (outcome: TicketOutcome | undefined) => {
        clearTimeout(timer)
        this.#questions.delete(channel)
        resolve(outcome)
      }
      const timer = setTimeout(() => settle(undefined), SILENCE_MS)
      this.#questions.set(channel, {
        ask: (link) => link.send(...encodeMessage('resolve', channel, { ticket: id })),
        answer: (resolved) => settle(resolved.epoch === epoch ? outcomeOf(resolved) : { state: 'void' })
      })
      if (this.#link && this.#epoch !== undefined) this.#questions.get(channel)!.ask(this.#link)
    })
  }

  #setUrgent(urgent: boolean): void {
    if (urgent === this.#urgent) return
    this.#urgent = urgent
    this.#host.urgent(this.target, urgent)
  }

  #takeChannel(): number {
    const channel = this.#nextChannel
    this.#nextChannel = channel === CHANNEL_MAX ? 1 : channel + 1
    return channel
  }

  finished(job: RemoteJob): void {
    this.#jobs.delete(job.channel)
    if (this.#jobs.size > 0) {
      this.pace()
      return
    }
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#onHeld?.()
    this.#setUrgent(false)
    if (this.#closed) return
    this.#idleTimer = setTimeout(() => this.#forget(this), LINK_KEPT_MS)
    this.#idleTimer.unref()
  }

  warm(): void {
    if (this.#link || this.#opening || this.#closed) return
    this.#opening = true
    this.#host
      .openStream(this.target, AbortSignal.timeout(SILENCE_MS))
      .then((frames) => this.#open(frames))
      .catch((error) => {
        this.#failedAt = this.#host.now()
        // The first may be tried over a connection that is about to end.
        if (++this.#failures === 2) this.#host.log(`no exec stream to ${this.target}: ${messageOf(error)}`)
      })
      .finally(() => {
        this.#opening = false
      })
  }

  reconnect(): void {
    if (this.#jobs.size > 0) this.warm()
  }

  /** Resolves when the target knows that its jobs have to wait for this machine, or can't be told. */
  hold(): Promise<void> {
    this.#asleep = true
    return new Promise((resolve) => {
      this.#onHeld = resolve
      this.#sendHold()
    })
  }

  awake(): void {
    if (!this.#asleep) return
    this.#asleep = false
    this.#onHeld?.()
    this.#renewedAt = Number.NEGATIVE_INFINITY
    this.#downSince = this.#host.now()
  }

  #sendHold(): void {
    const link = this.#link
    if (!link || this.#epoch === undefined) return
    if (!this.#holds) {
      this.#onHeld?.()
      return
    }
    link.send(frameHeader(FRAME.hold, 0))
    this.#holdsSent++
    // From here on the target may keep them, whether or not it can say so.
    for (const job of this.#jobs.values()) job.hold(HELD_LOST_AFTER_MS)
  }

  #answered(): void {
    if (this.#asleep || this.#holdsSent > 0) return
    for (const job of this.#jobs.values()) job.renewed()
  }

  drop(reason: string): void {
    for (const job of this.#jobs.values()) job.dropped(reason)
    this.close()
  }

  close(): void {
    this.#closed = true
    clearInterval(this.#timer)
    clearTimeout(this.#idleTimer)
    void this.#link?.close()
  }

  #open(frames: FrameChannel): void {
    if (this.#closed) {
      void frames.close().catch(() => undefined)
      return
    }
    const link = new ExecLink(frames, this.#host.now)
    this.#link = link
    this.#holdsSent = 0
    this.#failedAt = 0
    this.#failures = 0
    link.receive({
      onFrame: (frame) => {
        try {
          this.#handle(link, frame)
        } catch (error) {
          if (!(error instanceof KappaError)) this.#host.log(`exec stream to ${this.target}: ${(error as Error).stack}`)
          // Of this job nothing more can be believed; the others go on over a new stream.
          this.#jobs.get(frame.channel)?.dropped(`it broke the protocol: ${messageOf(error)}`)
          link.abort(error as Error)
        }
      },
      onClose: () => {
        if (this.#link !== link) return
        this.#link = undefined
        this.#epoch = undefined
        this.#downSince = this.#host.now()
        for (const job of this.#jobs.values()) job.disconnected(link.lastHeard)
        this.reconnect()
      }
    })
  }

  #handle(link: ExecLink, frame: Frame): void {
    if (frame.type === FRAME.hello && 'payload' in frame) {
      const {
        epoch,
        terminals = false,
        times = false,
        holds = false,
        detached = false
      } = decodeMessage('hello', frame.payload)
      this.#epoch = epoch
      this.#offers = { terminals, times, detached }
      this.#holds = holds
      for (const job of this.#jobs.values()) job.connected(link, epoch, this.#offers)
      for (const question of this.#questions.values()) question.ask(link)
      if (this.#asleep) this.#sendHold()
    } else if (frame.type === FRAME.resolved && 'payload' in frame && this.#questions.has(frame.channel)) {
      this.#questions.get(frame.channel)!.answer(decodeMessage('resolved', frame.payload))
    } else if (frame.type === FRAME.renewed) this.#answered()
    else if (frame.type === FRAME.held) {
      if (this.#holdsSent > 0 && --this.#holdsSent === 0) this.#onHeld?.()
    } else if (this.#jobs.has(frame.channel)) {
      this.#jobs.get(frame.channel)!.handle(frame)
      // Its start came after the word that this machine goes to sleep.
      if (this.#asleep && frame.type === FRAME.started) this.#sendHold()
    }
    // The job was given up here: its target need not keep what nobody will fetch.
    else if (frame.type === FRAME.end) link.send(frameHeader(FRAME.forget, frame.channel))
  }

  #tick(): void {
    const now = this.#host.now()
    const link = this.#link
    const patient = !link && now - this.#downSince > LOST_AFTER_MS
    this.#setUrgent(!patient && !this.#resting)
    if (!link && now - this.#failedAt >= (patient ? PATIENT_REDIAL_MS : REDIAL_MS)) this.warm()
    // A renew would say that this machine is awake.
    if (this.#asleep) return
    if (link && now - this.#renewedAt >= RENEW_MS) {
      this.#renewedAt = now
      link.send(frameHeader(FRAME.renew, 0))
    }
    const silenceMs = this.#resting ? 3 * RESTING_MS : SILENCE_MS
    if (link && now - Math.max(link.lastHeard, this.#liveSince) > silenceMs) {
      link.abort(new KappaError('TimeoutError', `${this.target} was silent for ${silenceMs} ms`))
      this.#host.closeConnection(this.target)
    }
    for (const job of this.#jobs.values()) job.tick()
  }
}

/** A message that the target would turn away ends the stream with all its jobs: so it is looked at here first. */
function encodeStart(channel: number, message: ExecMessage<'start'>): Uint8Array[] {
  const problem = problemOfStart(message)
  const parts = encodeMessage('start', channel, message)
  const bytes = parts.reduce((sum, part) => sum + part.length, 0)
  if (problem === undefined && bytes <= EXEC_FRAME_BYTES_MAX) return parts
  const why = problem ?? `arguments and environment are ${bytes} bytes, of ${EXEC_FRAME_BYTES_MAX} at most`
  throw new KappaError('NothingRanError', `the job can't be sent to another machine: ${why}; run it here with --local`)
}

/** What a target says that its jobs can have; an older one would pass over what it doesn't know. */
interface Offers {
  terminals: boolean
  times: boolean
  detached: boolean
}

/** What a job asks of time, in ms. */
interface AskedTimes {
  /** The start message must be handed over within this. */
  startWithinMs: number
  leaseMs: number | undefined
  timeoutMs: number | undefined
}

/** Bytes of the outputs of a job that are here. */
interface Received {
  stdout: number
  stderr: number
}

/** How a job comes to be here: by its start message, or from an earlier life of this home. */
type Beginning = { parts: Uint8Array[]; asked: AskedTimes } | { received: Received }

/** One job of this home on a target. */
export class RemoteJob {
  readonly channel: number
  readonly ticket: Ticket
  readonly #host: HomeHost
  readonly #session: Session
  readonly #listener: HomeListener
  readonly #rules: HomeJob
  /** Of a detached job. */
  readonly #keeper: Keeper | undefined
  /** It was started in an earlier life of this home. */
  readonly #rejoined: boolean
  /** Nobody waits for it. */
  #resting: boolean
  /** What home makes of the end of a detached job; `#kept`: it is done, the target may forget it. */
  #keeping: Promise<void> | undefined
  #kept = false
  readonly #stdout: Incoming
  readonly #stderr: Incoming
  readonly #outs: Incoming
  readonly #stdin = new Outgoing(STREAM.stdin)
  readonly #ins = new Outgoing(STREAM.ins)
  /** In the order in which attach tells of them; those of a terminal are the last. */
  readonly #incomings: Incoming[]
  readonly #outgoings: Outgoing[]
  #screen: Incoming | undefined
  #keys: Outgoing | undefined
  /** The last that was told. */
  #size: ExecMessage<'resize'> | undefined
  /** Told to the listener, and not continued since. */
  #stopped = false
  readonly #asked: AskedTimes
  readonly #startBy: number
  /** The job is given up then unless its start message was handed over. */
  readonly #startTimer: NodeJS.Timeout | undefined
  /** The start message, until it is handed over. */
  #message: Uint8Array[] | undefined
  #link: ExecLink | undefined
  #sent: boolean
  #done = false
  #end: JobEnd | undefined
  /** Signals asked for while no link was there; each number once. */
  #signals = new Set<number>()
  #closedOutputs = new Set<number>()

  constructor(
    host: HomeHost,
    pool: WindowPool,
    session: Session,
    channel: number,
    ticket: Ticket,
    beginning: Beginning,
    listener: HomeListener,
    keeper: Keeper | undefined
  ) {
    this.#host = host
    this.#session = session
    this.channel = channel
    this.ticket = ticket
    this.#listener = listener
    const now = host.now()
    const rejoins = 'received' in beginning
    const { stdout, stderr } = rejoins ? beginning.received : { stdout: 0, stderr: 0 }
    const asked = rejoins ? { startWithinMs: 0, leaseMs: undefined, timeoutMs: undefined } : beginning.asked
    this.#asked = asked
    this.#rejoined = this.#resting = this.#sent = rejoins
    this.#keeper = keeper
    this.#startBy = now + asked.startWithinMs
    if (!rejoins) {
      this.#message = beginning.parts
      this.#startTimer = setTimeout(() => this.tick(), asked.startWithinMs)
    }
    const lostAfterMs = (keeper ? DETACHED_SILENCE_MS : (asked.leaseMs ?? LEASE_MS)) + GONE_AFTER_LEASE_MS
    this.#rules = new HomeJob({ ticket, now, startTimeoutMs: START_TIMEOUT_MS, lostAfterMs, rejoins })
    this.#stdout = new Incoming(STREAM.stdout, pool, stdout)
    this.#stderr = new Incoming(STREAM.stderr, pool, stderr)
    this.#outs = new Incoming(STREAM.outs, pool)
    this.#incomings = [this.#stdout, this.#stderr, this.#outs]
    this.#outgoings = [this.#stdin, this.#ins]
  }

  /** Its start message asks for a terminal. Before anything is sent. */
  addTerminal(pool: WindowPool): void {
    this.#screen = new Incoming(STREAM.screen, pool)
    this.#keys = new Outgoing(STREAM.keys)
    this.#incomings.push(this.#screen)
    this.#outgoings.push(this.#keys)
  }

  // ------------------------------------------------------------------------------------------- from the client

  write(stream: number, bytes: Uint8Array): void {
    this.#outgoing(stream).push(bytes)
  }

  endStream(stream: number): void {
    this.#outgoing(stream).end()
  }

  /** The client's consumer took so many bytes. */
  consumed(stream: number, bytes: number): void {
    this.#incoming(stream).consumed(bytes)
  }

  /** The client's consumer is gone. */
  closeOutput(stream: number): void {
    this.#closedOutputs.add(stream)
    this.#incoming(stream).close()
  }

  signal(number: number): void {
    if (number === SIGCONT) this.#stopped = false
    if (this.#link) this.#link.send(...encodeMessage('signal', this.channel, { number }))
    else this.#signals.add(number)
  }

  /** Its terminal has a new size. */
  resize(rows: number, columns: number): void {
    if (!this.#keys) return
    this.#size = { rows, columns }
    if (this.#sent) this.#sendSize()
  }

  /** Gives the job up if its start message wasn't handed over; nobody is told. False: it may run. */
  cancel(): boolean {
    if (!this.#sent) this.#finish(() => undefined)
    return !this.#sent
  }

  /** Whether a connection to its target stands. */
  get isConnected(): boolean {
    return this.#link !== undefined
  }

  /** Nobody waits for it; only a detached one may rest. */
  get resting(): boolean {
    return this.#resting
  }

  /** Its client is gone, all that it needs of home is there. */
  rest(): void {
    this.#resting = true
    if (!this.#done) this.#session.pace()
  }

  /** All that was written to this stream, and its end, are there. */
  delivered(stream: number): boolean {
    const { sender } = this.#outgoing(stream)
    return sender.ended && sender.underWay === 0
  }

  // ------------------------------------------------------------------------------------------ from the session

  connected(link: ExecLink, epoch: number, { terminals, times, detached }: Offers): void {
    const first = !this.#sent
    this.#link = link
    if (!first) {
      this.#apply({ type: 'connected', epoch })
      return
    }
    // Nothing was handed over yet: under another epoch the ticket is worthless, and that is certain.
    if (epoch !== this.ticket.epoch) {
      this.#finish(() => this.#listener.free('void', 'it restarted in between'))
      return
    }
    // An older one would start it without.
    if (this.#keys && !terminals) {
      this.#finish(() => this.#listener.free('mode', "can't give a job a terminal (-T: without one)"))
      return
    }
    if ((this.#asked.leaseMs !== undefined || this.#asked.timeoutMs !== undefined) && !times) {
      this.#finish(() => this.#listener.free('mode', 'is too old to keep to --timeout and --lease'))
      return
    }
    if (this.#keeper && !detached) {
      this.#finish(() => this.#listener.free('mode', 'is too old to detach a job'))
      return
    }
    this.#sendStart(link)
  }

  #sendStart(link: ExecLink): void {
    const message = this.#message!
    this.#message = undefined
    this.#sent = true
    clearTimeout(this.#startTimer)
    this.#apply({ type: 'start-sent' })
    link.send(...message)
    for (const stream of [...this.#incomings, ...this.#outgoings]) stream.attach(link, this.channel)
    this.#sendSignals(link)
    this.#sendSize()
  }

  #sendSize(): void {
    if (this.#size) this.#link?.send(...encodeMessage('resize', this.channel, this.#size))
  }

  #sendSignals(link: ExecLink): void {
    for (const number of this.#signals) link.send(...encodeMessage('signal', this.channel, { number }))
    this.#signals.clear()
  }

  disconnected(lastHeard: number): void {
    for (const stream of [...this.#incomings, ...this.#outgoings]) stream.detach()
    // A link that ended before its first word is no news of the job.
    const joined = this.#link !== undefined
    this.#link = undefined
    if (!this.#sent || !joined) return
    this.#listener.hanging(true)
    this.#apply({ type: 'disconnected', heardAt: lastHeard })
  }

  /** The target is asked to keep it while this machine sleeps: before so many ms of silence nothing is concluded from it. */
  hold(lostAfterMs: number): void {
    this.#apply({ type: 'held', lostAfterMs })
  }

  /** The target knows that this machine is awake. */
  renewed(): void {
    this.#apply({ type: 'renewed' })
  }

  dropped(reason: string): void {
    // Nobody will ask for it again: should it run, it need not wait for its lease.
    if (this.#sent) this.#link?.send(...encodeMessage('signal', this.channel, { number: SIGKILL }))
    if (this.#sent) this.#finish(() => this.#listener.lost(reason, this.#goneMs))
    else this.#finish(() => this.#listener.free('not-connected', reason))
  }

  tick(): void {
    if (this.#done) return
    const now = this.#host.now()
    if (!this.#sent && now >= this.#startBy) {
      this.#finish(() => this.#listener.free('not-connected', 'it could not be reached in time'))
      return
    }
    const due = this.#rules.nextTimer()
    if (due !== undefined && due <= now && this.#sent) this.#apply({ type: 'timer' })
  }

  handle(frame: Frame): void {
    if (this.#done) return
    if (!('payload' in frame)) {
      this.#handleStream(frame)
      return
    }
    const { type, payload } = frame
    if (type === FRAME.started) {
      this.#apply({ type: 'started' })
      this.#listener.started()
    } else if (type === FRAME.refused) this.#apply({ type: 'refused', ...decodeMessage('refused', payload) })
    else if (type === FRAME.resolved) {
      const resolved = decodeMessage('resolved', payload)
      this.#apply({ type: 'resolved', epoch: resolved.epoch, outcome: outcomeOf(resolved) })
    } else if (type === FRAME.attached) this.#attached(decodeMessage('attached', payload).received)
    else if (type === FRAME.end) {
      if (!this.#complete) throw new KappaError('ProtocolError', 'a job ended before its output did')
      this.#end = toJobEnd(decodeMessage('end', payload))
      if (this.#keeper) this.#keep(this.#keeper, this.#end)
      else this.#forget(this.#end)
    } else if (type === FRAME.unkept && this.#keeper) {
      const { bytes, reason } = decodeMessage('unkept', payload)
      this.#keeper.unkept(bytes, reason)
    } else if (type === FRAME.stopped && this.#keys) {
      const { number } = decodeMessage('stopped', payload)
      if (!this.#stopped) this.#listener.stopped(number)
      this.#stopped = true
    } else throw new KappaError('ProtocolError', `unknown frame ${type} of the exec protocol`)
  }

  #forget(end: JobEnd): void {
    this.#link?.send(frameHeader(FRAME.forget, this.channel))
    this.#apply({ type: 'ended', end })
  }

  /** Its target keeps everything until home has it for good. */
  #keep(keeper: Keeper, end: JobEnd): void {
    this.#keeping ??= keeper.keep(end).then((kept) => {
      this.#kept = kept
      // Else it is told again with the next connection.
      if (kept && this.#link) this.#forget(end)
    })
    if (this.#kept) this.#forget(end)
  }

  get #complete(): boolean {
    return this.#incomings.every(({ receiver }) => receiver.complete)
  }

  #handleStream(frame: Frame): void {
    if ('payload' in frame) return
    if (frame.type === FRAME.ack) {
      this.#outgoing(frame.stream).acknowledge(frame.received, frame.limit)
      this.#listener.limit(frame.stream, frame.limit)
    } else if (frame.type === FRAME.close) {
      this.#outgoing(frame.stream).close()
      this.#listener.closed(frame.stream)
    } else if (frame.type === FRAME.eof) {
      const { receiver } = this.#incoming(frame.stream)
      if (receiver.complete) return
      receiver.acceptEnd(frame.offset)
      this.#listener.eof(frame.stream, frame.offset)
    } else if (frame.type === FRAME.data) {
      const incoming = this.#incoming(frame.stream)
      const fresh = incoming.accept(frame.offset, frame.bytes)
      if (fresh.length === 0) return
      if (this.#closedOutputs.has(frame.stream)) incoming.consumed(fresh.length)
      else this.#listener.data(frame.stream, incoming.receiver.received - fresh.length, fresh)
    }
  }

  /** The job is there: both directions go on where the other side stopped. */
  #attached(received: number[]): void {
    const link = this.#link
    if (!link) return
    if (this.#rules.state === 'starting') {
      this.#apply({ type: 'started' })
      this.#listener.started()
    }
    this.renewed()
    for (const stream of this.#incomings) {
      stream.attach(link, this.channel)
      stream.acknowledge(true)
    }
    for (const stream of this.#closedOutputs) this.#incoming(stream).close()
    if (received.length !== this.#outgoings.length) {
      throw new KappaError('ProtocolError', 'it tells of other streams than the job has')
    }
    // What an earlier life of this home sent, it has sent whole.
    if (!this.#rejoined) {
      for (const [index, stream] of this.#outgoings.entries()) stream.resume(link, this.channel, received[index]!)
    }
    this.#sendSignals(link)
    this.#sendSize()
    this.#listener.hanging(false)
  }

  #apply(event: HomeEvent): void {
    if (this.#done) return
    const actions: HomeAction[] = this.#rules.handle(event, this.#host.now())
    for (const action of actions) this.#act(action)
  }

  #act(action: HomeAction): void {
    if (action.type === 'resolve' || action.type === 'attach') {
      // Attaching resolves as well: a ticket that was never started is void afterwards.
      const received = this.#incomings.map((stream) => stream.receiver.received)
      this.#link?.send(...encodeMessage('attach', this.channel, { ticket: this.ticket.id, received }))
    } else if (action.type === 'place-again') this.#finish(() => this.#listener.free(action.code, action.reason))
    else if (action.type === 'lost') {
      // Should the target be there after all, the job is ended before anybody is told that it is lost.
      this.#link?.send(...encodeMessage('signal', this.channel, { number: SIGKILL }))
      this.#finish(() => this.#listener.lost(action.reason, this.#goneMs))
    } else this.#exited(action.end)
  }

  get #goneMs(): number {
    return Math.max(0, this.#rules.goneAt - this.#host.now())
  }

  /** An end that was only resolved comes without what the job wrote: the target has given its output up. */
  #exited(end: JobEnd): void {
    // Its keeper had the end before its target forgot it.
    if (this.#kept) this.#finish(() => this.#keeper?.forgotten())
    else if (this.#end) this.#finish(() => this.#listener.ended(end))
    else this.#finish(() => this.#listener.lost('it ended while it was unreachable and its output is gone', 0))
  }

  #finish(tell: () => void): void {
    if (this.#done) return
    this.#done = true
    clearTimeout(this.#startTimer)
    for (const stream of this.#incomings) {
      stream.detach()
      stream.receiver.release()
    }
    for (const stream of this.#outgoings) stream.detach()
    this.#session.finished(this)
    tell()
  }

  #outgoing(stream: number): Outgoing {
    if (stream === STREAM.stdin) return this.#stdin
    if (stream === STREAM.ins) return this.#ins
    if (stream === STREAM.keys && this.#keys) return this.#keys
    throw new KappaError('ProtocolError', 'a stream was used against its direction')
  }

  #incoming(stream: number): Incoming {
    if (stream === STREAM.stdout) return this.#stdout
    if (stream === STREAM.stderr) return this.#stderr
    if (stream === STREAM.outs) return this.#outs
    if (stream === STREAM.screen && this.#screen) return this.#screen
    throw new KappaError('ProtocolError', 'a stream was used against its direction')
  }
}
