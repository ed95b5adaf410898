/** The overlay protocol: one long-lived stream per neighbour for records, probes and the heartbeat. */
export const OVERLAY_PROTOCOL = '/kappa/overlay/1.0.0'

/** Longest message, bytes: eight entries, refusals and addresses with all their strings at their bounds fit. */
export const MAX_MESSAGE_BYTES = 128 * 1024

/** Longest entry and needs, bytes of CBOR: they are passed on, so that all of them must fit into one message again. */
export const MAX_PASSED_BYTES = 12 * 1024

/** Length of a multiaddr as text. */
export const MAX_ADDRESS_LENGTH = 512
/** Labels and tools in one list, and the length of each. */
export const MAX_LABELS = 16
export const MAX_LABEL_LENGTH = 64
/** Length of a command's name or path. */
export const MAX_COMMAND_LENGTH = 256
/** Length of names, and of phrases for a person. */
export const MAX_NAME_LENGTH = 64
export const MAX_PHRASE_LENGTH = 512

/** Periods between advertisements that a neighbour may state, ms. */
export const MIN_PERIOD_MS = 100
export const MAX_PERIOD_MS = 60_000
/** The period that counts until the neighbour stated one. */
export const DEFAULT_PERIOD_MS = 1000

/** Opening the stream and the other side's hello may take so long. */
export const OPEN_DEADLINE_MS = 5000
/** Silence that ends the connection while a job depends on it, or while it is in doubt. */
export const URGENT_SILENCE_MS = 3000
/** Silence that ends the connection otherwise, in periods of the neighbour. */
export const SILENT_PERIODS = 3
/** Asked after so many silent periods, and at least this often for the sake of the round trip. */
export const PING_PERIODS = 1.5
export const ROUND_TRIP_INTERVAL_MS = 15_000

/** A neighbour may send so much: tokens per second, saved up at most; a message costs one and one more per KiB. */
export const RATE_PER_SECOND = 1000
export const RATE_BURST = 3000
/** A neighbour that doesn't read loses its stream when so many bytes wait for it. */
export const MAX_UNSENT_BYTES = 512 * 1024

/** After a failure the stream is opened again so late, doubled each time; forgotten once it held for a while. */
export const REOPEN_MS = 500
export const MAX_REOPEN_MS = 30_000
export const STABLE_MS = 60_000
