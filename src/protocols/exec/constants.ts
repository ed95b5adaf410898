/** What both sides of the exec protocol agree on. */

export const EXEC_PROTOCOL = '/kappa/exec/1.0.0'

/** A start message carries argv and environment, which Linux bounds to about 2 MiB together. */
export const EXEC_FRAME_BYTES_MAX = 4 * 1024 * 1024

/** Home says that it lives, and a target answers, this often while a job lives between them. */
export const RENEW_MS = 1_000
/** A connection with live jobs that was silent this long is closed and dialled again. */
export const SILENCE_MS = 3_000
/** A target that heard nothing from home for this long ends its jobs. */
export const LEASE_MS = 8_000
/** A home may ask for so much more, but for no more than this. */
export const LEASE_MS_MAX = 24 * 3_600_000
/** Between TERM and KILL. */
export const KILL_AFTER_MS = 4_000
/** What comes after the lease until nothing of the job can be left: the time to kill, and a second for clocks and scheduling. */
export const GONE_AFTER_LEASE_MS = KILL_AFTER_MS + 1_000
/** After this much silence home reports `lost`, unless another lease was asked for. */
export const LOST_AFTER_MS = LEASE_MS + GONE_AFTER_LEASE_MS
/** A job whose home announced that it goes to sleep may wait so long for its home to wake. */
export const HOLD_MS = 8 * 3_600_000
/** After this much silence home reports a job as `lost` that waits so. */
export const HELD_LOST_AFTER_MS = HOLD_MS + GONE_AFTER_LEASE_MS
/** Home delays its sleep at most so long until its targets know of it; the system waits 5 s at most unless told otherwise. */
export const ANNOUNCE_MS = 2_000
/** A start that the target neither took nor refused within this time is resolved. */
export const START_TIMEOUT_MS = 2_000
/** With live jobs a lost connection is dialled again this often, without backoff. */
export const REDIAL_MS = 250
/** And so often when it was lost for longer than LOST_AFTER_MS: leases can be long, and a laptop elsewhere. */
export const PATIENT_REDIAL_MS = 5_000

/** A detached job has no lease: it ends, and what it left is removed, when its home was silent for so long. */
export const DETACHED_SILENCE_MS = 7 * 86_400_000
/** Where only detached jobs live, home says so, and dials again, this often; three times as long is silence. */
export const RESTING_MS = 10_000

/** Code of the refusal of a job whose tree is not shown any more: home shows it anew. */
export const TREE_LOST = 'tree-lost'

/** Jobs of one home at once on one target. */
export const JOBS_PER_HOME_MAX = 1_024
