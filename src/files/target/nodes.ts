/**
 * What the target knows of home's tree: names of directories that were listed, and the files that the kernel was told of,
 * by their numbers. What home watches is good until its news say otherwise; everything else for a moment.
 */

import type { ByteString } from '../../protocols/file/bytes.ts'
import type { Attributes, Entry, Version } from '../../protocols/file/codec.ts'
import { NAME_BYTES_MAX, PATH_BYTES_MAX } from '../../protocols/file/constants.ts'
import { Errno } from '../fuse/errno.ts'
import type { Draft } from './drafts.ts'

/** ms for which something that home does not watch is believed. */
export const MOMENT = 1000
/** Names of all listed directories together; beyond, those listed longest ago are forgotten. */
const NAMES_MAX = 300_000
/** Names of one directory that the kernel may hold to be absent. */
const ABSENT_MAX = 10_000

/** Where a file is. */
export interface Place {
  readonly parent: Node
  readonly name: ByteString
}

/** A name in a listed directory. */
export interface Known {
  attributes: Attributes
  link: ByteString | undefined
}

export interface Listing {
  /** All of them, or, when it is not whole, those that were asked for. */
  readonly names: Map<ByteString, Known>
  /** Names of which the kernel was told that they are not there; at most `ABSENT_MAX`. */
  readonly absent: Set<ByteString>
  readonly isWatched: boolean
  readonly isWhole: boolean
  readonly at: number
}

/** Home is being asked for what is in a directory. */
export interface Listed {
  /** However much it is. */
  readonly isWhole: boolean
  /** Single names can be looked up. */
  readonly begun: Promise<void>
  readonly ended: Promise<void>
}

/** What nothing is below of. */
const NO_CHILDREN: Map<ByteString, Node> = new Map()

/** A file or directory that the kernel knows. */
export class Node {
  readonly id: number
  attributes: Attributes
  link: ByteString | undefined
  /** ms as of `performance.now`, until which the attributes are believed; Infinity: until news. */
  freshUntil = 0
  /** How often the kernel was told of it. */
  lookups = 0
  /** Files that are open. */
  opened = 0
  /** Open files that write. */
  writers = 0
  /** As many as it has names that were looked up; one for a directory, none for what is deleted. */
  places: Place[]
  /** What the kernel knows below it, by name. */
  readonly children: Map<ByteString, Node>
  listing: Listing | undefined
  /** One at a time. */
  listed: Listed | undefined
  /** What became of names while home lists the directory: it may have come to them before. */
  meanwhile: Map<ByteString, Known | undefined> | undefined
  /** Of what the kernel's pages hold. */
  pages: Version | undefined
  /** What it holds, while it is made here. */
  draft: Draft | undefined
  /** How often something was written here: what was read before counts no more, whatever its time says. */
  changes = 0

  constructor(id: number, attributes: Attributes, link: ByteString | undefined, places: Place[]) {
    this.id = id
    this.attributes = attributes
    this.link = link
    this.places = places
    this.children = this.isDirectory ? new Map() : NO_CHILDREN
  }

  get isDirectory(): boolean {
    return (this.attributes.mode & 0o170000) === 0o040000
  }

  /** Throws ESTALE for what has no name any more. */
  get path(): ByteString {
    const place = this.places[0]
    if (place === undefined) {
      if (this.id === ROOT) return '/'
      throw Errno.of('ESTALE')
    }
    return pathIn(place.parent, place.name)
  }
}

/** Throws ENAMETOOLONG for what no system call takes. */
export function pathIn(parent: Node, name: ByteString): ByteString {
  const above = parent.path
  const path = above === '/' ? `/${name}` : `${above}/${name}`
  if (name.length > NAME_BYTES_MAX || path.length > PATH_BYTES_MAX) throw Errno.of('ENAMETOOLONG')
  return path
}

