/** One job of the library: asks the peer where, then runs the command here or joins its streams to the job there. */

import { type ChildProcess, spawn } from 'node:child_process'
import { statSync } from 'node:fs'
import type { Socket } from 'node:net'
import { getPriority, constants as osConstants } from 'node:os'
import { resolve } from 'node:path'
import { inputBytes } from '../cli/run-input.ts'
import { launchState, softLimits } from '../cli/run-options.ts'
import { prepareStaging, type Staging } from '../cli/run-staging.ts'
import { TimeLimit } from '../cli/time-limit.ts'
import {
  errorOf,
  FRAME,
  jsonFrame,
  jsonOf,
  type RunEnd,
  type RunParams,
  type StartedHere,
  type StartedThere,
  withLength
} from '../daemon/control-codec.ts'
import { EXIT, KappaError, messageOf } from '../errors.ts'
import { send, treeOf } from '../execution/process.ts'
import { KILL_AFTER_MS } from '../protocols/exec/constants.ts'
import { ackFrame, closeFrame, type Frame, STREAM } from '../protocols/exec/frames.ts'
import type { Control } from './control.ts'
import { gathered } from './gathered.ts'
import { Input, Output, RemoteInput } from './streams.ts'
import type { Job, JobEnd, JobOutput, Place, RunOptions } from './types.ts'

/** ms without a byte after which what a job left in the background is not listened to any more. */
const QUIET_MS = 200
/** Of each output, unless said otherwise. */
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024

export class RunningJob implements Job {
  readonly stdin = new Input()
  readonly stdout = new Output()
  readonly stderr = new Output()
  readonly #argv: string[]
  readonly #options: RunOptions
  readonly #control: Control
  /** What this machine is called. */
  readonly #here: string
  readonly #placed = Promise.withResolvers<Place>()
  readonly #ended = Promise.withResolvers<JobEnd>()
  #place: Place | undefined
  #socket: Socket | undefined
  #child: ChildProcess | undefined
  #input: RemoteInput | undefined
  #staging: Staging | undefined
  #isOver = false
  readonly #gone = Promise.withResolvers<void>()
  /** Signals that came before there was anybody to take them; a few. */
  #asked: number[] = []

  constructor(control: Control, here: string, argv: string[], options: RunOptions) {
    this.#control = control
    this.#here = here
    this.#argv = argv
    this.#options = options
    // Who waits for one of them only is not to be ended by the others.
    this.placed.catch(() => undefined)
    this.ended.catch(() => undefined)
    this.#feed()
    this.#begin().catch(this.#fail)
  }

  get placed(): Promise<Place> {
    return this.#placed.promise
  }

  get ended(): Promise<JobEnd> {
    return this.#ended.promise
  }

