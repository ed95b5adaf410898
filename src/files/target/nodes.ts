/**
 * What the target knows of home's tree: names of directories that were listed, and the files that the kernel was told of,
 * by their numbers. What home watches is good until its news say otherwise; everything else for a moment.
 */

import type { ByteString } from '../../protocols/file/bytes.ts'
import type { Attributes, Entry, Version } from '../../protocols/file/codec.ts'
import { NAME_BYTES_MAX, PATH_BYTES_MAX } from '../../protocols/file/constants.ts'
import { Errno } from '../fuse/errno.ts'

/** ms for which something that home does not watch is believed. */
export const MOMENT = 1000
/** Names of all listed directories together; beyond, those listed longest ago are forgotten. */
const NAMES_MAX = 300_000

/** Where a file is. */
export interface Place {
  readonly parent: Node
  readonly name: ByteString
}

/** A name in a listed directory. */
interface Known {
  attributes: Attributes
  link: ByteString | undefined
  /** When the kernel knows it. */
  node: Node | undefined
}

interface Listing {
  /** All of them. */
  readonly names: Map<ByteString, Known>
  readonly isWatched: boolean
  readonly at: number
}

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
  listing: Listing | undefined
  /** One at a time. */
  listed: Promise<void> | undefined
  /** Of what the kernel's pages hold. */
  pages: Version | undefined

  constructor(id: number, attributes: Attributes, link: ByteString | undefined, places: Place[]) {
    this.id = id
    this.attributes = attributes
    this.link = link
    this.places = places
  }

  get isDirectory(): boolean {
    return (this.attributes.mode & 0o170000) === 0o040000
  }

  get isRegular(): boolean {
    return (this.attributes.mode & 0o170000) === 0o100000
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

const ROOT = 1

/** Of what the kernel holds, something is no longer so. */
export interface Invalidator {
  /** Attributes, and with `pages` what the file holds. */
  inode(node: Node, pages: boolean): void
  entry(parent: Node, name: ByteString): void
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

  /** Home listed a directory. */
  list(directory: Node, entries: readonly Entry[], isWatched: boolean): void {
    const before = directory.listing?.names
    this.#unlist(directory)
    const names = new Map<ByteString, Known>()
    for (const { name, attributes, link } of entries) {
      if (attributes === undefined) continue
      const node = before?.get(name)?.node ?? this.#byIdentity.get(identityOf(attributes))
      const isHere = node?.places.some((place) => place.parent === directory && place.name === name) === true
      names.set(name, { attributes, link, node: isHere ? node : undefined })
      if (isHere) this.learn(node!, attributes, isWatched)
    }
    directory.listing = { names, isWatched, at: this.#now() }
    this.#listed.add(directory)
    this.#names += names.size
    for (const oldest of this.#listed) {
      if (this.#names <= NAMES_MAX || oldest === directory) break
      this.#forgetListing(oldest)
    }
  }

  /** The node of a name; how long the kernel may believe both. */
  at(directory: Node, listing: Listing, name: ByteString): Node | undefined {
    const known = listing.names.get(name)
    if (known === undefined) return undefined
    known.node ??= this.#nodeOf(directory, name, known, listing)
    return known.node
  }

  #nodeOf(directory: Node, name: ByteString, { attributes, link }: Known, listing: Listing): Node {
    const place = { parent: directory, name }
    const identity = identityOf(attributes)
    let node = this.#byIdentity.get(identity)
    if (node === undefined || node === this.root) {
      node = new Node(++this.#lastId, attributes, link, [place])
      this.#byId.set(node.id, node)
      this.#byIdentity.set(identity, node)
      node.freshUntil = this.#freshUntil(node, listing)
    } else if (node.isDirectory) {
      // It is elsewhere now, or shown twice by a bind mount: the last way is as good as the first.
      this.#dropPlaces(node)
      node.places = [place]
      this.learn(node, attributes, listing.isWatched)
    } else {
      node.places.push(place)
      this.learn(node, attributes, listing.isWatched)
    }
    return node
  }

  /** What a directory holds changes its own attributes: only news of itself tell that. */
  #freshUntil(node: Node, listing: Pick<Listing, 'isWatched'> | undefined): number {
    const isWatched = node.isDirectory ? node.listing?.isWatched === true : listing?.isWatched === true
    return isWatched ? Number.POSITIVE_INFINITY : this.#now() + MOMENT
  }

  /** Home said what a file is now. */
  learn(node: Node, attributes: Attributes, isWatched = node.places[0]?.parent.listing?.isWatched === true): void {
    node.attributes = attributes
    node.freshUntil = this.#freshUntil(node, { isWatched })
    for (const { parent, name } of node.places) {
      const known = parent.listing?.names.get(name)
      if (known !== undefined) known.attributes = attributes
    }
  }

  /** A name that was made here. */
  add(directory: Node, name: ByteString, attributes: Attributes, link: ByteString | undefined): Node {
    const listing = directory.listing ?? { names: new Map(), isWatched: false, at: 0 }
    const before = listing.names.get(name)
    if (before === undefined && listing === directory.listing) this.#names++
    const known: Known = { attributes, link, node: undefined }
    listing.names.set(name, known)
    known.node = this.#nodeOf(directory, name, known, listing)
    directory.freshUntil = 0
    return known.node
  }

  /** A name is gone. */
  remove(directory: Node, name: ByteString): void {
    const known = directory.listing?.names.get(name)
    if (known !== undefined) {
      directory.listing!.names.delete(name)
      this.#names--
    }
    directory.freshUntil = 0
    const node = known?.node
    if (node === undefined) return
    node.places = node.places.filter((place) => place.parent !== directory || place.name !== name)
    // Its links are fewer.
    node.freshUntil = 0
    if (node.places.length === 0) this.#byIdentity.delete(identityOf(node.attributes))
  }

  /** A name moved, over another or not. */
  move(from: Node, name: ByteString, to: Node, newName: ByteString): void {
    const known = from.listing?.names.get(name)
    const node = known?.node
    this.remove(to, newName)
    this.remove(from, name)
    if (known === undefined) return
    if (to.listing !== undefined) {
      to.listing.names.set(newName, known)
      this.#names++
    }
    if (node === undefined) return
    node.places.push({ parent: to, name: newName })
    this.#byIdentity.set(identityOf(node.attributes), node)
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
    this.#dropPlaces(node)
  }

  #dropPlaces(node: Node): void {
    for (const { parent, name } of node.places) {
      const known = parent.listing?.names.get(name)
      if (known?.node === node) known.node = undefined
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
    const known = directory.listing?.names.get(name)
    if (attributes === undefined) {
      this.remove(directory, name)
      this.#invalidate.entry(directory, name)
    } else if (known !== undefined && identityOf(known.attributes) === identityOf(attributes)) {
      known.attributes = attributes
      if (known.node !== undefined) this.#changedNode(known.node, attributes)
    } else {
      this.remove(directory, name)
      if (directory.listing !== undefined) {
        directory.listing.names.set(name, { attributes, link, node: undefined })
        this.#names++
      }
      this.#invalidate.entry(directory, name)
    }
  }

  #changedNode(node: Node, attributes: Attributes): void {
    const before = node.attributes
    this.learn(node, attributes)
    const isSame = isSameVersion(before, attributes)
    // What is written here comes back as news.
    if (node.writers > 0) node.freshUntil = 0
    else this.#invalidate.inode(node, !isSame)
  }

  #find(path: ByteString): Node | undefined {
    let node: Node | undefined = this.root
    if (path === '/') return node
    for (const name of path.slice(1).split('/')) {
      node = node.listing?.names.get(name)?.node
      if (node === undefined) return undefined
    }
    return node
  }

  /** Nothing is known to be as it was. */
  reset(): void {
    for (const node of this.#byId.values()) {
      node.freshUntil = 0
      this.#invalidate.inode(node, false)
    }
    for (const directory of [...this.#listed]) this.#forgetListing(directory)
  }

  #forgetListing(directory: Node): void {
    for (const [name, { node }] of directory.listing?.names ?? []) {
      if (node === undefined) continue
      node.freshUntil = 0
      this.#invalidate.entry(directory, name)
    }
    this.#unlist(directory)
    // Names that are known not to be there can't be told apart: the kernel asks again for all below it.
    directory.freshUntil = 0
    const [place] = directory.places
    if (place !== undefined) this.#invalidate.entry(place.parent, place.name)
  }

  #unlist(directory: Node): void {
    if (directory.listing === undefined) return
    this.#names -= directory.listing.names.size
    directory.listing = undefined
    this.#listed.delete(directory)
  }
}

function identityOf({ device, inode }: Attributes): string {
  return `${device}:${inode}`
}
