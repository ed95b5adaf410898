/**
 * Files that a job makes anew, or has emptied to write them anew, and has not closed. When it is lost, nothing half written
 * may pass as whole: they are dated 1970, so that make and its like make them again, and what is in them stays. Which these
 * are is kept in a journal, which outlives the process, too: each line is a list of a number and, as long as it is not
 * closed, the file's device, inode and path.
 */

import * as fs from 'node:fs'
import type { ByteString } from '../../protocols/file/bytes.ts'
import { HANDLES_MAX } from '../../protocols/file/constants.ts'
import { O_PATH } from './directories.ts'
import { isUnder } from './view.ts'

/** Bytes of a journal after which what is over is left out. */
const JOURNAL_BYTES_MAX = 256 * 1024

interface Made {
  device: string
  inode: string
  path: ByteString
}

export class Unfinished {
  readonly #descriptor: number
  /** By the number of home's handle: at most `HANDLES_MAX`. */
  readonly #made = new Map<number, Made>()
  #bytes = 0

  /** `journal`: path of a file that is nobody else's; it is made. */
  constructor(journal: string) {
    this.#descriptor = fs.openSync(journal, 'ax', 0o600)
  }

  /** It is being made: `fd` is of it. */
  add(handle: number, path: ByteString, fd: number): void {
    if (this.#made.size >= HANDLES_MAX) return
    const { dev, ino } = fs.fstatSync(fd, { bigint: true })
    const made = { device: String(dev), inode: String(ino), path }
    this.#made.set(handle, made)
    this.#write(lineOf(handle, made))
  }

  /** It is closed. */
  delete(handle: number): void {
    if (!this.#made.delete(handle)) return
    if (this.#bytes < JOURNAL_BYTES_MAX) this.#write(`[${handle}]\n`)
    else this.#renew()
  }

  /** A file or directory is elsewhere. */
  move(from: ByteString, to: ByteString): void {
    for (const [handle, made] of this.#made) if (isUnder(made.path, from)) this.#moved(handle, made, from, to)
  }

  /** Two names have changed places, neither below the other. */
  exchange(one: ByteString, other: ByteString): void {
    for (const [handle, made] of this.#made) {
      if (isUnder(made.path, one)) this.#moved(handle, made, one, other)
      else if (isUnder(made.path, other)) this.#moved(handle, made, other, one)
    }
  }

  #moved(handle: number, made: Made, from: ByteString, to: ByteString): void {
    made.path = to + made.path.slice(from.length)
    this.#write(lineOf(handle, made))
  }

  #renew(): void {
    fs.ftruncateSync(this.#descriptor)
    this.#bytes = 0
    for (const [handle, made] of this.#made) this.#write(lineOf(handle, made))
  }

  #write(line: string): void {
    try {
      this.#bytes += fs.writeSync(this.#descriptor, line)
    } catch {
      // A full disk must not keep the job from what it does elsewhere.
    }
  }
}

function lineOf(handle: number, { device, inode, path }: Made): string {
  return `${JSON.stringify([handle, device, inode, path])}\n`
}

/** Dates what the journal says is not closed, and removes the journal; the paths of what it dated. Never throws. */
export function dateUnfinished(journal: string): ByteString[] {
  try {
    const dated = unclosed(fs.readFileSync(journal, 'utf8')).filter(date)
    fs.unlinkSync(journal)
    return dated.map(({ path }) => path)
  } catch {
    return []
  }
}

function unclosed(text: string): Made[] {
  const made = new Map<number, Made>()
  for (const line of text.split('\n')) {
    try {
      const [handle, device, inode, path] = JSON.parse(line) as [number, string?, string?, string?]
      made.delete(handle)
      if (device !== undefined && inode !== undefined && path !== undefined) made.set(handle, { device, inode, path })
    } catch {
      // The last line may not be whole.
    }
  }
  return [...made.values()]
}

/** False: it is not there any more, or another file is. */
function date({ device, inode, path }: Made): boolean {
  let fd: number | undefined
  try {
    fd = fs.openSync(Buffer.from(path, 'latin1'), O_PATH | fs.constants.O_NOFOLLOW)
    const { dev, ino, atimeMs } = fs.fstatSync(fd, { bigint: true })
    if (String(dev) !== device || String(ino) !== inode) return false
    fs.utimesSync(`/proc/self/fd/${fd}`, Number(atimeMs) / 1000, 0)
    return true
  } catch {
    return false
  } finally {
    if (fd !== undefined) fs.closeSync(fd)
  }
}
