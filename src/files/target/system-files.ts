/** System files of this machine that hold the same as home's: looked at by the daemon, which can tell whose they are. */

import * as fs from 'node:fs'
import type { ByteString } from '../../protocols/file/bytes.ts'
import { type Hashes, type Identity, identityOf } from '../hashes.ts'
import { isUnder, SYSTEM } from '../home/view.ts'

/** In which file of this machine, as it is now, a guest may read what has that hash; undefined: not in the one at that path. */
export async function sameHere(hashes: Hashes, path: ByteString, hash: ByteString): Promise<Identity | undefined> {
  if (!SYSTEM.some((top) => isUnder(path, top))) return undefined
  let fd: number | undefined
  try {
    fd = openSystemFile(path)
    if (fd === undefined) return undefined
    const stats = fs.fstatSync(fd, { bigint: true })
    return (await hashes.hash(fd)) === hash ? identityOf(stats) : undefined
  } catch {
    return undefined
  } finally {
    if (fd !== undefined) fs.closeSync(fd)
  }
}

/** Root's, whom all trust here: nobody else may write it, everybody read it, and no link leads to it. */
function openSystemFile(path: ByteString): number | undefined {
  const bytes = Buffer.from(path, 'latin1')
  const there = fs.lstatSync(bytes, { throwIfNoEntry: false })
  if (there === undefined || !isTrusted(there)) return undefined
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK, O_NOCTTY } = fs.constants
  const fd = fs.openSync(bytes, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY)
  if (isTrusted(fs.fstatSync(fd)) && fs.readlinkSync(`/proc/self/fd/${fd}`, 'latin1') === path) return fd
  fs.closeSync(fd)
  return undefined
}

function isTrusted(stats: fs.Stats): boolean {
  return stats.isFile() && stats.uid === 0 && (stats.mode & 0o022) === 0 && (stats.mode & 0o004) !== 0
}
