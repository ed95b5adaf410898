/**
 * The messages of the file protocol. A target asks with a number of its own, home answers under that number, in any order;
 * what a listing or a change tells comes in several. Data follows the last field.
 */

import { type ByteString, malformed, Reader, type Time, Writer } from './bytes.ts'
import { FILE_DATA_BYTES_MAX, HASH_BYTES, NAME_BYTES_MAX, PATH_BYTES_MAX } from './constants.ts'

/** What stat(2) says of a file at home, and what the job's user may do with it there. */
export interface Attributes {
  device: number
  /** Below 2^53. */
  inode: number
  mode: number
  links: number
  uid: number
  gid: number
  /** Of a device node. */
  rdev: number
  /** Bytes. */
  size: number
  /** Of 512 bytes. */
  blocks: number
  accessed: Time
  modified: Time
  changed: Time
  /** Bits of access(2): 4 read, 2 write, 1 execute or search. */
  access: number
  /** sha256 of what a regular file holds in this state, where home knows it; comes with entries only. */
  hash?: ByteString | undefined
}

/** A name in a directory; without attributes it is not there (any more). */
export interface Entry {
  name: ByteString
  attributes: Attributes | undefined
  /** Where a symbolic link leads. */
  link: ByteString | undefined
}

/** Of a file's state, so that an unchanged one need not be sent again. */
export type Version = Pick<Attributes, 'inode' | 'size' | 'modified'>

type Values = {
  u8: number
  u32: number
  size: number
  i64: bigint
  time: Time
  path: ByteString
  /** Where a symbolic link leads: anything. */
  link: ByteString
  version: Version
}
type Fields = Readonly<Record<string, keyof Values>>
interface Spec<F extends Fields> {
  readonly code: number
  readonly fields: F
  /** Data follows. */
  readonly data?: boolean
}
const spec = <const F extends Fields>(code: number, fields: F, data = false): Spec<F> => ({ code, fields, data })

/**
 * Target → home. Paths are absolute and hold no link, `.` or `..`: the target's kernel has walked them. `handle` is of a
 * file that home has open for the target, 0 where a path says which.
 */
export const REQUESTS = {
  /** Where a link leads comes as data. */
  stat: spec(1, { path: 'path' }),
  /** All entries of a directory, unless they are more than `most`, and from then on what changes in it. */
  list: spec(2, { path: 'path', most: 'u32' }),
  /** Of a regular file in a known version, which need not be open. */
  fetch: spec(3, { path: 'path', version: 'version', offset: 'size', length: 'u32' }),
  /** `flags` are bits of `OPEN`; `version`: what the target has of it, so that a small file comes along only when it differs. */
  open: spec(4, { path: 'path', flags: 'u32', mode: 'u32', version: 'version' }),
  read: spec(5, { handle: 'u32', offset: 'size', length: 'u32' }),
  write: spec(6, { handle: 'u32', offset: 'size' }, true),
  close: spec(7, { handle: 'u32' }),
  /** `what`: 0 what is written is home's, 1 it is on its disk, 2 its data is. */
  sync: spec(8, { handle: 'u32', what: 'u8' }),
  /** `set` are bits of `SET`; the bits may say that a time is home's now. */
  change: spec(9, {
    path: 'path',
    handle: 'u32',
    set: 'u32',
    mode: 'u32',
    uid: 'u32',
    gid: 'u32',
    size: 'size',
    accessed: 'time',
    modified: 'time'
  }),
  makeDirectory: spec(10, { path: 'path', mode: 'u32' }),
  makeNode: spec(11, { path: 'path', mode: 'u32' }),
  makeLink: spec(12, { path: 'path', link: 'link' }),
  /** Another name of a file. */
  addName: spec(13, { path: 'path', to: 'path' }),
  remove: spec(14, { path: 'path' }),
  removeDirectory: spec(15, { path: 'path' }),
  /** `flags` of renameat2(2): 1 not over another, 2 exchange. */
  rename: spec(16, { path: 'path', to: 'path', flags: 'u32' }),
  space: spec(17, { path: 'path' }),
  /** `mode` of fallocate(2). */
  allocate: spec(18, { handle: 'u32', mode: 'u32', offset: 'size', length: 'size' }),
  /** `whence` of lseek(2): 3 data, 4 hole. */
  seek: spec(19, { handle: 'u32', offset: 'size', whence: 'u8' }),
  copy: spec(20, { handle: 'u32', offset: 'size', toHandle: 'u32', toOffset: 'size', length: 'size' }),
  /** `type`: 0 shared, 1 exclusive, 2 none. `end` is the last byte. A whole-file lock is one of flock(2). */
  lock: spec(21, { handle: 'u32', owner: 'i64', type: 'u8', start: 'i64', end: 'i64', wait: 'u8', whole: 'u8' }),
  /** Answered with the `LOCK_BYTES` of what is in the way. */
  testLock: spec(22, { handle: 'u32', owner: 'i64', type: 'u8', start: 'i64', end: 'i64' }),
  /** The job no longer waits for a lock. */
  cancel: spec(23, { request: 'u32' }),
  /** sha256 of what a regular file in a known version holds; fails with ESTALE where it may change at any moment. */
  hash: spec(24, { path: 'path', version: 'version' })
} as const

