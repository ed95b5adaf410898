/** The library's end of the control socket: Node's own sockets, since it runs in other people's programs. */

import { createConnection, type Socket } from 'node:net'
import { ControlReader, type ControlRequest, errorOf, FRAME, jsonFrame, jsonOf } from '../daemon/control-codec.ts'
import { KappaError, messageOf } from '../errors.ts'
import type { Frame } from '../protocols/exec/frames.ts'
import { VERSION } from '../version.ts'

/** What came of a request is told to this. */
export interface ControlListener {
  /** The bytes of a frame are the listener's own. */
  frame(frame: Frame): void
  /** The connection is over, before or after what was asked for. */
  closed(error: KappaError): void
}

export class Control {
  readonly #path: string
  /** Connections of requests that are under way; bounded by those. */
  readonly #sockets = new Set<Socket>()

  constructor(path: string) {
    this.#path = path
  }

  /** Whether a daemon listens. Throws DaemonUnreachableError when that can't be known. */
  async answers(): Promise<boolean> {
    try {
      const socket = await this.#connect()
      socket.destroy()
      return true
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'ENOENT' || code === 'ECONNREFUSED') return false
      throw this.#unreachable(error)
    }
  }

  /** Sends a request, and hands over all that comes back. */
  async open(command: string, params: object, listener: ControlListener): Promise<Socket> {
    const socket = await this.#connect().catch((error) => {
      throw this.#unreachable(error)
    })
    const reader = new ControlReader()
    socket.on('data', (chunk: Buffer) => {
      try {
        reader.push(chunk, (frame) => listener.frame(frame))
      } catch (error) {
        socket.destroy(error as Error)
      }
    })
    socket.on('error', () => undefined)
    socket.on('close', () => {
      this.#sockets.delete(socket)
      listener.closed(new KappaError('DaemonError', 'the peer ended, or closed the connection, before it answered'))
    })
    this.#sockets.add(socket)
    const request: ControlRequest = { command, params: { ...params }, version: VERSION }
    socket.write(jsonFrame(FRAME.request, request))
    return socket
  }

  /** One request and its result; `onEvent` gets what is told on the way. Rejects with the signal's reason when it aborts. */
  ask(command: string, params: object, signal?: AbortSignal, onEvent?: (event: object) => void): Promise<unknown> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted()
      let connected: Socket | undefined
      const abort = () => {
        reject(signal?.reason)
        connected?.destroy()
      }
      signal?.addEventListener('abort', abort, { once: true })
      const over = () => signal?.removeEventListener('abort', abort)
      const frame = (frame: Frame) => {
        if (frame.type === FRAME.result) resolve(jsonOf(frame))
        else if (frame.type === FRAME.failure) reject(errorOf(jsonOf(frame)))
        else if (frame.type === FRAME.event) onEvent?.(jsonOf(frame) as object)
      }
      const closed = (error: KappaError) => {
        over()
        reject(error)
      }
      this.open(command, params, { frame, closed }).then((socket) => {
        connected = socket
        if (signal?.aborted) socket.destroy()
      }, closed)
    })
  }

  /** Ends all that is under way. */
  close(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  #connect(): Promise<Socket> {
    return new Promise((resolve, reject) => {
      const socket = createConnection(this.#path, () => {
        socket.off('error', reject)
        resolve(socket)
      })
      socket.once('error', reject)
    })
  }

  #unreachable(error: unknown): KappaError {
    return new KappaError('DaemonUnreachableError', `no peer answers on ${this.#path}: ${messageOf(error)}`)
  }
}
