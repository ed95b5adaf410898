/** The two messages of the doctor protocol: CBOR, bounded and checked. */

import { decode, encode } from 'cborg'
import { z } from 'zod'
import { KappaError } from '../../errors.ts'
import { OUTCOMES } from '../../network/knock.ts'
import { MAX_ADDRESSES } from '../../network/pairing.ts'
import { CHECKS_MAX, MEND_LINES_MAX, MESSAGE_BYTES_MAX, PHRASE_LENGTH_MAX, WORD_LENGTH_MAX } from './constants.ts'

const word = z.string().min(1).max(WORD_LENGTH_MAX)
const phrase = z.string().max(PHRASE_LENGTH_MAX)
/** ms since the epoch, by the sender's clock; to the end of what a date can say. */
const time = z.number().min(0).max(8.64e15)

export const message = z.discriminatedUnion('type', [
  z.object({ type: z.literal('ask'), version: word }),
  z.object({
    type: z.literal('report'),
    version: word,
    /** When the question came, and when this went. */
    askedMs: time,
    toldMs: time,
    /** Where it knows the asker to be, and what answered there. */
    ways: z.array(z.object({ address: phrase, outcome: z.enum(OUTCOMES) })).max(MAX_ADDRESSES),
    /** It hears the asker by multicast DNS; absent: it doesn't listen. */
    hears: z.boolean().exactOptional(),
    /** To own machines alone: the distribution, … */
    system: word.exactOptional(),
    /** … what mends are for, … */
    family: word.exactOptional(),
    firewall: word.exactOptional(),
    /** … and whether its daemon is root. */
    root: z.boolean().exactOptional(),
    checks: z
      .array(
        z.object({
          id: word,
          name: word,
          verdict: z.enum(['ok', 'warning', 'failure']),
          lost: phrase.exactOptional(),
          /** To own machines alone. */
          found: phrase.exactOptional(),
          mend: z.array(phrase).max(MEND_LINES_MAX).exactOptional()
        })
      )
      .max(CHECKS_MAX)
  })
])

export type DoctorMessage = z.infer<typeof message>
export type Report = Omit<Extract<DoctorMessage, { type: 'report' }>, 'type'>

export function encodeMessage(value: DoctorMessage): Uint8Array {
  return encode(value)
}

/** Throws ProtocolError when the payload isn't a message. */
export function decodeMessage(payload: Uint8Array): DoctorMessage {
  try {
    if (payload.byteLength > MESSAGE_BYTES_MAX) throw new RangeError(`${payload.byteLength} bytes`)
    return message.parse(decode(payload))
  } catch (cause) {
    throw new KappaError('ProtocolError', 'a message of the doctor protocol is malformed', { cause })
  }
}
