/** Who ran what here, when, and through whom: one line for each start and end of a guest, in `audit.log`, for the owner alone. */

import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
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

  close(): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor)
  }
}
