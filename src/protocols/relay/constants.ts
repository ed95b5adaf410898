/** What the three sides of the relay protocol agree on. */

export const RELAY_PROTOCOL = '/kappa/relay/1.0.0'

/** Longest frame, bytes: a message, or what is relayed in one piece. */
export const RELAY_FRAME_BYTES_MAX = 128 * 1024
/** Connections that one peer relays at once. */
export const RELAYED_MAX = 16
/** From the opened stream to the answer whether there is a way. */
export const OPEN_MS = 5_000
/** Without a byte for so long a way is closed; the connections in it ping each minute. */
export const IDLE_MS = 3 * 60_000
