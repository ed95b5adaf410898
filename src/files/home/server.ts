/**
 * Home's side of the file protocol, for one target: does what the job asks with the rights of the user and no more, within
 * what the target is shown. It runs in a thread of its own and calls the system synchronously, which is several times
 * faster than Node's thread pool; directories are read in turns, so that none holds up the others.
 */

import * as fs from 'node:fs'
import type { ByteString, Time } from '../../protocols/file/bytes.ts'
import {
  type Answer,
  type Attributes,
  decodeRequest,
  type Entry,
  encodeChanged,
  encodeDone,
  encodeEntries,
  encodeFailed,
  encodeReset,
  type FileRequest,
  LOCK_BYTES,
  OPEN,
  type RequestKind,
  SET,
  type Version
} from '../../protocols/file/codec.ts'
import {
  FILE_DATA_BYTES_MAX,
  HANDLES_MAX,
  HASHED_BYTES_MAX,
  INLINE_BYTES_MAX,
  LISTING_BYTES
} from '../../protocols/file/constants.ts'
import { Errno, type ErrnoName } from '../fuse/errno.ts'
import { Hashes } from '../hashes.ts'
import { attributesOfOpen, entryOf, entryWithin, inodeOf, timeOf, withFile } from './attributes.ts'
import { Directories, ElsewhereError, within } from './directories.ts'
import { errnoOf } from './errno-of.ts'
import { type LockedFile, Locks } from './locks.ts'
import { type Native, TIME } from './native.ts'
import type { Unfinished } from './unfinished.ts'
import type { Right, View } from './view.ts'
import { Watcher } from './watcher.ts'

/** Entries of a directory that are read before others have their turn. */
const TURN = 512
/** Bytes of a directory's size for each entry, at least. */
const ENTRY_BYTES_MIN = 12
/** Files that were read lately and are kept open. */
const FETCHED_MAX = 64
/** States of files that the target was told last, by which it is not told its own changes. */
const TOLD_MAX = 4096
/** Bytes copied before others have their turn. */
const COPY_BYTES = 16 * 1024 * 1024
/** renameat2(2): the others are not for jobs. */
const RENAME = { noReplace: 1, exchange: 2 } as const

/** Files that the target read and that wait to be hashed, so that it need not read them next time. */
const UNHASHED_MAX = 1024
/** Files that are hashed at once because the target asks. */
const HASHING_MAX = 64

/** What this process takes from the modes of what it makes. A thread may read it, not set it. */
const umask = process.umask()

type Of<K extends RequestKind> = Extract<FileRequest, { kind: K }>

interface Handle extends LockedFile {
  /** Where it was when it was opened. */
  path: ByteString
  right: Right
  append: boolean
}

/**
 * Why something is refused that no honest target asks for, or only as long as it knows no better:
 *
 * - `denied`: it is not for this target
 * - `absent`: this target is not shown that there is anything
 * - `link`: a link is on the way
 * - `special`: it is neither file nor directory
 * - `handle`: nothing is open by that number
 * - `no job`: none lives that the tree is shown to
 */
export type Refused = 'denied' | 'absent' | 'link' | 'special' | 'handle' | 'no job'

/** The type of a lock request that ends one. */
const UNLOCKED = 2

/** Names that changed while no job lived and are told when the next one does; beyond, everything may have. */
const MISSED_MAX = 4096

export interface HomeServerInit {
  view: View
  /** What is known of files' contents; default: nothing yet. */
  hashes?: Hashes
  /** Hands a frame to the target, all parts in order; false: wait before the next large one. */
  send(parts: Uint8Array[]): void
  /** Resolves when the target took enough of what was sent. */
  drained(): Promise<void>
  /** What was refused; `what` is a path, or which open file. */
  onRefused(what: ByteString, kind: RequestKind, why: Refused): void
  /** Is told what is being made. */
  unfinished?: Unfinished
  /** What jobs rely on is no longer so: nothing more may be served. */
  onFailure(error: Error): void
}

