/**
 * `kappa run`: a thin client. Asks the daemon where, then runs the command here or joins its streams to the job there.
 *
 * The reference for native/, which does the usual case without the start of Node: what changes in one changes in both,
 * and test/cli holds for both.
 */

import { getPriority, constants as osConstants } from 'node:os'
import { resolve } from 'node:path'
import {
  ControlReader,
  errorOf,
  FRAME,
  jsonFrame,
  jsonOf,
  type QueuedNews,
  type RunEnd,
  type RunParams,
  type StartedThere,
  withLength
} from '../daemon/control-codec.ts'
import { EXIT, KappaError, messageOf } from '../errors.ts'
import { GONE_AFTER_LEASE_MS, LEASE_MS } from '../protocols/exec/constants.ts'
import { ackFrame, closeFrame, type Frame, STREAM } from '../protocols/exec/frames.ts'
import { connectDaemon, requestFrame } from './client.ts'
import type { Command } from './command.ts'
import { isTerminal, type Pipe } from './pipe.ts'
import { inputBytes } from './run-input.ts'
import { inForeground, type LocalEnd, type LocalWishes, prepareLocal, runLocally } from './run-local.ts'
import {
  type LaunchState,
  launchState,
  RUN_TAKES,
  type RunRequest,
  rawArguments,
  rawEnvironment,
  readRunArguments,
  softLimits
} from './run-options.ts'
import {
  Feeder,
  leave,
  openSink,
  positionOf,
  type Replay,
  readStdin,
  type Sink,
  say,
  signalNumberOf,
  statusLine,
  stdinAgain,
  stdinFrom,
  terminalState
} from './run-streams.ts'

const HELP = `Usage: kappa run [OPTIONS] [--] CMD [ARG...]

Runs the command on whichever machine finishes it soonest, as if it ran here. Streams, signals and the exit status are
the command's own; 125 means that nothing ran, 124 that --timeout ended it, 123 that its end is unknown.

It sees this machine's files and programs (--files, the default). Where no other machine can show them, it runs here.
  --share PATH    and this, which is kept from it otherwise    --tools target   with the programs that are there
  --in FILE       give it only this file or directory of the working directory (repeatable), and its machine's programs
  --out FILE      bring this one back when the job has succeeded (repeatable); --out-always: after a failure too
  --plain         nothing of this machine: an empty directory there, and its machine's programs
  --local         only here               --remote        only elsewhere: fail rather than run here
  --on PEER       only there              --not PEER      never there (both repeatable, or separated by commas)
  --cores N       cores that it can use at once: more than a machine has is all of it    --memory 2G   memory it needs
  --tool NAME     a program that must be installed there    --need LABEL   a label that its owner must have given
  --wait          wait for a free slot rather than share one    --wake   wake own machines that sleep (--on wakes, too)
  --timeout TIME  end it when it has run so long (30, 1.5h, 2d): TERM, and KILL 4 s later; the status is then 124
  --retry N       when its end is unknown (123), or its machine ended it, try it again up to N times, once nothing of it
                  can be left; never after some of its output, nor of stdin unless that is a file
  --lease TIME    let it live there so long, up to 24h, while this machine isn't heard of; without it 8s
  --detach        print its id and return (kappa logs, wait, kill); no stdin; not with the files of this machine: --plain,
                  --in or --out; ends if this machine is away for 7 days
  --nice N        its niceness, 0 to 19   --cwd DIR       as if cd DIR had been done before
  -t, -T          give it a terminal, or none; by default what would be one here is one there, unless its output goes
                  into a pipe, its stdin is /dev/null or make runs several jobs
  --env NAME[=VALUE], --no-env   pass this variable all the same; pass none
  -v, --verbose   say where it runs and why

Options can come from the environment: KAPPA_ON, KAPPA_NOT, KAPPA_LOCAL, KAPPA_REMOTE, KAPPA_CORES, KAPPA_VERBOSE.

Example:
  kappa run make -j8`

/** Ctrl-C and the like reach the job's whole process group. */
const PASSED_ON: NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGCONT']

