/** Home's end of `--out`: takes what a target sends, and puts it in place when all of it came. */

import { createHash, randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { chmod, lstat, mkdir, open, readdir, rename, rmdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { PairingKind } from '../core/types.ts'
import { KappaError } from '../errors.ts'
import { bytesOf } from './quote.ts'
import { removeTree } from './removal.ts'
import { ENTRY, type Entry, EntryReader, invalid, NAME_BYTES_MAX, stagingError } from './stage-codec.ts'
import { outermost, shown } from './stage-names.ts'
import { TreeWriter } from './tree-writer.ts'

/** Outs as they came, beside where they belong; `commit` or `discard` must be called, once. */
export interface ReceivedOuts {
  /** One line for each out that the job did not produce or that could not be read. */
  readonly problems: readonly string[]
  /**
   * Puts the files in place: all of them, or none. A file replaces a file; a directory that is there already keeps
   * what the job's doesn't have. Throws StagingError when something is missing (unless `partly`), or would have to
   * turn a file into a directory or the reverse.
   */
  commit(options?: { partly?: boolean }): Promise<void>
  discard(): Promise<void>
}

interface Arrival {
  /** Name beside the final one, then the final one. */
  temporary: string
  final: string
  /** First directory that had to be made above it. */
  made: string | undefined
}

export interface OutsOptions {
  names: readonly string[]
  directory: string
  kind: PairingKind
  /** What the names beside the final ones end with, so that what an end of this program left can be found; random unless given. */
  mark?: string
}

/** Removes what was left beside the final names of outs that were received with that mark. */
export async function removeArrivals(names: readonly string[], directory: string, mark: string): Promise<void> {
  for (const parts of outermost(names, '--out'))
    await removeTree(temporaryOf(`${directory}/${shown(parts.join('/'))}`, mark))
}

/** The name beside a final one. */
function temporaryOf(final: string, mark: string): string {
  const parent = dirname(final)
  const last = final.slice(parent.length + 1)
  const suffix = `.kappa-${mark}`
  if (Buffer.byteLength(last) + suffix.length <= NAME_BYTES_MAX) return `${parent}/${last}${suffix}`
  return `${parent}/${suffix}-${createHash('sha256').update(last).digest('hex').slice(0, 16)}`
}

/**
 * Receives outs from a target that is not trusted: nothing is written but below names beside the named outs, links
 * are never followed, modes are cut to rwx; from a friend, links that lead out of their own out are refused. Throws
 * StagingError and leaves nothing behind.
 */
export async function receiveOuts(source: AsyncIterable<Uint8Array>, options: OutsOptions): Promise<ReceivedOuts> {
  const receiver = new OutsReceiver(options)
  try {
    await receiver.receive(source)
  } catch (error) {
    await receiver.discard()
    throw stagingError(error, 'the outs could not be written here')
  }
  return receiver
}

class OutsReceiver implements ReceivedOuts {
  readonly problems: string[] = []
  readonly #names: Set<string>
  readonly #directory: string
  readonly #kind: PairingKind
  readonly #mark: string | undefined
  /** By name; as many as were asked for. */
  readonly #arrivals = new Map<string, Arrival>()
  /** The one that is being written: outs come one after the other. */
  #current: { name: string; writer: TreeWriter } | undefined

  constructor({ names, directory, kind, mark }: OutsOptions) {
    this.#mark = mark
    this.#names = new Set(outermost(names, '--out').map((parts) => parts.join('/')))
    this.#directory = directory
    this.#kind = kind
  }

  async receive(source: AsyncIterable<Uint8Array>): Promise<void> {
    const reader = new EntryReader(source)
    const seen = new Set<string>()
    try {
      for (let entry = await reader.next(); entry !== null; entry = await reader.next()) {
        const name = this.#nameOf(entry.path)
        if (entry.type === ENTRY.problem) {
          this.problems.push(`--out ${shown(entry.path)}: ${shown(await reader.text(entry))}`)
        } else await this.#write(reader, entry, name)
        seen.add(name)
      }
    } finally {
      await this.#leave()
      await reader.close()
    }
    if (seen.size !== this.#names.size) throw invalid('not all outs were told of')
  }

  async commit({ partly = false } = {}): Promise<void> {
    try {
      if (this.problems.length > 0 && !partly) throw new KappaError('StagingError', this.problems.join('; '))
      const moves = [...this.#arrivals.values()].map(
        ({ temporary, final }) => [Buffer.from(temporary), Buffer.from(final)] as const
      )
      for (const [from, to] of moves) await checkMove(from, to)
      for (const [from, to] of moves) await move(from, to)
    } catch (error) {
      throw stagingError(error, 'the outs could not be put in place')
    } finally {
      await this.discard()
    }
  }

  async discard(): Promise<void> {
    for (const { temporary, final, made } of this.#arrivals.values()) {
      await removeTree(temporary)
      if (made !== undefined) await removeEmpty(dirname(final), made)
    }
  }

  /** The asked out in which a path lies. */
  #nameOf(path: string): string {
    const parts = path.split('/')
    for (let length = 1; length <= parts.length; length++) {
      const name = parts.slice(0, length).join('/')
      if (this.#names.has(name)) return name
    }
    throw invalid(`nobody asked for ${shown(path)}`)
  }

  async #write(reader: EntryReader, entry: Entry, name: string): Promise<void> {
    if (this.#current?.name !== name) {
      await this.#leave()
      if (this.#arrivals.has(name)) throw invalid(`${shown(name)} came twice`)
      this.#current = { name, writer: await this.#arrive(name) }
    }
    const inner = entry.path === name ? [] : entry.path.slice(name.length + 1).split('/')
    const top = this.#arrivals.get(name)!.temporary.split('/').at(-1)!
    const parts = [bytesOf(top), ...inner]
    if (entry.type !== ENTRY.link) return this.#current.writer.write(reader, entry, parts)
    const target = await reader.text(entry)
    if (this.#kind === 'friend' && !staysInside(target, inner.length)) {
      throw new KappaError('StagingError', `--out ${shown(entry.path)}: a symbolic link that leads out of it`)
    }
    await this.#current.writer.link(parts, target)
  }

  async #arrive(name: string): Promise<TreeWriter> {
    const final = `${this.#directory}/${shown(name)}`
    const parent = dirname(final)
    const made = await mkdir(parent, { recursive: true })
    const temporary = temporaryOf(final, this.#mark ?? randomBytes(4).toString('hex'))
    // Of an earlier life of this program.
    if (this.#mark !== undefined) await removeTree(temporary)
    const base = await open(parent, constants.O_RDONLY | constants.O_DIRECTORY)
    this.#arrivals.set(name, { temporary, final, made })
    return new TreeWriter(base)
  }

  async #leave(): Promise<void> {
    const { writer } = this.#current ?? {}
    this.#current = undefined
    await writer?.close()
  }
}

/**
 * True when a link that lies `depth` names below its out can't lead out of it. Steps up come first, so that they start
 * at a real directory: after a name, which may be a link too, `..` could be anywhere.
 */
function staysInside(target: string, depth: number): boolean {
  if (target.startsWith('/')) return false
  const parts = target.split('/').filter((part) => part !== '' && part !== '.')
  const up = parts.findIndex((part) => part !== '..')
  const ups = up === -1 ? parts.length : up
  return ups < depth && !parts.slice(ups).includes('..')
}

async function typeOf(path: Buffer): Promise<'none' | 'directory' | 'other'> {
  const stats = await lstat(path).catch((error: NodeJS.ErrnoException) =>
    error.code === 'ENOENT' ? null : Promise.reject(error)
  )
  if (stats === null) return 'none'
  return stats.isDirectory() ? 'directory' : 'other'
}

async function childrenOf(from: Buffer, to: Buffer): Promise<[Buffer, Buffer][]> {
  const names = await readdir(from, { encoding: 'buffer' })
  const slash = Buffer.from('/')
  return names.map((name) => [Buffer.concat([from, slash, name]), Buffer.concat([to, slash, name])])
}

/** Throws StagingError when `move` would have to replace one kind of thing by another. */
async function checkMove(from: Buffer, to: Buffer): Promise<void> {
  const [here, there] = [await typeOf(from), await typeOf(to)]
  if (there === 'none') return
  if (here !== there) {
    const [old, fresh] = there === 'directory' ? ['a directory', 'a file'] : ['no directory', 'a directory']
    throw new KappaError(
      'StagingError',
      `--out ${to.toString()}: there is ${old} in the place of ${fresh}; move it away`
    )
  }
  if (here === 'directory') for (const [a, b] of await childrenOf(from, to)) await checkMove(a, b)
}

async function move(from: Buffer, to: Buffer): Promise<void> {
  if ((await typeOf(from)) !== 'directory' || (await typeOf(to)) === 'none') return await rename(from, to)
  // Each name is replaced at once; a directory that its mode locks is unlocked while it is emptied.
  await chmod(from, 0o700)
  for (const [a, b] of await childrenOf(from, to)) await moveUnlocked(a, b)
}

/** A directory can be moved to another parent only by who may write in it. */
async function moveUnlocked(from: Buffer, to: Buffer): Promise<void> {
  if ((await typeOf(from)) !== 'directory' || (await typeOf(to)) !== 'none') return move(from, to)
  const { mode } = await lstat(from)
  await chmod(from, mode | 0o700)
  await rename(from, to)
  await chmod(to, mode & 0o777)
}

/** Removes the directories from `path` up to `top` that are empty. */
async function removeEmpty(path: string, top: string): Promise<void> {
  for (let here = path; here.length >= top.length; here = dirname(here)) {
    try {
      await rmdir(here)
    } catch {
      return
    }
  }
}
