/**
 * Files of home's system that this machine has too: they are read from its own disk. This process sees the machine's system
 * directories as guests of the machine do, and reads in them only what the daemon has told it by its state: whose a file is
 * can't be seen from within a user namespace.
 */

import * as fs from 'node:fs'
import type { Attributes } from '../../protocols/file/codec.ts'
import { INLINE_BYTES_MAX } from '../../protocols/file/constants.ts'
import { type Identity, identityOf, isSameIdentity } from '../hashes.ts'
import { isUnder, SYSTEM } from '../home/view.ts'
import type { Cache } from './cache.ts'
import { isSameState, type Node } from './nodes.ts'
import { uses } from './techniques.ts'

/** Files that are open at once. */
const OPEN_MAX = 256

/** What was found for a file of home in one state. */
interface Found {
  readonly attributes: Attributes
  /** As this machine's file is known to be; undefined: it has none that is the same. */
  identity: Identity | undefined
  /** Until that is known. */
  asked: Promise<void> | undefined
}

export class OwnFiles {
  readonly #cache: Cache
  readonly #hashOf: (node: Node) => Promise<string | undefined>
  readonly #isUsed = uses('own-files')
  readonly #found = new WeakMap<Node, Found>()
  /** At most `OPEN_MAX`, in the order of their last use. */
  readonly #open = new Map<Node, number>()

  /** `hashOf`: what home says that a file holds. */
  constructor(cache: Cache, hashOf: (node: Node) => Promise<string | undefined>) {
    this.#cache = cache
    this.#hashOf = hashOf
  }

  /** Undefined: it is home's to answer. */
  read(node: Node, offset: number, size: number): Uint8Array | undefined | Promise<Uint8Array | undefined> {
    const found = this.#look(node)
    if (found.asked === undefined) return this.#read(node, found, offset, size)
    return found.asked.then(() => this.#read(node, found, offset, size))
  }

  #look(node: Node): Found {
    const before = this.#found.get(node)
    if (before !== undefined && isSameState(before.attributes, node.attributes)) return before
    this.#close(node)
    const found: Found = { attributes: node.attributes, identity: undefined, asked: undefined }
    this.#found.set(node, found)
    if (this.#isUsed && isAlike(node)) {
      found.asked = this.#ask(node, found)
        .catch(() => undefined)
        .finally(() => (found.asked = undefined))
    }
    return found
  }

  async #ask(node: Node, found: Found): Promise<void> {
    const hash = found.attributes.hash ?? (await this.#hashOf(node))
    if (hash !== undefined) found.identity = await this.#cache.own(node.path, hash)
  }

  #read(node: Node, found: Found, offset: number, size: number): Uint8Array | undefined {
    // Home's may have changed while this one was looked at.
    if (found.identity === undefined || !isSameState(found.attributes, node.attributes)) return undefined
    try {
      const fd = this.#opened(node)
      // Each time: an upgrade may be under way.
      if (isSameIdentity(identityOf(fs.fstatSync(fd, { bigint: true })), found.identity)) {
        const data = readAll(fd, offset, Math.min(size, Math.max(0, node.attributes.size - offset)))
        if (data !== undefined && isSameIdentity(identityOf(fs.fstatSync(fd, { bigint: true })), found.identity)) {
          return data
        }
      }
    } catch {
      // It is gone, or not for guests.
    }
    found.identity = undefined
    this.#close(node)
    return undefined
  }

  #opened(node: Node): number {
    const before = this.#open.get(node)
    if (before !== undefined) {
      this.#open.delete(node)
      this.#open.set(node, before)
      return before
    }
    const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK, O_NOCTTY } = fs.constants
    const fd = fs.openSync(Buffer.from(node.path, 'latin1'), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY)
    if (this.#open.size >= OPEN_MAX) this.#close(this.#open.keys().next().value!)
    this.#open.set(node, fd)
    return fd
  }

  #close(node: Node): void {
    const fd = this.#open.get(node)
    if (fd === undefined) return
    this.#open.delete(node)
    fs.closeSync(fd)
  }
}

/** Worth a question: a small file that home has not hashed comes as fast itself. */
function isAlike({ attributes, path }: Node): boolean {
  if (attributes.hash === undefined && attributes.size <= INLINE_BYTES_MAX) return false
  if (!SYSTEM.some((top) => isUnder(path, top))) return false
  const own = fs.lstatSync(Buffer.from(path, 'latin1'), { throwIfNoEntry: false })
  return own?.isFile() === true && own.size === attributes.size && own.size > 0
}

/** Undefined: it is shorter by now. */
function readAll(fd: number, offset: number, bytes: number): Uint8Array | undefined {
  const data = Buffer.allocUnsafeSlow(bytes)
  for (let filled = 0; filled < bytes; ) {
    const count = fs.readSync(fd, data, filled, bytes - filled, offset + filled)
    if (count === 0) return undefined
    filled += count
  }
  return data
}
