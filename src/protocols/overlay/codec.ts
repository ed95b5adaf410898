/**
 * What travels on the overlay stream, as CBOR. Everything is bounded and checked before anyone sees it. Unknown fields
 * are ignored, and kept in what is forwarded for others: entries with their records, and the needs of a probe.
 */
import { decode, encode } from 'cborg'
import { z } from 'zod'
import { MAX_PAPER_PATH } from '../../core/paper-messages.ts'
import { MAX_AGE_MS } from '../../core/propagation.ts'
import {
  type AdvertisementEntry,
  MAX_ADDRESSES,
  MAX_ENTRIES,
  MAX_HOPS,
  MAX_NAMED,
  MAX_REFUSALS,
  type OverlayMessage
} from '../../core/types.ts'
import { KappaError, messageOf } from '../../errors.ts'
import {
  MAX_ADDRESS_LENGTH,
  MAX_COMMAND_LENGTH,
  MAX_LABEL_LENGTH,
  MAX_LABELS,
  MAX_MESSAGE_BYTES,
  MAX_NAME_LENGTH,
  MAX_PASSED_BYTES,
  MAX_PERIOD_MS,
  MAX_PHRASE_LENGTH,
  MIN_PERIOD_MS
} from './constants.ts'

/** First on the stream, from both sides. */
export interface Hello {
  type: 'hello'
  /** Persisted start counter of the sender's daemon. */
  epoch: number
  /** Name that the sender gives itself, for people. */
  name: string
  /** Of the sender's program. */
  version: string
}

/** Asks for a pong with the same number. */
export interface Ping {
  type: 'ping'
  number: number
}

export interface Pong {
  type: 'pong'
  number: number
}

export type WireMessage = OverlayMessage | Hello | Ping | Pong

const counter = z.int().nonnegative()
const cores = z.number().min(0).max(65_536)
const bytes = z.number().min(0).max(Number.MAX_SAFE_INTEGER)
/** Milliseconds up to a year. */
const duration = z.number().min(0).max(MAX_AGE_MS)
const metric = z.number().min(0).max(1e12)
const hopsLeft = z.int().min(0).max(MAX_HOPS)
const hops = z.int().min(1).max(MAX_HOPS)
const word = z.string().min(1).max(MAX_LABEL_LENGTH)
const name = z.string().max(MAX_NAME_LENGTH)
const phrase = z.string().max(MAX_PHRASE_LENGTH)
const words = z.array(word).max(MAX_LABELS)
/** The ID of an Ed25519 key in base58. */
const peerId = z.string().regex(/^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$/)
/** 128 bits. */
const randomId = z.string().regex(/^[0-9a-f]{32}$/)

const machineClass = z.looseObject({
  os: word,
  arch: word,
  cpuLevel: z.int().min(0).max(15),
  pageSize: z
    .int()
    .min(1)
    .max(2 ** 30),
  modes: words,
  noFiles: phrase.exactOptional()
})

const machineRecord = z.looseObject({
  benchmarkVersion: counter,
  speed: z.number().positive().max(1e6),
  cores: cores.positive(),
  idleCores: cores,
  runnable: z.number().min(0).max(1e6),
  homeDemand: z.number().min(0).max(1e6),
  guestDemand: z.number().min(0).max(1e6),
  memoryAvailable: bytes,
  memoryTotal: bytes,
  memoryPromised: bytes,
  memoryFloor: bytes,
  slots: cores,
  refuses: phrase.exactOptional(),
  class: machineClass,
  labels: words
})

const entry = z.looseObject({
  origin: peerId,
  epoch: counter,
  sequence: counter,
  ageMs: duration,
  hopsLeft,
  hops,
  name,
  record: machineRecord
})

/** What a job needs of the class of a machine. */
export const wantedClass = z.looseObject({
  os: word.exactOptional(),
  arch: word.exactOptional(),
  cpuLevel: z.int().min(0).max(15).exactOptional(),
  pageSize: z
    .int()
    .min(1)
    .max(2 ** 30)
    .exactOptional()
})

const needs = z.looseObject({
  demand: cores.positive(),
  memoryBytes: bytes,
  mode: z.enum(['plain', 'staged', 'files']),
  programs: z.enum(['target']).exactOptional(),
  terminal: z.literal(true).exactOptional(),
  class: wantedClass.exactOptional(),
  tools: words,
  labels: words,
  command: z.string().max(MAX_COMMAND_LENGTH).exactOptional()
})

/** Home first; the peers that walked. */
const path = z
  .array(peerId)
  .min(1)
  .max(MAX_HOPS + 1)
const place = z.int().min(1).max(MAX_HOPS)
const named = z.array(peerId).max(MAX_NAMED)
const refusal = z.object({ peer: peerId, code: word, reason: phrase })
const addresses = z.array(z.string().max(MAX_ADDRESS_LENGTH)).max(MAX_ADDRESSES)
/** Home first; the paper's probes may walk in circles. */
const paperPath = z.array(peerId).min(1).max(MAX_PAPER_PATH)
const ticket = z.object({ id: randomId, target: peerId, epoch: counter, validMs: duration })

