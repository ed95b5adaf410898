/**
 * What the jobs of `kappa each` write, on its own stdout and stderr: whole and in the order of the jobs, whole as they end,
 * or line by line as it comes.
 */

import { closeSync, ftruncateSync, mkdtempSync, openSync, readSync, rmdirSync, unlinkSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openSink, type Sink, statusLine } from '../run-streams.ts'
import type { Output } from './job.ts'

export type Order = 'kept' | 'as-ended' | 'lines'

/** Bytes of all jobs together that are held in memory; what is beyond lies in a file. */
const HELD_BYTES_MAX = 32 * 1024 * 1024
/** A line that is longer comes in pieces. */
const LINE_BYTES_MAX = 1024 * 1024
const PIECE_BYTES = 256 * 1024
const NEWLINE = 0x0a

type Piece = { output: Output; bytes: Buffer } | { output: Output; at: number; length: number }

export interface OutputsInit {
  order: Order
  /** Nobody reads it any more (EPIPE), or it can't be written. */
  onGone(output: Output, error: NodeJS.ErrnoException): void
}

/** One job's. */
export class JobOutput {
  readonly #all: Outputs
  /** Before every line. */
  readonly #tag: Buffer | undefined
  /** Not yet written; bounded by HELD_BYTES_MAX and the disk. */
  pieces: Piece[] = []
  isOver = false
  /** Something of it was written: it can't be unsaid. */
  isShown = false
  /** The beginning of a line, by output; at most LINE_BYTES_MAX. */
  readonly #begun: Record<Output, Buffer[]> = { stdout: [], stderr: [] }

  constructor(all: Outputs, tag: Buffer | undefined) {
    this.#all = all
    this.#tag = tag
  }

  /** The bytes are the caller's again when it returns; `taken` when more may come. */
  add(output: Output, bytes: Buffer, taken: () => void): void {
    if (this.#tag === undefined && this.#all.order !== 'lines') {
      this.#all.take(this, output, bytes, taken)
      return
    }
    const last = bytes.lastIndexOf(NEWLINE)
    const begun = this.#begun[output]
    if (last < 0) {
      begun.push(Buffer.from(bytes))
      if (begun.reduce((sum, part) => sum + part.length, 0) >= LINE_BYTES_MAX) this.#flush(output, taken)
      else taken()
      return
    }
    const lines = Buffer.concat([...begun, bytes.subarray(0, last + 1)])
    this.#begun[output] = last + 1 < bytes.length ? [Buffer.from(bytes.subarray(last + 1))] : []
    this.#all.take(this, output, this.#tagged(lines), taken)
  }

  #flush(output: Output, taken: () => void): void {
    const rest = Buffer.concat(this.#begun[output])
    this.#begun[output] = []
    if (rest.length > 0) this.#all.take(this, output, this.#tagged(rest), taken)
    else taken()
  }

