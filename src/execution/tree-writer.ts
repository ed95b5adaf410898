/**
 * Writes a tree that somebody else describes below one directory, and nowhere else: every directory on the way is one
 * that is open here and was entered without following a link; nothing that exists is opened or replaced.
 */

import { constants } from 'node:fs'
import { type FileHandle, lchown, mkdir, open, symlink } from 'node:fs/promises'
import { ENTRY, type Entry, type EntryReader, invalid } from './stage-codec.ts'

const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_RDONLY, O_WRONLY } = constants

/** Who the written files belong to, where that is not the writer itself. */
export interface Owner {
  uid: number
  gid: number
}

interface Level {
  name: string
  handle: FileHandle
  /** Set when the directory came as an entry; applied when it is left. */
  mode: number | undefined
  mtimeNs: bigint | undefined
}

function inside(handle: FileHandle, name: string): Buffer {
  return Buffer.concat([Buffer.from(`/proc/self/fd/${handle.fd}/`), Buffer.from(name, 'latin1')])
}

function seconds(mtimeNs: bigint): number {
  return Number(mtimeNs) / 1e9
}

function openDirectory(parent: FileHandle, name: string): Promise<FileHandle> {
  return open(inside(parent, name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
}

export class TreeWriter {
  readonly #owner: Owner | undefined
  /** Open directories from the base to where the last entry went; at most DEPTH_MAX. */
  readonly #levels: Level[]

  /** `base` is owned by the writer from here on, and closed by `close`. */
  constructor(base: FileHandle, owner?: Owner) {
    this.#owner = owner
    this.#levels = [{ name: '', handle: base, mode: undefined, mtimeNs: undefined }]
  }

  /** One entry with its content, which the reader has next; a problem is not for writing. */
  async write(reader: EntryReader, entry: Entry, parts: string[]): Promise<void> {
    const { type, mode, mtimeNs } = entry
    if (type === ENTRY.file) await this.file(parts, mode, mtimeNs, reader.content(entry))
    else if (type === ENTRY.directory) await this.directory(parts, mode, mtimeNs)
    else await this.link(parts, await reader.text(entry))
  }

  /** A file with all its content. `parts` is a checked path (latin1). */
  async file(parts: string[], mode: number, mtimeNs: bigint, content: AsyncIterable<Uint8Array>): Promise<void> {
    const parent = await this.#enter(parts.slice(0, -1))
    const handle = await open(inside(parent, parts.at(-1)!), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)
    try {
      for await (const piece of content) await writeAll(handle, piece)
      await this.#finish(handle, mode, mtimeNs)
    } finally {
      await handle.close()
    }
  }

  /** A directory, which may be there already when something in it came before. */
  async directory(parts: string[], mode: number, mtimeNs: bigint): Promise<void> {
    await this.#enter(parts)
    const level = this.#levels.at(-1)!
    level.mode = mode
    level.mtimeNs = mtimeNs
  }

  async link(parts: string[], target: string): Promise<void> {
    if (target === '' || target.includes('\0')) throw invalid('a link leads nowhere')
    const path = inside(await this.#enter(parts.slice(0, -1)), parts.at(-1)!)
    await symlink(Buffer.from(target, 'latin1'), path)
    if (this.#owner !== undefined) await lchown(path, this.#owner.uid, this.#owner.gid)
  }

  /** Gives directories their modes and times, and closes everything. */
  async close(): Promise<void> {
    while (this.#levels.length > 1) await this.#leave()
    await this.#levels.pop()?.handle.close()
  }

  async #enter(parts: string[]): Promise<FileHandle> {
    const here = this.#levels.slice(1).map((level) => level.name)
    let common = 0
    while (common < parts.length && parts[common] === here[common]) common++
    while (this.#levels.length > common + 1) await this.#leave()
    for (const name of parts.slice(common)) {
      const parent = this.#levels.at(-1)!.handle
      const handle = await this.#make(parent, name)
      this.#levels.push({ name, handle, mode: undefined, mtimeNs: undefined })
    }
    return this.#levels.at(-1)!.handle
  }

  async #make(parent: FileHandle, name: string): Promise<FileHandle> {
    try {
      await mkdir(inside(parent, name), 0o755)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      return openDirectory(parent, name)
    }
    const handle = await openDirectory(parent, name)
    if (this.#owner !== undefined) await handle.chown(this.#owner.uid, this.#owner.gid)
    return handle
  }

  async #leave(): Promise<void> {
    const { handle, mode, mtimeNs } = this.#levels.pop()!
    try {
      if (mode !== undefined && mtimeNs !== undefined) await this.#finish(handle, mode, mtimeNs)
    } finally {
      await handle.close()
    }
  }

  async #finish(handle: FileHandle, mode: number, mtimeNs: bigint): Promise<void> {
    if (this.#owner !== undefined) await handle.chown(this.#owner.uid, this.#owner.gid)
    await handle.chmod(mode & 0o777)
    await handle.utimes(seconds(mtimeNs), seconds(mtimeNs))
  }
}

async function writeAll(handle: FileHandle, piece: Uint8Array): Promise<void> {
  for (let offset = 0; offset < piece.length; ) {
    offset += (await handle.write(piece, offset, piece.length - offset, null)).bytesWritten
  }
}
