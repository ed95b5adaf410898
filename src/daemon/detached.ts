/**
 * Detached jobs of this home, each in a directory of its own: what is known of it, so that the next daemon goes on where
 * this one ended, and what it wrote, so that `kappa logs` can be asked twice.
 */

import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { KappaError, messageOf } from '../errors.ts'
import { JobOutput, RecordingRoom } from '../execution/recording.ts'
import { removeTree } from '../execution/removal.ts'
import type { Log } from './log.ts'
import { StateFile } from './state-file.ts'

/** Jobs of which anything is kept; of more the one that ended longest ago is forgotten. */
const JOBS_MAX = 1_024
/** What all of them have written may take; where it would be more, the oldest ended ones go. */
const OUTPUT_KEPT_BYTES = 1024 * 1024 * 1024
/** So long after its end a job's output is kept, as its history is. */
const AGE_MAX_MS = 30 * 86_400_000

const integer = z.int().min(0)
const text = z.string()

const schema = z.object({
  id: z.string().regex(/^[a-z0-9]{1,64}$/),
  /** As latin1 text. */
  argv: z.array(text).min(1),
  /** ms since the epoch. */
  startedAt: z.number(),
  reason: text.nullable(),
  target: text,
  /** As it was called at the start. */
  targetName: text,
  kind: z.enum(['own', 'friend']),
  /** Null: it runs here. */
  ticket: z.object({ id: text, target: text, epoch: integer, validMs: z.number() }).nullable(),
  /** How home came to know a target that is no neighbour. */
  meeting: z.object({ path: z.array(text), addresses: z.array(text) }).nullable(),
  /** Files that come back to that directory. */
  outs: z.array(text),
  outAlways: z.boolean(),
  directory: text,
  /** Its client may have gone: nothing that the job needs is still on its way. */
  started: z.boolean(),
  end: z
    .object({
      state: z.enum(['exited', 'lost']),
      exitCode: z.number().nullable(),
      signal: text.nullable(),
      error: z.object({ name: text, message: text }).nullable(),
      endedAt: z.number()
    })
    .nullable(),
  /** Its target knows that it may forget it. */
  forgotten: z.boolean(),
  /** What is missing in its output. */
  unkept: z.object({ bytes: integer, reason: text }).nullable()
})

export type DetachedState = z.output<typeof schema>
export type DetachedEnd = NonNullable<DetachedState['end']>

/** One job: what is on the disk, and news of it for those who follow. */
export class DetachedJob {
  readonly output: JobOutput
  state: DetachedState
  /** Whether its target can't be reached now. */
  hanging = false
  /** Nothing of it is kept any more. */
  removed = false
  readonly #file: StateFile<DetachedState>
  /** Who waits for the next news; bounded by the clients. */
  readonly #followers = new Set<() => void>()
  #version = 0

  constructor(directory: string, file: StateFile<DetachedState>, state: DetachedState, room: RecordingRoom) {
    this.#file = file
    this.state = state
    this.output = new JobOutput(directory, room)
  }

  /** Safely on the disk when it resolves. Throws StateError. */
  async update(change: Partial<DetachedState>): Promise<void> {
    this.state = { ...this.state, ...change }
    this.changed()
    await this.#file.write(this.state)
  }

  /** Another number after each piece of news. */
  get version(): number {
    return this.#version
  }

  /** There is more of its output, or it ended. */
  changed(): void {
    this.#version++
    for (const follower of this.#followers) follower()
  }

  /** Resolves when there is news since that version, or `signal` aborts. */
  news(since: number, signal: AbortSignal): Promise<void> {
    if (since !== this.#version) return Promise.resolve()
    return new Promise((resolve) => {
      const done = () => {
        this.#followers.delete(done)
        signal.removeEventListener('abort', done)
        resolve()
      }
      this.#followers.add(done)
      signal.addEventListener('abort', done, { once: true })
      if (signal.aborted) done()
    })
  }
}

export class DetachedJobs {
  readonly #directory: string
  readonly #log: Log
  readonly #now: () => number
  /** By id; at most JOBS_MAX. */
  readonly #jobs = new Map<string, DetachedJob>()
  readonly #room = new RecordingRoom(
    OUTPUT_KEPT_BYTES,
    (mebibytes) => `the outputs of detached jobs that are kept here have reached ${mebibytes} MiB together`
  )

  private constructor(state: string, log: Log, now: () => number) {
    this.#directory = join(state, 'detached')
    this.#log = log
    this.#now = now
  }

  /** Takes up what an earlier daemon left. */
  static async open(state: string, log: Log, now: () => number = Date.now): Promise<DetachedJobs> {
    const jobs = new DetachedJobs(state, log, now)
    for (const id of entriesOf(jobs.#directory)) await jobs.#take(id)
    await jobs.#prune()
    return jobs
  }

  get(id: string): DetachedJob | undefined {
    return this.#jobs.get(id)
  }

  all(): IterableIterator<DetachedJob> {
    return this.#jobs.values()
  }

  /** Keeps a job that is about to be started: safely on the disk when this resolves. Throws StateError. */
  async create(state: DetachedState): Promise<DetachedJob> {
    await this.#prune(1)
    const job = this.#made(state)
    mkdir(job.output.directory)
    this.#jobs.set(state.id, job)
    try {
      await job.update({})
    } catch (error) {
      await this.remove(job)
      throw error
    }
    return job
  }

  async remove(job: DetachedJob): Promise<void> {
    this.#jobs.delete(job.state.id)
    job.removed = true
    job.changed()
    await job.output.remove().catch((error) => this.#log.error('what a detached job left could not be removed', error))
  }

  async close(): Promise<void> {
    await Promise.all([...this.#jobs.values()].map(({ output }) => output.close().catch(() => undefined)))
  }

  #made(state: DetachedState): DetachedJob {
    const directory = join(this.#directory, state.id)
    return new DetachedJob(directory, new StateFile(join(directory, 'job.json'), schema, this.#log), state, this.#room)
  }

  async #take(id: string): Promise<void> {
    const directory = join(this.#directory, id)
    const state = new StateFile(join(directory, 'job.json'), schema, this.#log).read()
    if (state?.id !== id) {
      // It was being made, or removed, when the daemon ended.
      await removeTree(directory)
      return
    }
    const job = this.#made(state)
    await job.output.look()
    this.#jobs.set(id, job)
  }

  /** Forgets what is old, and makes room for so many jobs. */
  async #prune(wanted = 0): Promise<void> {
    const ended = [...this.#jobs.values()]
      .filter(({ state }) => state.end !== null && state.forgotten)
      .toSorted((a, b) => a.state.end!.endedAt - b.state.end!.endedAt)
    let bytes = [...this.#jobs.values()].reduce((sum, { output }) => sum + output.bytes, 0)
    for (const job of ended) {
      const old = this.#now() - job.state.end!.endedAt > AGE_MAX_MS
      // Half of the room is for those to come.
      const crowded = this.#jobs.size + wanted > JOBS_MAX || bytes > OUTPUT_KEPT_BYTES / 2
      if (!old && !crowded) break
      bytes -= job.output.bytes
      await this.remove(job)
    }
    if (this.#jobs.size + wanted > JOBS_MAX) {
      throw new KappaError('NothingRanError', `${JOBS_MAX} detached jobs are not over yet; see: kappa ps`)
    }
  }
}

function mkdir(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 })
  } catch (cause) {
    throw new KappaError('StateError', `${path} can't be made: ${messageOf(cause)}`, { cause })
  }
}

function entriesOf(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}
