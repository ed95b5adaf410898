/** One run of `kappa run`, from its request to the end that its client is told. */

import type { z } from 'zod'
import type { Sent } from '../core/judging.ts'
import type { FinishedRun } from '../core/learning.ts'
import { AWAY } from '../core/placing.ts'
import type {
  Candidate,
  JobEnd,
  JobUsage,
  PairingKind,
  PeerId,
  PlacementTrace,
  PlaceRequest,
  TracedRefusal
} from '../core/types.ts'
import { EXIT, KappaError } from '../errors.ts'
import { printable } from '../printable.ts'
import { KILL_AFTER_MS, LOST_AFTER_MS, TREE_LOST } from '../protocols/exec/constants.ts'
import { ackFrame, closeFrame, dataHeader, eofFrame, FRAME, type Frame, STREAM } from '../protocols/exec/frames.ts'
import type { HomeListener, RemoteJob } from '../protocols/exec/home.ts'
import type { ControlConnection } from './control.ts'
import {
  jsonOf,
  type QueuedNews,
  type RunEnd,
  type RunParams,
  type StartedHere,
  type StartedThere
} from './control-codec.ts'
import { checked, localEndedFrame, localFrame, resizeFrame, signalFrame } from './control-requests.ts'
import type { Placement } from './core-driver.ts'
import type { DetachedJob, DetachedState } from './detached.ts'
import type { DetachedRun } from './detached-run.ts'
import { travellingEnvironment } from './environment.ts'
import type { JobRecord } from './history.ts'
import { whyNobody } from './nobody.ts'
import { toldEnd } from './run-end.ts'
import type { LiveJob, Runs } from './runs.ts'
import type { ShownTree } from './shown-trees.ts'
import { WAKE_MS } from './waking.ts'

/** From the request to the moment when the start message must be handed over, wherever. */
const START_WITHIN_MS = 500
/** A target that was placed gets at least this long to be reached. */
const REACH_MS_MIN = 100
/** A walk that had less time would find nobody. */
const WALK_MS_MIN = 50
/** A start that went unanswered has cost more than this: one more walk, of so long, adds little. */
const LATE_MS = 1_000
const LATE_WALK_MS = 100
/** Larger pieces of input come whether or not there was an answer to the last. */
const TURN_BYTES_MAX = 4_096
/** Candidates and refusals of all tries that a trace tells; of refusals the latest. */
const TOLD_MAX = 64
const SIGHUP = 1
const SIGTERM = 15
const SIGKILL = 9
/** Who asks for the end of a job so often while its target can't be reached waits no longer. */
const IMPATIENCE = 2
const CTRL_C = 3
/** CHLD, CONT, STOP, TSTP, TTIN, TTOU, URG, WINCH: they end no process that doesn't ask for it. */
const HARMLESS = new Set([17, 18, 19, 20, 21, 22, 23, 28])

type PlacedThere = Extract<Placement, { where: 'there' }>

export class Run implements HomeListener, LiveJob {
  pid: number
  readonly #runs: Runs
  readonly #id: string
  readonly #connection: ControlConnection
  readonly #params: RunParams
  /** Under which its runs are remembered. */
  readonly #key: string | undefined
  readonly #request: PlaceRequest
  readonly #requestedAt: number
  #askedAt: number
  readonly #unwanted: readonly PeerId[]
  /** It is of those that never go elsewhere unasked. */
  readonly #isKept: boolean
  readonly #record: JobRecord
  #remote: RemoteJob | undefined
  /** In files mode, once it is placed. */
  #tree: ShownTree | undefined
  /** As it was called at the start: an unpaired machine has no name any more. */
  #targetName = ''
  /** How far the target is trusted. */
  #kind: PairingKind = 'friend'
  #deciding = true
  /** Resolved when the job is given up that waits for machines to wake. */
  #waking: PromiseWithResolvers<TracedRefusal[]> | undefined
  #here = false
  #placedHere = false
  #done = false
  /** What was handed to the client, and what its consumer has acknowledged, by stream. */
  readonly #received = new Map<number, number>()
  readonly #consumed = new Map<number, number>()
  #killTimer: NodeJS.Timeout | undefined
  /** Takes what the job gives, when it was asked for as a detached one. */
  #detached: DetachedRun | undefined
  #unansweredTimer: NodeJS.Timeout | undefined
  #started = false
  /** When it started, here or there. */
  #startedAt = 0
  /** What the target said of itself; undefined where that doesn't compare. */
  #sent: Sent | undefined
  /** Bytes that went either way: files, and what it read and wrote while it ran. */
  #stagedBytes = 0
  #streamedBytes = 0
  /** How often it wrote after it had read a little, and whether it has read since. */
  #turns = 0
  #fed = false
  /** Its client may say at once that it has none. */
  #hasStdin = true
  /** In line at home, and where it was last told to be. */
  #waited = false
  #position: number | undefined
  /** The connection to the target is lost. */
  #hanging = false
  /** How often its end was asked for since. */
  #impatience = 0
  /** The signal that the job got while its start was under way: should it be free again, it goes nowhere else. */
  #ending: number | undefined

