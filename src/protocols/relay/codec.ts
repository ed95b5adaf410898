/** The messages that open a way: CBOR, bounded and checked. What follows them is opaque. */

import { decode, encode } from 'cborg'
import { z } from 'zod'
import { KappaError } from '../../errors.ts'

const peer = z.string().min(1).max(128)

export const message = z.discriminatedUnion('type', [
  /** Home → common neighbour: opens a way to that target. */
  z.object({ type: z.literal('connect'), target: peer }),
  /** Common neighbour → target: that home wants a way. */
  z.object({ type: z.literal('incoming'), home: peer }),
  /** The way stands. */
  z.object({ type: z.literal('accepted') }),
  /** There is none; the reason is one phrase for a person. */
  z.object({ type: z.literal('refused'), reason: z.string().max(512) })
])

export type RelayMessage = z.infer<typeof message>

export function encodeMessage(value: RelayMessage): Uint8Array {
  return encode(value)
}

/** Throws ProtocolError when the payload isn't a message. */
export function decodeMessage(payload: Uint8Array): RelayMessage {
  try {
    return message.parse(decode(payload))
  } catch (cause) {
    throw new KappaError('ProtocolError', 'a message of the relay protocol is malformed', { cause })
  }
}
