/** What `kappa run` and `kappa wait` make of the end of a job. */

import type { JobEnd } from '../core/types.ts'
import { EXIT } from '../errors.ts'
import { printable } from '../printable.ts'
import type { RunEnd } from './control-codec.ts'

const MESSAGE_LENGTH_MAX = 1_000

/** `where`: as in ` (on nas)`, behind what is said of it. */
export function toldEnd(
  { exitCode, signal, error }: Pick<JobEnd, 'exitCode' | 'signal' | 'error'>,
  where: string
): RunEnd {
  const end = { exitCode, signal }
  if (!error) return end
  if (error.name === 'LostError')
    return { ...end, message: printable(error.message, MESSAGE_LENGTH_MAX), status: EXIT.lost }
  // timeout(1) says nothing either.
  if (error.name === 'TimeoutError') return { ...end, status: EXIT.timeout }
  const message = printable(`${error.message}${where}`, MESSAGE_LENGTH_MAX)
  if (error.name === 'CommandNotFoundError') return { ...end, message, status: EXIT.notFound }
  if (error.name === 'NotExecutableError') return { ...end, message, status: EXIT.notExecutable }
  if (exitCode === null && signal === null) return { ...end, message, status: EXIT.nothingRan }
  // The command ran: a failure of its own says more than what came after it.
  return exitCode === 0 ? { ...end, message, status: EXIT.failure } : { ...end, message }
}
