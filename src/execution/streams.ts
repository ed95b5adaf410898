/** FIFOs as Node streams: opened without ever blocking, read and written by the event loop, never by the thread pool. */

import { constants, openSync } from 'node:fs'
import { Socket } from 'node:net'
import type { Readable, Writable } from 'node:stream'

const { O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY, O_NOFOLLOW } = constants

/** The reading end; never fails for want of a writer. */
export function openReader(path: string): number {
  return openSync(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW)
}

/** The writing end; throws ENXIO when nobody reads. */
export function openWriter(path: string): number {
  return openSync(path, O_WRONLY | O_NONBLOCK | O_NOFOLLOW)
}

/** Both ends at once, which keeps a FIFO from ending or refusing while its other side is being opened. */
export function openBoth(path: string): number {
  return openSync(path, O_RDWR | O_NONBLOCK | O_NOFOLLOW)
}

/** A stream that reads from the descriptor and owns it. `end` comes when every writer has closed. */
export function readerOf(fd: number): Readable {
  return new Socket({ fd, readable: true, writable: false })
}

/**
 * A stream that writes to the descriptor and owns it. A reader that went away closes it without an error: a job that
 * stops reading its stdin is no failure.
 */
export function writerOf(fd: number): Writable {
  const socket = new Socket({ fd, readable: false, writable: true })
  socket.on('error', () => {})
  return socket
}
