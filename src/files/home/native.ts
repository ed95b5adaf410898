/**
 * The program in C (native/files.c) that does for home's server what Node has no call for: renames with flags, holes, copies,
 * exact times, FIFOs and locks. It is a child that is asked by pipes and answers at once, as a system call would; it takes
 * files by the numbers of this process's descriptors. Where it can't be had, callers answer what they can't do.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import * as fs from 'node:fs'
import { fileURLToPath } from 'node:url'
import { KappaError } from '../../errors.ts'
import type { ByteString } from '../../protocols/file/bytes.ts'
import { Errno } from '../fuse/errno.ts'

const WHAT = {
  rename: 1,
  fifo: 2,
  times: 3,
  allocate: 4,
  seek: 5,
  copy: 6,
  hold: 7,
  lock: 8,
  test: 9,
  drop: 10,
  cancel: 11,
  guard: 12
} as const
const FLAG = { mayWrite: 1, whole: 2, wait: 4 } as const
/** Its descriptors of the two pipes' other ends, and its name once they are there. */
const REQUESTS_END = 4
const ANSWERS_END = 5
const READY = 'kappa-ready\n'
/** ms for it to be ready: a slow disk may have to be waken. */
const READY_MS = 5000

const REQUEST_BYTES = 56
const NAMES_BYTES = 2 * 255
const ANSWER_BYTES = 32
const TOLD_BYTES = 8

/** Locks that it can hold, each an open file of its own. */
export const SLOTS_MAX = 4096

/** utimensat(2): what stands for a time. */
export const TIME = { now: { s: 0, ns: 0x3fff_ffff }, asItIs: { s: 0, ns: 0x3fff_fffe } } as const

/** First and last byte; the largest number stands for the end of the file. `type`: 0 shared, 1 exclusive, 2 none. */
export interface Range {
  type: number
  start: bigint
  end: bigint
}

interface Asked {
  what: number
  flags?: number
  one?: number
  two?: number
  a?: bigint
  b?: bigint
  c?: bigint
  d?: bigint
  type?: number
  names?: readonly [ByteString, ByteString]
}

export interface NativeInit {
  /** What became of a lock that is waited for: 0, or the errno. */
  onTold(waiter: number, errno: number): void
  /** It ended by itself, and so did all locks. */
  onEnd(error: Error): void
}

export class Native {
  readonly #child: ChildProcess
  readonly #requests: number
  readonly #answers: number
  readonly #init: NativeInit
  readonly #request = Buffer.alloc(REQUEST_BYTES + NAMES_BYTES)
  readonly #answer = Buffer.alloc(ANSWER_BYTES)
  #told: Buffer = Buffer.alloc(0)
  #isOver = false

  /** Undefined where it can't run. */
  static start(init: NativeInit): Native | undefined {
    const child = spawn(program(), [String(process.pid)], { cwd: '/', env: {}, stdio: ['pipe', 'pipe', 'ignore'] })
    child.on('error', () => {})
    try {
      if (child.pid !== undefined && isReady(child.pid)) return new Native(child, init)
    } catch {
      // It ended, or /proc does not show it.
    }
    child.kill('SIGKILL')
    return undefined
  }

