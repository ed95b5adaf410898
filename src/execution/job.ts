/**
 * Jobs and what runs them. An `Executor` owns one scratch directory; a `Job` is one command in one seat, with its
 * three byte streams apart, exact to the byte, and an exact end.
 */

import { chmodSync, mkdirSync } from 'node:fs'
import { constants } from 'node:os'
import type { Readable, Writable } from 'node:stream'
import type { JobEnd, JobUsage } from '../core/types.ts'
import { KappaError } from '../errors.ts'
import { autogroupsMatter } from './autogroup.ts'
import { type Availability, checkSandbox, guestOf } from './availability.ts'
import { type BareInit, BareSeat } from './bare.ts'
import { GuestGroup, LOWEST_NICE } from './guest-group.ts'
import { type Home, Homes } from './homes.ts'
import { type LaunchSpec, launchScript } from './launcher.ts'
import { emptyDirectory } from './removal.ts'
import type { Seat, SeatEnd } from './seat.ts'
import type { StagePlace } from './staging.ts'
import type { Terminal } from './terminal.ts'
import { findTools } from './tools.ts'

/** ms between looks for sessions that guests made, and to the next one when the kernel was asked too often. */
const LOWER = 1000
const LOWER_AGAIN = 110

/** ms from a job's start to the first look at its memory; then three times as long each time, up to the most. */
const LOOK_FIRST = 30
const LOOK_MOST = 1000

/** What a job is; its place (HOME, TMPDIR, PWD, PATH) is set by the target whatever `env` says. */
export interface JobSpec extends LaunchSpec {
  home: Home
}

export interface ExecutorInit {
  /** Only this program's; made when missing, emptied at start. Not inside anything that guests may see. */
  scratchDirectory: string
  /** Run guests without a sandbox, as the owner may decide where there can be none (`guests.unsandboxed`). */
  unsandboxed?: boolean
  /** Who guests are when the daemon is root; `nobody` unless given. */
  guestUid?: number
  guestGid?: number
  /** Nice value of guests, 0–19; 19 unless given, and only then is a cgroup of small weight put around them. */
  nice?: number
}

function failureOf({ failure, why }: SeatEnd, command: Uint8Array): NonNullable<JobEnd['error']> {
  const name = Buffer.from(command).toString('utf8') || "''"
  if (failure === 'noterminal') return { name: 'SandboxError', message: `the job could not get a terminal: ${why}` }
  return failure === 'notfound'
    ? { name: 'CommandNotFoundError', message: `${name}: not found on the target` }
    : { name: 'NotExecutableError', message: `${name}: found on the target, but it can't be executed` }
}

/** One command in its seat: made ready by `Executor.begin`, run by `start`, gone after `close`. */
export class Job {
  /** The job's streams: pipes for the job, event-driven here; destroying an output is SIGPIPE for its writers. */
  readonly stdin: Writable
  readonly stdout: Readable
  readonly stderr: Readable
  /** What of the streams above is the terminal carries nothing itself. */
  readonly terminal: Terminal | undefined
  /** The command, which has a terminal, was stopped by this signal; CONT goes on. */
  onStopped: (signal: number) => void = () => undefined
  /** The job's working directory on this machine, as long as the job leaves it there. */
  readonly directory: string
  /** Owner of what is staged. */
  readonly uid: number
  readonly gid: number
  /**
   * Resolves, never rejects, when the command has ended and nothing that it started lives any more; what it wrote
   * before may still have to be read from `stdout` and `stderr`, which then end.
   */
  readonly ended: Promise<JobEnd>
  readonly #seat: Seat
  readonly #script: Buffer
  readonly #closed: () => void
  #closing: Promise<void> | undefined
  #startedAt: number | undefined
  #usage: JobUsage | undefined
  #peakBytes = 0
  #look: NodeJS.Timeout | undefined

