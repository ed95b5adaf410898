import { deepStrictEqual as deepEqual } from 'node:assert'
import { encode } from 'cborg'
import fc from 'fast-check'
import t from 'tap'
import { type AdvertisementEntry, MAX_ENTRIES, type MachineRecord } from '../../../src/core/types.ts'
import { KappaError } from '../../../src/errors.ts'
import { decodeMessage, encodeMessage, type WireMessage } from '../../../src/protocols/overlay/codec.ts'
import { MAX_MESSAGE_BYTES, MAX_PASSED_BYTES } from '../../../src/protocols/overlay/constants.ts'

const ID = '12D3KooWA6eKgbHqpfhD67wsydYbJVpBq4fCgMUq4kzQ1kgsuAsK'
const BASE58 = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'

const peerId = fc
  .array(fc.constantFrom(...BASE58), { minLength: 44, maxLength: 44 })
  .map((letters) => `12D3KooW${letters.join('')}`)
const randomId = fc
  .array(fc.constantFrom(...'0123456789abcdef'), { minLength: 32, maxLength: 32 })
  .map((c) => c.join(''))
const amount = fc.double({ min: 0, max: 65_536, noNaN: true })
const some = fc.double({ min: 0.001, max: 65_536, noNaN: true })
const counter = fc.nat()
const words = fc.array(fc.string({ minLength: 1, maxLength: 64 }), { maxLength: 16 })
/** Every field of a record but `refuses`. */
const REQUIRED: Exclude<keyof MachineRecord, 'refuses'>[] = [
  'benchmarkVersion',
  'speed',
  'cores',
  'idleCores',
  'runnable',
  'homeDemand',
  'guestDemand',
  'memoryAvailable',
  'memoryTotal',
  'memoryPromised',
  'memoryFloor',
  'slots',
  'class',
  'labels'
]
const entry = fc.record<AdvertisementEntry>({
  origin: peerId,
  epoch: counter,
  sequence: counter,
  ageMs: amount,
  hopsLeft: fc.nat(4),
  hops: fc.integer({ min: 1, max: 4 }),
  name: fc.string({ maxLength: 64 }),
  record: fc.record(
    {
      benchmarkVersion: counter,
      speed: some,
      cores: some,
      idleCores: amount,
      runnable: amount,
      homeDemand: amount,
      guestDemand: amount,
      memoryAvailable: fc.maxSafeNat(),
      memoryTotal: fc.maxSafeNat(),
      memoryPromised: fc.maxSafeNat(),
      memoryFloor: fc.maxSafeNat(),
      slots: amount,
      refuses: fc.string({ maxLength: 500 }),
      class: fc.record({
        os: fc.constant('linux'),
        arch: fc.constantFrom('x64', 'arm64'),
        cpuLevel: fc.nat(4),
        pageSize: fc.constantFrom(4096, 65_536),
        modes: fc.subarray(['plain', 'staged'])
      }),
      labels: words
    },
    { requiredKeys: REQUIRED }
  )
})

const needs = fc.record(
  {
    demand: some,
    memoryBytes: fc.maxSafeNat(),
    mode: fc.constantFrom('plain' as const, 'staged' as const),
    terminal: fc.constant(true as const),
    class: fc.record({ os: fc.constant('linux'), cpuLevel: fc.nat(4) }, { requiredKeys: [] }),
    tools: words,
    labels: words
  },
  { requiredKeys: ['demand', 'memoryBytes', 'mode', 'tools', 'labels'] }
)

const path = fc.array(peerId, { minLength: 1, maxLength: 5 })

const message: fc.Arbitrary<WireMessage> = fc.oneof(
  fc.record({
    type: fc.constant('advertisement' as const),
    periodMs: fc.integer({ min: 100, max: 60_000 }),
    idleMs: amount,
    entries: fc.array(entry, { maxLength: 2 })
  }),
  fc.record(
    {
      type: fc.constant('probe' as const),
      id: randomId,
      origin: peerId,
      needs,
      path,
      hopsLeft: fc.nat(4),
      best: amount,
      bestAt: fc.integer({ min: 1, max: 4 }),
      waitMs: amount,
      avoid: fc.array(peerId, { maxLength: 16 }),
      only: fc.array(peerId, { maxLength: 16 })
    },
    { requiredKeys: ['type', 'id', 'origin', 'needs', 'path', 'hopsLeft', 'best', 'waitMs', 'avoid', 'only'] }
  ),
  fc.record(
    {
      type: fc.constant('probe-reply' as const),
      id: randomId,
      ticket: fc.record({ id: randomId, target: peerId, epoch: counter, validMs: amount }),
      path,
      bestAt: fc.integer({ min: 1, max: 4 }),
      addresses: fc.array(fc.string({ maxLength: 512 }), { maxLength: 8 }),
      refusals: fc.array(
        fc.record({ peer: peerId, code: fc.constant('slots'), reason: fc.string({ maxLength: 500 }) }),
        { maxLength: 8 }
      ),
      entries: fc.array(entry, { maxLength: 2 })
    },
    { requiredKeys: ['type', 'id', 'path', 'refusals', 'entries'] }
  ),
  fc.record({ type: fc.constant('release' as const), id: randomId }),
  fc.record({
    type: fc.constant('hello' as const),
    epoch: counter,
    name: fc.string({ maxLength: 64 }),
    version: fc.constant('1.2.3')
  }),
  fc.record({ type: fc.constantFrom('ping' as const, 'pong' as const), number: counter })
)

