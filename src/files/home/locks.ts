/**
 * Locks of jobs, held at home: each owner, a process of a job for fcntl(2) or an open file for flock(2), has an open file of
 * its own here, so that they hold among all jobs, whichever thread serves them, and towards every other process of home.
 *
 * A memory that processes share by a file is one memory on one machine only. SQLite keeps that of a database in WAL mode in
 * a file named …-shm: while a target has one open, everybody else is kept from using it, and the locks that jobs there take
 * on it are held on a file that nobody else sees.
 */

import type { ByteString } from '../../protocols/file/bytes.ts'
import { LOCK_END, LOCK_NONE, type RequestFields } from '../../protocols/file/codec.ts'
import { Errno } from '../fuse/errno.ts'
import { Native, type Range, SLOTS_MAX } from './native.ts'

/** A file that is open for the target. */
export interface LockedFile {
  handle: number
  fd: number
  device: number
  inode: number
  /** Whether the target may write to it at all. */
  mayWrite: boolean
}

interface Owner {
  readonly key: string
  readonly slot: number
  /** By which it locked; it ends with the last of them. */
  readonly handles: Set<number>
  /** Requests that wait; as many as the program takes. */
  readonly waiting: Set<number>
  isLeaving: boolean
}

interface Guard {
  readonly slot: number
  readonly handles: Set<number>
}

export class Locks {
  readonly #onLoss: (error: Error) => void
  #native: Native | undefined
  #isMissing = false
  /** By file and owner; with the guards at most SLOTS_MAX. */
  readonly #owners = new Map<string, Owner>()
  /** By file. */
  readonly #guards = new Map<string, Guard>()
  /** By the number of the request. */
  readonly #waiting = new Map<number, { owner: Owner; done: PromiseWithResolvers<void> }>()
  readonly #slots = new Set<number>()
  #lastSlot = 0

  /** `onLoss`: what was held is held no more. */
  constructor(onLoss: (error: Error) => void) {
    this.#onLoss = onLoss
  }

