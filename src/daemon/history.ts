/**
 * What became of the jobs: those of this home and those of others that ran here. A file `history.db` that is opened when
 * first needed. It is a record, not the truth about running jobs: what can't be kept is logged, and no job fails by it.
 */

import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite'
import type { PeerId, PlacementTrace, Ticket } from '../core/types.ts'
import { KappaError, messageOf } from '../errors.ts'
import { printable } from '../printable.ts'
import type { Log } from './log.ts'
import { setAside } from './state-file.ts'

export type JobState = 'placing' | 'queued' | 'starting' | 'running' | 'exited' | 'lost'

/** One job as `ps` and `why` show it. */
export interface JobRecord {
  /** Made by its home; see `newId`. */
  id: string
  /** Whether it was started here or came from another home. */
  role: 'home' | 'guest'
  home: PeerId
  /** Where it runs or ran; null as long as that is open. */
  target: PeerId | null
  state: JobState
  /** As bytes, since that is what Linux passes on. */
  argv: Uint8Array[]
  /** When it was asked for, ms since the epoch. */
  startedAt: number
  endedAt: number | null
  exitCode: number | null
  signal: string | null
  /** Why it ran there, as a phrase that many jobs share: `status` counts by it. */
  reason: string | null
  trace: PlacementTrace | null
  error: { name: string; message: string } | null
  /** What to ask its target by, should its end stay unknown; absent or null: nothing. */
  ticket?: Ticket | null
}

/** How many of the last jobs ran where, and why. */
export interface JobCount {
  target: PeerId | null
  reason: string | null
  count: number
}

const ROWS_MAX = 10_000
const AGE_MAX_MS = 30 * 86_400_000
/** A home may ask this long how its job ended. */
const GUEST_AGE_MAX_MS = 86_400_000
/** Records wait this long to be written together, in one transaction. */
const FLUSH_MS = 50
/** The same while many jobs begin and end: one that is done by then is written once, and a transaction costs as much as eight. */
const BUSY_FLUSH_MS = 250
/** So many in one transaction are many. */
const BUSY_JOBS = 4
/** Records that wait to be written; as many are written at once. */
const PENDING_MAX = 256
/** Old rows are looked for once in this many flushes. */
const FLUSHES_BETWEEN_PRUNES = 200
const COUNTED_JOBS = 100
/** Ids of jobs to come that are looked for together. */
const IDS_AT_ONCE = 32
/** A full disk would be told of with every job. */
const COMPLAINT_MS = 60_000

/** 2: tickets. */
const SCHEMA_VERSION = 2
const SCHEMA = `
  CREATE TABLE jobs (
    role TEXT NOT NULL, home TEXT NOT NULL, id TEXT NOT NULL, target TEXT, state TEXT NOT NULL, argv BLOB NOT NULL,
    startedAt INTEGER NOT NULL, endedAt INTEGER, exitCode INTEGER, signal TEXT, reason TEXT, trace TEXT, error TEXT,
    ticket TEXT,
    PRIMARY KEY (role, home, id)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX jobs_by_start ON jobs (role, startedAt);
  CREATE INDEX jobs_by_id ON jobs (role, id);
`
/** SQLITE_CORRUPT, SQLITE_NOTADB. */
const DAMAGED = new Set([11, 26])

type Row = Record<string, SQLInputValue>

interface Open {
  database: DatabaseSync
  upsert: StatementSync
  byPrefix: StatementSync
  taken: StatementSync
  latest: StatementSync
  count: StatementSync
  asked: StatementSync
  prune: StatementSync[]
}

export class History {
  readonly #path: string
  readonly #log: Log
  readonly #now: () => number
  #open: Open | undefined
  /** Newest record of each job that is not yet written; at most `PENDING_MAX`. */
  readonly #pending = new Map<string, JobRecord>()
  #timer: NodeJS.Timeout | undefined
  /** Free ones; at most IDS_AT_ONCE. */
  #ids: string[] = []
  #flushes = 0
  #isBusy = false
  #complainedAt = Number.NEGATIVE_INFINITY

  /** `now` is wall-clock time in ms since the epoch. Opens nothing yet. */
  constructor(state: string, log: Log, now: () => number = Date.now) {
    this.#path = join(state, 'history.db')
    this.#log = log
    this.#now = now
  }

  /** Keeps a job's newest state; what was kept of it before is replaced. Costs microseconds, and never throws. */
  record(job: JobRecord): void {
    this.#pending.set(`${job.role} ${job.home} ${job.id}`, { ...job })
    if (this.#pending.size >= PENDING_MAX) this.flush()
    else this.#timer ??= setTimeout(() => this.flush(), this.#isBusy ? BUSY_FLUSH_MS : FLUSH_MS).unref()
  }

