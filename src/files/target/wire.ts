/** Frames between the daemon and the process that serves the mounts of one home: a length of four bytes, then as many. */

import type { Socket } from 'node:net'
import { malformed } from '../../protocols/file/bytes.ts'
import { FILE_FRAME_BYTES_MAX } from '../../protocols/file/constants.ts'

const HEADER_BYTES = 4

export class Wire {
  readonly #socket: Socket
  #chunks: Buffer[] = []
  #bytes = 0

  constructor(socket: Socket) {
    this.#socket = socket
  }

  /** False: wait for `drained`. */
  send(parts: readonly Uint8Array[]): boolean {
    let length = 0
    for (const part of parts) length += part.length
    const header = Buffer.allocUnsafe(HEADER_BYTES)
    header.writeUInt32BE(length)
    this.#socket.cork()
    this.#socket.write(header)
    let isReady = true
    for (const part of parts) isReady = this.#socket.write(part)
    this.#socket.uncork()
    return isReady
  }

  /** Bytes sent that the other side has not read. */
  get waiting(): number {
    return this.#socket.writableLength
  }

  drained(): Promise<void> {
    if (!this.#socket.writableNeedDrain) return Promise.resolve()
    return new Promise((resolve) => {
      const done = (): void => {
        this.#socket.off('drain', done).off('close', done)
        resolve()
      }
      this.#socket.on('drain', done).on('close', done)
    })
  }

  /** `onEnd` is called once. */
  receive(onFrame: (frame: Uint8Array) => void, onEnd: () => void): void {
    this.#socket.on('error', () => {})
    this.#socket.once('close', onEnd)
    this.#socket.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk)
      this.#bytes += chunk.length
      try {
        for (let frame = this.#take(); frame !== undefined; frame = this.#take()) onFrame(frame)
      } catch (error) {
        this.#socket.destroy(error as Error)
      }
    })
  }

  #take(): Uint8Array | undefined {
    if (this.#bytes < HEADER_BYTES) return undefined
    if (this.#chunks[0]!.length < HEADER_BYTES) this.#chunks = [Buffer.concat(this.#chunks)]
    const length = this.#chunks[0]!.readUInt32BE()
    if (length > FILE_FRAME_BYTES_MAX) throw malformed(`${length} bytes are too many`)
    if (this.#bytes < HEADER_BYTES + length) return undefined
    const all = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks)
    const rest = all.subarray(HEADER_BYTES + length)
    this.#chunks = rest.length > 0 ? [rest] : []
    this.#bytes = rest.length
    return all.subarray(HEADER_BYTES, HEADER_BYTES + length)
  }

  close(): void {
    this.#socket.destroy()
  }
}