export type RequestKind = keyof typeof REQUESTS
export type RequestFields<K extends RequestKind> = {
  -readonly [F in keyof (typeof REQUESTS)[K]['fields']]: Values[Extract<
    (typeof REQUESTS)[K]['fields'][F],
    keyof Values
  >]
}
export type FileRequest = {
  [K in RequestKind]: { kind: K; id: number; data: Uint8Array } & RequestFields<K>
}[RequestKind]

/** Bits of an open request; the lowest two say what for. */
export const OPEN = {
  read: 0,
  write: 1,
  both: 2,
  append: 4,
  truncate: 8,
  create: 16,
  exclusive: 32,
  handle: 64
} as const

/** Bits of a change: which fields count. */
export const SET = {
  mode: 1,
  uid: 2,
  gid: 4,
  size: 8,
  accessed: 16,
  modified: 32,
  accessedNow: 64,
  modifiedNow: 128
} as const

/** Types of locks that are none, and the last byte that one may reach: that a file may have (linux/fs.h). */
export const LOCK_NONE = 2
export const LOCK_END = 2n ** 63n - 1n
/** Type, first and last byte of a lock, where it is data. */
export const LOCK_BYTES = 17

/** A version that no file has. */
export const UNKNOWN: Version = { inode: 0, size: 0, modified: { s: 0, ns: 0 } }

/** Home → target. */
const ANSWER = { done: 1, failed: 2, entries: 3, changed: 4, reset: 5 } as const

export interface Answer {
  attributes?: Attributes | undefined
  /** Of the directory in which a name was made or removed. */
  parent?: Attributes | undefined
  handle?: number
  /** What a request gave beside attributes: bytes taken or copied, an offset. */
  value?: number
  data?: Uint8Array
}

export type HomeMessage =
  | { kind: 'done'; id: number; answer: Answer }
  /** `errno` as Linux numbers it. */
  | { kind: 'failed'; id: number; errno: number }
  /** Of a listing, the last one by `last`; `watched`: changes will be told; `large`: there are too many, and none comes. */
  | {
      kind: 'entries'
      id: number
      entries: Entry[]
      last: boolean
      watched: boolean
      large: boolean
      /** Of the directory itself, since it is watched; comes with the last part. */
      own: Attributes | undefined
    }
  /** News of one directory; numbered, as resets are. */
  | { kind: 'changed'; id: number; path: ByteString; entries: Entry[] }
  /** Something was missed: nothing that was told counts any more. */
  | { kind: 'reset'; id: number }

const writer = new Writer(64 * 1024)
const EMPTY = new Uint8Array(0)
const KINDS = new Map(Object.entries(REQUESTS).map(([kind, { code }]) => [code, kind as RequestKind]))

/** Of a request by its first byte. */
export function kindOf(code: number): RequestKind | undefined {
  return KINDS.get(code)
}

/** Parts of a frame; the data, where there is some, is not copied. */
export function encodeRequest<K extends RequestKind>(
  kind: K,
  id: number,
  fields: RequestFields<K>,
  data?: Uint8Array
): Uint8Array[] {
  const { code, fields: types } = REQUESTS[kind] as Spec<Fields>
  writer.u8(code).u32(id)
  const values = fields as Record<string, never>
  for (const name in types) put(types[name]!, values[name]!)
  return data === undefined ? [writer.take()] : [writer.take(), data]
}

