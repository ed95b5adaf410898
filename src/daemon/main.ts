/** The daemon's process: signals, the last words, and handing over to a newer version. */

import { isKappaError, messageOf } from '../errors.ts'
import { reloadQuietly } from './commands.ts'
import { Daemon } from './daemon.ts'

/** What is still under way when the daemon stops gets this long. */
const STOP_TIMEOUT_MS = 10_000

/** Runs until a signal ends it, or, `attached`, the end of stdin; the exit status. */
export async function runDaemon({ attached = false } = {}): Promise<number> {
  process.title = 'kappa daemon'
  // Nobody reads the control socket of a client that died, or the terminal that was closed.
  process.on('SIGPIPE', () => undefined)
  let successor: string | undefined
  const over = Promise.withResolvers<void>()
  const daemon = await Daemon.start((launcher) => {
    successor = launcher
    over.resolve()
  })
  // A bug in one request must not end the jobs of all: said, and lived with.
  process.on('uncaughtException', (error) => daemon.log.error('a bug', error))
  process.on('unhandledRejection', (error) => daemon.log.error('a bug', error))
  process.on('SIGHUP', () => reloadQuietly(daemon))
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGQUIT'] as const) process.on(signal, () => over.resolve())
  if (attached)
    process.stdin
      .on('error', () => over.resolve())
      .on('close', () => over.resolve())
      .resume()
  await over.promise
  daemon.log.info(successor ? 'handing over' : 'stopping')
  // Kept across the handing over, so that no client's daemon comes in between.
  const stopped = daemon.stop({ keepLock: successor !== undefined })
  await Promise.race([stopped, new Promise((resolve) => setTimeout(resolve, STOP_TIMEOUT_MS).unref())])
  if (successor) become(successor, attached)
  // Where it could not, who watches over this process starts the newer one.
  process.exit(successor ? 1 : 0)
}

/** The newer program takes this process's place, so that whoever watches over it notices nothing. */
function become(launcher: string, attached: boolean): void {
  const words = [launcher, 'daemon', ...(attached ? ['--attached'] : [])]
  try {
    process.execve!(launcher, words, process.env as Record<string, string>)
  } catch (error) {
    process.stderr.write(`kappa: ${isKappaError(error) ? error.message : messageOf(error)}\n`)
  }
}
