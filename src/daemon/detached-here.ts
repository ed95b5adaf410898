/**
 * A detached job that runs on this machine: a process of its own (cli/detached-job.ts) runs it and writes into the job's
 * directory; here it is only looked at. So it needs no daemon, and the next one sees it too.
 */

import { type FSWatcher, watch } from 'node:fs'
import { join } from 'node:path'
import { messageOf } from '../errors.ts'
import type { DetachedEnd, DetachedJob } from './detached.ts'
import { HERE_LOCK, type HereNews, newsFile } from './here-news.ts'
import { holderOf } from './lock.ts'
import type { Log } from './log.ts'
import type { LiveJob } from './runs.ts'
import type { StateFile } from './state-file.ts'

/** Between two looks, if nothing is heard of a change. */
const LOOK_MS = 500
/** A job that writes all the time is looked at no oftener. */
const LOOK_SOON_MS = 50
/** From the first look to the process that runs it. */
const STAND_MS = 20_000

export interface HereHost {
  log: Log
  /** It runs: its client may go. */
  stands(): void
  over(end: DetachedEnd): void
}

export class DetachedHere implements LiveJob {
  readonly unreachable = false
  readonly job: DetachedJob
  readonly #host: HereHost
  readonly #file: StateFile<HereNews>
  readonly #since = performance.now()
  #news: HereNews | undefined
  #watcher: FSWatcher | undefined
  #timer: NodeJS.Timeout | undefined
  #soon: NodeJS.Timeout | undefined
  #looking = false
  #again = false
  #stood: boolean
  #over = false

  constructor(host: HereHost, job: DetachedJob) {
    this.#host = host
    this.job = job
    this.#stood = job.state.started
    this.#file = newsFile(job.output.directory)
    this.#timer = setInterval(() => void this.#look(), LOOK_MS)
    try {
      this.#watcher = watch(job.output.directory, () => this.#lookSoon()).on('error', () => undefined)
    } catch {
      // The kernel has no watch left: the timer does.
    }
    void this.#look()
  }

  get resting(): boolean {
    return this.#stood
  }

  /** Root of its process tree. */
  get root(): number | undefined {
    return this.#holder
  }

  signal(number: number): void {
    const { child, end } = this.#news ?? {}
    if (!child || end || this.#holder === undefined) return
    try {
      process.kill(-child, number)
    } catch {
      // It has just ended.
    }
  }

  stop(): void {
    clearInterval(this.#timer)
    clearTimeout(this.#soon)
    this.#watcher?.close()
  }

  #lookSoon(): void {
    this.#soon ??= setTimeout(() => {
      this.#soon = undefined
      void this.#look()
    }, LOOK_SOON_MS)
  }

  get #holder(): number | undefined {
    return holderOf(join(this.job.output.directory, HERE_LOCK))
  }

  async #look(): Promise<void> {
    this.#again = true
    if (this.#looking) return
    this.#looking = true
    while (this.#again && !this.#over) {
      this.#again = false
      await this.#lookOnce().catch((error) => this.#host.log.warn(messageOf(error)))
    }
    this.#looking = false
  }

  async #lookOnce(): Promise<void> {
    // In this order: who ended has written its end before.
    const lives = this.#holder !== undefined
    this.#news = this.#file.read() ?? this.#news
    const before = this.job.output.bytes
    await this.job.output.look()
    if (this.job.output.bytes !== before) this.job.changed()
    const { end = null, unkept = null, child = null } = this.#news ?? {}
    if (unkept?.bytes !== this.job.state.unkept?.bytes) await this.job.update({ unkept })
    if (!this.#stood && (child !== null || end !== null)) {
      this.#stood = true
      await this.job.update({ started: true }).catch((error) => this.#host.log.warn(messageOf(error)))
      this.#host.stands()
    }
    if (end) await this.#finish({ state: 'exited', ...end, error: end.error ?? null })
    else if (!lives && this.#stood) await this.#lose('the process that ran it was ended')
    else if (!lives && performance.now() - this.#since > STAND_MS) await this.#lose('it was never seen to start')
  }

  #lose(why: string): Promise<void> {
    const message = `the job ${this.job.state.id} here is lost: ${why}. Its end is unknown`
    return this.#finish({ state: 'lost', exitCode: null, signal: null, error: { name: 'LostError', message } })
  }

  async #finish(change: Omit<DetachedEnd, 'endedAt'>): Promise<void> {
    this.#over = true
    this.stop()
    await this.job.output.look()
    const end = { ...change, endedAt: Date.now() }
    this.job.state = { ...this.job.state, end }
    this.#host.over(end)
    await this.job.update({ end, forgotten: true })
    await this.job.output.close()
  }
}