  constructor(seat: Seat, spec: JobSpec, owner: { uid: number; gid: number }, closed: () => void) {
    this.#seat = seat
    this.#script = launchScript(spec, seat)
    this.#closed = closed
    this.stdin = seat.stdin
    this.stdout = seat.stdout
    this.stderr = seat.stderr
    this.terminal = spec.terminal && seat.openTerminal((signal) => this.onStopped(signal))
    this.directory = seat.directory
    this.uid = owner.uid
    this.gid = owner.gid
    this.ended = seat.ended.then((ended) => {
      const { failure, exitCode, signal, cpuMs } = ended
      clearTimeout(this.#look)
      if (this.#startedAt !== undefined) this.#usage = this.#took(performance.now() - this.#startedAt, cpuMs)
      const end = { exitCode, signal }
      return failure === undefined ? end : { ...end, error: failureOf(ended, spec.argv[0]!) }
    })
  }

  /** Where files are staged, before the start and after the end. */
  get stage(): StagePlace {
    return { directory: this.#seat.held, uid: this.uid, gid: this.gid }
  }

  /** Becomes the command. Once. */
  start(): void {
    if (this.#startedAt !== undefined) throw new KappaError('DaemonError', 'a job was started twice')
    this.#startedAt = performance.now()
    this.#seat.begin(this.#script)
    this.#lookAfter(LOOK_FIRST)
  }

  /** A job that is over sooner stays unseen: so short, it hardly needs much. */
  #lookAfter(ms: number): void {
    const look = () => {
      this.#peakBytes = Math.max(this.#peakBytes, this.#seat.peakBytes())
      this.#lookAfter(Math.min(3 * ms, LOOK_MOST))
    }
    this.#look = setTimeout(look, ms).unref()
  }

  #took(wallMs: number, cpuMs: number | undefined): JobUsage {
    const usage: JobUsage = { wallMs }
    if (cpuMs !== undefined) usage.cpuMs = cpuMs
    if (this.#peakBytes > 0) usage.peakBytes = this.#peakBytes
    return usage
  }

  /** What it took; undefined before its end. */
  get usage(): JobUsage | undefined {
    return this.#usage
  }

  /**
   * Sends a signal (its number, 1–64) to the job's whole process group; false when there is nobody left to get it.
   * TSTP becomes STOP: a job without a terminal is an orphaned group, where the kernel ignores TSTP.
   */
  signal(signal: number): boolean {
    const stops = signal === constants.signals.SIGTSTP && this.terminal === undefined
    return this.#seat.signal(stops ? constants.signals.SIGSTOP : signal)
  }

  /** Sets what the job started since back to the guests' priority; false when that must be tried again soon. */
  lower(): boolean {
    return this.#seat.lower()
  }

  /** Kills the job and all that it started. */
  kill(): void {
    this.#seat.kill()
  }

  /** Kills what still lives and removes the directory: the last call on a job, always needed. */
  close(): Promise<void> {
    this.#closing ??= this.#seat.dispose().finally(this.#closed)
    return this.#closing
  }
}

export class Executor {
  readonly #init: ExecutorInit
  readonly #guest: { uid: number; gid: number }
  readonly #nice: number
  /** Jobs not yet closed; as many as the daemon admits. */
  readonly #jobs = new Set<Job>()
  #available: Promise<Availability> | undefined
  #homes: Homes | undefined
  readonly #group: GuestGroup | null
  readonly #lowers: boolean
  #timer: NodeJS.Timeout | undefined
  #closed = false

  private constructor(init: ExecutorInit) {
    this.#init = init
    this.#guest = guestOf(init)
    this.#nice = init.nice ?? LOWEST_NICE
    this.#group = this.#nice === LOWEST_NICE ? GuestGroup.open() : null
    this.#lowers = this.#nice > 0 && this.#group === null && autogroupsMatter()
  }

  /** Takes over the scratch directory and removes what a crashed daemon left there. */
  static async open(init: ExecutorInit): Promise<Executor> {
    const executor = new Executor(init)
    // Guests of a root daemon pass through it to their own directories, which only they and root may enter.
    mkdirSync(init.scratchDirectory, { recursive: true })
    chmodSync(init.scratchDirectory, process.getuid?.() === 0 ? 0o711 : 0o700)
    await emptyDirectory(init.scratchDirectory)
    return executor
  }

  /** Whether guests can run here; asked of the kernel once. */
  available(): Promise<Availability> {
    this.#available ??= checkSandbox({ ...this.#guest, scratchDirectory: this.#init.scratchDirectory })
    return this.#available
  }

  /** A job of this home may come soon: have a cell ready. */
  prepare(home: Home): void {
    if (this.#init.unsandboxed !== true && !this.#closed) this.#cells().prepare(home)
  }

  /**
   * A job that is ready to be started: its directory is there to be filled, its streams are open, nothing runs yet.
   * Throws SandboxError, NothingRanError (arguments too long) or UsageError; `signal` gives up waiting.
   */
  async begin(spec: JobSpec, signal?: AbortSignal): Promise<Job> {
    if (this.#closed) throw new KappaError('DaemonError', 'this peer is stopping')
    const seat = await this.#seat(spec.home)
    const leave = () => {
      if (this.#init.unsandboxed !== true) this.#homes?.gave(spec.home)
    }
    let job: Job
    try {
      signal?.throwIfAborted()
      job = new Job(seat, spec, this.#guest, () => {
        this.#jobs.delete(job)
        if (this.#jobs.size === 0) this.#stopLowering()
        leave()
      })
    } catch (error) {
      await seat.dispose().finally(leave)
      throw error
    }
    this.#jobs.add(job)
    if (this.#lowers) this.#watch(job.lower())
    if (this.#closed) await job.close()
    else if (this.#init.unsandboxed !== true) setImmediate(() => this.#homes?.begun(spec.home))
    return job
  }

  /** Cores that all guests together may use, where they have a group; undefined: as many as there are. */
  limit(cores: number | undefined): void {
    this.#group?.limit(cores)
  }

  /** Ends every job and every sandbox. */
  async close(): Promise<void> {
    this.#closed = true
    await Promise.all([...this.#jobs].map((job) => job.close()))
    await this.#homes?.close()
    this.#group?.close()
  }

  #lower(): void {
    this.#timer = undefined
    this.#watch([...this.#jobs].map((job) => job.lower()).every((lowered) => lowered))
  }

  #watch(done: boolean): void {
    this.#timer ??= setTimeout(() => this.#lower(), done ? LOWER : LOWER_AGAIN).unref()
  }

  #stopLowering(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  async #seat(home: Home): Promise<Seat> {
    if (this.#init.unsandboxed === true) {
      return BareSeat.make(this.#seats())
    }
    return this.#cells().take(home)
  }

  #cells(): Homes {
    this.#homes ??= new Homes(this.#seats())
    return this.#homes
  }

  /** What all seats have in common. */
  #seats(): BareInit {
    const found = findTools()
    if (!('tools' in found)) {
      throw new KappaError('SandboxError', `${found.missing} is missing here: install ${found.from}`)
    }
    const { scratchDirectory } = this.#init
    return { scratchDirectory, ...this.#guest, tools: found.tools, nice: this.#nice, group: this.#group }
  }
}