  /** Undefined where it can't run; asked for at the first need. */
  get native(): Native | undefined {
    if (this.#native === undefined && !this.#isMissing) {
      this.#native = Native.start({
        onTold: (waiter, errno) => this.#told(waiter, errno),
        onEnd: (error) => {
          this.#native = undefined
          if (this.#owners.size > 0 || this.#guards.size > 0) this.#onLoss(error)
        }
      })
      this.#isMissing = this.#native === undefined
    }
    return this.#native
  }

  close(): void {
    this.#native?.close()
    this.#native = undefined
    this.#isMissing = true
    this.#owners.clear()
    this.#guards.clear()
    for (const { done } of this.#waiting.values()) done.reject(Errno.of('EINTR'))
    this.#waiting.clear()
  }

  // --------------------------------------------------------------------------------------------------------- locks

  /** Throws the Errno of the system call, or rejects with it where it is waited for; ENOLCK where no lock can be held. */
  lock(file: LockedFile, id: number, asked: RequestFields<'lock'>): Promise<void> | undefined {
    const native = this.#mustHave()
    const range = rangeOf(asked)
    const whole = asked.whole !== 0
    if (this.#waiting.has(id)) throw Errno.of('EINVAL')
    const key = `${fileOf(file)} ${whole ? 'whole' : 'ranges'} ${asked.owner}`
    let owner = this.#owners.get(key)
    if (range.type === LOCK_NONE) {
      if (owner !== undefined) this.#unlock(native, owner, range, whole)
      return undefined
    }
    const isNew = owner === undefined
    owner ??= this.#newOwner(native, key, file, whole)
    owner.handles.add(file.handle)
    try {
      if (asked.wait === 0) native.lock(owner.slot, range, whole)
      else if (!native.lockOrWait(owner.slot, range, whole, id)) return this.#wait(owner, id)
    } catch (error) {
      if (isNew) this.#drop(owner)
      throw error
    }
    return undefined
  }

  /** What is in the way of a lock; of type 2 when nothing is. */
  test(file: LockedFile, asked: RequestFields<'testLock'>): Range {
    const native = this.#mustHave()
    const range = rangeOf(asked)
    const owner = this.#owners.get(`${fileOf(file)} ranges ${asked.owner}`)
    if (owner !== undefined) return native.test(owner.slot, range)
    const slot = this.#newSlot()
    try {
      native.hold(slot, file.fd, false, this.#guards.get(fileOf(file))?.slot)
      return native.test(slot, range)
    } finally {
      this.#free(slot)
    }
  }

  /** What waits under that number waits no more. */
  cancel(id: number): void {
    if (this.#waiting.has(id)) this.#native?.cancel(id)
  }

  /** A file is no longer open for the target. */
  closed({ handle }: LockedFile): void {
    if (this.#slots.size === 0) return
    for (const owner of [...this.#owners.values()]) if (owner.handles.delete(handle)) this.#leave(owner)
    for (const [file, { slot, handles }] of this.#guards) {
      if (!handles.delete(handle) || handles.size > 0) continue
      this.#guards.delete(file)
      this.#free(slot)
    }
  }

  #mustHave(): Native {
    if (this.native === undefined) throw Errno.of('ENOLCK')
    return this.native
  }

  #newOwner(native: Native, key: string, file: LockedFile, whole: boolean): Owner {
    const slot = this.#newSlot()
    try {
      native.hold(slot, file.fd, file.mayWrite && !whole, this.#guards.get(fileOf(file))?.slot)
    } catch {
      this.#slots.delete(slot)
      throw Errno.of('ENOLCK')
    }
    const owner: Owner = { key, slot, handles: new Set(), waiting: new Set(), isLeaving: false }
    this.#owners.set(key, owner)
    return owner
  }

  #unlock(native: Native, owner: Owner, range: Range, whole: boolean): void {
    const isAll = whole || (range.start === 0n && range.end === LOCK_END)
    if (isAll && owner.waiting.size === 0) this.#drop(owner)
    else native.lock(owner.slot, range, whole)
  }

  #wait(owner: Owner, id: number): Promise<void> {
    const done = Promise.withResolvers<void>()
    this.#waiting.set(id, { owner, done })
    owner.waiting.add(id)
    return done.promise
  }

  #told(id: number, errno: number): void {
    const waiting = this.#waiting.get(id)
    if (waiting === undefined) return
    const { owner, done } = waiting
    this.#waiting.delete(id)
    owner.waiting.delete(id)
    if (owner.isLeaving) this.#leave(owner)
    if (errno !== 0) done.reject(Errno.numbered(errno))
    else if (owner.isLeaving) done.reject(Errno.of('EINTR'))
    else done.resolve()
  }

  /** Nobody locks by it any more, but what waits must be told first. */
  #leave(owner: Owner): void {
    if (owner.handles.size > 0) return
    owner.isLeaving = true
    for (const id of owner.waiting) this.cancel(id)
    if (owner.waiting.size === 0) this.#drop(owner)
  }

  #drop(owner: Owner): void {
    if (this.#owners.get(owner.key) === owner) this.#owners.delete(owner.key)
    this.#free(owner.slot)
  }

  // ---------------------------------------------------------------------------------------------------------- SQLite

  /** Throws EBUSY when somebody else shares the memory that the file is of. */
  guard(path: ByteString, file: LockedFile): void {
    if (!path.endsWith('-shm') || !file.mayWrite) return
    const native = this.native
    // Then SQLite finds that it can't lock.
    if (native === undefined) return
    const of = fileOf(file)
    let guard = this.#guards.get(of)
    if (guard === undefined) {
      const slot = this.#newSlot()
      try {
        native.guard(slot, file.fd)
      } catch (error) {
        this.#slots.delete(slot)
        throw error === Errno.of('EAGAIN') ? Errno.of('EBUSY') : error
      }
      guard = { slot, handles: new Set() }
      this.#guards.set(of, guard)
    }
    guard.handles.add(file.handle)
  }

  // ----------------------------------------------------------------------------------------------------------- slots

  #newSlot(): number {
    if (this.#slots.size >= SLOTS_MAX) throw Errno.of('ENOLCK')
    do this.#lastSlot = (this.#lastSlot + 1) % SLOTS_MAX
    while (this.#slots.has(this.#lastSlot))
    this.#slots.add(this.#lastSlot)
    return this.#lastSlot
  }

  #free(slot: number): void {
    if (this.#slots.delete(slot)) this.#native?.drop(slot)
  }
}

function fileOf({ device, inode }: LockedFile): string {
  return `${device}:${inode}`
}

function rangeOf({ type, start, end }: { type: number; start: bigint; end: bigint }): Range {
  if (type > LOCK_NONE || start < 0n || end < start) throw Errno.of('EINVAL')
  return { type, start, end }
}
