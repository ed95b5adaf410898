/** Which of several addresses answers, and first: a TCP handshake to each at once, closed as soon as it stands. */
import { connect, type Socket } from 'node:net'
import { hostAndPort } from './addresses.ts'

/**
 * The addresses that accept a TCP connection, in the order in which they did; so the one with the shortest round trip
 * comes first and dead ones cost no time. Ends when all answered or failed, or with the signal.
 */
export async function* reachable(addresses: string[], signal: AbortSignal): AsyncGenerator<string, void, undefined> {
  const sockets = new Set<Socket>()
  const connected: string[] = []
  let wake: () => void = () => {}
  for (const address of addresses) {
    const socket = connect({ ...hostAndPort(address), signal })
    sockets.add(socket)
    const settled = (): void => {
      sockets.delete(socket)
      socket.destroy()
      wake()
    }
    socket.once('connect', () => {
      connected.push(address)
      settled()
    })
    socket.on('error', settled)
  }
  try {
    while (!signal.aborted) {
      const next = connected.shift()
      if (next !== undefined) yield next
      else if (sockets.size === 0) return
      else {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    }
  } finally {
    for (const socket of sockets) socket.destroy()
  }
}
