/**
 * Jobs and what runs them. An `Executor` owns one scratch directory; a `Job` is one command in one seat, with its
 * three byte streams apart, exact to the byte, and an exact end.
 */

import { chmodSync, mkdirSync } from 'node:fs'
import { constants, release } from 'node:os'
import type { Readable, Writable } from 'node:stream'
import type { JobEnd, JobUsage } from '../core/types.ts'
import { KappaError } from '../errors.ts'
import { autogroupsMatter } from './autogroup.ts'
import { type Availability, checkSandbox, guestOf } from './availability.ts'
import { BareSeat } from './bare.ts'
import { GuestGroup, LOWEST_NICE } from './guest-group.ts'
import { type Home, Homes, type HomesInit } from './homes.ts'
import { type HardLimits, type LaunchSpec, launchScript } from './launcher.ts'
import { type GuestLimits, Watch, type Watched } from './limits.ts'
import { emptyDirectory } from './removal.ts'
import { type Seat, type SeatEnd, signalName } from './seat.ts'
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
export interface JobSpec extends Omit<LaunchSpec, 'nicer'> {
  home: Home
  /** The niceness that it asks for; it has at least that of guests. */
  nice?: number
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
  /** Directories of this machine that guests see, each with `:ro` or `:rw` at its end. */
  paths?: readonly string[]
  limits?: GuestLimits
  /** Memory of this machine, or of the container that it is; without it only groups limit guests. */
  memory?: () => { memoryTotal: number; memoryAvailable: number }
}

/** For machines whose owner said nothing. */
const LIMITS: GuestLimits = {
  memory: undefined,
  memoryFloor: 0,
  processes: 2048,
  disk: { share: 0.5 },
  time: undefined
}

function failureOf({ failure, why }: SeatEnd, command: Uint8Array): NonNullable<JobEnd['error']> {
  const name = Buffer.from(command).toString('utf8') || "''"
  if (failure === 'noterminal')
    return { name: 'SandboxError', message: `the job could not get a terminal: ${why}; -T runs it without one` }
  if (failure === 'notree') return { name: 'SandboxError', message: "what showed home's files to the job ended" }
  return failure === 'notfound'
    ? { name: 'CommandNotFoundError', message: `${name}: not found on the target` }
    : { name: 'NotExecutableError', message: `${name}: found on the target, but it can't be executed` }
}

/** What the executor gives to a job. */
interface JobInit {
  owner: { uid: number; gid: number }
  hard: HardLimits
  /** Nice value of guests. */
  nice: number
  /** Whether the kernel killed guests for want of memory since the job was made. */
  killed: () => boolean
}

/** One command in its seat: made ready by `Executor.begin`, run by `start`, gone after `close`. */
export class Job implements Watched {
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
  #over = false
  /** Why it was ended here, and what may be why it failed. */
  #endedFor: string | undefined
  #noted: string | undefined

