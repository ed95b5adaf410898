/**
 * Files that jobs have open. One that is only read is not open at home: what it holds is asked for by path and version,
 * until that can't be; one that is written is, and what is written goes out at once, to be waited for at close.
 */

import { type Attributes, OPEN, UNKNOWN } from '../../protocols/file/codec.ts'
import { FILE_DATA_BYTES_MAX, INLINE_BYTES_MAX, WRITTEN_BYTES_MAX } from '../../protocols/file/constants.ts'
import { Errno } from '../fuse/errno.ts'
import { Contents } from './contents.ts'
import { Draft } from './drafts.ts'
import type { Node, Nodes } from './nodes.ts'
import type { Remote } from './remote.ts'
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
}

export class OpenFiles {
  readonly #remote: Remote
  readonly #nodes: Nodes
  /** At most as many as the programs of the jobs may have open. */
  readonly #open = new Map<number, OpenFile>()
  readonly #contents = new Contents<Node>(CONTENTS_BYTES_MAX)
  /** Bytes sent that home has not taken; at most `WRITTEN_BYTES_MAX`, and one write. */
  #unconfirmed = 0
  #room: (() => void)[] = []
  #lastNumber = 0

  constructor(remote: Remote, nodes: Nodes) {
    this.#remote = remote
    this.#nodes = nodes
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
      closed: false
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
      try {
        const isSmall = version.size <= INLINE_BYTES_MAX && comeWhole
        const from = isSmall ? 0 : offset
        const length = isSmall ? version.size : Math.min(size, FILE_DATA_BYTES_MAX)
        const { data = new Uint8Array(0) } = await this.#remote.ask('fetch', {
          path: node.path,
          version,
          offset: from,
          length
        })
        if (!isSmall) return data
        this.#contents.set(node, version, data)
        return data.subarray(offset, offset + size)
      } catch (error) {
        if (!isElsewhere(error) || tries === TRIES) throw error
        const { attributes } = await this.#remote.ask('stat', { path: node.path })
        if (attributes === undefined || attributes.inode !== version.inode) throw error
        this.#nodes.learn(node, attributes)
      }
    }
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

  /** Its name is about to go: whoever has it open must still be able to read it. */
  async pin(node: Node): Promise<void> {
    if (node.opened === 0) return
    for (const file of this.#open.values()) {
      if (file.node === node && file.handle === 0) await this.#openAtHome(file)
    }
  }

  // ------------------------------------------------------------------------------------------------------- writing

  /** Goes out at once; what becomes of it is told by the next write, sync or close. `release` when it is sent. */
  write(file: OpenFile, offset: number, data: Uint8Array, release: () => void): number | Promise<number> {
    if (file.failure !== undefined) {
      release()
      return Promise.reject(this.#told(file))
    }
    this.#contents.delete(file.node)
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
    if (file.handle !== 0 && (file.dirty || what !== 0)) {
      const { written } = file
      await this.#settle(file, what)
      if (file.written === written) file.dirty = false
    }
    if (file.failure !== undefined) throw this.#told(file)
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
    file.closed = true
    if (file.writes) this.#finish(file)
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
