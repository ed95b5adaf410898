/**
 * Files that jobs have open. One that is only read is not open at home: what it holds is asked for by path and version,
 * until that can't be; one that is written is, and what is written goes out at once, to be waited for at close.
 */

import { type Attributes, OPEN, SET, UNKNOWN } from '../../protocols/file/codec.ts'
import {
  FILE_DATA_BYTES_MAX,
  HASH_BYTES,
  HASHED_BYTES_MAX,
  INLINE_BYTES_MAX,
  WRITTEN_BYTES_MAX
} from '../../protocols/file/constants.ts'
import { Errno } from '../fuse/errno.ts'
import { Blocks, type Fetched } from './blocks.ts'
import type { Cache } from './cache.ts'
import { Contents } from './contents.ts'
import { Draft } from './drafts.ts'
import { isSameState, type Node, type Nodes } from './nodes.ts'
import { OwnFiles } from './own-files.ts'
import type { Remote } from './remote.ts'
import { WHOLE } from './store-codec.ts'
import { uses } from './techniques.ts'

/** What small files hold, bytes of all together. */
const CONTENTS_BYTES_MAX = 64 * 1024 * 1024
/** A file that changes as fast as it is read. */
const TRIES = 3
/** Writes of so many bytes, and all behind them, go out as they come. */
const LARGE_BYTES = 128 * 1024
const comeWhole = uses('small-files')

export interface OpenFile {
  readonly node: Node
  /** Home's number of it; 0: it is not open there. */
  handle: number
  readonly writes: boolean
  readonly reads: boolean
  /** Something was written that home has not confirmed by an answer that followed it. */
  dirty: boolean
  /** How often. */
  written: number
  /** Why something that was written is not there; told once. */
  failure: Errno | undefined
  /** By its last program; home may just be opening it. */
  closed: boolean
  /** That home has all that was written, which no program waits for. */
  confirmed: Promise<void> | undefined
  /** It is made anew, or was emptied to be. */
  readonly makes: boolean
  /** ms of `performance.now`. */
  readonly openedAt: number
  /** Whoever closed it last was killed in the middle of making it. */
  unfinished: boolean
}

export class OpenFiles {
  readonly #remote: Remote
  readonly #nodes: Nodes
  /** At most as many as the programs of the jobs may have open. */
  readonly #open = new Map<number, OpenFile>()
  readonly #contents = new Contents<Node>(CONTENTS_BYTES_MAX)
  readonly #cache: Cache
  readonly #own: OwnFiles
  readonly #blocks: Blocks
  /** What home was asked the hash of; known no longer than the node is. */
  readonly #hashes = new WeakMap<Attributes, Promise<string | undefined>>()
  /** Bytes sent that home has not taken; at most `WRITTEN_BYTES_MAX`, and one write. */
  #unconfirmed = 0
  #room: (() => void)[] = []
  #lastNumber = 0