export function isSameVersion(a: Version | undefined, b: Version): boolean {
  return (
    a !== undefined &&
    a.inode === b.inode &&
    a.size === b.size &&
    a.modified.s === b.modified.s &&
    a.modified.ns === b.modified.ns
  )
}

/** As far as can be seen, nothing happened to it. */
export function isSameState(a: Attributes, b: Attributes): boolean {
  return (
    a === b ||
    (isSameVersion(a, b) && a.device === b.device && a.changed.s === b.changed.s && a.changed.ns === b.changed.ns)
  )
}

const ROOT = 1

/** Of what the kernel holds, something is no longer so. */
export interface Invalidator {
  /** Attributes, and with `pages` what the file holds. */
  inode(node: Node, pages: boolean): void
  /** `isGone`: the file is no longer there under this name. */
  entry(parent: Node, name: ByteString, isGone: boolean): void
}

export class Nodes {
  readonly root: Node
  readonly #invalidate: Invalidator
  readonly #now: () => number
  /** As many as the kernel knows, and the root. */
  readonly #byId = new Map<number, Node>()
  /** The same by what they are at home: files with several names are one. */
  readonly #byIdentity = new Map<string, Node>()
  /** With listings, those listed longest ago first; their names are at most `NAMES_MAX`, but for the latest. */
  readonly #listed = new Set<Node>()
  #names = 0
  #lastId = ROOT

  constructor(root: Attributes, invalidate: Invalidator, now: () => number) {
    this.#invalidate = invalidate
    this.#now = now
    this.root = new Node(ROOT, root, undefined, [])
    this.#byId.set(ROOT, this.root)
    this.#byIdentity.set(identityOf(root), this.root)
  }

  /** Throws ESTALE. */
  get(id: number): Node {
    const node = this.#byId.get(id)
    if (node === undefined) throw Errno.of('ESTALE')
    return node
  }

  get size(): number {
    return this.#byId.size
  }

