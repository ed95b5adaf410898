/**
 * Pipes and Unix sockets straight on libuv's handles, as `node:net` has them too. That module (and `node:tty`, which
 * loads it) costs 4 ms until it has connected, a fifth of Node's whole start, and every `kappa run` would pay them.
 */

/** What Node has inside for pipes, in the very version that package.json asks for; an error is a negative number of errno. */
interface Handle {
  onread: (bytes: ArrayBuffer | undefined) => void
  open(descriptor: number): number
  connect(request: object, path: string): number
  readStart(): number
  readStop(): number
  writeBuffer(request: WriteRequest, bytes: Buffer): number
  writev(request: WriteRequest, parts: Buffer[], allBuffers: true): number
  close(): void
}

interface WriteRequest {
  oncomplete: (status: number) => void
  /** Held until the kernel has it. */
  parts: Buffer[]
}

interface PipeModule {
  Pipe: new (type: number) => Handle
  PipeConnectWrap: new () => { oncomplete: (status: number) => void }
  constants: { SOCKET: number }
}

interface StreamModule {
  WriteWrap: new () => WriteRequest
  kReadBytesOrError: number
  kArrayBufferOffset: number
  kLastWriteWasAsync: number
  streamBaseState: Int32Array
}

interface TerminalModule {
  isTTY(descriptor: number): boolean
}

declare global {
  namespace NodeJS {
    interface Process {
      binding(name: 'pipe_wrap'): PipeModule
      binding(name: 'stream_wrap'): StreamModule
      binding(name: 'tty_wrap'): TerminalModule
    }
  }
}

// A user who wants to hear of what may go away in Node doesn't mean kappa's own Node.
process.noDeprecation = true
const { Pipe: NativePipe, PipeConnectWrap, constants } = process.binding('pipe_wrap')
const { WriteWrap, kReadBytesOrError, kArrayBufferOffset, kLastWriteWasAsync, streamBaseState } =
  process.binding('stream_wrap')

/** Whether a descriptor is a terminal; false when it is closed. */
export function isTerminal(descriptor: number): boolean {
  return process.binding('tty_wrap').isTTY(descriptor)
}

const END_OF_FILE = -4095
const BROKEN_PIPE = -32

export class Pipe {
  readonly #handle: Handle = new NativePipe(constants.SOCKET)
  #onEnd: ((error?: NodeJS.ErrnoException) => void) | undefined
  #closed = false

  /** A connection to the Unix socket at `path`. Rejects with the system's error. */
  static async connect(path: string): Promise<Pipe> {
    const pipe = new Pipe()
    try {
      await new Promise<void>((resolve, reject) => {
        const request = new PipeConnectWrap()
        request.oncomplete = (status) => (status < 0 ? reject(systemError(status, 'connect')) : resolve())
        const status = pipe.#handle.connect(request, path)
        if (status < 0) reject(systemError(status, 'connect'))
      })
      return pipe
    } catch (error) {
      pipe.close()
      throw error
    }
  }

  /** Takes over a descriptor of a pipe or a socket. Throws the system's error. */
  static open(descriptor: number): Pipe {
    const pipe = new Pipe()
    const status = pipe.#handle.open(descriptor)
    if (status < 0) throw systemError(status, 'open')
    return pipe
  }

  get closed(): boolean {
    return this.#closed
  }

  /** Begins to read. `onEnd` is called once: at the end, by an error, or after `close`. */
  read(onData: (bytes: Buffer) => void, onEnd: (error?: NodeJS.ErrnoException) => void): void {
    this.#onEnd = onEnd
    this.#handle.onread = (bytes) => {
      const count = streamBaseState[kReadBytesOrError]!
      if (count > 0) onData(Buffer.from(bytes!, streamBaseState[kArrayBufferOffset]!, count))
      else if (count < 0) this.#end(count === END_OF_FILE ? undefined : systemError(count, 'read'))
    }
    this.resume()
  }

  pause(): void {
    if (!this.#closed) this.#handle.readStop()
  }

  resume(): void {
    if (!this.#closed) this.#handle.readStart()
  }

  /** Writes all parts, in order with what was written before. `done` may be called before this returns. */
  write(parts: Buffer[], done: (error?: NodeJS.ErrnoException) => void = () => undefined): void {
    if (this.#closed) {
      done(systemError(BROKEN_PIPE, 'write'))
      return
    }
    const request = new WriteWrap()
    const finish = (status: number) => done(status < 0 ? systemError(status, 'write') : undefined)
    request.oncomplete = finish
    request.parts = parts
    const status =
      parts.length === 1 ? this.#handle.writeBuffer(request, parts[0]!) : this.#handle.writev(request, parts, true)
    if (status < 0 || streamBaseState[kLastWriteWasAsync] === 0) finish(status)
  }

  /** Closes at once; what the kernel doesn't have yet is lost. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#handle.close()
    queueMicrotask(() => this.#end())
  }

  #end(error?: NodeJS.ErrnoException): void {
    const onEnd = this.#onEnd
    this.#onEnd = undefined
    this.close()
    onEnd?.(error)
  }
}

function systemError(status: number, call: string): NodeJS.ErrnoException {
  const code = process.getBuiltinModule('node:util').getSystemErrorName(status)
  return Object.assign(new Error(`${call} ${code}`), { code, errno: status, syscall: call })
}
