/**
 * Who ran what here, when, and through whom: one line for each start and end of a guest; and which files of this machine were
 * refused to those that ran its jobs. In `audit.log`, for the owner alone.
 */

import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import type { PeerId } from '../core/types.ts'
import type { JobRecord } from './history.ts'
import { createLog, type Log } from './log.ts'

export class Audit {
  readonly #descriptor: number | undefined
  readonly #log: Log | undefined

  /** Appends to what is there; the file and one older of 4 MiB each are kept. Without one (a full disk) the guests still run. */
  constructor(state: string, log: Log) {
    try {
      const path = join(state, 'audit.log')
      this.#descriptor = openSync(path, 'a+', 0o600)
      this.#log = createLog(this.#descriptor, `${path}.old`)
    } catch (error) {
      log.error('who runs what here can not be written down', error)
    }
  }

  /** `home` and `through` are names; the peer ID is in the record. */
  started(record: JobRecord, home: string, through: string[]): void {
    this.#log?.info('started', {
      job: record.id,
      home,
      peer: record.home,
      through: through.join(',') || undefined,
      command: record.argv.map((word) => Buffer.from(word).toString()).join(' ')
    })
  }

  ended(record: JobRecord, home: string): void {
    const { exitCode, signal, error } = record
    const end = { exit: exitCode ?? undefined, signal: signal ?? undefined, error: error?.name }
    this.#log?.info('ended', { job: record.id, home, peer: record.home, ...end })
  }

  /** What a target asked of this machine's files, and was refused; or only how often. */
  refused(fields: {
    job: string
    target: string
    peer: PeerId
    asked?: string
    what?: string
    why?: string
    times?: number
  }): void {
    this.#log?.warn('refused', fields)
  }

  close(): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor)
  }
}

/** Refusals of one target's jobs that are told one by one; of more only the number, each time that it is ten times as large. */
export const REFUSALS_TOLD = 128

/** What is refused to one target, from one job's start to the next one's: it can't fill the file. */
export class Refusals {
  readonly #audit: Audit
  readonly #of: { job: string; target: string; peer: PeerId }
  #count = 0
  #told = 0
  #next = REFUSALS_TOLD * 10

  constructor(audit: Audit, of: { job: string; target: string; peer: PeerId }) {
    this.#audit = audit
    this.#of = of
  }

  refused(asked: string, what: string, why: string): void {
    if (++this.#count <= REFUSALS_TOLD) {
      this.#told = this.#count
      this.#audit.refused({ ...this.#of, asked, what, why })
    } else if (this.#count === this.#next) {
      this.#next *= 10
      this.tellRest()
    }
  }

  /** How many there were by now, when not all were told. */
  tellRest(): void {
    if (this.#count === this.#told) return
    this.#told = this.#count
    this.#audit.refused({ ...this.#of, times: this.#count })
  }
}
