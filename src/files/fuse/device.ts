/**
 * An open /dev/fuse: requests are read from it, replies written to it.
 *
 * Three ways to read were measured on two cores with `lstat`, two requests each, of files that the kernel may remember
 * nothing of, by 1, 4 and 16 processes: reads in libuv's pool (one: 23,000, 29,000 and 25,000 a second; four: 20,000, 38,000
 * and 46,000), reads that block their thread (51,000, 99,000 and 94,000, but nothing else runs in it, and handing requests to
 * another thread costs what the pool does), and the event loop's own reading of a stream (38,000, 98,000 and 98,000). The last
 * one is used: the thread stays free between requests, and no read is pending that would hold up the end of the process.
 * Reading on after a request until there is none brings 5 % at most.
 */

import { writeSync, writevSync } from 'node:fs'
import { Socket } from 'node:net'
import { Frame } from './frame.ts'
import { Notifier } from './notifier.ts'
import type { Kept } from './requests.ts'

/** As much as kernels allow without being told otherwise (fs.fuse.max_pages_limit). */
const MAX_WRITE_BYTES = 1_048_576
/** A buffer has room for the data of a WRITE and what precedes it; the kernel wants 8 KiB in any case. */
const READ_MORE_BYTES = 4096
/** Data of this many bytes and less is copied: cheaper than to read the next request elsewhere. */
const COPIED_BYTES = 64 * 1024
/** Read buffers that hold kept data, at most; then data is copied whatever its size. */
const KEPT_BUFFERS = 16

/** Why reading ended: the mount is gone, somebody aborted it, or `close` was called. */
export type DeviceEnd = 'unmounted' | 'aborted' | 'closed'

export interface DeviceEvents {
  /** The frame is valid until this returns. */
  onFrame(frame: Frame): void
  onEnd(end: DeviceEnd): void
  /** The device failed in a way that is none of its ends. */
  onError(error: Error): void
}

/** What a session needs of a device. */
export interface Device {
  /** Most data of one WRITE, and of one READ on a machine with pages of 4 KiB: the kernel keeps to it. */
  readonly maxWriteBytes: number
  start(events: DeviceEvents): void
  /** Writes one reply. Throws what write(2) reports. */
  write(reply: Buffer, length: number, data?: Uint8Array): void
  /** Keeps data of the frame that is being handled. */
  keep(data: Buffer): Kept
  /** Leaves requests with the kernel until `resume`. */
  pause(): void
  resume(): void
  /** See Notifier.send. */
  notify(notification: Buffer, after?: Promise<void>): Promise<void>
  /** Requests go on arriving until `onEnd`, and must be answered. */
  close(): void
}

interface PipeHandle {
  /** Throws or, in some versions, returns an error number. */
  open(descriptor: number): number | undefined
}

export class FuseDevice implements Device {
  readonly maxWriteBytes: number
  readonly #descriptor: number
  readonly #notifier: Notifier
  /** At most 1 + KEPT_BUFFERS with those that are lent. */
  readonly #spare: Frame[] = []
  #frame: Frame
  #lent = 0
  /** The frame being handled is now somebody else's. */
  #isGivenAway = false
  #socket: Socket | undefined
  #end: DeviceEnd = 'unmounted'
  #isClosing = false

  /**
   * `descriptor`: /dev/fuse, open for reading and writing, mounted; it is this object's from `start` on, and made
   * non-blocking. `maxWriteBytes`: a multiple of 4096, at most 1 MiB, which is the fastest for large files.
   */
  constructor(descriptor: number, maxWriteBytes: number) {
    this.#descriptor = descriptor
    this.#notifier = new Notifier(descriptor)
    if (maxWriteBytes % 4096 !== 0 || maxWriteBytes < 4096 || maxWriteBytes > MAX_WRITE_BYTES) {
      throw new RangeError(`writes of ${maxWriteBytes} bytes: a multiple of 4096 is needed, at most ${MAX_WRITE_BYTES}`)
    }
    this.maxWriteBytes = maxWriteBytes
    this.#frame = this.#newFrame()
  }

  #newFrame(): Frame {
    return new Frame(Buffer.from(new ArrayBuffer(this.maxWriteBytes + READ_MORE_BYTES)))
  }

  start(events: DeviceEvents): void {
    const socket = new Socket(this.#options(events))
    this.#socket = socket
    // An error destroys the socket, which closes the descriptor: not before the notifier has done with it.
    const destroy = socket._destroy.bind(socket)
    socket._destroy = (error, callback) => {
      this.#notifier.close().then(() => destroy(error, callback))
    }
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNABORTED') this.#end = 'aborted'
      else if (error.code !== 'ENODEV') events.onError(error)
    })
    socket.on('close', () => events.onEnd(this.#end))
    socket.resume()
  }

  #options(events: DeviceEvents): ConstructorParameters<typeof Socket>[0] {
    const buffer = () => {
      const isFirst = this.#socket === undefined
      if (!this.#isGivenAway && !isFirst) return false
      this.#isGivenAway = false
      return this.#frame.bytes
    }
    const callback = (length: number): boolean => {
      const frame = this.#frame
      try {
        frame.take(length)
      } catch (error) {
        events.onError(error as Error)
        return true
      }
      events.onFrame(frame)
      if (this.#isGivenAway) this.#frame = this.#spare.pop() ?? this.#newFrame()
      return true
    }
    // Only `fd` makes a Socket by public ways, and that looks at what the descriptor is: a character device is refused.
    const handle = openPipe(this.#descriptor)
    return {
      handle,
      readable: true,
      writable: false,
      onread: { buffer, callback }
    } as unknown as ConstructorParameters<typeof Socket>[0]
  }

  write(reply: Buffer, length: number, data?: Uint8Array): void {
    if (data === undefined) writeSync(this.#descriptor, reply, 0, length)
    else writevSync(this.#descriptor, [reply.subarray(0, length), data])
  }

  keep(data: Buffer): Kept {
    if (data.length <= COPIED_BYTES || this.#lent >= KEPT_BUFFERS || this.#isGivenAway) {
      return { data: Buffer.from(data), release: () => {} }
    }
    const frame = this.#frame
    this.#isGivenAway = true
    this.#lent++
    let isReleased = false
    const release = () => {
      if (isReleased) return
      isReleased = true
      this.#lent--
      this.#spare.push(frame)
    }
    return { data, release }
  }

  notify(notification: Buffer, after?: Promise<void>): Promise<void> {
    return this.#notifier.send(notification, after)
  }

  pause(): void {
    this.#socket?.pause()
  }

  resume(): void {
    this.#socket?.resume()
  }

  close(): void {
    if (this.#isClosing) return
    this.#isClosing = true
    // The notifier may be waiting for an answer that the session is about to give: so reading goes on.
    this.#notifier.close().then(() => {
      this.#end = 'closed'
      this.#socket?.destroy()
    })
  }
}

/** The event loop's stream on a descriptor, whatever that is. Throws what open reports. */
function openPipe(descriptor: number): PipeHandle {
  const { binding } = process as unknown as {
    binding(name: 'pipe_wrap'): { Pipe: new (type: number) => PipeHandle }
  }
  const { Pipe } = binding('pipe_wrap')
  const pipe = new Pipe(0)
  const error = pipe.open(descriptor)
  if (error) throw new Error(`descriptor ${descriptor} can't be read as a stream: error ${error}`)
  return pipe
}
