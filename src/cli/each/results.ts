/** `--results DIR`: what each job wrote, and how it ended, in a directory named after its number. */

import { closeSync, constants, ftruncateSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { KappaError, messageOf } from '../../errors.ts'
import type { Output } from './job.ts'

export class JobResults {
  readonly #directory: string
  readonly #files: Record<Output, number>

  /** Throws StateError. */
  constructor(directory: string, sequence: number, command: string) {
    this.#directory = join(directory, String(sequence))
    try {
      mkdirSync(this.#directory, { recursive: true })
      writeFileSync(join(this.#directory, 'command'), `${command}\n`, 'latin1')
      this.#files = { stdout: this.#open('stdout'), stderr: this.#open('stderr') }
    } catch (error) {
      throw this.#unwritable(error)
    }
  }

  #open(name: Output): number {
    const { O_WRONLY, O_CREAT, O_TRUNC, O_APPEND } = constants
    return openSync(join(this.#directory, name), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0o666)
  }

  add(output: Output, bytes: Buffer): void {
    try {
      for (let done = 0; done < bytes.length; ) done += writeSync(this.#files[output], bytes, done)
    } catch (error) {
      throw this.#unwritable(error)
    }
  }

  /** It is tried once more: what it wrote before counts for nothing. */
  restart(): void {
    for (const descriptor of Object.values(this.#files)) ftruncateSync(descriptor)
  }

  end(status: number): void {
    closeSync(this.#files.stdout)
    closeSync(this.#files.stderr)
    writeFileSync(join(this.#directory, 'status'), `${status}\n`)
  }

  #unwritable(error: unknown): KappaError {
    return new KappaError('StateError', `kappa each: ${this.#directory} can't be written: ${messageOf(error)}`)
  }
}
