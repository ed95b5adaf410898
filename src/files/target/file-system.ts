/**
 * Home's tree as the kernel of the target asks for it. What is known is answered at once, names that are not there too;
 * everything else is home's to answer, with the errno that the same call gives there.
 */

import type { ByteString } from '../../protocols/file/bytes.ts'
import {
  type Attributes,
  type Answer as HomesAnswer,
  OPEN,
  type RequestFields,
  SET,
  UNKNOWN
} from '../../protocols/file/codec.ts'
import { LIST_ALL, NAME_BYTES_MAX } from '../../protocols/file/constants.ts'
import { FOPEN } from '../fuse/constants.ts'
import { Errno } from '../fuse/errno.ts'
import type { Answer, FileSystemOperations } from '../fuse/operations.ts'
import type * as Reply from '../fuse/replies.ts'
import type * as Ask from '../fuse/requests.ts'
import type { Cache } from './cache.ts'
import { whyClosing } from './closing.ts'
import { Locks } from './locks.ts'
import { isSameVersion, type Known, MOMENT, type Node, type Nodes, pathIn } from './nodes.ts'
import { OpenFiles } from './open-files.ts'
import type { Remote } from './remote.ts'
import { FEW_NAMES, type Replay } from './replay.ts'
import { uses } from './techniques.ts'

/** open(2), as the kernel gives it: the same on all machines that kappa runs on. */
const O_CREAT = 0o100
const O_EXCL = 0o200
const O_TRUNC = 0o1000
const O_APPEND = 0o2000

/** ms in which what is made is taken to be made by a program that ends with it. */
const MAKING_MS = 60_000

/** renameat2(2): RENAME_EXCHANGE, and with RENAME_NOREPLACE all that home does. */
const EXCHANGE = 2
const RENAME_FLAGS = 3

/** A directory that moves as fast as it is listed. */
const TRIES = 5

/** Who nobody here is: owners that have no number in the job's user namespace. */
const NOBODY = 65_534

/** What was in it when it was opened or last read from the beginning. */
interface OpenDirectory {
  names: [ByteString, Known][]
  isBegun: boolean
}

export interface FileSystemInit {
  remote: Remote
  nodes: Nodes
  cache: Cache
  replay: Replay
  /** Of the user at home, whose files are the job's own here. */
  uid: number
  gid: number
  now(): number
  /** Resolves when the kernel has forgotten what it was told to forget by now. */
  forgotten(): Promise<unknown>
}

export class FileSystem implements FileSystemOperations {
  readonly #remote: Remote
  readonly #nodes: Nodes
  readonly #replay: Replay
  readonly #files: OpenFiles
  readonly #locks: Locks
  readonly #uid: number
  readonly #gid: number
  readonly #now: () => number
  /** Directories being read, by handle; as many as the jobs' programs have open. */
  readonly #directories = new Map<number, OpenDirectory>()
  #lastDirectory = 0
  /** What programs wrote that went on to others by exec; not more than wait for a place among the requests to home. */
  readonly #later = new Set<Promise<unknown>>()

  constructor({ remote, nodes, cache, replay, uid, gid, now, forgotten }: FileSystemInit) {
    this.#remote = remote
    this.#nodes = nodes
    this.#replay = replay
    this.#files = new OpenFiles(remote, nodes, cache)
    this.#locks = new Locks({ remote, nodes, files: this.#files, forgotten })
    this.#uid = uid
    this.#gid = gid
    this.#now = now
  }

  // --------------------------------------------------------------------------------------------------------- names

  lookup(request: Ask.NameRequest): Answer<Reply.Entry | Reply.NoEntry> {
    const directory = this.#nodes.get(request.nodeid)
    if (request.name.length > NAME_BYTES_MAX) return Errno.of('ENAMETOOLONG')
    const listing = this.#nodes.listing(directory)
    if (listing === undefined) return this.#list(directory, false).then(() => this.#found(directory, request.name))
    return this.#found(directory, request.name)
  }

