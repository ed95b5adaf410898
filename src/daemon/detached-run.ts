/**
 * A detached job of this home on its target: takes what it writes and leaves, as long as home is there, and its end. Also
 * for jobs of an earlier daemon of this home.
 */

import type { JobEnd } from '../core/types.ts'
import { KappaError, messageOf } from '../errors.ts'
import { type ReceivedOuts, receiveOuts, removeArrivals } from '../execution/staging.ts'
import { ChunkQueue } from '../protocols/exec/chunk-queue.ts'
import { STREAM } from '../protocols/exec/frames.ts'
import type { ExecHome, HomeListener, Keeper, RemoteJob } from '../protocols/exec/home.ts'
import type { DetachedEnd, DetachedJob } from './detached.ts'
import type { Log } from './log.ts'
import type { LiveJob } from './runs.ts'

const SIGKILL = 9
/** A full disk here: the target keeps everything until the end could be written down. */
const PERSIST_AGAIN_MS = 30_000

export interface DetachedRunHost {
  exec: ExecHome
  log: Log
  /** The job is over: its record, and whoever waits for it. */
  over(id: string, end: DetachedEnd): void
  /** It runs for sure. */
  running(id: string): void
  /** Nothing ran there and nothing will; what was kept for it is not needed. */
  discard(job: DetachedJob): Promise<void>
}

export class DetachedRun implements HomeListener, Keeper, LiveJob {
  readonly root = undefined
  readonly job: DetachedJob
  readonly #host: DetachedRunHost
  /** Who starts it, as long as a client waits for that. */
  #starter: HomeListener | undefined
  #remote: RemoteJob | undefined
  /** What was received of each output is being written in order. */
  readonly #written = new Map<number, Promise<void>>()
  /** Outputs that could not be written here to their end. */
  readonly #unkept = new Set<number>()
  readonly #outs = new ChunkQueue()
  #received: Promise<ReceivedOuts | KappaError> | undefined
  readonly #stopping: AbortSignal

  constructor(host: DetachedRunHost, job: DetachedJob, stopping: AbortSignal, starter?: HomeListener) {
    this.#host = host
    this.job = job
    this.#starter = starter
    this.#stopping = stopping
  }

