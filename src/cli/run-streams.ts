/**
 * The client's own standard streams: read and written without changing what other programs share with it. A pipe is
 * opened anew, so that O_NONBLOCK stays ours; descriptors are closed before exit, so that Node doesn't reset a terminal.
 */

import { closeSync, constants, fstatSync, openSync, read, readFileSync, readSync, type Stats, writeSync } from 'node:fs'
import { WINDOW_BYTES_MIN } from '../protocols/exec/flow.ts'
import { DATA_BYTES_MAX, dataHeader, eofFrame } from '../protocols/exec/frames.ts'
import { isTerminal, Pipe } from './pipe.ts'

/** Bytes that come, with a brake. */
export interface Source {
  pause(): void
  resume(): void
  /** Stops reading for good. */
  close(): void
}

const NULL_DEVICE = 0x103

/**
 * What makes stdin what it is again for another try, after so many bytes of it were taken; undefined: nothing can. Only a
 * file gives the same bytes twice; of a socket not even the next ones are left.
 */
export function stdinAgain(before: number | undefined, taken: number, ended: boolean): Replay | undefined {
  const stat = statOf(0)
  if (stat?.isFile()) {
    const now = positionOf(0)
    return before === undefined || now === undefined ? undefined : { at: before, until: now }
  }
  const nothingLeft = !stat || ended || !stat.isSocket()
  return taken === 0 && nothingLeft ? { at: 0, until: 0 } : undefined
}

/** A descriptor of the file that stdin is, which stands there. */
export function stdinFrom(position: number): number {
  const descriptor = openSync('/proc/self/fd/0', constants.O_RDONLY)
  const buffer = Buffer.allocUnsafe(DATA_BYTES_MAX)
  // Node knows no lseek.
  for (let left = position; left > 0; ) {
    const bytes = readSync(descriptor, buffer, 0, Math.min(left, buffer.length), null)
    if (bytes === 0) break
    left -= bytes
  }
  return descriptor
}

/** Bytes of a file that are read once more, before it goes on where it stands. */
export interface Replay {
  at: number
  until: number
}