/** All messages. */
export const wireMessage = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('advertisement'),
    periodMs: z.number().min(MIN_PERIOD_MS).max(MAX_PERIOD_MS),
    idleMs: duration,
    entries: z.array(entry).max(MAX_ENTRIES),
    partial: z.literal(true).exactOptional()
  }),
  z.object({
    type: z.literal('probe'),
    id: randomId,
    origin: peerId,
    needs,
    path,
    hopsLeft,
    best: metric,
    bestAt: place.exactOptional(),
    waitMs: duration,
    avoid: named,
    only: named
  }),
  z.object({
    type: z.literal('probe-reply'),
    id: randomId,
    path,
    bestAt: place.exactOptional(),
    ticket: ticket.exactOptional(),
    addresses: addresses.exactOptional(),
    refusals: z.array(refusal).max(MAX_REFUSALS),
    entries: z.array(entry).max(MAX_HOPS)
  }),
  z.object({ type: z.literal('release'), id: randomId }),
  z.object({
    type: z.literal('pull'),
    to: peerId,
    path: z.array(peerId).min(1).max(MAX_HOPS),
    entry
  }),
  z.object({ type: z.literal('paper-metric'), value: metric }),
  z.object({ type: z.literal('paper-probe'), id: randomId, origin: peerId, needs, path: paperPath }),
  z.object({
    type: z.literal('paper-reply'),
    id: randomId,
    target: peerId,
    name,
    metric,
    ticket: ticket.exactOptional(),
    refusal: refusal.exactOptional(),
    addresses: addresses.exactOptional(),
    path: paperPath
  }),
  z.object({ type: z.literal('hello'), epoch: counter, name, version: word }),
  z.object({ type: z.literal('ping'), number: counter }),
  z.object({ type: z.literal('pong'), number: counter })
])

/** CBOR of one message. Throws ProtocolError when it is longer than a peer would take. */
export function encodeMessage(message: WireMessage): Uint8Array {
  const encoded = encode(message, { ignoreUndefinedProperties: true })
  if (encoded.byteLength > MAX_MESSAGE_BYTES) {
    throw new KappaError('ProtocolError', `a ${message.type} of ${encoded.byteLength} bytes is too long to be sent`)
  }
  return encoded
}

/** The message in a frame. Throws ProtocolError on anything else, whatever the bytes. */
export function decodeMessage(frame: Uint8Array): WireMessage {
  let decoded: unknown
  try {
    decoded = decode(frame, {
      allowIndefinite: false,
      allowUndefined: false,
      allowInfinity: false,
      allowNaN: false,
      allowBigInt: false,
      rejectDuplicateMapKeys: true
    })
  } catch (error) {
    throw new KappaError('ProtocolError', `not CBOR: ${messageOf(error)}`, { cause: error })
  }
  const checked = wireMessage.safeParse(decoded)
  if (checked.success) {
    if (frame.byteLength > MAX_PASSED_BYTES) checkPassed(checked.data)
    return checked.data
  }
  const [issue] = checked.error.issues
  const where = issue === undefined || issue.path.length === 0 ? 'a message' : issue.path.join('.')
  throw new KappaError('ProtocolError', `${where.slice(0, 100)}: ${issue?.message.slice(0, 100)}`)
}

/** What is passed on to others must fit into a message there, with the fields that we don't know. */
function checkPassed(message: WireMessage): void {
  const parts: object[] = 'needs' in message ? [message.needs] : []
  if ('entry' in message) parts.push(unmoved(message.entry))
  if ('entries' in message) parts.push(...message.entries.map(unmoved))
  for (const part of parts) {
    const { byteLength } = encode(part, { ignoreUndefinedProperties: true })
    if (byteLength <= MAX_PASSED_BYTES) continue
    throw new KappaError('ProtocolError', `${byteLength} bytes in one part of a ${message.type}`)
  }
}

/** What each hop changes doesn't count, or an entry could grow beyond the bound on its way. */
function unmoved(one: AdvertisementEntry): AdvertisementEntry {
  return { ...one, ageMs: 0, hops: 0, hopsLeft: 0 }
}

// ------------------------------------------------------------------------------------- proof: schema = types of core

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
/** Without the room for unknown fields, all the way down. */
type Known<T> = T extends readonly (infer Item)[]
  ? Known<Item>[]
  : T extends object
    ? { [Key in keyof T as string extends Key ? never : Key]: Known<T[Key]> }
    : T

type Proven = [
  Equal<Known<z.output<typeof wireMessage>>, Known<WireMessage>>,
  Equal<Known<z.output<typeof entry>>, Known<AdvertisementEntry>>
]
/** Doesn't compile when the schema and the types of the core part. */
export const SCHEMA_EQUALS_TYPES: Proven = [true, true]
