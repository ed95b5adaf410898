/** Each request that is answered: how it is decoded, whose it is, how the answer is written. */

import { OPCODE } from './constants.ts'
import type { Device } from './device.ts'
import { Errno } from './errno.ts'
import type { Frame } from './frame.ts'
import type { FileSystemOperations } from './operations.ts'
import type {
  AttributesReply,
  Created,
  DirectoryReply,
  Entry,
  IoctlReply,
  NoEntry,
  Opened,
  ReplyWriter,
  Statistics,
  StatxReply
} from './replies.ts'
import {
  AccessRequest,
  BmapRequest,
  CopyFileRangeRequest,
  CreateRequest,
  FallocateRequest,
  FlushRequest,
  FsyncRequest,
  GetattrRequest,
  GetxattrRequest,
  IoctlRequest,
  LinkRequest,
  ListxattrRequest,
  type Lock,
  LockRequest,
  LseekRequest,
  MkdirRequest,
  MknodRequest,
  NameRequest,
  OpenRequest,
  PollRequest,
  ReadRequest,
  ReleaseRequest,
  RenameRequest,
  Request,
  SetattrRequest,
  SetxattrRequest,
  StatxRequest,
  SymlinkRequest,
  WriteRequest
} from './requests.ts'

export type OperationName = Exclude<keyof FileSystemOperations, 'forget'>

/** Answers up to this long are copied behind their header; longer ones are written from where they are. */
const COPIED_BYTES = 16 * 1024

export interface Operation {
  readonly name: OperationName
  decode(frame: Frame, device: Pick<Device, 'keep'>): Request
  /**
   * Writes the answer; what is returned follows it. Throws Errno, or RangeError when a handler's answer is none to this
   * request.
   */
  encode(reply: ReplyWriter, answer: unknown, request: Request): Uint8Array | undefined
}

type Encode<T, R> = (reply: ReplyWriter, answer: T, request: R) => Uint8Array | undefined

function operation<T, R extends Request>(
  name: OperationName,
  decode: new (frame: Frame) => R,
  encode: Encode<T, R>
): Operation {
  return {
    name,
    decode: (frame) => new decode(frame),
    encode: encode as Operation['encode']
  }
}

const nothing = () => undefined
const entry: Encode<Entry | NoEntry, Request> = (reply, answer) => reply.entry(answer)
const attributes: Encode<AttributesReply, Request> = (reply, answer) => reply.attributes(answer)
const opened: Encode<Opened, Request> = (reply, answer) => reply.opened(answer)
const u64: Encode<number, Request> = (reply, answer) => reply.u64(answer)
const u32: Encode<number, Request> = (reply, answer) => {
  reply.u32(answer)
  reply.u32(0)
}
const created: Encode<Created, Request> = (reply, answer) => {
  reply.entry(answer.entry)
  reply.opened(answer.opened)
}

/** All of `answer`; the caller has seen to it that it isn't longer than what was asked for. */
function bytes(reply: ReplyWriter, answer: Uint8Array): Uint8Array | undefined {
  if (answer.length > COPIED_BYTES) return answer
  reply.data(answer)
  return undefined
}

const read: Encode<Uint8Array, ReadRequest> = (reply, answer, request) => {
  if (answer.length > request.size) throw new RangeError(`${answer.length} bytes for a read of ${request.size}`)
  return bytes(reply, answer)
}

/** Size 0 asks how long the value is. */
const attribute: Encode<Uint8Array, GetxattrRequest | ListxattrRequest> = (reply, answer, request) => {
  if (request.size === 0) return u32(reply, answer.length, request)
  if (answer.length > request.size) throw Errno.of('ERANGE')
  return bytes(reply, answer)
}

const link: Encode<string, Request> = (reply, answer) => bytes(reply, Buffer.from(answer, 'latin1'))

const ioctl: Encode<IoctlReply, IoctlRequest> = (reply, answer, request) => {
  if (answer.data.length > request.outputBytes) throw new RangeError(`${answer.data.length} bytes for an ioctl`)
  reply.u32(answer.result)
  reply.u32(0)
  reply.u64(0)
  return bytes(reply, answer.data)
}

const directory =
  (isPlus: boolean): Encode<DirectoryReply, ReadRequest> =>
  (reply, answer, request) =>
    reply.directory(answer, isPlus, request.size)