  #found(directory: Node, name: ByteString): Answer<Reply.Entry | Reply.NoEntry> {
    const listing = directory.listing
    // Home's news came before the answer was used: the kernel asks again.
    if (listing === undefined) return { nodeid: 0, entryValidMs: 0 }
    const node = this.#nodes.at(directory, listing, name)
    if (node === undefined && !listing.isWhole && !listing.absent.has(name)) return this.#seek(directory, name)
    if (node === undefined) return { nodeid: 0, entryValidMs: this.#nodes.absent(listing, name) }
    const validMs = listing.isWatched ? Number.POSITIVE_INFINITY : MOMENT
    if (node.isDirectory || this.#isKnown(node)) return this.#entry(node, validMs)
    // The kernel believes the size that comes with a name, whatever is said of its validity.
    return this.#refresh(node, undefined).then(() => this.#entry(node, validMs))
  }

  /** One name in a directory that has too many. */
  async #seek(directory: Node, name: ByteString): Promise<Reply.Entry | Reply.NoEntry> {
    try {
      const { attributes, data } = await this.#remote.ask('stat', { path: pathIn(directory, name) })
      if (attributes === undefined) throw Errno.of('EIO')
      const link = data === undefined || data.length === 0 ? undefined : Buffer.from(data).toString('latin1')
      const node = this.#nodes.found(directory, name, attributes, link)
      if (node.writers > 0 && !this.#isKnown(node)) await this.#refresh(node, undefined)
      return this.#entry(node, this.#validMs(directory))
    } catch (error) {
      if (error !== Errno.of('ENOENT')) throw error
      const { listing } = directory
      return { nodeid: 0, entryValidMs: listing === undefined ? 0 : this.#nodes.absent(listing, name) }
    }
  }

  /** Counts as a lookup. */
  #entry(node: Node, entryValidMs: number): Reply.Entry {
    node.lookups++
    return { nodeid: node.id, generation: 0, entryValidMs, ...this.#attributesOf(node) }
  }

  #validMs(directory: Node): number {
    return directory.listing?.isWatched ? Number.POSITIVE_INFINITY : 0
  }

  forget(nodeid: number, count: number): void {
    this.#nodes.forget(nodeid, count)
  }

  /** Names can be looked up after that; with `isWhole`, all are known. */
  #list(directory: Node, isWhole: boolean): Promise<void> {
    const { listed } = directory
    if (listed !== undefined) {
      if (!isWhole) return listed.begun
      if (listed.isWhole) return listed.ended
      return listed.ended.then(() => (directory.listing?.isWhole ? undefined : this.#list(directory, true)))
    }
    const begun = Promise.withResolvers<void>()
    const ended = this.#listed(directory, isWhole, begun.resolve).finally(() => {
      directory.listed = undefined
    })
    ended.then(begun.resolve, begun.reject)
    begun.promise.catch(() => {})
    directory.listed = { isWhole, begun: begun.promise, ended }
    return isWhole ? ended : begun.promise
  }