  /** A new id for a job of this home: four letters and digits, the first a letter; more when these run out. */
  newId(home: PeerId): string {
    for (let attempt = 0; ; attempt++) {
      if (this.#ids.length === 0) this.#ids = this.#freeIds(attempt < 2 ? 4 : 8)
      const id = this.#ids.pop()
      if (id !== undefined && !this.#pending.has(`home ${home} ${id}`)) return id
    }
  }

  /** Up to IDS_AT_ONCE that no job has: one question for many jobs. */
  #freeIds(length: number): string[] {
    const ids = [...new Set(Array.from({ length: IDS_AT_ONCE }, () => randomId(length)))]
    const kept = this.#attempt((open) => open.taken.all(JSON.stringify(ids)), [])
    const taken = new Set(kept.map((row) => row.id))
    return ids.filter((id) => !taken.has(id))
  }

  /** The job of this home, or the guest here, that a person means by an unambiguous start of its id. Throws UnknownJobError, AmbiguousNameError. */
  find(prefix: string, role: JobRecord['role'] = 'home'): JobRecord {
    const rows =
      prefix === '' ? [] : this.#read((open) => open.byPrefix.all(role, prefix, `${prefix}\u{10ffff}`, 8), [])
    const exact = rows.filter((row) => row.id === prefix)
    const found = exact.length > 0 ? exact : rows
    if (found[0] === undefined) {
      throw new KappaError('UnknownJobError', `there is no job "${printable(prefix)}"; see: kappa ps`)
    }
    if (found.length > 1) {
      const ids = found.map((row) => row.id).join(', ')
      throw new KappaError(
        'AmbiguousNameError',
        `"${printable(prefix)}" may be one of the jobs ${ids}; give more of the id`
      )
    }
    return jobOf(found[0])
  }

  /** That very job of this home, if it is on record. */
  get(id: string): JobRecord | undefined {
    const [row] = this.#read((open) => open.byPrefix.all('home', id, id, 1), [])
    return row && jobOf(row)
  }

  /** The newest jobs, newest first. */
  latest(role: JobRecord['role'], limit: number): JobRecord[] {
    return this.#read((open) => open.latest.all(role, limit), []).map(jobOf)
  }

  /** Where the last 100 jobs of this home ran and why, most frequent first. */
  counts(): JobCount[] {
    return this.#read((open) => open.count.all(COUNTED_JOBS), []).map((row) => ({
      target: row.target as string | null,
      reason: row.reason as string | null,
      count: row.count as number
    }))
  }

  /** Jobs that earlier daemons lost, whose targets may still know how they ended; oldest first. None where nothing was ever kept. */
  lost(limit: number): (JobRecord & { ticket: Ticket })[] {
    if (this.#open === undefined && this.#pending.size === 0 && !existsSync(this.#path)) return []
    const rows = this.#read((open) => open.asked.all(this.#now() - GUEST_AGE_MAX_MS, limit), [])
    return rows
      .map(jobOf)
      .filter((job): job is JobRecord & { ticket: Ticket } => job.ticket != null)
      .reverse()
  }

  /** Writes what waits. */
  flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#pending.size === 0) return
    const jobs = [...this.#pending.values()]
    this.#pending.clear()
    this.#isBusy = jobs.length >= BUSY_JOBS
    this.#attempt((open) => {
      open.database.exec('BEGIN')
      try {
        for (const job of jobs) open.upsert.run(rowOf(job))
        if (this.#flushes++ % FLUSHES_BETWEEN_PRUNES === 0) this.#prune(open)
        open.database.exec('COMMIT')
      } catch (error) {
        // Some errors, such as a full disk, have ended the transaction already.
        if (open.database.isTransaction) open.database.exec('ROLLBACK')
        throw error
      }
    }, undefined)
  }

  /** Writes what waits and closes the file. */
  close(): void {
    this.flush()
    this.#open?.database.close()
    this.#open = undefined
  }

  #prune(open: Open): void {
    const now = this.#now()
    const [byAge, guestsByAge, byNumber] = open.prune as [StatementSync, StatementSync, StatementSync]
    byAge.run(now - AGE_MAX_MS)
    guestsByAge.run(now - GUEST_AGE_MAX_MS)
    byNumber.run(ROWS_MAX)
  }

  #read<T>(ask: (open: Open) => T, without: T): T {
    this.flush()
    return this.#attempt(ask, without)
  }

  /** What `use` returns, or `without` when the file can't be used; a damaged one is set aside, and a new one tried. */
  #attempt<T>(use: (open: Open) => T, without: T): T {
    for (const again of [true, false]) {
      try {
        this.#open ??= openDatabase(this.#path, this.#now())
        return use(this.#open)
      } catch (error) {
        this.#complain(error)
        if (!again || !isDamage(error)) break
        this.#replace()
      }
    }
    return without
  }

  #complain(error: unknown): void {
    const now = this.#now()
    if (Math.abs(now - this.#complainedAt) < COMPLAINT_MS) return
    this.#complainedAt = now
    this.#log.warn('the history of jobs can not be used', { file: this.#path, why: messageOf(error) })
  }

  #replace(): void {
    try {
      this.#open?.database.close()
    } catch {
      // It is given up anyway.
    }
    this.#open = undefined
    for (const path of [this.#path, `${this.#path}-wal`, `${this.#path}-shm`]) {
      if (existsSync(path)) this.#log.warn('a damaged history is set aside', { now: setAside(path, 'corrupt') })
    }
  }
}

