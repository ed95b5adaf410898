/** The messages of the pair protocol: one CBOR map per frame, checked on arrival; unknown fields are ignored. */

import { decode, encode } from 'cborg'
import { z } from 'zod'
import { KappaError } from '../../errors.ts'
import { NAME_LENGTH_MAX } from '../../printable.ts'
import { ADDRESS_LENGTH_MAX, ADDRESSES_MAX, HASH_BYTES, MESSAGE_BYTES_MAX, NONCE_BYTES } from './constants.ts'

const bytes = (length: number) =>
  z.custom<Uint8Array>((value) => value instanceof Uint8Array && value.byteLength === length)

const name = z.string().min(1).max(NAME_LENGTH_MAX)
const kind = z.enum(['own', 'friend'])
/** Multiaddrs where the sender listens, best first. */
const addresses = z.array(z.string().max(ADDRESS_LENGTH_MAX)).max(ADDRESSES_MAX)

/** Why a side ended a session; only the word travels, each side has its own text for it. */
export const ABORT_CODES = [
  /** Another pairing is under way there. */
  'busy',
  /** Nobody has pairing open there, or not in this way. */
  'closed',
  /** The person there took it back. */
  'cancelled',
  /** Nothing came in time. */
  'timeout',
  /** The digits typed are not those shown. */
  'mismatch',
  /** The person there said no. */
  'declined',
  /** The secret was wrong, and is burnt now. */
  'burnt',
  /** A message that doesn't belong here, or a broken promise about a nonce. */
  'protocol',
  /** It can't go on for a reason of its own. */
  'failed'
] as const
export type AbortCode = (typeof ABORT_CODES)[number]

export const message = z.discriminatedUnion('type', [
  /** Comparing numbers, both ways: what the sender is called, what it will show and lend, what it committed to. */
  z.object({ type: z.literal('numbers'), name, kind, addresses, commitment: bytes(HASH_BYTES) }),
  /** Opens the commitment. */
  z.object({ type: z.literal('open'), nonce: bytes(NONCE_BYTES) }),
  /** Joiner → opener: the digits typed are those shown, by what this side knows. */
  z.object({ type: z.literal('matched') }),
  /** Opener → joiner: the person there confirmed; this side's pairing is stored as pending. */
  z.object({ type: z.literal('confirm') }),
  /** By invitation, both ways. */
  z.object({ type: z.literal('invitation'), name, kind, addresses, nonce: bytes(NONCE_BYTES) }),
  /** Knowledge of the secret, both ways; from the opener it confirms as well. */
  z.object({ type: z.literal('proof'), mac: bytes(HASH_BYTES) }),
  /** The pairing stands on the sender's side. */
  z.object({ type: z.literal('paired') }),
  z.object({ type: z.literal('abort'), code: z.enum(ABORT_CODES).catch('failed') }),
  /** Asks a machine that has pairing open what it is called. */
  z.object({ type: z.literal('name?') }),
  z.object({ type: z.literal('name'), name }),
  /** Asks how the pairing of these two stands there. */
  z.object({ type: z.literal('reconcile') }),
  z.object({ type: z.literal('standing'), state: z.enum(['none', 'underway', 'pending', 'paired']) }),
  /** The sender ended the pairing of these two; answered with the same. */
  z.object({ type: z.literal('bye') })
])

export type PairMessage = z.infer<typeof message>
export type PairMessageOf<T extends PairMessage['type']> = Extract<PairMessage, { type: T }>

export function encodeMessage(value: PairMessage): Uint8Array {
  return encode(value)
}

/** Throws ProtocolError for anything that is not one whole message within its bounds. */
export function decodeMessage(frame: Uint8Array): PairMessage {
  if (frame.byteLength > MESSAGE_BYTES_MAX) throw malformed(`${frame.byteLength} bytes`)
  let value: unknown
  try {
    value = decode(frame, { strict: true, rejectDuplicateMapKeys: true, allowIndefinite: false, allowUndefined: false })
  } catch (error) {
    throw malformed('not CBOR', error)
  }
  const result = message.safeParse(value)
  if (!result.success) throw malformed(`${result.error.issues[0]?.path.join('.') || 'its type'} is wrong`, result.error)
  return result.data
}

function malformed(what: string, cause?: unknown): KappaError {
  return new KappaError('ProtocolError', `the other machine sent a malformed pairing message: ${what}`, { cause })
}
