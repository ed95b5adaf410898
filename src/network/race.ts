/** Which of several addresses answers, and first: a TCP handshake to each at once, closed as soon as it stands. */
import { connect, type Socket } from 'node:net'
import { hostAndPort } from './addresses.ts'

/**
 * TCP repeats a first packet that was lost after a whole second, which is longer than a job waits. So silence is answered
 * by one more connection after this time, and after twice as long, and so on.
 */
const AGAIN_MS = 100
const TRIES_MAX = 6

/**
 * The addresses that accept a TCP connection, in the order in which they did; so the one with the shortest round trip
 * comes first and dead ones cost no time. Ends when all answered or failed, or with the signal.
 */
export async function* reachable(addresses: string[], signal: AbortSignal): AsyncGenerator<string, void, undefined> {
  /** Those that neither answered nor failed, with at most TRIES_MAX connections each. */
  const silent = new Map<string, Set<Socket>>()
  const connected: string[] = []
  let wake: () => void = () => {}
  const tryTo = (address: string): void => {
    const socket = connect({ ...hostAndPort(address), signal })
    silent.get(address)?.add(socket)
    const settled = (): void => {
      for (const other of silent.get(address) ?? []) other.destroy()
      silent.delete(address)
      wake()
    }
    socket.once('connect', () => {
      if (silent.has(address)) connected.push(address)
      settled()
    })
    socket.on('error', settled)
  }
  for (const address of new Set(addresses)) {
    silent.set(address, new Set())
    tryTo(address)
  }
  const stop = repeat(() => [...silent.keys()].forEach(tryTo))
  try {
    while (!signal.aborted) {
      const next = connected.shift()
      if (next !== undefined) yield next
      else if (silent.size === 0) return
      else {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    }
  } finally {
    stop()
    for (const sockets of silent.values()) for (const socket of sockets) socket.destroy()
  }
}

function repeat(action: () => void): () => void {
  let tries = 1
  let timer: NodeJS.Timeout
  const wait = (ms: number): void => {
    timer = setTimeout(() => {
      action()
      if (++tries < TRIES_MAX) wait(2 * ms)
    }, ms)
  }
  wait(AGAIN_MS)
  return () => clearTimeout(timer)
}