/** Throws ProtocolError. */
export function decodeRequest(frame: Uint8Array): FileRequest {
  const reader = new Reader(frame)
  const kind = KINDS.get(reader.u8())
  if (kind === undefined) throw malformed('there is no such request')
  const { fields, data } = REQUESTS[kind] as Spec<Fields>
  const request: Record<string, unknown> = { kind, id: reader.u32(), data: EMPTY }
  for (const name in fields) request[name] = get(fields[name]!, reader)
  if (data) request.data = reader.rest()
  else reader.end()
  return request as unknown as FileRequest
}

function put(type: keyof Values, value: never): void {
  if (type === 'u8') writer.u8(value)
  else if (type === 'u32') writer.u32(value)
  else if (type === 'size') writer.size(value)
  else if (type === 'i64') writer.i64(value)
  else if (type === 'time') writer.time(value)
  else if (type === 'version') putVersion(value)
  else writer.text(value)
}

function get(type: keyof Values, reader: Reader): unknown {
  if (type === 'u8') return reader.u8()
  if (type === 'u32') return reader.u32()
  if (type === 'size') return reader.size()
  if (type === 'i64') return reader.i64()
  if (type === 'time') return reader.time()
  if (type === 'version') return getVersion(reader)
  if (type === 'link') return reader.text(PATH_BYTES_MAX)
  return pathOf(reader.text(PATH_BYTES_MAX))
}

/** Throws ProtocolError unless it is `/`, or names joined by one `/` each of which `.` and `..` are none. */
function pathOf(path: ByteString): ByteString {
  if (path === '/') return path
  if (!path.startsWith('/') || path.includes('\0')) throw malformed('a path is not absolute')
  for (let start = 1; start <= path.length; ) {
    const slash = path.indexOf('/', start)
    const end = slash < 0 ? path.length : slash
    const length = end - start
    if (
      length === 0 ||
      length > NAME_BYTES_MAX ||
      (path[start] === '.' && (length === 1 || (length === 2 && path[start + 1] === '.')))
    )
      throw malformed('a path has a part that is no name')
    start = end + 1
  }
  return path
}

function putVersion({ inode, size, modified }: Version): void {
  writer.size(inode).size(size).time(modified)
}

function getVersion(reader: Reader): Version {
  return { inode: reader.size(), size: reader.size(), modified: reader.time() }
}

function putAttributes(a: Attributes): void {
  writer.size(a.device).size(a.inode).u32(a.mode).u32(a.links).u32(a.uid).u32(a.gid).u32(a.rdev)
  writer.size(a.size).size(a.blocks).time(a.accessed).time(a.modified).time(a.changed).u8(a.access)
}

function getAttributes(reader: Reader): Attributes {
  return {
    device: reader.size(),
    inode: reader.size(),
    mode: reader.u32(),
    links: reader.u32(),
    uid: reader.u32(),
    gid: reader.u32(),
    rdev: reader.u32(),
    size: reader.size(),
    blocks: reader.size(),
    accessed: reader.time(),
    modified: reader.time(),
    changed: reader.time(),
    access: reader.u8()
  }
}

/** Bits of what an entry or an answer holds. */
const HAS = { attributes: 1, link: 2, hash: 4, parent: 8 } as const

function putEntry({ name, attributes, link }: Entry): void {
  const hash = attributes?.hash
  writer
    .text(name)
    .u8((attributes ? HAS.attributes : 0) | (link === undefined ? 0 : HAS.link) | (hash === undefined ? 0 : HAS.hash))
  if (attributes) putAttributes(attributes)
  if (link !== undefined) writer.text(link)
  if (hash !== undefined) writer.bytes(hash)
}

function getEntry(reader: Reader): Entry {
  const name = reader.text(NAME_BYTES_MAX)
  if (name === '' || name === '.' || name === '..' || /[/\0]/.test(name)) throw malformed('an entry has no name')
  const has = reader.u8()
  const attributes = has & HAS.attributes ? getAttributes(reader) : undefined
  const link = has & HAS.link ? reader.text(PATH_BYTES_MAX) : undefined
  if (has & HAS.hash) {
    if (attributes === undefined) throw malformed('what is not there has no hash')
    attributes.hash = reader.bytes(HASH_BYTES)
  }
  return { name, attributes, link }
}