  /** The listing of a directory, if it is still good. */
  listing(directory: Node): Listing | undefined {
    const { listing } = directory
    if (listing === undefined || listing.isWatched || listing.at + MOMENT > this.#now()) return listing
    this.#unlist(directory)
    return undefined
  }

  /** Home listed a directory; false: what it said is no longer so, ask again. */
  list(directory: Node, entries: readonly Entry[], isWatched: boolean, own: Attributes | undefined): boolean {
    const { meanwhile } = directory
    directory.meanwhile = undefined
    if (meanwhile === undefined) return false
    const absent = directory.listing?.absent ?? new Set()
    this.#unlist(directory)
    const names = new Map<ByteString, Known>()
    for (const { name, attributes, link } of entries) if (attributes) names.set(name, { attributes, link })
    for (const [name, known] of meanwhile) {
      if (known === undefined) names.delete(name)
      else names.set(name, known)
    }
    for (const name of absent) if (names.has(name)) absent.delete(name)
    directory.listing = { names, absent, isWatched, isWhole: true, at: this.#now() }
    this.#listed.add(directory)
    this.#names += names.size
    for (const [name, child] of directory.children) {
      const known = names.get(name)
      if (known === undefined || !isSameFile(child, known)) this.#leave(child, directory, name)
      else this.learn(child, known.attributes)
    }
    for (const oldest of this.#listed) {
      if (this.#names <= NAMES_MAX || oldest === directory) break
      this.#forgetListing(oldest)
    }
    // What was done here since is not in it, perhaps.
    if (own?.inode === directory.attributes.inode && meanwhile.size === 0) this.learn(directory, own)
    return true
  }

  /** A directory of which not all names are fetched: what is in it is asked for one by one. */
  begin(directory: Node, isWatched: boolean): void {
    if (directory.listing !== undefined) return
    directory.listing = { names: new Map(), absent: new Set(), isWatched, isWhole: false, at: this.#now() }
    this.#listed.add(directory)
  }

  /** The node of a name. */
  at(directory: Node, listing: Listing, name: ByteString): Node | undefined {
    const known = listing.names.get(name)
    if (known === undefined) return undefined
    const child = directory.children.get(name)
    if (child !== undefined && isSameFile(child, known)) return child
    return this.#place(directory, name, known)
  }

  /** The kernel is told that a name is not there; for how many ms. */
  absent(listing: Listing, name: ByteString): number {
    if (!listing.isWatched || listing.absent.size >= ABSENT_MAX) return MOMENT
    listing.absent.add(name)
    return Number.POSITIVE_INFINITY
  }

  #place(directory: Node, name: ByteString, known: Known): Node {
    const other = directory.children.get(name)
    if (other !== undefined) this.#leave(other, directory, name)
    const identity = identityOf(known.attributes)
    const found = this.#byIdentity.get(identity)
    if (found === undefined || found === this.root || !isSameFile(found, known)) {
      const node = new Node(++this.#lastId, known.attributes, known.link, [{ parent: directory, name }])
      this.#byId.set(node.id, node)
      if (found !== this.root) this.#byIdentity.set(identity, node)
      directory.children.set(name, node)
      node.freshUntil = this.#freshUntil(node)
      return node
    }
    // It is elsewhere now; or a directory is shown twice by a bind mount: the last way is as good as the first.
    if (found.isDirectory || known.attributes.links === 1)
      for (const { parent, name } of [...found.places]) this.#leave(found, parent, name)
    this.#byIdentity.set(identity, found)
    // Others may be below a directory that is gone.
    found.places.unshift({ parent: directory, name })
    directory.children.set(name, found)
    if (found.freshUntil > this.#now()) known.attributes = found.attributes
    else this.learn(found, known.attributes)
    return found
  }

  /** A file no longer has that name. */
  #leave(node: Node, directory: Node, name: ByteString): void {
    if (directory.children.get(name) === node) directory.children.delete(name)
    node.places = node.places.filter((place) => place.parent !== directory || place.name !== name)
    // Its links are fewer.
    node.freshUntil = 0
    if (node.isDirectory) this.#forgetTree(node)
    const identity = identityOf(node.attributes)
    if (node.places.length === 0 && this.#byIdentity.get(identity) === node) this.#byIdentity.delete(identity)
  }

  /**
   * What a directory holds changes its own attributes, which only news of itself tell; what is written through one of a
   * file's names is not told of the others, but what the user may not write is replaced rather; and what is written here is not
   * at home yet.
   */
  #freshUntil(node: Node): number {
    if (node.isDirectory) return node.listing?.isWatched ? Number.POSITIVE_INFINITY : 0
    const { links, access } = node.attributes
    if (node.writers > 0 || (links !== 1 && (access & 2) !== 0)) return 0
    return node.places[0]?.parent.listing?.isWatched ? Number.POSITIVE_INFINITY : this.#now() + MOMENT
  }

  /** Home said what a file is now. */
  learn(node: Node, attributes: Attributes): void {
    if (node.attributes.hash !== undefined && isSameState(node.attributes, attributes)) {
      attributes.hash ??= node.attributes.hash
    }
    node.attributes = attributes
    node.freshUntil = this.#freshUntil(node)
    for (const { parent, name } of node.places) this.#set(parent, name, { attributes, link: node.link }, false)
  }

  /** The kernel is to forget what it has of the file, whether or not that has changed. */
  forgetPages(node: Node): void {
    node.pages = undefined
    this.#invalidate.inode(node, true)
  }

  /** Of a name that is there already, unless it `isNew`. */
  #set(directory: Node, name: ByteString, known: Known | undefined, isNew = true): void {
    const { listing, meanwhile } = directory
    meanwhile?.set(name, known)
    if (listing === undefined || (!isNew && !listing.names.has(name))) return
    this.#names -= listing.names.size
    if (known === undefined) listing.names.delete(name)
    else listing.names.set(name, known)
    this.#names += listing.names.size
    listing.absent.delete(name)
  }

  /** A name that was made here; `parent`: what the directory is after that. */
  add(
    directory: Node,
    name: ByteString,
    attributes: Attributes,
    link: ByteString | undefined,
    parent?: Attributes
  ): Node {
    this.#touch(directory, parent)
    return this.found(directory, name, attributes, link)
  }

  /** A name that is there. */
  found(directory: Node, name: ByteString, attributes: Attributes, link: ByteString | undefined): Node {
    const known: Known = { attributes, link }
    this.#set(directory, name, known)
    const child = directory.children.get(name)
    const node = child !== undefined && isSameFile(child, known) ? child : this.#place(directory, name, known)
    this.learn(node, attributes)
    return node
  }

  /** What a directory holds has changed, and so what it is itself: that is known, or not. */
  #touch(directory: Node, attributes: Attributes | undefined): void {
    directory.freshUntil = 0
    if (attributes?.inode === directory.attributes.inode) this.learn(directory, attributes)
  }

  /** A name is gone. */
  remove(directory: Node, name: ByteString, parent?: Attributes): void {
    this.#set(directory, name, undefined)
    this.#touch(directory, parent)
    const child = directory.children.get(name)
    if (child !== undefined) this.#leave(child, directory, name)
  }

  /** A name moved, over another or not. */
  move(from: Node, name: ByteString, to: Node, newName: ByteString): void {
    const node = from.children.get(name)
    const other = to.children.get(newName)
    // Two names of one file: nothing happens.
    if (node !== undefined && node === other) return
    this.remove(to, newName)
    this.#set(from, name, undefined)
    from.freshUntil = 0
    if (node === undefined) {
      this.#forgetListing(to)
      return
    }
    from.children.delete(name)
    node.places = node.places.filter((place) => place.parent !== from || place.name !== name)
    node.places.push({ parent: to, name: newName })
    to.children.set(newName, node)
    node.freshUntil = 0
    this.#set(to, newName, { attributes: node.attributes, link: node.link })
  }

  /** Two names changed places. */
  exchange(from: Node, name: ByteString, to: Node, newName: ByteString): void {
    const [node, other] = [from.children.get(name), to.children.get(newName)]
    from.freshUntil = 0
    to.freshUntil = 0
    if (node === undefined || other === undefined) {
      if (node !== undefined) this.#leave(node, from, name)
      if (other !== undefined) this.#leave(other, to, newName)
      for (const directory of [from, to]) this.#forgetListing(directory)
      return
    }
    if (node === other) return
    this.#leaveFor(node, from, name, to, newName)
    this.#leaveFor(other, to, newName, from, name)
  }

  /** In the place of what is there, which goes elsewhere. */
  #leaveFor(node: Node, from: Node, name: ByteString, to: Node, newName: ByteString): void {
    const place = node.places.findIndex((place) => place.parent === from && place.name === name)
    node.places.splice(place < 0 ? node.places.length : place, 1, { parent: to, name: newName })
    to.children.set(newName, node)
    node.freshUntil = 0
    this.#set(to, newName, { attributes: node.attributes, link: node.link })
  }

  /** The kernel has dropped so many of its lookups. */
  forget(id: number, count: number): void {
    const node = this.#byId.get(id)
    if (node === undefined || node === this.root) return
    node.lookups -= count
    this.#drop(node)
  }

  /** Nobody knows it any more, perhaps. */
  closed(node: Node): void {
    node.opened--
    this.#drop(node)
  }

  #drop(node: Node): void {
    if (node.lookups > 0 || node.opened > 0) return
    this.#byId.delete(node.id)
    const identity = identityOf(node.attributes)
    if (this.#byIdentity.get(identity) === node) this.#byIdentity.delete(identity)
    this.#unlist(node)
    for (const { parent, name } of node.places) {
      if (parent.children.get(name) === node) parent.children.delete(name)
    }
    node.places = []
  }

  // ---------------------------------------------------------------------------------------------------------- news

  /** Of a directory by its path; no entries: nothing is known of it any more. */
  changed(path: ByteString, entries: readonly Entry[]): void {
    const directory = this.#find(path)
    if (directory === undefined) return
    if (entries.length === 0) this.#forgetListing(directory)
    for (const entry of entries) this.#changedEntry(directory, entry)
    directory.freshUntil = 0
    this.#invalidate.inode(directory, false)
  }

  #changedEntry(directory: Node, { name, attributes, link }: Entry): void {
    const child = directory.children.get(name)
    if (attributes === undefined) {
      this.remove(directory, name)
      this.#gone(directory, name)
      return
    }
    const known: Known = { attributes, link }
    if (child !== undefined && isSameFile(child, known)) {
      this.#set(directory, name, known)
      this.#changedNode(child, attributes)
      return
    }
    if (child !== undefined) this.#leave(child, directory, name)
    this.#set(directory, name, known)
    this.#gone(directory, name)
    // Another name of a file that is known: only this one's directory tells so.
    const other = this.#byIdentity.get(identityOf(attributes))
    if (other !== undefined && !other.isDirectory && isSameFile(other, known)) this.#changedNode(other, attributes)
  }

