/** The client's part of `--in` and `--out`: packs what goes, puts in place what comes back. */

import { closeSync, constants, openSync, readSync } from 'node:fs'
import { resolve } from 'node:path'
import { innermostCommand } from '../core/command.ts'
import type { PairingKind } from '../core/types.ts'
import { withLength } from '../daemon/control-codec.ts'
import { type KappaError, messageOf } from '../errors.ts'
import { checkOuts, type PreparedIns, prepareIns, type ReceivedOuts, receiveOuts } from '../execution/staging.ts'
import { PROGRAM_HEAD_BYTES, programClass } from '../machine/program-class.ts'
import { ChunkQueue } from '../protocols/exec/chunk-queue.ts'
import { WINDOW_BYTES_MIN } from '../protocols/exec/flow.ts'
import {
  ackFrame,
  closeFrame,
  DATA_BYTES_MAX,
  dataHeader,
  eofFrame,
  FRAME,
  type Frame,
  STREAM
} from '../protocols/exec/frames.ts'
import type { Pipe } from './pipe.ts'
import type { RunRequest } from './run-options.ts'

/** What is to go and to come back. */
type StagingRequest = Pick<RunRequest, 'ins' | 'outs' | 'detach'>

/** Looks at every file before anything is shipped. Throws UsageError and StagingError. */
export async function prepareStaging(request: StagingRequest, directory = process.cwd()): Promise<Staging> {
  checkOuts(request.outs)
  const ins = request.ins.length > 0 ? await prepareIns(request.ins, directory) : undefined
  return new Staging(request, directory, ins)
}

/** What the program needs of a machine when it goes along with its files: it runs on its own kind alone. */
function classOf(argv: readonly Buffer[], directory: string): ReturnType<typeof programClass> {
  const [program = ''] = innermostCommand(argv.map((word) => word.toString()))
  if (!program.includes('/') || program.startsWith('/')) return undefined
  const head = Buffer.alloc(PROGRAM_HEAD_BYTES)
  let descriptor: number | undefined
  try {
    descriptor = openSync(resolve(directory, program), constants.O_RDONLY | constants.O_NONBLOCK)
    return programClass(head.subarray(0, readSync(descriptor, head)))
  } catch {
    // Whoever starts it will say.
    return undefined
  } finally {
    if (descriptor !== undefined) closeSync(descriptor)
  }
}

export class Staging {
  readonly #request: StagingRequest
  readonly #directory: string
  readonly #ins: PreparedIns | undefined
  readonly #queue = new ChunkQueue()
  #socket: Pick<Pipe, 'write'> | undefined
  #limit = WINDOW_BYTES_MIN
  #onLimit: () => void = () => undefined
  #closed = false
  #consumed = 0
  #outs: Promise<ReceivedOuts | KappaError> | undefined

  constructor(request: StagingRequest, directory: string, ins: PreparedIns | undefined) {
    this.#request = request
    this.#directory = directory
    this.#ins = ins
  }

  /** Bytes of the ins; undefined when there are none. */
  get inputBytes(): number | undefined {
    return this.#ins?.bytes
  }

  /** See `RunParams`. */
  programClass(argv: readonly Buffer[]): ReturnType<typeof programClass> {
    return this.#ins === undefined ? undefined : classOf(argv, this.#directory)
  }

  /** The job was accepted there: the ins go, the outs may come. A file that changed meanwhile breaks the job off. */
  begin(kind: PairingKind, socket: Pick<Pipe, 'write'>, failed: (error: unknown) => void): void {
    this.#socket = socket
    if (this.#ins) this.#send(this.#ins.pack()).catch(failed)
    const { outs, detach } = this.#request
    // What a detached job leaves, the daemon fetches.
    if (outs.length === 0 || detach) return
    const source = this.#queue.read((bytes) => {
      this.#consumed += bytes
      this.#write(ackFrame(0, STREAM.outs, this.#consumed, 0))
    })
    this.#outs = receiveOuts(source, { names: outs, directory: this.#directory, kind }).catch((error) => {
      // The rest must not keep the job from ending.
      this.#write(closeFrame(0, STREAM.outs))
      return error
    })
  }

  handle(frame: Frame): void {
    if ('payload' in frame) return
    if (frame.type === FRAME.data) this.#queue.push(frame.bytes)
    else if (frame.type === FRAME.eof) this.#queue.end()
    else if (frame.type === FRAME.close) {
      this.#closed = true
      this.#onLimit()
    } else {
      this.#limit = frame.limit
      this.#onLimit()
    }
  }

  /** Puts the outs in place, all or none; what is wrong, in words, else undefined. */
  async finish(succeeded: boolean): Promise<string | undefined> {
    if (!succeeded) {
      await this.abandon(new Error('the job failed'))
      return undefined
    }
    const received = await this.#outs
    if (received === undefined) return undefined
    if (received instanceof Error) return messageOf(received)
    try {
      await received.commit()
      return undefined
    } catch (error) {
      return messageOf(error)
    }
  }

  /** The job did not end in order: nothing of it stays here. */
  async abandon(why: Error): Promise<void> {
    this.#queue.fail(why)
    this.#closed = true
    this.#onLimit()
    const received = await this.#outs
    if (received !== undefined && !(received instanceof Error)) await received.discard()
  }

  async #send(source: AsyncIterable<Uint8Array>): Promise<void> {
    let sent = 0
    for await (const chunk of source) {
      let rest = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length)
      while (rest.length > 0) {
        while (sent >= this.#limit && !this.#closed) {
          await new Promise<void>((resolve) => {
            this.#onLimit = resolve
          })
        }
        if (this.#closed) return
        const bytes = rest.subarray(0, Math.min(this.#limit - sent, DATA_BYTES_MAX))
        this.#write(dataHeader(0, STREAM.ins, sent), bytes)
        sent += bytes.length
        rest = rest.subarray(bytes.length)
      }
    }
    this.#write(eofFrame(0, STREAM.ins, sent))
  }

  #write(...parts: Buffer[]): void {
    this.#socket?.write(withLength(...parts))
  }
}
