import { deepStrictEqual as deepEqual, ok } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { OPERATIONS } from '../../../src/files/fuse/codec.ts'
import { OPCODE } from '../../../src/files/fuse/constants.ts'
import { Errno } from '../../../src/files/fuse/errno.ts'
import { FrameError } from '../../../src/files/fuse/frame.ts'
import {
  type Attributes,
  deleteEntry,
  type Entry,
  invalidateEntry,
  invalidateInode,
  ReplyWriter
} from '../../../src/files/fuse/replies.ts'
import { forgets, interrupted, offer } from '../../../src/files/fuse/requests.ts'
import { decode, frameOf, makeFrame, RECORDED, struct } from './frames.ts'

const exact = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER })
const u32 = fc.integer({ min: 0, max: 0xffff_ffff })
const seconds = fc.integer({ min: -(2 ** 40), max: 2 ** 40 })
const nanoseconds = fc.integer({ min: 0, max: 999_999_999 })
const time = fc.record({ s: seconds, ns: nanoseconds }, { noNullPrototype: true })
/** Any bytes but NUL and the slash. */
const name = fc
  .array(
    fc.integer({ min: 1, max: 255 }).filter((byte) => byte !== 0x2f),
    { minLength: 1, maxLength: 255 }
  )
  .map((bytes) => Buffer.from(bytes).toString('latin1'))
const big = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
const b = (value: number) => BigInt(value)

t.test('numbers and names survive the way from the kernel', async (t) => {
  const same = (bytes: Buffer, expected: object) => {
    const request = decode(bytes) as unknown as Record<string, unknown>
    deepEqual(Object.fromEntries(Object.keys(expected).map((key) => [key, request[key]])), expected)
  }
  const options = { numRuns: 50 }
  fc.assert(
    fc.property(exact, u32, name, name, exact, (newParent, flags, from, to, nodeid) => {
      const body = struct(b(newParent), flags, 0, from, to)
      same(makeFrame(OPCODE.rename2, body, nodeid), { nodeid, newParent, flags, name: from, newName: to })
    }),
    options
  )
  fc.assert(
    fc.property(exact, exact, u32, u32, (handle, offset, size, flags) => {
      same(makeFrame(OPCODE.read, struct(b(handle), b(offset), size, 0, 0n, flags, 0)), { handle, offset, size, flags })
    }),
    options
  )
  fc.assert(
    fc.property(exact, exact, fc.uint8Array({ maxLength: 5000 }), (handle, offset, data) => {
      const body = Buffer.concat([struct(b(handle), b(offset), data.length, 0, 0n, 0, 0), data])
      same(makeFrame(OPCODE.write, body), { handle, offset, data: Buffer.from(data) })
    }),
    options
  )
  fc.assert(
    fc.property(big, big, big, u32, (owner, start, end, pid) => {
      same(makeFrame(OPCODE.setlkw, struct(1n, owner, start, end, 1, pid, 0, 0)), {
        owner,
        lock: { start, end, type: 1, pid }
      })
    }),
    options
  )
  fc.assert(
    fc.property(time, time, exact, (accessed, modified, size) => {
      const times = [BigInt(accessed.s), BigInt(modified.s), 0n, accessed.ns, modified.ns, 0]
      const body = struct(0x38, 0, 0n, b(size), 0n, ...times, 0, 0, 0, 0, 0)
      same(makeFrame(OPCODE.setattr, body), { accessed, modified, size, mode: undefined })
    }),
    options
  )
  fc.assert(
    fc.property(name, name, u32, u32, (from, target, mode, device) => {
      same(makeFrame(OPCODE.symlink, struct(from, target)), { name: from, target })
      same(makeFrame(OPCODE.mknod, struct(mode, device, 0, 0, from)), { name: from, mode, device })
    }),
    options
  )
  t.pass('for all')
})

t.test('a position that is no exact number is refused by its error, not rounded', async (t) => {
  const body = (offset: bigint) => struct(1n, offset, 4096, 0, 0n, 0, 0)
  t.match(decode(makeFrame(OPCODE.read, body(2n ** 53n - 1n))), { offset: 2 ** 53 - 1 })
  t.throws(() => decode(makeFrame(OPCODE.read, body(2n ** 53n))), Errno.of('EFBIG'))
  t.throws(() => decode(makeFrame(OPCODE.read, body(2n ** 63n - 1n))), Errno.of('EFBIG'))
})

