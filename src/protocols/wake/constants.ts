/** What both sides of the wake protocol agree on. */

export const WAKE_PROTOCOL = '/kappa/wake/1.0.0'

/** Longest message, bytes. */
export const MESSAGE_BYTES_MAX = 1024
/** From the opened stream to its message, and from that to the answer. */
export const SAY_MS = 5_000
/** A neighbour may ask so often, saved up to so many times. */
export const ASKS_PER_SECOND = 0.5
export const ASKS_BURST = 30
