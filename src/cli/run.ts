/**
 * `kappa run`: a thin client. Asks the daemon where, then runs the command here or joins its streams to the job there.
 *
 * The reference for native/, which does the usual case without the start of Node: what changes in one changes in both,
 * and test/cli holds for both.
 */

import { getPriority, constants as osConstants } from 'node:os'
import type { PairingKind } from '../core/types.ts'
import {
  ControlReader,
  FRAME,
  jsonFrame,
  jsonOf,
  type RunEnd,
  type RunParams,
  withLength
} from '../daemon/control-codec.ts'
import { EXIT, KappaError, messageOf } from '../errors.ts'
import { WINDOW_BYTES_MIN } from '../protocols/exec/flow.ts'
import {
  ackFrame,
  closeFrame,
  DATA_BYTES_MAX,
  dataHeader,
  eofFrame,
  type Frame,
  STREAM
} from '../protocols/exec/frames.ts'
import { connectDaemon, errorOf, requestFrame } from './client.ts'
import type { Command } from './command.ts'
import { isTerminal, type Pipe } from './pipe.ts'
import { inputBytes } from './run-input.ts'
import { type LocalEnd, prepareLocal, runLocally } from './run-local.ts'
import {
  type LaunchState,
  launchState,
  type RunRequest,
  rawArguments,
  rawEnvironment,
  readRunArguments,
  softLimits
} from './run-options.ts'
import { leave, openSink, readStdin, type Sink, type Source, say } from './run-streams.ts'

const HELP = `Usage: kappa run [OPTIONS] [--] CMD [ARG...]

Runs the command on whichever machine finishes it soonest, as if it ran here. Streams, signals and the exit status are
the command's own; 125 means that nothing ran, 123 that it may have run and its end is unknown.

  --in FILE       give the job this file or directory of the working directory (repeatable)
  --out FILE      bring this file or directory back when the job has succeeded (repeatable)
  --out-always    bring it back after a failure too
  --plain         an empty directory there, nothing of the files here (the default without --in and --out)
  --local         only here               --remote        only elsewhere: fail rather than run here
  --on PEER       only there              --not PEER      never there (both repeatable, or separated by commas)
  --cores N       cores that the command can use at once
  --memory SIZE   memory that it needs, such as 2G
  --tool NAME     a program that must be installed there    --need LABEL   a label that its owner must have given
  --wait          wait for a free slot rather than share
  --env NAME[=VALUE], --no-env   pass this variable all the same; pass none
  -v, --verbose   say where it runs and why

Options can come from the environment: KAPPA_ON, KAPPA_NOT, KAPPA_LOCAL, KAPPA_REMOTE, KAPPA_CORES, KAPPA_VERBOSE.

Example:
  kappa run --in talk.wav --out talk.flac flac talk.wav`

/** Ctrl-C and the like reach the job's whole process group. */
const PASSED_ON: NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGCONT']

export const command: Command = {
  help: HELP,
  async execute(args) {
    const request = readRunArguments(args, process.env)
    if (!request) {
      ;(await import('./output.ts')).print(HELP)
      return 0
    }
    const argv = rawArguments(args.length - request.consumed)
    const launch = launchState()
    // No cluster within the cluster: a job that calls kappa runs the command where it is.
    if (process.env.KAPPA_JOB) return leaveLocal(await runLocally(argv, launch, () => undefined))
    return new Run(request, argv, launch).start()
  }
}

/** By its name; real-time ones, which Node doesn't name, count from SIGRTMIN, which is 34 for every libc on Linux. */
function numberOf(signal: string): number {
  const [, base, offset] = /^SIG(RTMIN\+)?(\d+)$/.exec(signal) ?? []
  if (offset !== undefined) return (base ? 34 : 0) + Number(offset)
  return osConstants.signals[signal as NodeJS.Signals] ?? 0
}

function unknownEnd(why: string): KappaError {
  return new KappaError('LostError', `${why}; whether the job ran isn't known (kappa ps)`)
}

function leaveLocal(end: LocalEnd): never {
  if (end.message) say(end.message)
  return leave(end.exitCode, end.signal, end.signal ? osConstants.signals[end.signal] : 0)
}