export function encodeDone(id: number, { attributes, parent, handle = 0, value = 0, data }: Answer): Uint8Array[] {
  writer
    .u8(ANSWER.done)
    .u32(id)
    .u8((attributes ? HAS.attributes : 0) | (parent ? HAS.parent : 0))
  if (attributes) putAttributes(attributes)
  if (parent) putAttributes(parent)
  writer.u32(handle).size(value)
  return data === undefined ? [writer.take()] : [writer.take(), data]
}

export function encodeFailed(id: number, errno: number): Uint8Array[] {
  return [writer.u8(ANSWER.failed).u32(id).u32(errno).take()]
}

/** Bits of a part of a listing. */
const PART = { last: 1, watched: 2, own: 4, large: 8 } as const

/** As messages of about `bytes`, at least one. */
export function encodeEntries(
  id: number,
  entries: readonly Entry[],
  bytes: number,
  {
    last,
    watched,
    large = false,
    own
  }: { last: boolean; watched: boolean; large?: boolean; own?: Attributes | undefined }
): Uint8Array[] {
  const bits = (watched ? PART.watched : 0) | (large ? PART.large : 0)
  return chunked(entries, bytes, (isLast) => {
    const ends = last && isLast
    writer
      .u8(ANSWER.entries)
      .u32(id)
      .u8(bits | (ends ? PART.last : 0) | (ends && own ? PART.own : 0))
    if (ends && own) putAttributes(own)
  })
}

/** One news may take several messages; `next` numbers them. */
export function encodeChanged(
  next: () => number,
  path: ByteString,
  entries: readonly Entry[],
  bytes: number
): Uint8Array[] {
  return chunked(entries, bytes, () => {
    writer.u8(ANSWER.changed).u32(next()).text(path)
  })
}

export function encodeReset(id: number): Uint8Array[] {
  return [writer.u8(ANSWER.reset).u32(id).take()]
}

/** Frames of entries; whether one is the last is known only when it is full. */
function chunked(entries: readonly Entry[], bytes: number, begin: (last: boolean) => void): Uint8Array[] {
  const frames: Uint8Array[] = []
  let from = 0
  do {
    let to = from
    let size = 0
    while (to < entries.length && (to === from || size < bytes)) {
      const { name, link = '' } = entries[to++]!
      size += 100 + name.length + link.length
    }
    begin(to === entries.length)
    for (; from < to; from++) putEntry(entries[from]!)
    frames.push(writer.take())
  } while (from < entries.length)
  return frames
}

/** Throws ProtocolError. */
export function decodeAnswer(frame: Uint8Array): HomeMessage {
  const reader = new Reader(frame)
  const code = reader.u8()
  const id = reader.u32()
  if (code === ANSWER.done) return { kind: 'done', id, answer: getAnswer(reader) }
  if (code === ANSWER.entries) {
    const bits = reader.u8()
    const [last, watched, large] = [PART.last, PART.watched, PART.large].map((bit) => (bits & bit) !== 0) as [
      boolean,
      boolean,
      boolean
    ]
    const own = bits & PART.own ? getAttributes(reader) : undefined
    return { kind: 'entries', id, entries: getEntries(reader), last, watched, large, own }
  }
  if (code === ANSWER.changed) {
    const path = pathOf(reader.text(PATH_BYTES_MAX))
    return { kind: 'changed', id, path, entries: getEntries(reader) }
  }
  if (code === ANSWER.failed) {
    const errno = reader.u32()
    reader.end()
    if (errno === 0 || errno > 4095) throw malformed('there is no such errno')
    return { kind: 'failed', id, errno }
  }
  if (code !== ANSWER.reset) throw malformed('there is no such answer')
  reader.end()
  return { kind: 'reset', id }
}

function getAnswer(reader: Reader): Answer {
  const has = reader.u8()
  const attributes = has & HAS.attributes ? getAttributes(reader) : undefined
  const parent = has & HAS.parent ? getAttributes(reader) : undefined
  const handle = reader.u32()
  const value = reader.size()
  if (reader.left > FILE_DATA_BYTES_MAX) throw malformed('it has too much data')
  return { attributes, parent, handle, value, data: reader.rest() }
}

function getEntries(reader: Reader): Entry[] {
  const entries: Entry[] = []
  while (reader.left > 0) entries.push(getEntry(reader))
  return entries
}
