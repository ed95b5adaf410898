/**
 * The directories of one job, held open from the moment they are made: the job may rename, remove and replace them by
 * links as it likes, and so may other jobs of its user; whoever works in them afterwards goes by what is open here.
 */

import { chownSync, closeSync, constants, mkdirSync, openSync, rmdirSync, symlinkSync, unlinkSync } from 'node:fs'

const DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW

export interface PlaceInit {
  /** What is made; the directory above it is there. */
  path: string
  /** Directories in it, `home` among them. */
  directories: readonly string[]
  /** Links in it, by name. */
  links: Readonly<Record<string, string>>
  uid: number
  gid: number
}

export class Place {
  readonly #init: PlaceInit
  readonly #top: number
  readonly #home: number

  private constructor(init: PlaceInit) {
    this.#init = init
    mkdirSync(init.path, { mode: 0o700 })
    this.#top = openSync(init.path, DIRECTORY)
    try {
      this.#home = this.#fill(init)
    } catch (error) {
      closeSync(this.#top)
      throw error
    }
  }

  /** Makes what is in it, and opens `home`. */
  #fill(init: PlaceInit): number {
    const root = process.getuid?.() === 0
    for (const name of init.directories) {
      mkdirSync(this.#at(name), { mode: 0o700 })
      if (root) chownSync(this.#at(name), init.uid, init.gid)
    }
    for (const [name, target] of Object.entries(init.links)) symlinkSync(target, this.#at(name))
    const home = openSync(this.#at('home'), DIRECTORY)
    // Last: until then a root daemon's guests can't enter it and put a link where a directory is given away.
    if (root) chownSync(`/proc/self/fd/${this.#top}`, init.uid, init.gid)
    return home
  }

  static make(init: PlaceInit): Place {
    return new Place(init)
  }

  /** Path, for this process alone, of the directory that was made as `home`, wherever it is by now. */
  get home(): string {
    return `/proc/self/fd/${this.#home}/.`
  }

  /** The same of all its directories together. */
  get top(): string {
    return `/proc/self/fd/${this.#top}/.`
  }

  /** Removes everything when nothing was left in it; else false, and it is as good as it was. */
  removedEmpty(): boolean {
    try {
      for (const name of Object.keys(this.#init.links)) unlinkSync(this.#at(name))
      for (const name of this.#init.directories) rmdirSync(this.#at(name))
      rmdirSync(this.#init.path)
      return true
    } catch {
      return false
    }
  }

  close(): void {
    closeSync(this.#home)
    closeSync(this.#top)
  }

  #at(name: string): string {
    return `/proc/self/fd/${this.#top}/${name}`
  }
}
