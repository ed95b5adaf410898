/** What both sides of the withdraw protocol agree on. */

export const WITHDRAW_PROTOCOL = '/kappa/withdraw/1.0.0'

/** Longest message, bytes. */
export const MESSAGE_BYTES_MAX = 1024
/** From the opened stream to its message. */
export const SAY_MS = 5_000
/** The same news is not told on again within this time, so that it doesn't go round in circles. */
export const FRESH_MS = 10_000
/** News remembered for that; beyond, it isn't told on. */
export const NEWS_MAX = 64
