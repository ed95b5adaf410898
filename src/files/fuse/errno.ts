import { constants } from 'node:os'

/** Those of Linux that Node has no name for but a file system may answer; the same on every machine kappa runs on. */
const MORE = {
  ELOOP: 40,
  EBADFD: 77,
  ERESTART: 85,
  ESHUTDOWN: 108,
  EHOSTDOWN: 112,
  EUCLEAN: 117,
  EREMOTEIO: 121,
  EMEDIUMTYPE: 124,
  ENOKEY: 126,
  EKEYREJECTED: 129
} as const

const NUMBERS: Record<ErrnoName, number> = { ...constants.errno, ...MORE }

export type ErrnoName = Exclude<keyof typeof constants.errno, `WSA${string}`> | keyof typeof MORE

/** What the kernel takes for an error number. */
const MAX_ERRNO = 511

/** By number: at most MAX_ERRNO. */
const made = new Map<number, Errno>()

/**
 * The error number that a request is answered with. Made once for each number and without a stack: a file system says
 * "no" thousands of times a second. Handlers may throw it, reject with it or, cheaper, return it.
 */
export class Errno extends Error {
  override readonly name = 'Errno'
  /** 1 to 511. */
  readonly errno: number

  private constructor(errno: number, text: string) {
    super(text)
    this.errno = errno
  }

  static of(name: ErrnoName): Errno {
    return Errno.numbered(NUMBERS[name], name)
  }

  /** As another machine with Linux sent it. What is no error number becomes EIO. */
  static numbered(errno: number, text = `error ${errno}`): Errno {
    if (!(Number.isInteger(errno) && errno > 0 && errno <= MAX_ERRNO)) return Errno.of('EIO')
    let error = made.get(errno)
    if (error === undefined) {
      const limit = Error.stackTraceLimit
      Error.stackTraceLimit = 0
      error = new Errno(errno, text)
      Error.stackTraceLimit = limit
      made.set(errno, error)
    }
    return error
  }
}
