/** Asks the daemon for all that `kappa top` shows. */

import type { FiguresResult, JobResult, StatusResult } from '../../daemon/control-results.ts'
import { socketPath } from '../../daemon/directories.ts'
import { isKappaError, KappaError, messageOf } from '../../errors.ts'
import { connectDaemon, requestOn, tryConnect } from '../client.ts'
import type { Pipe } from '../pipe.ts'
import { SPARK_MAX } from './frame.ts'
import type { News } from './rows.ts'
import type { State } from './state.ts'

/** A daemon that hasn't answered within so many ms is as good as away. */
const ANSWER_MS = 5_000

export class Feed {
  /** Of the first connection the daemon is started when none runs; afterwards its owner may have ended it. */
  #connected = false
  readonly #closing = new AbortController()

  /** What holds now, with what was in that span. Throws KappaError when the daemon is away or doesn't answer. */
  async news(span?: State['span']): Promise<News> {
    // One by one for the first time: only one of them is to start the daemon.
    const first = this.#connected ? undefined : await this.ask('status', {})
    const [status, jobs, guests, past] = await Promise.all([
      first ?? this.ask('status', {}),
      this.ask('ps', {}),
      this.ask('ps', { guests: true }),
      span === undefined ? undefined : this.#figures(span)
    ])
    return {
      at: Date.now(),
      status: status as StatusResult,
      jobs: jobs as JobResult[],
      guests: guests as JobResult[],
      ...(past === undefined ? {} : { figures: past as FiguresResult })
    }
  }

  /** An older daemon doesn't know the request. */
  async #figures(span: State['span']): Promise<unknown> {
    try {
      return await this.ask('figures', { span, last: SPARK_MAX })
    } catch (error) {
      if (isKappaError(error) && error.name === 'UsageError') return undefined
      throw error
    }
  }

  /** One request and its result. Throws the daemon's error, or why there is no answer. */
  async ask(command: string, params: object): Promise<unknown> {
    const late = AbortSignal.timeout(ANSWER_MS)
    const signal = AbortSignal.any([late, this.#closing.signal])
    const socket = await this.#connect()
    try {
      return await requestOn(socket, command, params, undefined, signal)
    } catch (error) {
      if (late.aborted) {
        throw new KappaError('DaemonError', `the daemon has not answered for ${ANSWER_MS / 1_000} s`, { cause: error })
      }
      throw error
    }
  }

  /** Nobody waits for an answer any more. */
  close(): void {
    this.#closing.abort()
  }

  async #connect(): Promise<Pipe> {
    if (!this.#connected) {
      const first = await connectDaemon()
      this.#connected = true
      return first
    }
    const socket = await tryConnect(socketPath())
    if (socket === undefined)
      throw new KappaError('DaemonUnreachableError', 'the daemon has ended; kappa status starts it')
    return socket
  }
}

/** Why there are no news, in one line. */
export function whyAway(error: unknown): string {
  return messageOf(error).replaceAll(/\s*\n\s*/g, ' ')
}