class OtherVersionError extends Error {}

function isDamage(error: unknown): boolean {
  return error instanceof OtherVersionError || DAMAGED.has((error as { errcode?: number }).errcode ?? 0)
}

function openDatabase(path: string, now: number): Open {
  // Loaded here, so that the start of the daemon doesn't pay for it.
  const { DatabaseSync } = process.getBuiltinModule('node:sqlite')
  const database = new DatabaseSync(path, { timeout: 1_000 })
  try {
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA journal_size_limit = 4194304')
    const { user_version: version } = database.prepare('PRAGMA user_version').get() as { user_version: number }
    if (version > SCHEMA_VERSION) throw new OtherVersionError(`it is of version ${version}, made by a newer kappa`)
    if (version === 0) database.exec(`BEGIN; ${SCHEMA}; PRAGMA user_version = ${SCHEMA_VERSION}; COMMIT`)
    if (version === 1) database.exec('BEGIN; ALTER TABLE jobs ADD COLUMN ticket TEXT; PRAGMA user_version = 2; COMMIT')
    // Whoever wrote it last did not live to see these end.
    database
      .prepare(`UPDATE jobs SET state = 'lost', endedAt = ? WHERE role = 'home' AND state NOT IN ('exited', 'lost')`)
      .run(now)
    return { database, ...statements(database) }
  } catch (error) {
    database.close()
    throw error
  }
}

function statements(database: DatabaseSync): Omit<Open, 'database'> {
  return {
    upsert: database.prepare(`
      INSERT OR REPLACE INTO jobs VALUES ($role, $home, $id, $target, $state, $argv, $startedAt, $endedAt, $exitCode,
        $signal, $reason, $trace, $error, $ticket)`),
    byPrefix: database.prepare('SELECT * FROM jobs WHERE role = ? AND id >= ? AND id <= ? ORDER BY id LIMIT ?'),
    taken: database.prepare(`SELECT id FROM jobs WHERE role = 'home' AND id IN (SELECT value FROM json_each(?))`),
    latest: database.prepare('SELECT * FROM jobs WHERE role = ? ORDER BY startedAt DESC LIMIT ?'),
    count: database.prepare(`
      SELECT target, reason, count(*) AS count
      FROM (SELECT target, reason FROM jobs WHERE role = 'home' ORDER BY startedAt DESC LIMIT ?)
      GROUP BY target, reason ORDER BY count DESC`),
    asked: database.prepare(`
      SELECT * FROM jobs WHERE role = 'home' AND state = 'lost' AND ticket IS NOT NULL AND startedAt >= ?
      ORDER BY startedAt DESC LIMIT ?`),
    prune: [
      database.prepare('DELETE FROM jobs WHERE startedAt < ?'),
      database.prepare(`DELETE FROM jobs WHERE role = 'guest' AND endedAt < ?`),
      database.prepare(`
        DELETE FROM jobs WHERE startedAt <= (SELECT startedAt FROM jobs ORDER BY startedAt DESC LIMIT 1 OFFSET ?)`)
    ]
  }
}

/** `a`–`z` and `2`–`7`, which can't be mistaken for each other. */
const LETTERS = 'abcdefghijklmnopqrstuvwxyz234567'

function randomId(length: number): string {
  const bytes = randomBytes(length + 1)
  let id = LETTERS[(bytes[0]! * 256 + bytes[length]!) % 26]!
  for (let index = 1; index < length; index++) id += LETTERS[bytes[index]! % 32]!
  return id
}

function rowOf(job: JobRecord): Row {
  return {
    ...job,
    argv: Buffer.concat(job.argv.flatMap((word, index) => (index === 0 ? [word] : [Buffer.of(0), word]))),
    trace: job.trace && JSON.stringify(job.trace),
    error: job.error && JSON.stringify(job.error),
    ticket: job.ticket ? JSON.stringify(job.ticket) : null
  }
}

function jobOf(row: Row): JobRecord {
  const argv = Buffer.from(row.argv as Uint8Array)
  const words: Buffer[] = []
  for (let start = 0; start <= argv.length; ) {
    const end = argv.indexOf(0, start)
    words.push(argv.subarray(start, end < 0 ? argv.length : end))
    start = end < 0 ? argv.length + 1 : end + 1
  }
  return {
    ...(row as unknown as JobRecord),
    argv: words,
    trace: row.trace === null ? null : JSON.parse(row.trace as string),
    error: row.error === null ? null : JSON.parse(row.error as string),
    ticket: row.ticket === null ? null : JSON.parse(row.ticket as string)
  }
}
