/** `kappa run` in the daemon at home: places the job, and joins the client to it wherever it runs. */

import { commandKey, keyOfInput } from '../core/command-key.ts'
import { demandOf } from '../core/demand.ts'
import type { Sent } from '../core/judging.ts'
import { type Advice, type FinishedRun, MEMORY_NEED_BYTES } from '../core/learning.ts'
import { SHIM_PATIENCE_MS } from '../core/placing.ts'
import { reasonToStay } from '../core/stays.ts'
import type { PeerId, PlaceRequest, Ticket } from '../core/types.ts'
import type { Meeting } from '../network/targets.ts'
import type { ExecHome, HomeListener } from '../protocols/exec/home.ts'
import { MAX_COMMAND_LENGTH } from '../protocols/overlay/constants.ts'
import type { ControlConnection } from './control.ts'
import type { RunParams } from './control-codec.ts'
import type { CoreDriver } from './core-driver.ts'
import type { DetachedEnd, DetachedJob, DetachedJobs } from './detached.ts'
import { DetachedHere } from './detached-here.ts'
import { DetachedRun, type DetachedRunHost } from './detached-run.ts'
import type { History, JobRecord } from './history.ts'
import type { Log } from './log.ts'
import { Run } from './run.ts'
import type { Showing, ShownTree } from './shown-trees.ts'
import type { Woken } from './waking.ts'

/** A remote target must be better by this factor at least, for what the way costs. */
const TRANSFER_FACTOR = 1.05

export interface RunsHost {
  self: PeerId
  name: string
  /** ms of a clock that counts suspend. */
  now(): number
  nameOf(peer: PeerId): string
  /** A peer by its name or the start of its ID. Throws UnknownPeerError, AmbiguousNameError. */
  find(name: string): PeerId
  /** A ticket was won through others, of a peer that calls itself so. False: it can't be connected to. */
  meet(peer: PeerId, name: string, meeting: Meeting): boolean
  /** Targets met through others that could not be reached a moment ago, and why. */
  unreachable(): { peer: PeerId; reason: string }[]
  /** What is wrong with the version of a machine that therefore is no neighbour; undefined: nothing that is known. */
  tooFar(peer: PeerId): string | undefined
  /** Whether any machine is paired. */
  paired(): boolean
  /** What a machine must be to run this one's programs. */
  class(): { os: string; arch: string }
  /** As of ShownTrees. */
  show(showing: Showing): Promise<ShownTree | string>
  /** As of Waking. */
  sleepers(among: readonly PeerId[]): PeerId[]
  wake(peer: PeerId): Promise<Woken>
  /** Cores of the largest machine known, for commands that use as many as there are. */
  coresMax(): number
  /** This machine's speed, relative to the reference; undefined until it is measured. */
  speed(): number | undefined
  /** What is known of commands of that key. */
  advice(key: string): Advice
  /** A job of this home ended well. */
  learn(run: FinishedRun): void
  /** Whether a target may still be one: it is paired, or who brought it is. */
  trusts(target: PeerId, meeting: Meeting | null): boolean
  /** The tree of a process that ran here has ended, and used so much CPU time in all. */
  used(root: number, cpuMs: number): void
  /** A job of this home was started elsewhere. */
  began(sent: Sent, key: string | undefined): void
  /** A job of this home is over. */
  over(record: JobRecord): void
  /** A job of this home ended, or needs this daemon no more. */
  ended(id: string): void
}

/** Those who wait are told so often how far they are. */
const LINE_MS = 1_000

/** A job of this home that hasn't ended. */
export interface LiveJob {
  /** Of its process tree, when it runs here. */
  readonly root: number | undefined
  /** Nobody waits for it, and it doesn't need this daemon. */
  readonly resting: boolean
  /** Its target can't be told anything now. */
  readonly unreachable: boolean
  signal(number: number): void
}

/** Jobs reported as lost whose end may still be learnt; the oldest is given up first. */
const LOST_KEPT = 256
/** A target that did not answer, or still ran one of them, is asked again after so long. */
const ASK_AGAIN_MS = 10_000