  async #listed(directory: Node, isWhole: boolean, onBegun: () => void): Promise<void> {
    for (let tries = 1; tries <= TRIES; tries++) {
      let isLarge = false
      directory.meanwhile = new Map()
      const { entries, isWatched, own } = await this.#replay.list(
        directory.path,
        isWhole ? LIST_ALL : FEW_NAMES,
        (listed) => {
          // Who looks for one name need not wait for all.
          isLarge = listed.isLarge || listed.entries.length > FEW_NAMES
          if (isLarge) this.#nodes.begin(directory, listed.isWatched && uses('news'))
          if (isLarge) onBegun()
        }
      )
      if (isLarge && !isWhole) {
        directory.meanwhile = undefined
        return
      }
      if (this.#nodes.list(directory, entries, isWatched && uses('news'), own)) return
    }
  }

  // ---------------------------------------------------------------------------------------------------- attributes

  #attributesOf(node: Node): Reply.AttributesReply {
    const left = node.freshUntil - this.#now()
    return { attributes: this.#shown(node.attributes), attributesValidMs: node.writers > 0 ? 0 : Math.max(0, left) }
  }

  /**
   * The job's user owns here what is its own at home. Others have no number here; the kernel lets nobody write to what
   * belongs to such, so that what the user may write there is shown as the user's too.
   */
  #shown(a: Attributes): Reply.Attributes {
    const mayWrite = (a.access & 2) !== 0
    return {
      inode: a.inode,
      size: a.size,
      blocks: a.blocks,
      accessed: a.accessed,
      modified: a.modified,
      changed: a.changed,
      mode: a.mode,
      links: a.links,
      uid: a.uid === this.#uid || mayWrite ? 0 : NOBODY,
      gid: a.gid === this.#gid || mayWrite ? 0 : NOBODY,
      device: a.rdev,
      blockBytes: 4096
    }
  }

  getattr(request: Ask.GetattrRequest): Answer<Reply.AttributesReply> {
    const node = this.#nodes.get(request.nodeid)
    if (this.#isKnown(node)) return this.#attributesOf(node)
    const draft = this.#files.draftOf(node)
    // With a handle the kernel asks for the size alone, to read: the other attributes would make it forget its pages.
    if (draft !== undefined && request.handle !== undefined) {
      return { attributes: this.#shown({ ...node.attributes, size: draft.size }), attributesValidMs: 0 }
    }
    return this.#refresh(node, request.handle).then(() => this.#attributesOf(node))
  }

  #isKnown(node: Node): boolean {
    return node.freshUntil > this.#now() || this.#files.draftOf(node)?.isKnown === true
  }

  async #refresh(node: Node, handle: number | undefined): Promise<void> {
    // It is on its way with all that is in it.
    if (node.isDirectory && node.listing === undefined && this.#replay.has(node.path)) {
      await this.#list(node, false)
      if (node.freshUntil > this.#now()) return
    }
    // Files of the system have no handles.
    const given = handle === undefined || handle === 0 || node.isDirectory ? undefined : this.#files.get(handle)
    const file = given !== undefined && given.handle !== 0 ? given : this.#files.holderOf(node)
    if (file !== undefined) await this.#files.attributes(file)
    else {
      const { attributes } = await this.#remote.ask('stat', { path: node.path })
      if (attributes === undefined || attributes.inode !== node.attributes.inode) throw Errno.of('ESTALE')
      this.#nodes.learn(node, attributes)
    }
  }

  setattr(request: Ask.SetattrRequest): Answer<Reply.AttributesReply> {
    const node = this.#nodes.get(request.nodeid)
    return this.#change(node, request).then(() => this.#attributesOf(node))
  }

  async #change(node: Node, request: Ask.SetattrRequest): Promise<void> {
    const { mode, owner, group, size, accessed, modified, handle } = request
    if ((owner !== undefined && owner !== 0) || (group !== undefined && group !== 0)) throw Errno.of('EPERM')
    const file = handle === undefined ? this.#files.holderOf(node) : this.#files.get(handle)
    if (size === undefined) node.draft?.send()
    else node.draft?.end()
    const zero = UNKNOWN.modified
    const fields: RequestFields<'change'> = {
      path: node.places.length > 0 || file === undefined ? node.path : '/',
      handle: file?.handle ?? 0,
      set:
        (mode === undefined ? 0 : SET.mode) |
        (owner === undefined ? 0 : SET.uid) |
        (group === undefined ? 0 : SET.gid) |
        (size === undefined ? 0 : SET.size) |
        (accessed === undefined ? 0 : accessed === 'now' ? SET.accessedNow : SET.accessed) |
        (modified === undefined ? 0 : modified === 'now' ? SET.modifiedNow : SET.modified),
      mode: mode ?? 0,
      uid: this.#uid,
      gid: this.#gid,
      size: size ?? 0,
      accessed: accessed === undefined || accessed === 'now' ? zero : accessed,
      modified: modified === undefined || modified === 'now' ? zero : modified
    }
    const { attributes } = await this.#remote.ask('change', fields)
    if (size !== undefined) this.#files.forget(node)
    if (attributes !== undefined) this.#nodes.learn(node, attributes)
  }

  access(request: Ask.AccessRequest): Answer<void> {
    const node = this.#nodes.get(request.nodeid)
    const check = (): Errno | undefined =>
      (request.mask & ~node.attributes.access & 7) === 0 ? undefined : Errno.of('EACCES')
    if (this.#isKnown(node)) return check() as Answer<void>
    return this.#refresh(node, undefined).then(check) as Answer<void>
  }

  readlink(request: Ask.Request): Answer<string> {
    const { link } = this.#nodes.get(request.nodeid)
    return link ?? Errno.of('EINVAL')
  }

  // ------------------------------------------------------------------------------------------------- making, taking

  mkdir({ nodeid, name, mode }: Ask.MkdirRequest): Answer<Reply.Entry> {
    return this.#make(nodeid, name, undefined, (path) => this.#remote.ask('makeDirectory', { path, mode }))
  }

  mknod({ nodeid, name, mode }: Ask.MknodRequest): Answer<Reply.Entry> {
    return this.#make(nodeid, name, undefined, (path) => this.#remote.ask('makeNode', { path, mode }))
  }

  symlink({ nodeid, name, target }: Ask.SymlinkRequest): Answer<Reply.Entry> {
    return this.#make(nodeid, name, target, (path) => this.#remote.ask('makeLink', { path, link: target }))
  }

  link({ nodeid, name, existing }: Ask.LinkRequest): Answer<Reply.Entry> {
    const { path, link, draft } = this.#nodes.get(existing)
    draft?.send()
    return this.#make(nodeid, name, link, (to) => this.#remote.ask('addName', { path, to }))
  }

  async #make(
    nodeid: number,
    name: ByteString,
    link: ByteString | undefined,
    ask: (path: ByteString) => Promise<HomesAnswer>
  ): Promise<Reply.Entry> {
    const parent = this.#nodes.get(nodeid)
    const { attributes, parent: above } = await ask(pathIn(parent, name))
    if (attributes === undefined) throw Errno.of('EIO')
    return this.#entry(this.#nodes.add(parent, name, attributes, link, above), this.#validMs(parent))
  }

  unlink({ nodeid, name }: Ask.NameRequest): Answer<void> {
    return this.#remove(this.#nodes.get(nodeid), name, 'remove')
  }

  rmdir({ nodeid, name }: Ask.NameRequest): Answer<void> {
    return this.#remove(this.#nodes.get(nodeid), name, 'removeDirectory')
  }

  async #remove(parent: Node, name: ByteString, kind: 'remove' | 'removeDirectory'): Promise<void> {
    await this.#pin(parent, name)
    const { parent: above } = await this.#remote.ask(kind, { path: pathIn(parent, name) })
    this.#nodes.remove(parent, name, above)
  }

  async #pin(parent: Node, name: ByteString): Promise<void> {
    const node = parent.children.get(name)
    if (node !== undefined && !node.isDirectory) await this.#files.pin(node)
  }

  async rename({ nodeid, newParent, name, newName, flags }: Ask.RenameRequest): Promise<void> {
    if ((flags & ~RENAME_FLAGS) !== 0) throw Errno.of('EINVAL')
    const [from, to] = [this.#nodes.get(nodeid), this.#nodes.get(newParent)]
    if (flags === 0) await this.#pin(to, newName)
    from.children.get(name)?.draft?.send()
    if (flags & EXCHANGE) to.children.get(newName)?.draft?.send()
    await this.#remote.ask('rename', { path: pathIn(from, name), to: pathIn(to, newName), flags })
    if (flags & EXCHANGE) this.#nodes.exchange(from, name, to, newName)
    else this.#nodes.move(from, name, to, newName)
  }

  // --------------------------------------------------------------------------------------------------------- files

  open(request: Ask.OpenRequest): Answer<Reply.Opened> {
    const node = this.#nodes.get(request.nodeid)
    const flags = openFlags(request.flags)
    const isReading = (flags & 3) === OPEN.read && (flags & OPEN.truncate) === 0
    const isKnown = node.freshUntil > this.#now() && (node.attributes.access & 4) !== 0
    if (isReading && isKnown && node.writers === 0 && !isMemory(node) && uses('local-answers'))
      return this.#opened(node, 0, flags)
    return this.#openAtHome(node, flags, isReading && node.writers === 0 && !isMemory(node))
  }

  async #openAtHome(node: Node, flags: number, isLoose: boolean): Promise<Reply.Opened> {
    const asked = isLoose ? flags : flags | OPEN.handle
    // Who only reads may empty a file all the same.
    if ((flags & OPEN.truncate) !== 0) node.draft?.end()
    else node.draft?.send()
    const answer = await this.#remote.ask('open', {
      path: node.path,
      flags: asked,
      mode: 0,
      version: this.#files.known(node)
    })
    const { attributes, handle = 0, data } = answer
    if (attributes?.inode !== node.attributes.inode) {
      if (handle !== 0) void this.#remote.ask('close', { handle }).catch(() => {})
      throw Errno.of('ESTALE')
    }
    this.#nodes.learn(node, attributes)
    if (data !== undefined && data.length > 0) this.#files.keep(node, Buffer.from(data))
    return this.#opened(node, handle, flags)
  }

  /** Pages of the same version stay. */
  #opened(node: Node, handle: number, flags: number): Reply.Opened {
    const keeps = isSameVersion(node.pages, node.attributes) && (flags & OPEN.truncate) === 0
    node.pages = node.attributes
    // What only reads has nothing to wait for when it closes; but it ends the locks that its program has on the file.
    const isPlain = (flags & 3) === OPEN.read && node.writers === 0 && !this.#locks.has(node)
    const noFlush = isPlain ? FOPEN.noFlush : 0
    return { handle: this.#files.add(node, handle, flags), flags: (keeps ? FOPEN.keepCache : 0) | noFlush }
  }

  async create(request: Ask.CreateRequest): Promise<Reply.Created> {
    const { nodeid, name, mode } = request
    const parent = this.#nodes.get(nodeid)
    const flags = openFlags(request.flags) | OPEN.create
    const asked = { path: pathIn(parent, name), flags: flags | OPEN.handle, mode, version: UNKNOWN }
    const { attributes, parent: above, handle = 0 } = await this.#remote.ask('open', asked)
    if (attributes === undefined) throw Errno.of('EIO')
    const node = this.#nodes.add(parent, name, attributes, undefined, above)
    const entry = this.#entry(node, this.#validMs(parent))
    return { entry, opened: this.#opened(node, handle, flags) }
  }

  read({ handle, offset, size }: Ask.ReadRequest): Answer<Uint8Array> {
    return this.#files.read(this.#files.get(handle), offset, size)
  }

  write(request: Ask.WriteRequest): Answer<number> {
    const file = this.#files.get(request.handle)
    const { data, release } = request.keep()
    return this.#files.write(file, request.offset, data, release)
  }

  flush({ handle, lockOwner, pid }: Ask.FlushRequest): Answer<void> {
    const file = this.#files.get(handle)
    const unlocked = this.#locks.flush(file, lockOwner)
    const isClean = !file.dirty && file.failure === undefined
    const isDone = isClean && unlocked === undefined
    if (isDone && !file.makes) return undefined
    const why = whyClosing(pid)
    // Make removes what it was making when it is interrupted, but what programs asked of home just before is done after that.
    file.unfinished = file.makes && (why === 'killed' || (why === 'ended' && this.#now() - file.openedAt < MAKING_MS))
    if (isDone) return undefined
    if (why === 'exec') return this.#goOn(Promise.all([unlocked, this.#files.confirmLater(file)]))
    return Promise.all([unlocked, isClean ? undefined : this.#files.sync(file, 0)]).then(() => {})
  }

  /** Nobody waits for it but the end of the job: an exec takes no errors, and all that look at the process would wait with it. */
  #goOn(confirmed: Promise<unknown>): void {
    const over = (): void => void this.#later.delete(confirmed)
    this.#later.add(confirmed)
    confirmed.then(over, over)
  }

  /** What programs had written that are not there any more is at home, or never will be. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#later)
  }

  fsync({ handle, dataOnly }: Ask.FsyncRequest): Answer<void> {
    return this.#files.sync(this.#files.get(handle), dataOnly ? 2 : 1)
  }

  release({ handle }: Ask.ReleaseRequest): void {
    this.#locks.closed(this.#files.get(handle))
    this.#files.close(handle)
  }

  getlk(request: Ask.LockRequest): Answer<Ask.Lock> {
    return this.#locks.test(request)
  }

  setlk(request: Ask.LockRequest): Answer<void> {
    return this.#locks.lock(request, false)
  }

  setlkw(request: Ask.LockRequest): Answer<void> {
    return this.#locks.lock(request, true)
  }

  fallocate({ handle, mode, offset, length }: Ask.FallocateRequest): Answer<void> {
    return this.#files.allocate(this.#files.get(handle), mode, offset, length)
  }

  lseek({ handle, offset, whence }: Ask.LseekRequest): Answer<number> {
    return this.#files.seek(this.#files.get(handle), offset, whence)
  }

  copyFileRange(request: Ask.CopyFileRangeRequest): Answer<number> {
    const { handle, offset, toHandle, toOffset, length, flags } = request
    if (flags !== 0) return Errno.of('EINVAL')
    return this.#files.copy(this.#files.get(handle), offset, this.#files.get(toHandle), toOffset, length)
  }

  async statfs(request: Ask.Request): Promise<Reply.Statistics> {
    const node = this.#nodes.get(request.nodeid)
    const path = node.isDirectory ? node.path : (node.places[0]?.parent.path ?? '/')
    const { data } = await this.#remote.ask('space', { path })
    if (data?.length !== 48) throw Errno.of('EIO')
    const numbers = Buffer.from(data)
    const [blockBytes, blocks, freeBlocks, availableBlocks, files, freeFiles] = Array.from({ length: 6 }, (_, index) =>
      Number(numbers.readBigUInt64BE(index * 8))
    ) as [number, number, number, number, number, number]
    return {
      blockBytes,
      fragmentBytes: blockBytes,
      blocks,
      freeBlocks,
      availableBlocks,
      files,
      freeFiles,
      nameBytes: 255
    }
  }

  // --------------------------------------------------------------------------------------------------- directories

  async opendir({ nodeid }: Ask.OpenRequest): Promise<Reply.Opened> {
    const node = this.#nodes.get(nodeid)
    if (!this.#nodes.listing(node)?.isWhole) await this.#list(node, true)
    this.#lastDirectory++
    this.#directories.set(this.#lastDirectory, { names: namesIn(node), isBegun: false })
    return { handle: this.#lastDirectory, flags: 0 }
  }

  readdir(request: Ask.ReadRequest): Answer<Reply.DirectoryReply> {
    return this.#readDirectory(request)
  }

  readdirplus(request: Ask.ReadRequest): Answer<Reply.DirectoryReply> {
    return this.#readDirectory(request)
  }

  #readDirectory({ nodeid, handle, offset }: Ask.ReadRequest): Answer<Reply.DirectoryReply> {
    const node = this.#nodes.get(nodeid)
    const open = this.#directories.get(handle)
    if (open === undefined) throw Errno.of('EBADF')
    const isAgain = offset === 0 && open.isBegun
    open.isBegun = true
    if (!isAgain) return this.#fill(node, open, offset)
    const again = (): Reply.DirectoryReply => {
      open.names = namesIn(node)
      return this.#fill(node, open, offset)
    }
    return this.#nodes.listing(node)?.isWhole ? again() : this.#list(node, true).then(again)
  }

  /** Offset n is behind the n-th name, where `.` and `..` are the first two. Names that are gone by now are left out. */
  #fill(node: Node, { names }: OpenDirectory, offset: number): Reply.DirectoryReply {
    return (list) => {
      for (let index = offset; index < names.length + 2; index++) {
        const isAdded =
          index < 2 ? this.#addDots(list, node, index) : this.#addName(list, node, names[index - 2]!, index)
        if (!isAdded) return
      }
    }
  }

  #addDots(list: Reply.DirectoryList, node: Node, index: number): boolean {
    const of = index === 0 ? node : (node.places[0]?.parent ?? node)
    return list.add(index === 0 ? '.' : '..', of.attributes.inode, of.attributes.mode, index + 1)
  }

  /** What is not listed any more may be as it was: the rest must not be missing. */
  #addName(list: Reply.DirectoryList, directory: Node, [name, before]: [ByteString, Known], index: number): boolean {
    const { listing } = directory
    const known = listing?.isWhole ? listing.names.get(name) : before
    if (known === undefined) return true
    const { inode, mode } = known.attributes
    if (!list.isPlus || !listing?.isWhole) return list.add(name, inode, mode, index + 1)
    const node = this.#nodes.at(directory, listing, name)!
    // The kernel would believe a size by which it appends, and home may not have said the last.
    if (node.writers > 0) return list.add(name, inode, mode, index + 1)
    const validMs = listing.isWatched ? Number.POSITIVE_INFINITY : MOMENT
    const entry = this.#entry(node, validMs)
    const isAdded = list.add(name, inode, mode, index + 1, entry)
    if (!isAdded) this.#nodes.forget(node.id, 1)
    return isAdded
  }

  releasedir({ handle }: Ask.ReleaseRequest): void {
    this.#directories.delete(handle)
  }

  // -------------------------------------------------------------------------------------------------------- system

  /** For a mount that is read only and whose opens the kernel does not tell. */
  readUnopened({ nodeid, offset, size }: Ask.ReadRequest): Answer<Uint8Array> {
    return this.#files.readNode(this.#nodes.get(nodeid), offset, size)
  }
}

