/** The control socket: what clients ask of the daemon, one request for each connection. */

import { rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { dirname } from 'node:path'
import { isKappaError, KappaError, messageOf } from '../errors.ts'
import { readReused } from '../network/reused-reads.ts'
import type { Frame } from '../protocols/exec/frames.ts'
import { ControlReader, type ControlRequest, FRAME, jsonFrame, jsonOf, withLength } from './control-codec.ts'
import { privateDirectory } from './directories.ts'
import type { Log } from './log.ts'

/** A client's connection while its request is served. */
export class ControlConnection {
  readonly #socket: Socket
  #onFrame: (frame: Frame) => void = () => undefined
  #onGone: (() => void)[] = []
  #gone = false

  constructor(socket: Socket) {
    this.#socket = socket
    socket.on('close', () => {
      this.#gone = true
      for (const listener of this.#onGone) listener()
      this.#onGone = []
    })
  }

  get gone(): boolean {
    return this.#gone
  }

  /** Everything that arrives after the request; the bytes of a frame are valid during the call only. */
  onFrame(handler: (frame: Frame) => void): void {
    this.#onFrame = handler
  }

  onGone(listener: () => void): void {
    if (this.#gone) listener()
    else this.#onGone.push(listener)
  }

  deliver(frame: Frame): void {
    this.#onFrame(frame)
  }

  /** A frame with a JSON value. */
  tell(type: number, value: unknown): void {
    if (this.#gone) return
    this.#gather()
    this.#socket.write(jsonFrame(type, value))
  }

  /** A frame as it is. */
  send(...parts: Buffer[]): void {
    if (this.#gone) return
    this.#gather()
    for (const part of withLength(...parts)) this.#socket.write(part)
  }

  /** What is said in one turn of the event loop leaves in one piece. */
  #gather(): void {
    if (this.#socket.writableCorked > 0) return
    this.#socket.cork()
    process.nextTick(() => this.#socket.uncork())
  }

  /** Stops reading from the client while there is no room for what it sends. */
  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  end(): void {
    this.#socket.end()
  }

  /** Asks the client and waits for its answer; rejects when it goes away. */
  ask(event: Record<string, unknown>): Promise<Record<string, unknown>> {
    return new Promise((resolve, reject) => {
      const before = this.#onFrame
      this.#onFrame = (frame) => {
        if (frame.type !== FRAME.answer) return
        this.#onFrame = before
        resolve((jsonOf(frame) ?? {}) as Record<string, unknown>)
      }
      this.onGone(() => reject(new KappaError('DaemonError', 'the command was ended before it answered')))
      this.tell(FRAME.event, event)
    })
  }

  /** Aborted when the client goes away. */
  get signal(): AbortSignal {
    const controller = new AbortController()
    this.onGone(() => controller.abort(new KappaError('DaemonError', 'the command was ended')))
    return controller.signal
  }
}

export type ControlHandler = (connection: ControlConnection, params: unknown) => unknown

/** Bytes read at once at most: what a Unix socket holds. */
const READ_BYTES = 256 * 1024

/** Clients at once; each job of `run` is one. */
const CONNECTIONS_MAX = 4_096

export class ControlServer {
  readonly #server: Server
  readonly #handlers: Record<string, ControlHandler>
  readonly #log: Log
  readonly #onRequest: (request: ControlRequest) => void
  readonly #sockets = new Set<Socket>()
  /** Where every client's bytes are read to, in turn: a frame is handled before the next are read. */
  readonly #read = Buffer.allocUnsafeSlow(READ_BYTES)

  constructor(handlers: Record<string, ControlHandler>, log: Log, onRequest: (request: ControlRequest) => void) {
    this.#handlers = handlers
    this.#log = log
    this.#onRequest = onRequest
    this.#server = createServer((socket) => this.#serve(socket))
    this.#server.maxConnections = CONNECTIONS_MAX
  }

  /** Listens on the path; the caller holds the lock, so what is there is stale. */
  async listen(path: string): Promise<void> {
    privateDirectory(dirname(path))
    rmSync(path, { force: true })
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (error) =>
        reject(new KappaError('DaemonError', `can't listen on the control socket ${path}: ${error.message}`))
      )
      this.#server.listen(path, resolve)
    })
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket)
    const connection = new ControlConnection(socket)
    const reader = new ControlReader()
    let requested = false
    socket.on('close', () => this.#sockets.delete(socket))
    socket.on('error', () => undefined)
    // A client never closes half of the connection: an end is the end of the client.
    socket.on('end', () => socket.destroy())
    const onData = (chunk: Buffer) => {
      try {
        reader.push(chunk, (frame) => {
          if (requested) connection.deliver(frame)
          else {
            requested = true
            void this.#answer(connection, frame)
          }
        })
      } catch (error) {
        this.#log.warn(`a control connection was closed: ${messageOf(error)}`)
        socket.destroy()
      }
    }
    socket.on('data', onData)
    readReused(socket, this.#read, (bytes) => {
      onData(bytes)
      return bytes.length
    })
  }

  async #answer(connection: ControlConnection, frame: Frame): Promise<void> {
    try {
      const request = requestOf(frame)
      this.#onRequest(request)
      const handler = Object.hasOwn(this.#handlers, request.command) ? this.#handlers[request.command] : undefined
      if (!handler)
        throw new KappaError('UsageError', `the daemon doesn't know the command ${request.command}; is it older?`)
      const result = await handler(connection, request.params)
      // `run` answers by its own frames.
      if (result === undefined) return
      connection.tell(FRAME.result, result)
    } catch (error) {
      if (!isKappaError(error)) this.#log.error('a command failed', error)
      const name = isKappaError(error) ? error.name : 'DaemonError'
      connection.tell(FRAME.failure, { name, message: messageOf(error) })
    }
    connection.end()
  }
}

function requestOf(frame: Frame): ControlRequest {
  const request = frame.type === FRAME.request ? (jsonOf(frame) as Partial<ControlRequest>) : undefined
  if (typeof request?.command !== 'string' || typeof request.params !== 'object' || request.params === null) {
    throw new KappaError('ProtocolError', 'the first frame of a control connection must be a request')
  }
  return {
    command: request.command,
    params: request.params,
    version: request.version ?? '0',
    ...(request.launcher ? { launcher: request.launcher } : {})
  }
}
