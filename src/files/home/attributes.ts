/** What the target is told of a file: what stat(2) says, and what the user may do with it. */

import { type BigIntStats, closeSync, constants, fstatSync, lstatSync, readlinkSync } from 'node:fs'
import type { ByteString, Time } from '../../protocols/file/bytes.ts'
import type { Attributes, Entry } from '../../protocols/file/codec.ts'
import type { Hashes } from '../hashes.ts'
import { pin, within } from './directories.ts'
import type { Right, View } from './view.ts'

const NS = 1_000_000_000n
const uid = process.geteuid!()
const groups = new Set([process.getegid!(), ...process.getgroups!()])

export function attributesOf(stats: BigIntStats, right: Right): Attributes {
  const mode = Number(stats.mode)
  return {
    device: Number(stats.dev),
    inode: inodeOf(stats.ino),
    mode,
    links: Number(stats.nlink),
    uid: Number(stats.uid),
    gid: Number(stats.gid),
    rdev: Number(stats.rdev),
    size: Number(stats.size),
    blocks: Number(stats.blocks),
    accessed: timeOf(stats.atimeNs),
    modified: timeOf(stats.mtimeNs),
    changed: timeOf(stats.ctimeNs),
    access: accessOf(mode, Number(stats.uid), Number(stats.gid)) & maskOf(right)
  }
}

/** Some file systems have numbers of 64 bits, whose highest tell apart what lies below them: no real number reaches 2^42. */
export function inodeOf(inode: bigint): number {
  return Number(inode < 2n ** 53n ? inode : (inode & (2n ** 53n - 1n)) ^ ((inode >> 53n) << 42n))
}

export function timeOf(ns: bigint): Time {
  const s = ns >= 0n ? ns / NS : -((-ns + NS - 1n) / NS)
  return { s: Number(s), ns: Number(ns - s * NS) }
}

function maskOf(right: Right): number {
  return right === 'write' ? 7 : right === 'denied' || right === 'absent' ? 0 : 5
}

/** As the kernel decides without access control lists; where there are some, the system call itself decides. */
function accessOf(mode: number, owner: number, group: number): number {
  if (uid === 0) return (mode & 0o111) !== 0 || (mode & constants.S_IFMT) === constants.S_IFDIR ? 7 : 6
  if (owner === uid) return (mode >> 6) & 7
  return groups.has(group) ? (mode >> 3) & 7 : mode & 7
}

export function attributesOfOpen(fd: number, right: Right): Attributes {
  return attributesOf(fstatSync(fd, { bigint: true }), right)
}

/** A name in a held directory; what is not there, or not shown, has no attributes. Throws what lstat(2) says otherwise. */
export function entryOf(directory: number, path: ByteString, name: ByteString, view: View, hashes: Hashes): Entry {
  return entryWithin(directory, name, view.right(path === '/' ? `/${name}` : `${path}/${name}`), hashes)
}

/** `hashes`: what is known of files' contents. */
export function entryWithin(directory: number, name: ByteString, right: Right, hashes?: Hashes): Entry {
  const absent = { name, attributes: undefined, link: undefined }
  if (right === 'absent') return absent
  const path = within(directory, name)
  try {
    const stats = lstatSync(path, { bigint: true })
    const attributes = attributesOf(stats, right)
    if ((attributes.access & 4) !== 0) attributes.hash = hashes?.get(stats)
    if (!stats.isSymbolicLink()) return { name, attributes, link: undefined }
    return { name, attributes, link: readlinkSync(path, 'latin1') }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return absent
    throw error
  }
}

/** Does something with exactly one file, itself if it is a link; what is done goes through `path`. */
export function withFile<T>(directory: number, name: ByteString, act: (path: string, fd: number) => T): T {
  const fd = pin(directory, name)
  try {
    return act(`/proc/self/fd/${fd}`, fd)
  } finally {
    closeSync(fd)
  }
}
