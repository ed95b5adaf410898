/** A file system in memory, for tests and the benchmark: as small as programs let it be. */

import { FOPEN } from '../../../src/files/fuse/constants.ts'
import { Errno } from '../../../src/files/fuse/errno.ts'
import type { FileSystemOperations } from '../../../src/files/fuse/operations.ts'
import type { Attributes, Created, DirectoryReply, Entry, NoEntry, Opened } from '../../../src/files/fuse/replies.ts'
import type { CreateRequest, ReadRequest, Request, SetattrRequest, Time } from '../../../src/files/fuse/requests.ts'

const TYPE = 0o170000
const DIRECTORY = 0o040000
const LINK = 0o120000
const REGULAR = 0o100000
const HOLE = 4096

export class MemoryNode {
  readonly id: number
  mode: number
  uid: number
  gid: number
  device = 0
  links = 1
  /** Of the kernel. */
  lookups = 0
  accessed: Time = now()
  modified: Time = now()
  changed: Time = now()
  size = 0
  #data: Buffer = Buffer.alloc(0)
  target = ''
  parent = 1
  readonly children = new Map<string, MemoryNode>()
  readonly xattrs = new Map<string, Buffer>()

  constructor(id: number, mode: number, uid: number, gid: number) {
    this.id = id
    this.mode = mode
    this.uid = uid
    this.gid = gid
  }

  get isDirectory(): boolean {
    return (this.mode & TYPE) === DIRECTORY
  }

  get data(): Buffer {
    return this.#data.subarray(0, this.size)
  }

  resize(size: number): void {
    if (size > this.#data.length) {
      const bigger = Buffer.alloc(Math.max(size, this.#data.length * 2, 4096))
      this.#data.copy(bigger, 0, 0, this.size)
      this.#data = bigger
    } else if (size < this.size) this.#data.fill(0, size, this.size)
    this.size = size
  }

  write(data: Uint8Array, offset: number): void {
    if (offset + data.length > this.size) this.resize(offset + data.length)
    this.#data.set(data, offset)
    this.touch()
  }

  touch(): void {
    this.modified = this.changed = now()
  }

  get attributes(): Attributes {
    return {
      inode: this.id,
      size: (this.mode & TYPE) === LINK ? this.target.length : this.size,
      blocks: Math.ceil(this.size / 512),
      accessed: this.accessed,
      modified: this.modified,
      changed: this.changed,
      mode: this.mode,
      links: this.links,
      uid: this.uid,
      gid: this.gid,
      device: this.device,
      blockBytes: 4096
    }
  }
}

function now(): Time {
  const ms = performance.timeOrigin + performance.now()
  return { s: Math.floor(ms / 1000), ns: Math.floor((ms % 1000) * 1e6) }
}

export interface MemoryOptions {
  /** Of names, attributes and "no such name". */
  readonly validMs: number
  readonly openFlags: number
}

export class MemoryTree implements FileSystemOperations {
  readonly nodes = new Map<number, MemoryNode>()
  readonly root: MemoryNode
  readonly #options: MemoryOptions
  #next = 1

  constructor(options: MemoryOptions) {
    this.#options = options
    this.root = this.#make(DIRECTORY | 0o755, { uid: 0, gid: 0 })
    this.root.links = 2
  }

  #make(mode: number, owner: { uid: number; gid: number }): MemoryNode {
    const node = new MemoryNode(this.#next++, mode, owner.uid, owner.gid)
    this.nodes.set(node.id, node)
    return node
  }

  node(id: number): MemoryNode {
    const node = this.nodes.get(id)
    if (node === undefined) throw Errno.of('ESTALE')
    return node
  }

  /** Puts a file there from outside, as another machine would. */
  put(name: string, data: Uint8Array, parent = this.root): MemoryNode {
    const node = parent.children.get(name) ?? this.#add(parent, name, REGULAR | 0o644, { uid: 0, gid: 0 })
    node.resize(0)
    node.write(data, 0)
    return node
  }

  #add(parent: MemoryNode, name: string, mode: number, owner: { uid: number; gid: number }): MemoryNode {
    if (parent.children.has(name)) throw Errno.of('EEXIST')
    const node = this.#make(mode, owner)
    if (node.isDirectory) {
      node.links = 2
      parent.links++
      node.parent = parent.id
    }
    parent.children.set(name, node)
    parent.touch()
    return node
  }

  #entry(node: MemoryNode): Entry {
    node.lookups++
    const { validMs } = this.#options
    return {
      nodeid: node.id,
      generation: 0,
      entryValidMs: validMs,
      attributesValidMs: validMs,
      attributes: node.attributes
    }
  }

