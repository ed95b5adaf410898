/**
 * `--in` and `--out`: files that travel with a job. Home packs the ins (as its user) and puts the outs in place; the
 * target unpacks the ins before the start and packs the outs after the end.
 */

import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { KappaError } from '../errors.ts'
import { ENTRY, EntryReader, encodeEntry, invalid, MAGIC, partsOf, stagingError } from './stage-codec.ts'
import { outermost, shown } from './stage-names.ts'
import { joined, openParent, TreeReader, Unreadable, unreadable } from './tree-reader.ts'
import { type Owner, TreeWriter } from './tree-writer.ts'

export { type ReceivedOuts, receiveOuts, removeArrivals } from './receive-outs.ts'

/** Throws UsageError for outs that can't be in the same place on the target. */
export function checkOuts(names: readonly string[]): void {
  for (const parts of outermost(names, '--out')) {
    if (parts.length === 0) throw new KappaError('UsageError', '--out .: name the files that shall come back')
  }
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

/** Where a job's files are, and whose: `Job.stage`. */
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
      await writer.write(reader, entry, partsOf(entry.path))
    }
  } catch (error) {
    throw stagingError(error, 'the staged files could not be written on the target')
  } finally {
    await writer.close()
    await reader.close()
  }
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