export class HomeServer {
  readonly #init: HomeServerInit
  readonly #view: View
  readonly #directories = new Directories()
  readonly #watcher: Watcher
  /** At most `HANDLES_MAX`. */
  readonly #handles = new Map<number, Handle>()
  /** At most `FETCHED_MAX`, in the order of their last use. */
  readonly #fetched = new Map<ByteString, number>()
  /** At most `TOLD_MAX`, in the order of their last use. */
  readonly #told = new Map<ByteString, Attributes | undefined>()
  readonly #hashes: Hashes
  /** At most `UNHASHED_MAX`; one is hashed at a time. */
  readonly #unhashed = new Set<ByteString>()
  /** Of requests; at most `HASHING_MAX`. */
  #hashing = 0
  readonly #locks: Locks
  #lastHandle = 0
  #lastNews = 0
  #closed = false
  #isLive = true
  /** By directory, while no job lives; at most `MISSED_MAX` in all, undefined when there were more. */
  #missed: Map<ByteString, Set<ByteString>> | undefined
  #missedCount = 0

  constructor(init: HomeServerInit) {
    this.#init = init
    this.#view = init.view
    this.#hashes = init.hashes ?? new Hashes()
    this.#locks = new Locks((error) => init.onFailure(error))
    this.#watcher = new Watcher({
      onChange: (path, names) => this.#changed(path, names),
      onLoss: () => this.#lost()
    })
  }

  /** A frame of the target. Throws ProtocolError, after which it is to be closed. */
  handle(frame: Uint8Array): void {
    if (this.#closed) return
    const request = decodeRequest(frame)
    try {
      if (!this.#isLive && !letsGo(request)) this.#refuse(whatOf(request), request.kind, 'no job', 'EACCES')
      if (request.kind === 'list') void this.#list(request)
      else if (request.kind === 'lock') void this.#lock(request)
      else if (request.kind === 'hash') void this.#hash(request)
      else this.#init.send(encodeDone(request.id, this.#answer(request)))
    } catch (error) {
      this.#fail(request, error)
    }
  }

  /** While no job lives that the tree is shown to, nothing is answered, and news wait for the next one. */
  live(isLive: boolean): void {
    if (isLive === this.#isLive) return
    this.#isLive = isLive
    const missed = this.#missed
    this.#missed = isLive ? undefined : new Map()
    this.#missedCount = 0
    if (!isLive) return
    if (missed === undefined) this.#lost()
    for (const [path, names] of missed ?? []) this.#changed(path, names)
  }

  /** Tells what has changed until now; the number of the last news. */
  async settle(): Promise<number> {
    // What the kernel has for us is read in the loop's own phase.
    await new Promise((resolve) => setImmediate(resolve))
    await new Promise((resolve) => setImmediate(resolve))
    this.#watcher.flush()
    return this.#lastNews
  }

  close(): void {
    this.#closed = true
    this.#watcher.close()
    this.#directories.close()
    this.#locks.close()
    for (const { fd } of this.#handles.values()) fs.closeSync(fd)
    for (const fd of this.#fetched.values()) fs.closeSync(fd)
    this.#handles.clear()
    this.#fetched.clear()
  }

  #fail(request: FileRequest, error: unknown): void {
    const isLink = error instanceof ElsewhereError || (error as NodeJS.ErrnoException).code === 'ELOOP'
    if (isLink) this.#init.onRefused(whatOf(request), request.kind, 'link')
    else if (error === Errno.of('EBADF')) this.#init.onRefused(whatOf(request), request.kind, 'handle')
    this.#init.send(encodeFailed(request.id, errnoOf(error)))
  }

  #answer(request: Exclude<FileRequest, { kind: 'list' | 'lock' | 'hash' }>): Answer {
    switch (request.kind) {
      case 'stat':
        return this.#stat(request.path)
      case 'fetch':
        return this.#fetch(request)
      case 'open':
        return this.#open(request)
      case 'read':
        return { data: readAt(this.#handle(request.handle).fd, request.offset, request.length) }
      case 'write':
        return this.#write(request)
      case 'close':
        return this.#close(request.handle)
      case 'sync':
        return this.#sync(request)
      case 'change':
        return this.#change(request)
      case 'makeDirectory':
        return this.#made(request.path, request.kind, (path) => {
          fs.mkdirSync(path, request.mode & 0o7777)
          // Our own umask is not the job's.
          if (request.mode & umask) fs.chmodSync(path, request.mode & 0o7777)
        })
      case 'makeNode':
        return this.#made(request.path, request.kind, (path, at, name) =>
          makeNode(this.#locks.native, path, at, name, request.mode)
        )
      case 'makeLink':
        return this.#made(request.path, request.kind, (path) =>
          fs.symlinkSync(Buffer.from(request.link, 'latin1'), path)
        )
      case 'addName':
        return this.#addName(request)
      case 'remove':
        return this.#remove(request.path, request.kind, fs.unlinkSync)
      case 'removeDirectory':
        return this.#remove(request.path, request.kind, fs.rmdirSync)
      case 'rename':
        return this.#rename(request)
      case 'space':
        return this.#space(request.path)
      case 'allocate':
        return this.#allocate(request)
      case 'seek':
        return {
          value: this.#mustHave().seek(this.#handle(request.handle).fd, request.offset, request.whence)
        }
      case 'copy':
        return this.#copy(request)
      case 'testLock':
        return this.#testLock(request)
      case 'cancel':
        this.#locks.cancel(request.request)
        return {}
    }
  }

  // -------------------------------------------------------------------------------------------------------- rights

  /** Throws unless the target may do that with a path. */
  #mayRead(path: ByteString, kind: RequestKind): Right {
    const right = this.#view.right(path)
    if (right === 'absent') this.#refuse(path, kind, 'absent', 'ENOENT')
    if (right === 'denied') this.#refuse(path, kind, 'denied', 'EACCES')
    return right
  }

  #mayWrite(path: ByteString, kind: RequestKind): Right {
    const right = this.#view.right(path)
    if (right === 'write') return right
    return this.#refuse(path, kind, 'denied', right === 'denied' ? 'EACCES' : 'EROFS')
  }

  #refuse(what: ByteString, kind: RequestKind, why: Refused, errno: ErrnoName): never {
    this.#init.onRefused(what, kind, why)
    throw Errno.of(errno)
  }

  #handle(handle: number): Handle {
    const held = this.#handles.get(handle)
    if (held === undefined) throw Errno.of('EBADF')
    return held
  }

  // ------------------------------------------------------------------------------------------------------- reading

  #stat(path: ByteString): Answer {
    const right = this.#view.right(path)
    if (right === 'absent') this.#refuse(path, 'stat', 'absent', 'ENOENT')
    if (path === '/') return { attributes: attributesOfOpen(this.#directories.open(path), right) }
    const [directory, name] = split(path)
    const { attributes, link } = entryWithin(this.#directories.open(directory), name, right)
    if (attributes === undefined) throw Errno.of('ENOENT')
    this.#told.delete(path)
    return link === undefined ? { attributes } : { attributes, data: Buffer.from(link, 'latin1') }
  }

  /** In turns: what is sent is bounded by what the target takes. */
  async #list(request: Of<'list'>): Promise<void> {
    const { id, path, most } = request
    let fd: number | undefined
    try {
      const right = this.#mayRead(path, 'list')
      const directory = this.#directories.open(path)
      const isWatched = this.#watcher.add(path, directory)
      // Others may have the directory closed meanwhile.
      fd = fs.openSync(`/proc/self/fd/${directory}`, fs.constants.O_DIRECTORY)
      const names = right === 'empty' ? [] : namesOf(fd, most)
      if (names === undefined) {
        const none = encodeEntries(id, [], LISTING_BYTES, { last: true, watched: isWatched, large: true })
        for (const frame of none) this.#init.send([frame])
        return
      }
      const isMixed = right === 'pass' || this.#view.isMixed(path)
      for (let from = 0; ; from += TURN) {
        const entries: Entry[] = []
        for (const name of names.slice(from, from + TURN)) {
          const entry = isMixed
            ? entryOf(fd, path, name, this.#view, this.#hashes)
            : entryWithin(fd, name, right, this.#hashes)
          if (entry.attributes === undefined) continue
          entries.push(entry)
          this.#told.delete(join(path, name))
        }
        const isLast = from + TURN >= names.length
        const own = isLast ? attributesOfOpen(fd, right) : undefined
        const frames = encodeEntries(id, entries, LISTING_BYTES, { last: isLast, watched: isWatched, own })
        for (const frame of frames) this.#init.send([frame])
        if (isLast) return
        await this.#init.drained()
        await new Promise((resolve) => setImmediate(resolve))
        if (this.#closed) return
        if (!this.#isLive) throw Errno.of('EACCES')
      }
    } catch (error) {
      this.#fail(request, error)
    } finally {
      if (fd !== undefined) fs.closeSync(fd)
    }
  }

  #fetch({ path, version, offset, length }: Of<'fetch'>): Answer {
    const right = this.#mayRead(path, 'fetch')
    let fd = this.#fetched.get(path)
    if (fd !== undefined && !isSame(fd, version)) {
      this.#forget(path)
      fd = undefined
    }
    if (fd === undefined) {
      fd = this.#openRegular(path, fs.constants.O_RDONLY, 0)
      this.#keep(path, fd)
      this.#hashLater(path, fd)
    }
    if (!isSame(fd, version)) throw Errno.of('ESTALE')
    const data = readAt(fd, offset, length)
    return { data, attributes: attributesOfOpen(fd, right) }
  }

  async #hash(request: Of<'hash'>): Promise<void> {
    const { id, path, version } = request
    let fd: number | undefined
    try {
      this.#mayRead(path, 'hash')
      if (this.#hashing >= HASHING_MAX) throw Errno.of('EAGAIN')
      fd = this.#openRegular(path, fs.constants.O_RDONLY, 0)
      if (!isSame(fd, version) || version.size > HASHED_BYTES_MAX) throw Errno.of('ESTALE')
      this.#hashing++
      const hash = await this.#hashes.hash(fd).finally(() => this.#hashing--)
      if (hash === undefined || !isSame(fd, version)) throw Errno.of('ESTALE')
      if (!this.#isLive) throw Errno.of('EACCES')
      if (!this.#closed) this.#init.send(encodeDone(id, { data: new Uint8Array(Buffer.from(hash, 'latin1')) }))
    } catch (error) {
      if (!this.#closed) this.#fail(request, error)
    } finally {
      if (fd !== undefined) fs.closeSync(fd)
    }
  }

  /** What a target has read once is read again by the next. */
  #hashLater(path: ByteString, fd: number): void {
    const stats = fs.fstatSync(fd, { bigint: true })
    if (
      this.#unhashed.size >= UNHASHED_MAX ||
      stats.size > HASHED_BYTES_MAX ||
      !this.#hashes.isSettled(stats) ||
      this.#hashes.get(stats)
    )
      return
    this.#unhashed.add(path)
    if (this.#unhashed.size === 1) void this.#hashAll()
  }

  /** One after the other, behind the requests that are there. */
  async #hashAll(): Promise<void> {
    for (const path of this.#unhashed) {
      await new Promise((resolve) => setImmediate(resolve))
      if (this.#closed) return
      let fd: number | undefined
      try {
        this.#mayRead(path, 'hash')
        fd = this.#openRegular(path, fs.constants.O_RDONLY, 0)
        await this.#hashes.hash(fd)
      } catch {
        // It is not there any more, or can't be read: nothing is known of it.
      } finally {
        if (fd !== undefined) fs.closeSync(fd)
        this.#unhashed.delete(path)
      }
    }
  }

  #keep(path: ByteString, fd: number): void {
    this.#forget(path)
    const [oldest] = this.#fetched.keys()
    if (this.#fetched.size >= FETCHED_MAX) this.#forget(oldest!)
    this.#fetched.set(path, fd)
  }

  #forget(path: ByteString): void {
    const fd = this.#fetched.get(path)
    if (fd === undefined) return
    this.#fetched.delete(path)
    fs.closeSync(fd)
  }

  /** Nothing but a regular file is ever opened: devices and FIFOs act when they are. */
  #openRegular(path: ByteString, flags: number, mode: number): number {
    const [directory, name] = split(path)
    const at = this.#directories.open(directory)
    const there = fs.lstatSync(within(at, name), { throwIfNoEntry: false })
    if (there?.isDirectory()) throw Errno.of('EISDIR')
    if (there !== undefined && !there.isFile()) {
      this.#refuse(path, 'open', there.isSymbolicLink() ? 'link' : 'special', 'ENXIO')
    }
    const { O_NOFOLLOW, O_NONBLOCK, O_NOCTTY } = fs.constants
    const { O_CREAT } = fs.constants
    const makes = there === undefined && (flags & O_CREAT) !== 0
    const fd = fs.openSync(within(at, name), flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, mode)
    const is = fs.fstatSync(fd)
    if (!is.isFile()) {
      fs.closeSync(fd)
      throw Errno.of('ENXIO')
    }
    // Our own umask is not the job's.
    if (makes && is.size === 0 && (is.mode & 0o7777) === (mode & ~umask)) fs.fchmodSync(fd, mode)
    return fd
  }

  #open({ path, flags, mode, version }: Of<'open'>): Answer {
    const forWriting = (flags & 3) !== OPEN.read || (flags & (OPEN.truncate | OPEN.create)) !== 0
    const right = forWriting ? this.#mayWrite(path, 'open') : this.#mayRead(path, 'open')
    if ((flags & OPEN.handle) !== 0 && this.#handles.size >= HANDLES_MAX) throw Errno.of('EMFILE')
    const fd = this.#openRegular(path, openFlags(flags), mode & 0o7777)
    let kept = false
    try {
      const attributes = attributesOfOpen(fd, right)
      const data = inlineOf(fd, flags, attributes, version)
      const answer: Answer = data === undefined ? { attributes } : { attributes, data }
      if ((flags & OPEN.create) !== 0) answer.parent = this.#parentOf(path)
      this.#tell(path, attributes)
      if ((flags & OPEN.handle) !== 0) {
        const { device, inode } = attributes
        const handle = this.#nextHandle()
        const append = (flags & OPEN.append) !== 0
        const held = { handle, fd, path, device, inode, right, append, mayWrite: right === 'write' }
        this.#locks.guard(path, held)
        answer.handle = handle
        if (makes(flags, attributes)) this.#init.unfinished?.add(answer.handle, path, fd)
        this.#handles.set(handle, held)
      } else {
        this.#keep(path, fd)
        this.#hashLater(path, fd)
      }
      kept = true
      return answer
    } finally {
      if (!kept) fs.closeSync(fd)
    }
  }

  // ------------------------------------------------------------------------------------------------------- writing

  #write({ handle, offset, data }: Of<'write'>): Answer {
    const { fd, path, right, append } = this.#handle(handle)
    const isOurs = isSameState(this.#told.get(path), attributesOfOpen(fd, right))
    let written = 0
    while (written < data.length) {
      written += fs.writeSync(fd, data, written, data.length - written, append ? null : offset + written)
    }
    // The target knows what it writes, but not what somebody else wrote before.
    if (isOurs) this.#tell(path, attributesOfOpen(fd, right))
    return { value: written }
  }

  #close(handle: number): Answer {
    const held = this.#handle(handle)
    const { fd, right } = held
    const attributes = attributesOfOpen(fd, right)
    this.#locks.closed(held)
    this.#handles.delete(handle)
    this.#init.unfinished?.delete(handle)
    fs.closeSync(fd)
    return { attributes }
  }

  #sync({ handle, what }: Of<'sync'>): Answer {
    const { fd, right } = this.#handle(handle)
    if (what === 1) fs.fsyncSync(fd)
    else if (what === 2) fs.fdatasyncSync(fd)
    return { attributes: attributesOfOpen(fd, right) }
  }

  #allocate({ handle, mode, offset, length }: Of<'allocate'>): Answer {
    const { fd, right } = this.#handle(handle)
    this.#mustHave().allocate(fd, mode, offset, length)
    return { attributes: attributesOfOpen(fd, right) }
  }

  #copy({ handle, offset, toHandle, toOffset, length }: Of<'copy'>): Answer {
    const [from, to] = [this.#handle(handle), this.#handle(toHandle)]
    const value = this.#mustHave().copy(from.fd, offset, to.fd, toOffset, Math.min(length, COPY_BYTES))
    return { value, attributes: attributesOfOpen(to.fd, to.right) }
  }

  /** The kernel of the target takes ENOSYS for good, and does what it can itself. */
  #mustHave(): Native {
    const { native } = this.#locks
    if (native === undefined) throw Errno.of('ENOSYS')
    return native
  }

  #change(request: Of<'change'>): Answer {
    const held = request.handle === 0 ? undefined : this.#handle(request.handle)
    // What has no name any more is asked for at the root: the right is that by which it was opened.
    const right = held?.right === 'write' ? held.right : this.#mayWrite(request.path, 'change')
    if (held !== undefined) {
      change(`/proc/self/fd/${held.fd}`, request, held.fd, true, this.#locks)
      return { attributes: attributesOfOpen(held.fd, right) }
    }
    const [directory, name] = split(request.path)
    const attributes = withFile(this.#directories.open(directory), name, (path, fd) => {
      const isLink = fs.fstatSync(fd).isSymbolicLink()
      if (isLink && (request.set & (SET.mode | SET.size)) !== 0) throw Errno.of('EPERM')
      change(path, request, fd, false, this.#locks)
      return attributesOfOpen(fd, right)
    })
    this.#tell(request.path, attributes)
    return { attributes }
  }

  /** Whoever makes something wants to know what it is. */
  #made(
    path: ByteString,
    kind: RequestKind,
    make: (path: string | Buffer, directory: number, name: ByteString) => void
  ): Answer {
    const right = this.#mayWrite(path, kind)
    const [directory, name] = split(path)
    const at = this.#directories.open(directory)
    make(within(at, name), at, name)
    const { attributes } = entryWithin(at, name, right)
    if (attributes) this.#tell(path, attributes)
    return { attributes, parent: this.#parentOf(path) }
  }

  /** The directory that holds a name, as it is after a change; undefined: somebody else has moved it. */
  #parentOf(path: ByteString): Attributes | undefined {
    const [directory] = split(path)
    try {
      return attributesOfOpen(this.#directories.open(directory), this.#view.right(directory))
    } catch {
      return undefined
    }
  }

  #addName({ path, to }: Of<'addName'>): Answer {
    this.#mayWrite(path, 'addName')
    const [directory, name] = split(path)
    // Opening the second directory may close the first.
    const from = fs.openSync(`/proc/self/fd/${this.#directories.open(directory)}`, fs.constants.O_DIRECTORY)
    try {
      return this.#made(to, 'addName', (target) => fs.linkSync(within(from, name), target))
    } finally {
      fs.closeSync(from)
    }
  }

  #remove(path: ByteString, kind: RequestKind, remove: (path: string | Buffer) => void): Answer {
    this.#mayWrite(path, kind)
    const [directory, name] = split(path)
    remove(within(this.#directories.open(directory), name))
    this.#forget(path)
    this.#tell(path, undefined)
    return { parent: this.#parentOf(path) }
  }

  #rename({ path, to, flags }: Of<'rename'>): Answer {
    this.#mayWrite(path, 'rename')
    this.#mayWrite(to, 'rename')
    if (this.#view.isMixed(path) || this.#view.isMixed(to)) this.#refuse(path, 'rename', 'denied', 'EACCES')
    if ((flags & ~(RENAME.noReplace | RENAME.exchange)) !== 0) throw Errno.of('EINVAL')
    const [directory, name] = split(path)
    const [toDirectory, toName] = split(to)
    const from = fs.openSync(`/proc/self/fd/${this.#directories.open(directory)}`, fs.constants.O_DIRECTORY)
    this.#watcher.flush()
    try {
      const into = this.#directories.open(toDirectory)
      if (flags === 0) fs.renameSync(within(from, name), within(into, toName))
      else this.#mustHave().rename(from, name, into, toName, flags)
      // What was told of what is below it was told by other paths.
      const isDirectory = fs.lstatSync(within(into, toName), { throwIfNoEntry: false })?.isDirectory()
      if (flags !== 0 || isDirectory) this.#told.clear()
    } finally {
      fs.closeSync(from)
    }
    const kind = flags & RENAME.exchange ? 'exchange' : 'move'
    this.#watcher[kind](path, to)
    this.#init.unfinished?.[kind](path, to)
    this.#forget(path)
    this.#forget(to)
    return {}
  }

  #space(path: ByteString): Answer {
    this.#mayRead(path, 'space')
    const { bsize, blocks, bfree, bavail, files, ffree } = fs.statfsSync(
      `/proc/self/fd/${this.#directories.open(path)}`
    )
    const data = Buffer.alloc(48)
    for (const [index, value] of [bsize, blocks, bfree, bavail, files, ffree].entries())
      data.writeBigUInt64BE(BigInt(value), index * 8)
    return { data }
  }

  // ---------------------------------------------------------------------------------------------------------- locks

  /** Whoever has a lock sees what others did before: the news of that go before the answer. */
  async #lock(request: Of<'lock'>): Promise<void> {
    const { id, handle } = request
    try {
      const waiting = this.#locks.lock(this.#handle(handle), id, request)
      if (waiting !== undefined) await waiting
      if (request.type !== 2) await this.settle()
      if (this.#closed) return
      const held = this.#handles.get(handle)
      this.#init.send(encodeDone(id, held === undefined ? {} : { attributes: attributesOfOpen(held.fd, held.right) }))
    } catch (error) {
      if (!this.#closed) this.#fail(request, error)
    }
  }

  #testLock(request: Of<'testLock'>): Answer {
    const { type, start, end } = this.#locks.test(this.#handle(request.handle), request)
    const data = Buffer.alloc(LOCK_BYTES)
    data[0] = type
    data.writeBigInt64BE(start, 1)
    data.writeBigInt64BE(end, 9)
    return { data }
  }

  // ---------------------------------------------------------------------------------------------------------- news

  #lost(): void {
    if (!this.#isLive) {
      this.#missed = undefined
      return
    }
    this.#init.send(encodeReset(this.#nextNews()))
  }

  #changed(path: ByteString, names: ReadonlySet<ByteString>): void {
    if (!this.#isLive) {
      this.#miss(path, names)
      return
    }
    try {
      const fd = this.#directories.open(path)
      const entries: Entry[] = []
      for (const name of names) {
        const entry = entryOf(fd, path, name, this.#view, this.#hashes)
        const whole = join(path, name)
        if (entry.attributes === undefined) this.#watcher.drop(whole)
        if (this.#told.has(whole) && isSameState(this.#told.get(whole), entry.attributes)) continue
        this.#told.delete(whole)
        entries.push(entry)
      }
      if (entries.length === 0) return
      for (const frame of encodeChanged(() => this.#nextNews(), path, entries, LISTING_BYTES)) this.#init.send([frame])
    } catch {
      // It is gone, or elsewhere: what was in it is not known any more.
      for (const frame of encodeChanged(() => this.#nextNews(), path, [], LISTING_BYTES)) this.#init.send([frame])
    }
  }

  #miss(path: ByteString, names: ReadonlySet<ByteString>): void {
    if (this.#missed === undefined) return
    const known = this.#missed.get(path) ?? new Set()
    const before = known.size
    for (const name of names) known.add(name)
    this.#missed.set(path, known)
    this.#missedCount += known.size - before + 1
    if (this.#missedCount > MISSED_MAX) this.#missed = undefined
  }

  /** The target knows this state; undefined: that there is no such file. */
  #tell(path: ByteString, attributes: Attributes | undefined): void {
    this.#told.delete(path)
    if (this.#told.size >= TOLD_MAX) this.#told.delete(this.#told.keys().next().value!)
    this.#told.set(path, attributes)
  }

  #nextNews(): number {
    this.#lastNews = (this.#lastNews + 1) % 2 ** 32
    return this.#lastNews
  }

  #nextHandle(): number {
    do this.#lastHandle = (this.#lastHandle % (2 ** 32 - 1)) + 1
    while (this.#handles.has(this.#lastHandle))
    return this.#lastHandle
  }
}

/** All names in a directory; undefined: they are more than `most`, which is known without reading them all. */
function namesOf(fd: number, most: number): ByteString[] | undefined {
  const path = `/proc/self/fd/${fd}`
  if (fs.fstatSync(fd).size > most * ENTRY_BYTES_MIN) {
    const directory = fs.opendirSync(path, { bufferSize: TURN })
    try {
      let count = 0
      while (count <= most && directory.readSync() !== null) count++
      if (count > most) return undefined
    } finally {
      directory.closeSync()
    }
  }
  const names = fs.readdirSync(path, 'latin1')
  return names.length > most ? undefined : names
}

/** Devices and sockets are not for jobs. */
function makeNode(
  native: Native | undefined,
  path: string | Buffer,
  directory: number,
  name: ByteString,
  mode: number
): void {
  const type = mode & fs.constants.S_IFMT
  const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = fs.constants
  if (type === 0 || type === fs.constants.S_IFREG) {
    const fd = fs.openSync(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode & 0o7777)
    if (mode & umask) fs.fchmodSync(fd, mode & 0o7777)
    fs.closeSync(fd)
    return
  }
  if (type !== fs.constants.S_IFIFO || native === undefined) throw Errno.of('EPERM')
  native.makeFifo(directory, name, mode & 0o7777)
}

/**
 * What a job has left open is closed and unlocked after its end, and what it waited for is given up; and what it was making
 * when it was killed is dated 1970 first.
 */
function letsGo(request: FileRequest): boolean {
  const { kind } = request
  if (kind === 'change') {
    const { handle, set, modified } = request
    return handle !== 0 && set === SET.modified && modified.s === 0 && modified.ns === 0
  }
  return kind === 'close' || kind === 'cancel' || (kind === 'lock' && request.type === UNLOCKED)
}

function whatOf(request: FileRequest): ByteString {
  if ('path' in request) return request.path
  return 'handle' in request ? `handle ${request.handle}` : request.kind
}

function split(path: ByteString): [ByteString, ByteString] {
  const slash = path.lastIndexOf('/')
  const name = path.slice(slash + 1)
  if (name === '') throw Errno.of('EACCES')
  return [slash === 0 ? '/' : path.slice(0, slash), name]
}

function join(directory: ByteString, name: ByteString): ByteString {
  return directory === '/' ? `/${name}` : `${directory}/${name}`
}

function openFlags(flags: number): number {
  const { O_APPEND, O_CREAT, O_EXCL, O_TRUNC } = fs.constants
  const access = flags & 3
  return (
    access |
    (flags & OPEN.append ? O_APPEND : 0) |
    (flags & OPEN.truncate ? O_TRUNC : 0) |
    (flags & OPEN.create ? O_CREAT : 0) |
    (flags & OPEN.exclusive ? O_EXCL : 0)
  )
}

/** It is written from its beginning; what is appended to is whole as it is. */
function makes(flags: number, { size }: Attributes): boolean {
  return (
    (flags & 3) !== OPEN.read &&
    size === 0 &&
    (flags & (OPEN.create | OPEN.truncate)) !== 0 &&
    (flags & OPEN.append) === 0
  )
}

/** What the target does not have of a small file. */
function inlineOf(
  fd: number,
  flags: number,
  { inode, size, modified }: Attributes,
  known: Version
): Uint8Array | undefined {
  if ((flags & 3) === OPEN.write || size === 0 || size > INLINE_BYTES_MAX) return undefined
  if (known.inode === inode && known.size === size && isAt(known.modified, modified)) return undefined
  return readAt(fd, 0, size)
}

function isSame(fd: number, { inode, size, modified }: Version): boolean {
  const stats = fs.fstatSync(fd, { bigint: true })
  return inodeOf(stats.ino) === inode && Number(stats.size) === size && isAt(modified, timeOf(stats.mtimeNs))
}

/** The clock of files may stand still for some ms: the time of a change alone does not tell. */
function isSameState(a: Attributes | undefined, b: Attributes | undefined): boolean {
  if (a === undefined || b === undefined) return a === b
  if (a.inode !== b.inode || a.device !== b.device || a.mode !== b.mode || a.links !== b.links) return false
  return a.size === b.size && isAt(a.modified, b.modified) && isAt(a.changed, b.changed)
}

function isAt(a: Time | undefined, b: Time): boolean {
  return a !== undefined && a.s === b.s && a.ns === b.ns
}

/** Fewer bytes only at the end of the file. */
function readAt(fd: number, offset: number, length: number): Uint8Array {
  const data = Buffer.allocUnsafeSlow(Math.min(length, FILE_DATA_BYTES_MAX))
  let filled = 0
  while (filled < data.length) {
    const count = fs.readSync(fd, data, filled, data.length - filled, offset + filled)
    if (count === 0) break
    filled += count
  }
  return data.subarray(0, filled)
}

/** `path` is that of /proc/self/fd, which leads to the file itself; only what is open can be written by its descriptor. */
function change(path: string, request: Of<'change'>, fd: number, isOpen: boolean, locks: Locks): void {
  const { set } = request
  if (set & (SET.uid | SET.gid)) {
    const keep = 2 ** 32 - 1
    fs.chownSync(path, set & SET.uid ? request.uid : keep, set & SET.gid ? request.gid : keep)
  }
  if (set & SET.mode) fs.chmodSync(path, request.mode & 0o7777)
  if (set & SET.size) {
    if (isOpen) fs.ftruncateSync(fd, request.size)
    else fs.truncateSync(path, request.size)
  }
  if ((set & (SET.accessed | SET.modified | SET.accessedNow | SET.modifiedNow)) === 0) return
  const { native } = locks
  if (native === undefined) setTimes(path, request)
  else native.setTimes(fd, ...exactTimes(request))
}

function exactTimes({ set, accessed, modified }: Of<'change'>): [Time, Time] {
  return [
    set & SET.accessedNow ? TIME.now : set & SET.accessed ? accessed : TIME.asItIs,
    set & SET.modifiedNow ? TIME.now : set & SET.modified ? modified : TIME.asItIs
  ]
}

/** To a quarter of a microsecond: more Node can't. */
function setTimes(path: string, { set, accessed, modified }: Of<'change'>): void {
  const stats = fs.statSync(path)
  const now = Date.now() / 1000
  const time = (given: number, isNow: number, { s, ns }: Time, oldMs: number) =>
    set & isNow ? now : set & given ? s + ns / 1e9 : oldMs / 1000
  fs.utimesSync(
    path,
    time(SET.accessed, SET.accessedNow, accessed, stats.atimeMs),
    time(SET.modified, SET.modifiedNow, modified, stats.mtimeMs)
  )
}
