/** Errors of files as Linux numbers them; `os.constants` has those of this machine, which are the same on all we run on. */

import { constants } from 'node:os'

export const {
  EACCES,
  EBADF,
  EEXIST,
  EINTR,
  EINVAL,
  EIO,
  EISDIR,
  ELOOP,
  EMFILE,
  ENOENT,
  ENOSYS,
  ENOTDIR,
  ENOTSUP,
  ENXIO,
  EPERM,
  EROFS,
  ESTALE,
  ETIMEDOUT,
  EXDEV
} = constants.errno

export class FileError extends Error {
  /** Positive. */
  readonly errno: number

  constructor(errno: number, what: string) {
    super(what)
    this.errno = errno
  }
}

/** What an error means to a job; anything that no system call said is EIO. */
export function errnoOf(error: unknown): number {
  if (error instanceof FileError) return error.errno
  const { errno } = error as { errno?: unknown }
  return typeof errno === 'number' && errno < 0 && errno > -4096 ? -errno : EIO
}
