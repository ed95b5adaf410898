/**
 * The target's side of the exec protocol: takes tickets, runs jobs for other homes, joins their streams to links, and
 * ends whatever its home doesn't ask for any more.
 */

import type { Readable, Writable } from 'node:stream'
import type { JobEnd, JobUsage, PairingKind, PeerId } from '../../core/types.ts'
import { KappaError, messageOf } from '../../errors.ts'
import { ChunkQueue } from './chunk-queue.ts'
import { bounded, decodeMessage, type ExecMessage, encodeMessage } from './codec.ts'
import {
  DETACHED_SILENCE_MS,
  GONE_AFTER_LEASE_MS,
  HOLD_MS,
  JOBS_PER_HOME_MAX,
  KILL_AFTER_MS,
  LEASE_MS,
  LOST_AFTER_MS
} from './constants.ts'
import { WindowPool } from './flow.ts'
import { FRAME, type Frame, frameHeader, STREAM } from './frames.ts'
import { ExecLink, type FrameChannel, Incoming, Outgoing } from './link.ts'
import { type OutputFile, RecordedOutput, type Sink } from './recorded.ts'

const TICK_MS = 500
const SIGHUP = 1
const SIGTERM = 15
const SIGCONT = 18
const HOME_SILENT = 'home was silent for too long'
/** Signals that end a job while it still waits for its files. */
const FATAL = new Map([
  [1, 'SIGHUP'],
  [2, 'SIGINT'],
  [3, 'SIGQUIT'],
  [9, 'SIGKILL'],
  [SIGTERM, 'SIGTERM']
])
/** What a dead job left in its pipes is read at once; whoever still holds them after this long is no part of it. */
const DRAIN_MS = 5_000

export type StartMessage = ExecMessage<'start'>

/** How a job came here. */
export interface Grant {
  /** The weakest kind of pairing on the way. */
  kind: PairingKind
  /** Who brought its probe, from home's neighbour to ours; empty when home is a neighbour. */
  vouchers: PeerId[]
  /** What it asked of the machine by the owner's words for it (`--need`). */
  labels: string[]
}

export interface LaunchRequest {
  from: PeerId
  grant: Grant
  message: StartMessage
  /** The staged files, when `message.ins`. */
  ins: AsyncIterable<Uint8Array> | undefined
}

/** A started process with its streams; all of it is gone when `ended` resolves. */
export interface LaunchedJob {
  stdin: Writable
  stdout: Readable
  stderr: Readable
  /** When the start message asked for one. */
  terminal?: { keys: Writable; screen: Readable; resize(rows: number, columns: number): void }
  /** Is called with each signal that stops a job with a terminal. */
  onStopped?: (listener: (number: number) => void) => void
  signal(number: number): void
  kill(): void
  /** Of a job that sees home's files: home has given it up, nothing that it does may reach that any more. */
  cutOff?: () => void
  ended: Promise<JobEnd>
  /** After the end: what it took. */
  usage(): JobUsage | undefined
  /** After the end: the staged outputs, when any were asked for. */
  outs(): AsyncIterable<Uint8Array>
  /** Removes what the job left on disk. Called once, when home has everything. */
  dispose(): Promise<void>
}

/** Where what a detached job writes is kept until home has it. */
export interface JobRecording {
  stdout: OutputFile
  stderr: OutputFile
  /** Nothing of it stays. */
  remove(): Promise<void>
}

/** What the daemon gives to the target's side. */
export interface TargetHost {
  epoch: number
  /** Jobs can have a terminal here. */
  terminals: boolean
  /** ms of a clock that counts suspend. */
  now(): number
  startTicket(
    from: PeerId,
    ticket: string,
    command: string,
    tree: string | undefined
  ): ({ accepted: true } & Grant) | { accepted: false; code: string; reason: string }
  resolveTicket(
    from: PeerId,
    ticket: string
  ): { state: 'running' } | { state: 'ended'; end: JobEnd } | { state: 'void' }
  forgetTicket(from: PeerId, ticket: string): void
  launch(request: LaunchRequest): Promise<LaunchedJob>
  /** For a detached job; absent: there are none here. */
  record?(from: PeerId, grant: Grant): JobRecording
  jobStarted(from: PeerId, grant: Grant, message: StartMessage): void
  jobEnded(from: PeerId, ticket: string, end: JobEnd): void
  log(line: string): void
}