  constructor(
    runs: Runs,
    id: string,
    connection: ControlConnection,
    params: RunParams,
    key: string | undefined,
    request: PlaceRequest
  ) {
    this.#runs = runs
    this.#id = id
    this.#connection = connection
    this.#params = params
    this.#key = key
    this.#request = request
    this.pid = params.pid
    this.#requestedAt = this.#askedAt = runs.host.now()
    this.#unwanted = request.not
    this.#isKept = request.stays !== undefined && !request.local
    this.#record = {
      id,
      role: 'home',
      home: runs.host.self,
      target: null,
      state: 'placing',
      argv: params.argv.map((word) => Buffer.from(word, 'latin1')),
      startedAt: Date.now(),
      endedAt: null,
      exitCode: null,
      signal: null,
      reason: null,
      trace: null,
      error: null
    }
    connection.onFrame((frame) => this.#handle(frame))
    connection.onGone(() => this.#clientGone())
  }

  get root(): number | undefined {
    return this.#here ? this.pid : undefined
  }

  readonly resting = false

  get unreachable(): boolean {
    return this.#remote !== undefined && !this.#remote.isConnected
  }

  async start(): Promise<void> {
    this.#note({})
    const { on, local } = this.#request
    const sleepers = !local && (on.length > 0 || this.#params.options.wake) ? this.#runs.host.sleepers(on) : []
    if (sleepers.length > 0) await this.#wake(sleepers)
    if (this.#done) return
    this.#avoidUnreachable()
    for (;;) {
      const placement = await this.#runs.driver.place(this.#id, this.#request, (position) => this.#queued(position))
      if (this.#done) {
        this.#giveBack(placement)
        return
      }
      // Who waits in line is patient: what counts is the time from here.
      if (this.#request.wait || this.#waited || this.#request.patienceMs !== undefined)
        this.#askedAt = this.#runs.host.now()
      this.#trace(placement)
      if (placement.where === 'nowhere') throw this.#nobody(placement.trace)
      const unseen =
        placement.where === 'there' && this.#request.needs.mode === 'files' ? await this.#show(placement) : undefined
      if (this.#done) {
        this.#giveBack(placement)
        return
      }
      this.#deciding = false
      if (placement.where === 'here') {
        if (this.#params.detach) await this.#detachHere(placement.reason)
        else this.#runHere(placement)
        return
      }
      const free = unseen ?? (await this.#runThere(placement))
      if (!free) return
      this.#giveBack(placement)
      if (this.#done) return
      if (this.#ending !== undefined) {
        this.#cancelled(this.#ending)
        return
      }
      this.#again(placement, free)
    }
  }

  /** Until the first of them is there, or none comes, or the job is given up. */
  async #wake(sleepers: readonly PeerId[]): Promise<void> {
    const { host } = this.#runs
    this.#say(`waking ${sleepers.map((peer) => host.nameOf(peer)).join(', ')}, for up to ${WAKE_MS / 1_000} s`, true)
    const asked = sleepers.map(async (peer): Promise<TracedRefusal> => {
      const woken = await host.wake(peer)
      if (woken === 'up') throw woken
      return { peer, code: 'asleep', reason: woken === 'awake' ? 'it is awake, and kappa does not run there' : woken }
    })
    this.#waking = Promise.withResolvers()
    const refusals = await Promise.race([Promise.all(asked).catch(() => []), this.#waking.promise])
    this.#waking = undefined
    // What counts is the time from here.
    this.#askedAt = host.now()
    for (const { peer, reason } of refusals) this.#say(`${host.nameOf(peer)}: ${reason}`, this.#request.on.length === 0)
    this.#tried.refusals.push(...refusals)
  }

  /** Home's files, to where the job is to run; why it can't begin there, when that machine may not see where it would. */
  async #show({ ticket, kind }: PlacedThere): Promise<{ code: string; reason: string } | undefined> {
    const { cwd, options } = this.#params
    const { shares = [], programs = 'home' } = options
    const { target } = ticket
    const shown = await this.#runs.host.show({ job: this.#id, target, kind, directory: cwd, shares, programs })
    if (typeof shown === 'string') return { code: 'not-shown', reason: shown }
    this.#tree = shown
    if (this.#done) void shown.release(false)
    return undefined
  }

  /** A trace tells of all tries, and who would have had the job is why it stayed. */
  #trace(placement: Placement): void {
    placement.trace = this.#traced(placement.trace)
    if (placement.where === 'here') placement.reason = this.#failedStart ?? placement.reason
    this.#note({
      reason: 'reason' in placement ? placement.reason : 'nobody could take it',
      trace: placement.trace
    })
  }

  /** Who could not be reached a moment ago costs no job its time again, unless it was asked for by name. */
  #avoidUnreachable(): void {
    for (const { peer, reason } of this.#runs.host.unreachable()) {
      if (this.#request.on.includes(peer)) continue
      this.#tried.refusals.push({ peer, code: 'unreachable', reason })
      this.#request.not = [...this.#request.not, peer]
    }
  }

  /** What was promised for this job and isn't used would be held for a while: the target passes over what it has refused. */
  #giveBack(placement: Placement): void {
    const { driver, host } = this.#runs
    if (placement.where === 'here') driver.perform(driver.core.homeJobEnded(this.#id, host.now()))
    else if (placement.where === 'there') {
      const message = { type: 'release' as const, id: placement.probeId }
      driver.perform([{ type: 'send', to: placement.path[1]!, message }])
    }
  }

  /** Nothing ran at that target: the next try avoids it, and has what is left of the time. */
  #again({ ticket, path, trace }: PlacedThere, free: { code: string; reason: string }): void {
    const { wait, remote, on } = this.#request
    const { host } = this.#runs
    const { target } = ticket
    this.#deciding = true
    this.#tried = { ...trace, refusals: [...trace.refusals, { peer: target, ...free, hops: path.slice(1) }] }
    this.#failedStart ??= `${host.nameOf(target)}: ${free.reason}`
    // Who waits may come back to it later, and once who is shown the files anew.
    const isShownAnew = free.code === TREE_LOST && !this.#tried.refusals.slice(0, -1).some(isTreeLost)
    if (!isShownAnew) this.#request.not = [...(wait ? this.#unwanted : this.#request.not), target]
    this.#remote = undefined
    void this.#tree?.release(free.code === TREE_LOST)
    this.#tree = undefined
    if (wait || remote || on.length > 0) return
    const spentMs = host.now() - this.#askedAt
    const leftMs = START_WITHIN_MS - REACH_MS_MIN - spentMs
    if (leftMs >= WALK_MS_MIN) this.#request.budgetMs = leftMs
    else if (spentMs > LATE_MS && !this.#late) {
      this.#late = true
      this.#request.budgetMs = LATE_WALK_MS
    } else this.#request.stays = this.#failedStart
  }

  /** It was placed once more though its time was over. */
  #late = false

  /** What earlier tries saw, and who refused at the start, which placing alone doesn't see; at most TOLD_MAX of each. */
  #tried: { candidates: Candidate[]; refusals: TracedRefusal[]; names?: Record<PeerId, string> } = {
    candidates: [],
    refusals: []
  }
  /** Who would have had the job first, and why it hasn't. */
  #failedStart: string | undefined

  /** What was known of a machine when it was first considered is what decided. */
  #traced(trace: PlacementTrace): PlacementTrace {
    const { candidates, refusals, names } = this.#tried
    const known = new Set(candidates.map(({ peer }) => peer))
    const { host } = this.#runs
    const all: PlacementTrace = {
      ...trace,
      candidates: [...candidates, ...trace.candidates.filter(({ peer }) => !known.has(peer))]
        .slice(0, TOLD_MAX)
        .map((one) => (one.lacks === AWAY ? { ...one, lacks: host.tooFar(one.peer) ?? AWAY } : one)),
      refusals: [...refusals, ...trace.refusals]
        .slice(-TOLD_MAX)
        .map((one) => (one.reason === AWAY ? { ...one, reason: host.tooFar(one.peer) ?? AWAY } : one))
    }
    if (names !== undefined) all.names = { ...trace.names, ...names }
    if (this.#failedStart !== undefined) all.placedMs = this.#runs.host.now() - this.#requestedAt
    return all
  }

  #note(change: Partial<JobRecord>): void {
    Object.assign(this.#record, change)
    this.#runs.history.record(this.#record)
  }

  #queued(position: number): void {
    this.#waited = true
    this.#note({ state: 'queued' })
    this.#runs.watchLine()
    this.moved(position)
  }

  /** In line. A terminal shows it in place; without one -v tells it line by line. */
  moved(position: number): void {
    if (this.#position === position || !this.#deciding || this.#done) return
    const { terminal } = this.#params
    if (terminal) this.#connection.tell(FRAME.queued, { position } satisfies QueuedNews)
    const first = this.#position === undefined
    this.#position = position
    if (first || !terminal) this.#say(`waiting for a free slot, number ${position} in line`, false)
  }

  /** A line for the user: always with -v, else only on a terminal when it matters. */
  #say(text: string, matters: boolean): void {
    const { options, terminal } = this.#params
    if (options.verbose || (terminal && matters)) this.#connection.tell(FRAME.notice, { text: printable(text, 500) })
  }

  // --------------------------------------------------------------------------------------------------- here

  #runHere(placement: { reason: string; trace: PlacementTrace }): void {
    const { host } = this.#runs
    this.#here = true
    this.#startedAt = host.now()
    this.#note({ state: 'running', target: host.self })
    if (!host.paired())
      this.#say('running here: no machine is paired with this one yet; pair one with: kappa pair', true)
    else
      this.#say(
        `running here: ${placement.reason} (kappa why ${this.#id})`,
        this.#isKept || (!this.#request.local && isWorthALine(placement))
      )
    this.#connection.tell(FRAME.local, { id: this.#id } satisfies StartedHere)
  }

  #localEnded({ exitCode, signal, wallMs, timedOut, ...usage }: z.output<typeof localEndedFrame>): void {
    const { host } = this.#runs
    if (usage.cpuMs !== undefined) host.used(this.pid, usage.cpuMs)
    const speed = host.speed()
    if (exitCode === 0 && !timedOut && speed !== undefined && this.#key !== undefined)
      this.#learn({ speed, usage: { ...usage, wallMs: wallMs ?? host.now() - this.#startedAt } })
    const error = timedOut ? { name: 'TimeoutError', message: this.#timeUp() } : null
    this.#finish({ state: 'exited', exitCode, signal, error })
  }

  #timeUp(): string {
    return `the job was ended: it ran for ${(this.#params.options.timeoutMs ?? 0) / 1_000} s, its --timeout`
  }

  #learn(run: Omit<FinishedRun, 'key'>): void {
    this.#runs.host.learn(this.#key === undefined ? run : { key: this.#key, ...run })
  }

