/**
 * Locks of the jobs here, which home holds. Whoever gets one sees what others did before: the kernel forgets what it has of
 * the file. Those of fcntl(2) end when their owner closes the file, by whatever descriptor; all that were taken by an open
 * file, with that.
 */

import type { Answer as HomeAnswer } from '../../protocols/file/codec.ts'
import { LOCK_BYTES, LOCK_END, LOCK_NONE } from '../../protocols/file/codec.ts'
import { Errno } from '../fuse/errno.ts'
import type { Lock, LockRequest } from '../fuse/requests.ts'
import type { Node, Nodes } from './nodes.ts'
import type { OpenFile, OpenFiles } from './open-files.ts'
import type { Remote } from './remote.ts'

/** ms for which a lock is waited for: the kernel takes a mount that answers later for dead, see main.ts. */
const WAIT_MS = 3_500_000

export interface LocksInit {
  remote: Remote
  nodes: Nodes
  files: OpenFiles
  /** What the kernel was to forget it has forgotten. */
  forgotten(): Promise<unknown>
}

export class Locks {
  readonly #remote: Remote
  readonly #nodes: Nodes
  readonly #files: OpenFiles
  readonly #forgotten: () => Promise<unknown>
  /** Who may have locks of fcntl(2) on a file, and by which open files; as many as there are programs that lock. */
  readonly #owners = new Map<Node, Map<bigint, Set<OpenFile>>>()

  constructor({ remote, nodes, files, forgotten }: LocksInit) {
    this.#remote = remote
    this.#nodes = nodes
    this.#files = files
    this.#forgotten = forgotten
  }

  async lock(request: LockRequest, waits: boolean): Promise<void> {
    const file = this.#files.get(request.handle)
    const { lock, isFlock, owner } = request
    // It may be changed elsewhere, too.
    file.node.draft?.end()
    if (lock.type === LOCK_NONE) {
      if (!isFlock && !this.#owners.get(file.node)?.has(owner)) return
      // What is mapped and changed goes home before others may look.
      if (file.writes) await this.#forget(file.node)
      if (!isFlock && lock.start === 0n && lock.end === LOCK_END) {
        await this.flush(file, owner)
        return
      }
    } else if (!isFlock) this.#remember(file, owner)
    const fields = { ...(await this.#asked(file, request)), wait: waits ? 1 : 0, whole: isFlock ? 1 : 0 }
    const answer = waits ? await this.#wait(request, fields) : await this.#remote.ask('lock', fields)
    if (lock.type !== LOCK_NONE) await this.#got(file, isFlock ? undefined : owner, answer)
  }

  async #wait(request: LockRequest, fields: Parameters<Remote['wait']>[0]): Promise<HomeAnswer> {
    const late = AbortSignal.timeout(WAIT_MS)
    try {
      return await this.#remote.wait(fields, AbortSignal.any([request.signal, late]))
    } catch (error) {
      throw late.aborted && !request.signal.aborted ? Errno.of('ENOLCK') : error
    }
  }

  async #got(file: OpenFile, owner: bigint | undefined, { attributes }: HomeAnswer): Promise<void> {
    // It may have closed the file while it waited in another thread.
    if (owner !== undefined) this.#remember(file, owner)
    if (attributes?.inode === file.node.attributes.inode) this.#nodes.learn(file.node, attributes)
    await this.#forget(file.node)
  }

  #forget(node: Node): Promise<unknown> {
    this.#files.forget(node)
    this.#nodes.forgetPages(node)
    return this.#forgotten()
  }

  async test(request: LockRequest): Promise<Lock> {
    const asked = await this.#asked(this.#files.get(request.handle), request)
    const { data } = await this.#remote.ask('testLock', asked)
    if (data?.length !== LOCK_BYTES) throw Errno.of('EIO')
    const is = Buffer.from(data)
    if (is[0] === LOCK_NONE) return { ...request.lock, type: LOCK_NONE }
    // Whoever it is has no number here.
    return { type: is[0]!, start: is.readBigInt64BE(1), end: is.readBigInt64BE(9), pid: 0 }
  }

  async #asked(file: OpenFile, { owner, lock: { type, start, end } }: LockRequest) {
    const handle = await this.#files.opened(file)
    return { handle, owner: BigInt.asIntN(64, owner), type, start, end }
  }

  #remember(file: OpenFile, owner: bigint): void {
    if (file.closed) return
    const owners = this.#owners.get(file.node) ?? new Map<bigint, Set<OpenFile>>()
    this.#owners.set(file.node, owners)
    owners.set(owner, (owners.get(owner) ?? new Set()).add(file))
  }

  /** Some program may have a lock of fcntl(2) on it. */
  has(node: Node): boolean {
    return this.#owners.has(node)
  }

  /** Undefined where there is nothing to end. */
  flush(file: OpenFile, owner: bigint): Promise<unknown> | undefined {
    const owners = this.#owners.get(file.node)
    const by = owners?.get(owner)
    if (owners === undefined || by === undefined) return undefined
    owners.delete(owner)
    if (owners.size === 0) this.#owners.delete(file.node)
    const { handle } = [...by].find((other) => other.handle !== 0) ?? file
    if (handle === 0) return undefined
    const whole = { start: 0n, end: LOCK_END, type: LOCK_NONE, wait: 0, whole: 0 }
    return this.#remote.ask('lock', { handle, owner: BigInt.asIntN(64, owner), ...whole })
  }

  /** Home ends with the open file what was locked by it. */
  closed(file: OpenFile): void {
    const owners = this.#owners.get(file.node)
    if (owners === undefined) return
    for (const [owner, by] of owners) if (by.delete(file) && by.size === 0) owners.delete(owner)
    if (owners.size === 0) this.#owners.delete(file.node)
  }
}