  private constructor(child: ChildProcess, init: NativeInit) {
    this.#child = child
    this.#init = init
    this.#requests = fs.openSync(`/proc/${child.pid}/fd/${REQUESTS_END}`, fs.constants.O_WRONLY)
    this.#answers = fs.openSync(`/proc/${child.pid}/fd/${ANSWERS_END}`, 'r')
    // Whoever waits for something of it has another reason to live.
    child.unref()
    for (const stream of [child.stdin, child.stdout]) (stream as unknown as { unref(): void }).unref()
    child.stdin?.on('error', () => {})
    child.stdout?.on('data', (data: Buffer) => this.#hear(data))
    child.on('exit', () => this.#end())
  }

  /** All locks end. */
  close(): void {
    if (this.#isOver) return
    this.#isOver = true
    fs.closeSync(this.#requests)
    fs.closeSync(this.#answers)
    this.#child.stdin?.destroy()
    this.#child.stdout?.destroy()
  }

  /** Directories are descriptors; `flags` as of renameat2(2). All of these throw the Errno of the system call. */
  rename(from: number, name: ByteString, to: number, newName: ByteString, flags: number): void {
    this.#ask({ what: WHAT.rename, one: from, two: to, flags, names: [name, newName] })
  }

  makeFifo(directory: number, name: ByteString, mode: number): void {
    this.#ask({ what: WHAT.fifo, one: directory, type: mode, names: [name, ''] })
  }

  /** Of the file that the descriptor is of, be it a link; `TIME` has what stands for others. */
  setTimes(fd: number, accessed: { s: number; ns: number }, modified: { s: number; ns: number }): void {
    const [a, b, c, d] = [accessed.s, accessed.ns, modified.s, modified.ns].map(BigInt) as [
      bigint,
      bigint,
      bigint,
      bigint
    ]
    this.#ask({ what: WHAT.times, one: fd, a, b, c, d })
  }

  allocate(fd: number, mode: number, offset: number, length: number): void {
    this.#ask({ what: WHAT.allocate, one: fd, type: mode, a: BigInt(offset), b: BigInt(length) })
  }

  seek(fd: number, offset: number, whence: number): number {
    return this.#ask({ what: WHAT.seek, one: fd, a: BigInt(offset), type: whence })
  }

  copy(from: number, offset: number, to: number, toOffset: number, length: number): number {
    const [a, b, c] = [BigInt(offset), BigInt(toOffset), BigInt(length)]
    return this.#ask({ what: WHAT.copy, one: from, two: to, a, b, c })
  }

  /** Opens the file anew in a free slot below `SLOTS_MAX`; `guard`: the slot of one whose locks are not the file's own. */
  hold(slot: number, fd: number, mayWrite: boolean, guard: number | undefined): void {
    const flags = mayWrite ? FLAG.mayWrite : 0
    this.#ask({ what: WHAT.hold, one: slot, two: fd, flags, c: BigInt(guard ?? -1) })
  }

  /** Throws EAGAIN when it is held otherwise. */
  lock(slot: number, range: Range, whole: boolean): void {
    this.#lock(slot, range, whole ? FLAG.whole : 0, 0)
  }

  /** False: it is waited for, and will be told. */
  lockOrWait(slot: number, range: Range, whole: boolean, waiter: number): boolean {
    return this.#lock(slot, range, FLAG.wait | (whole ? FLAG.whole : 0), waiter) === 0
  }

  #lock(slot: number, { type, start, end }: Range, flags: number, waiter: number): number {
    return this.#ask({ what: WHAT.lock, one: slot, a: start, b: end, c: BigInt(waiter), type, flags })
  }

  /** What is in the way; or nothing, as type 2. */
  test(slot: number, { type, start, end }: Range): Range {
    this.#ask({ what: WHAT.test, one: slot, a: start, b: end, type })
    const answer = this.#answer
    return { type: answer.readUInt32LE(28), start: answer.readBigInt64LE(8), end: answer.readBigInt64LE(16) }
  }

  /** Its locks end. */
  drop(slot: number): void {
    this.#ask({ what: WHAT.drop, one: slot })
  }

  /** It will be told as EINTR, unless it had come. */
  cancel(waiter: number): void {
    this.#ask({ what: WHAT.cancel, c: BigInt(waiter) })
  }

  /** Keeps everybody else from sharing the memory of a SQLite database. Throws EAGAIN when somebody does. */
  guard(slot: number, fd: number): void {
    this.#ask({ what: WHAT.guard, one: slot, two: fd })
  }

  #ask({ what, flags = 0, one = -1, two = -1, a = 0n, b = 0n, c = 0n, d = 0n, type = 0, names }: Asked): number {
    if (this.#isOver) throw Errno.of('EIO')
    const request = this.#request
    request.writeUInt32LE(what, 0)
    request.writeUInt32LE(flags, 4)
    request.writeInt32LE(one, 8)
    request.writeInt32LE(two, 12)
    for (const [index, value] of [a, b, c, d].entries()) request.writeBigInt64LE(value, 16 + index * 8)
    const [name, to] = names ?? ['', '']
    request.writeUInt16LE(name.length, 48)
    request.writeUInt16LE(to.length, 50)
    request.writeUInt32LE(type, 52)
    request.write(name + to, REQUEST_BYTES, 'latin1')
    return this.#answered(REQUEST_BYTES + name.length + to.length)
  }

  /** Both pipes block; a message is whole, for it is shorter than what a pipe takes at once. */
  #answered(length: number): number {
    const answer = this.#answer
    try {
      fs.writeSync(this.#requests, this.#request, 0, length)
      if (fs.readSync(this.#answers, answer, 0, ANSWER_BYTES, null) !== ANSWER_BYTES) throw Errno.of('EIO')
    } catch {
      this.#end()
      throw Errno.of('EIO')
    }
    const errno = answer.readInt32LE(24)
    if (errno !== 0) throw Errno.numbered(errno)
    return Number(answer.readBigInt64LE(0))
  }

  #hear(data: Buffer): void {
    this.#told = Buffer.concat([this.#told, data])
    while (!this.#isOver && this.#told.length >= TOLD_BYTES) {
      const [waiter, errno] = [this.#told.readUInt32LE(0), this.#told.readInt32LE(4)]
      this.#told = this.#told.subarray(TOLD_BYTES)
      this.#init.onTold(waiter, errno)
    }
  }

  #end(): void {
    if (this.#isOver) return
    this.close()
    this.#child.kill('SIGKILL')
    this.#init.onEnd(new KappaError('DaemonError', 'the program that holds the locks of jobs has ended'))
  }
}

function program(): string {
  const file = `kappa-files-linux-${process.arch}`
  const beside = import.meta.url.endsWith('.ts') ? `../native/prebuilt/${file}` : `./${file}`
  return fileURLToPath(new URL(beside, import.meta.url))
}

/** It runs by now; it says by its name that its pipes are there. */
function isReady(pid: number): boolean {
  const pause = new Int32Array(new SharedArrayBuffer(4))
  for (const until = performance.now() + READY_MS; performance.now() < until; Atomics.wait(pause, 0, 0, 0.2)) {
    if (fs.readFileSync(`/proc/${pid}/comm`, 'latin1') === READY) return true
    // Ended, and not yet waited for.
    if (fs.readFileSync(`/proc/${pid}/stat`, 'latin1').includes(') Z ')) return false
  }
  return false
}
