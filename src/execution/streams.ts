/** Pipes and FIFOs as Node streams: opened without ever blocking, read and written by the event loop alone. */

import { closeSync, constants, openSync } from 'node:fs'
import { Socket } from 'node:net'
import type { Readable, Writable } from 'node:stream'

const { O_NONBLOCK, O_RDONLY, O_WRONLY } = constants

/** The other ends of a process's standard streams. */
export interface Streams {
  readonly stdin: Writable
  readonly stdout: Readable
  readonly stderr: Readable
}

/** The reading end of a FIFO; never fails for want of a writer. */
export function openReader(path: string): number {
  return openSync(path, O_RDONLY | O_NONBLOCK)
}

/** The writing end of a FIFO; throws ENXIO when nobody reads. */
export function openWriter(path: string): number {
  return openSync(path, O_WRONLY | O_NONBLOCK)
}

/** A stream that reads from the descriptor and owns it. `end` comes when every writer has closed. */
export function readerOf(fd: number): Readable {
  return new Socket({ fd, readable: true, writable: false })
}

/**
 * A stream that writes to the descriptor and owns it. A reader that went away closes it without an error: a job that
 * stops reading its stdin is no failure.
 */
function writerOf(fd: number): Writable {
  const socket = new Socket({ fd, readable: false, writable: true })
  socket.on('error', () => {})
  return socket
}

/** Opens the other side of one pipe that a process has open: `w` writes to it. Throws when it is gone. */
export function streamAt(pid: number, fd: number, mode: 'r' | 'w'): Readable | Writable {
  const path = `/proc/${pid}/fd/${fd}`
  return mode === 'r' ? readerOf(openReader(path)) : writerOf(openWriter(path))
}

/** Opens the other sides of pipes that a process has open, by its descriptors. Throws when it is gone. */
export function streamsOf(pid: number, at: Record<keyof Streams, number>): Streams {
  const fds: number[] = []
  try {
    fds.push(openWriter(`/proc/${pid}/fd/${at.stdin}`))
    fds.push(openReader(`/proc/${pid}/fd/${at.stdout}`))
    fds.push(openReader(`/proc/${pid}/fd/${at.stderr}`))
  } catch (error) {
    for (const fd of fds) closeSync(fd)
    throw error
  }
  return { stdin: writerOf(fds[0]!), stdout: readerOf(fds[1]!), stderr: readerOf(fds[2]!) }
}
