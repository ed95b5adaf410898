/**
 * What a detached job writes, in files: on its target until home has it, and at home. The first bytes are kept, up to a
 * bound for each output and one for all together; a full disk ends the recording and nothing else.
 */

import { type FileHandle, mkdir, open, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { messageOf } from '../errors.ts'

/** Bytes of each of the outputs of a job: so a stdout without end leaves room for what stderr says of it. */
export const OUTPUT_BYTES_MAX = 64 * 1024 * 1024

const MEBIBYTE = 2 ** 20

/** Bytes that recordings may take together. */
export class RecordingRoom {
  #free: number
  #bytes: number
  /** What to say when there is no room. */
  readonly #words: (mebibytes: number) => string

  constructor(bytes: number, words: (mebibytes: number) => string) {
    this.#bytes = this.#free = bytes
    this.#words = words
  }

  get words(): string {
    return this.#words(Math.floor(this.#bytes / MEBIBYTE))
  }

  /** Other bounds from now on; what was taken stays so. */
  resize(bytes: number): void {
    this.#free += bytes - this.#bytes
    this.#bytes = bytes
  }

  /** So many bytes of those wanted may be written. */
  take(wanted: number): number {
    const taken = Math.max(0, Math.min(wanted, this.#free))
    this.#free -= taken
    return taken
  }

  /** They are there already, whether or not there is room. */
  hold(bytes: number): void {
    this.#free -= bytes
  }

  give(bytes: number): void {
    this.#free += bytes
  }
}

function roomOfOutput(): RecordingRoom {
  return new RecordingRoom(OUTPUT_BYTES_MAX, (mebibytes) => `the first ${mebibytes} MiB of each output are kept`)
}

/** One output of a job in a file. One writer; reads at any time. */
export class Recording {
  readonly path: string
  readonly #rooms: readonly RecordingRoom[]
  #bytes = 0
  #file: FileHandle | undefined
  #removed = false

  /** `rooms`: its own, and that of all. Opens nothing yet. */
  constructor(path: string, rooms: readonly RecordingRoom[]) {
    this.path = path
    this.#rooms = rooms
  }

  /** Bytes that are kept. */
  get bytes(): number {
    return this.#bytes
  }

  /** Somebody else writes it, or an earlier life of this program did: looks how much is there now. */
  async look(): Promise<void> {
    const { size } = await stat(this.path).catch(() => ({ size: 0 }))
    if (this.#removed) return
    for (const room of this.#rooms) room.hold(size - this.#bytes)
    this.#bytes = size
  }

  /** How many of the bytes are kept now; if not all, why no more should be appended. Never rejects. */
  async append(bytes: Uint8Array): Promise<{ kept: number; why?: string }> {
    let wanted = bytes.length
    let why: string | undefined
    for (const [index, room] of this.#rooms.entries()) {
      const taken = room.take(wanted)
      if (taken < wanted) {
        for (const before of this.#rooms.slice(0, index)) before.give(wanted - taken)
        why = room.words
      }
      wanted = taken
    }
    let kept = 0
    try {
      this.#file ??= await this.#open()
      while (kept < wanted)
        kept += (await this.#file.write(bytes, kept, wanted - kept, this.#bytes + kept)).bytesWritten
    } catch (error) {
      why = reasonOf(error)
    }
    for (const room of this.#rooms) room.give(wanted - kept)
    this.#bytes += kept
    return why === undefined ? { kept } : { kept, why }
  }

  /** At most so many of the bytes from `offset` on; none at the end. Throws what the file system says. */
  async read(offset: number, most: number): Promise<Buffer> {
    const wanted = Math.max(0, Math.min(most, this.#bytes - offset))
    const buffer = Buffer.allocUnsafeSlow(wanted)
    if (wanted === 0) return buffer
    const { bytesRead } = await (this.#file ??= await this.#open()).read(buffer, 0, wanted, offset)
    return buffer.subarray(0, bytesRead)
  }

  /** Everything is on the disk itself. Throws what the file system says. */
  async flush(): Promise<void> {
    await this.#file?.sync()
  }

  async close(): Promise<void> {
    const file = this.#file
    this.#file = undefined
    await file?.close()
  }

  /** Its room is free; the caller removes the directory. */
  async discard(): Promise<void> {
    if (this.#removed) return
    this.#removed = true
    for (const room of this.#rooms) room.give(this.#bytes)
    await this.close()
  }

  async #open(): Promise<FileHandle> {
    if (this.#removed) throw new Error('it was removed')
    await mkdir(dirname(this.path), { recursive: true, mode: 0o700 })
    return open(this.path, this.#bytes > 0 ? 'r+' : 'w+', 0o600)
  }
}

function reasonOf(error: unknown): string {
  const { code } = error as NodeJS.ErrnoException
  if (code === 'ENOSPC' || code === 'EDQUOT') return `the disk is full (${code})`
  return `the recording can't be written: ${messageOf(error)}`
}

/** Both outputs of one job, in a directory of their own. */
export class JobOutput {
  readonly directory: string
  readonly stdout: Recording
  readonly stderr: Recording

  constructor(directory: string, all: RecordingRoom) {
    this.directory = directory
    this.stdout = new Recording(join(directory, 'stdout'), [roomOfOutput(), all])
    this.stderr = new Recording(join(directory, 'stderr'), [roomOfOutput(), all])
  }

  get bytes(): number {
    return this.stdout.bytes + this.stderr.bytes
  }

  /** As of each output. */
  async look(): Promise<void> {
    await Promise.all([this.stdout.look(), this.stderr.look()])
  }

  async close(): Promise<void> {
    await Promise.all([this.stdout.close(), this.stderr.close()])
  }

  /** Nothing of it stays. */
  async remove(): Promise<void> {
    await Promise.all([this.stdout.discard(), this.stderr.discard()])
    await rm(this.directory, { recursive: true, force: true })
  }
}