t.test('a copy is cut to what its answer can say', async (t) => {
  const body = struct(1n, 0n, 2n, 2n, 0n, 2n ** 63n - 1n, 0n)
  t.match(decode(makeFrame(OPCODE.copyFileRange, body)), { length: 0x7fff_f000 })
})

/** Nothing but the two kinds of error, and nothing that was in the buffer before. */
function tame(bytes: Uint8Array): void {
  const opcode = Buffer.from(bytes).readUInt32LE(4)
  try {
    if (OPERATIONS[opcode] !== undefined) {
      const text = JSON.stringify(decode(bytes), (_, value) => (typeof value === 'bigint' ? String(value) : value))
      if (text.includes('AAAAAAAA')) throw new Error(`an earlier frame shows: ${text}`)
    } else if (opcode === OPCODE.init) offer(frameOf(bytes))
    else if (opcode === OPCODE.interrupt) interrupted(frameOf(bytes))
    else forgets(frameOf(bytes), opcode === OPCODE.batchForget)
  } catch (error) {
    if (!(error instanceof FrameError || error instanceof Errno)) throw error
  }
}

t.test('garbage and frames cut short are refused', async (t) => {
  const opcodes = fc.constantFrom(...Object.values(OPCODE))
  fc.assert(
    fc.property(opcodes, fc.uint8Array({ maxLength: 200 }), (opcode, body) => tame(makeFrame(opcode, body))),
    { numRuns: 3000 }
  )
  for (const [label, bytes] of RECORDED) {
    for (let length = 40; length <= bytes.length; length++) {
      tame(makeFrame(bytes.readUInt32LE(4), bytes.subarray(40, length)))
    }
    t.throws(() => frameOf(bytes.subarray(0, bytes.length - 1)), FrameError, `${label} cut short`)
  }
  t.throws(() => frameOf(new Uint8Array(39)), FrameError)
  t.throws(() => forgets(frameOf(makeFrame(OPCODE.batchForget, struct(0xffff_ffff, 0))), true), FrameError)
})

const attributes: fc.Arbitrary<Attributes> = fc.record({
  inode: exact,
  size: exact,
  blocks: exact,
  accessed: time,
  modified: time,
  changed: time,
  mode: fc.integer({ min: 0, max: 0xffff }),
  links: u32,
  uid: u32,
  gid: u32,
  device: u32,
  blockBytes: u32
})

function attrStruct(a: Attributes): Buffer {
  const longs = [a.inode, a.size, a.blocks, a.accessed.s, a.modified.s, a.changed.s].map(BigInt)
  const ns = [a.accessed.ns, a.modified.ns, a.changed.ns]
  return struct(...longs, ...ns, a.mode, a.links, a.uid, a.gid, a.device, a.blockBytes, 0)
}

function entryStruct(entry: Entry): Buffer {
  const s = (ms: number) => BigInt(Math.floor(ms / 1000))
  const ns = (ms: number) => (ms % 1000) * 1e6
  const { entryValidMs: e, attributesValidMs: a } = entry
  return Buffer.concat([
    struct(b(entry.nodeid), b(entry.generation), s(e), s(a), ns(e), ns(a)),
    attrStruct(entry.attributes)
  ])
}

/** A reply after others have been written to the same memory. */
function written(write: (reply: ReplyWriter) => void): Buffer {
  const reply = new ReplyWriter()
  reply.bytes.fill(0x41)
  reply.start(0xffff_fffe, 7, -2)
  write(reply)
  reply.finish()
  const header = struct(reply.length, -2, 0x7_ffff_fffen)
  deepEqual(reply.bytes.subarray(0, 16), header)
  return Buffer.from(reply.bytes.subarray(16, reply.length))
}

const entries = fc.record({
  nodeid: exact,
  generation: exact,
  entryValidMs: fc.integer({ min: 0, max: 2 ** 40 }),
  attributesValidMs: fc.integer({ min: 0, max: 2 ** 40 }),
  attributes
})

