import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { message as doctor } from '../../src/protocols/doctor/codec.ts'
import { DOCTOR_PROTOCOL } from '../../src/protocols/doctor/constants.ts'
import { SCHEMAS } from '../../src/protocols/exec/codec.ts'
import { EXEC_PROTOCOL } from '../../src/protocols/exec/constants.ts'
import { FRAME, STREAM } from '../../src/protocols/exec/frames.ts'
import { wireMessage } from '../../src/protocols/overlay/codec.ts'
import { OVERLAY_PROTOCOL } from '../../src/protocols/overlay/constants.ts'
import {
  decodeMessage as decodePair,
  encodeMessage as encodePair,
  type PairMessage,
  message as pair
} from '../../src/protocols/pair/codec.ts'
import { PAIR_DEADLINES, PAIR_PROTOCOL } from '../../src/protocols/pair/constants.ts'
import { message as relay } from '../../src/protocols/relay/codec.ts'
import { RELAY_PROTOCOL } from '../../src/protocols/relay/constants.ts'
import { message as wake } from '../../src/protocols/wake/codec.ts'
import { WAKE_PROTOCOL } from '../../src/protocols/wake/constants.ts'
import { message as withdrawal } from '../../src/protocols/withdraw/codec.ts'
import { WITHDRAW_PROTOCOL } from '../../src/protocols/withdraw/constants.ts'
import { constantsOf } from './constants.ts'
import { type Field, fieldsOf, messagesOf, type Schema, schemaOf } from './fields.ts'
import { amountOf, plain, type Table, tablesOf } from './markdown.ts'

const root = join(import.meta.dirname, '../..')
const text = readFileSync(join(root, 'docs/protocol.md'), 'utf8')
const tables = tablesOf(text)

const exec = new Map(Object.entries(SCHEMAS).map(([name, schema]) => [name, schemaOf(schema)]))
/** Frames that are no maps, and concern peers. */
const BARE = ['data', 'ack', 'eof', 'close']
const PROTOCOLS: Record<string, { messages: Map<string, Schema>; bare: string[] }> = {
  Overlay: { messages: messagesOf(wireMessage), bare: [] },
  Exec: { messages: exec, bare: framesOfPeers().filter((name) => !exec.has(name) && !BARE.includes(name)) },
  Pair: { messages: messagesOf(pair), bare: [] },
  Relay: { messages: messagesOf(relay), bare: [] },
  Withdraw: { messages: new Map([['withdrawal', schemaOf(withdrawal)]]), bare: [] },
  Doctor: { messages: messagesOf(doctor), bare: [] },
  Wake: { messages: messagesOf(wake), bare: [] }
}

function framesOfPeers(): string[] {
  return Object.entries(FRAME).flatMap(([name, number]) => (number < FRAME.request ? [name] : []))
}

function tablesUnder(protocol: string, head: string): Table[] {
  return tables.filter(({ path, head: [first] }) => path[1] === protocol && first === head)
}

const lineOf = ({ name, type, bounds }: Field): string => `${name} | ${type} | ${bounds}`

/** What the schemas say, by the name of the message or of the map within. */
function linesOf(messages: Map<string, Schema>): Map<string, string[]> {
  const found = new Map<string, Schema[]>()
  const lines = new Map<string, string[]>()
  for (const [name, schema] of messages) lines.set(name, fieldsOf(schema, found).map(lineOf))
  for (const [name, [first, ...others]] of found) {
    const here = fieldsOf(first!, found).map(lineOf)
    const alike = others.map((other) => fieldsOf(other, new Map()).map(lineOf).join('; '))
    if (alike.some((other) => other !== here.join('; '))) throw new Error(`${name} is not the same everywhere`)
    lines.set(name, here)
  }
  return lines
}

/** The length of byte strings, which schemas don't tell: the one that is taken. */
function bytesOf(type: string, field: string): string {
  const others = { name: 'x', kind: 'own', addresses: [] }
  const lengths = Array.from({ length: 100 }, (_, length) => length).filter((length) => {
    try {
      return decodePair(encodePair({ ...others, type, [field]: new Uint8Array(length) } as unknown as PairMessage))
    } catch {
      return false
    }
  })
  return `${lengths.join()} bytes`
}

