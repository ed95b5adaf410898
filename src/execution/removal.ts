/**
 * Removes trees that a guest made, which may hold any name, mode, depth and symbolic link. Directories are held open
 * and entered through /proc/self/fd, so that no link, not even one swapped in meanwhile, leads outside.
 */

import { constants } from 'node:fs'
import { chmod, type FileHandle, open, readdir, rename, rmdir, unlink } from 'node:fs/promises'

/** Open a directory without any right to it; Linux only, so not among Node's constants. */
export const O_PATH = 0o10000000

/** Levels entered with one descriptor each; what lies deeper is first moved to the top. */
const DEPTH_MAX = 32

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code
}

/** Two removals of one tree may meet. */
function unlessGone(error: unknown): void {
  if (codeOf(error) !== 'ENOENT') throw error
}

function entry(directory: string, name: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${directory}/`), name])
}

/** Opens a directory, never through a link; one that its owner locked is unlocked first. */
async function openDirectory(path: Buffer): Promise<FileHandle> {
  const exact = await open(path, O_PATH | constants.O_DIRECTORY | constants.O_NOFOLLOW)
  try {
    const here = `/proc/self/fd/${exact.fd}`
    // Acts on the very inode that was looked at, whatever the name means by now.
    await chmod(here, 0o700)
    return await open(here, constants.O_RDONLY | constants.O_DIRECTORY)
  } finally {
    await exact.close()
  }
}

class Removal {
  readonly #top: string
  #moved = 0

  constructor(top: FileHandle) {
    this.#top = `/proc/self/fd/${top.fd}`
  }

  /** Removes all entries of the directory open at `here`. */
  async empty(here: string, depth: number): Promise<void> {
    for (const name of await readdir(here, { encoding: 'buffer' })) {
      await this.#remove(entry(here, name), depth).catch(unlessGone)
    }
  }

  async #remove(path: Buffer, depth: number): Promise<void> {
    if (await this.#unlinked(path)) return
    const child = await openDirectory(path)
    try {
      if (depth >= DEPTH_MAX) {
        // It is found again by the next look at the top.
        await rename(path, `${this.#top}/kappa-moved-${process.hrtime.bigint()}-${this.#moved++}`)
        return
      }
      await this.empty(`/proc/self/fd/${child.fd}`, depth + 1)
    } finally {
      await child.close()
    }
    await rmdir(path)
  }

  /** True when the entry is gone, false when it is a directory. */
  async #unlinked(path: Buffer): Promise<boolean> {
    try {
      await unlink(path)
      return true
    } catch (error) {
      // Linux says EISDIR, POSIX allows EPERM.
      if (codeOf(error) === 'EISDIR' || codeOf(error) === 'EPERM') return false
      throw error
    }
  }
}

/** Removes what is in the directory `path`, and leaves the directory. Links are removed, never followed. */
export async function emptyDirectory(path: string): Promise<void> {
  const top = await open(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW)
  try {
    const here = `/proc/self/fd/${top.fd}`
    const removal = new Removal(top)
    while ((await readdir(here, { encoding: 'buffer' })).length > 0) await removal.empty(here, 0)
  } finally {
    await top.close()
  }
}

/** Removes what `path` names, with all that is in it; nothing there is fine. */
export async function removeTree(path: string): Promise<void> {
  try {
    await rmdir(path)
    return
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return
    if (codeOf(error) === 'ENOTDIR') return await unlink(path).catch(unlessGone)
  }
  try {
    // A guest may have locked even the top.
    await (await openDirectory(Buffer.from(path))).close()
    await emptyDirectory(path)
    await rmdir(path)
  } catch (error) {
    unlessGone(error)
  }
}