/** Where a descriptor stands; undefined when that can't be known. */
export function positionOf(descriptor: number): number | undefined {
  try {
    return Number(/^pos:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${descriptor}`, 'latin1'))?.[1])
  } catch {
    return undefined
  }
}

/** Reads descriptor 0 until its end. */
export function readStdin(onData: (bytes: Buffer) => void, onEnd: () => void, replay?: Replay): Source {
  const stat = statOf(0)
  // Closed by who started us, or /dev/null: an empty stdin.
  if (!stat || (stat.isCharacterDevice() && stat.rdev === NULL_DEVICE)) {
    queueMicrotask(onEnd)
    return { pause: () => undefined, resume: () => undefined, close: () => undefined }
  }
  // A reset socket is an end like any other: there is no more to read.
  if (stat.isFIFO() || stat.isSocket()) {
    const pipe = Pipe.open(reopened(0, constants.O_RDONLY))
    let over = false
    pipe.read(onData, () => {
      if (!over) onEnd()
    })
    return {
      pause: () => pipe.pause(),
      resume: () => pipe.resume(),
      close: () => {
        over = true
        pipe.close()
      }
    }
  }
  if (!isTerminal(0)) return new FileSource(0, onData, onEnd, replay)
  return readTerminal(openSync('/proc/self/fd/0', constants.O_RDONLY | constants.O_NOCTTY), onData, onEnd)
}

/** Reads a terminal; the descriptor is closed with it. */
export function readTerminal(descriptor: number, onData: (bytes: Buffer) => void, onEnd: () => void): Source {
  const stream = new (process.getBuiltinModule('node:tty').ReadStream)(descriptor)
  stream.on('data', (bytes: Buffer | string) => onData(bytes as Buffer))
  let ended = false
  const end = () => {
    if (!ended) onEnd()
    ended = true
  }
  // A terminal that hung up is an end like any other: there is no more to read.
  stream.on('end', end).on('error', end)
  return {
    pause: () => void stream.pause(),
    resume: () => void stream.resume(),
    close: () => {
      ended = true
      stream.destroy()
    }
  }
}

/** A file or a device, read piece by piece: what Node's stream would do at three times the cost of starting. */
class FileSource implements Source {
  readonly #descriptor: number
  readonly #onData: (bytes: Buffer) => void
  readonly #onEnd: () => void
  readonly #replay: Replay
  #reading = false
  #paused = false
  #over = false

  constructor(descriptor: number, onData: (bytes: Buffer) => void, onEnd: () => void, replay = { at: 0, until: 0 }) {
    this.#descriptor = descriptor
    this.#replay = { ...replay }
    this.#onData = onData
    this.#onEnd = onEnd
    this.#next()
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    this.#next()
  }

  close(): void {
    this.#over = true
  }

  #next(): void {
    if (this.#reading || this.#paused || this.#over) return
    this.#reading = true
    const buffer = Buffer.allocUnsafeSlow(DATA_BYTES_MAX)
    const { at, until } = this.#replay
    const again = at < until
    read(
      this.#descriptor,
      buffer,
      0,
      again ? Math.min(until - at, buffer.length) : buffer.length,
      again ? at : null,
      (error, bytes) => {
        this.#reading = false
        if (again) this.#replay.at += bytes
        if (this.#over) return
        if (error || bytes === 0) {
          this.#over = true
          this.#onEnd()
          return
        }
        this.#onData(buffer.subarray(0, bytes))
        this.#next()
      }
    )
  }
}

/** `undefined` when the descriptor is closed. */
export function statOf(descriptor: number): Stats | undefined {
  try {
    return fstatSync(descriptor)
  } catch {
    return undefined
  }
}

function reopened(descriptor: number, access: number): number {
  try {
    return openSync(`/proc/self/fd/${descriptor}`, access | constants.O_NONBLOCK | constants.O_NOCTTY)
  } catch {
    // Sockets can't be opened anew.
    return descriptor
  }
}

/** Where the bytes of one stream to the job come from and how far they may go. */
export class Feeder {
  readonly #stream: number
  readonly #send: (...parts: Buffer[]) => void
  #source: Source | undefined
  /** Read and not yet sent for want of room; one chunk at most. */
  #held: Buffer | undefined
  #sent = 0
  #limit = WINDOW_BYTES_MIN
  #ended = false
  #endTold = false

  constructor(stream: number, send: (...parts: Buffer[]) => void) {
    this.#stream = stream
    this.#send = send
  }

  /** Bytes that were read, whether or not they could be sent. */
  get taken(): number {
    return this.#sent + (this.#held?.length ?? 0)
  }

  get ended(): boolean {
    return this.#ended
  }

  /** Reads from there from now on; `open` gets what to do with bytes. */
  from(open: (onData: (bytes: Buffer) => void) => Source): void {
    this.#source = open((bytes) => {
      this.#held = this.#held ? Buffer.concat([this.#held, bytes]) : bytes
      this.#source?.pause()
      this.#pump()
    })
    if (this.#held) this.#source.pause()
  }

  end(): void {
    this.#ended = true
    if (!this.#held) this.#pump()
  }

  allow(limit: number): void {
    this.#limit = limit
    this.#pump()
  }

  /** Stops reading: for good, or until it is told from where again. */
  close(): void {
    this.#source?.close()
    this.#source = undefined
  }

  #pump(): void {
    while (this.#held && this.#limit > this.#sent) {
      const bytes = this.#held.subarray(0, Math.min(this.#limit - this.#sent, DATA_BYTES_MAX))
      this.#held = bytes.length === this.#held.length ? undefined : this.#held.subarray(bytes.length)
      this.#send(dataHeader(0, this.#stream, this.#sent), bytes)
      this.#sent += bytes.length
    }
    if (this.#held) return
    if (!this.#ended) this.#source?.resume()
    else if (!this.#endTold) {
      this.#endTold = true
      this.#send(eofFrame(0, this.#stream, this.#sent))
    }
  }
}

/** Writes to descriptor 1 or 2. */
export interface Sink {
  /** Calls `taken` when the bytes are out. */
  write(bytes: Buffer, taken: () => void): void
  /** Everything written is out; then the descriptor is closed. */
  end(): void
  /** Resolves when everything written is out or can't be any more. */
  flushed(): Promise<void>
}

/** `onGone` is called once when nobody reads any more (`code` EPIPE) or writing failed. */
export function openSink(descriptor: number, onGone: (error: NodeJS.ErrnoException) => void): Sink {
  const stat = statOf(descriptor)
  return stat && (stat.isFIFO() || stat.isSocket())
    ? new PipeSink(descriptor, onGone)
    : new FileSink(descriptor, onGone)
}

class PipeSink implements Sink {
  readonly #descriptor: number
  readonly #pipe: Pipe
  readonly #onGone: (error: NodeJS.ErrnoException) => void
  #pending = 0
  #gone = false
  #ending = false
  #onFlushed: () => void = () => undefined

  constructor(descriptor: number, onGone: (error: NodeJS.ErrnoException) => void) {
    this.#descriptor = descriptor
    this.#pipe = Pipe.open(reopened(descriptor, constants.O_WRONLY))
    this.#onGone = onGone
  }

  write(bytes: Buffer, taken: () => void): void {
    if (this.#gone) {
      taken()
      return
    }
    this.#pending++
    this.#pipe.write([bytes], (error) => {
      this.#pending--
      if (error) this.#fail(error)
      taken()
      if (this.#pending > 0) return
      this.#onFlushed()
      if (this.#ending) this.#close()
    })
  }

  end(): void {
    this.#ending = true
    if (this.#pending === 0) this.#close()
  }

  #close(): void {
    this.#pipe.close()
    closeQuietly(this.#descriptor)
  }

  #fail(error: NodeJS.ErrnoException): void {
    if (this.#gone) return
    this.#gone = true
    this.#onFlushed()
    this.#onGone(error)
  }

  flushed(): Promise<void> {
    if (this.#pending === 0 || this.#gone) return Promise.resolve()
    return new Promise((resolve) => {
      this.#onFlushed = resolve
    })
  }
}

/** Files and terminals, whose writes don't wait for a reader. */
class FileSink implements Sink {
  readonly #descriptor: number
  readonly #onGone: (error: NodeJS.ErrnoException) => void
  #gone = false

  constructor(descriptor: number, onGone: (error: NodeJS.ErrnoException) => void) {
    this.#descriptor = descriptor
    this.#onGone = onGone
  }

  write(bytes: Buffer, taken: () => void): void {
    let rest = bytes
    while (rest.length > 0 && !this.#gone) {
      try {
        rest = rest.subarray(writeSync(this.#descriptor, rest))
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'EAGAIN') {
          // Someone made the terminal non-blocking: wait for it as a blocking one would.
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2)
          continue
        }
        this.#gone = true
        this.#onGone(error as NodeJS.ErrnoException)
      }
    }
    taken()
  }

  end(): void {
    closeQuietly(this.#descriptor)
  }

  flushed(): Promise<void> {
    return Promise.resolve()
  }
}

function closeQuietly(descriptor: number): void {
  try {
    closeSync(descriptor)
  } catch {
    // It was closed by who started us.
  }
}

/** Of the terminal that was given over to the job, if one was. */
export const terminalState = {
  raw: false,
  /** What the job has shown last did not end its line. */
  inLine: false,
  release: (): void => undefined
}

/** A line of kappa's own on stderr, written before anything else happens. */
export function say(text: string): void {
  statusLine.erase()
  try {
    writeSync(2, `${terminalState.inLine ? '\r\n' : ''}kappa: ${text}${terminalState.raw ? '\r' : ''}\n`)
    terminalState.inLine = false
  } catch {
    // Nobody reads it, or nobody can.
  }
}

/** One line on the terminal that is written over as things change, and erased; longer than the terminal is wide, it is cut. */
export const statusLine = {
  shown: false,
  show(text: string): void {
    this.shown = true
    quietly(`\r\x1b[K\x1b[?7lkappa: ${text}\x1b[?7h`)
  },
  erase(): void {
    if (this.shown) quietly('\r\x1b[K')
    this.shown = false
  }
}

function quietly(text: string): void {
  try {
    writeSync(2, text)
  } catch {
    // Nobody reads it, or nobody can.
  }
}

/** By its name; real-time ones, which Node doesn't name, count from SIGRTMIN, which is 34 for every libc on Linux. */
export function signalNumberOf(signal: string): number {
  const [, base, offset] = /^SIG(RTMIN\+)?(\d+)$/.exec(signal) ?? []
  if (offset !== undefined) return (base ? 34 : 0) + Number(offset)
  return process.getBuiltinModule('node:os').constants.signals[signal as NodeJS.Signals] ?? 0
}

/** Leaves as the job left: by the same signal where shells and make look at that, else with the status of a shell. */
export function leave(exitCode: number | null, signal: string | null, signalNumber: number): never {
  terminalState.release()
  for (const descriptor of [0, 1, 2]) closeQuietly(descriptor)
  if (signal !== null && RAISED.has(signal)) {
    process.on(signal as NodeJS.Signals, raised)
    // Node ignores PIPE from the start; adding and removing a listener restores the default.
    process.removeAllListeners(signal)
    process.kill(process.pid, signal)
    // An ignored signal (nohup) doesn't end us.
  }
  process.reallyExit(signal === null ? (exitCode ?? 1) : 128 + signalNumber)
}

const RAISED = new Set(['SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGHUP', 'SIGPIPE'])
const raised = () => undefined

declare global {
  namespace NodeJS {
    interface Process {
      /** Ends at once: `process.exit` waits for a pending read of stdin. */
      reallyExit(code: number): never
    }
  }
}
