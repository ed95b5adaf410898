/**
 * Reads a socket into one buffer again and again, as Node's option `onread` does for a connection that one opens oneself;
 * sockets that come from a server or from a library can't have it otherwise. Without it each read allocates 64 KiB, and
 * the garbage of a fast stream costs more than its encryption.
 */
import type { Socket } from 'node:net'

/** What Node's sockets have inside, in the very version that package.json asks for. */
interface Inside {
  _handle?: { useUserBuffer?(buffer: Uint8Array): void } | null
  [inner: symbol]: unknown
}

/**
 * Gives `take` what has arrived, from now on; it says how many bytes it took from the front, and gets the rest again with
 * what follows. The bytes are valid during the call only. The buffer is more than what `take` ever leaves, twice over;
 * sockets whose `take` leaves nothing may share one. False: this socket can't be read so, and goes on emitting 'data'.
 */
export function readReused(socket: Socket, buffer: Buffer, take: (bytes: Buffer) => number): boolean {
  const inside = socket as unknown as Inside
  const [kBuffer, kBufferCb, kBufferGen] = ['kBuffer', 'kBufferCb', 'kBufferGen'].map((name) =>
    Object.getOwnPropertySymbols(socket).find(({ description }) => description === name)
  )
  if (kBuffer === undefined || kBufferCb === undefined || kBufferGen === undefined) return false
  if (inside._handle?.useUserBuffer === undefined || socket.readableLength > 0) return false
  let begin = 0
  let end = 0
  /** Where Node writes next. */
  let at = 0
  inside[kBuffer] = buffer
  inside[kBufferCb] = (count: number) => {
    end += count
    begin += take(buffer.subarray(begin, end))
    if (begin === end) begin = end = 0
    else if (end > buffer.length / 2) {
      buffer.copyWithin(0, begin, end)
      end -= begin
      begin = 0
    }
    return true
  }
  inside[kBufferGen] = () => {
    if (at === end) return undefined
    at = end
    return buffer.subarray(at)
  }
  inside._handle.useUserBuffer(buffer)
  return true
}
