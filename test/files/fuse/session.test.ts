import { strictEqual as equal } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { OPCODE } from '../../../src/files/fuse/constants.ts'
import type { Device, DeviceEvents } from '../../../src/files/fuse/device.ts'
import { Errno } from '../../../src/files/fuse/errno.ts'
import type { FileSystemOperations } from '../../../src/files/fuse/operations.ts'
import { FuseSession, type SessionOptions } from '../../../src/files/fuse/session.ts'
import { frameOf, makeFrame, RECORDED, struct } from './frames.ts'
import { MemoryTree } from './memory-tree.ts'

/** A device without a kernel. */
class Desk implements Device {
  readonly maxWriteBytes = 1 << 20
  readonly replies: { unique: number; error: number; body: Buffer }[] = []
  readonly notifications: Buffer[] = []
  isPaused = false
  failure: string | undefined
  events!: DeviceEvents

  start(events: DeviceEvents) {
    this.events = events
  }

  put(bytes: Uint8Array) {
    this.events.onFrame(frameOf(bytes))
  }

  write(reply: Buffer, length: number, data: Uint8Array = new Uint8Array(0)) {
    if (this.failure) throw Object.assign(new Error(this.failure), { code: this.failure })
    const bytes = Buffer.concat([reply.subarray(0, length), data])
    if (bytes.length !== bytes.readUInt32LE(0)) throw new Error('a reply that is not as long as it says')
    this.replies.push({ unique: bytes.readUInt32LE(8), error: bytes.readInt32LE(4), body: bytes.subarray(16) })
  }

  keep(data: Buffer) {
    return { data: Buffer.from(data), release: () => {} }
  }

  async notify(bytes: Buffer, after?: Promise<void>) {
    await after
    this.notifications.push(bytes)
  }

  pause() {
    this.isPaused = true
  }

  resume() {
    this.isPaused = false
  }

  close() {
    this.events.onEnd('closed')
  }
}

function start(operations: FileSystemOperations, options: Partial<SessionOptions> = {}) {
  const desk = new Desk()
  const faults: string[] = []
  const session = new FuseSession(desk, operations, {
    maxBackground: 64,
    posixLocks: false,
    flockLocks: false,
    invalidation: 'explicit',
    readdirplus: 'always',
    writebackCache: false,
    cacheSymlinks: true,
    killPrivileges: false,
    kernelLimitS: 0,
    limitMs: 60_000,
    lateErrno: 'ETIMEDOUT',
    maxPending: 100,
    maxLockWaits: 1,
    onFault: (error, what) => faults.push(`${what}: ${error instanceof Error ? error.message : error}`),
    ...options
  })
  return { desk, session, faults }
}

const lookup = (name: string, unique = 2) => makeFrame(OPCODE.lookup, struct(name), 1, unique)
const interrupt = (unique: number) => makeFrame(OPCODE.interrupt, struct(BigInt(unique)), 0, unique + 1)
const later = () => new Promise<void>((resolve) => setImmediate(resolve))

t.test('agrees with the kernel on what both know', async (t) => {
  const { desk, session } = start({ readdirplus: () => () => {} }, { kernelLimitS: 60, maxBackground: 12 })
  desk.put(RECORDED.get('init')!)
  const agreement = await session.initialized
  t.match(agreement, { minor: 45, hasExpireOnly: true })
  const { body, error } = desk.replies[0]!
  t.equal(error, 0)
  t.equal(body.length, 64)
  t.equal(body.readUInt32LE(4), 45)
  t.equal(body.readUInt16LE(16), 12)
  t.equal(body.readUInt16LE(18), 9)
  t.equal(body.readUInt32LE(20), 1 << 20)
  t.equal(body.readUInt16LE(28), 256, 'pages')
  t.equal(body.readUInt16LE(40), 60, 'limit of the kernel')
  const flags = body.readUInt32LE(12)
  t.ok(flags & (1 << 13) && flags & (1 << 25) && flags & (1 << 22))
  t.notOk(flags & ((1 << 12) | (1 << 14) | (1 << 16) | (1 << 1) | (1 << 10)), 'what was not wished for')
})