/** The operations of the mount of home's programs and libraries: nothing is written, nothing is opened. */
export function systemOperations(files: FileSystem): FileSystemOperations {
  return {
    lookup: (request) => files.lookup(request),
    forget: (nodeid, count) => files.forget(nodeid, count),
    getattr: (request) => files.getattr(request),
    readlink: (request) => files.readlink(request),
    access: (request) => files.access(request),
    read: (request) => files.readUnopened(request),
    statfs: (request) => files.statfs(request),
    opendir: (request) => files.opendir(request),
    readdir: (request) => files.readdir(request),
    readdirplus: (request) => files.readdirplus(request),
    releasedir: (request) => files.releasedir(request)
  }
}

/** SQLite's, shared by those who map it: home must know who has it open. */
function isMemory({ places }: Node): boolean {
  return places.some(({ name }) => name.endsWith('-shm'))
}

function namesIn({ listing }: Node): [ByteString, Known][] {
  return listing?.isWhole ? [...listing.names] : []
}

function openFlags(flags: number): number {
  return (
    (flags & 3) |
    (flags & O_APPEND ? OPEN.append : 0) |
    (flags & O_TRUNC ? OPEN.truncate : 0) |
    (flags & O_CREAT ? OPEN.create : 0) |
    (flags & O_EXCL ? OPEN.exclusive : 0)
  )
}
