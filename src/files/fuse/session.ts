/** One mounted file system, served: requests in, handlers called, replies out. */

import { OPERATIONS, type Operation } from './codec.ts'
import { EXPIRE_ONLY, OPCODE, PROTOCOL_MAJOR } from './constants.ts'
import type { Device, DeviceEnd } from './device.ts'
import { Errno, type ErrnoName } from './errno.ts'
import { type Frame, FrameError } from './frame.ts'
import { type Agreement, agree, type Capabilities, writeAgreement } from './negotiation.ts'
import type { FileSystemOperations } from './operations.ts'
import { Pending } from './pending.ts'
import { deleteEntry, invalidateEntry, invalidateInode, ReplyWriter } from './replies.ts'
import { forgets, interrupted, offer, type Request } from './requests.ts'

export interface SessionOptions extends Capabilities {
  /** How long a handler may take, SETLKW apart. */
  readonly limitMs: number
  /** What a program gets when that has passed. */
  readonly lateErrno: ErrnoName
  /**
   * Requests that wait for their handlers, at most: beyond it, further ones are left with the kernel. Programs that wait are
   * bounded by their number, and the kernel's own requests by `maxBackground`.
   */
  readonly maxPending: number
  /** Locks that are waited for, at most: beyond it ENOLCK. */
  readonly maxLockWaits: number
  /** Something that should not happen: a handler threw what is no Errno, the kernel refused a reply, a frame made no sense. */
  readonly onFault: (error: unknown, what: string) => void
}

export class FuseSession {
  /** Resolves when the mount is gone or `close` is through; the descriptor is closed then. Never rejects. */
  readonly ended: Promise<DeviceEnd>
  readonly #ended = Promise.withResolvers<DeviceEnd>()
  readonly #initialized = Promise.withResolvers<Agreement>()
  readonly #device: Device
  readonly #operations: FileSystemOperations
  readonly #options: SessionOptions
  readonly #pending: Pending
  readonly #reply = new ReplyWriter()
  #agreement: Agreement | undefined
  #isPaused = false
  /** Every request is answered with it from then on. */
  #closing: Errno | undefined

