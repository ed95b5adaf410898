/**
 * libp2p's TCP transport, except that what is sent at once leaves at once, and that reading allocates nothing. Noise hands
 * over each message in pieces, its two bytes of length first; the transport writes each piece by itself, and so each
 * message costs a second packet and system call. Here the pieces are gathered into one write.
 */
import type { Socket } from 'node:net'
import type { MultiaddrConnection, Transport, Upgrader } from '@libp2p/interface'
import { type TCPComponents, type TCPOptions, tcp } from '@libp2p/tcp'
import type { Uint8ArrayList } from 'uint8arraylist'
import { readReused } from './reused-reads.ts'

/** Bytes read at once at most; several of Noise's messages. */
const READ_BYTES = 256 * 1024

/** What the transport's connections have besides their interface. */
interface SocketConnection {
  socket?: Socket
  sendData?(data: Uint8ArrayList): { sentBytes: number; canSendMore: boolean }
  onData?(data: Uint8Array): void
}

/** Takes bytes from the front of what has arrived and says how many; they are valid during the call only. */
export type Taker = (bytes: Buffer) => number

const takers = new WeakMap<object, Taker>()

/** Has what arrives on a connection of this transport given to `taker` where it lies, instead of copied and as an event. */
export function takeRaw(connection: object, taker: Taker): void {
  takers.set(connection, taker)
}

/** Bytes that a connection of this transport has carried, with all that encrypts and frames them; undefined for another's. */
export function trafficOf(connection: object): { sent: number; received: number } | undefined {
  const { maConn } = connection as { maConn?: SocketConnection }
  const socket = maConn?.socket
  return socket && { sent: socket.bytesWritten, received: socket.bytesRead }
}

export function corkedTcp(init: TCPOptions): (components: TCPComponents) => Transport {
  return (components) => {
    const transport = tcp(init)(components)
    const dial = transport.dial.bind(transport)
    const createListener = transport.createListener.bind(transport)
    transport.dial = (address, options) => dial(address, { ...options, upgrader: corking(options.upgrader) })
    transport.createListener = (options) => createListener({ ...options, upgrader: corking(options.upgrader) })
    return transport
  }
}

/** The upgrader is the first to see a new connection: a place to change how it writes. */
function corking(upgrader: Upgrader): Upgrader {
  const corking: Upgrader = Object.create(upgrader)
  corking.upgradeInbound = (connection: MultiaddrConnection, options) =>
    upgrader.upgradeInbound(corked(connection), options)
  corking.upgradeOutbound = (connection: MultiaddrConnection, options) =>
    upgrader.upgradeOutbound(corked(connection), options)
  return corking
}

function corked(connection: MultiaddrConnection): MultiaddrConnection {
  const inner = connection as SocketConnection
  const { socket } = inner
  if (socket === undefined || inner.sendData === undefined) return connection
  inner.sendData = (data) => {
    socket.cork()
    for (const piece of data) socket.write(piece)
    socket.uncork()
    return { sentBytes: data.byteLength, canSendMore: !socket.writableNeedDrain }
  }
  const { onData } = inner
  if (onData !== undefined) {
    readReused(socket, Buffer.allocUnsafeSlow(READ_BYTES), (bytes) => {
      const taker = takers.get(connection)
      if (taker !== undefined) return taker(bytes)
      onData.call(inner, Buffer.from(bytes))
      return bytes.length
    })
  }
  return connection
}
