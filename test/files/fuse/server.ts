/**
 * Serves a tree in memory on descriptor 3, in the namespaces where it was mounted. Arguments: a JSON object of session
 * options. Names at the root that begin with `+` misbehave, see `Misbehaving`. Standard input takes lines of JSON, each
 * answered by one.
 */

import { appendFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { FuseDevice } from '../../../src/files/fuse/device.ts'
import { Errno } from '../../../src/files/fuse/errno.ts'
import type { LockRequest, NameRequest, ReadRequest, Request, WriteRequest } from '../../../src/files/fuse/requests.ts'
import { FuseSession, type SessionOptions } from '../../../src/files/fuse/session.ts'
import { MemoryTree } from './memory-tree.ts'

const MAX_WRITE = 1 << 20
interface Given extends Partial<SessionOptions> {
  validMs?: number
  openFlags?: number
  /** A file that gets every frame in hex: how fixtures/frames.txt was made. */
  record?: string
}
const given = JSON.parse(process.argv[2] ?? '{}') as Given
const faults: string[] = []
const held: (() => void)[] = []
/** Writes to `kept`: as many as programs make between two calls of close. */
const later: (() => void)[] = []
/** Reads of `held` wait. */
let isHolding = false
let waiting = 0
let interrupted = 0

class Misbehaving extends MemoryTree {
  /** Resolves by the command `free`; until then it counts as waiting. */
  #hold<T>(request: Request, value: () => T): Promise<T> {
    waiting++
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    held.push(() => resolve(value()))
    request.signal.addEventListener('abort', () => {
      interrupted++
      reject(Errno.of('EINTR'))
    })
    return promise.finally(() => waiting--)
  }

  override lookup(request: NameRequest): ReturnType<MemoryTree['lookup']> {
    const { name } = request
    if (name === '+throws') throw new Error('deliberate')
    if (name === '+errno') throw Errno.of('EUCLEAN')
    if (name === '+rejects') return Promise.reject(new TypeError('deliberate')) as never
    if (name === '+wrong') return undefined as never
    if (name === '+never') {
      waiting++
      return new Promise(() => {}) as never
    }
    if (name.startsWith('+hold')) return this.#hold(request, () => Errno.of('ENOENT')) as never
    if (name.startsWith('+later'))
      return new Promise((resolve) => setImmediate(() => resolve(super.lookup(request)))) as never
    return super.lookup(request)
  }

  override read(request: ReadRequest): Uint8Array {
    const { children } = this.root
    if (request.nodeid === children.get('held')?.id && isHolding) {
      return this.#hold(request, () => super.read(request)) as never
    }
    return super.read(request)
  }

  /** What is written to `kept` is acknowledged at once, and kept as it came until the file is closed. */
  override write(request: WriteRequest): number {
    const { nodeid, offset, data } = request
    const node = this.root.children.get('kept')
    if (nodeid !== node?.id) return super.write(request)
    const kept = request.keep()
    if (offset + data.length > node.size) node.resize(offset + data.length)
    later.push(() => {
      node.write(kept.data, offset)
      kept.release()
      kept.release()
    })
    return data.length
  }

  override flush() {
    for (const write of later.splice(0)) write()
  }

  setlkw(request: LockRequest): Promise<undefined> {
    return this.#hold(request, () => undefined)
  }

  setlk(): Errno {
    return Errno.of('EAGAIN')
  }
}

const tree = new Misbehaving({ validMs: given.validMs ?? 0, openFlags: given.openFlags ?? 0 })
tree.put('held', Buffer.from('held\n'))
const device = new FuseDevice(3, MAX_WRITE)
if (given.record !== undefined) {
  const path = given.record
  const start = device.start.bind(device)
  device.start = (events) =>
    start({
      ...events,
      onFrame(frame) {
        appendFileSync(path, `${frame.opcode} ${frame.bytes.toString('hex', 0, frame.length)}\n`)
        events.onFrame(frame)
      }
    })
}
const session = new FuseSession(device, tree, {
  maxBackground: 64,
  posixLocks: false,
  flockLocks: false,
  invalidation: 'auto',
  readdirplus: 'auto',
  writebackCache: false,
  cacheSymlinks: true,
  killPrivileges: false,
  kernelLimitS: 0,
  limitMs: 20_000,
  lateErrno: 'ETIMEDOUT',
  maxPending: 1000,
  maxLockWaits: 10,
  onFault: (error, what) => faults.push(`${what}: ${error instanceof Error ? error.message : error}`),
  ...given
})

const commands: Record<string, (argument: never) => unknown> = {
  async agreement() {
    return { ...(await session.initialized) }
  },
  state() {
    return { faults, waiting, interrupted, nodes: tree.nodes.size, held: held.length }
  },
  free() {
    for (const resolve of held.splice(0)) resolve()
  },
  hold({ on }: { on: boolean }) {
    isHolding = on
  },
  put({ name, text }: { name: string; text: string }) {
    return tree.put(name, Buffer.from(text)).id
  },
  drop({ name }: { name: string }) {
    tree.root.children.delete(name)
  },
  async invalidateInode({ name }: { name: string }) {
    await session.invalidateInode(tree.root.children.get(name)!.id)
  },
  async invalidateEntry({ name }: { name: string }) {
    await session.invalidateEntry(1, name)
  },
  async deleteEntry({ name, id }: { name: string; id: number }) {
    await session.deleteEntry(1, id, name)
  },
  exit() {
    process.exit()
  },
  async close() {
    return await session.close('EHOSTDOWN')
  }
}

createInterface({ input: process.stdin }).on('line', async (line) => {
  const { id, command, argument } = JSON.parse(line) as { id: number; command: string; argument: never }
  try {
    process.stdout.write(`${JSON.stringify({ id, result: (await commands[command]!(argument)) ?? null })}\n`)
  } catch (error) {
    process.stdout.write(`${JSON.stringify({ id, error: String(error) })}\n`)
  }
})
process.stdout.write('{"id":0}\n')
session.ended.then((end) => {
  process.stdout.write(`${JSON.stringify({ id: -1, result: { end, faults } })}\n`, () => process.exit())
})
