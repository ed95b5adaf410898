/** The one message of the withdraw protocol: CBOR, bounded and checked. */

import { decode, encode } from 'cborg'
import { z } from 'zod'
import { MAX_HOPS } from '../../core/types.ts'
import { KappaError } from '../../errors.ts'

const peer = z.string().min(1).max(128)

export const message = z.object({
  /** It is trusted no more, as home or as voucher, … */
  peer,
  /** … by its neighbour, this one. */
  by: peer,
  /** How much farther it is told on. */
  hopsLeft: z.int().min(0).max(MAX_HOPS)
})

export type Withdrawal = z.infer<typeof message>

export function encodeMessage(value: Withdrawal): Uint8Array {
  return encode(value)
}

/** Throws ProtocolError when the payload isn't a message. */
export function decodeMessage(payload: Uint8Array): Withdrawal {
  try {
    return message.parse(decode(payload))
  } catch (cause) {
    throw new KappaError('ProtocolError', 'a message of the withdraw protocol is malformed', { cause })
  }
}
