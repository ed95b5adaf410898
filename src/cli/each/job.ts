/** One job of `kappa each`: asks the daemon where, runs the command here or takes its output from there. */

import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync } from 'node:fs'
import { constants as osConstants } from 'node:os'
import {
  ControlReader,
  errorOf,
  FRAME,
  jsonFrame,
  jsonOf,
  type RunEnd,
  type RunParams,
  type StartedThere,
  withLength
} from '../../daemon/control-codec.ts'
import { EXIT, isKappaError, KappaError, messageOf } from '../../errors.ts'
import { ackFrame, closeFrame, eofFrame, type Frame, STREAM } from '../../protocols/exec/frames.ts'
import { connectDaemon, requestFrame } from '../client.ts'
import { Pipe } from '../pipe.ts'
import { environmentOf, type LocalWishes, whyNot, wrapped } from '../run-local.ts'
import type { LaunchState } from '../run-options.ts'
import type { Staging } from '../run-staging.ts'
import { signalNumberOf } from '../run-streams.ts'
import { TimeLimit } from '../time-limit.ts'
import type { Fifos } from './fifos.ts'

/** ms without a byte after which what a job left in the background is not listened to any more. */
const QUIET_MS = 200

/** Told before the job has a place: it has no stdin. */
const NO_STDIN = withLength(eofFrame(0, STREAM.stdin, 0))

/** Of a job's own outputs. */
export type Output = 'stdout' | 'stderr'

/** How a job ended. */
export interface JobEnd {
  /** As `kappa run` would have exited. */
  status: number
  /** The command's own end. */
  exitCode: number | null
  signal: string | null
  /** What kappa has to say about it. */
  message?: string
  /** Nothing ran: it was never begun, here or elsewhere. */
  isBegun: boolean
  /** By the user's word it may be tried again then, without that machine. */
  again?: RunEnd['again']
}

export interface JobInit {
  argv: string[]
  params: RunParams
  launch: LaunchState
  wishes: LocalWishes
  staging: Staging | undefined
  fifos: Fifos
  /** It is a job's own: no cluster within the cluster, it runs where we are. */
  isInside: boolean
  /** It has a place: the machine's name. */
  onPlaced(host: string): void
  /** Bytes are valid during the call; `taken` when there is room for more. */
  onOutput(output: Output, bytes: Buffer, taken: () => void): void
}

export class Job {
  readonly #init: JobInit
  readonly #ended = Promise.withResolvers<JobEnd>()
  #socket: Pipe | undefined
  #child: ChildProcess | undefined
  #isBegun = false
  #isOver = false
  /** Signals that came before there was anybody to take them. */
  #asked: number[] = []

  constructor(init: JobInit) {
    this.#init = init
  }

  get isHere(): boolean {
    return this.#child !== undefined
  }

  /** Never rejects. */
  async run(): Promise<JobEnd> {
    if (this.#isOver) return this.#ended.promise
    if (this.#init.isInside) {
      this.#runHere().then((end) => this.#ended.resolve(end), this.#failed)
      return this.#ended.promise
    }
    try {
      this.#socket = await connectDaemon()
      const reader = new ControlReader()
      this.#socket.read(
        (bytes) => {
          try {
            reader.push(bytes, (frame) => this.#handle(frame))
          } catch (error) {
            this.#fail(error)
          }
        },
        () => {
          if (!this.#isOver) this.#fail(new KappaError('LostError', 'the daemon here ended while the job was with it'))
        }
      )
      this.#socket.write([requestFrame('run', this.#init.params), ...NO_STDIN])
      for (const number of this.#asked.splice(0)) this.signal(number)
    } catch (error) {
      this.#fail(error)
    }
    const end = await this.#ended.promise
    this.#isOver = true
    this.#socket?.close()
    return end
  }

  /** To the job's whole process group, there or here. */
  signal(number: number): void {
    if (this.#isOver) return
    if (this.#child !== undefined) this.#child.kill(number)
    else if (this.#socket !== undefined) this.#socket.write([jsonFrame(FRAME.signal, { number })])
    else this.#asked.push(number)
  }

  /** Nothing of it is waited for any more; what runs is ended. */
  abandon(): void {
    this.#child?.kill('SIGKILL')
    this.#socket?.close()
    this.#fail(new KappaError('LostError', 'it was given up'))
  }

  #handle(frame: Frame): void {
    if (!('payload' in frame)) this.#handleStream(frame)
    else if (frame.type === FRAME.local) this.#runHere().then((end) => this.#endedHere(end), this.#failed)
    else if (frame.type === FRAME.started) this.#started(jsonOf(frame) as StartedThere)
    else if (frame.type === FRAME.end) this.#endedThere(jsonOf(frame) as RunEnd).catch(this.#failed)
    else if (frame.type === FRAME.failure) this.#fail(errorOf(jsonOf(frame)))
  }

  #failed = (error: unknown): void => this.#fail(error)

  #fail(error: unknown): void {
    if (this.#isOver) return
    this.#isOver = true
    const why = isKappaError(error) ? error : new KappaError('LostError', messageOf(error))
    // Whoever had begun it may have come to its end.
    const status = this.#isBegun || why.exitCode === EXIT.lost ? EXIT.lost : EXIT.nothingRan
    void this.#init.staging?.abandon(why)
    this.#ended.resolve({ status, exitCode: null, signal: null, message: why.message, isBegun: status === EXIT.lost })
  }

  // ------------------------------------------------------------------------------------------------------------ there

  #started({ kind, name }: StartedThere): void {
    this.#isBegun = true
    this.#init.onPlaced(name)
    this.#init.staging?.begin(kind, this.#socket!, this.#failed)
  }

  #handleStream(frame: Frame): void {
    if ('payload' in frame) return
    const { stream } = frame
    if (stream === STREAM.ins || stream === STREAM.outs) this.#init.staging?.handle(frame)
    else if (frame.type === FRAME.data && (stream === STREAM.stdout || stream === STREAM.stderr)) {
      const until = frame.offset + frame.bytes.length
      const taken = (): void => this.#write(ackFrame(0, stream, until, 0))
      this.#init.onOutput(stream === STREAM.stdout ? 'stdout' : 'stderr', frame.bytes, taken)
    }
  }

  /** Nobody takes what it writes any more: it learns that as it would here. */
  closeOutputs(): void {
    if (this.#isOver || this.#child !== undefined || !this.#isBegun) return
    this.#write(closeFrame(0, STREAM.stdout))
    this.#write(closeFrame(0, STREAM.stderr))
  }

  async #endedThere(end: RunEnd): Promise<void> {
    const { exitCode, signal, again } = end
    let { message, status } = end
    const { staging, params } = this.#init
    const isTimedOut = status === EXIT.timeout
    if (staging !== undefined && status !== undefined && !isTimedOut) await staging.abandon(new Error('it failed'))
    else if (staging !== undefined) {
      const problem = await staging.finish((exitCode === 0 && !isTimedOut) || params.outAlways)
      if (problem !== undefined) {
        message = problem
        if (status === undefined && exitCode === 0) status = EXIT.failure
      }
    }
    this.#ended.resolve({
      status: status ?? statusOf(exitCode, signal),
      exitCode,
      signal,
      isBegun: this.#isBegun,
      ...(message === undefined ? {} : { message }),
      ...(again === undefined ? {} : { again })
    })
  }

  #write(...parts: Buffer[]): void {
    this.#socket?.write(withLength(...parts))
  }

