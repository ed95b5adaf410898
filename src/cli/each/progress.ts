/** One line on the terminal: how many jobs are done, and how long the rest may take. */

import { duration } from '../output.ts'
import { statusLine } from '../run-streams.ts'

/** ms between two of them. */
const SHOW_MS = 250

export interface Counts {
  done: number
  failed: number
  running: number
  /** Undefined until all arguments are read. */
  total: number | undefined
}

export class Progress {
  readonly #counts: () => Counts
  readonly #startedAt = performance.now()
  readonly #timer: NodeJS.Timeout
  /** Jobs that were done before this run. */
  readonly #before: number

  constructor(counts: () => Counts) {
    this.#counts = counts
    this.#before = counts().done
    this.#timer = setInterval(() => statusLine.show(this.text()), SHOW_MS).unref()
  }

  text(): string {
    const { done, failed, running, total } = this.#counts()
    const parts = [`${done}${total === undefined ? '' : ` of ${total}`} done`, `${running} running`]
    if (failed > 0) parts.push(`${failed} failed`)
    const finished = done - this.#before
    if (total !== undefined && finished > 0 && done < total) {
      const leftMs = ((performance.now() - this.#startedAt) / finished) * (total - done)
      parts.push(`about ${duration(leftMs)} left`)
    }
    return parts.join(', ')
  }

  end(): void {
    clearInterval(this.#timer)
    statusLine.erase()
  }
}
