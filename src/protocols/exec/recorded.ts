/**
 * An output of a detached job: it goes into a file first, and from there towards home whenever home is there. So the job
 * never waits for home, and home may ask again for what it lost with its own memory.
 */

import { messageOf } from '../../errors.ts'
import { DATA_BYTES_MAX } from './frames.ts'
import type { Outgoing } from './link.ts'

/** Where one output is kept. */
export interface OutputFile {
  /** Puts bytes behind the others: how many of them are kept, and if these are fewer, why no more will be. Never rejects. */
  append(bytes: Uint8Array): Promise<{ kept: number; why?: string }>
  /** At most so many of the kept bytes from `offset` on. */
  read(offset: number, most: number): Promise<Uint8Array>
}

/** What takes the bytes of a source, with a brake. */
export interface Sink {
  readonly closed: boolean
  readonly full: boolean
  /** The source paused because of `full`, and may go on. */
  onRoom: () => void
  push(bytes: Uint8Array): void
  end(): void
}

/** Bytes on their way to the disk: more, and the job waits. */
const WAITING_BYTES_MAX = 1024 * 1024

export class RecordedOutput implements Sink {
  /** Who writes is never told that nobody listens. */
  readonly closed = false
  onRoom: () => void = () => undefined
  /** Bytes were lost to the recording. */
  onUnkept: () => void = () => undefined
  readonly #file: OutputFile
  readonly #stream: Outgoing
  #kept = 0
  /** How much of that was given to the stream. */
  #fed = 0
  #unkept = 0
  /** Why no more is kept. */
  #why: string | undefined
  /** At most WAITING_BYTES_MAX and one piece. */
  readonly #waiting: Uint8Array[] = []
  #waitingBytes = 0
  #writing = false
  #feeding = false
  #ending = false

  constructor(file: OutputFile, stream: Outgoing) {
    this.#file = file
    this.#stream = stream
    stream.onRoom = () => void this.#feed()
  }

  get full(): boolean {
    return this.#waitingBytes >= WAITING_BYTES_MAX
  }

  /** What the job wrote and the recording does not have. */
  get unkept(): { bytes: number; why: string } | undefined {
    return this.#why === undefined ? undefined : { bytes: this.#unkept, why: this.#why }
  }

  push(bytes: Uint8Array): void {
    this.#waiting.push(bytes)
    this.#waitingBytes += bytes.length
    void this.#write()
  }

  end(): void {
    this.#ending = true
    void this.#write()
  }

  /** Home is there and has so much: the stream, which is attached next, goes on from here. False: so much was never kept. */
  rewind(received: number): boolean {
    if (received > this.#kept) return false
    this.#stream.restart(received)
    this.#fed = received
    void this.#feed()
    return true
  }

  async #write(): Promise<void> {
    if (this.#writing) return
    this.#writing = true
    for (let bytes = this.#waiting.shift(); bytes !== undefined; bytes = this.#waiting.shift()) {
      // Nobody at home wants it: it only has to be taken from the job.
      const unwanted = this.#why !== undefined || this.#stream.closed
      const { kept, why } = unwanted ? { kept: 0, why: undefined } : await this.#file.append(bytes)
      this.#kept += kept
      if (kept < bytes.length && !this.#stream.closed) this.#lose(bytes.length - kept, why)
      this.#waitingBytes -= bytes.length
      if (!this.full) this.onRoom()
      void this.#feed()
    }
    this.#writing = false
    void this.#feed()
  }

  async #feed(): Promise<void> {
    if (this.#feeding) return
    this.#feeding = true
    while (!this.#stream.closed && !this.#stream.full && this.#fed < this.#kept) {
      const at = this.#fed
      const bytes = await this.#read(at)
      // Home came back meanwhile, and has less.
      if (this.#fed !== at) continue
      this.#fed += bytes.length
      this.#stream.push(bytes)
    }
    this.#feeding = false
    const given = this.#stream.closed || this.#fed === this.#kept
    if (this.#ending && !this.#writing && given) this.#stream.end()
  }

  /** What can't be read back was not kept. */
  async #read(at: number): Promise<Uint8Array> {
    let why = 'the recording is shorter than it was'
    try {
      const bytes = await this.#file.read(at, Math.min(DATA_BYTES_MAX, this.#kept - at))
      if (bytes.length > 0) return bytes
    } catch (error) {
      why = messageOf(error)
    }
    this.#lose(this.#kept - at, why)
    this.#kept = at
    return new Uint8Array()
  }

  #lose(bytes: number, why: string | undefined): void {
    this.#unkept += bytes
    const first = this.#why === undefined
    this.#why ??= why ?? 'the recording ended'
    if (first) this.onUnkept()
  }
}
