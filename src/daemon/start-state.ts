/** What one start of the daemon leaves to the next. */

import { join } from 'node:path'
import { z } from 'zod'
import type { Log } from './log.ts'
import { StateFile } from './state-file.ts'

const startSchema = z.object({
  epoch: z.int().min(0),
  /** TCP port that was listened on last, so that the peers' memory of it stays true. */
  port: z.int().min(1).max(65_535).optional()
})

/** The start counter and the port, in the file `start.json`. */
export class StartState {
  readonly #file: StateFile<z.infer<typeof startSchema>>
  #value: z.infer<typeof startSchema>

  private constructor(file: StateFile<z.infer<typeof startSchema>>, value: z.infer<typeof startSchema>) {
    this.#file = file
    this.#value = value
  }

  /**
   * Counts this start, safely on the disk before it resolves. An epoch never comes twice: it is at least the time in
   * seconds, so that not even a lost file or one from a backup brings an old one back.
   */
  static async begin(state: string, log: Log, nowMs: number = Date.now()): Promise<StartState> {
    const file = new StateFile(join(state, 'start.json'), startSchema, log)
    const last = file.read()
    const value = { ...last, epoch: Math.max((last?.epoch ?? 0) + 1, Math.floor(nowMs / 1000)) }
    await file.write(value)
    return new StartState(file, value)
  }

  /** The number of this start; rises from start to start. */
  get epoch(): number {
    return this.#value.epoch
  }

  get port(): number | undefined {
    return this.#value.port
  }

  /** Remembers the port that was listened on. */
  async keepPort(port: number): Promise<void> {
    if (port === this.#value.port) return
    this.#value = { ...this.#value, port }
    await this.#file.write(this.#value)
  }
}
