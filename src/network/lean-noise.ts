/**
 * Noise, except that finding the end of what has arrived costs nothing: the package's reader of lengths throws when less
 * than a length is there, which is after nearly every message, and an error with its stack costs as much as decrypting.
 */
import { type NoiseInit, noise } from '@chainsafe/libp2p-noise'
import type { ConnectionEncrypter, SecuredConnection } from '@libp2p/interface'
import type { Uint8ArrayList } from 'uint8arraylist'

/** More than one message can have: the reader waits for the rest. */
const INCOMPLETE = 0xffff

type Components = Parameters<ReturnType<typeof noise>>[0]

/** What a secured connection has besides its interface. */
interface Reading {
  decoder?: { lengthDecoder?(bytes: Uint8ArrayList): number }
}

export function leanNoise(init: NoiseInit): (components: Components) => ConnectionEncrypter {
  return (components) => {
    const encrypter = noise(init)(components)
    const lean = async <T extends SecuredConnection>(secured: Promise<T>): Promise<T> => {
      const { decoder } = (await secured).connection as unknown as Reading
      if (decoder?.lengthDecoder !== undefined) decoder.lengthDecoder = lengthOf
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
  return bytes.byteLength < 2 ? INCOMPLETE : bytes.get(0) * 256 + bytes.get(1)
}