export const command: Command = {
  help: HELP,
  takes: RUN_TAKES,
  async execute(args) {
    const request = readRunArguments(args, process.env)
    if (!request) {
      ;(await import('./output.ts')).print(HELP)
      return 0
    }
    const argv = rawArguments(args.length - request.consumed)
    const launch = launchState()
    if (request.cwd !== undefined) changeTo(request.cwd)
    // No cluster within the cluster: a job that calls kappa runs the command where it is.
    if (process.env.KAPPA_JOB && request.detach) {
      throw new KappaError(
        'NothingRanError',
        "a job can't detach another, since all that it starts ends with it; leave out --detach"
      )
    }
    if (process.env.KAPPA_JOB) return leaveLocal(await runLocally(argv, launch, wishesOf(request)))
    return new Run(request, argv, launch).start()
  }
}

const OUTPUTS = new Map<number, string>([
  [STREAM.stdout, 'stdout'],
  [STREAM.stderr, 'stderr'],
  [STREAM.screen, 'the terminal']
])

/** ms until a terminal that isn't ours is looked at again, and until the job must have stopped before this process does. */
const LOOK_MS = 250
const STOP_MS = 500

function unknownEnd(why: string): KappaError {
  return new KappaError('LostError', `${why}; whether the job ran isn't known (kappa ps)`)
}

/** As a shell's cd does; what the caller said relative to the old one stays true. */
function changeTo(directory: string): void {
  const { env } = process
  for (const name of ['KAPPA_DIR', 'KAPPA_CONFIG', 'KAPPA_LAUNCHER']) {
    if (env[name]?.includes('/')) env[name] = resolve(env[name])
  }
  try {
    process.chdir(directory)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const why = code === 'ENOENT' ? 'there is no such directory' : code === 'ENOTDIR' ? 'it is no directory' : code
    throw new KappaError('UsageError', `kappa run: --cwd ${directory}: ${why}`)
  }
  env.OLDPWD = env.PWD
  env.PWD = process.cwd()
}

/** Throws NothingRanError when it was removed. */
function workingDirectory(): string {
  try {
    return process.cwd()
  } catch (cause) {
    throw new KappaError('NothingRanError', 'the working directory is not there any more; cd to one that is', { cause })
  }
}

function wishesOf({ nice, options }: RunRequest): LocalWishes {
  const { env, noEnv, timeoutMs } = options
  return {
    ...(nice === undefined ? {} : { nice }),
    ...(env === undefined ? {} : { env }),
    ...(noEnv === undefined ? {} : { noEnv }),
    ...(timeoutMs === undefined ? {} : { timeoutMs })
  }
}

function leaveLocal(end: LocalEnd): never {
  if (end.message) say(end.message)
  if (end.timedOut) return leave(EXIT.timeout, null, 0)
  return leave(end.exitCode, end.signal, end.signal ? osConstants.signals[end.signal] : 0)
}

class Run {
  readonly #request: RunRequest
  readonly #argv: Buffer[]
  readonly #launch: LaunchState
  #socket!: Pipe
  #stdin = this.#feeder(STREAM.stdin)
  /** Typed at the terminal that the job has. */
  #keys = this.#feeder(STREAM.keys)
  /** By stream. */
  readonly #sinks = new Map<number, Sink>()
  /** The terminal here, when one was asked for; the job has it when `#onTerminal`. */
  #terminal: import('./terminal.ts').HomeTerminal | undefined
  #onTerminal = false
  #looking: NodeJS.Timeout | undefined
  #stopTimer: NodeJS.Timeout | undefined
  #continued = false
  /** The staged files on their way; loaded only when there are any. */
  #staging: import('./run-staging.ts').Staging | undefined
  #decided = false
  #here = false
  #over = false
  /** Why not all of an output could be written here. */
  #unwritten: string | undefined
  #fail: (error: unknown) => void = () => undefined
  /** How often it may still be tried again, and without whom. */
  #triesLeft: number
  readonly #avoid: string[] = []
  /** Where stdin stood before the first try, and what is read once more. */
  #stdinBefore: number | undefined
  #replay: Replay | undefined
  /** Something was delivered, or its user has ended it: it is not tried again. */
  #delivered = false
  #endedByUser = false
  /** One for each signal that is passed on. */
  readonly #handlers: [NodeJS.Signals, () => void][] = []

