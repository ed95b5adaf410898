/**
 * `--in` and `--out`: files that travel with a job. Home packs the ins (as its user) and puts the outs in place; the
 * target unpacks the ins before the start and packs the outs after the end.
 */

import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { KappaError, messageOf } from '../errors.ts'
import { bytesOf } from './quote.ts'
import { ENTRY, type Entry, EntryReader, encodeEntry, invalid, MAGIC, NAME_BYTES_MAX, partsOf } from './stage-codec.ts'
import { joined, openParent, TreeReader, Unreadable, unreadable } from './tree-reader.ts'
import { type Owner, TreeWriter } from './tree-writer.ts'

/** A name to be shown, from its bytes. */
export function shown(path: string): string {
  return Buffer.from(path, 'latin1').toString('utf8')
}

/**
 * The parts of a name that the user gave, as latin1; `.` has none. Throws UsageError for what can't be in the same
 * place on the target: absolute paths and `..`.
 */
function partsOfName(name: string, option: '--in' | '--out'): string[] {
  const refuse = (why: string) => new KappaError('UsageError', `${option} ${name}: ${why}`)
  if (name === '' || name.includes('\0')) throw refuse('not a file name')
  if (name.startsWith('/')) throw refuse('give it relative to the working directory, where the target has it too')
  const parts = bytesOf(name)
    .split('/')
    .filter((part) => part !== '' && part !== '.')
  if (parts.includes('..')) throw refuse('it is outside of the working directory')
  if (parts.some((part) => part.length > NAME_BYTES_MAX)) throw refuse('the name is too long')
  return parts
}

/** Names without those that lie in another one of them. */
export function outermost(names: readonly string[], option: '--in' | '--out'): string[][] {
  const all = names.map((name) => partsOfName(name, option))
  const paths = new Set(all.map((parts) => parts.join('/')))
  const within = (parts: string[]) => parts.some((_, length) => paths.has(parts.slice(0, length).join('/')))
  return [...new Map(all.filter((parts) => !within(parts)).map((parts) => [parts.join('/'), parts])).values()]
}

/** Throws UsageError for outs that can't be in the same place on the target. */
export function checkOuts(names: readonly string[]): void {
  outermost(names, '--out')
}

// ------------------------------------------------------------------------------------------------------- ins

/** Ins that were all found readable; nothing is held open. */
export interface PreparedIns {
  readonly entries: number
  readonly bytes: number
  /** The files as they are now. Throws StagingError when one changed since. */
  pack(): AsyncIterable<Uint8Array>
}

/**
 * Looks at every file of the ins, as the calling user. Throws UsageError for names outside of `directory`,
 * StagingError naming what is missing, unreadable, or a socket, FIFO or device.
 */
export async function prepareIns(names: readonly string[], directory: string): Promise<PreparedIns> {
  const wanted = outermost(names, '--in')
  const look = new TreeReader('refuse', false)
  for await (const _ of readIns(look, wanted, directory));
  return { entries: look.entries, bytes: look.bytes, pack: () => joined(packIns(wanted, directory)) }
}

async function* readIns(reader: TreeReader, wanted: string[][], directory: string): AsyncGenerator<Uint8Array> {
  const base = await open(directory, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    for (const parts of wanted) {
      const path = parts.join('/')
      if (path === '') yield* reader.children(base, '', 0)
      else yield* reader.read({ parent: base, name: path, path, follow: true })
    }
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error
    throw new KappaError('StagingError', `--in ${shown(error.path)}: ${error.message}`)
  } finally {
    await base.close()
  }
}

async function* packIns(wanted: string[][], directory: string): AsyncGenerator<Uint8Array> {
  const reader = new TreeReader('refuse', true)
  yield MAGIC
  yield* readIns(reader, wanted, directory)
  yield endOf(reader.entries)
}

function endOf(entries: number): Buffer {
  return encodeEntry({ type: ENTRY.end, path: '', mode: 0, mtimeNs: 0n, size: entries })
}

/** Where a job's files are, and whose: what `Job` has. */
export interface StagePlace extends Owner {
  directory: string
}

/** Unpacks the ins of a job that has not yet started. Throws StagingError; the caller then closes the job. */
export async function unpackIns(source: AsyncIterable<Uint8Array>, place: StagePlace): Promise<void> {
  const reader = new EntryReader(source)
  const owner = process.getuid?.() === 0 ? { uid: place.uid, gid: place.gid } : undefined
  const base = await open(place.directory, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW)
  const writer = new TreeWriter(base, owner)
  try {
    for (let entry = await reader.next(); entry !== null; entry = await reader.next()) {
      if (entry.type === ENTRY.problem) throw invalid(await reader.text(entry))
      await writeEntry(writer, reader, entry, partsOf(entry.path))
    }
  } catch (error) {
    throw stagingError(error, 'the staged files could not be written on the target')
  } finally {
    await writer.close()
    await reader.close()
  }
}

/** Any error, as one that names what could not be done. */
export function stagingError(error: unknown, what: string): unknown {
  return error instanceof KappaError ? error : new KappaError('StagingError', `${what}: ${messageOf(error)}`)
}

/** Writes one entry and its content at a checked path. */
export async function writeEntry(
  writer: TreeWriter,
  reader: EntryReader,
  entry: Entry,
  parts: string[]
): Promise<void> {
  const { type, mode, mtimeNs } = entry
  if (type === ENTRY.file) await writer.file(parts, mode, mtimeNs, reader.content(entry))
  else if (type === ENTRY.directory) await writer.directory(parts, mode, mtimeNs)
  else await writer.link(parts, await reader.text(entry))
}

// ------------------------------------------------------------------------------------------------------ outs

/**
 * Packs the outs of a job that has ended. What can't be packed travels as a problem, which home reports; sockets,
 * FIFOs and devices in directories are left out. The job's links are sent, never followed.
 */
export async function* packOuts(names: readonly string[], place: StagePlace): AsyncGenerator<Uint8Array> {
  yield* joined(readOuts(outermost(names, '--out'), place))
}

async function* readOuts(wanted: string[][], place: StagePlace): AsyncGenerator<Uint8Array> {
  const reader = new TreeReader('skip', true)
  let problems = 0
  yield MAGIC
  for (const parts of wanted) {
    if (parts.length === 0) throw invalid('the working directory itself is no out')
    const path = parts.join('/')
    let parent: FileHandle | undefined
    try {
      parent = await openParent(place.directory, parts)
      const before = reader.entries
      yield* reader.read({ parent, name: parts.at(-1)!, path, follow: false })
      if (reader.entries === before) throw new Unreadable(path, 'it is neither a file nor a directory')
    } catch (error) {
      const problem = unreadable(path, error)
      // With half of a file on its way, only breaking off tells home so.
      if (problem.partly) throw stagingError(problem, `--out ${shown(problem.path)}`)
      problems++
      const text = Buffer.from(problem.message)
      yield encodeEntry({ type: ENTRY.problem, path: problem.path, mode: 0, mtimeNs: 0n, size: text.length })
      yield text
    } finally {
      await parent?.close()
    }
  }
  yield endOf(reader.entries + problems)
}