  // -------------------------------------------------------------------------------------------------- there

  async #runThere(placement: PlacedThere): Promise<{ code: string; reason: string } | undefined> {
    const { host, exec } = this.#runs
    const { target } = placement.ticket
    const { options } = this.#params
    const { path, addresses, kind, name, claim } = placement
    const isNeighbour = path.length === 2
    if (!isNeighbour && !host.meet(target, name, { path, addresses })) {
      return { code: 'unreachable', reason: 'there are too many targets that are no neighbours' }
    }
    this.#targetName = host.nameOf(target)
    this.#kind = kind
    this.#sent = claim && { id: this.#id, peer: target, claim, demand: this.#request.needs.demand }
    this.#note({ state: 'starting', target, ticket: placement.ticket })
    const { mode, programs: whose } = this.#request.needs
    const programs = whose === undefined ? {} : { programs: whose }
    const sight = mode !== 'files' ? 'nothing' : whose === 'target' ? 'files' : 'all'
    const environment = travellingEnvironment(this.#params.env, kind, options.env, options.noEnv, sight)
    const directory = Buffer.from(this.#params.cwd)
    const message = {
      job: this.#id,
      argv: this.#record.argv,
      env: environment.entries.map((entry) => Buffer.from(entry, 'latin1')),
      umask: this.#params.umask,
      nice: this.#params.nice,
      limits: this.#params.limits,
      home: host.name,
      mode,
      ...(this.#tree && { tree: { id: this.#tree.id, directory, news: this.#tree.news, ...programs } }),
      ins: this.#params.ins,
      outs: this.#params.outs,
      outAlways: this.#params.outAlways,
      ...(this.#params.pty ? { terminal: this.#params.pty } : {}),
      ...(options.timeoutMs ? { timeoutMs: options.timeoutMs } : {}),
      ...(options.leaseMs === undefined ? {} : { leaseMs: options.leaseMs })
    }
    if (this.#params.detach) this.#detached = await this.#keepDetached(placement)
    if (this.#done) {
      await this.#detached?.discard()
      return { code: 'cancelled', reason: 'it was given up' }
    }
    const left = START_WITHIN_MS - (host.now() - this.#askedAt)
    const within = Math.max(left, REACH_MS_MIN)
    return new Promise((resolve) => {
      this.#onFree = (free) => {
        if (free?.code !== 'not-connected' || isNeighbour) resolve(free)
        else resolve({ code: 'unreachable', reason: this.#whyUnreachable(target) ?? free.reason })
      }
      this.#onStarted = () => {
        this.#say(`running on ${this.#targetName}: ${placement.reason} (kappa why ${this.#id})`, false)
        if (environment.withheld.length > 0) {
          this.#say(
            `kept from ${this.#targetName}: ${environment.withheld.join(', ')}; pass one with --env NAME`,
            false
          )
        }
        resolve(undefined)
      }
      const detached = this.#detached
      this.#remote = exec.start(placement.ticket, message, within, detached ?? this, detached)
      if (!this.#hasStdin) this.#remote.endStream(STREAM.stdin)
      detached?.begin(this.#remote)
      if (detached) this.#unansweredTimer = setTimeout(() => this.#unanswered(detached), LOST_AFTER_MS)
    })
  }

  // ----------------------------------------------------------------------------------------------- there, detached

  /** Before anything is sent, all that a later daemon must know is on the disk. */
  async #keepDetached({ ticket, kind, path, addresses, reason }: PlacedThere): Promise<DetachedRun> {
    const { target } = ticket
    const meeting = path.length === 2 ? null : { path, addresses }
    const job = await this.#keep({ reason, target, targetName: this.#targetName, kind, ticket, meeting })
    return this.#runs.detachedRun(job, this.#record, this)
  }

  #keep(
    place: Pick<DetachedState, 'reason' | 'target' | 'targetName' | 'kind' | 'ticket' | 'meeting'>
  ): Promise<DetachedJob> {
    const { argv, outs, outAlways, cwd } = this.#params
    return this.#runs.detached.create({
      ...place,
      id: this.#id,
      argv,
      startedAt: this.#record.startedAt,
      outs,
      outAlways,
      directory: cwd,
      started: false,
      end: null,
      forgotten: false,
      unkept: null
    })
  }

  /** Its client starts the process that runs it, which from then on needs nobody. */
  async #detachHere(reason: string): Promise<void> {
    const { host } = this.#runs
    const place = {
      reason,
      target: host.self,
      targetName: host.name,
      kind: 'own',
      ticket: null,
      meeting: null
    } as const
    // Whatever comes of it, the core counts with it.
    this.#placedHere = true
    const job = await this.#keep(place)
    if (this.#connection.gone) this.#cancelled(SIGHUP)
    if (this.#done) {
      await this.#runs.detached.remove(job)
      return
    }
    this.#note({ state: 'running', target: host.self })
    this.#say(`running here: ${reason} (kappa why ${this.#id})`, false)
    const run = this.#runs.detachedHere(job, this.#record, () => {
      this.#connection.tell(FRAME.detached, { id: this.#id })
      this.#connection.end()
    })
    this.#leave(run)
    this.#connection.tell(FRAME.local, { directory: job.output.directory })
  }

