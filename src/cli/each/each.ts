/** `kappa each`: one job for each argument, over all machines, with no more begun than find a place. */

import { availableParallelism, getPriority, constants as osConstants } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import type { RunParams } from '../../daemon/control-codec.ts'
import { EXIT, KappaError, messageOf } from '../../errors.ts'
import { isTerminal } from '../pipe.ts'
import { inputBytes } from '../run-input.ts'
import { inForeground } from '../run-local.ts'
import { type LaunchState, rawEnvironment, softLimits } from '../run-options.ts'
import { leave, say, signalNumberOf } from '../run-streams.ts'
import type { EachRequest } from './arguments.ts'
import { Fifos } from './fifos.ts'
import { Job, type JobEnd, type Output } from './job.ts'
import { commandOf, hashOf, JobLog, type Known } from './joblog.ts'
import { type JobOutput, Outputs } from './outputs.ts'
import { Progress } from './progress.ts'
import { JobResults } from './results.ts'
import { combinations } from './sources.ts'
import { filled, type Row, Template } from './template.ts'

/** Jobs that the daemon looks for a place for at once: enough to keep many machines busy, few enough to be bound late. */
const PLACING_MAX = 8
/** Jobs at once, without -j. */
const RUNNING_MAX = 1_000
/** Jobs begun since the oldest that is not over: their outputs wait for its. */
const AHEAD_MAX = 10_000
/** More failures than this are told as one more. */
const FAILED_STATUS_MAX = 100
const ENDING: NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT']

export class Each {
  readonly #request: EachRequest
  readonly #launch: LaunchState
  readonly #template: Template
  readonly #outputs: Outputs
  readonly #fifos = new Fifos()
  readonly #log: JobLog | undefined
  /** What an earlier run's log says. */
  readonly #earlier = new Earlier()
  readonly #common: Omit<RunParams, 'argv' | 'inputBytes'>
  /** By number, undefined while a job is being prepared or waits for its next try; at most RUNNING_MAX. */
  readonly #running = new Map<number, Job | undefined>()
  readonly #jobsMax: number
  readonly #isInside = (process.env.KAPPA_JOB ?? '') !== ''
  #placing = 0
  #read = 0
  #done = 0
  #failed = 0
  #succeeded = 0
  #isRead = false
  /** No more is begun. */
  #isHalted = false
  /** The signal that ended it. */
  #endedBy: NodeJS.Signals | undefined
  #failure: unknown
  #changed = Promise.withResolvers<void>()
  readonly #stopped = Promise.withResolvers<void>()