const rename = (names: number): Operation => ({
  name: 'rename',
  decode: (frame) => new RenameRequest(frame, names),
  encode: nothing
})

const write: Operation = {
  name: 'write',
  decode: (frame, device) => new WriteRequest(frame, (data) => device.keep(data)),
  encode: u32 as Operation['encode']
}

/** By opcode. */
const entries: [number, Operation][] = [
  [OPCODE.lookup, operation('lookup', NameRequest, entry)],
  [OPCODE.getattr, operation('getattr', GetattrRequest, attributes)],
  [OPCODE.setattr, operation('setattr', SetattrRequest, attributes)],
  [OPCODE.statx, operation<StatxReply, Request>('statx', StatxRequest, (reply, answer) => reply.statx(answer))],
  [OPCODE.readlink, operation('readlink', Request, link)],
  [OPCODE.symlink, operation('symlink', SymlinkRequest, entry)],
  [OPCODE.mknod, operation('mknod', MknodRequest, entry)],
  [OPCODE.mkdir, operation('mkdir', MkdirRequest, entry)],
  [OPCODE.unlink, operation('unlink', NameRequest, nothing)],
  [OPCODE.rmdir, operation('rmdir', NameRequest, nothing)],
  [OPCODE.rename, rename(48)],
  [OPCODE.rename2, rename(56)],
  [OPCODE.link, operation('link', LinkRequest, entry)],
  [OPCODE.open, operation('open', OpenRequest, opened)],
  [OPCODE.create, operation('create', CreateRequest, created)],
  [OPCODE.tmpfile, operation('tmpfile', CreateRequest, created)],
  [OPCODE.read, operation('read', ReadRequest, read)],
  [OPCODE.write, write],
  [OPCODE.flush, operation('flush', FlushRequest, nothing)],
  [OPCODE.release, operation('release', ReleaseRequest, nothing)],
  [OPCODE.fsync, operation('fsync', FsyncRequest, nothing)],
  [OPCODE.statfs, operation<Statistics, Request>('statfs', Request, (reply, answer) => reply.statistics(answer))],
  [OPCODE.syncfs, operation('syncfs', Request, nothing)],
  [OPCODE.setxattr, operation('setxattr', SetxattrRequest, nothing)],
  [OPCODE.getxattr, operation('getxattr', GetxattrRequest, attribute)],
  [OPCODE.listxattr, operation('listxattr', ListxattrRequest, attribute)],
  [OPCODE.removexattr, operation('removexattr', NameRequest, nothing)],
  [OPCODE.opendir, operation('opendir', OpenRequest, opened)],
  [OPCODE.readdir, operation('readdir', ReadRequest, directory(false))],
  [OPCODE.readdirplus, operation('readdirplus', ReadRequest, directory(true))],
  [OPCODE.releasedir, operation('releasedir', ReleaseRequest, nothing)],
  [OPCODE.fsyncdir, operation('fsyncdir', FsyncRequest, nothing)],
  [OPCODE.access, operation('access', AccessRequest, nothing)],
  [OPCODE.getlk, operation<Lock, Request>('getlk', LockRequest, (reply, answer) => reply.lock(answer))],
  [OPCODE.setlk, operation('setlk', LockRequest, nothing)],
  [OPCODE.setlkw, operation('setlkw', LockRequest, nothing)],
  [OPCODE.bmap, operation('bmap', BmapRequest, u64)],
  [OPCODE.ioctl, operation('ioctl', IoctlRequest, ioctl)],
  [OPCODE.poll, operation('poll', PollRequest, u32)],
  [OPCODE.fallocate, operation('fallocate', FallocateRequest, nothing)],
  [OPCODE.lseek, operation('lseek', LseekRequest, u64)],
  [OPCODE.copyFileRange, operation('copyFileRange', CopyFileRangeRequest, u32)],
  [OPCODE.copyFileRange64, operation('copyFileRange', CopyFileRangeRequest, u64)]
]

export const OPERATIONS: readonly (Operation | undefined)[] = Array.from(
  { length: Math.max(...entries.map(([opcode]) => opcode)) + 1 },
  (_, opcode) => entries.find(([other]) => other === opcode)?.[1]
)