  constructor(remote: Remote, nodes: Nodes, cache: Cache) {
    this.#remote = remote
    this.#nodes = nodes
    this.#cache = cache
    this.#own = new OwnFiles(cache, (node) => this.#askHash(node, node.attributes))
    this.#blocks = new Blocks({
      cache,
      fetch: (...what) => this.#fetchFrom(...what),
      hashOf: (node, version) => {
        if (version.hash === undefined && cache.keeps) void this.#askHash(node, version)
        return version.hash
      }
    })
  }

  /** Throws EBADF. */
  get(number: number): OpenFile {
    const file = this.#open.get(number)
    if (file === undefined) throw Errno.of('EBADF')
    return file
  }

  /** `handle`: home's, or 0. The number by which the kernel names it. */
  add(node: Node, handle: number, flags: number): number {
    const access = flags & 3
    const writes = access !== OPEN.read
    this.#lastNumber++
    const file: OpenFile = {
      node,
      handle,
      writes,
      reads: access !== OPEN.write,
      dirty: false,
      written: 0,
      failure: undefined,
      closed: false,
      confirmed: undefined,
      makes: writes && (flags & (OPEN.create | OPEN.truncate)) !== 0 && (flags & OPEN.append) === 0,
      openedAt: performance.now(),
      unfinished: false
    }
    this.#open.set(this.#lastNumber, file)
    node.opened++
    if (writes) {
      node.draft?.end()
      if (node.writers === 0 && node.attributes.size === 0 && (flags & OPEN.append) === 0) this.#draft(file)
      node.writers++
      node.freshUntil = 0
    }
    return this.#lastNumber
  }

  #draft(file: OpenFile): void {
    const { node } = file
    if (!uses('drafts') || !isToldOf(node)) return
    node.draft = new Draft({
      send: (offset, data) => {
        this.#unconfirmed += data.length
        void this.#send(file, offset, data, () => {})
      },
      onEnd: () => {
        node.draft = undefined
      }
    })
  }

  /** What a file holds that is made here, unless it is no more known. */
  draftOf(node: Node): Draft | undefined {
    if (node.draft !== undefined && !isToldOf(node)) node.draft.end()
    return node.draft
  }

  keep(node: Node, data: Uint8Array): void {
    this.#contents.set(node, node.attributes, data)
  }

  forget(node: Node): void {
    node.changes++
    this.#contents.delete(node)
  }

  isHeld(node: Node): boolean {
    return this.#contents.get(node, node.attributes) !== undefined
  }

  // ------------------------------------------------------------------------------------------------------- reading

  read(file: OpenFile, offset: number, size: number): Uint8Array | Promise<Uint8Array> {
    const draft = this.draftOf(file.node)
    if (draft !== undefined) return draft.read(offset, size)
    if (file.handle !== 0) return this.#readHandle(file.handle, offset, size)
    const { node } = file
    if (node.writers === 0) {
      const held = this.#contents.get(node, node.attributes)
      if (held !== undefined) return held.subarray(offset, offset + size)
    }
    return this.#fetch(file, offset, size)
  }

  /** Of a file that nobody opened: one of the system, whose opening the kernel does not tell of. */
  readNode(node: Node, offset: number, size: number): Uint8Array | Promise<Uint8Array> {
    const held = this.#contents.get(node, node.attributes)
    if (held !== undefined) return held.subarray(offset, offset + size)
    const own = this.#own.read(node, offset, size)
    if (own instanceof Uint8Array) return own
    return this.#fetchVersion(node, offset, size)
  }

  async #readHandle(handle: number, offset: number, size: number): Promise<Uint8Array> {
    const length = Math.min(size, FILE_DATA_BYTES_MAX)
    return (await this.#remote.ask('read', { handle, offset, length })).data ?? new Uint8Array(0)
  }

  async #fetch(file: OpenFile, offset: number, size: number): Promise<Uint8Array> {
    const { node } = file
    try {
      if (node.writers === 0) return await this.#fetchVersion(node, offset, size)
    } catch (error) {
      if (!isElsewhere(error)) throw error
    }
    await this.#openAtHome(file)
    return this.#readHandle(file.handle, offset, size)
  }

  /** Small files whole. */
  async #fetchVersion(node: Node, offset: number, size: number): Promise<Uint8Array> {
    for (let tries = 1; ; tries++) {
      const version = node.attributes
      if (offset >= version.size) return new Uint8Array(0)
      const own = await this.#own.read(node, offset, size)
      if (own !== undefined) return own
      try {
        const isSmall = version.size <= INLINE_BYTES_MAX && comeWhole
        if (!isSmall) return await this.#blocks.read(node, version, offset, size)
        return (await this.#whole(node, version)).subarray(offset, offset + size)
      } catch (error) {
        if (!isElsewhere(error) || tries === TRIES) throw error
        const { attributes } = await this.#remote.ask('stat', { path: node.path })
        if (attributes === undefined || attributes.inode !== version.inode) throw error
        this.#nodes.learn(node, attributes)
      }
    }
  }

  async #whole(node: Node, version: Attributes): Promise<Uint8Array> {
    const { hash, size } = version
    const { changes } = node
    const kept = hash === undefined ? undefined : await this.#cache.load(hash, WHOLE, size)
    const { data, isExact } = kept ? { data: kept, isExact: false } : await this.#fetchFrom(node, version, 0, size)
    // What is written meanwhile may be of the same time.
    if (node.changes === changes) this.#contents.set(node, version, data)
    if (isExact && data.length === size) this.#cache.save(hash ?? '', WHOLE, data)
    return data
  }

  async #fetchFrom(node: Node, version: Attributes, offset: number, length: number): Promise<Fetched> {
    const answer = await this.#remote.ask('fetch', { path: node.path, version, offset, length })
    const { attributes, data = new Uint8Array(0) } = answer
    return { data, isExact: attributes !== undefined && isSameState(attributes, version) }
  }

  /** sha256 of what a file holds in one state, from home; once. Undefined: it doesn't say. */
  #askHash(node: Node, version: Attributes): Promise<string | undefined> {
    const before = this.#hashes.get(version)
    if (before !== undefined) return before
    if (version.size > HASHED_BYTES_MAX) return Promise.resolve(undefined)
    const { path } = node
    const asked = this.#remote.ask('hash', { path, version }).then(
      ({ data }) => {
        if (data?.length !== HASH_BYTES) return undefined
        version.hash = Buffer.from(data).toString('latin1')
        if (isSameState(node.attributes, version)) node.attributes.hash = version.hash
        return version.hash
      },
      () => undefined
    )
    this.#hashes.set(version, asked)
    return asked
  }

  async #openAtHome(file: OpenFile): Promise<void> {
    const flags = OPEN.read | OPEN.handle
    const answer = await this.#remote.ask('open', {
      path: file.node.path,
      flags,
      mode: 0,
      version: file.node.attributes
    })
    const { handle = 0, attributes } = answer
    if (attributes?.inode === file.node.attributes.inode && file.handle === 0 && !file.closed) {
      file.handle = handle
      return
    }
    void this.#remote.ask('close', { handle }).catch(() => {})
    if (file.handle === 0) throw Errno.of('ESTALE')
  }

  /** Home's number of it: home opens it if it has not. */
  async opened(file: OpenFile): Promise<number> {
    if (file.handle === 0) await this.#openAtHome(file)
    return file.handle
  }

  /** Its name is about to go: whoever has it open must still be able to read it. */
  async pin(node: Node): Promise<void> {
    if (node.opened === 0) return
    for (const file of this.#open.values()) {
      if (file.node === node && file.handle === 0) await this.#openAtHome(file)
    }
  }

  /** Of the next data or hole; what was written before is at home by then. */
  async seek(file: OpenFile, offset: number, whence: number): Promise<number> {
    file.node.draft?.send()
    const handle = await this.opened(file)
    return (await this.#remote.ask('seek', { handle, offset, whence })).value ?? 0
  }

  // ------------------------------------------------------------------------------------------------------- writing

  async allocate(file: OpenFile, mode: number, offset: number, length: number): Promise<void> {
    file.node.draft?.end()
    this.forget(file.node)
    const { attributes } = await this.#remote.ask('allocate', { handle: file.handle, mode, offset, length })
    if (attributes !== undefined) this.#learn(file.node, attributes)
  }

  /** At home; how many bytes. */
  async copy(from: OpenFile, offset: number, to: OpenFile, toOffset: number, length: number): Promise<number> {
    from.node.draft?.send()
    to.node.draft?.end()
    const handle = await this.opened(from)
    this.forget(to.node)
    const asked = { handle, offset, toHandle: to.handle, toOffset, length }
    const { attributes, value = 0 } = await this.#remote.ask('copy', asked)
    if (attributes !== undefined) this.#learn(to.node, attributes)
    return value
  }

  /** Goes out at once; what becomes of it is told by the next write, sync or close. `release` when it is sent. */
  write(file: OpenFile, offset: number, data: Uint8Array, release: () => void): number | Promise<number> {
    if (file.failure !== undefined) {
      release()
      return Promise.reject(this.#told(file))
    }
    this.forget(file.node)
    file.node.freshUntil = 0
    file.dirty = true
    file.written++
    const { length } = data
    if (length < LARGE_BYTES && this.draftOf(file.node)?.write(offset, data)) {
      release()
      return length
    }
    file.node.draft?.end()
    const isFull = this.#unconfirmed >= WRITTEN_BYTES_MAX
    this.#unconfirmed += length
    if (!isFull) {
      const sent = this.#send(file, offset, data, release)
      return uses('pipelined-writes') ? length : sent.then(() => length)
    }
    return new Promise<void>((resolve) => this.#room.push(resolve)).then(() => {
      void this.#send(file, offset, data, release)
      return length
    })
  }

  #send(file: OpenFile, offset: number, data: Uint8Array, release: () => void): Promise<void> {
    const done = (): void => {
      release()
      this.#unconfirmed -= data.length
      while (this.#unconfirmed < WRITTEN_BYTES_MAX && this.#room.length > 0) this.#room.shift()!()
    }
    return this.#remote.ask('write', { handle: file.handle, offset }, data).then(done, (error) => {
      file.failure ??= error instanceof Errno ? error : Errno.of('EIO')
      done()
      // What was not written is not there.
      file.node.draft?.end()
    })
  }

  #told(file: OpenFile): Errno {
    const { failure } = file
    file.failure = undefined
    return failure!
  }

  /** Everything written is home's (0), or on its disk (1; 2: the data alone). Throws what became of it otherwise. */
  async sync(file: OpenFile, what: number): Promise<void> {
    await this.#confirm(file, what)
    if (file.failure !== undefined) throw this.#told(file)
  }

  /** Until then it stays open. */
  async confirmLater(file: OpenFile): Promise<void> {
    const confirmed = this.#confirm(file, 0)
    file.confirmed = confirmed
    await confirmed
  }

  /** Home has all that was written; why it has not is left to be told. */
  async #confirm(file: OpenFile, what: number): Promise<void> {
    if (file.handle === 0 || !(file.dirty || what !== 0)) return
    const { written } = file
    await this.#settle(file, what)
    if (file.written === written) file.dirty = false
  }

  #learn(node: Node, attributes: Attributes): void {
    if (node.attributes.inode === attributes.inode) this.#nodes.learn(node, attributes)
  }

  /** What home says of an open file: with all that was written before. */
  async attributes(file: OpenFile): Promise<void> {
    await this.#settle(file, 0)
  }

  async #settle({ handle, node }: OpenFile, what: number): Promise<void> {
    const { draft } = node
    draft?.send()
    const written = draft?.written ?? 0
    // Answers come in the order of requests to one file: those of all writes before this one's.
    const { attributes } = await this.#remote.ask('sync', { handle, what })
    if (attributes === undefined) return
    this.#learn(node, attributes)
    if (attributes.size === draft?.size) draft.known(written)
  }

  /** By which home can be asked of a file that may be written just now, or has no name any more. */
  holderOf(node: Node): OpenFile | undefined {
    if (node.opened === 0 || (node.writers === 0 && node.places.length > 0)) return undefined
    for (const file of this.#open.values()) if (file.node === node && file.handle !== 0) return file
    return undefined
  }

  close(number: number): void {
    const file = this.#open.get(number)
    if (file === undefined) return
    this.#open.delete(number)
    if (file.confirmed === undefined) this.#close(file)
    else file.confirmed.finally(() => this.#close(file)).catch(() => {})
  }

  #close(file: OpenFile): void {
    file.closed = true
    if (file.writes) this.#finish(file)
    if (file.unfinished) void this.#date(file)
    if (file.handle !== 0) {
      this.#remote.ask('close', { handle: file.handle }).then(
        ({ attributes }) => {
          if (file.writes && attributes !== undefined) this.#learn(file.node, attributes)
          this.#nodes.closed(file.node)
        },
        () => this.#nodes.closed(file.node)
      )
    } else this.#nodes.closed(file.node)
  }

  /** What was made here is known, as soon as home has all of it. */
  #finish({ node }: OpenFile): void {
    node.writers--
    const draft = this.draftOf(node)
    if (draft === undefined) return
    if (draft.isKnown) {
      this.#contents.set(node, node.attributes, draft.whole())
      node.pages = node.attributes
      this.#nodes.learn(node, node.attributes)
    }
    draft.end()
  }

  /** Nothing half written passes as whole: it is dated 1970, as home does with what a lost job was making. */
  async #date({ handle }: OpenFile): Promise<void> {
    const [zero, set] = [UNKNOWN.modified, SET.modified]
    const none = { mode: 0, uid: 0, gid: 0, size: 0 }
    await this.#remote
      .ask('change', { path: '/', handle, set, ...none, accessed: zero, modified: zero })
      .catch(() => {})
  }

  /** A version of nothing, or of what is at hand, so that home need not send it. */
  known(node: Node | undefined): typeof UNKNOWN {
    return node !== undefined && (!comeWhole || this.isHeld(node) || node.pages !== undefined)
      ? node.attributes
      : UNKNOWN
  }
}

/** Whoever changes it elsewhere, home tells so. */
function isToldOf({ attributes, places }: Node): boolean {
  return attributes.links === 1 && places[0]?.parent.listing?.isWatched === true
}

/** Home has another file there by now, or none. */
function isElsewhere(error: unknown): boolean {
  return error === Errno.of('ESTALE') || error === Errno.of('ENOENT')
}
