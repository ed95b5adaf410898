/**
 * Why a process closes a file, told while it waits for the answer to that. Only files of /proc are read here that nobody has to
 * wait for then: in the middle of an exec it holds a lock (exec_update_lock) that readers of its stat, wchan, environ, io and
 * maps wait for, ps(1) and the daemon among them.
 */

import { readFileSync } from 'node:fs'
import { constants } from 'node:os'

/** Sent to what is to end: by its user, and by whoever runs it. */
const { SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGTERM } = constants.signals
const ENDING: ReadonlySet<number> = new Set([SIGHUP, SIGINT, SIGQUIT, SIGTERM])

export type Closing =
  /** It does so itself, or nobody can tell. */
  | 'alive'
  /** The file has close-on-exec, and another program begins. */
  | 'exec'
  /** It ends by itself. */
  | 'exit'
  /** By a signal that ends jobs. */
  | 'ended'
  | 'killed'

/** @param thread - number of the thread that closes, 0: nobody's that can be seen */
export function whyClosing(thread: number): Closing {
  try {
    // Both have left the memory where their arguments are; an exec has new memory already, without arguments yet.
    if (thread === 0 || readFileSync(`/proc/${thread}/cmdline`).length > 0) return 'alive'
    if (!readFileSync(`/proc/${thread}/statm`, 'latin1').startsWith('0 ')) return 'exec'
    const text = readFileSync(`/proc/${thread}/stat`, 'latin1')
    // From the third one on, as proc(5) has them: what precedes it may hold anything.
    const signal = Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[49]) & 0x7f
    if (signal === SIGKILL) return 'killed'
    return ENDING.has(signal) ? 'ended' : 'exit'
  } catch {
    return 'alive'
  }
}
