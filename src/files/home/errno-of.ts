import { Errno } from '../fuse/errno.ts'

/** What an error of a system call, or one of ours, means to a job; anything else is EIO. */
export function errnoOf(error: unknown): number {
  if (error instanceof Errno) return error.errno
  const { errno } = error as { errno?: unknown }
  return typeof errno === 'number' && errno < 0 ? Errno.numbered(-errno).errno : Errno.of('EIO').errno
}