t.test('old kernels are refused, newer majors told ours', async (t) => {
  const { desk } = start({})
  desk.put(makeFrame(OPCODE.init, struct(7, 30, 0, 0)))
  t.match(desk.replies.pop(), { error: -71 })
  desk.put(makeFrame(OPCODE.init, struct(8, 0, 0, 0)))
  t.match(desk.replies.pop(), { error: 0, body: struct(7, 0) })
  desk.put(makeFrame(OPCODE.init, struct(7, 31, 65_536, 0xffff_ffff)))
  t.equal(desk.replies.pop()?.body.readUInt32LE(4), 31, 'the older minor holds')
})

t.test('handlers answer at once, later, or with an error in every way', async (t) => {
  const answers: Record<string, () => never> = {
    returned: () => Errno.of('EACCES') as never,
    thrown: () => {
      throw Errno.of('EACCES')
    },
    resolved: () => Promise.resolve(Errno.of('EACCES')) as never,
    rejected: () => Promise.reject(Errno.of('EACCES')) as never
  }
  const { desk, faults } = start({ lookup: ({ name }) => answers[name]!() })
  for (const name of Object.keys(answers)) {
    desk.put(lookup(name))
    await later()
    t.match(desk.replies.pop(), { unique: 2, error: -13 }, name)
  }
  t.same(faults, [])
})

t.test('what is no answer becomes EIO, and is reported', async (t) => {
  const answers: Record<string, () => never> = {
    thrown: () => {
      throw new Error('deliberate')
    },
    rejected: () => Promise.reject(new Error('deliberate')) as never,
    nothing: () => undefined as never
  }
  const { desk, faults } = start({
    lookup: ({ name }) => answers[name]!(),
    read: () => Buffer.alloc(5000),
    getxattr: () => Buffer.alloc(100)
  })
  for (const name of Object.keys(answers)) {
    desk.put(lookup(name))
    await later()
    t.match(desk.replies.pop(), { error: -5 }, name)
  }
  desk.put(RECORDED.get('read')!)
  t.match(desk.replies.pop(), { error: -5 }, 'more than was asked for')
  t.match(faults, [/lookup: deliberate/, /lookup: deliberate/, /lookup: /, /read: 5000 bytes for a read of 4096/])
  desk.put(makeFrame(OPCODE.getxattr, struct(99, 0, 'user.k')))
  t.match(desk.replies.pop(), { error: -34 }, 'ERANGE')
  desk.put(makeFrame(OPCODE.getxattr, struct(0, 0, 'user.k')))
  t.match(desk.replies.pop(), { error: 0, body: struct(100, 0) })
  desk.put(RECORDED.get('statfs')!)
  t.match(desk.replies.pop(), { error: -38 }, 'no handler')
  t.equal(faults.length, 4)
})

t.test('an interrupted request aborts its signal, asked for before or after', async (t) => {
  const signals: AbortSignal[] = []
  const { desk } = start({
    async lookup(request) {
      if (request.name === 'early') signals.push(request.signal)
      await later()
      await later()
      if (request.name === 'late') signals.push(request.signal)
      return Errno.of('EINTR')
    }
  })
  desk.put(lookup('early', 2))
  desk.put(lookup('late', 4))
  desk.put(interrupt(2))
  desk.put(interrupt(4))
  desk.put(interrupt(6))
  await later()
  await later()
  await later()
  t.same(
    signals.map((signal) => signal.aborted),
    [true, true]
  )
  t.same(
    desk.replies.map(({ unique, error }) => [unique, error]),
    [
      [2, -4],
      [4, -4]
    ]
  )
})

t.test('a request whose deadline passes is answered once, and its signal aborted', async (t) => {
  const { promise, resolve } = Promise.withResolvers<Errno>()
  const aborted = Promise.withResolvers<void>()
  const { desk } = start(
    {
      lookup(request) {
        request.signal.addEventListener('abort', () => aborted.resolve())
        return promise
      }
    },
    { limitMs: 1 }
  )
  desk.put(lookup('never'))
  const busy = setInterval(() => {}, 1000)
  await aborted.promise
  clearInterval(busy)
  await later()
  t.match(desk.replies, [{ unique: 2, error: -110 }])
  resolve(Errno.of('EACCES'))
  await later()
  t.equal(desk.replies.length, 1)
})

