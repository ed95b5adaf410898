/** What this home has learnt of its commands and links, in `learned.json`: names and shapes of commands only. */

import { join } from 'node:path'
import { z } from 'zod'
import type { Sent } from '../core/judging.ts'
import {
  type Advice,
  type FinishedRun,
  type LearnedState,
  Learning,
  MAX_COMMANDS,
  MAX_LINKS
} from '../core/learning.ts'
import type { Log } from './log.ts'
import { StateFile } from './state-file.ts'

/** ms from the first news to its way to the disk. */
const WRITE_AFTER_MS = 30_000

const amount = z.number().min(0)
const place = z.object({
  peer: z.string().max(128),
  runs: amount,
  latest: amount,
  workMs: amount,
  compared: amount,
  logWork: amount,
  logVariance: amount,
  waitMs: amount,
  cores: amount
})
const command = z.object({
  key: z.string().min(1).max(256),
  runs: amount,
  places: z.array(place).max(16),
  peakBytes: amount,
  toldPeakBytes: amount,
  stagedBytes: amount,
  streamedBytes: amount,
  turns: amount
})
const stateSchema: z.ZodType<LearnedState> = z.object({
  version: z.literal(2),
  commands: z.array(command).max(MAX_COMMANDS),
  links: z.array(z.object({ peer: z.string().min(1).max(128), bytesPerMs: amount })).max(MAX_LINKS)
})

export interface LearntInit {
  /** Directory of the daemon's state. */
  state: string
  log: Log
  /** Whether the owner wants it (`learn`). */
  enabled: boolean
  /** ms of a clock that counts suspend. */
  now(): number
}

export class Learnt {
  readonly learning: Learning
  readonly #init: LearntInit
  readonly #file: StateFile<LearnedState>
  #enabled: boolean
  #timer: NodeJS.Timeout | undefined

  /** Goes on with what is on the disk; forgets it when the owner doesn't want it. */
  constructor(init: LearntInit) {
    this.#init = init
    this.#file = new StateFile(join(init.state, 'learned.json'), stateSchema, init.log)
    this.#enabled = init.enabled
    this.learning = new Learning(init.enabled ? this.#file.read() : undefined)
    if (!init.enabled) this.#forget()
  }

  /** What is known of a command, for a machine of that speed; nothing while learning is off. */
  advice(key: string, speed: number): Advice {
    return this.#enabled ? this.learning.advice(key, speed, this.#init.now()) : {}
  }

  /** A job was started elsewhere. */
  began(sent: Sent, key: string | undefined): void {
    if (this.#enabled) this.learning.began(sent, key, this.#init.now())
  }

  /** That job is over, however it ended. */
  ended(id: string): void {
    this.learning.ended(id)
  }

  learn(run: FinishedRun): void {
    if (!this.#enabled) return
    this.learning.finished(run, this.#init.now())
    this.#changed()
  }

  forgetPeer(peer: string): void {
    this.learning.forgetPeer(peer)
    if (this.#enabled) this.#changed()
  }

  /** Switched off, all is forgotten, on the disk too. */
  configure(enabled: boolean): void {
    if (this.#enabled && !enabled) this.#forget()
    this.#enabled = enabled
  }

  /** Writes what the disk doesn't know yet. */
  async stop(): Promise<void> {
    if (this.#timer !== undefined) await this.#write()
  }

  #changed(): void {
    this.#timer ??= setTimeout(() => void this.#write(), WRITE_AFTER_MS).unref()
  }

  async #write(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    try {
      await this.#file.write(this.learning.state())
    } catch (error) {
      this.#init.log.error('what was learnt could not be kept', error)
    }
  }

  #forget(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.learning.forgetAll()
    this.#file.remove().catch((error) => this.#init.log.error('what was learnt could not be removed', error))
  }
}