  /** At the top there are mounts, which must not go with a name. */
  #gone(directory: Node, name: ByteString): void {
    this.#invalidate.entry(directory, name, directory !== this.root)
  }

  #changedNode(node: Node, attributes: Attributes): void {
    const before = node.attributes
    node.draft?.end()
    this.learn(node, attributes)
    // Where it is written the kernel asks each time, but for what it was told before that; then it sees itself whether its
    // pages are still good.
    this.#invalidate.inode(node, node.writers === 0 && !isSameVersion(before, attributes))
  }

  #find(path: ByteString): Node | undefined {
    let node: Node | undefined = this.root
    if (path === '/') return node
    for (const name of path.slice(1).split('/')) {
      node = node.children.get(name)
      if (node === undefined) return undefined
    }
    return node
  }

  /** Nothing is known to be as it was. */
  reset(): void {
    for (const node of this.#byId.values()) {
      node.freshUntil = 0
      node.draft?.end()
      this.#invalidate.inode(node, false)
    }
    for (const directory of [...this.#listed]) this.#forgetListing(directory)
  }

  /** It is not known where it is: home tells no news of it or anything below. */
  #forgetTree(top: Node): void {
    const waiting = [top]
    for (let node = waiting.pop(); node !== undefined; node = waiting.pop()) {
      this.#forgetListing(node)
      for (const child of node.children.values()) if (child.isDirectory) waiting.push(child)
    }
  }

  #forgetListing(directory: Node): void {
    directory.meanwhile = undefined
    for (const [name, child] of directory.children) {
      child.freshUntil = 0
      this.#invalidate.entry(directory, name, false)
      this.#invalidate.inode(child, false)
    }
    for (const name of directory.listing?.absent ?? []) this.#invalidate.entry(directory, name, false)
    this.#unlist(directory)
    directory.freshUntil = 0
  }

  #unlist(directory: Node): void {
    if (directory.listing === undefined) return
    this.#names -= directory.listing.names.size
    directory.listing = undefined
    this.#listed.delete(directory)
  }
}

/** A number may be of another file by now: at least it is of the same type, and leads to the same where it is a link. */
function isSameFile(node: Node, { attributes, link }: Known): boolean {
  const is = node.attributes
  return (
    is.inode === attributes.inode &&
    is.device === attributes.device &&
    ((is.mode ^ attributes.mode) & 0o170000) === 0 &&
    node.link === link
  )
}

function identityOf({ device, inode }: Attributes): string {
  return `${device}:${inode}`
}