/** Fails unless decoding gives a message or a ProtocolError. */
function survives(bytes: Uint8Array): void {
  try {
    decodeMessage(bytes)
  } catch (error) {
    if (!(error instanceof KappaError && error.name === 'ProtocolError')) throw error
  }
}

t.test('what is encoded is decoded the same', async () => {
  // JSON levels what CBOR can't tell apart (-0) and what fast-check adds (null prototypes).
  const plain = (value: WireMessage): WireMessage => JSON.parse(JSON.stringify(value))
  fc.assert(
    fc.property(message, (original) => {
      const expected = plain(original)
      deepEqual(plain(decodeMessage(encodeMessage(expected))), expected)
    }),
    { numRuns: 200 }
  )
})

t.test('any bytes give a message or a ProtocolError', async () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), survives), { numRuns: 2000 })
  fc.assert(
    fc.property(message, fc.nat(), fc.nat(255), fc.nat(), (original, at, byte, cut) => {
      const bytes = encodeMessage(original)
      bytes[at % bytes.length] = byte
      survives(bytes.subarray(0, cut % 3 === 0 ? cut % bytes.length : bytes.length))
    }),
    { numRuns: 500 }
  )
  survives(new Uint8Array(MAX_MESSAGE_BYTES).fill(0x81))
  survives(new Uint8Array(MAX_MESSAGE_BYTES).fill(0xc1))
  survives(Buffer.concat([Buffer.from([0x9b, 0, 0, 0, 1, 0, 0, 0, 0]), Buffer.alloc(20)]))
  survives(Buffer.concat([Buffer.from([0x5b, 0, 0, 0, 1, 0, 0, 0, 0]), Buffer.alloc(20)]))
})

const record = {
  benchmarkVersion: 1,
  speed: 1,
  cores: 4,
  idleCores: 3.5,
  runnable: 0.5,
  homeDemand: 0,
  guestDemand: 0,
  memoryAvailable: 1e9,
  memoryTotal: 8e9,
  memoryPromised: 0,
  memoryFloor: 0,
  slots: 8,
  class: { os: 'linux', arch: 'x64', cpuLevel: 3, pageSize: 4096, modes: ['plain', 'staged'] },
  labels: []
}
const known = { origin: ID, epoch: 1, sequence: 2, ageMs: 0, hopsLeft: 1, hops: 1, name: 'nas', record }

t.test('unknown fields are ignored, and kept in what is forwarded', async (t) => {
  const future = {
    ...known,
    colour: 'red',
    record: { ...record, gpus: [1, { a: 2 }], class: { ...record.class, simd: 'avx' } }
  }
  const decoded = decodeMessage(
    encode({ type: 'advertisement', periodMs: 1000, idleMs: 5, entries: [future], extra: 1 })
  )
  t.same(decoded, { type: 'advertisement', periodMs: 1000, idleMs: 5, entries: [future] })
  t.same(decodeMessage(encodeMessage(decoded)), decoded)
})

t.test('the needs of a probe are passed on as they came', async (t) => {
  const needs = { demand: 1, memoryBytes: 1, mode: 'plain', tools: [], labels: [], gpus: 2, class: { simd: 'avx' } }
  const walk = { origin: ID, path: [ID], hopsLeft: 1, best: 0, waitMs: 9, avoid: [], only: [] }
  const probe = { type: 'probe', id: '0123456789abcdef'.repeat(2), needs, ...walk }
  t.same(decodeMessage(encode({ ...probe, extra: 1 })), probe)
})

