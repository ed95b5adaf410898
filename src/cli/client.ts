/**
 * The client's end of the control socket: connect, start the daemon when none runs, ask. Light: every command pays for
 * what is imported here.
 */

import { ControlReader, type ControlRequest, errorOf, FRAME, jsonFrame, jsonOf } from '../daemon/control-codec.ts'
import { socketPath } from '../daemon/directories.ts'
import { KappaError } from '../errors.ts'
import { VERSION } from '../version.ts'
import { Pipe } from './pipe.ts'

/** Looked for once: who asks for many jobs connects for each. */
let knownPath: string | undefined

/** Connects to the daemon's socket; starts the daemon when none runs. */
export async function connectDaemon(): Promise<Pipe> {
  knownPath ??= socketPath()
  const path = knownPath
  return (await tryConnect(path)) ?? (await import('./start-daemon.ts')).startDaemon(() => tryConnect(path))
}

/** A connection, or `undefined` when no daemon listens there. Throws when the socket may not be used. */
export async function tryConnect(path: string): Promise<Pipe | undefined> {
  try {
    return await Pipe.connect(path)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ECONNREFUSED') return undefined
    throw new KappaError('DaemonUnreachableError', `the daemon's socket ${path} can't be used: ${message}`)
  }
}

/** The first frame of a connection. */
export function requestFrame(command: string, params: object): Buffer {
  const launcher = process.env.KAPPA_LAUNCHER
  const request: ControlRequest = {
    command,
    params: { ...params },
    version: VERSION,
    ...(launcher ? { launcher } : {})
  }
  return jsonFrame(FRAME.request, request)
}

/**
 * One request and its result. Events on the way go to `onEvent`; what that returns, when not undefined, goes back as the
 * answer. Aborting closes the connection, which cancels the request in the daemon.
 */
export async function request(
  command: string,
  params: object,
  onEvent?: (event: Record<string, unknown>) => unknown,
  signal?: AbortSignal
): Promise<unknown> {
  return requestOn(await connectDaemon(), command, params, onEvent, signal)
}

/** As `request`, on a connection of its own. */
export function requestOn(
  socket: Pipe,
  command: string,
  params: object,
  onEvent?: (event: Record<string, unknown>) => unknown,
  signal?: AbortSignal
): Promise<unknown> {
  signal?.addEventListener('abort', () => socket.close(), { once: true })
  socket.write([requestFrame(command, params)])
  const reader = new ControlReader()
  return new Promise<unknown>((resolve, reject) => {
    const onData = (chunk: Buffer) => {
      try {
        reader.push(chunk, (frame) => {
          if (frame.type === FRAME.result) resolve(jsonOf(frame))
          else if (frame.type === FRAME.failure) reject(errorOf(jsonOf(frame)))
          else if (frame.type === FRAME.event) void deliver(jsonOf(frame) as Record<string, unknown>)
        })
      } catch (error) {
        reject(error)
      }
    }
    const deliver = async (event: Record<string, unknown>) => {
      try {
        const answer = await onEvent?.(event)
        if (answer !== undefined) socket.write([jsonFrame(FRAME.answer, answer)])
      } catch (error) {
        reject(error)
      }
    }
    socket.read(onData, () =>
      reject(new KappaError('DaemonError', 'the daemon ended before it answered; see kappa status'))
    )
  }).finally(() => socket.close())
}
