/** The messages of the wake protocol: CBOR, bounded and checked. */

import { decode, encode } from 'cborg'
import { z } from 'zod'
import { KappaError } from '../../errors.ts'
import { MAX_HARDWARE_ADDRESSES } from '../../network/magic-packet.ts'

/** 6 bytes in hexadecimal; what is none is left out of what is sent. */
const addresses = z.array(z.string().min(17).max(17)).max(MAX_HARDWARE_ADDRESSES)

export const message = z.discriminatedUnion('type', [
  /** To a neighbour: this is how the sender can be woken. */
  z.object({ type: z.literal('hardware'), addresses }),
  /** To a neighbour: that machine is to be woken. */
  z.object({ type: z.literal('wake'), peer: z.string().min(1).max(128), addresses }),
  /** The answer to wake. */
  z.object({ type: z.literal('sent'), lans: z.int().min(0).max(65_535) })
])

export type WakeMessage = z.infer<typeof message>

export function encodeMessage(value: WakeMessage): Uint8Array {
  return encode(value)
}

/** Throws ProtocolError when the payload isn't a message. */
export function decodeMessage(payload: Uint8Array): WakeMessage {
  try {
    return message.parse(decode(payload))
  } catch (cause) {
    throw new KappaError('ProtocolError', 'a message of the wake protocol is malformed', { cause })
  }
}