  constructor(request: EachRequest, launch: LaunchState) {
    this.#request = request
    this.#launch = launch
    this.#template = new Template(request.words, request.shell)
    this.#outputs = new Outputs({ order: request.order, onGone: (output, error) => this.#outputGone(output, error) })
    const { joblog, resume } = request
    if (joblog !== undefined) {
      this.#log = resume
        ? JobLog.resume(joblog, (sequence, state, hash) => this.#earlier.set(sequence, state, hash))
        : JobLog.create(joblog)
    }
    this.#common = this.#commonParams()
    // No cluster within the cluster: there is nobody but ourselves who knows how many have room.
    this.#jobsMax = request.jobs ?? (this.#isInside ? availableParallelism() : RUNNING_MAX)
  }

  #commonParams(): Omit<RunParams, 'argv' | 'inputBytes'> {
    const { options, outAlways, nice } = this.#request.run
    return {
      env: rawEnvironment().map((entry) => entry.toString('latin1')),
      cwd: process.cwd(),
      umask: process.umask(),
      nice: Math.max(nice ?? -20, getPriority()),
      limits: softLimits(this.#launch),
      // Late: no machine gets a job before it has room for it.
      options: { ...options, wait: true },
      ins: false,
      outs: [],
      outAlways,
      terminal: false,
      pid: process.pid
    }
  }

  /** Leaves with the exit status. Throws what keeps it from going on. */
  async run(): Promise<never> {
    for (const signal of ENDING) process.on(signal, () => this.#end(signal))
    const progress = isTerminal(2) ? new Progress(() => this.#counts()) : undefined
    try {
      // What is still to come on stdin holds nobody up who was told to end.
      await Promise.race([this.#begin(), this.#stopped.promise])
      while (this.#running.size > 0) await this.#change()
    } catch (error) {
      this.#failure ??= error
      this.#abandon()
      while (this.#running.size > 0) await this.#change()
    } finally {
      progress?.end()
      this.#fifos.close()
      this.#log?.close()
    }
    await this.#outputs.flushed()
    if (this.#failure !== undefined) throw this.#failure
    if (this.#endedBy !== undefined) leave(null, this.#endedBy, signalNumberOf(this.#endedBy))
    leave(this.#status(), null, 0)
  }

  #status(): number {
    const { halt } = this.#request
    if (halt?.of === 'success' && this.#succeeded >= halt.count) return 0
    return Math.min(this.#failed, FAILED_STATUS_MAX + 1)
  }

  #counts(): { done: number; failed: number; running: number; total: number | undefined } {
    const total = this.#isRead ? this.#read : undefined
    return { done: this.#done, failed: this.#failed, running: this.#running.size - this.#placing, total }
  }

  async #begin(): Promise<void> {
    const { sources, separator, delayMs } = this.#request
    const isKnownWhole = sources.every(({ kind }) => kind === 'words')
    if (isKnownWhole) {
      this.#read = sources.reduce((product, source) => product * (source.kind === 'words' ? source.words.length : 1), 1)
      this.#isRead = true
    }
    let sequence = 0
    for await (const some of combinations(sources, separator)) {
      for (const values of some) {
        const row = { sequence: ++sequence, values }
        if (!isKnownWhole) this.#read = sequence
        if (this.#isEarlier(row)) continue
        while (!this.#isHalted && !this.#hasRoom(sequence)) await this.#change()
        await this.#outputs.room()
        if (delayMs > 0 && sequence > 1) await Promise.race([delay(delayMs), this.#stopped.promise])
        if (this.#isHalted) return
        this.#start(row)
      }
    }
    this.#isRead = true
  }

  #hasRoom(sequence: number): boolean {
    if (this.#placing >= PLACING_MAX || this.#running.size >= this.#jobsMax) return false
    const [oldest = sequence] = this.#running.keys()
    return sequence - oldest < AHEAD_MAX
  }

  /** Resolves when a job has found its place or is over, or all is to end. */
  #change(): Promise<void> {
    return this.#changed.promise
  }

  #tellChange(): void {
    this.#changed.resolve()
    this.#changed = Promise.withResolvers<void>()
  }

  /** It ended in the run that is gone on with; or may have run then, which only the user's word makes run again. */
  #isEarlier(row: Row): boolean {
    const state = this.#earlier.get(row.sequence)
    if (state === undefined) return false
    const command = commandOf(this.#template.fill(row))
    if (state.hash !== hashOf(command)) {
      throw new KappaError(
        'UsageError',
        `kappa each: ${this.#request.joblog} is the log of other jobs: number ${row.sequence} was not ${printable(command)}`
      )
    }
    if (state.known === 'begun') {
      if (this.#request.run.retry) return false
      say(`job ${row.sequence} (${printable(command)}) was begun and is lost; see what it did, or add --retry 1`)
      this.#failed++
    }
    this.#done++
    return true
  }

  // ---------------------------------------------------------------------------------------------------------- a job

  #start(row: Row): void {
    const argv = this.#template.fill(row)
    this.#running.set(row.sequence, undefined)
    this.#log?.begun(row.sequence, argv)
    const tag = this.#request.tag ? Buffer.from(`${row.values.join('\t')}\t`, 'latin1') : undefined
    const { results } = this.#request
    const kept = results === undefined ? undefined : new JobResults(results, row.sequence, commandOf(argv))
    const output = this.#outputs.begin(tag)
    this.#runJob(row, argv, output, kept)
      .catch((error) => {
        this.#failure ??= error
        this.#abandon()
      })
      .finally(() => {
        this.#running.delete(row.sequence)
        output.end()
        this.#tellChange()
      })
  }

  async #runJob(row: Row, argv: string[], output: JobOutput, kept: JobResults | undefined): Promise<void> {
    const avoid: string[] = []
    const startedAt = Date.now()
    let received = 0
    for (let tries = this.#request.run.retry ?? 0; ; tries--) {
      let host = ''
      const end = await this.#try(row, argv, avoid, {
        onHost: (name) => {
          host = name
        },
        onOutput: (stream, bytes, taken) => {
          received += bytes.length
          kept?.add(stream, bytes)
          output.add(stream, bytes, taken)
        }
      })
      const { again } = end
      this.#running.set(row.sequence, undefined)
      if (again !== undefined && tries > 0 && !output.isShown && !this.#isHalted) {
        output.drop()
        received = 0
        if (again.without !== '') avoid.push(again.without)
        kept?.restart()
        await Promise.race([delay(again.afterMs), this.#stopped.promise])
        continue
      }
      const took = (Date.now() - startedAt) / 1_000
      this.#ended(row, argv, end, { host, startedAt: startedAt / 1_000, took, received })
      kept?.end(end.status)
      return
    }
  }

  async #try(
    row: Row,
    argv: string[],
    avoid: string[],
    {
      onHost,
      onOutput
    }: { onHost(name: string): void; onOutput(stream: Output, bytes: Buffer, taken: () => void): void }
  ): Promise<JobEnd> {
    const { run } = this.#request
    const { ins, outs } = { ins: pathsOf(run.ins, row), outs: pathsOf(run.outs, row) }
    this.#placing++
    let isPlacing = true
    const placed = (): void => {
      if (isPlacing) this.#placing--
      isPlacing = false
    }
    try {
      const words = argv.map((word) => Buffer.from(word, 'latin1'))
      const staging =
        ins.length + outs.length === 0
          ? undefined
          : await (await import('../run-staging.ts')).prepareStaging({ ...run, ins, outs })
      const programClass = staging?.programClass(words)
      const params: RunParams = {
        ...this.#common,
        ...(avoid.length > 0 ? { options: { ...this.#common.options, avoid } } : {}),
        argv,
        ins: ins.length > 0,
        outs,
        inputBytes: staging?.inputBytes ?? inputBytes(words, false),
        ...(programClass === undefined ? {} : { programClass })
      }
      const job = new Job({
        ...{ argv, params, staging, onOutput },
        launch: this.#launch,
        wishes: wishesOf(this.#request),
        fifos: this.#fifos,
        isInside: this.#isInside,
        onPlaced: (name) => {
          placed()
          onHost(name)
          this.#tellChange()
        }
      })
      this.#running.set(row.sequence, job)
      // All was ended while it was prepared.
      if (this.#endedBy !== undefined || this.#failure !== undefined) job.abandon()
      return await job.run()
    } catch (error) {
      // Such as a file that is to go along and isn't there: this job's failure alone.
      return { status: EXIT.nothingRan, exitCode: null, signal: null, message: messageOf(error), isBegun: false }
    } finally {
      placed()
    }
  }

  #ended(
    row: Row,
    argv: readonly string[],
    end: JobEnd,
    took: { host: string; startedAt: number; took: number; received: number }
  ): void {
    const { sequence } = row
    this.#done++
    const { status, signal, message } = end
    if (status === 0) this.#succeeded++
    else this.#failed++
    if (message !== undefined && this.#endedBy === undefined)
      say(`job ${sequence} (${printable(commandOf(argv))}): ${message}`)
    const number = signal === null ? 0 : signalNumberOf(signal)
    // What was begun by a client that was ended, and whose end it did not hear, stays begun.
    if (status !== EXIT.lost)
      this.#log?.ended({ ...took, sequence, exitCode: number > 0 ? 0 : status, signal: number, argv })
    const { halt } = this.#request
    if (halt === undefined || this.#isHalted) return
    if ((halt.of === 'fail' ? this.#failed : this.#succeeded) < halt.count) return
    this.#halt()
    if (halt.when === 'now') this.#signalAll(osConstants.signals.SIGTERM)
  }

  // ------------------------------------------------------------------------------------------------------------ ends

  #halt(): void {
    this.#isHalted = true
    this.#stopped.resolve()
  }

  #signalAll(number: number): void {
    for (const job of this.#running.values()) job?.signal(number)
  }

  /** Once, it reaches all jobs; twice, nothing is waited for. */
  #end(signal: NodeJS.Signals): void {
    const isAgain = this.#endedBy !== undefined
    this.#endedBy ??= signal
    this.#halt()
    if (isAgain) this.#abandon()
    else {
      // A terminal has told those that run here already.
      const areTold = (signal === 'SIGINT' || signal === 'SIGQUIT') && inForeground()
      for (const job of this.#running.values()) {
        if (!areTold || !job?.isHere) job?.signal(osConstants.signals[signal])
      }
    }
    this.#tellChange()
  }

  #abandon(): void {
    this.#halt()
    for (const job of this.#running.values()) job?.abandon()
    this.#tellChange()
  }

  #outputGone(output: Output, error: NodeJS.ErrnoException): void {
    if (error.code === 'EPIPE') this.#endedBy ??= 'SIGPIPE'
    else this.#failure ??= new KappaError('StateError', `kappa each: ${output} can't be written: ${error.message}`)
    this.#abandon()
  }
}

/** Names that stand for files are text, values are bytes. */
function pathsOf(templates: readonly string[], row: Row): string[] {
  return templates.map((template) => {
    const bytes = Buffer.from(template).toString('latin1')
    return Buffer.from(filled(bytes, row), 'latin1').toString()
  })
}

function wishesOf({ run }: EachRequest): { nice?: number; env?: string[]; noEnv?: boolean; timeoutMs?: number } {
  const { env, noEnv, timeoutMs } = run.options
  return {
    ...(run.nice === undefined ? {} : { nice: run.nice }),
    ...(env === undefined ? {} : { env }),
    ...(noEnv === undefined ? {} : { noEnv }),
    ...(timeoutMs === undefined ? {} : { timeoutMs })
  }
}

const COMMAND_SHOWN_MAX = 120

/** For people: text, and not too much of it. */
function printable(command: string): string {
  const text = Buffer.from(command, 'latin1').toString()
  return text.length > COMMAND_SHOWN_MAX ? `${text.slice(0, COMMAND_SHOWN_MAX)}…` : text
}

/** As many jobs as an earlier run's log may know of. */
const EARLIER_MAX = 100_000_000

/** What is known of jobs of an earlier run, by their numbers: five bytes for each. */
class Earlier {
  #states = new Uint8Array(1024)
  #hashes = new Uint32Array(1024)

  set(sequence: number, known: Known, hash: number): void {
    if (sequence > EARLIER_MAX)
      throw new KappaError('UsageError', `kappa each: the log tells of job ${sequence}; is it one of kappa each?`)
    if (sequence >= this.#states.length) {
      const length = Math.max(sequence + 1, this.#states.length * 2)
      const [states, hashes] = [new Uint8Array(length), new Uint32Array(length)]
      states.set(this.#states)
      hashes.set(this.#hashes)
      this.#states = states
      this.#hashes = hashes
    }
    this.#states[sequence] = known === 'ended' ? 2 : 1
    this.#hashes[sequence] = hash
  }

  get(sequence: number): { known: Known; hash: number } | undefined {
    const state = this.#states[sequence]
    return state ? { known: state === 2 ? 'ended' : 'begun', hash: this.#hashes[sequence]! } : undefined
  }
}