  #open(): Opened {
    return { handle: 1, flags: this.#options.openFlags }
  }

  #child(parent: number, name: string): MemoryNode {
    const child = this.node(parent).children.get(name)
    if (child === undefined) throw Errno.of('ENOENT')
    return child
  }

  #drop(node: MemoryNode): void {
    if (node.lookups <= 0 && node.links <= 0) this.nodes.delete(node.id)
  }

  lookup({ nodeid, name }: { nodeid: number; name: string }): Entry | NoEntry | Errno {
    const child = this.node(nodeid).children.get(name)
    if (child !== undefined) return this.#entry(child)
    return this.#options.validMs > 0 ? { nodeid: 0, entryValidMs: this.#options.validMs } : Errno.of('ENOENT')
  }

  forget(nodeid: number, count: number): void {
    const node = this.nodes.get(nodeid)
    if (node === undefined) return
    node.lookups -= count
    this.#drop(node)
  }

  getattr({ nodeid }: Request) {
    return { attributes: this.node(nodeid).attributes, attributesValidMs: this.#options.validMs }
  }

  setattr(request: SetattrRequest) {
    const node = this.node(request.nodeid)
    if (request.size !== undefined) {
      node.resize(request.size)
      node.touch()
    }
    if (request.mode !== undefined) node.mode = (node.mode & TYPE) | (request.mode & 0o7777)
    if (request.owner !== undefined) node.uid = request.owner
    if (request.group !== undefined) node.gid = request.group
    if (request.accessed !== undefined) node.accessed = request.accessed === 'now' ? now() : request.accessed
    if (request.modified !== undefined) node.modified = request.modified === 'now' ? now() : request.modified
    node.changed = request.changed ?? now()
    return this.getattr(request)
  }

  readlink({ nodeid }: Request) {
    return this.node(nodeid).target
  }

  symlink(request: Request & { name: string; target: string }) {
    const node = this.#add(this.node(request.nodeid), request.name, LINK | 0o777, request)
    node.target = request.target
    return this.#entry(node)
  }

  mknod(request: Request & { name: string; mode: number; device: number }) {
    const node = this.#add(this.node(request.nodeid), request.name, request.mode, request)
    node.device = request.device
    return this.#entry(node)
  }

  mkdir(request: Request & { name: string; mode: number }) {
    return this.#entry(this.#add(this.node(request.nodeid), request.name, DIRECTORY | request.mode, request))
  }

  unlink({ nodeid, name }: Request & { name: string }) {
    const child = this.#child(nodeid, name)
    if (child.isDirectory) throw Errno.of('EISDIR')
    this.#remove(nodeid, name, child)
  }

  rmdir({ nodeid, name }: Request & { name: string }) {
    const child = this.#child(nodeid, name)
    if (!child.isDirectory) throw Errno.of('ENOTDIR')
    if (child.children.size > 0) throw Errno.of('ENOTEMPTY')
    child.links--
    this.node(nodeid).links--
    this.#remove(nodeid, name, child)
  }

  #remove(parent: number, name: string, child: MemoryNode): void {
    this.node(parent).children.delete(name)
    this.node(parent).touch()
    child.links--
    child.changed = now()
    this.#drop(child)
  }

  rename(request: Request & { newParent: number; name: string; newName: string; flags: number }) {
    const { nodeid, newParent, name, newName, flags } = request
    const from = this.node(nodeid)
    const to = this.node(newParent)
    const node = this.#child(nodeid, name)
    const old = to.children.get(newName)
    if (flags & 1 && old) throw Errno.of('EEXIST')
    if (flags & 2) {
      if (!old) throw Errno.of('ENOENT')
      from.children.set(name, old)
    } else {
      if (flags & 4) throw Errno.of('EINVAL')
      if (old === node) return
      if (old) (old.isDirectory ? this.rmdir : this.unlink).call(this, { nodeid: newParent, name: newName } as never)
      from.children.delete(name)
      if (node.isDirectory) {
        from.links--
        to.links++
        node.parent = newParent
      }
    }
    to.children.set(newName, node)
    node.changed = now()
  }

  link(request: Request & { existing: number; name: string }) {
    const parent = this.node(request.nodeid)
    if (parent.children.has(request.name)) throw Errno.of('EEXIST')
    const node = this.node(request.existing)
    node.links++
    node.changed = now()
    parent.children.set(request.name, node)
    return this.#entry(node)
  }

  open({ nodeid, flags }: Request & { flags: number }): Opened {
    // O_TRUNC.
    if (flags & 0o1000) this.node(nodeid).resize(0)
    return this.#open()
  }

  create(request: CreateRequest): Created {
    const node = this.#add(this.node(request.nodeid), request.name, request.mode, request)
    return { entry: this.#entry(node), opened: this.#open() }
  }

  tmpfile(request: CreateRequest): Created {
    const node = this.#make(request.mode, request)
    node.links = 0
    return { entry: this.#entry(node), opened: this.#open() }
  }

  read({ nodeid, offset, size }: ReadRequest): Uint8Array {
    return this.node(nodeid).data.subarray(offset, offset + size)
  }

  write({ nodeid, offset, data }: { nodeid: number; offset: number; data: Uint8Array }): number {
    this.node(nodeid).write(data, offset)
    return data.length
  }

  flush() {}
  release() {}
  fsync() {}
  fsyncdir() {}
  releasedir() {}
  syncfs() {}

  opendir(): Opened {
    return { handle: 2, flags: this.#options.validMs > 0 ? FOPEN.cacheDirectory | FOPEN.keepCache : 0 }
  }

  #list({ nodeid, offset }: ReadRequest): DirectoryReply {
    const directory = this.node(nodeid)
    return (list) => {
      if (offset < 1 && !list.add('.', directory.id, DIRECTORY, 1)) return
      if (offset < 2 && !list.add('..', directory.parent, DIRECTORY, 2)) return
      let at = 2
      for (const [name, child] of directory.children) {
        if (++at <= offset) continue
        const entry = list.isPlus ? this.#entry(child) : undefined
        if (list.add(name, child.id, child.mode, at, entry)) continue
        if (entry) child.lookups--
        return
      }
    }
  }

  readdir(request: ReadRequest) {
    return this.#list(request)
  }

  readdirplus(request: ReadRequest) {
    return this.#list(request)
  }

  statfs() {
    return {
      blocks: 1_000_000,
      freeBlocks: 600_000,
      availableBlocks: 500_000,
      files: 10_000,
      freeFiles: 5_000,
      blockBytes: 4096,
      nameBytes: 255,
      fragmentBytes: 4096
    }
  }

  setxattr({ nodeid, name, value, flags }: Request & { name: string; value: Buffer; flags: number }) {
    const { xattrs } = this.node(nodeid)
    if (flags & 1 && xattrs.has(name)) throw Errno.of('EEXIST')
    if (flags & 2 && !xattrs.has(name)) throw Errno.of('ENODATA')
    xattrs.set(name, value)
  }

  getxattr({ nodeid, name }: Request & { name: string }) {
    return this.node(nodeid).xattrs.get(name) ?? Errno.of('ENODATA')
  }

  listxattr({ nodeid }: Request) {
    return Buffer.from([...this.node(nodeid).xattrs.keys()].map((name) => `${name}\0`).join(''), 'latin1')
  }

  removexattr({ nodeid, name }: Request & { name: string }) {
    if (!this.node(nodeid).xattrs.delete(name)) throw Errno.of('ENODATA')
  }

  fallocate({ nodeid, offset, length, mode }: Request & { offset: number; length: number; mode: number }) {
    const node = this.node(nodeid)
    if (mode & 2) node.data.fill(0, offset, Math.min(offset + length, node.size))
    else if (mode === 0) node.resize(Math.max(node.size, offset + length))
    else if (mode !== 1) throw Errno.of('EOPNOTSUPP')
  }

  /** A hole is a block of zeros. */
  lseek({ nodeid, offset, whence }: Request & { offset: number; whence: number }) {
    const { data, size } = this.node(nodeid)
    if (offset >= size) return Errno.of('ENXIO')
    for (let at = offset; at < size; at = (Math.floor(at / HOLE) + 1) * HOLE) {
      const block = Math.floor(at / HOLE) * HOLE
      const isHole = data.subarray(block, block + HOLE).every((byte) => byte === 0)
      if (isHole === (whence === 4)) return at
    }
    return whence === 4 ? size : Errno.of('ENXIO')
  }

  copyFileRange(r: Request & { offset: number; toNodeid: number; toOffset: number; length: number }) {
    const data = Buffer.from(this.node(r.nodeid).data.subarray(r.offset, r.offset + r.length))
    this.node(r.toNodeid).write(data, r.toOffset)
    return data.length
  }
}
