/**
 * A small file of the daemon's own that is whole at every moment: written beside, flushed, renamed. One that can't be
 * read is set aside and told of, and the daemon goes on without it.
 */

import { existsSync, readFileSync, renameSync } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { ZodType } from 'zod'
import { KappaError, messageOf } from '../errors.ts'
import type { Log } from './log.ts'

/** Copies kept of one file that was set aside; the last one is replaced when there are as many. */
const ASIDE_MAX = 16

/** A value of type T on disk as JSON. One daemon owns it. */
export class StateFile<T> {
  readonly path: string
  readonly #schema: ZodType<T>
  readonly #log: Log
  /** At most one write runs and one waits; later values replace the one that waits. */
  #running: Promise<void> | undefined
  #waiting: { value: T | undefined; written: Promise<void> } | undefined

  constructor(path: string, schema: ZodType<T>, log: Log) {
    this.path = path
    this.#schema = schema
    this.#log = log
  }

  /** The value as last written; `undefined` when there is none or it was damaged, which is logged. Throws StateError when it may not be read. */
  read(): T | undefined {
    const text = readIfThere(this.path)?.toString()
    if (text === undefined) return undefined
    try {
      return this.#schema.parse(JSON.parse(text))
    } catch (error) {
      const aside = setAside(this.path, 'corrupt')
      this.#log.warn('a state file was damaged and is set aside', {
        file: this.path,
        now: aside,
        why: messageOf(error)
      })
      return undefined
    }
  }

  /** Resolves once this value, or a later one, is safe on the disk. Throws StateError, such as for a full disk. */
  write(value: T): Promise<void> {
    return this.#put(value)
  }

  /** Resolves once the file is gone, unless a later value is written. Throws StateError. */
  remove(): Promise<void> {
    return this.#put(undefined)
  }

  #put(value: T | undefined): Promise<void> {
    if (this.#waiting) {
      this.#waiting.value = value
      return this.#waiting.written
    }
    if (this.#running === undefined) return this.#start(value)
    const waiting: { value: T | undefined; written: Promise<void> } = { value, written: Promise.resolve() }
    waiting.written = this.#running
      .catch(() => undefined)
      .then(() => {
        this.#waiting = undefined
        return this.#start(waiting.value)
      })
    this.#waiting = waiting
    return waiting.written
  }

  #start(value: T | undefined): Promise<void> {
    const work =
      value === undefined ? removeWhole(this.path) : writeWhole(this.path, `${JSON.stringify(value, null, 2)}\n`)
    const running = work.finally(() => {
      if (this.#running === running) this.#running = undefined
    })
    this.#running = running
    return running
  }
}

/** The bytes of a file; `undefined` when there is none. Throws StateError when it may not be read. */
export function readIfThere(path: string): Buffer | undefined {
  try {
    return readFileSync(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new KappaError('StateError', `${path} can't be read: ${messageOf(error)}`, { cause: error })
  }
}

/**
 * Replaces a file so that at every moment, a power cut included, it is the old one or the new one. Throws StateError.
 * One writer per file at a time. Mode 0600 unless said otherwise.
 */
export async function writeWhole(path: string, content: string | Uint8Array, mode = 0o600): Promise<void> {
  const beside = `${path}.new`
  try {
    await flushed(beside, 'w', mode, content)
    await rename(beside, path)
    await flushed(dirname(path), 'r')
  } catch (error) {
    throw new KappaError('StateError', `${path} can't be written: ${messageOf(error)}`, { cause: error })
  }
}

async function removeWhole(path: string): Promise<void> {
  try {
    await rm(path, { force: true })
    await flushed(dirname(path), 'r')
  } catch (error) {
    throw new KappaError('StateError', `${path} can't be removed: ${messageOf(error)}`, { cause: error })
  }
}

async function flushed(path: string, flags: string, mode?: number, content?: string | Uint8Array): Promise<void> {
  const file = await open(path, flags, mode)
  try {
    // What a crash left behind may have another mode.
    if (mode !== undefined) await file.chmod(mode)
    if (content !== undefined) await file.writeFile(content)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Renames a file to `NAME.<word>-<n>`, so that a person can look at it; its new path. */
export function setAside(path: string, word: string): string {
  for (let n = 1; ; n++) {
    const aside = `${path}.${word}-${n}`
    if (n < ASIDE_MAX && existsSync(aside)) continue
    renameSync(path, aside)
    return aside
  }
}
