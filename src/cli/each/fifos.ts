/** Pipes for jobs that run here: what Node would give them is a socket, which `>/dev/stderr` can't open. */

import { execFile } from 'node:child_process'
import { closeSync, constants, mkdtempSync, openSync, rmSync, unlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { KappaError, messageOf } from '../../errors.ts'

/** Made at once, by one program. */
const BATCH = 32

export interface Fifo {
  reader: number
  writer: number
}

export class Fifos {
  readonly #directory = mkdtempSync(join(tmpdir(), 'kappa-each-'))
  /** At most `BATCH`. */
  #ready: string[] = []
  #making: Promise<void> | undefined
  #made = 0

  /** Both ends are the caller's. Throws StateError. */
  async take(): Promise<Fifo> {
    while (this.#ready.length === 0) {
      this.#making ??= this.#make().finally(() => {
        this.#making = undefined
      })
      await this.#making
    }
    const path = this.#ready.pop()!
    // Never waits for the other end; the child's own end is an ordinary one.
    const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
    try {
      return { reader, writer: openSync(path, constants.O_WRONLY) }
    } catch (error) {
      closeSync(reader)
      throw error
    } finally {
      unlinkSync(path)
    }
  }

  #make(): Promise<void> {
    const paths = Array.from({ length: BATCH }, () => join(this.#directory, String(++this.#made)))
    return new Promise((resolve, reject) => {
      execFile('mkfifo', ['-m', '600', ...paths], (error) => {
        if (error)
          reject(new KappaError('StateError', `no pipes can be made in ${this.#directory}: ${messageOf(error)}`))
        else {
          this.#ready = paths
          resolve()
        }
      })
    })
  }

  close(): void {
    rmSync(this.#directory, { recursive: true, force: true })
  }
}