  kill(signal: NodeJS.Signals = 'SIGTERM'): void {
    const number = osConstants.signals[signal]
    if (number === undefined) throw new KappaError('UsageError', `there is no signal ${signal}`)
    if (this.#isOver) return
    if (this.#child?.pid !== undefined) for (const pid of treeOf(this.#child.pid)) send(pid, number)
    else if (this.#socket) this.#tell(FRAME.signal, { number })
    else this.#asked.push(number)
  }

  async output({ maxBytes = OUTPUT_BYTES_MAX } = {}): Promise<JobOutput> {
    try {
      const outputs = [gathered(this.stdout, 'stdout', maxBytes), gathered(this.stderr, 'stderr', maxBytes)] as const
      const [stdout, stderr, end] = await Promise.all([...outputs, this.ended])
      return { ...end, stdout, stderr }
    } catch (error) {
      this.abandon(error as Error)
      throw error
    }
  }

  /** Nothing of it runs in this process any more. */
  get gone(): Promise<void> {
    return this.#child ? this.#gone.promise : Promise.resolve()
  }

  /** Nobody waits for it any more: it is ended. */
  abandon(why: unknown): void {
    if (this.#isOver) return
    const root = this.#child?.pid
    if (root !== undefined) {
      this.kill()
      const child = this.#child!
      const timer = setTimeout(() => {
        if (child.exitCode === null && child.signalCode === null) for (const pid of treeOf(root)) send(pid, 9)
      }, KILL_AFTER_MS)
      child.once('exit', () => clearTimeout(timer))
    }
    // The peer ends what runs elsewhere.
    this.#fail(why)
  }

  // ------------------------------------------------------------------------------------------------------------ begins

  #feed(): void {
    const { stdin, signal } = this.#options
    if (stdin === undefined) this.stdin.end()
    else if (typeof stdin === 'object' && !(stdin instanceof Uint8Array)) void this.#feedFrom(stdin)
    else if (stdin !== 'pipe') this.stdin.end(stdin)
    if (!signal) return
    const abort = () => this.abandon(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    this.ended.finally(() => signal.removeEventListener('abort', abort)).catch(() => undefined)
  }

  async #feedFrom(source: AsyncIterable<string | Uint8Array>): Promise<void> {
    const { pipeline } = await import('node:stream/promises')
    try {
      await pipeline(source, this.stdin)
    } catch (error) {
      // The job may have closed it without having read everything.
      if ((error as NodeJS.ErrnoException).code !== 'ERR_STREAM_PREMATURE_CLOSE') this.abandon(error)
    }
  }

  async #begin(): Promise<void> {
    this.#options.signal?.throwIfAborted()
    const params = await this.#params()
    if (this.#isOver) return
    const socket = await this.#control.open('run', params, {
      frame: (frame) => this.#handle(frame),
      closed: () => this.#fail(new KappaError('LostError', 'the peer here ended while the job was with it'))
    })
    if (this.#isOver) {
      socket.destroy()
      return
    }
    this.#socket = socket
    for (const number of this.#asked.splice(0)) this.#tell(FRAME.signal, { number })
  }

  async #params(): Promise<RunParams> {
    const { in: ins = [], out: outs = [], outAlways = false, cwd, env = process.env } = this.#options
    if (this.#argv.length === 0) throw new KappaError('UsageError', 'there is no command to run')
    const directory = resolve(cwd ?? '.')
    if (!statSync(directory, { throwIfNoEntry: false })?.isDirectory())
      throw new KappaError('UsageError', `cwd: there is no directory ${directory}`)
    if (ins.length + outs.length > 0) this.#staging = await prepareStaging({ ins, outs, detach: false }, directory)
    const words = this.#argv.map((word) => Buffer.from(word))
    const programClass = this.#staging?.programClass(words)
    const isHere = directory === process.cwd()
    return {
      argv: words.map((word) => word.toString('latin1')),
      env: Object.entries(env)
        .filter(([name, value]) => value !== undefined && !name.startsWith('KAPPA_LAUNCH'))
        .map((entry) => Buffer.from(entry.join('=')).toString('latin1')),
      cwd: directory,
      umask: process.umask(),
      nice: getPriority(),
      limits: softLimits(launchState('')),
      options: wishes(this.#options),
      ins: ins.length > 0,
      outs,
      outAlways,
      ...(programClass === undefined ? {} : { programClass }),
      inputBytes: this.#staging?.inputBytes ?? (isHere ? inputBytes(words, false) : 0),
      terminal: false,
      pid: process.pid
    }
  }

  #handle(frame: Frame): void {
    if (this.#isOver) return
    if (!('payload' in frame)) this.#handleStream(frame)
    else if (frame.type === FRAME.local) this.#runHere(jsonOf(frame) as StartedHere)
    else if (frame.type === FRAME.started) this.#runThere(jsonOf(frame) as StartedThere)
    else if (frame.type === FRAME.end) this.#endedThere(jsonOf(frame) as RunEnd).catch(this.#fail)
    else if (frame.type === FRAME.failure) this.#fail(errorOf(jsonOf(frame)))
  }

  #isAt(place: Place): void {
    this.#place = place
    this.#placed.resolve(place)
  }

  // ------------------------------------------------------------------------------------------------------------- there

  #runThere({ id, name, kind }: StartedThere): void {
    this.#isAt({ id, machine: name, isHere: false })
    this.#staging?.begin(kind, { write: (parts) => this.#send(...parts) }, this.#fail)
    this.#input = new RemoteInput((...parts) => this.#send(...withLength(...parts)))
    this.stdin.connect(this.#input)
    this.stdout.onGone(() => this.#closeOutput(STREAM.stdout))
    this.stderr.onGone(() => this.#closeOutput(STREAM.stderr))
  }

  #closeOutput(stream: number): void {
    if (!this.#isOver) this.#send(...withLength(closeFrame(0, stream)))
  }

  #handleStream(frame: Exclude<Frame, { payload: Buffer }>): void {
    const { stream } = frame
    if (stream === STREAM.ins || stream === STREAM.outs) this.#staging?.handle(frame)
    else if (frame.type === FRAME.data) {
      const until = frame.offset + frame.bytes.length
      this.#outputOf(stream)?.deliver(frame.bytes, () => this.#send(...withLength(ackFrame(0, stream, until, 0))))
    } else if (frame.type === FRAME.eof) this.#outputOf(stream)?.end()
    else if (stream !== STREAM.stdin) return
    else if (frame.type === FRAME.ack) this.#input?.allow(frame.limit)
    else this.stdin.destroy()
  }

  #outputOf(stream: number): Output | undefined {
    if (stream === STREAM.stdout) return this.stdout
    return stream === STREAM.stderr ? this.stderr : undefined
  }

  async #endedThere({ exitCode, signal, status, message }: RunEnd): Promise<void> {
    const name = status === undefined ? undefined : FAILURES.get(status)
    if (name !== undefined) throw new KappaError(name, message ?? 'nothing is said about why')
    const isTimedOut = status === EXIT.timeout
    const problem = await this.#staging?.finish((exitCode === 0 && !isTimedOut) || this.#options.outAlways === true)
    if (problem !== undefined && exitCode === 0) throw new KappaError('StagingError', problem)
    if (status === EXIT.failure) throw new KappaError('StagingError', message ?? 'not all files came back')
    this.#over({ exitCode, signal, isTimedOut })
  }

  // -------------------------------------------------------------------------------------------------------------- here

  #runHere({ id }: StartedHere): void {
    this.#isAt({ id, machine: this.#here, isHere: true })
    const { cwd, env = process.env, timeoutMs = 0 } = this.#options
    const [file, ...args] = this.#argv as [string, ...string[]]
    let child: ReturnType<typeof spawnPiped>
    try {
      child = spawnPiped(file, args, { cwd: resolve(cwd ?? '.'), env })
    } catch (error) {
      // Such as E2BIG: only some errors come as an event.
      this.#notStarted(file, error as NodeJS.ErrnoException)
      return
    }
    this.#child = child
    this.#join(child)
    const { pid } = child
    if (pid !== undefined) this.#tell(FRAME.local, { pid })
    const limit = timeoutMs > 0 && pid !== undefined ? new TimeLimit(pid, timeoutMs) : undefined
    child.once('error', (error) => this.#notStarted(file, error))
    child.once('exit', (exitCode, signal) => {
      limit?.stop()
      this.#endedHere(child, { exitCode, signal, isTimedOut: limit?.over === true })
    })
  }

  #join({ stdin, stdout, stderr }: ReturnType<typeof spawnPiped>): void {
    stdin.on('error', () => this.stdin.destroy())
    this.stdin.connect({
      write: (bytes, done) => void stdin.write(bytes, () => done()),
      end: (done) => void stdin.end(() => done())
    })
    for (const [source, output] of [
      [stdout, this.stdout],
      [stderr, this.stderr]
    ] as const) {
      source.on('data', (bytes: Buffer) => {
        source.pause()
        output.deliver(bytes, () => source.resume())
      })
      source.on('end', () => output.end())
      output.onGone(() => source.destroy())
    }
  }

