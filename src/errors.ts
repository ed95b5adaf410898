/**
 * Every error that kappa reports to a person or a script: a stable name, the exit code behind it, one line of text.
 *
 * A message names what failed, where, and what to do next. `kappa run` exits with 125 when nothing ran, other
 * commands with 1 for a failure and 2 for wrong usage.
 */

/** Exit statuses that `kappa run` makes itself; every other one is the command's own. */
export const EXIT = {
  /** Another command of kappa failed. */
  failure: 1,
  /** Wrong usage of a command other than `run`. */
  usage: 2,
  /** The command may have run, its end is unknown. */
  lost: 123,
  /** `--timeout` ended the command. */
  timeout: 124,
  /** Nothing ran. */
  nothingRan: 125,
  /** Found on the target, but it can't be executed. */
  notExecutable: 126,
  /** Not found on the target. */
  notFound: 127
} as const

/** Names are promises: scripts and tests branch on them. The number is the exit code of commands other than `run`. */
export const ERROR_CODES = {
  UsageError: EXIT.usage,
  ConfigurationError: EXIT.usage,
  StateError: EXIT.failure,
  DaemonError: EXIT.failure,
  DaemonUnreachableError: EXIT.failure,
  NetworkError: EXIT.failure,
  ProtocolError: EXIT.failure,
  TimeoutError: EXIT.failure,
  UnknownPeerError: EXIT.failure,
  AmbiguousNameError: EXIT.failure,
  UnknownJobError: EXIT.failure,
  UnreachableError: EXIT.failure,
  RefusedError: EXIT.failure,
  LimitError: EXIT.failure,
  PairingError: EXIT.failure,
  InvitationError: EXIT.failure,
  SandboxError: EXIT.failure,
  StagingError: EXIT.failure,
  NothingRanError: EXIT.nothingRan,
  CommandNotFoundError: EXIT.notFound,
  NotExecutableError: EXIT.notExecutable,
  LostError: EXIT.lost
} as const

export type ErrorName = keyof typeof ERROR_CODES

/** Client and daemon are bundles of their own, each with this class: an error of one is recognised in the other by this. */
const BRAND = Symbol.for('kappa.error')

/** An error with a stable name whose message is fit to be shown to a person as it is. */
export class KappaError extends Error {
  override readonly name: ErrorName
  readonly exitCode: number
  readonly [BRAND] = true

  constructor(name: ErrorName, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = name
    this.exitCode = ERROR_CODES[name]
  }
}

/** True for errors of this program, whose message may be shown; anything else is a bug and shown with its stack in the log. */
export function isKappaError(error: unknown): error is KappaError {
  return error instanceof Error && BRAND in error
}

/** The text of anything that was thrown, on one line. */
export function messageOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error)
  return text.replaceAll(/\s*\n\s*/g, ' ')
}