  constructor(request: RunRequest, argv: Buffer[], launch: LaunchState) {
    this.#request = request
    this.#argv = argv
    this.#launch = launch
    this.#triesLeft = request.retry ?? 0
    if (this.#triesLeft > 0) this.#stdinBefore = positionOf(0)
  }

  #feeder(stream: number): Feeder {
    return new Feeder(stream, (...parts) => this.#write(...parts))
  }

  async start(): Promise<number> {
    await this.#prepareStaging()
    const { terminal, options, detach } = this.#request
    if (detach) (await import('./run-detached.ts')).checkStdin()
    else if (!options.local && terminal !== 'never' && (terminal === 'always' || [0, 1, 2].some(isTerminal))) {
      this.#terminal = (await import('./terminal.ts')).HomeTerminal.find(terminal === 'always')
    }
    await this.#ask()
    const { remote, on } = options
    if (!remote && !on) setImmediate(prepareLocal)
    return new Promise((_resolve, reject) => {
      this.#fail = (error) => {
        statusLine.erase()
        // What still waits for bytes would keep this process alive.
        this.#stdin.close()
        this.#leaveTerminal()
        this.#socket.close()
        void this.#staging?.abandon(error as Error)
        reject(error)
      }
      this.#listen()
      for (const signal of PASSED_ON) this.#onSignal(signal, () => this.#signal(signal))
      this.#onSignal('SIGTSTP', this.#stop)
      if (this.#terminal?.present) this.#onSignal('SIGWINCH', () => this.#tellSize())
    })
  }

  async #prepareStaging(): Promise<void> {
    const { ins, outs } = this.#request
    if (ins.length + outs.length === 0) return
    this.#staging = await (await import('./run-staging.ts')).prepareStaging(this.#request)
  }

