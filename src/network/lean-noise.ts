/**
 * Noise, except that finding and opening what has arrived costs little. Messages are decrypted where the socket's reads
 * put them, without lists and copies; the package's own way stays for whatever comes otherwise. There too the reader of
 * lengths is replaced: the package's throws when less than a length is there, which is after nearly every message, and an
 * error with its stack costs as much as decrypting.
 */
import { type NoiseInit, noise } from '@chainsafe/libp2p-noise'
import type { ConnectionEncrypter, SecuredConnection } from '@libp2p/interface'
import type { Uint8ArrayList } from 'uint8arraylist'
import { takeRaw } from './corked-tcp.ts'

/** More than one message can have: the reader waits for the rest. */
const INCOMPLETE = 0xffff
const LENGTH_BYTES = 2
const TAG_BYTES = 16

type Components = Parameters<ReturnType<typeof noise>>[0]

/** What a secured connection has besides its interface. */
interface Inside {
  decoder?: { lengthDecoder?(bytes: Uint8ArrayList): number; buffer?: Uint8ArrayList }
  /** The connection below. */
  stream?: { readStatus: string; readBufferLength: number; onData?(bytes: Uint8Array): void }
  handshake?: { decrypt?(bytes: Uint8Array): Uint8Array | Uint8ArrayList }
  onData?(bytes: Uint8Array | Uint8ArrayList): void
  abort(error: Error): void
}

export function leanNoise(init: NoiseInit): (components: Components) => ConnectionEncrypter {
  return (components) => {
    const encrypter = noise(init)(components)
    const lean = async <T extends SecuredConnection>(secured: Promise<T>): Promise<T> => {
      const inside = (await secured).connection as unknown as Inside
      if (inside.decoder?.lengthDecoder !== undefined) inside.decoder.lengthDecoder = lengthOf
      decryptInPlace(inside)
      return secured
    }
    const secureInbound = encrypter.secureInbound.bind(encrypter)
    const secureOutbound = encrypter.secureOutbound.bind(encrypter)
    encrypter.secureInbound = (connection, options) => lean(secureInbound(connection, options))
    encrypter.secureOutbound = (connection, options) => lean(secureOutbound(connection, options))
    return encrypter
  }
}

function lengthOf(bytes: Uint8ArrayList): number {
  return bytes.byteLength < LENGTH_BYTES ? INCOMPLETE : bytes.get(0) * 256 + bytes.get(1)
}

function decryptInPlace(inside: Inside): void {
  const { stream, handshake, decoder } = inside
  if (stream?.onData === undefined || handshake?.decrypt === undefined || inside.onData === undefined) return
  if (decoder?.buffer === undefined) return
  const held = () => decoder.buffer!.byteLength + stream.readBufferLength
  takeRaw(stream, (bytes) => {
    // What came by the package's own way and is not whole yet goes on that way.
    if (held() > 0 || stream.readStatus !== 'readable') {
      stream.onData!(Buffer.from(bytes))
      return bytes.length
    }
    let at = 0
    try {
      for (let end = endOf(bytes, at); end <= bytes.length; end = endOf(bytes, at)) {
        const message = bytes.subarray(at + LENGTH_BYTES, end)
        at = end
        if (message.length === 0) continue
        if (message.length < TAG_BYTES) throw new Error('a message of Noise is too short')
        inside.onData!(handshake.decrypt!(message))
      }
    } catch (error) {
      inside.abort(error as Error)
      return bytes.length
    }
    return at
  })
}

/** Where the message that begins at `at` ends; beyond the bytes when it or its length is not whole. */
function endOf(bytes: Buffer, at: number): number {
  return bytes.length - at < LENGTH_BYTES ? Number.POSITIVE_INFINITY : at + LENGTH_BYTES + bytes.readUInt16BE(at)
}