  /** Its target has all that it needs: the job goes on without its client, which is told its id. */
  async #release(run: DetachedRun): Promise<void> {
    const released = run.release()
    this.#leave(run)
    await released
    this.#connection.tell(FRAME.detached, { id: this.#id })
    this.#connection.end()
  }

  #leave(run: LiveJob): void {
    this.#done = true
    clearInterval(this.#killTimer)
    clearTimeout(this.#unansweredTimer)
    this.#runs.handOver(this.#id, run)
  }

  /** Nobody waits for ever; the job is asked for until its target answers. */
  #unanswered(run: DetachedRun): void {
    if (this.#done || this.#started) return
    void run.release()
    this.#leave(run)
    const message = `${this.#targetName} does not answer; whether the job ${this.#id} runs there isn't known yet (kappa ps)`
    this.#tellEnd({ exitCode: null, signal: null, message, status: EXIT.lost })
  }

  #whyUnreachable(target: PeerId): string | undefined {
    return this.#runs.host.unreachable().find(({ peer }) => peer === target)?.reason
  }

  #onFree: (free: { code: string; reason: string } | undefined) => void = () => undefined
  #onStarted: () => void = () => undefined

  started(): void {
    this.#started = true
    this.#startedAt = this.#runs.host.now()
    if (this.#sent !== undefined) this.#runs.host.began(this.#sent, this.#key)
    this.#note({ state: 'running' })
    const { pty } = this.#params
    if (this.#detached && !this.#params.ins) {
      this.#onStarted()
      void this.#release(this.#detached)
      return
    }
    const told: StartedThere = {
      id: this.#id,
      kind: this.#kind,
      name: this.#targetName,
      ...(pty ? { terminal: pty.descriptors } : {})
    }
    this.#connection.tell(FRAME.started, told)
    this.#onStarted()
    if (this.#connection.gone) this.#clientGone()
  }

  data(stream: number, offset: number, bytes: Uint8Array): void {
    this.#count(stream, bytes.length)
    if (this.#connection.gone) {
      this.#remote?.consumed(stream, bytes.length)
      return
    }
    this.#received.set(stream, offset + bytes.length)
    this.#connection.send(dataHeader(0, stream, offset), bytes as Buffer)
  }

  #count(stream: number, bytes: number): void {
    if (stream === STREAM.ins || stream === STREAM.outs) this.#stagedBytes += bytes
    else this.#streamedBytes += bytes
    if (stream === STREAM.stdin) this.#fed = bytes <= TURN_BYTES_MAX
    else if (this.#fed && stream === STREAM.stdout) {
      this.#fed = false
      this.#turns++
    }
  }

  eof(stream: number, offset: number): void {
    this.#connection.send(eofFrame(0, stream, offset))
  }

  closed(stream: number): void {
    this.#connection.send(closeFrame(0, stream))
  }

  limit(stream: number, limit: number): void {
    this.#connection.send(ackFrame(0, stream, 0, limit))
    if (stream === STREAM.ins && this.#detached && !this.#done && this.#remote?.delivered(stream)) {
      void this.#release(this.#detached)
    }
  }

  hanging(hanging: boolean): void {
    const target = this.#targetName
    this.#impatience = 0
    this.#hanging = hanging
    const waiting = `the connection to ${target} is lost; waiting for it (Ctrl-C twice gives the job up)`
    this.#say(hanging ? waiting : `${target} is back`, true)
  }

  /** A lease may be long: nobody has to wait for it. Without its client the job is ended as soon as the target is back. */
  #interrupted(times: number): void {
    if (!this.#hanging || times === 0) return
    this.#impatience += times
    if (this.#impatience < IMPATIENCE) return
    const target = this.#targetName
    const message = `the job ${this.#id} was given up, it may run on: it is ended when ${target} is back, or by its lease`
    this.#tellEnd({ exitCode: null, signal: null, message, status: EXIT.lost })
  }

  stopped(number: number): void {
    this.#connection.tell(FRAME.stopped, { number })
  }

  free(code: string, reason: string): void {
    this.#onFree({ code, reason })
  }

  lost(reason: string, goneMs: number): void {
    this.#onFree(undefined)
    // Before anybody hears that it is lost: what it may still do there reaches nothing here.
    const closed = this.#tree?.release(true)
    if (closed === undefined) this.#tellLost(reason, goneMs, [])
    else void closed.then((unfinished) => this.#tellLost(reason, goneMs, unfinished))
  }

  #tellLost(reason: string, goneMs: number, unfinished: string[]): void {
    const target = this.#targetName
    const files = unfinishedText(unfinished)
    const message = `the job ${this.#id} on ${target} is lost: ${reason}. It may have run, its end is unknown${files}`
    this.#finish({ state: 'lost', error: { name: 'LostError', message } })
    this.#runs.lost(this.#remote!.ticket, this.#record)
    this.#tellEnd({
      exitCode: null,
      signal: null,
      message,
      status: EXIT.lost,
      again: { afterMs: goneMs, without: this.#record.target! }
    })
  }

  ended(end: JobEnd): void {
    this.#onFree(undefined)
    const { driver, host } = this.#runs
    driver.perform(driver.core.farJobEnded(this.#record.target!, this.#request.needs.demand, host.now()))
    const closed = this.#tree?.release(false)
    if (closed === undefined) this.#tellEnded(end, [])
    else void closed.then((unfinished) => this.#tellEnded(end, unfinished))
  }

  #tellEnded(end: JobEnd, unfinished: string[]): void {
    if (end.exitCode === 0 && end.error === undefined) this.#learnFrom(end.usage)
    this.#finish({ state: 'exited', exitCode: end.exitCode, signal: end.signal, error: end.error ?? null })
    const { exitCode, error } = end
    const [denied] = exitCode === 0 ? [] : (this.#tree?.denied() ?? [])
    if (denied !== undefined) this.#say(`the job was denied ${denied}; --share ${denied}`, true)
    if (unfinished.length > 0) this.#say(`what showed the job its files is gone${unfinishedText(unfinished)}`, true)
    const where = ` (on ${this.#targetName})`
    if (error?.name === 'TimeoutError') this.#say(`${this.#timeUp()}${where}`, true)
    const again = error !== undefined && NOT_ITS_OWN.has(error.name) && exitCode === null
    const told = again ? { again: { afterMs: 0, without: this.#record.target! } } : {}
    this.#tellEnd({ ...toldEnd(end, where), ...told })
  }

  /** A target that doesn't tell what the job took is taken by what was seen from here. */
  #learnFrom(usage: JobUsage | undefined): void {
    if (this.#sent === undefined || !this.#started) return
    const totalMs = this.#runs.host.now() - this.#startedAt
    this.#learn({
      sent: this.#sent,
      usage: usage ?? { wallMs: totalMs },
      link: {
        totalMs,
        stagedBytes: this.#stagedBytes,
        streamedBytes: this.#streamedBytes,
        turns: this.#turns
      }
    })
  }

  #tellEnd(end: RunEnd): void {
    this.#connection.tell(FRAME.end, end)
  }

  // -------------------------------------------------------------------------------------------- from the client

  #handle(frame: Frame): void {
    if (this.#done) return
    if ('payload' in frame) {
      if (frame.type === FRAME.signal) this.signal(checked(signalFrame, jsonOf(frame), 'signal').number)
      else if (frame.type === FRAME.resize) this.#resize(checked(resizeFrame, jsonOf(frame), 'size'))
      else if (frame.type === FRAME.local && this.#here) this.pid = checked(localFrame, jsonOf(frame), 'process').pid
      else if (frame.type === FRAME.localEnded && this.#here)
        this.#localEnded(checked(localEndedFrame, jsonOf(frame), 'end'))
      return
    }
    const remote = this.#remote
    if (!remote) {
      if (frame.type === FRAME.eof && frame.stream === STREAM.stdin) this.#hasStdin = false
      return
    }
    if (frame.type === FRAME.data) {
      this.#count(frame.stream, frame.bytes.length)
      remote.write(frame.stream, frame.bytes)
      if (this.#hanging && frame.stream === STREAM.keys) {
        this.#interrupted(frame.bytes.filter((byte) => byte === CTRL_C).length)
      }
    } else if (frame.type === FRAME.eof) remote.endStream(frame.stream)
    else if (frame.type === FRAME.close) remote.closeOutput(frame.stream)
    else if (frame.type === FRAME.ack) {
      const before = this.#consumed.get(frame.stream) ?? 0
      this.#consumed.set(frame.stream, frame.received)
      remote.consumed(frame.stream, frame.received - before)
    }
  }

  /** Before anything runs, a signal that would end the client ends the placing; a local job gets it from the client. */
  signal(number: number): void {
    const ending = !this.#started && !HARMLESS.has(number)
    if (this.#here) this.#signalClient(number)
    else if (this.#remote) {
      if (ending) this.#ending ??= number
      if (ending && this.#remote.cancel()) this.#cancelled(number)
      else {
        this.#remote.signal(number)
        this.#interrupted(HARMLESS.has(number) ? 0 : 1)
      }
    } else if (ending) {
      if (this.#deciding) this.#runs.driver.cancel(this.#id)
      this.#cancelled(number)
    }
  }

  /** Before it starts, the start tells it. */
  #resize(size: { rows: number; columns: number }): void {
    if (this.#params.pty) Object.assign(this.#params.pty, size)
    this.#remote?.resize(size.rows, size.columns)
  }

  #signalClient(number: number): void {
    try {
      process.kill(this.pid, number)
    } catch {
      // It has ended; its connection tells so.
    }
  }

  /** Nothing ran and nothing will. */
  #cancelled(number: number): void {
    const signal = signalName(number)
    const why = this.#connection.gone ? 'its client went away' : 'it was cancelled'
    void this.#detached?.discard()
    this.#finish({ state: 'exited', signal, reason: `${why} before it started` })
    this.#onFree({ code: 'cancelled', reason: why })
    this.#tellEnd({ exitCode: null, signal })
  }

  /**
   * The client's death is the job's: TERM at once, or HUP as from a terminal that was closed; KILL later, and again should
   * the connection swallow it.
   */
  #clientGone(): void {
    if (this.#done) return
    if (this.#here) {
      this.#finish({
        state: 'lost',
        error: { name: 'LostError', message: 'its client was ended; the command may go on' }
      })
    } else if (!this.#remote || (!this.#started && this.#remote.cancel())) {
      if (!this.#remote) this.#runs.driver.cancel(this.#id)
      this.#cancelled(SIGHUP)
    } else {
      this.#ending ??= SIGHUP
      // Nobody reads what it says. But it may want to say what it tidies up, as make does: it must not die of that.
      for (const stream of [STREAM.stdout, STREAM.stderr]) {
        this.#remote.consumed(stream, (this.#received.get(stream) ?? 0) - (this.#consumed.get(stream) ?? 0))
      }
      this.#remote.closeOutput(STREAM.outs)
      if (this.#params.pty) this.#remote.closeOutput(STREAM.screen)
      this.#remote.signal(this.#params.pty ? SIGHUP : SIGTERM)
      this.#killTimer ??= setInterval(() => this.#remote?.signal(SIGKILL), KILL_AFTER_MS)
    }
  }

  fail(error: unknown): void {
    if (this.#done) return
    if (!this.#remote) void this.#detached?.discard()
    const known = error instanceof KappaError
    if (!known) this.#runs.log.error(`job ${this.#id} failed`, error)
    const message = error instanceof Error ? error.message : String(error)
    this.#finish({ state: 'exited', error: { name: known ? error.name : 'DaemonError', message } })
    this.#tellEnd({ exitCode: null, signal: null, message, status: EXIT.nothingRan })
  }

  #finish(change: Partial<JobRecord>): void {
    if (this.#done) return
    this.#done = true
    this.#waking?.resolve([])
    clearInterval(this.#killTimer)
    clearTimeout(this.#unansweredTimer)
    void this.#tree?.release(false)
    this.#note({ endedAt: Date.now(), ...change, ...(change.state === 'lost' ? {} : { ticket: null }) })
    this.#runs.ended(this.#record)
    if (this.#here || this.#placedHere)
      this.#runs.driver.perform(this.#runs.driver.core.homeJobEnded(this.#id, this.#runs.host.now()))
  }

  #nobody(trace: PlacementTrace): KappaError {
    const { host } = this.#runs
    const paired = host.paired()
    const nameOf = (peer: PeerId) => host.nameOf(peer)
    const lackHere = this.#runs.driver.core.homeLack(this.#request)
    const asking = { id: this.#id, request: this.#request, trace, self: host.self, paired, lackHere, nameOf }
    return new KappaError('NothingRanError', whyNobody(asking))
  }
}

/** Ends that are the target's: its owner wanted the machine back, it heard nothing of home, it could not run anything. */
const NOT_ITS_OWN = new Set(['RefusedError', 'SandboxError'])

const isTreeLost = ({ code }: TracedRefusal): boolean => code === TREE_LOST

/** Files of which one is told; the log has all. */
const UNFINISHED_TOLD = 3

/** For the end of a line. */
function unfinishedText(paths: readonly string[]): string {
  if (paths.length === 0) return ''
  const more = paths.length > UNFINISHED_TOLD ? ` and ${paths.length - UNFINISHED_TOLD} more` : ''
  return `; not finished, and so dated 1970: ${paths.slice(0, UNFINISHED_TOLD).join(', ')}${more}`
}

const UNREACHED = new Set(['no-answer', 'not-connected', 'unreachable'])

/** What a machine is or offers, or may see: no waiting mends that. */
const UNFIT = new Set(['class', 'mode', 'not-shown'])

/** Whether a machine that could have taken the job was silent or away, or none can take such a job: that is worth a line. */
function isWorthALine({ reason, trace }: { reason: string; trace: PlacementTrace }): boolean {
  const { candidates, refusals } = trace
  if (refusals.some(({ code }) => UNREACHED.has(code))) return true
  const unfit = [...candidates.map(({ lackCode, lacks }) => ({ code: lackCode, reason: lacks })), ...refusals].filter(
    ({ code = '' }) => UNFIT.has(code)
  )
  return unfit.some((one) => one.reason !== undefined && reason.endsWith(one.reason))
}

function signalName(number: number): string {
  const { signals } = process.getBuiltinModule('node:os').constants
  return Object.entries(signals).find(([, value]) => value === number)?.[0] ?? 'SIGTERM'
}