t.test('requests beyond the bound are left with the kernel, locks refused', async (t) => {
  const held: (() => void)[] = []
  const hold = () => new Promise<never>((resolve) => held.push(() => resolve(Errno.of('ENOENT') as never)))
  const { desk } = start({ lookup: hold, setlkw: hold }, { maxPending: 2 })
  desk.put(lookup('a', 2))
  t.notOk(desk.isPaused)
  desk.put(lookup('b', 4))
  t.ok(desk.isPaused)
  held.shift()?.()
  await later()
  t.notOk(desk.isPaused)
  desk.put(RECORDED.get('setlkw')!)
  desk.put(RECORDED.get('setlkw')!)
  t.match(desk.replies.at(-1), { error: -37 })
})

t.test('closing answers what waits and what comes', async (t) => {
  const { desk, session } = start({ lookup: () => new Promise(() => {}) })
  desk.put(lookup('a', 2))
  let aborted = false
  const close = session.close('ESHUTDOWN')
  t.match(desk.replies, [{ unique: 2, error: -108 }])
  desk.put(lookup('b', 4))
  t.match(desk.replies[1], { unique: 4, error: -108 })
  aborted = (await close) === 'closed'
  t.ok(aborted)
})

t.test('a notification comes after the answers about its node that wait', async (t) => {
  const held = new Map<number, (value: Errno) => void>()
  const hold = ({ nodeid }: { nodeid: number }) => new Promise<Errno>((resolve) => held.set(nodeid, resolve))
  const { desk, session } = start({ lookup: hold, rename: hold, read: hold })
  desk.put(lookup('a', 2))
  desk.put(makeFrame(OPCODE.rename, struct(1n, 'from', 'to'), 5, 4))
  desk.put(makeFrame(OPCODE.read, struct(1n, 0n, 10, 0, 0n, 0, 0), 6, 6))
  const told: string[] = []
  const tell = (what: string, sent: Promise<void>) => sent.then(() => told.push(what))
  const all = [
    tell('entry', session.invalidateEntry(1, 'a')),
    tell('delete', session.deleteEntry(5, 9, 'from')),
    tell('pages', session.invalidateInode(6)),
    tell('attributes', session.invalidateInode(6, -1)),
    tell('other', session.invalidateEntry(7, 'a'))
  ]
  await later()
  t.same(told, ['attributes', 'other'])
  held.get(1)?.(Errno.of('ENOENT'))
  await later()
  t.same(told.slice(2), [], 'the rename is about it too')
  held.get(5)?.(Errno.of('ENOENT'))
  await later()
  t.same(told.slice(2), ['entry', 'delete'])
  session.close()
  await Promise.all(all)
  t.equal(told.at(-1), 'pages')
})

t.test('a reply that nobody waits for is no fault, one that the kernel refuses is', async (t) => {
  const { desk, faults } = start({ lookup: () => Errno.of('ENOENT') })
  desk.failure = 'ENOENT'
  desk.put(lookup('a'))
  t.same(faults, [])
  desk.failure = 'EINVAL'
  desk.put(lookup('a'))
  t.match(faults, [/writing a reply: EINVAL/])
})

t.test('whatever comes, each request has one answer and the session lives', async (t) => {
  const tree = new MemoryTree({ validMs: 0, openFlags: 0 })
  const { desk } = start(tree)
  const opcodes = fc.constantFrom(...Object.values(OPCODE), 0, 7, 99, 0xffff_ffff)
  const silent: number[] = [OPCODE.forget, OPCODE.batchForget, OPCODE.interrupt]
  await fc.assert(
    fc.asyncProperty(opcodes, fc.uint8Array({ maxLength: 150 }), async (opcode, body) => {
      desk.replies.length = 0
      // Sizes far beyond any file's would only try the memory of the test's own tree.
      const huge = [OPCODE.setattr, OPCODE.fallocate, OPCODE.write, OPCODE.copyFileRange, OPCODE.copyFileRange64]
      if ((huge as number[]).includes(opcode)) body = body.subarray(0, 30)
      desk.put(makeFrame(opcode, body))
      await later()
      equal(desk.replies.length, silent.includes(opcode) ? 0 : 1)
    }),
    { numRuns: 1000 }
  )
  t.pass('for all')
})