  constructor(seat: Seat, spec: JobSpec, init: JobInit, closed: () => void) {
    const { owner, hard, nice } = init
    this.#seat = seat
    this.#script = launchScript({ ...spec, nicer: Math.max(0, (spec.nice ?? 0) - nice) }, seat, hard)
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
      this.#over = true
      const end = { exitCode, signal }
      if (failure !== undefined) return { ...end, error: failureOf(ended, spec.argv[0]!) }
      const why = this.#limitOf(end, init)
      return why === undefined ? end : { ...end, error: { name: 'LimitError', message: why } }
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

  get living(): boolean {
    return !this.#over
  }

  get runningMs(): number | undefined {
    return this.#startedAt === undefined ? undefined : performance.now() - this.#startedAt
  }

  processes(): string[] {
    return this.#seat.processes()
  }

  get files(): Seat['files'] {
    return this.#seat.files
  }

  end(why: string): void {
    this.#endedFor ??= `the job was ended: ${why}`
    this.kill()
  }

  note(why: string): void {
    this.#noted ??= why
  }

  /** The limit that ended it, or let it fail as far as can be told. */
  #limitOf({ exitCode, signal }: JobEnd, { hard, killed }: JobInit): string | undefined {
    if (this.#endedFor !== undefined && signal !== null) return this.#endedFor
    if (exitCode === 0) return undefined
    const died = (number: number) => exitCode === 128 + number || signal === signalName(number)
    if (died(constants.signals.SIGXFSZ)) {
      return `a file of it reached ${Math.floor(hard.fsize / 2 ** 20)} MiB (guests.disk)`
    }
    if (died(constants.signals.SIGKILL) && killed()) {
      return 'the kernel killed a process of it: guests had too much memory together (guests.memory)'
    }
    return this.#noted
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
  readonly #watch: Watch
  #timer: NodeJS.Timeout | undefined
  #closed = false

  private constructor(init: ExecutorInit) {
    this.#init = init
    this.#guest = guestOf(init)
    this.#nice = init.nice ?? LOWEST_NICE
    this.#group = GuestGroup.open(this.#nice === LOWEST_NICE)
    this.#lowers = this.#nice > 0 && !this.#group?.weighs && autogroupsMatter()
    this.#watch = new Watch(
      {
        directory: init.scratchDirectory,
        group: this.#group,
        memory: init.memory ?? (() => ({ memoryTotal: 0, memoryAvailable: 0 })),
        jobs: () => this.#jobs
      },
      init.limits ?? LIMITS
    )
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

  /** From now on; processes and the size of a file for jobs to come. */
  bound(limits: GuestLimits): void {
    this.#watch.configure(limits)
  }

  /** Whether a cgroup gives guests the least weight. */
  get weighs(): boolean {
    return this.#group?.weighs === true
  }

  /** Whether guests can run here; asked of the kernel once. */
  available(): Promise<Availability> {
    this.#available ??= checkSandbox({ ...this.#guest, scratchDirectory: this.#init.scratchDirectory })
    return this.#available
  }

  /** As `available`, and asked anew. */
  examine(): Promise<Availability> {
    return checkSandbox({ ...this.#guest, scratchDirectory: this.#init.scratchDirectory })
  }

  /** What cgroups hold for all guests together. */
  get held(): { memory: boolean; processes: boolean } {
    const group = this.#group
    return { memory: group?.holds('memory') === true, processes: group?.holds('pids') === true }
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
      job = new Job(seat, spec, this.#jobInit(), () => {
        this.#jobs.delete(job)
        if (this.#jobs.size === 0) this.#rest()
        leave()
      })
    } catch (error) {
      await seat.dispose().finally(leave)
      throw error
    }
    this.#jobs.add(job)
    this.#watch.start()
    if (this.#lowers) this.#lowerAgain(job.lower())
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
    this.#lowerAgain([...this.#jobs].map((job) => job.lower()).every((lowered) => lowered))
  }

  #lowerAgain(done: boolean): void {
    this.#timer ??= setTimeout(() => this.#lower(), done ? LOWER : LOWER_AGAIN).unref()
  }

  /** Whether the kernel counts the processes of each user namespace apart: since Linux 5.14. */
  get #countsApart(): boolean {
    const [major = 0, minor = 0] = release().split('.').map(Number)
    return this.#init.unsandboxed !== true && (major > 5 || (major === 5 && minor >= 14))
  }

  #jobInit(): JobInit {
    const before = this.#group?.killed ?? 0
    return {
      owner: this.#guest,
      nice: this.#nice,
      hard: { fsize: this.#watch.fileMax, nproc: this.#countsApart ? this.#watch.limits.processes : undefined },
      killed: () => (this.#group?.killed ?? 0) > before
    }
  }

  /** No job, nothing to look at. */
  #rest(): void {
    this.#watch.stop()
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
  #seats(): HomesInit {
    const found = findTools()
    if (!('tools' in found)) {
      throw new KappaError('SandboxError', `${found.missing} is missing here: install ${found.from}`)
    }
    const { scratchDirectory, paths = [] } = this.#init
    return { scratchDirectory, paths, ...this.#guest, tools: found.tools, nice: this.#nice, group: this.#group }
  }
}