  /** A last line without an end gets one only where another's may follow it. */
  #tagged(lines: Buffer): Buffer {
    if (this.#tag === undefined) return lines
    const parts: Buffer[] = []
    for (let from = 0; from < lines.length; ) {
      const newline = lines.indexOf(NEWLINE, from)
      const end = newline < 0 ? lines.length : newline + 1
      parts.push(this.#tag, lines.subarray(from, end))
      from = end
    }
    return Buffer.concat(parts)
  }

  /** Nothing more comes. */
  end(): void {
    for (const output of ['stdout', 'stderr'] as const) {
      const isOpen = this.#begun[output].length > 0
      this.#flush(output, () => undefined)
      if (isOpen && this.#all.order === 'lines') this.#all.take(this, output, Buffer.from('\n'), () => undefined)
    }
    this.isOver = true
    this.#all.advance()
  }

  /** As if nothing had come. */
  drop(): void {
    this.#all.forget(this)
    this.#begun.stdout = []
    this.#begun.stderr = []
  }
}

export class Outputs {
  readonly order: Order
  readonly #sinks: Record<Output, Sink>
  /** Begun and not written whole, in order; see `JOBS_AHEAD_MAX` in each.ts. */
  readonly #jobs: JobOutput[] = []
  readonly #spill = new Spill()
  #held = 0
  /** What the sinks have not taken yet: those who wait for it are told. */
  #writing = 0
  #room: (() => void)[] = []

  constructor({ order, onGone }: OutputsInit) {
    this.order = order
    this.#sinks = {
      stdout: openSink(1, (error) => onGone('stdout', error)),
      stderr: openSink(2, (error) => onGone('stderr', error))
    }
  }

  /** Jobs get theirs in their order. */
  begin(tag: Buffer | undefined): JobOutput {
    const job = new JobOutput(this, tag)
    this.#jobs.push(job)
    return job
  }

  take(job: JobOutput, output: Output, bytes: Buffer, taken: () => void): void {
    if (this.order === 'lines' || (this.order === 'kept' && job === this.#jobs[0] && job.pieces.length === 0)) {
      this.#write(job, output, Buffer.from(bytes), taken)
      return
    }
    if (this.#held + bytes.length <= HELD_BYTES_MAX) {
      this.#held += bytes.length
      job.pieces.push({ output, bytes: Buffer.from(bytes) })
    } else job.pieces.push({ output, ...this.#spill.add(bytes) })
    taken()
  }

  #write(job: JobOutput, output: Output, bytes: Buffer, taken: () => void): void {
    job.isShown = true
    statusLine.erase()
    this.#writing += bytes.length
    this.#sinks[output].write(bytes, () => {
      this.#writing -= bytes.length
      taken()
      if (this.#writing < HELD_BYTES_MAX) for (const go of this.#room.splice(0)) go()
    })
  }

  /** Jobs that can be shown are. */
  advance(): void {
    if (this.order === 'kept') {
      for (let job = this.#jobs[0]; job !== undefined; job = this.#jobs[0]) {
        this.#show(job)
        if (!job.isOver) return
        this.#jobs.shift()
      }
      return
    }
    for (let index = this.#jobs.length - 1; index >= 0; index--) {
      const job = this.#jobs[index]!
      if (!job.isOver) continue
      this.#show(job)
      this.#jobs.splice(index, 1)
    }
  }

  #show(job: JobOutput): void {
    const { pieces } = job
    job.pieces = []
    for (const piece of pieces) {
      if ('bytes' in piece) {
        this.#held -= piece.bytes.length
        this.#write(job, piece.output, piece.bytes, () => undefined)
        continue
      }
      for (let done = 0; done < piece.length; done += PIECE_BYTES) {
        const length = Math.min(PIECE_BYTES, piece.length - done)
        this.#write(job, piece.output, this.#spill.read(piece.at + done, length), () => undefined)
      }
      this.#spill.free(piece.length)
    }
  }

  forget(job: JobOutput): void {
    for (const piece of job.pieces) {
      if ('bytes' in piece) this.#held -= piece.bytes.length
      else this.#spill.free(piece.length)
    }
    job.pieces = []
  }

  /** Resolves when there is room for more jobs' output: what was shown is taken. */
  async room(): Promise<void> {
    if (this.#writing >= HELD_BYTES_MAX) await new Promise<void>((resolve) => this.#room.push(resolve))
  }

  async flushed(): Promise<void> {
    await Promise.all([this.#sinks.stdout.flushed(), this.#sinks.stderr.flushed()])
    this.#spill.close()
  }
}

/** A file without a name, in the directory for temporary ones; what is freed is used again when all is. */
class Spill {
  #descriptor: number | undefined
  #end = 0
  #live = 0

  /** Throws what the file system says. */
  add(bytes: Buffer): { at: number; length: number } {
    this.#descriptor ??= this.#open()
    const at = this.#end
    for (let done = 0; done < bytes.length; )
      done += writeSync(this.#descriptor, bytes, done, bytes.length - done, at + done)
    this.#end += bytes.length
    this.#live += bytes.length
    return { at, length: bytes.length }
  }

  read(at: number, length: number): Buffer {
    const bytes = Buffer.allocUnsafe(length)
    for (let done = 0; done < length; ) done += readSync(this.#descriptor!, bytes, done, length - done, at + done)
    return bytes
  }

  free(length: number): void {
    this.#live -= length
    if (this.#live > 0) return
    this.#end = 0
    ftruncateSync(this.#descriptor!, 0)
  }

  close(): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor)
    this.#descriptor = undefined
  }

  #open(): number {
    const directory = mkdtempSync(join(tmpdir(), 'kappa-each-'))
    const path = join(directory, 'output')
    const descriptor = openSync(path, 'wx+', 0o600)
    unlinkSync(path)
    rmdirSync(directory)
    return descriptor
  }
}