  // ------------------------------------------------------------------------------------------------------------- here

  async #runHere(): Promise<JobEnd> {
    this.#init.onPlaced(':')
    const { argv, launch, wishes, fifos } = this.#init
    const words = argv.map((word) => Buffer.from(word, 'latin1'))
    const problem = whyNot(words[0]!.toString())
    if (problem !== undefined) return nothing(problem.exitCode!, problem.message)
    const [stdout, stderr] = [await fifos.take(), await fifos.take()]
    const readings = [this.#read('stdout', stdout.reader), this.#read('stderr', stderr.reader)]
    try {
      const [file, args] = wrapped(words, launch, wishes)
      this.#child = spawn(file, args, {
        stdio: ['ignore', stdout.writer, stderr.writer],
        env: environmentOf(launch, wishes)
      })
    } catch (error) {
      return nothing(EXIT.notExecutable, `${words[0]}: ${messageOf(error)}`)
    } finally {
      closeSync(stdout.writer)
      closeSync(stderr.writer)
    }
    const { pid } = this.#child
    if (pid !== undefined) this.#socket?.write([jsonFrame(FRAME.local, { pid })])
    return this.#endOf(this.#child, words[0]!, readings)
  }

  #read(output: Output, descriptor: number): Reading {
    const pipe = Pipe.open(descriptor)
    const over = Promise.withResolvers<void>()
    const reading: Reading = { pipe, over: over.promise, readAt: 0 }
    pipe.read(
      (bytes) => {
        reading.readAt = performance.now()
        pipe.pause()
        this.#init.onOutput(output, bytes, () => pipe.resume())
      },
      () => over.resolve()
    )
    return reading
  }

  #endOf(child: ChildProcess, name: Buffer, readings: readonly Reading[]): Promise<JobEnd> {
    return new Promise((resolve) => {
      const { timeoutMs = 0 } = this.#init.wishes
      const limit = timeoutMs > 0 && child.pid !== undefined ? new TimeLimit(child.pid, timeoutMs) : undefined
      child.once('error', (error) => {
        limit?.stop()
        resolve(nothing(EXIT.notExecutable, `${name}: ${error.message}`))
      })
      child.once('exit', (exitCode, signal) => {
        this.#isBegun = true
        limit?.stop()
        const status = limit?.over ? EXIT.timeout : statusOf(exitCode, signal)
        void drained(readings).then(() => resolve({ status, exitCode, signal, isBegun: true }))
      })
    })
  }

  #endedHere(end: JobEnd): void {
    const { exitCode, signal, status } = end
    const told = { exitCode, signal, ...(status === EXIT.timeout ? { timedOut: true } : {}) }
    this.#socket?.write([jsonFrame(FRAME.localEnded, told)], () => this.#ended.resolve(end))
  }
}

interface Reading {
  pipe: Pipe
  over: Promise<void>
  readAt: number
}

/** All that was written before the end has come; what the job left behind in the background may hold its pipes for ever. */
async function drained(readings: readonly Reading[]): Promise<void> {
  const over = Promise.all(readings.map((reading) => reading.over)).then(() => true)
  for (;;) {
    const isOver = await Promise.race([over, new Promise<boolean>((resolve) => setTimeout(resolve, QUIET_MS, false))])
    const quietSince = Math.max(...readings.map(({ readAt }) => readAt))
    if (isOver || performance.now() - quietSince >= QUIET_MS) break
  }
  for (const { pipe } of readings) pipe.close()
}

function nothing(status: number, message: string | undefined): JobEnd {
  return { status, exitCode: status, signal: null, isBegun: false, ...(message === undefined ? {} : { message }) }
}

/** As a shell tells it. */
function statusOf(exitCode: number | null, signal: string | null): number {
  return signal === null ? (exitCode ?? EXIT.lost) : 128 + (signalNumberOf(signal) || osConstants.signals.SIGKILL)
}
