/**
 * Directories at home, held by descriptors that lead nowhere else than where their path says: no link is followed on the
 * way, whatever somebody puts there meanwhile. What is done in one goes through its descriptor, so that it can't be
 * exchanged under us.
 */

import { closeSync, constants, openSync, readlinkSync } from 'node:fs'
import type { ByteString } from '../../protocols/file/bytes.ts'

/** Directories held open at once. */
const HELD_MAX = 256

/** linux/fcntl.h; Node does not name it. It is the same on all architectures that Node runs on. */
export const O_PATH = 0o10000000

/** A link leads there by now, or what is there has moved: whoever asks looks again. Answered as ESTALE. */
export class ElsewhereError extends Error {
  readonly errno = -116
}

export class Directories {
  /** At most `HELD_MAX`, in the order of their last use. */
  readonly #held = new Map<ByteString, number>()

  /** Its descriptor, good until the next call. Throws what open(2) says, and ESTALE where a link is by now: look again. */
  open(path: ByteString): number {
    const held = this.#held.get(path)
    if (held !== undefined) {
      this.#held.delete(path)
      if (whereIs(held) === path) {
        this.#held.set(path, held)
        return held
      }
      closeSync(held)
    }
    const fd = openPinned(path, constants.O_DIRECTORY)
    if (this.#held.size >= HELD_MAX) {
      const [oldest, old] = this.#held.entries().next().value!
      this.#held.delete(oldest)
      closeSync(old)
    }
    this.#held.set(path, fd)
    return fd
  }

  close(): void {
    for (const fd of this.#held.values()) closeSync(fd)
    this.#held.clear()
  }
}

/** A descriptor of exactly this file, of whatever type, that can't be read or written. The caller closes it. */
function openPinned(path: ByteString, flags: number): number {
  let fd: number
  try {
    fd = openSync(pathOf(path), O_PATH | constants.O_NOFOLLOW | flags)
  } catch (error) {
    // Instead of a link it may be anything else by now.
    throw (error as NodeJS.ErrnoException).code === 'ENOTDIR' ? new ElsewhereError() : error
  }
  if (whereIs(fd) === path) return fd
  closeSync(fd)
  throw new ElsewhereError()
}

/** A file in a held directory, itself if it is a link. The caller closes it. */
export function pin(directory: number, name: ByteString): number {
  return openSync(within(directory, name), O_PATH | constants.O_NOFOLLOW)
}

/** The path of a name in a held directory. */
export function within(directory: number, name: ByteString): string | Buffer {
  return pathOf(`/proc/self/fd/${directory}/${name}`)
}

function whereIs(fd: number): ByteString {
  return readlinkSync(`/proc/self/fd/${fd}`, 'latin1')
}

/** Node takes strings faster than bytes. */
function pathOf(path: ByteString): string | Buffer {
  return /^[\x01-\x7f]*$/.test(path) ? path : Buffer.from(path, 'latin1')
}