  /** Begins to serve at once. */
  constructor(device: Device, operations: FileSystemOperations, options: SessionOptions) {
    this.ended = this.#ended.promise
    this.#device = device
    this.#operations = operations
    this.#options = options
    this.#pending = new Pending(options.limitMs, (request) => {
      request.interrupt()
      this.#fail(request.uniqueLow, request.uniqueHigh, Errno.of(options.lateErrno))
      this.#resume()
    })
    device.start({
      onFrame: (frame) => this.#onFrame(frame),
      onEnd: (end) => this.#onEnd(end),
      onError: (error) => options.onFault(error, 'reading requests')
    })
  }

  /** What kernel and file system agreed on; the first request comes after it. Stays open when the mount ends before. */
  get initialized(): Promise<Agreement> {
    return this.#initialized.promise
  }

  /**
   * Forgets the attributes of a node, and its pages from `offset` on: `length` bytes, 0 for all that follow; a negative
   * offset leaves the pages, and then with `invalidation: 'auto'` the kernel drops them when it sees another size or time of
   * modification: better for files that are in use, since it takes no locks.
   *
   * These three resolve when the kernel has done it; see Notifier.send. The kernel takes the lock of the page or directory
   * for it, which requests hold that wait, and what comes to a directory meanwhile queues up behind. So requests about the
   * same node that wait now are answered before, which also makes sure that none of them brings back what is to be
   * forgotten; but a handler must not wait for any of these itself.
   */
  invalidateInode(nodeid: number, offset = 0, length = 0): Promise<void> {
    const after = offset < 0 ? undefined : this.#pending.answers(nodeid)
    return this.#device.notify(invalidateInode(nodeid, offset, length), after)
  }

  /**
   * Forgets a name, known or known not to be. What is mounted or open below it stays, where the kernel can do so (7.38); not
   * so when it `isGone`: a directory that moved can't be renamed in its new place while the kernel has it in the old one.
   */
  invalidateEntry(parent: number, name: string, isGone = false): Promise<void> {
    const flags = this.#agreement?.hasExpireOnly && !isGone ? EXPIRE_ONLY : 0
    return this.#device.notify(invalidateEntry(parent, name, flags), this.#pending.answers(parent))
  }

  /** A name is gone: whoever watches it in the mount hears so. */
  deleteEntry(parent: number, child: number, name: string): Promise<void> {
    return this.#device.notify(deleteEntry(parent, child, name), this.#pending.answers(parent))
  }

  /**
   * Ends the session: what waits and what comes is answered with `errno`, until nothing waits for the kernel; then the
   * device is closed, and with its last descriptor the kernel ends the mount's connection (ENOTCONN from then on).
   */
  close(errno: ErrnoName = 'EIO'): Promise<DeviceEnd> {
    this.#closing ??= Errno.of(errno)
    for (const request of this.#pending.clear()) {
      request.interrupt()
      this.#fail(request.uniqueLow, request.uniqueHigh, this.#closing)
    }
    this.#resume()
    this.#device.close()
    return this.ended
  }

  #onEnd(end: DeviceEnd): void {
    this.#closing ??= Errno.of('EIO')
    for (const request of this.#pending.clear()) request.interrupt()
    this.#ended.resolve(end)
  }

  #onFrame(frame: Frame): void {
    try {
      const operation = OPERATIONS[frame.opcode]
      if (operation !== undefined) this.#serve(operation, frame)
      else this.#control(frame)
    } catch (error) {
      this.#refuse(frame, error)
    }
  }

  #serve(operation: Operation, frame: Frame): void {
    if (this.#closing) throw this.#closing
    const operations = this.#operations
    if (operations[operation.name] === undefined) throw Errno.of('ENOSYS')
    const request = operation.decode(frame, this.#device)
    const isEndless = frame.opcode === OPCODE.setlkw
    if (isEndless && this.#pending.endless >= this.#options.maxLockWaits) throw Errno.of('ENOLCK')
    const answer = (operations[operation.name] as (request: Request) => unknown).call(operations, request)
    if (answer instanceof Promise) this.#await(operation, request, answer, isEndless)
    else this.#answer(operation, request, answer)
  }

  #await(operation: Operation, request: Request, answer: Promise<unknown>, isEndless: boolean): void {
    this.#pending.add(request, isEndless)
    if (!this.#isPaused && this.#pending.size >= this.#options.maxPending) {
      this.#isPaused = true
      this.#device.pause()
    }
    answer.then(
      (value) => this.#settle(operation, request, value),
      (error) => this.#settle(operation, request, this.#errnoOf(error, operation.name))
    )
  }

  #settle(operation: Operation, request: Request, answer: unknown): void {
    if (!this.#pending.remove(request)) return
    this.#resume()
    try {
      this.#answer(operation, request, answer)
    } catch (error) {
      this.#fail(request.uniqueLow, request.uniqueHigh, this.#errnoOf(error, operation.name))
    }
  }

  #resume(): void {
    if (!this.#isPaused || this.#pending.size >= this.#options.maxPending) return
    this.#isPaused = false
    this.#device.resume()
  }

  #answer(operation: Operation, request: Request, answer: unknown): void {
    if (answer instanceof Errno) {
      this.#fail(request.uniqueLow, request.uniqueHigh, answer)
      return
    }
    const reply = this.#reply
    reply.start(request.uniqueLow, request.uniqueHigh, 0)
    const data = operation.encode(reply, answer, request)
    reply.finish(data?.length)
    this.#write(data)
  }

  #fail(low: number, high: number, error: Errno): void {
    this.#reply.start(low, high, -error.errno)
    this.#reply.finish()
    this.#write()
  }

  #write(data?: Uint8Array): void {
    try {
      this.#device.write(this.#reply.bytes, this.#reply.length, data)
    } catch (error) {
      // ENOENT: the request is no longer waited for. ENODEV, EPERM: the mount ends. The kernel says so to reads too.
      const { code } = error as NodeJS.ErrnoException
      if (code === 'ENOENT' || code === 'ENODEV' || code === 'EPERM' || code === 'EBADF') return
      this.#options.onFault(error, 'writing a reply')
    }
  }

  #errnoOf(error: unknown, what: string): Errno {
    if (error instanceof Errno) return error
    this.#options.onFault(error, what)
    return Errno.of('EIO')
  }

  /** Of a frame that could not be served, the header at least is whole. */
  #refuse(frame: Frame, error: unknown): void {
    const isBroken = error instanceof FrameError
    if (isBroken) this.#options.onFault(error, `request ${frame.opcode}`)
    const errno = isBroken ? Errno.of('EINVAL') : this.#errnoOf(error, OPERATIONS[frame.opcode]?.name ?? 'control')
    const { opcode } = frame
    if (opcode === OPCODE.forget || opcode === OPCODE.batchForget || opcode === OPCODE.interrupt) return
    this.#fail(frame.u32(8), frame.u32(12), errno)
  }

  /** Requests that no handler answers. */
  #control(frame: Frame): void {
    switch (frame.opcode) {
      case OPCODE.forget:
      case OPCODE.batchForget:
        for (const { nodeid, count } of forgets(frame, frame.opcode === OPCODE.batchForget)) {
          this.#operations.forget?.(nodeid, count)
        }
        return
      case OPCODE.interrupt: {
        const { low, high } = interrupted(frame)
        this.#pending.find(low, high)?.interrupt()
        return
      }
      case OPCODE.init:
        this.#initialize(frame)
        return
      case OPCODE.destroy:
        this.#reply.start(frame.u32(8), frame.u32(12), 0)
        this.#reply.finish()
        this.#write()
        return
      default:
        throw Errno.of('ENOSYS')
    }
  }

  #initialize(frame: Frame): void {
    const offered = offer(frame)
    const agreement = agree(offered, this.#options, this.#operations)
    this.#reply.start(frame.u32(8), frame.u32(12), 0)
    if (agreement !== undefined) {
      writeAgreement(this.#reply, agreement, offered, this.#options, this.#device.maxWriteBytes)
    } else if (offered.major > PROTOCOL_MAJOR) {
      // The kernel asks again in our version.
      this.#reply.u32(PROTOCOL_MAJOR)
      this.#reply.u32(0)
    } else throw Errno.of('EPROTO')
    this.#reply.finish()
    this.#write()
    if (agreement === undefined) return
    this.#agreement = agreement
    this.#initialized.resolve(agreement)
  }
}