  async #ask(): Promise<void> {
    this.#socket = await connectDaemon()
    this.#socket.write([requestFrame('run', this.#params())])
  }

  #listen(): void {
    const socket = this.#socket
    const reader = new ControlReader()
    const onData = (chunk: Buffer) => {
      try {
        reader.push(chunk, (frame) => this.#handle(frame))
      } catch (error) {
        this.#fail(unknownEnd(`what the daemon says is wrong: ${messageOf(error)}`))
      }
    }
    socket.read(onData, () => {
      if (socket === this.#socket) this.#daemonGone()
    })
  }

  #params(): RunParams {
    const programClass = this.#staging?.programClass(this.#argv)
    const { options, ins, outs, outAlways } = this.#request
    return {
      argv: this.#argv.map((word) => word.toString('latin1')),
      env: rawEnvironment().map((entry) => entry.toString('latin1')),
      cwd: workingDirectory(),
      umask: process.umask(),
      nice: Math.max(this.#request.nice ?? -20, getPriority()),
      limits: softLimits(this.#launch),
      options: this.#avoid.length > 0 ? { ...options, avoid: this.#avoid } : options,
      ins: ins.length > 0,
      outs,
      outAlways,
      ...(this.#request.detach ? { detach: true } : {}),
      ...(programClass === undefined ? {} : { programClass }),
      inputBytes: this.#staging?.inputBytes ?? inputBytes(this.#argv),
      terminal: isTerminal(2),
      ...(this.#terminal ? { pty: this.#terminal.params() } : {}),
      pid: process.pid
    }
  }

  #handle(frame: Frame): void {
    if (!('payload' in frame)) {
      this.#handleStream(frame)
      return
    }
    if (frame.type === FRAME.queued) this.#showPosition(jsonOf(frame) as QueuedNews)
    else if (frame.type === FRAME.detached) this.#detached(jsonOf(frame) as { id: string })
    else if (frame.type === FRAME.local && this.#request.detach) {
      this.#detachHere(jsonOf(frame) as { directory: string })
    } else if (frame.type === FRAME.local) this.#runHere()
    else if (frame.type === FRAME.started) this.#started(jsonOf(frame) as StartedThere)
    else if (frame.type === FRAME.stopped && this.#onTerminal) this.#stopToo(false)
    else if (frame.type === FRAME.end) this.#ended(jsonOf(frame) as RunEnd).catch(this.#fail)
    else if (frame.type === FRAME.failure) this.#fail(errorOf(jsonOf(frame)))
    else if (frame.type === FRAME.notice) say((jsonOf(frame) as { text: string }).text)
  }

  /** On a terminal that others write to in the meantime nothing is written over; nor where that isn't known how. */
  #showPosition({ position }: QueuedNews): void {
    if (!inForeground() || process.env.TERM === 'dumb') return
    statusLine.show(`waiting for a free slot, number ${position} in line`)
  }

  #runHere(): void {
    statusLine.erase()
    this.#decided = this.#here = true
    const stdin = this.#replay && this.#replay.at < this.#replay.until ? stdinFrom(this.#replay.at) : undefined
    const wishes = { ...wishesOf(this.#request), ...(stdin === undefined ? {} : { stdin }) }
    const ending = runLocally(this.#argv, this.#launch, wishes)
    // Not before: in between a signal would end this process and not the command.
    for (const [signal, handler] of this.#handlers) process.off(signal, handler)
    ending.then((end) => {
      this.#over = true
      const { message: _, ...took } = end
      const told = jsonFrame(FRAME.localEnded, took)
      this.#socket.write([told], () => leaveLocal(end))
    }, this.#fail)
  }

  #detachHere({ directory }: { directory: string }): void {
    import('./run-detached.ts')
      .then(({ startHere }) => startHere(directory, this.#argv, this.#launch, wishesOf(this.#request)))
      .catch((error) => this.#fail(error))
  }

  /** The job goes on without us. */
  #detached({ id }: { id: string }): void {
    statusLine.erase()
    this.#over = true
    this.#socket.close()
    this.#openSink(STREAM.stdout, 1)
    const sink = this.#sinks.get(STREAM.stdout)!
    sink.write(Buffer.from(`${id}\n`), () => leave(0, null, 0))
  }

  /** The job runs there: from now on its streams are ours. */
  #started({ kind, terminal }: StartedThere): void {
    if (this.#decided) return
    statusLine.erase()
    this.#decided = true
    if (this.#request.detach) {
      this.#staging?.begin(kind, this.#socket, this.#fail)
      return
    }
    this.#openSink(STREAM.stdout, 1)
    this.#openSink(STREAM.stderr, 2)
    const descriptors = terminal !== undefined && this.#terminal ? this.#terminal.descriptors : 0
    if ((descriptors & 1) === 0) this.#stdin.from((onData) => readStdin(onData, () => this.#stdin.end(), this.#replay))
    if (descriptors !== 0) this.#enterTerminal(this.#terminal!)
    this.#staging?.begin(kind, this.#socket, this.#fail)
  }

  #openSink(stream: number, descriptor: number): void {
    if (this.#sinks.has(stream)) return
    this.#sinks.set(
      stream,
      openSink(descriptor, (error) => this.#gone(stream, error))
    )
  }

  #enterTerminal(terminal: import('./terminal.ts').HomeTerminal): void {
    this.#onTerminal = true
    this.#openSink(STREAM.screen, terminal.forced ? 1 : terminal.number!)
    if (terminal.present) this.#look()
    else this.#keys.from((onData) => readStdin(onData, () => this.#keys.end()))
  }

  /** Takes the terminal as soon as it may. */
  #look(): void {
    const terminal = this.#terminal
    clearTimeout(this.#looking)
    if (!this.#onTerminal || !terminal?.present || terminal.raw || this.#over) return
    terminal.hold()
    if (!terminal.raw) {
      this.#looking = setTimeout(() => this.#look(), LOOK_MS)
      return
    }
    this.#tellSize()
    this.#keys.close()
    this.#keys.from((onData) => terminal.read(onData, () => this.#keysLost()))
  }

  /** In the background, or it hung up: then there is no more to read. */
  #keysLost(): void {
    this.#keys.close()
    if (inForeground()) this.#keys.end()
    else this.#terminal?.lose()
    this.#look()
  }

  #leaveTerminal(): void {
    clearTimeout(this.#looking)
    this.#keys.close()
    terminalState.release()
  }

  #tellSize(): void {
    const size = this.#onTerminal && !this.#over ? this.#terminal?.newSize() : undefined
    if (size) this.#tell(FRAME.resize, size)
  }

  #handleStream(frame: Frame): void {
    if ('payload' in frame) return
    const { stream } = frame
    if (stream === STREAM.ins || stream === STREAM.outs) this.#staging?.handle(frame)
    else if (frame.type === FRAME.data) {
      this.#delivered = true
      if (stream === STREAM.screen) terminalState.inLine = frame.bytes.at(-1) !== 0x0a
      this.#sinks.get(stream)!.write(frame.bytes, () => {
        // Only the sum of what was consumed matters to the daemon.
        this.#write(ackFrame(0, stream, frame.offset + frame.bytes.length, 0))
      })
    } else if (frame.type === FRAME.eof) {
      // stderr stays open: kappa may have something to say itself.
      const isTried = this.#triesLeft > 0 && !this.#delivered
      if (stream === STREAM.stdout && !this.#onTerminal && !isTried) this.#sinks.get(stream)!.end()
    } else {
      const feeder = stream === STREAM.keys ? this.#keys : this.#stdin
      if (frame.type === FRAME.ack) feeder.allow(frame.limit)
      else feeder.close()
    }
  }

  /** Nobody reads our stdout or stderr, or it can't be written: the job learns it when it writes on. */
  #gone(stream: number, error: NodeJS.ErrnoException): void {
    this.#write(closeFrame(0, stream))
    // The job itself would have been told so by its write; it may have ended well without knowing.
    if (error.code !== 'EPIPE') this.#unwritten ??= `${OUTPUTS.get(stream)}: ${error.message}`
  }

  /** What was ignored when kappa was started stays so (nohup, jobs in the background of a script). */
  #onSignal(signal: NodeJS.Signals, handle: () => void): void {
    const bit = 1n << BigInt(osConstants.signals[signal] - 1)
    const handler = (this.#launch.ignoredSignals & bit) === 0n ? handle : () => undefined
    this.#handlers.push([signal, handler])
    process.on(signal, handler)
  }

  #signal(signal: NodeJS.Signals): void {
    if (signal === 'SIGCONT') this.#wake()
    const number = osConstants.signals[signal]
    if (signal !== 'SIGCONT') this.#endedByUser = true
    if (!this.#over) this.#tell(FRAME.signal, { number })
    // The job has ended, its output waits for a reader: what would have ended the job's write ends us.
    else if (signal !== 'SIGCONT') leave(null, signal, number)
  }

  /** Ctrl-Z: the job stops there, then this client here; CONT wakes both. What has a terminal may put it in order first. */
  #stop = (): void => {
    this.#tell(FRAME.signal, { number: osConstants.signals.SIGTSTP })
    this.#stopTimer ??= setTimeout(() => this.#stopToo(true), this.#onTerminal && !this.#over ? STOP_MS : 0)
  }

  /** The job was stopped: so is this process, and unless it alone was asked who is in a pipeline with it. */
  #stopToo(asked: boolean): void {
    const alone = asked || this.#stopTimer !== undefined
    clearTimeout(this.#stopTimer)
    this.#stopTimer = undefined
    this.#leaveTerminal()
    if (alone) {
      process.kill(process.pid, 'SIGSTOP')
      return
    }
    this.#continued = false
    process.off('SIGTSTP', this.#stop)
    process.kill(0, 'SIGTSTP')
    process.on('SIGTSTP', this.#stop)
    // Nobody is there who could wake a group without a shell: the kernel doesn't stop it. Else the signal that woke this
    // process is seen within one turn of the loop.
    setImmediate(() =>
      setImmediate(() => {
        if (!this.#continued) this.#signal('SIGCONT')
      })
    )
  }

  #wake(): void {
    this.#continued = true
    if (!this.#onTerminal) return
    this.#terminal?.holdAgain()
    if (!this.#terminal?.raw && this.#terminal?.present) this.#keys.close()
    this.#tellSize()
    this.#look()
  }

  #write(...parts: Buffer[]): void {
    this.#socket.write(withLength(...parts))
  }

  #tell(type: number, value: unknown): void {
    this.#socket.write([jsonFrame(type, value)])
  }

  async #ended(end: RunEnd): Promise<void> {
    this.#over = true
    statusLine.erase()
    this.#stdin.close()
    this.#keys.close()
    await Promise.all([...this.#sinks.values()].map((sink) => sink.flushed()))
    this.#leaveTerminal()
    if (end.again && this.#triesLeft > 0) {
      const why = this.#whyNotAgain()
      if (why === undefined) {
        await this.#again(end, end.again)
        return
      }
      if (why !== '') end = { ...end, message: `${end.message ?? ''}; not tried again: ${why}` }
    }
    let { message, status } = end
    const timedOut = status === EXIT.timeout
    if (this.#staging && status !== undefined && !timedOut)
      await this.#staging.abandon(new Error('the job did not end in order'))
    else if (this.#staging) {
      const problem = await this.#staging.finish((end.exitCode === 0 && !timedOut) || this.#request.outAlways)
      // The job's own failure says more than what it left undone.
      if (problem !== undefined) {
        message = problem
        if (status === undefined && end.exitCode === 0) status = EXIT.failure
      }
    }
    if (message) say(message)
    if (this.#unwritten !== undefined) {
      say(`what the job wrote is not whole: ${this.#unwritten}`)
      if (status === undefined && end.exitCode === 0) status = EXIT.failure
    }
    const number = end.signal ? signalNumberOf(end.signal) : 0
    if (status !== undefined) leave(status, null, 0)
    leave(end.exitCode, end.signal, number)
  }

  /** Why another try would not be as if the first had never been; `''` when nobody wants to know. */
  #whyNotAgain(): string | undefined {
    if (this.#endedByUser) return ''
    if (this.#delivered) return 'some of its output has been delivered'
    if (this.#keys.taken > 0) return 'what was typed can not be typed again'
    this.#replay = stdinAgain(this.#stdinBefore, this.#stdin.taken, this.#stdin.ended)
    return this.#replay === undefined ? 'what it read of stdin can not be read again' : undefined
  }

  /** Nothing of it can be left when the time is over: as if it had never been started. */
  async #again({ message }: RunEnd, { afterMs, without }: NonNullable<RunEnd['again']>): Promise<void> {
    const seconds = Math.ceil(afterMs / 1_000)
    const when = seconds > 0 ? `in ${seconds} s` : 'now'
    if (isTerminal(2) || this.#request.options.verbose) say(`${message ?? 'the job was ended'}; trying again ${when}`)
    this.#socket.close()
    await this.#staging?.abandon(new Error('the job is tried again'))
    await new Promise((resolve) => setTimeout(resolve, afterMs))
    this.#triesLeft--
    if (without !== '') this.#avoid.push(without)
    this.#stdin = this.#feeder(STREAM.stdin)
    this.#keys = this.#feeder(STREAM.keys)
    this.#decided = this.#over = this.#onTerminal = this.#continued = false
    await this.#prepareStaging()
    await this.#ask()
    this.#listen()
  }

  /** The daemon ended before the job did: what became of the job isn't known here. */
  #daemonGone(): void {
    if (this.#over || this.#here) return
    const error = unknownEnd('the daemon here ended while the job was with it')
    const { leaseMs = LEASE_MS } = this.#request.options
    const again = { afterMs: leaseMs + GONE_AFTER_LEASE_MS, without: '' }
    const end = { exitCode: null, signal: null, status: EXIT.lost, message: error.message, again }
    // Its job ends there too, as its target hears nothing more.
    if (this.#triesLeft > 0) this.#ended(end).catch(this.#fail)
    else this.#fail(error)
  }
}