  #notStarted(file: string, error: NodeJS.ErrnoException): void {
    const why = error.code === 'EACCES' ? 'permission denied' : error.message
    const failure =
      error.code === 'ENOENT'
        ? new KappaError('CommandNotFoundError', `${file}: command not found`)
        : new KappaError('NotExecutableError', `${file}: ${why}`)
    this.#tellEnded({ exitCode: failure.exitCode, signal: null })
    this.#fail(failure)
  }

  #tellEnded(end: object): void {
    this.#tell(FRAME.localEnded, end)
    this.#socket?.end()
    this.#gone.resolve()
  }

  #endedHere(child: ChildProcess, end: Omit<JobEnd, keyof Place>): void {
    const { exitCode, signal, isTimedOut } = end
    this.#tellEnded({ exitCode, signal, ...(isTimedOut ? { timedOut: true } : {}) })
    const outputs = [this.stdout, this.stderr]
    const look = setInterval(() => {
      if (!outputs.every((output) => output.isQuiet(QUIET_MS))) return
      child.stdout?.destroy()
      child.stderr?.destroy()
      for (const output of outputs) output.end()
    }, QUIET_MS)
    child.once('close', () => clearInterval(look))
    this.#over(end)
  }

  // -------------------------------------------------------------------------------------------------------------- over

  #over(end: Omit<JobEnd, keyof Place>): void {
    if (this.#isOver) return
    if (!this.#place) {
      this.#fail(new KappaError('NothingRanError', 'it was cancelled before it started'))
      return
    }
    this.#isOver = true
    if (!this.#child) this.#socket?.end()
    this.stdin.destroy()
    if (!this.#child) {
      this.stdout.end()
      this.stderr.end()
    }
    this.#ended.resolve({ ...this.#place, ...end })
  }

  readonly #fail = (error: unknown): void => {
    if (this.#isOver) return
    this.#isOver = true
    const reason = error instanceof Error ? error : new KappaError('LostError', messageOf(error))
    void this.#staging?.abandon(reason)
    // Of a child that still runs the end is still to be told.
    if (!this.#child) this.#socket?.destroy()
    for (const stream of [this.stdin, this.stdout, this.stderr]) stream.destroy()
    this.#placed.reject(error)
    this.#ended.reject(error)
  }

  #tell(type: number, value: object): void {
    this.#send(jsonFrame(type, value))
  }

  #send(...parts: Buffer[]): void {
    const socket = this.#socket
    if (!socket?.writable) return
    socket.cork()
    for (const part of parts) socket.write(part)
    socket.uncork()
  }
}