  /** It has its remote job from now on. */
  begin(remote: RemoteJob): void {
    this.#remote = remote
    const { outs: names, directory, kind, end } = this.job.state
    if (names.length === 0 || end !== null) return
    const source = this.#outs.read((bytes) => this.#remote?.consumed(STREAM.outs, bytes))
    this.#received = receiveOuts(source, { names, directory, kind, mark: this.#mark }).catch((error) => {
      // The rest must not keep the job from ending.
      this.#remote?.closeOutput(STREAM.outs)
      return error
    })
  }

  /** Goes on with a job of an earlier daemon. */
  async rejoin(): Promise<void> {
    const { ticket, started, end, outs, directory } = this.job.state
    await removeArrivals(outs, directory, this.#mark).catch((error) => this.#host.log.warn(messageOf(error)))
    const received = { stdout: this.job.output.stdout.bytes, stderr: this.job.output.stderr.bytes }
    this.job.hanging = true
    this.begin(this.#host.exec.rejoin(ticket!, received, this, this))
    // What could not be written here before comes again, and of what is missing there its target tells again.
    if (end === null) this.job.state = { ...this.job.state, unkept: null }
    if (end !== null) {
      for (const stream of [STREAM.stdout, STREAM.stderr, STREAM.outs]) this.#remote?.closeOutput(stream)
    } else if (!started) this.signal(SIGKILL)
  }

  get #mark(): string {
    return this.job.state.ticket!.id.slice(0, 8)
  }

  get resting(): boolean {
    return this.#starter === undefined
  }

  /** The client need not stay: the job goes on without it. Resolves when that is safely on the disk, or can't be yet. */
  async release(): Promise<void> {
    this.#starter = undefined
    this.#remote?.rest()
    await this.job.update({ started: true }).catch(() => void this.#persist({}))
  }

  /** It was never started, and won't be: nothing of it stays. */
  async discard(): Promise<void> {
    await this.#abandon(new Error('nothing ran'))
    await this.#host.discard(this.job)
  }

  signal(number: number): void {
    this.#remote?.signal(number)
  }

  /** Its target can't be told anything now. */
  get unreachable(): boolean {
    return this.#remote?.isConnected !== true
  }

  // ----------------------------------------------------------------------------------------------- from its target

  started(): void {
    if (this.#starter) this.#starter.started()
    else this.#host.running(this.job.state.id)
  }

  data(stream: number, _offset: number, bytes: Uint8Array): void {
    if (stream === STREAM.outs) {
      this.#outs.push(bytes)
      return
    }
    const before = this.#written.get(stream) ?? Promise.resolve()
    this.#written.set(
      stream,
      before.then(() => this.#write(stream, bytes))
    )
  }

  async #write(stream: number, bytes: Uint8Array): Promise<void> {
    const { stdout, stderr } = this.job.output
    // Nothing may follow a gap.
    const over = this.#unkept.has(stream)
    const { kept, why } = over ? { kept: 0 } : await (stream === STREAM.stdout ? stdout : stderr).append(bytes)
    this.#remote?.consumed(stream, bytes.length)
    if (why !== undefined) {
      this.#unkept.add(stream)
      this.#remote?.closeOutput(stream)
      this.#note({ bytes: bytes.length - kept, reason: `here ${why}` })
    }
    this.job.changed()
  }

  #note(unkept: { bytes: number; reason: string }): void {
    this.job.update({ unkept }).catch((error) => this.#host.log.warn(messageOf(error)))
  }

  eof(stream: number): void {
    if (stream === STREAM.outs) this.#outs.end()
  }

  closed(stream: number): void {
    this.#starter?.closed(stream)
  }

  limit(stream: number, limit: number): void {
    this.#starter?.limit(stream, limit)
  }

  hanging(hanging: boolean): void {
    this.job.hanging = hanging
    this.#starter?.hanging(hanging)
  }

  stopped(): void {}

  unkept(bytes: number, reason: string): void {
    this.#note({ bytes, reason: `${this.job.state.targetName}: ${reason}` })
  }

  /** All that it left is put in its place, then its end is written down. */
  async keep(end: JobEnd): Promise<boolean> {
    await Promise.all(this.#written.values())
    // In a later life than the one that wrote the end down: all is done.
    if (this.job.state.end !== null) return true
    for (const output of [this.job.output.stdout, this.job.output.stderr]) {
      await output.flush().catch((error) => this.#host.log.warn(messageOf(error)))
    }
    const error = await this.#commit(end)
    const { exitCode, signal } = end
    const told = { ...end, ...(error ? { error } : {}) }
    const starter = this.#starter
    const kept = await this.#finish({ state: 'exited', exitCode, signal, error: told.error ?? null })
    starter?.ended(told)
    return kept
  }

  /** Puts the files that came back in place, all or none. What went wrong, also as the target says. */
  async #commit(end: JobEnd): Promise<JobEnd['error']> {
    const succeeded = end.exitCode === 0 || this.job.state.outAlways
    if (!succeeded || (end.error && end.exitCode === null && end.signal === null)) {
      await this.#abandon(new Error('the job failed'))
      return end.error
    }
    const received = await this.#received
    if (received === undefined) return end.error
    if (received instanceof Error) return end.error ?? { name: 'StagingError', message: messageOf(received) }
    try {
      await received.commit()
      return end.error
    } catch (error) {
      return { name: 'StagingError', message: messageOf(error) }
    }
  }

  /** Nothing of the files that were coming back stays. */
  async #abandon(why: Error): Promise<void> {
    this.#outs.fail(why)
    const received = await this.#received
    if (received !== undefined && !(received instanceof Error)) await received.discard()
  }

  forgotten(): void {
    this.job.update({ forgotten: true }).catch((error) => this.#host.log.warn(messageOf(error)))
    this.job.output.close().catch((error) => this.#host.log.warn(messageOf(error)))
  }

  ended(): void {
    throw new KappaError('DaemonError', 'a detached job ended without its keeper')
  }

  lost(reason: string, goneMs: number): void {
    const { id, end, targetName } = this.job.state
    // Only its target's word that it forgot the job was still wanted.
    if (end !== null) {
      this.forgotten()
      return
    }
    const message = `the job ${id} on ${targetName} is lost: ${reason}. It may have run, its end is unknown`
    const starter = this.#starter
    void this.#abandon(new Error('the job is lost')).then(async () => {
      await this.#finish({ state: 'lost', exitCode: null, signal: null, error: { name: 'LostError', message } })
      starter?.lost(reason, goneMs)
      this.forgotten()
    })
  }

  free(code: string, reason: string): void {
    const starter = this.#starter
    const { targetName } = this.job.state
    void this.#abandon(new Error('nothing ran')).then(async () => {
      if (starter) {
        await this.discard()
        starter.free(code, reason)
        return
      }
      const message = `nothing ran on ${targetName}: ${reason}`
      await this.#finish({ state: 'exited', exitCode: null, signal: null, error: { name: 'NothingRanError', message } })
      this.forgotten()
    })
  }

  // ------------------------------------------------------------------------------------------------------- its end

  async #finish(change: Omit<DetachedEnd, 'endedAt'>): Promise<boolean> {
    const end = { ...change, endedAt: Date.now() }
    this.job.state = { ...this.job.state, end }
    if (!this.#starter) this.#host.over(this.job.state.id, end)
    this.#starter = undefined
    return this.#persist({ end })
  }

  /** Until it is on the disk: true; or this daemon ends. */
  async #persist(change: Parameters<DetachedJob['update']>[0]): Promise<boolean> {
    for (;;) {
      try {
        await this.job.update(change)
        return true
      } catch (error) {
        this.#host.log.warn(messageOf(error))
      }
      if (!(await again(this.#stopping))) return false
    }
  }
}

/** After a while: true, unless the daemon stops first. */
function again(stopping: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => done(true), PERSIST_AGAIN_MS)
    const done = (more: boolean) => {
      clearTimeout(timer)
      stopping.removeEventListener('abort', stop)
      resolve(more)
    }
    const stop = () => done(false)
    stopping.addEventListener('abort', stop, { once: true })
    if (stopping.aborted) stop()
  })
}
