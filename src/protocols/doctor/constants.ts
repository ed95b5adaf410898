/** What both sides of the doctor protocol agree on. */

export const DOCTOR_PROTOCOL = '/kappa/doctor/1.0.0'

/** Longest message, bytes: all checks with all their texts at their bounds fit. */
export const MESSAGE_BYTES_MAX = 512 * 1024
/** From the opened stream to the question. */
export const ASK_MS = 5_000
/** From the question to the report: a sandbox is tried, and each address is knocked at. */
export const REPORT_MS = 20_000
/** What was found is told to others again within this time. */
export const KEPT_MS = 10_000
/** Questions that are being answered at once; beyond, a stream is closed. */
export const QUESTIONS_MAX = 4

/** Checks in a report, and commands of one. */
export const CHECKS_MAX = 32
export const MEND_LINES_MAX = 24
/** Characters of ids and names, and of phrases and commands. */
export const WORD_LENGTH_MAX = 64
export const PHRASE_LENGTH_MAX = 512