export class Runs {
  readonly host: RunsHost
  readonly driver: CoreDriver
  readonly exec: ExecHome
  readonly history: History
  readonly log: Log
  readonly detached: DetachedJobs
  /** Jobs of this home that haven't ended; bounded by the clients and the detached jobs. */
  readonly #runs = new Map<string, LiveJob>()
  /** Who waits for which of them; bounded by the clients. */
  readonly #waiting = new Map<string, ((record: JobRecord) => void)[]>()
  readonly #stopping = new AbortController()
  #lineTimer: NodeJS.Timeout | undefined
  /** At most LOST_KEPT, oldest first. */
  readonly #lost = new Map<Ticket, JobRecord>()
  #recalled = false
  /** Targets that could not say it when they were asked; as many as those have. */
  readonly #asking = new Map<PeerId, NodeJS.Timeout>()

  constructor(host: RunsHost, driver: CoreDriver, exec: ExecHome, history: History, detached: DetachedJobs, log: Log) {
    this.host = host
    this.detached = detached
    this.driver = driver
    this.exec = exec
    this.history = history
    this.log = log
  }

  /** Those that end with this daemon. */
  get live(): number {
    return [...this.#runs.values()].filter(({ resting }) => !resting).length
  }

  /** A job of this home waits: it is told how far it is until none does any more. */
  watchLine(): void {
    this.#lineTimer ??= setInterval(() => this.#tellLine(), LINE_MS).unref()
  }

  #tellLine(): void {
    let waiting = 0
    for (const [id, position] of this.driver.core.waiting()) {
      waiting++
      const run = this.#runs.get(id)
      if (run instanceof Run) run.moved(position)
    }
    if (waiting > 0) return
    clearInterval(this.#lineTimer)
    this.#lineTimer = undefined
  }

  /** In line, 1 for the first; undefined when it doesn't wait. */
  positionOf(id: string): number | undefined {
    for (const [waiting, position] of this.driver.core.waiting()) if (waiting === id) return position
    return undefined
  }

  /** Of those that are not over, oldest first. */
  *records(): Generator<JobRecord> {
    for (const id of this.#runs.keys()) {
      const record = this.history.get(id)
      if (record) yield record
    }
  }

  /** Roots of the process trees that run here. */
  *localRoots(): Generator<number> {
    for (const { root } of this.#runs.values()) if (root !== undefined) yield root
  }

  /** Serves one client; answers by frames, later. */
  start(connection: ControlConnection, params: RunParams): void {
    const words = params.argv.map((word) => Buffer.from(word, 'latin1').toString())
    const command = commandKey(words)
    const key = command === undefined ? undefined : keyOfInput(command, params.inputBytes ?? 0)
    const request = placeRequest(params, words, key === undefined ? {} : this.host.advice(key), this.host)
    const id = this.history.newId(this.host.self)
    const run = new Run(this, id, connection, params, key, request)
    this.#runs.set(id, run)
    run.start().catch((error) => run.fail(error))
  }

  ended(record: JobRecord): void {
    const { id } = record
    this.#runs.delete(id)
    for (const tell of this.#waiting.get(id) ?? []) tell({ ...record })
    this.#waiting.delete(id)
    this.host.over(record)
    this.host.ended(id)
  }

  /** The job's record when it is over; undefined: it is over already. Rejects when `signal` aborts. */
  over(id: string, signal: AbortSignal): Promise<JobRecord> | undefined {
    if (!this.#runs.has(id)) return undefined
    return new Promise((resolve, reject) => {
      const tell = (record: JobRecord) => {
        signal.removeEventListener('abort', abort)
        resolve(record)
      }
      const abort = () => {
        const others = this.#waiting.get(id)?.filter((other) => other !== tell) ?? []
        if (others.length > 0) this.#waiting.set(id, others)
        else this.#waiting.delete(id)
        reject(signal.reason)
      }
      this.#waiting.set(id, [...(this.#waiting.get(id) ?? []), tell])
      signal.addEventListener('abort', abort, { once: true })
      if (signal.aborted) abort()
    })
  }

  // ------------------------------------------------------------------------------------------------ detached jobs

  /** Goes on with the detached jobs of earlier daemons. */
  async resume(): Promise<void> {
    for (const job of [...this.detached.all()]) {
      const { id, end, forgotten, ticket, target, meeting } = job.state
      if (forgotten) continue
      const record = recordOf(job, this.host.self, this.history)
      if (end === null) this.history.record(record)
      if (ticket === null) {
        this.#runs.set(
          id,
          this.detachedHere(job, record, () => undefined)
        )
        continue
      }
      const run = this.detachedRun(job, record)
      if (end === null) this.#runs.set(id, run)
      if (this.host.trusts(target, meeting)) await run.rejoin()
      else run.lost('the pairing with it was ended', 0)
    }
  }

  /** A detached job on its way to its target, or there; `starter`: who is told as long as its client waits. */
  detachedRun(job: DetachedJob, record: JobRecord, starter?: HomeListener): DetachedRun {
    const note = (change: Partial<JobRecord>) => this.history.record(Object.assign(record, change))
    const host: DetachedRunHost = {
      exec: this.exec,
      log: this.log,
      over: (_, { endedAt, ...end }) => {
        note({ endedAt, ...end })
        this.ended(record)
      },
      running: () => note({ state: 'running' }),
      discard: (unused) => this.detached.remove(unused)
    }
    return new DetachedRun(host, job, this.#stopping.signal, starter)
  }

  /** A detached job that runs on this machine; `stands` is called when it does. */
  detachedHere(job: DetachedJob, record: JobRecord, stands: () => void): DetachedHere {
    const over = ({ endedAt, ...end }: DetachedEnd) => {
      this.history.record(Object.assign(record, { endedAt, ...end }))
      this.ended(record)
      this.driver.perform(this.driver.core.homeJobEnded(record.id, this.host.now()))
    }
    return new DetachedHere({ log: this.log, stands, over }, job)
  }

  /** From now on a job lives without its client. */
  handOver(id: string, run: LiveJob): void {
    this.#runs.set(id, run)
    // With it a newer version may take over.
    this.host.ended(id)
  }

  /** How a target of detached jobs that is no neighbour was met. */
  meetingOf(target: PeerId): { name: string; meeting: Meeting } | undefined {
    for (const { state } of this.detached.all()) {
      if (state.target === target && state.meeting !== null && !state.forgotten) {
        return { name: state.targetName, meeting: state.meeting }
      }
    }
    return undefined
  }

  /** Targets of detached jobs that this neighbour brought. */
  targetsMetThrough(neighbour: PeerId): PeerId[] {
    const states = [...this.detached.all()].map(({ state }) => state)
    return states
      .filter(({ meeting, forgotten }) => !forgotten && meeting?.path[1] === neighbour)
      .map(({ target }) => target)
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    for (const timer of this.#asking.values()) clearTimeout(timer)
    for (const run of this.#runs.values()) if (run instanceof DetachedHere) run.stop()
    await this.detached.close()
  }

  // ---------------------------------------------------------------------------------------------------------------

  /** The record of a job that was reported as lost is corrected when its target can be asked again. */
  lost(ticket: Ticket, record: JobRecord): void {
    this.#lost.set(ticket, record)
    if (this.#lost.size > LOST_KEPT) this.#lost.delete(this.#lost.keys().next().value!)
  }

  /** That peer is connected again: what became of the jobs that were lost there? */
  async correctLost(target: PeerId): Promise<void> {
    this.#recall()
    clearTimeout(this.#asking.get(target))
    this.#asking.delete(target)
    await this.#askForLost(target)
    const isOpen = [...this.#lost.keys()].some((ticket) => ticket.target === target)
    if (!isOpen || this.#stopping.signal.aborted) return
    clearTimeout(this.#asking.get(target))
    this.#asking.set(target, setTimeout(() => void this.correctLost(target), ASK_AGAIN_MS).unref())
  }

  async #askForLost(target: PeerId): Promise<void> {
    for (const [ticket, record] of this.#lost) {
      if (ticket.target !== target) continue
      const outcome = await this.exec.resolve(ticket)
      if (outcome === undefined) return
      if (outcome.state === 'running') continue
      this.#lost.delete(ticket)
      const { exitCode, signal } = outcome.state === 'ended' ? outcome.end : record
      const state = outcome.state === 'ended' ? 'exited' : 'lost'
      this.history.record({ ...record, state, exitCode, signal, ticket: null })
    }
  }

  /** Also those that earlier daemons lost, and did not live to ask for. */
  #recall(): void {
    if (this.#recalled) return
    this.#recalled = true
    for (const record of this.history.lost(LOST_KEPT)) {
      if (!this.#runs.has(record.id) && this.detached.get(record.id) === undefined) this.lost(record.ticket, record)
    }
  }

  /** Sends a signal to a live job of this home; undefined: it has ended. */
  signal(id: string, number: number): { reached: boolean } | undefined {
    const run = this.#runs.get(id)
    if (run === undefined) return undefined
    run.signal(number)
    return { reached: !run.unreachable }
  }

  isLive(id: string): boolean {
    return this.#runs.has(id)
  }
}

/** What history has of a detached job of an earlier daemon, as it stands now. */
function recordOf({ state }: DetachedJob, self: PeerId, history: History): JobRecord {
  const { id, argv, startedAt, target, reason } = state
  const known = history.get(id)
  return {
    id,
    role: 'home',
    home: self,
    target,
    argv: argv.map((word) => Buffer.from(word, 'latin1')),
    startedAt,
    reason,
    trace: known?.trace ?? null,
    state: 'running',
    endedAt: null,
    exitCode: null,
    signal: null,
    error: null
  }
}

/** Whose programs it runs decides on which machines it can. */
function programsOf(
  { programs }: RunParams['options'],
  host: RunsHost
): Pick<PlaceRequest['needs'], 'programs' | 'class'> {
  const { os, arch } = host.class()
  return programs === 'target' ? { programs, class: { os } } : { class: { os, arch } }
}

/**
 * What the core is asked for; names are resolved, so that a wrong one is said at once. What the user said counts before
 * what the command itself says, and that before what its last runs showed.
 */
function placeRequest(params: RunParams, words: string[], advice: Advice, host: RunsHost): PlaceRequest {
  const { options } = params
  const mode = params.ins || params.outs.length > 0 ? 'staged' : options.plain ? 'plain' : 'files'
  const forced = options.remote || options.on?.length
  const stays = forced ? undefined : reasonToStay(words, mode, options.shim)
  return {
    needs: {
      demand: options.cores ?? demandOf(words, host.coresMax()) ?? advice.demand ?? 1,
      memoryBytes: options.memoryBytes ?? advice.memoryBytes ?? MEMORY_NEED_BYTES,
      mode,
      ...(mode === 'files' ? programsOf(options, host) : {}),
      ...(params.pty ? { terminal: true as const } : {}),
      tools: options.tools ?? [],
      labels: options.needs ?? [],
      // Here the kernel may know how to run it all the same.
      ...(params.programClass === undefined || options.local ? {} : { class: params.programClass }),
      ...(words[0]!.length <= MAX_COMMAND_LENGTH ? { command: words[0]! } : {})
    },
    ...(options.memoryBytes === undefined ? { memoryGuessed: true as const } : {}),
    local: options.local === true,
    remote: options.remote === true,
    on: (options.on ?? []).map((name) => host.find(name)),
    // Who asked for a machine by name, or for any other than this, would rather have it again than nobody.
    not: [...(options.not ?? []).map((name) => host.find(name)), ...(forced ? [] : (options.avoid ?? []))],
    wait: options.wait === true,
    transferFactor: TRANSFER_FACTOR,
    ...(options.shim ? { patienceMs: SHIM_PATIENCE_MS } : {}),
    ...(advice.work === undefined ? {} : { work: advice.work }),
    ...(stays === undefined ? {} : { stays })
  }
}
