/** Bounds and deadlines of the pair protocol, and the labels that keep its hashes apart from all others. */

export const PAIR_PROTOCOL = '/kappa/pair/1.0.0'

/** Longest message, bytes. */
export const MESSAGE_BYTES_MAX = 4096

/** Bytes of a nonce and of an invitation's secret: 128 bits. */
export const NONCE_BYTES = 16
export const SECRET_BYTES = 16

/** Bytes of a commitment and of a proof (SHA-256). */
export const HASH_BYTES = 32

/** Digits that a person compares: one guess in a million. */
export const DIGITS = 6

/** Sessions that strangers may start in one window for numbers, aborted ones too. */
export const TRIES_PER_WINDOW = 3

/** Addresses that a side tells the other, in a message or an invitation, and the longest of them, characters. */
export const ADDRESSES_MAX = 8
export const ADDRESS_LENGTH_MAX = 255

/** Longest invitation that is looked at, characters. */
export const INVITATION_LENGTH_MAX = 2048

/** Streams of this protocol that one connection may have open, each way. */
export const STREAMS_PER_CONNECTION = 4

/** Streams of this protocol, from all connections, that are answered at once; more are closed. */
export const INBOUND_STREAMS_MAX = 32

/** Machines asked for their names when one is looked for, and how many at once. */
export const CANDIDATES_MAX = 64
export const CANDIDATES_AT_ONCE = 8

export interface PairDeadlines {
  /** How long `openByNumbers` waits, and how long people may take to type and confirm, ms. */
  numbersMs: number
  /** How long an invitation is good, ms. */
  invitationMs: number
  /** How long the other machine may take for a step in which no person is involved, ms. */
  progressMs: number
  /** How long machines on the LAN are asked for their names, ms. */
  findMs: number
  /** How long the other side may take to acknowledge the end of a pairing or to close a stream, ms. */
  byeMs: number
}

export const PAIR_DEADLINES: PairDeadlines = {
  numbersMs: 5 * 60_000,
  invitationMs: 10 * 60_000,
  progressMs: 30_000,
  findMs: 5_000,
  byeMs: 1_000
}