function spawnPiped(file: string, args: string[], options: { cwd: string; env: NodeJS.ProcessEnv }) {
  return spawn(file, args, { ...options, stdio: 'pipe' })
}

/** By the exit status of `kappa run`. */
const FAILURES = new Map<number, 'LostError' | 'NothingRanError' | 'CommandNotFoundError' | 'NotExecutableError'>([
  [EXIT.lost, 'LostError'],
  [EXIT.nothingRan, 'NothingRanError'],
  [EXIT.notFound, 'CommandNotFoundError'],
  [EXIT.notExecutable, 'NotExecutableError']
])

function wishes(options: RunOptions): RunParams['options'] {
  const { plain, share, tools, where, on, not, wait, cores, memoryBytes, programs, labels, timeoutMs } = options
  const wanted: RunParams['options'] = {}
  if (plain) wanted.plain = true
  if (share) wanted.shares = share.map((path) => resolve(path))
  if (tools) wanted.programs = tools
  if (where === 'here') wanted.local = true
  if (where === 'elsewhere') wanted.remote = true
  if (on) wanted.on = on
  if (not) wanted.not = not
  if (wait) wanted.wait = true
  if (cores !== undefined) wanted.cores = cores
  if (memoryBytes !== undefined) wanted.memoryBytes = memoryBytes
  if (programs) wanted.tools = programs
  if (labels) wanted.needs = labels
  if (timeoutMs !== undefined) wanted.timeoutMs = timeoutMs
  return wanted
}
