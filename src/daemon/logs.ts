/** `kappa logs`: what a detached job wrote, as far as it is here, to one client. */

import { KappaError } from '../errors.ts'
import type { Recording } from '../execution/recording.ts'
import { printable } from '../printable.ts'
import { DATA_BYTES_MAX, dataHeader, FRAME, STREAM } from '../protocols/exec/frames.ts'
import type { ControlConnection } from './control.ts'
import type { LogsResult } from './control-results.ts'
import type { DetachedJob } from './detached.ts'

/** On its way to a client that doesn't take it. */
const UNDER_WAY_BYTES_MAX = 256 * 1024
const WORDS_LENGTH_MAX = 1_000

/** Sends both outputs, each in its order; with `follow` until the job is over. What else there is to say. */
export async function sendLogs(job: DetachedJob, follow: boolean, connection: ControlConnection): Promise<LogsResult> {
  const reader = new LogReader(job, connection)
  for (;;) {
    const { version } = job
    const whole = !follow || job.state.end !== null || job.removed
    if (await reader.send()) continue
    if (connection.gone) throw new KappaError('DaemonError', 'the command was ended')
    if (whole) return { notes: notesOf(job, follow) }
    await job.news(version, reader.gone)
  }
}

function notesOf({ state, hanging }: DetachedJob, follow: boolean): string[] {
  const { id, unkept, end, targetName } = state
  const notes: string[] = []
  if (unkept) {
    const soFar = end === null ? ' so far' : ''
    notes.push(`what ${id} wrote is not whole, ${unkept.bytes} bytes are missing${soFar}: ${unkept.reason}`)
  }
  if (end?.state === 'lost') notes.push(end.error?.message ?? `the job ${id} is lost`)
  if (end === null && hanging && !follow) notes.push(`${targetName} can't be reached now: this is what came before`)
  return notes.map((note) => printable(note, WORDS_LENGTH_MAX))
}

class LogReader {
  readonly gone: AbortSignal
  readonly #connection: ControlConnection
  readonly #outputs: { stream: number; recording: Recording; sent: number; taken: number }[]
  #onTaken: () => void = () => undefined

  constructor(job: DetachedJob, connection: ControlConnection) {
    this.#connection = connection
    this.gone = connection.signal
    const { stdout, stderr } = job.output
    this.#outputs = [
      { stream: STREAM.stdout, recording: stdout, sent: 0, taken: 0 },
      { stream: STREAM.stderr, recording: stderr, sent: 0, taken: 0 }
    ]
    connection.onGone(() => this.#onTaken())
    connection.onFrame((frame) => {
      const output = this.#outputs.find(({ stream }) => 'stream' in frame && frame.stream === stream)
      if (output === undefined || frame.type !== FRAME.ack || !('received' in frame)) return
      output.taken = frame.received
      this.#onTaken()
    })
  }

  /** A piece of each; false: there is no more now, or the client is gone. */
  async send(): Promise<boolean> {
    let more = false
    for (const output of this.#outputs) {
      while (output.sent - output.taken >= UNDER_WAY_BYTES_MAX && !this.#connection.gone) {
        await new Promise<void>((resolve) => {
          this.#onTaken = resolve
        })
      }
      if (this.#connection.gone) return false
      const bytes = await output.recording.read(output.sent, DATA_BYTES_MAX)
      if (bytes.length === 0) continue
      this.#connection.send(dataHeader(0, output.stream, output.sent), bytes)
      output.sent += bytes.length
      more = true
    }
    return more
  }
}