export class ExecTarget {
  readonly #host: TargetHost
  readonly #pool = new WindowPool()
  /** By ticket; bounded by the reservations that the core grants. */
  readonly #jobs = new Map<string, TargetJob>()
  /** One link for each connected home; bounded by the gater. */
  readonly #links = new Set<ExecLink>()
  #timer: NodeJS.Timeout | undefined
  #lastTick = 0

  constructor(host: TargetHost) {
    this.#host = host
  }

  /** Jobs that haven't ended. */
  get running(): number {
    let running = 0
    for (const job of this.#jobs.values()) if (!job.end) running++
    return running
  }

  /** Jobs that run, or whose output and end their homes haven't fetched. */
  get held(): number {
    return this.#jobs.size
  }

  /** Homes with a job here or with output that they haven't fetched. */
  holds(peer: PeerId): boolean {
    for (const job of this.#jobs.values()) if (job.from === peer) return true
    return false
  }

  /** A home is connected: what it had held while it slept it will attach, unless it has forgotten it. */
  homeIsBack(home: PeerId): void {
    for (const job of this.#jobs.values()) if (job.from === home) job.homeIsBack()
  }

  /** A home opened an exec stream. The caller has checked its right. */
  serve(from: PeerId, frames: FrameChannel): void {
    this.homeIsBack(from)
    /** By the channel that home chose; bounded. */
    const channels = new Map<number, TargetJob>()
    const link = new ExecLink(frames, this.#host.now)
    this.#links.add(link)
    const { epoch, terminals, record } = this.#host
    const detached = record !== undefined
    link.send(...encodeMessage('hello', 0, { epoch, terminals, times: true, holds: true, detached }))
    link.receive({
      onFrame: (frame) => {
        // After a suspend the jobs whose home gave up are ended before anybody is answered.
        if (this.#timer && this.#host.now() - this.#lastTick > 4 * TICK_MS) this.#tick()
        try {
          this.#handle(from, link, channels, frame)
        } catch (error) {
          if (!(error instanceof KappaError)) this.#host.log(`exec stream of ${from}: ${(error as Error).stack}`)
          link.abort(error as Error)
        }
      },
      onClose: () => {
        this.#links.delete(link)
        for (const job of channels.values()) job.detach(link)
      }
    })
  }

  /** Kills jobs, by ticket, whose home or who vouched for it is trusted no more; their homes are told why. */
  endJobs(tickets: readonly string[], why: string): void {
    for (const ticket of tickets) {
      const job = this.#jobs.get(ticket)
      if (!job) continue
      // What a detached one left is kept no longer than an ordinary one's.
      job.leased = true
      job.kill(why)
    }
  }

  /** Kills every job; their homes are told why, as in `its owner wants the machine back`. */
  endAll(why: string): void {
    for (const job of this.#jobs.values()) job.kill(why)
  }

  /** A pairing ended: jobs of that peer end, and nothing that they left is kept; those that it vouched for are ordinary ones. */
  distrust(peer: PeerId, why: string): void {
    for (const job of this.#jobs.values()) {
      if (job.from === peer) {
        job.kill(why)
        job.unwanted = true
        if (job.end) this.#drop(job)
      } else if (job.grant.vouchers.includes(peer)) job.leased = true
    }
  }

  close(): void {
    this.endAll('kappa was stopped there')
    clearInterval(this.#timer)
    for (const link of this.#links) void link.close()
  }

  #handle(from: PeerId, link: ExecLink, channels: Map<number, TargetJob>, frame: Frame): void {
    if (!('payload' in frame)) {
      // A frame may cross the job's end on the way: no job, nothing to do.
      channels.get(frame.channel)?.handleStream(frame)
      return
    }
    const { type, channel, payload } = frame
    if (type === FRAME.start) this.#start(from, link, channels, channel, decodeMessage('start', payload))
    else if (type === FRAME.renew) {
      for (const job of channels.values()) job.hold(link, false)
      link.send(frameHeader(FRAME.renewed, 0))
    } else if (type === FRAME.hold) {
      for (const job of channels.values()) job.hold(link, true)
      link.send(frameHeader(FRAME.held, 0))
    } else if (type === FRAME.resolve) {
      const { ticket } = decodeMessage('resolve', payload)
      const outcome = this.#host.resolveTicket(from, ticket)
      link.send(...encodeMessage('resolved', channel, { epoch: this.#host.epoch, outcome }))
    } else if (type === FRAME.attach) this.#attach(from, link, channels, channel, decodeMessage('attach', payload))
    else if (type === FRAME.signal) channels.get(channel)?.signal(decodeMessage('signal', payload).number)
    else if (type === FRAME.resize) channels.get(channel)?.resize(decodeMessage('resize', payload))
    else if (type === FRAME.forget) this.#forget(from, channels, channel)
    else throw new KappaError('ProtocolError', `unknown frame ${type} of the exec protocol`)
  }

  #start(from: PeerId, link: ExecLink, channels: Map<number, TargetJob>, channel: number, message: StartMessage): void {
    const epoch = this.#host.epoch
    const refuse = (code: string, reason: string): void =>
      link.send(...encodeMessage('refused', channel, { epoch, code, reason }))
    if (channels.has(channel)) throw new KappaError('ProtocolError', 'a channel of the exec protocol was used twice')
    if (this.#jobsOf(from) >= JOBS_PER_HOME_MAX) {
      refuse('slots', `it runs ${JOBS_PER_HOME_MAX} jobs of this home already`)
      return
    }
    const start = this.#host.startTicket(
      from,
      message.ticket,
      Buffer.from(message.argv[0]!).toString(),
      message.tree?.id
    )
    if (!start.accepted) {
      refuse(start.code, start.reason)
      return
    }
    this.#timer ??= setInterval(() => this.#tick(), TICK_MS)
    this.#lastTick = this.#host.now()
    const job = new TargetJob(this.#host, this.#pool, from, start, message)
    this.#jobs.set(message.ticket, job)
    channels.set(channel, job)
    link.send(frameHeader(FRAME.started, channel))
    this.#host.jobStarted(from, start, message)
    job.attach(link, channel)
    void job.run().then(() => {
      if (job.unwanted) this.#drop(job)
    })
  }

  /** Those whose end isn't fetched count too. */
  #jobsOf(from: PeerId): number {
    let jobs = 0
    for (const job of this.#jobs.values()) if (job.from === from) jobs++
    return jobs
  }

  #attach(
    from: PeerId,
    link: ExecLink,
    channels: Map<number, TargetJob>,
    channel: number,
    message: ExecMessage<'attach'>
  ): void {
    const job = this.#jobs.get(message.ticket)
    if (!job || job.from !== from) {
      // It ended and was dropped meanwhile: its end is on record.
      const outcome = this.#host.resolveTicket(from, message.ticket)
      link.send(...encodeMessage('resolved', channel, { epoch: this.#host.epoch, outcome }))
      return
    }
    if ((channels.get(channel) ?? job) !== job) {
      throw new KappaError('ProtocolError', 'a channel of the exec protocol was used twice')
    }
    // A job has one channel of a link: the last that asked.
    for (const [other, attached] of channels) if (attached === job) channels.delete(other)
    channels.set(channel, job)
    link.send(...encodeMessage('attached', channel, { received: job.receivedOffsets() }))
    job.resume(link, channel, message.received)
  }

  #forget(from: PeerId, channels: Map<number, TargetJob>, channel: number): void {
    const job = channels.get(channel)
    if (!job?.end) return
    channels.delete(channel)
    this.#drop(job)
    this.#host.forgetTicket(from, job.message.ticket)
  }

  #drop(job: TargetJob): void {
    if (!this.#jobs.delete(job.message.ticket)) return
    job.dispose()
    if (this.#jobs.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  /** Ends the jobs whose home is silent beyond the lease, then forgets them: their ends are on record. */
  #tick(): void {
    const now = this.#host.now()
    this.#lastTick = now
    for (const job of this.#jobs.values()) {
      job.watchTime()
      const silent = now - job.lastHeard
      const { leaseMs } = job
      if (silent < leaseMs) continue
      // What an ended job wrote is kept until home has surely given up.
      if (job.end) {
        if (!job.leased || silent > leaseMs + GONE_AFTER_LEASE_MS + LOST_AFTER_MS) this.#drop(job)
      } else if (silent < leaseMs + KILL_AFTER_MS) job.expire()
      else job.kill(HOME_SILENT)
    }
  }
}

/** One job of another home: its process, its streams, and the link it is attached to now. */
class TargetJob {
  readonly from: PeerId
  readonly grant: Grant
  readonly message: StartMessage
  end: JobEnd | undefined
  /** It lives as long as home says so; a detached one only until all its files are here. */
  leased = true
  /** Nobody may fetch what it leaves. */
  unwanted = false
  readonly #host: TargetHost
  readonly #stdin: Incoming
  readonly #ins: Incoming
  readonly #stdout = new Outgoing(STREAM.stdout)
  readonly #stderr = new Outgoing(STREAM.stderr)
  readonly #outs = new Outgoing(STREAM.outs)
  /** Packings of the outs so far: home may have lost what it got, with its memory. */
  #packings = 0
  #packing = false
  /** What a detached job writes is kept until home has it. */
  readonly #recording: JobRecording | undefined
  readonly #recorded: RecordedOutput[] = []
  /** What stdout and stderr go to. */
  readonly #sinks: readonly Sink[]
  /** Of its terminal. */
  readonly #keys: Incoming | undefined
  readonly #screen: Outgoing | undefined
  /** In the order in which attached tells of them; those of a terminal are the last. */
  readonly #incomings: Incoming[]
  readonly #outgoings: Outgoing[]
  readonly #insQueue = new ChunkQueue()
  /** Stdin that arrived before the process stood; bounded by the window. */
  #early: Uint8Array[] = []
  /** Keys likewise. */
  #earlyKeys: Uint8Array[] = []
  #size: ExecMessage<'resize'> | undefined
  /** The signal that stopped it; home is told again over a new link. */
  #stoppedBy: number | undefined
  #process: LaunchedJob | undefined
  #link: ExecLink | undefined
  #channel = 0
  #heard: number
  /** Its home announced that it goes to sleep, and isn't back. */
  #held = false
  #killed = false
  #killedFor: string | undefined
  #expired = false
  /** When its process stood, as long as it does, and when the time that it may run was over. */
  #stoodAt: number | undefined
  #timedOutAt: number | undefined
  #timer: NodeJS.Timeout | undefined
  /** The signal that ended it while it waited for its files. */
  #fatal: string | undefined
  /** While its streams are being joined to a new link, one by one. */
  #resuming = false
  #stdinClosed = false
  /** Signals that arrived before the process stood; each number once. */
  #earlySignals = new Set<number>()

  constructor(host: TargetHost, pool: WindowPool, from: PeerId, grant: Grant, message: StartMessage) {
    this.#host = host
    this.from = from
    this.grant = grant
    this.message = message
    this.#heard = host.now()
    this.#stdin = new Incoming(STREAM.stdin, pool)
    this.#ins = new Incoming(STREAM.ins, pool)
    this.#incomings = [this.#stdin, this.#ins]
    this.#outgoings = [this.#stdout, this.#stderr, this.#outs]
    // A terminal is somebody's, and goes with them.
    this.#recording = message.detached && !message.terminal ? host.record?.(from, grant) : undefined
    if (this.#recording) {
      const { stdout, stderr } = this.#recording
      this.#recorded = [new RecordedOutput(stdout, this.#stdout), new RecordedOutput(stderr, this.#stderr)]
      for (const output of this.#recorded) output.onUnkept = () => this.#sendUnkept()
      this.leased = message.ins
    }
    this.#sinks = this.#recording ? this.#recorded : [this.#stdout, this.#stderr]
    if (!message.terminal) return
    this.#keys = new Incoming(STREAM.keys, pool)
    this.#screen = new Outgoing(STREAM.screen)
    this.#incomings.push(this.#keys)
    this.#outgoings.push(this.#screen)
  }

  get lastHeard(): number {
    return Math.max(this.#heard, this.#link?.lastHeard ?? 0)
  }

  /** It is ended after so much silence of its home, ms. */
  get leaseMs(): number {
    if (!this.leased) return DETACHED_SILENCE_MS
    const { leaseMs = LEASE_MS } = this.message
    return this.#held ? Math.max(HOLD_MS, leaseMs) : leaseMs
  }

  /** Its home goes to sleep, or is awake; what an older link brings late says nothing. */
  hold(link: ExecLink, held: boolean): void {
    if (this.#link === link) this.#held = held
  }

  homeIsBack(): void {
    const now = this.#host.now()
    // Too late: it is being ended.
    if (!this.#held || now - this.lastHeard >= this.leaseMs) return
    this.#held = false
    this.#heard = now
  }

  receivedOffsets(): number[] {
    return this.#incomings.map(({ receiver }) => receiver.received)
  }

  attach(link: ExecLink, channel: number): void {
    this.#link = link
    this.#channel = channel
    for (const stream of [...this.#incomings, ...this.#outgoings]) stream.attach(link, channel)
  }

  resume(link: ExecLink, channel: number, received: number[]): void {
    if (received.length !== this.#outgoings.length) {
      throw new KappaError('ProtocolError', 'home tells of other streams than the job has')
    }
    this.#detachStreams()
    this.#link = link
    this.#channel = channel
    this.#held = false
    for (const stream of this.#incomings) {
      stream.attach(link, channel)
      stream.acknowledge(true)
    }
    if (this.#stdinClosed) this.#stdin.close()
    this.#resuming = true
    for (const [index, stream] of this.#outgoings.entries()) this.#resumeOne(index, stream, received[index]!)
    this.#resuming = false
    this.#sendStopped()
    this.#sendUnkept()
    this.#sendEnd()
  }

  /** A home that was started anew may lack what it had acknowledged. */
  #resumeOne(index: number, stream: Outgoing, received: number): void {
    const link = this.#link!
    const recorded = this.#recorded[index]
    if (recorded) {
      if (!recorded.rewind(received)) throw new KappaError('ProtocolError', 'home has more than the job wrote')
      stream.attach(link, this.#channel)
    } else if (this.#recording && stream === this.#outs && received < stream.sender.received) {
      if (received > 0) throw new KappaError('ProtocolError', 'home asks for a part of the files again')
      this.#packAgain()
      stream.attach(link, this.#channel)
    } else stream.resume(link, this.#channel, received)
  }

  detach(link: ExecLink): void {
    if (this.#link !== link) return
    this.#heard = this.lastHeard
    this.#detachStreams()
    this.#link = undefined
  }

  #detachStreams(): void {
    for (const stream of [...this.#incomings, ...this.#outgoings]) stream.detach()
  }

  async run(): Promise<void> {
    let end = bounded(await this.#execute())
    clearTimeout(this.#timer)
    this.#stoodAt = undefined
    if (end.signal !== null && this.#killedFor !== undefined) {
      end = { ...end, error: { name: 'RefusedError', message: `the job was ended: ${this.#killedFor}` } }
    } else if (this.#timedOutAt !== undefined) {
      end = { ...end, error: { name: 'TimeoutError', message: 'the job was ended: it ran for as long as it may' } }
    }
    // Its slot is free, however long home takes to fetch what it left.
    this.#host.jobEnded(this.from, this.message.ticket, end)
    const succeeded = end.exitCode === 0 && this.#timedOutAt === undefined
    if (this.#process && (succeeded || this.message.outAlways)) {
      try {
        await this.#sendOuts(this.#process)
      } catch (error) {
        // The command did run: how it ended stays true.
        end = bounded({ ...end, error: this.#errorOf(error) })
      }
    }
    for (const sink of this.#sinks) sink.end()
    for (const stream of this.#outgoings) if (!this.#recording || stream === this.#outs) stream.end()
    this.end = end
    this.#early = []
    this.#earlyKeys = []
    for (const stream of this.#outgoings) stream.onEnded = () => this.#sendEnd()
    this.#sendEnd()
  }

  /** From the launch to the moment when nothing of the job lives and all that it wrote was read. */
  async #execute(): Promise<JobEnd> {
    try {
      const ins = this.message.ins ? this.#insQueue.read((bytes) => this.#ins.consumed(bytes)) : undefined
      const job = await this.#host.launch({ from: this.from, grant: this.grant, message: this.message, ins })
      this.#process = job
      this.#stoodAt = this.#host.now()
      this.watchTime()
      const flood = this.#join(job)
      if (this.#killed) job.kill()
      for (const number of this.#earlySignals) job.signal(number)
      const end = withUsage(await job.ended, job.usage())
      flood()
      await drained(job)
      return end
    } catch (error) {
      if (this.#fatal !== undefined) return { exitCode: null, signal: this.#fatal }
      this.#process?.kill()
      return { exitCode: null, signal: null, error: this.#errorOf(error) }
    }
  }

  #errorOf(error: unknown): NonNullable<JobEnd['error']> {
    if (error instanceof KappaError) return { name: error.name, message: error.message }
    this.#host.log(`job ${this.message.job} of ${this.from}: ${(error as Error).stack}`)
    return { name: 'DaemonError', message: messageOf(error) }
  }

  /** The end follows the last byte of every stream. */
  #sendEnd(): void {
    const flushed = this.#outgoings.every(({ sender }) => sender.ended)
    if (!this.end || !flushed || this.#resuming) return
    this.#sendUnkept()
    this.#link?.send(...encodeMessage('end', this.#channel, this.end))
  }

  /** Returns what lifts the backpressure. */
  #join(job: LaunchedJob): () => void {
    job.stdin.on('error', () => this.#closeStdin())
    job.stdin.on('close', () => this.#closeStdin())
    const early = this.#early
    this.#early = []
    for (const bytes of early) this.#feed(bytes)
    if (this.#stdin.receiver.complete) job.stdin.end()
    if (this.#recording) job.stdin.end()
    const lifts = [pour(job.stdout, this.#sinks[0]!), pour(job.stderr, this.#sinks[1]!)]
    if (job.terminal && this.#screen) lifts.push(this.#joinTerminal(job.terminal, this.#screen))
    job.onStopped?.((number) => {
      this.#stoppedBy = number
      this.#sendStopped()
    })
    return () => {
      for (const lift of lifts) lift()
    }
  }

  #joinTerminal(terminal: NonNullable<LaunchedJob['terminal']>, shown: Outgoing): () => void {
    const { keys, screen } = terminal
    // A terminal that is gone takes all that is typed.
    keys.on('error', () => undefined)
    const early = this.#earlyKeys
    this.#earlyKeys = []
    for (const bytes of early) this.#type(bytes)
    if (this.#keys?.receiver.complete) keys.end()
    if (this.#size) terminal.resize(this.#size.rows, this.#size.columns)
    return pour(screen, shown)
  }

  #type(bytes: Uint8Array): void {
    const keys = this.#process?.terminal?.keys
    if (!keys) this.#earlyKeys.push(bytes)
    else if (!keys.writable) this.#keys?.consumed(bytes.length)
    else keys.write(bytes, () => this.#keys?.consumed(bytes.length))
  }

  /** Its terminal has a new size. */
  resize(size: ExecMessage<'resize'>): void {
    this.#size = size
    this.#process?.terminal?.resize(size.rows, size.columns)
  }

  #sendStopped(): void {
    if (this.#stoppedBy === undefined || this.end) return
    this.#link?.send(...encodeMessage('stopped', this.#channel, { number: this.#stoppedBy }))
  }

  /** What of the recording was lost; its count is final with the end. */
  #sendUnkept(): void {
    const lost = this.#recorded.flatMap(({ unkept }) => unkept ?? [])
    const [first] = lost
    if (first === undefined) return
    const bytes = lost.reduce((sum, unkept) => sum + unkept.bytes, 0)
    this.#link?.send(...encodeMessage('unkept', this.#channel, { bytes, reason: first.why.slice(0, 1_024) }))
  }

  async #sendOuts(job: LaunchedJob): Promise<void> {
    if (this.message.outs.length === 0) return
    this.#packing = true
    try {
      for (let packing = -1; packing !== this.#packings; ) {
        packing = this.#packings
        await this.#packOnce(job, packing)
      }
    } finally {
      this.#packing = false
    }
  }

  async #packOnce(job: LaunchedJob, packing: number): Promise<void> {
    for await (const bytes of job.outs()) {
      if (packing !== this.#packings) return
      this.#outs.push(bytes)
      while (this.#outs.full && !this.#killed && packing === this.#packings) {
        await new Promise<void>((resolve) => {
          this.#outs.onRoom = resolve
        })
      }
      if (this.#killed) throw new KappaError('StagingError', 'the job was ended before its files had left')
      if (this.#outs.closed) return
    }
  }

  #packAgain(): void {
    const job = this.#process
    this.#packings++
    this.#outs.restart(0)
    this.#outs.onRoom()
    // One that is under way begins again by itself.
    if (this.#packing || !this.end || !job) return
    this.#sendOuts(job)
      .catch((error) => {
        if (this.end) this.end = bounded({ ...this.end, error: this.#errorOf(error) })
      })
      .finally(() => this.#outs.end())
  }

  #closeStdin(): void {
    if (this.#stdinClosed || this.#stdin.receiver.complete) return
    this.#stdinClosed = true
    this.#stdin.close()
  }

  #feed(bytes: Uint8Array): void {
    const stdin = this.#process?.stdin
    if (this.#stdinClosed) this.#stdin.consumed(bytes.length)
    else if (!stdin) this.#early.push(bytes)
    else stdin.write(bytes, () => this.#stdin.consumed(bytes.length))
  }

  handleStream(frame: Frame): void {
    if ('payload' in frame) return
    if (frame.type === FRAME.ack || frame.type === FRAME.close) {
      const { stream } = frame
      const outgoing = [undefined, this.#stdout, this.#stderr, undefined, this.#outs, undefined, this.#screen][stream]
      if (!outgoing) throw new KappaError('ProtocolError', 'home acknowledged a stream that it sends itself')
      if (frame.type === FRAME.ack) outgoing.acknowledge(frame.received, frame.limit)
      else this.#closeOutput(frame.stream, outgoing)
      return
    }
    const incoming = [this.#stdin, undefined, undefined, this.#ins, undefined, this.#keys][frame.stream]
    if (!incoming) throw new KappaError('ProtocolError', 'home sent on a stream that flows to it')
    const before = incoming.receiver.complete
    if (frame.type === FRAME.eof) incoming.receiver.acceptEnd(frame.offset)
    else {
      const fresh = incoming.accept(frame.offset, frame.bytes)
      if (fresh.length === 0) return
      if (incoming === this.#stdin) this.#feed(fresh)
      else if (incoming === this.#keys) this.#type(fresh)
      else this.#insQueue.push(fresh)
    }
    if (before || !incoming.receiver.complete) return
    if (incoming === this.#ins && this.#recording) this.#release()
    if (incoming === this.#stdin) this.#process?.stdin.end()
    else if (incoming === this.#keys) this.#process?.terminal?.keys.end()
    else this.#insQueue.end()
  }

  /** All its files are here: home may go, and is told so at once. */
  #release(): void {
    this.leased = false
    this.#ins.acknowledge(true)
  }

  /** The consumer at home is gone: the job gets SIGPIPE when it writes on. */
  #closeOutput(stream: number, outgoing: Outgoing): void {
    outgoing.close()
    if (this.#recording) return
    if (stream === STREAM.stdout) this.#process?.stdout.destroy()
    else if (stream === STREAM.stderr) this.#process?.stderr.destroy()
    else if (stream === STREAM.screen) this.#process?.terminal?.screen.destroy()
  }

  signal(number: number): void {
    if (number === SIGCONT) this.#stoppedBy = undefined
    if (this.#process) {
      this.#process.signal(number)
      return
    }
    this.#earlySignals.add(number)
    const fatal = FATAL.get(number)
    if (!this.message.ins || fatal === undefined) return
    this.#fatal ??= fatal
    this.#insQueue.fail(new KappaError('StagingError', 'the job was ended before its files had arrived'))
  }

  /** The lease ran out: TERM once, or HUP as from a terminal that was closed; KILL follows from the clock. */
  expire(): void {
    if (this.#expired) return
    this.#expired = true
    this.#killedFor ??= HOME_SILENT
    this.#process?.cutOff?.()
    this.signal(this.#keys ? SIGHUP : SIGTERM)
  }

  /** Ends it when it has run as long as it may: TERM, which a stopped one must be woken to get, and KILL later. */
  watchTime(): void {
    const { timeoutMs = 0 } = this.message
    if (timeoutMs === 0 || this.#stoodAt === undefined) return
    const now = this.#host.now()
    if (this.#timedOutAt === undefined && now - this.#stoodAt >= timeoutMs) {
      this.#timedOutAt = now
      this.signal(SIGTERM)
      this.signal(SIGCONT)
    }
    if (this.#timedOutAt !== undefined && now - this.#timedOutAt >= KILL_AFTER_MS) this.#process?.kill()
    const next = this.#timedOutAt === undefined ? this.#stoodAt + timeoutMs : this.#timedOutAt + KILL_AFTER_MS
    clearTimeout(this.#timer)
    // The clock counts a suspend, timers don't: the next tick looks again.
    if (next > now) this.#timer = setTimeout(() => this.watchTime(), Math.min(next - now, TICK_MS))
  }

  /** Ends it at once, for a reason that is not the command's own. */
  kill(why: string): void {
    this.#killed = true
    this.#killedFor ??= why
    this.#insQueue.fail(new KappaError('StagingError', 'the job was ended before its files had arrived'))
    this.#outs.onRoom()
    this.#process?.kill()
  }

  dispose(): void {
    this.#detachStreams()
    for (const { receiver } of this.#incomings) receiver.release()
    this.#recording?.remove().catch((error) => this.#host.log(`job ${this.message.job}: ${messageOf(error)}`))
    this.#process?.dispose().catch((error) => this.#host.log(`job ${this.message.job}: ${error.message}`))
  }
}

function withUsage(end: JobEnd, usage: JobUsage | undefined): JobEnd {
  return usage === undefined ? end : { ...end, usage }
}

/**
 * Joins a source to a stream, with backpressure. Returns what lifts it, for when the job is dead: what its pipe still
 * holds is little, and a consumer that takes nothing must not keep the job from being over.
 */
function pour(source: Readable, stream: Sink): () => void {
  if (stream.closed) source.destroy()
  let braking = true
  stream.onRoom = () => source.resume()
  source.on('data', (bytes: Buffer) => {
    stream.push(bytes)
    if (braking && stream.full) source.pause()
  })
  source.on('end', () => stream.end())
  source.on('error', () => stream.end())
  return () => {
    braking = false
    source.resume()
  }
}

/** Resolves when all outputs of a dead job have given everything or were closed. */
async function drained({ stdout, stderr, terminal }: LaunchedJob): Promise<void> {
  const outputs = terminal ? [stdout, stderr, terminal.screen] : [stdout, stderr]
  const late = setTimeout(() => {
    for (const output of outputs) output.destroy()
  }, DRAIN_MS)
  await Promise.all(outputs.map(over))
  clearTimeout(late)
}

function over(source: Readable): Promise<void> {
  if (source.readableEnded || source.destroyed) return Promise.resolve()
  return new Promise((resolve) => {
    source.once('end', resolve)
    source.once('close', resolve)
    source.once('error', () => resolve())
  })
}
