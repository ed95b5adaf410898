/**
 * What the process that serves a tree asks of the daemon beside it, which alone can reach the owner's directories: whether
 * this machine has the same system file, and contents that it keeps. Each frame begins with what it is.
 */

import { type ByteString, malformed, Reader, Writer } from '../../protocols/file/bytes.ts'
import { HASH_BYTES, PATH_BYTES_MAX } from '../../protocols/file/constants.ts'
import type { Identity } from '../hashes.ts'

/**
 * First byte of every frame between the two: for or from home, news that were taken, what is here, and a question, given
 * back when what ended programs had written is at home.
 */
export const WIRE = { home: 0, news: 1, store: 2, settled: 3 } as const

/** Bytes of a large file that are kept as one. */
export const BLOCK_BYTES = 256 * 1024
/** In place of a block's number: all of a small file. */
export const WHOLE = 2 ** 32 - 1
/** Directories of a home that are remembered. */
export const REPLAYED_MAX = 64

const KIND = { own: 1, load: 2, save: 3, recall: 4, remember: 5 } as const

export type StoreRequest =
  /** Whether this machine's file at that path holds the same. */
  | { kind: 'own'; path: ByteString; hash: ByteString }
  | { kind: 'load'; hash: ByteString; block: number }
  /** Without a hash: of a small file, by what it holds. */
  | { kind: 'save'; hash: ByteString; block: number; data: Uint8Array }
  /** Directories that the last jobs of this home listed. */
  | { kind: 'recall' }
  | { kind: 'remember'; paths: readonly ByteString[] }

const writer = new Writer()
const NO_HASH = '\0'.repeat(HASH_BYTES)

/** Parts of a frame, without its first byte; data is not copied. */
export function encodeStoreRequest(id: number, request: StoreRequest): Uint8Array[] {
  writer.u8(KIND[request.kind]).u32(id)
  if (request.kind === 'own') writer.bytes(request.hash).text(request.path)
  else if (request.kind === 'load') writer.bytes(request.hash).u32(request.block)
  else if (request.kind === 'save') {
    writer.bytes(request.hash || NO_HASH).u32(request.block)
    return [writer.take(), request.data]
  } else if (request.kind === 'remember') putPaths(request.paths)
  return [writer.take()]
}

/** Throws ProtocolError. */
export function decodeStoreRequest(frame: Uint8Array): { id: number; request: StoreRequest } {
  const reader = new Reader(frame)
  const kind = reader.u8()
  const id = reader.u32()
  return { id, request: requestOf(kind, reader) }
}

function requestOf(kind: number, reader: Reader): StoreRequest {
  if (kind === KIND.recall) return { kind: 'recall' }
  if (kind === KIND.remember) return { kind: 'remember', paths: getPaths(reader) }
  const hash = reader.bytes(HASH_BYTES)
  if (kind === KIND.own) return { kind: 'own', hash, path: reader.text(PATH_BYTES_MAX) }
  const block = reader.u32()
  if (kind === KIND.load) return { kind: 'load', hash, block }
  if (kind !== KIND.save) throw malformed('there is no such request of the store')
  const data = reader.rest()
  if (data.length > BLOCK_BYTES) throw malformed('a block is too large')
  return { kind: 'save', hash: hash === NO_HASH ? '' : hash, block, data }
}

/** To requests that have none: nothing. */
export type StoreAnswer = { identity: Identity } | { data: Uint8Array } | { paths: readonly ByteString[] } | undefined

export function encodeStoreAnswer(id: number, answer: StoreAnswer): Uint8Array[] {
  writer.u32(id)
  if (answer === undefined) return [writer.take()]
  if ('data' in answer) return [writer.take(), answer.data]
  if ('paths' in answer) putPaths(answer.paths)
  else for (const field of IDENTITY) writer.i64(answer.identity[field])
  return [writer.take()]
}

/** To a request as it came: nothing. */
export function emptyAnswer(frame: Uint8Array): Uint8Array[] {
  return [frame.slice(1, 5)]
}

const IDENTITY = ['device', 'inode', 'size', 'modified', 'changed'] as const

/** What an answer holds: nothing, or what its request is about. */
export function decodeStoreAnswer(frame: Uint8Array): { id: number; body: Uint8Array } {
  const reader = new Reader(frame)
  return { id: reader.u32(), body: reader.rest() }
}

/** Throws ProtocolError. */
export function decodeIdentity(body: Uint8Array): Identity | undefined {
  if (body.length === 0) return undefined
  const reader = new Reader(body)
  const identity: Partial<Identity> = {}
  for (const field of IDENTITY) identity[field] = reader.i64()
  return identity as Identity
}

/** Throws ProtocolError. */
export function decodePaths(body: Uint8Array): ByteString[] {
  return body.length === 0 ? [] : getPaths(new Reader(body))
}

function putPaths(paths: readonly ByteString[]): void {
  writer.u32(paths.length)
  for (const path of paths) writer.text(path)
}

function getPaths(reader: Reader): ByteString[] {
  const count = reader.u32()
  if (count > REPLAYED_MAX) throw malformed('too many directories')
  return Array.from({ length: count }, () => reader.text(PATH_BYTES_MAX))
}