class Run {
  readonly #request: RunRequest
  readonly #argv: Buffer[]
  readonly #launch: LaunchState
  #socket!: Pipe
  #stdin: Source | undefined
  #sinks: Sink[] = []
  /** Read from stdin and not yet sent for want of room; one chunk at most. */
  #held: Buffer | undefined
  #sent = 0
  #limit = WINDOW_BYTES_MIN
  #stdinEnded = false
  #endTold = false
  /** The staged files on their way; loaded only when there are any. */
  #staging: import('./run-staging.ts').Staging | undefined
  #decided = false
  #over = false
  /** Why not all of an output could be written here. */
  #unwritten: string | undefined
  #fail: (error: unknown) => void = () => undefined
  /** One for each signal that is passed on. */
  readonly #handlers: [NodeJS.Signals, () => void][] = []

  constructor(request: RunRequest, argv: Buffer[], launch: LaunchState) {
    this.#request = request
    this.#argv = argv
    this.#launch = launch
  }

  async start(): Promise<number> {
    const { ins, outs } = this.#request
    if (ins.length + outs.length > 0) {
      this.#staging = await (await import('./run-staging.ts')).prepareStaging(this.#request)
    }
    this.#socket = await connectDaemon()
    this.#socket.write([requestFrame('run', this.#params())])
    const { remote, on } = this.#request.options
    if (!remote && !on) setImmediate(prepareLocal)
    return new Promise((_resolve, reject) => {
      this.#fail = (error) => {
        // What still waits for bytes would keep this process alive.
        this.#stdin?.close()
        this.#socket.close()
        void this.#staging?.abandon(error as Error)
        reject(error)
      }
      const reader = new ControlReader()
      const onData = (chunk: Buffer) => {
        try {
          reader.push(chunk, (frame) => this.#handle(frame))
        } catch (error) {
          this.#fail(unknownEnd(`what the daemon says is wrong: ${messageOf(error)}`))
        }
      }
      this.#socket.read(onData, () => this.#daemonGone())
      for (const signal of PASSED_ON) this.#onSignal(signal, () => this.#signal(signal))
      this.#onSignal('SIGTSTP', () => this.#stop())
    })
  }

  #params(): RunParams {
    const { options, ins, outs, outAlways } = this.#request
    return {
      argv: this.#argv.map((word) => word.toString('latin1')),
      env: rawEnvironment().map((entry) => entry.toString('latin1')),
      cwd: process.cwd(),
      umask: process.umask(),
      nice: getPriority(),
      limits: softLimits(this.#launch),
      options,
      ins: ins.length > 0,
      outs,
      outAlways,
      inputBytes: this.#staging?.inputBytes ?? inputBytes(this.#argv),
      terminal: isTerminal(2),
      pid: process.pid
    }
  }

