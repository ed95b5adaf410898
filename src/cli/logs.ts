import { constants } from 'node:os'
import { ControlReader, errorOf, FRAME, jsonOf, withLength } from '../daemon/control-codec.ts'
import type { LogsResult } from '../daemon/control-results.ts'
import { KappaError } from '../errors.ts'
import { ackFrame, type Frame, STREAM } from '../protocols/exec/frames.ts'
import { readArguments } from './arguments.ts'
import { connectDaemon, requestFrame } from './client.ts'
import type { Command, Takes } from './command.ts'
import type { Pipe } from './pipe.ts'
import { leave, openSink, type Sink, say } from './run-streams.ts'

const HELP = `Usage: kappa logs [-f] JOB

Writes what a detached job wrote so far, stdout to stdout and stderr to stderr, byte for byte; as often as it is asked. Of
each of the two the first 64 MiB are kept, for 30 days after the job's end. What is missing is said on stderr.

  -f, --follow    goes on until the job is over; Ctrl-C only ends that

Example:
  kappa logs -f j7f 2>errors | grep -c done`

const TAKES = {
  options: { follow: { type: 'boolean', short: 'f' } },
  arguments: { min: 1, max: 1, what: 'one JOB', completes: ['detached-job'] }
} as const satisfies Takes

export const command: Command = {
  help: HELP,
  takes: TAKES,
  async execute(args) {
    const parsed = readArguments({ name: 'kappa logs', help: HELP, ...TAKES }, args)
    if (!parsed) return 0
    const { follow = false } = parsed.values
    const logs = new Logs(await connectDaemon())
    const { notes } = await logs.read(parsed.positionals[0]!, follow)
    for (const note of notes) say(note)
    return 0
  }
}

class Logs {
  readonly #socket: Pipe
  readonly #sinks: Map<number, Sink>
  #fail: (error: unknown) => void = () => undefined

  constructor(socket: Pipe) {
    this.#socket = socket
    this.#sinks = new Map([
      [STREAM.stdout, this.#sink(1)],
      [STREAM.stderr, this.#sink(2)]
    ])
  }

  /** A reader that went away ends this as it ends cat(1). */
  #sink(descriptor: number): Sink {
    return openSink(descriptor, (error) => {
      if (error.code === 'EPIPE') leave(null, 'SIGPIPE', constants.signals.SIGPIPE)
      this.#fail(new KappaError('StateError', `the output can't be written: ${error.message}`))
    })
  }

  async read(job: string, follow: boolean): Promise<LogsResult> {
    const result = new Promise<LogsResult>((resolve, reject) => {
      this.#fail = reject
      this.#socket.write([requestFrame('logs', { job, follow })])
      const reader = new ControlReader()
      const onData = (chunk: Buffer) => {
        try {
          reader.push(chunk, (frame) => this.#handle(frame, resolve))
        } catch (error) {
          reject(error)
        }
      }
      const gone = 'the daemon ended while it was asked; the job goes on, ask again'
      this.#socket.read(onData, () => reject(new KappaError('DaemonError', gone)))
    })
    try {
      const logs = await result
      await Promise.all([...this.#sinks.values()].map((sink) => sink.flushed()))
      return logs
    } finally {
      this.#socket.close()
    }
  }

  #handle(frame: Frame, resolve: (result: LogsResult) => void): void {
    if (frame.type === FRAME.result) resolve(jsonOf(frame) as LogsResult)
    else if (frame.type === FRAME.failure) this.#fail(errorOf(jsonOf(frame)))
    else if ('bytes' in frame) {
      const { stream, offset, bytes } = frame
      this.#sinks.get(stream)?.write(bytes, () => {
        this.#socket.write(withLength(ackFrame(0, stream, offset + bytes.length, 0)))
      })
    }
  }
}
