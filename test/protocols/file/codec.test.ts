import fc from 'fast-check'
import t from 'tap'
import {
  type Attributes,
  decodeAnswer,
  decodeRequest,
  type Entry,
  encodeChanged,
  encodeDone,
  encodeEntries,
  encodeFailed,
  encodeRequest,
  encodeReset,
  REQUESTS,
  type RequestKind
} from '../../../src/protocols/file/codec.ts'

const u8 = fc.integer({ min: 0, max: 255 })
const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 })
const size = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER })
const i64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })
const time = fc.record({
  s: fc.integer({ min: -(2 ** 40), max: 2 ** 40 }),
  ns: fc.integer({ min: 0, max: 999_999_999 })
})
const bytes = (min: number, max: number) =>
  fc
    .uint8Array({ minLength: min, maxLength: max })
    .map((array) => Buffer.from(array).toString('latin1').replaceAll(/[/\0]/g, '_'))
const name = bytes(1, 255).filter((text) => text !== '.' && text !== '..')
const path = fc.array(name, { maxLength: 8 }).map((names) => `/${names.join('/')}`)
const version = fc.record({ inode: size, size, modified: time })
const VALUES = { u8, u32, size, i64, path, link: bytes(0, 4096), time, version }
const attributes: fc.Arbitrary<Attributes> = fc.record({
  ...{ device: size, inode: size, mode: u32, links: u32, uid: u32, gid: u32, rdev: u32, size, blocks: size },
  ...{ accessed: time, modified: time, changed: time, access: u8 }
})
const hash = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((array) => Buffer.from(array).toString('latin1'))
const hashed = fc
  .tuple(attributes, fc.option(hash, { nil: undefined }))
  .map(([given, hash]): Attributes => (hash === undefined ? given : { ...given, hash }))
const entry: fc.Arbitrary<Entry> = fc.record({
  name,
  attributes: fc.option(hashed, { nil: undefined }),
  link: fc.option(bytes(0, 300), { nil: undefined })
})

const join = (parts: Uint8Array[]): Uint8Array => Buffer.concat(parts)

t.test('every request is read as it was written', async () => {
  for (const kind of Object.keys(REQUESTS) as RequestKind[]) {
    const spec = REQUESTS[kind] as { fields: Record<string, keyof typeof VALUES>; data?: boolean }
    const fields = Object.fromEntries(Object.entries(spec.fields).map(([field, type]) => [field, VALUES[type]]))
    const asked = fc.record(fields as Record<string, fc.Arbitrary<unknown>>)
    fc.assert(
      fc.property(asked, u32, fc.uint8Array({ maxLength: 200 }), (values, id, data) => {
        const frame = join(encodeRequest(kind, id, values as never, spec.data ? data : undefined))
        const read = { ...decodeRequest(frame), data: undefined }
        const expected = { kind, id, ...values, data: undefined }
        if (JSON.stringify(sorted(read)) !== JSON.stringify(sorted(expected))) throw new Error(`${kind} differs`)
        return !spec.data || Buffer.compare(decodeRequest(frame).data, data) === 0
      }),
      { numRuns: 30 }
    )
  }
})

/** Bigints are no JSON. */
function sorted(value: object): unknown {
  return Object.entries(value)
    .map(([key, of]) => [key, typeof of === 'bigint' ? String(of) : of])
    .toSorted(([a], [b]) => String(a).localeCompare(String(b)))
}

t.test('answers are read as they were written', async (t) => {
  fc.assert(
    fc.property(u32, fc.option(attributes, { nil: undefined }), u32, size, (id, given, handle, value) => {
      const read = decodeAnswer(join(encodeDone(id, { attributes: given, handle, value, data: Buffer.from('abc') })))
      if (read.kind !== 'done' || read.id !== id) return false
      const { answer } = read
      const same = answer.handle === handle && answer.value === value && Buffer.from(answer.data!).toString() === 'abc'
      return same && JSON.stringify(answer.attributes) === JSON.stringify(given)
    })
  )
  t.same(decodeAnswer(join(encodeFailed(7, 2))), { kind: 'failed', id: 7, errno: 2 })
  t.same(decodeAnswer(join(encodeReset(9))), { kind: 'reset', id: 9 })
})

t.test('a listing comes in parts that together are all of it, the last one marked', async () => {
  fc.assert(
    fc.property(
      fc.array(entry, { maxLength: 50 }),
      fc.boolean(),
      fc.boolean(),
      attributes,
      (entries, last, watched, own) => {
        const parts = encodeEntries(3, entries, 600, { last, watched, own }).map((frame) => decodeAnswer(frame))
        const read = parts.flatMap((part) => (part.kind === 'entries' ? part.entries : []))
        const marks = parts.map((part) => part.kind === 'entries' && part.last)
        return (
          JSON.stringify(read) === JSON.stringify(entries) &&
          parts.every((part) => part.kind === 'entries' && part.watched === watched) &&
          marks.every((mark, index) => mark === (last && index === marks.length - 1)) &&
          parts.every((part) => part.kind === 'entries' && (part.own !== undefined) === part.last) &&
          parts.every(
            (part) => part.kind === 'entries' && (!part.last || JSON.stringify(part.own) === JSON.stringify(own))
          )
        )
      }
    )
  )
  fc.assert(
    fc.property(path, fc.array(entry, { maxLength: 20 }), (of, entries) => {
      let news = 0
      const parts = encodeChanged(() => ++news, of, entries, 600).map((frame) => decodeAnswer(frame))
      const read = parts.flatMap((part) => (part.kind === 'changed' && part.path === of ? part.entries : []))
      return news === parts.length && JSON.stringify(read) === JSON.stringify(entries)
    })
  )
})

t.test('what is no message is refused, and nothing else happens', async (t) => {
  const isProtocolError = (error: unknown) => (error as Error).name === 'ProtocolError'
  const refuses = (read: (frame: Uint8Array) => unknown, frame: Uint8Array): boolean => {
    try {
      read(frame)
      return true
    } catch (error) {
      return isProtocolError(error)
    }
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (frame) => refuses(decodeRequest, frame)),
    { numRuns: 2000 }
  )
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (frame) => refuses(decodeAnswer, frame)),
    { numRuns: 2000 }
  )
  const whole = join(encodeRequest('stat', 1, { path: '/a/b' }))
  for (let length = 0; length < whole.length; length++) {
    t.throws(() => decodeRequest(whole.subarray(0, length)), { name: 'ProtocolError' })
  }
  t.throws(() => decodeRequest(Buffer.concat([whole, Buffer.from('x')])), { name: 'ProtocolError' }, 'bytes follow')
  const bad = ['', 'a', '/a/', '//', '/a//b', '/.', '/..', '/a/../b', '/a/./b', '/a/..', '/a\0b', `/${'x'.repeat(256)}`]
  for (const wrong of bad) {
    const frame = join(encodeRequest('stat', 1, { path: wrong }))
    t.throws(() => decodeRequest(frame), { name: 'ProtocolError' }, JSON.stringify(wrong.slice(0, 20)))
  }
  for (const right of ['/', '/a', '/...', '/.a', '/a/..b', `/${'x'.repeat(255)}`, '/\xff\n']) {
    t.equal((decodeRequest(join(encodeRequest('stat', 1, { path: right }))) as { path: string }).path, right)
  }
})