for (const [protocol, { messages, bare }] of Object.entries(PROTOCOLS)) {
  t.test(`${protocol}: the fields told are those of the code, with their bounds`, async (t) => {
    const told = new Map<string, string[]>()
    for (const { path, rows } of tablesUnder(protocol, 'field')) {
      const lines = rows.map(([name, type, bounds]) => [name, type, bounds].map((cell) => plain(cell!)).join(' | '))
      told.set(path[2]!, lines)
    }
    for (const { rows } of tablesUnder(protocol, 'message')) for (const [name] of rows) told.set(plain(name!), [])
    const known = linesOf(messages)
    for (const name of bare) known.set(name, [])
    if (protocol === 'Pair') {
      for (const [name, lines] of known) {
        const full = lines.map((line) =>
          line.replace(/^(\w+) \| bytes \| $/, (all, field) => all + bytesOf(name, field))
        )
        known.set(name, full)
      }
    }
    t.same([...told.keys()].sort(), [...known.keys()].sort())
    for (const [name, lines] of known) t.same(told.get(name), lines, name)
  })
}

t.test('the frames and streams of the exec protocol', async (t) => {
  const [frames] = tablesUnder('Exec', 'number')
  const numbers = frames?.rows.map(([number, name]) => [name, Number(number)])
  t.same(
    numbers,
    Object.entries(FRAME).filter(([name]) => framesOfPeers().includes(name))
  )
  for (const [, name, , rest] of frames?.rows ?? []) {
    t.equal(rest === 'CBOR', exec.has(name!), name ?? '')
    t.equal(rest === 'nothing', PROTOCOLS.Exec?.bare.includes(name!), name ?? '')
  }
  const [streams] = tablesUnder('Exec', 'stream')
  t.same(Object.fromEntries(streams?.rows.map(([number, name]) => [name, Number(number)]) ?? []), STREAM)
})

t.test('the names of the protocols', async (t) => {
  const [carried] = tablesUnder('Carriage', 'protocol')
  const names = [
    OVERLAY_PROTOCOL,
    EXEC_PROTOCOL,
    PAIR_PROTOCOL,
    RELAY_PROTOCOL,
    WITHDRAW_PROTOCOL,
    DOCTOR_PROTOCOL,
    WAKE_PROTOCOL
  ]
  t.same(
    carried?.rows.map(([name]) => plain(name!)),
    names
  )
})

/** Where the numbers of each section are declared. In `all` every one is told, in `some` those that matter to others. */
const SOURCES: Record<string, { all: string[]; some: string[] }> = {
  Metric: { all: [], some: ['core/metric'] },
  Carriage: { all: ['network/gater'], some: ['network/pairing'] },
  Overlay: {
    all: [
      'protocols/overlay/constants',
      ...[
        'types',
        'activity',
        'neighbours',
        'propagation',
        'advertiser',
        'information/round',
        'placing',
        'near-best',
        'placement',
        'strategies/kappa',
        'visits',
        'pulling',
        'paper-messages',
        'reservations',
        'waiting',
        'peer-core'
      ].map((file) => `core/${file}`)
    ],
    some: []
  },
  Exec: {
    all: ['protocols/exec/constants'],
    some: ['exec/frames', 'exec/flow', 'exec/home', 'exec/target'].map((file) => `protocols/${file}`)
  },
  Pair: { all: ['protocols/pair/constants'], some: [] },
  Relay: { all: ['protocols/relay/constants'], some: [] },
  Withdraw: { all: ['protocols/withdraw/constants'], some: [] },
  Doctor: { all: ['protocols/doctor/constants'], some: [] },
  Wake: { all: ['protocols/wake/constants'], some: ['network/magic-packet'] },
  States: { all: ['network/neighbours'], some: [] }
}

t.test('bounds and deadlines are the numbers of the code', async (t) => {
  for (const [section, { all, some }] of Object.entries(SOURCES)) {
    const told = tablesUnder(section, 'name').flatMap(({ rows }) => rows)
    const known = new Map<string, Set<number>>()
    const must = new Set<string>()
    for (const file of [...all, ...some]) {
      for (const [name, value] of constantsOf(join(root, 'src', `${file}.ts`))) {
        known.set(name, (known.get(name) ?? new Set()).add(value))
        if (all.includes(file)) must.add(name)
      }
    }
    if (section === 'Pair') {
      for (const [name, value] of Object.entries(PAIR_DEADLINES)) {
        known.set(name, new Set([value]))
        must.add(name)
      }
    }
    const names = told.map(([name]) => plain(name!))
    t.same(
      [...must].filter((name) => !names.includes(name)),
      [],
      `${section}: not told`
    )
    t.same(
      names.filter((name) => !known.has(name)),
      [],
      `${section}: not known`
    )
    for (const [name, value] of told) {
      const values = [...(known.get(plain(name!)) ?? [])]
      t.same(values, [amountOf(value!)], `${section}: ${name}`)
    }
  }
})