  #handle(frame: Frame): void {
    if (!('payload' in frame)) {
      this.#handleStream(frame)
      return
    }
    if (frame.type === FRAME.local) this.#runHere()
    else if (frame.type === FRAME.started) this.#started(jsonOf(frame) as { kind: PairingKind })
    else if (frame.type === FRAME.end) this.#ended(jsonOf(frame) as RunEnd).catch(this.#fail)
    else if (frame.type === FRAME.failure) this.#fail(errorOf(jsonOf(frame)))
    else if (frame.type === FRAME.notice) say((jsonOf(frame) as { text: string }).text)
  }

  #runHere(): void {
    this.#decided = true
    const ending = runLocally(this.#argv, this.#launch, () => undefined)
    // Not before: in between a signal would end this process and not the command.
    for (const [signal, handler] of this.#handlers) process.off(signal, handler)
    ending.then((end) => {
      this.#over = true
      const { message: _, ...took } = end
      const told = jsonFrame(FRAME.localEnded, took)
      this.#socket.write([told], () => leaveLocal(end))
    }, this.#fail)
  }

  /** The job runs there: from now on its streams are ours. */
  #started({ kind }: { kind: PairingKind }): void {
    if (this.#decided) return
    this.#decided = true
    this.#sinks = [STREAM.stdout, STREAM.stderr].map((stream) => openSink(stream, (error) => this.#gone(stream, error)))
    this.#stdin = readStdin(
      (bytes) => this.#feed(bytes),
      () => this.#endStdin()
    )
    this.#staging?.begin(kind, this.#socket, this.#fail)
  }

  #handleStream(frame: Frame): void {
    if ('payload' in frame) return
    const { stream } = frame
    if (stream === STREAM.ins || stream === STREAM.outs) this.#staging?.handle(frame)
    else if (frame.type === FRAME.data) {
      this.#sinks[stream - 1]!.write(frame.bytes, () => {
        // Only the sum of what was consumed matters to the daemon.
        this.#write(ackFrame(0, stream, frame.offset + frame.bytes.length, 0))
      })
    } else if (frame.type === FRAME.eof) {
      // stderr stays open: kappa may have something to say itself.
      if (stream === STREAM.stdout) this.#sinks[0]!.end()
    } else if (frame.type === FRAME.ack) {
      this.#limit = frame.limit
      this.#pump()
    } else this.#stdin?.close()
  }

  #feed(bytes: Buffer): void {
    this.#held = bytes
    this.#stdin?.pause()
    this.#pump()
  }

  #pump(): void {
    while (this.#held && this.#limit > this.#sent) {
      const bytes = this.#held.subarray(0, Math.min(this.#limit - this.#sent, DATA_BYTES_MAX))
      this.#held = bytes.length === this.#held.length ? undefined : this.#held.subarray(bytes.length)
      this.#write(dataHeader(0, STREAM.stdin, this.#sent), bytes)
      this.#sent += bytes.length
    }
    if (this.#held) return
    if (!this.#stdinEnded) this.#stdin?.resume()
    else if (!this.#endTold) {
      this.#endTold = true
      this.#write(eofFrame(0, STREAM.stdin, this.#sent))
    }
  }

  #endStdin(): void {
    this.#stdinEnded = true
    if (!this.#held) this.#pump()
  }

  /** Nobody reads our stdout or stderr, or it can't be written: the job learns it when it writes on. */
  #gone(stream: number, error: NodeJS.ErrnoException): void {
    this.#write(closeFrame(0, stream))
    // The job itself would have been told so by its write; it may have ended well without knowing.
    if (error.code !== 'EPIPE')
      this.#unwritten ??= `${stream === STREAM.stdout ? 'stdout' : 'stderr'}: ${error.message}`
  }

  /** What was ignored when kappa was started stays so (nohup, jobs in the background of a script). */
  #onSignal(signal: NodeJS.Signals, handle: () => void): void {
    const bit = 1n << BigInt(osConstants.signals[signal] - 1)
    const handler = (this.#launch.ignoredSignals & bit) === 0n ? handle : () => undefined
    this.#handlers.push([signal, handler])
    process.on(signal, handler)
  }

  #signal(signal: NodeJS.Signals): void {
    const number = osConstants.signals[signal]
    if (!this.#over) this.#tell(FRAME.signal, { number })
    // The job has ended, its output waits for a reader: what would have ended the job's write ends us.
    else if (signal !== 'SIGCONT') leave(null, signal, number)
  }

  /** Ctrl-Z: the job stops there, then this client here; CONT wakes both. */
  #stop(): void {
    this.#tell(FRAME.signal, { number: osConstants.signals.SIGTSTP })
    setImmediate(() => process.kill(process.pid, 'SIGSTOP'))
  }

  #write(...parts: Buffer[]): void {
    this.#socket.write(withLength(...parts))
  }

  #tell(type: number, value: unknown): void {
    this.#socket.write([jsonFrame(type, value)])
  }

  async #ended(end: RunEnd): Promise<void> {
    this.#over = true
    this.#stdin?.close()
    await Promise.all(this.#sinks.map((sink) => sink.flushed()))
    let { message, status } = end
    if (this.#staging && end.status !== undefined)
      await this.#staging.abandon(new Error('the job did not end in order'))
    else if (this.#staging) {
      const problem = await this.#staging.finish(end.exitCode === 0 || this.#request.outAlways)
      // The job's own failure says more than what it left undone.
      if (problem !== undefined) {
        message = problem
        if (end.exitCode === 0) status = EXIT.failure
      }
    }
    if (message) say(message)
    if (this.#unwritten !== undefined) {
      say(`what the job wrote is not whole: ${this.#unwritten}`)
      if (status === undefined && end.exitCode === 0) status = EXIT.failure
    }
    const number = end.signal ? numberOf(end.signal) : 0
    if (status !== undefined) leave(status, null, 0)
    leave(end.exitCode, end.signal, number)
  }

  /** The daemon ended before the job did: what became of the job isn't known here. */
  #daemonGone(): void {
    if (this.#over || (this.#decided && this.#sinks.length === 0)) return
    this.#fail(unknownEnd('the daemon here ended while the job was with it'))
  }
}
