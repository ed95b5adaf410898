/** What home and target of the file protocol agree on. */

export const FILE_PROTOCOL = '/kappa/file/1.0.0'

/** Longest frame, bytes: file data of one message and its header. */
export const FILE_FRAME_BYTES_MAX = 1024 * 1024 + 8192
/** Most file data in one message, bytes. */
export const FILE_DATA_BYTES_MAX = 1024 * 1024
/** Longest path, as Linux has it. */
export const PATH_BYTES_MAX = 4096
/** Longest name in a directory, as Linux has it. */
export const NAME_BYTES_MAX = 255
/** A sha256. */
export const HASH_BYTES = 32
/** Longest file of which home says the hash. */
export const HASHED_BYTES_MAX = 256 * 1024 * 1024
/** Files up to this many bytes come with the answer that opens them. */
export const INLINE_BYTES_MAX = 128 * 1024
/** `most` of a listing that is to have all entries. */
export const LIST_ALL = 2 ** 32 - 1
/** Bytes of a directory's entries in one message; more messages follow. */
export const LISTING_BYTES = 64 * 1024
/** Requests of one target that home has not answered. */
export const REQUESTS_MAX = 256
/** Bytes written that home has not acknowledged, over all files of one target. */
export const WRITTEN_BYTES_MAX = 8 * 1024 * 1024
/** Open files of one target at home. */
export const HANDLES_MAX = 4096
/** Time-out of a request at the target, ms: beyond the lease nobody waits. */
export const REQUEST_MS = 20_000
