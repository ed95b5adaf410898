/**
 * One cell: fresh user, mount, PID, IPC and UTS namespaces that wait for one job and end with it, so that the kernel
 * itself guarantees that nothing of the job stays. PID 1 is an awk that only waits: its `system()` is the one thing on
 * every Linux that tells `exit 143` from death by TERM.
 */

import { chownSync, closeSync, mkdirSync, rmdirSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs'
import type { Readable, Writable } from 'node:stream'
import { KappaError, messageOf } from '../errors.ts'
import { childrenOf, commandLine, namespacePid, send } from './process.ts'
import { removeTree } from './removal.ts'
import type { Seat, SeatEnd } from './seat.ts'
import { Status } from './status.ts'
import { openBoth, openReader, openWriter, readerOf, writerOf } from './streams.ts'
import type { Tools } from './tools.ts'

/** What a cell needs to know of the home whose root it shares. */
export interface CellHome {
  /** Directory of the home on this machine, with `k` and `work` in it. */
  readonly base: string
  readonly uid: number
  readonly gid: number
  readonly tools: Tools
  /** Host's number of the process that makes the cells, and is the parent of each. */
  readonly maker: number
  /** Asks the maker for the cell; resolves when the maker has started it. */
  order(id: string): Promise<void>
}

export class Cell implements Seat {
  readonly stdin: Writable
  readonly stdout: Readable
  readonly stderr: Readable
  readonly directory: string
  readonly inside: string
  readonly ended: Promise<SeatEnd>
  readonly #home: CellHome
  readonly #id: string
  #init: number | undefined
  #over = false
  #begun = false

  private constructor(
    home: CellHome,
    id: string,
    status: Status,
    fds: { stdin: number; stdout: number; stderr: number }
  ) {
    this.#home = home
    this.#id = id
    this.directory = `${home.base}/work/${id}/home`
    this.inside = `/work/${id}/home`
    this.stdin = writerOf(fds.stdin)
    this.stdout = readerOf(fds.stdout)
    this.stderr = readerOf(fds.stderr)
    this.ended = status.ended.then((end) => {
      this.#over = true
      return end
    })
  }

  /** Makes a cell and waits until it is ready for its job. Throws SandboxError with what the cell said. */
  static async make(home: CellHome, id: string): Promise<Cell> {
    makeDirectories(home, id)
    const at = `${home.base}/k/${id}`
    const fds = new Descriptors()
    try {
      const held = fds.add(openBoth(`${at}.0`))
      const stdout = fds.add(openReader(`${at}.1`))
      const stderr = fds.add(openReader(`${at}.2`))
      const statusReader = fds.add(openReader(`${at}.s`))
      const statusWriter = fds.add(openWriter(`${at}.s`))
      await home.order(id)
      // From now on the end of the status FIFO means that all who hold it are gone: PID 1 and its parent.
      fds.close(statusWriter)
      const status = new Status(readerOf(fds.give(statusReader)))
      await status.ready
      const stdin = fds.add(openWriter(`${at}.0`))
      fds.close(held)
      return new Cell(home, id, status, { stdin: fds.give(stdin), stdout: fds.give(stdout), stderr: fds.give(stderr) })
    } catch (error) {
      fds.closeAll()
      await removeTree(`${home.base}/work/${id}`)
      throw new KappaError('SandboxError', `a cell of the sandbox could not be made: ${messageOf(error)}`, {
        cause: error
      })
    } finally {
      for (const suffix of ['0', '1', '2', 's']) unlinkSync(`${at}.${suffix}`)
    }
  }

  get tools(): Tools {
    return this.#home.tools
  }

  /** A session of its own, so that the job's group is the job's alone. */
  get through(): string[] {
    return [this.tools.setsid, '--']
  }

  /** False when it ended before its job came. */
  get alive(): boolean {
    return !this.#over
  }

  begin(script: Buffer): void {
    this.#begun = true
    writeFileSync(`${this.#home.base}/k/${this.#id}.j`, script, { flag: 'wx', mode: 0o644 })
    this.stdin.write('go\n')
  }

  signal(signal: number): boolean {
    if (this.#over) return false
    const init = this.#findInit()
    // The leader is the one child of awk's `system()`: the second process of its PID namespace.
    const leader = init === undefined ? undefined : childrenOf(init).find((pid) => namespacePid(pid) === 2)
    if (leader === undefined) return false
    // It leads its group as soon as it has become the command; before that it is alone.
    return send(-leader, signal) || send(leader, signal)
  }

  kill(): void {
    if (this.#over) return
    const init = this.#findInit()
    if (init !== undefined) send(init, 9)
  }

  async dispose(): Promise<void> {
    this.kill()
    this.stdin.destroy()
    await this.ended
    this.stdout.destroy()
    this.stderr.destroy()
    const { base, maker } = this.#home
    if (this.#begun) await removeTree(`${base}/k/${this.#id}.j`)
    const work = `${base}/work/${this.#id}`
    // The tmpfs is only in the sandbox's own mount namespace.
    const shared = `/proc/${maker}/root/r/shm/${this.#id}`
    if (removedEmpty(work, shared)) return
    await removeTree(work)
    await removeTree(shared)
  }

  /** The host's number of the cell's PID 1. */
  #findInit(): number | undefined {
    if (this.#init !== undefined) return this.#init
    const mark = `\0/work/${this.#id}\0`
    const parent = childrenOf(this.#home.maker).find((pid) => commandLine(pid).includes(mark))
    this.#init = parent === undefined ? undefined : childrenOf(parent)[0]
    return this.#init
  }
}

function makeDirectories({ base, uid, gid }: CellHome, id: string): void {
  const top = `${base}/work/${id}`
  for (const directory of [top, `${top}/home`, `${top}/tmp`]) {
    mkdirSync(directory, { mode: 0o700 })
    if (process.getuid?.() === 0) chownSync(directory, uid, gid)
  }
  symlinkSync(`/shm/${id}`, `${top}/shm`)
}

/** Most jobs leave nothing: five calls then do what the careful walk needs twenty for. */
function removedEmpty(work: string, shared: string): boolean {
  try {
    unlinkSync(`${work}/shm`)
    for (const directory of [`${work}/home`, `${work}/tmp`, work, shared]) rmdirSync(directory)
    return true
  } catch {
    return false
  }
}

/** Descriptors that are closed unless they were given away. */
class Descriptors {
  readonly #open = new Set<number>()

  add(fd: number): number {
    this.#open.add(fd)
    return fd
  }

  give(fd: number): number {
    this.#open.delete(fd)
    return fd
  }

  close(fd: number): void {
    if (this.#open.delete(fd)) closeSync(fd)
  }

  closeAll(): void {
    for (const fd of this.#open) this.close(fd)
  }
}