t.test('what is passed on is bounded with its unknown fields, so that it fits there too', async (t) => {
  const padded = (bytes: number) => ({ ...known, padding: new Uint8Array(bytes) })
  const room = MAX_PASSED_BYTES - encode(padded(0)).byteLength - 2
  const advertisement = (entries: object[]) => encode({ type: 'advertisement', periodMs: 1000, idleMs: 0, entries })
  const most = Array.from({ length: MAX_ENTRIES }, () => padded(room))
  const decoded = decodeMessage(advertisement(most))
  t.ok(encodeMessage(decoded).byteLength <= MAX_MESSAGE_BYTES)
  const aged = Array.from({ length: MAX_ENTRIES }, () => ({ ...padded(room), ageMs: 0.1, hops: 8, hopsLeft: 8 }))
  t.equal(decodeMessage(advertisement(aged)).type, 'advertisement', 'an entry does not grow too long on its way')
  t.throws(() => decodeMessage(advertisement([padded(room + 1)])), { name: 'ProtocolError' })
  const needs = { demand: 1, memoryBytes: 1, mode: 'plain', tools: [], labels: [], padding: new Uint8Array(13_000) }
  const walk = { origin: ID, path: [ID], hopsLeft: 1, best: 0, waitMs: 9, avoid: [], only: [] }
  const probe = { type: 'probe', id: '0123456789abcdef'.repeat(2), needs, ...walk }
  t.throws(() => decodeMessage(encode(probe)), { name: 'ProtocolError' })
})

t.test('everything is bounded', async (t) => {
  const advertisement = (change: object) =>
    encode({ type: 'advertisement', periodMs: 1000, idleMs: 5, entries: [known], ...change })
  const withRecord = (change: object) => advertisement({ entries: [{ ...known, record: { ...record, ...change } }] })
  const bad = {
    'too many entries': advertisement({ entries: Array.from({ length: MAX_ENTRIES + 1 }, () => known) }),
    'no period': advertisement({ periodMs: 0 }),
    'no rest': advertisement({ idleMs: -1 }),
    'too far': advertisement({ entries: [{ ...known, hops: 9 }] }),
    'no hop at all': advertisement({ entries: [{ ...known, hops: 0 }] }),
    NaN: withRecord({ speed: Number.NaN }),
    infinite: withRecord({ speed: Number.POSITIVE_INFINITY }),
    negative: withRecord({ idleCores: -1 }),
    'speed of nothing': withRecord({ speed: 0 }),
    'long reason': withRecord({ refuses: 'x'.repeat(513) }),
    'many labels': withRecord({ labels: Array.from({ length: 17 }, () => 'x') }),
    'no peer ID': advertisement({ entries: [{ ...known, origin: 'me' }] }),
    'long name': advertisement({ entries: [{ ...known, name: 'x'.repeat(65) }] }),
    'fractional epoch': advertisement({ entries: [{ ...known, epoch: 1.5 }] }),
    'unknown type': encode({ type: 'teapot' }),
    'no map': encode([1]),
    'trailing bytes': Buffer.concat([encode({ type: 'ping', number: 1 }), Buffer.from([0])]),
    'a repeated key': Buffer.from('a2646e616d650164 6e616d6502'.replaceAll(' ', ''), 'hex'),
    nothing: new Uint8Array()
  }
  t.same(decodeMessage(advertisement({})).type, 'advertisement')
  for (const [what, bytes] of Object.entries(bad)) t.throws(() => decodeMessage(bytes), { name: 'ProtocolError' }, what)
  const polluted = decodeMessage(
    encode({
      type: 'advertisement',
      periodMs: 1000,
      idleMs: 0,
      entries: [JSON.parse(JSON.stringify(known).replace('{', '{"__proto__":{"hacked":1},'))]
    })
  )
  t.equal(({} as { hacked?: number }).hacked, undefined)
  t.equal(polluted.type, 'advertisement')
  t.throws(() => encodeMessage({ type: 'hello', epoch: 1, name: 'x'.repeat(MAX_MESSAGE_BYTES), version: '1' }), {
    name: 'ProtocolError'
  })
})

t.test('a whole advertisement with everything at its bounds fits', async (t) => {
  const text = (length: number) => '\u{1f600}'.repeat(length / 2)
  const full = {
    ...known,
    name: text(64),
    record: {
      ...record,
      refuses: text(512),
      labels: Array.from({ length: 16 }, () => text(64)),
      class: { ...record.class, os: text(64), arch: text(64), modes: Array.from({ length: 16 }, () => text(64)) }
    }
  }
  const entries = Array.from({ length: 8 }, () => full)
  const bytes = encodeMessage({ type: 'advertisement', periodMs: 1000, idleMs: 0, entries })
  t.equal(decodeMessage(bytes).type, 'advertisement')
})