t.test('answers are laid out as the kernel reads them, with exact numbers', async (t) => {
  fc.assert(
    fc.property(entries, (entry) => {
      deepEqual(
        written((reply) => reply.entry(entry)),
        entryStruct(entry)
      )
      const valid = [BigInt(Math.floor(entry.attributesValidMs / 1000)), (entry.attributesValidMs % 1000) * 1e6, 0]
      deepEqual(
        written((reply) => reply.attributes(entry)),
        Buffer.concat([struct(...valid), attrStruct(entry.attributes)])
      )
    }),
    { numRuns: 100 }
  )
  t.same(
    written((reply) => reply.entry({ nodeid: 0, entryValidMs: 1500 })),
    Buffer.concat([struct(0n, 0n, 1n, 0n, 500_000_000, 0), Buffer.alloc(88)])
  )
  t.same(
    written((reply) => reply.entry({ nodeid: 0, entryValidMs: Number.POSITIVE_INFINITY })).readBigUInt64LE(16),
    1_000_000_000n
  )
})

t.test('statx is laid out as the system call has it', async (t) => {
  const at = (s: number) => ({ s, ns: s + 1 })
  const found: Attributes = {
    inode: 1,
    size: 2,
    blocks: 3,
    accessed: at(10),
    modified: at(20),
    changed: at(30),
    mode: 0o100644,
    links: 4,
    uid: 5,
    gid: 6,
    // Major 0x123, minor 0x45678.
    device: 0x4561_2378,
    blockBytes: 7
  }
  const bytes = written((reply) => reply.statx({ attributes: found, attributesValidMs: 0, mask: 0xfff, born: at(40) }))
  const stat = struct(0xfff, 7, 0n, 4, 5, 6, 0o100644, 1n, 2n, 3n, 0n)
  const times = [10, 40, 30, 20].flatMap((s) => [BigInt(s), s + 1, 0])
  t.same(
    bytes,
    Buffer.concat([struct(0n, 0, 0, 0n, 0n), stat, struct(...times, 0x123, 0x45678, 0, 0), Buffer.alloc(112)])
  )
})

t.test('entries of a directory are added while there is room, and nothing old is between them', async (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(name, exact, entries), { maxLength: 40 }),
      fc.integer({ max: 8192, min: 0 }),
      fc.boolean(),
      (list, size, isPlus) => {
        let added = 0
        const bytes = written((reply) =>
          reply.directory(
            (to) => {
              for (const [name, inode, entry] of list) {
                if (!to.add(name, inode, 0o100644, added + 1, to.isPlus ? entry : undefined)) return
                added++
              }
            },
            isPlus,
            size
          )
        )
        const expected = list.map(([name, inode, entry], i) => {
          const record = Buffer.concat([
            isPlus ? entryStruct(entry) : Buffer.alloc(0),
            struct(b(inode), b(i + 1), name.length, 8),
            Buffer.from(name, 'latin1')
          ])
          return Buffer.concat([record, Buffer.alloc(-record.length & 7)])
        })
        deepEqual(bytes, Buffer.concat(expected.slice(0, added)))
        if (added < list.length) ok(bytes.length + expected[added]!.length > size, 'no room for the next one')
        ok(bytes.length <= size)
      }
    ),
    { numRuns: 100 }
  )
  t.pass('for all')
})

t.test('notifications', async (t) => {
  t.same(invalidateInode(2 ** 40, 5, 0), struct(40, 2, 0n, 2n ** 40n, 5n, 0n))
  t.same(invalidateInode(1, -1, 0), struct(40, 2, 0n, 1n, -1n, 0n))
  t.same(invalidateEntry(3, 'a\xff', 1), struct(35, 3, 0n, 3n, 2, 1, 'a\xff'))
  t.same(deleteEntry(3, 4, 'abc'), struct(44, 6, 0n, 3n, 4n, 3, 0, 'abc'))
})

t.test('error numbers', async (t) => {
  t.equal(Errno.of('ENOENT').errno, 2)
  t.equal(Errno.of('ENOENT'), Errno.numbered(2), 'each is made once')
  t.equal(Errno.of('EUCLEAN').errno, 117)
  t.equal(Errno.numbered(117), Errno.of('EUCLEAN'))
  for (const wrong of [0, -1, 512, 1.5, Number.NaN]) t.equal(Errno.numbered(wrong), Errno.of('EIO'))
  t.notMatch(Errno.of('EPERM').stack, /at /, 'no time goes into stacks')
})
