/**
 * One cell: fresh user, mount, PID, IPC and UTS namespaces that wait for one job and end with it, so that the kernel
 * itself guarantees that nothing of the job stays. PID 1 is an awk that only waits: its `system()` is the one thing on
 * every Linux that tells `exit 143` from death by TERM.
 */

import { closeSync, writeFileSync } from 'node:fs'
import type { Readable, Writable } from 'node:stream'
import { KappaError, messageOf } from '../errors.ts'
import { lowerAutogroups, processesIn } from './autogroup.ts'
import { TREE_WORK } from './homes-tree.ts'
import { Place } from './place.ts'
import { childrenOf, peakBytesOf, readStat, send } from './process.ts'
import { PROGRAMS } from './programs.ts'
import { removeTree } from './removal.ts'
import type { Seat, SeatEnd } from './seat.ts'
import { PIPES, Status } from './status.ts'
import { openReader, openWriter, readerOf, streamsOf } from './streams.ts'
import { type Terminal, TerminalPipes } from './terminal.ts'
import type { Tools } from './tools.ts'

/** What a cell needs to know of the home whose root it shares. */
export interface CellHome {
  /** Directory of the home on this machine, with `k` and `work` in it. */
  readonly base: string
  readonly uid: number
  readonly gid: number
  readonly tools: Tools
  /** Nice value of guests. */
  readonly nice: number
  /** Home's tree is what its jobs see. */
  readonly hasTree: boolean
  /** Where their programs are, when home's tree has this machine's in it. */
  readonly path: string | undefined
  /** Whoever served that is dead or stopped: so its jobs end. */
  hasLostTree(): boolean
  /** Host's number of the process that makes the cells, and is the parent of each. */
  readonly maker: number
  /** Asks the maker for the cell; resolves when the maker has started it. */
  order(id: string): Promise<void>
  /** The process around a cell, outside of its namespaces. */
  parentOf(id: string): number | undefined
  /** A cell was killed: what waits for home must not keep it. */
  killed(ended: Promise<unknown>): void
}

export class Cell implements Seat {
  readonly stdin: Writable
  readonly stdout: Readable
  readonly stderr: Readable
  readonly directory: string
  readonly inside: string
  readonly held: string
  readonly terminalProgram = `/k/${PROGRAMS.terminal}`
  readonly enter: Seat['enter']
  readonly ended: Promise<SeatEnd>
  readonly #status: Status
  readonly #place: Place
  readonly #home: CellHome
  readonly #id: string
  /** The host's numbers of PID 1 and of its child, the leader of the job. */
  readonly #init: number
  readonly #leader: number
  #terminal: TerminalPipes | undefined
  #over = false
  #begun = false

  private constructor(home: CellHome, id: string, place: Place, status: Status) {
    this.#status = status
    this.#home = home
    this.#id = id
    this.#place = place
    this.held = place.home
    this.directory = `${home.base}/work/${id}/home`
    this.inside = `/work/${id}/home`
    this.enter = home.hasTree ? entranceOf(home, id) : undefined
    this.#init = onlyChild(home.parentOf(id))
    this.#leader = onlyChild(this.#init)
    const { stdin, stdout, stderr } = streamsOf(this.#leader, PIPES)
    this.stdin = stdin
    this.stdout = stdout
    this.stderr = stderr
    this.ended = status.ended.then((end) => {
      this.#over = true
      return end.exitCode !== 0 && end.failure === undefined && home.hasLostTree() ? { ...end, failure: 'notree' } : end
    })
  }

  /** Makes a cell and waits until it is ready for its job. Throws SandboxError with what the cell said. */
  static async make(home: CellHome, id: string): Promise<Cell> {
    const fifo = `${home.base}/k/${id}.s`
    let place: Place | undefined
    let status: Status | undefined
    try {
      place = placeOf(home, id)
      status = await orderedStatus(home, id, fifo)
      await status.ready
      return new Cell(home, id, place, status)
    } catch (error) {
      status?.giveUp()
      place?.close()
      await removeTree(`${home.base}/work/${id}`)
      throw new KappaError('SandboxError', `a cell of the sandbox could not be made: ${messageOf(error)}`, {
        cause: error
      })
    } finally {
      await removeTree(fifo)
    }
  }

  get tools(): Tools {
    return this.#home.tools
  }

  /** False when it ended before its job came. */
  get alive(): boolean {
    return !this.#over && !this.#home.hasLostTree()
  }

  openTerminal(onStopped: (signal: number) => void): Terminal {
    this.#status.onStopped = onStopped
    this.#terminal = new TerminalPipes(this.#leader)
    return this.#terminal
  }

  begin(script: Buffer): void {
    this.#begun = true
    writeFileSync(`${this.#home.base}/k/${this.#id}.j`, script, { flag: 'wx', mode: 0o644 })
    this.stdin.write('go\n')
  }

  signal(signal: number): boolean {
    // Its parent tells it from a stranger that got the number of a leader whose end we have not heard of yet.
    if (this.#over || readStat(this.#leader)?.parent !== this.#init) return false
    return this.#terminal?.signal(signal) ?? send(-this.#leader, signal)
  }

  lower(): boolean {
    // PID 1's own /proc shows the cell's processes and no others.
    return this.#over || lowerAutogroups(`/proc/${this.#init}/root/proc`, this.#home.nice)
  }

  peakBytes(): number {
    return this.#over ? 0 : peakBytesOf(this.#leader)
  }

  processes(): string[] {
    return this.#over ? [] : processesIn(`/proc/${this.#init}/root/proc`)
  }

  get files(): Seat['files'] {
    return { disk: this.#place.top, memory: this.#shared }
  }

  /** Its part of the home's tmpfs, which is only in the sandbox's own mount namespace. */
  get #shared(): string {
    return `/proc/${this.#home.maker}/root${this.#home.hasTree ? '' : '/r'}/shm/${this.#id}`
  }

  kill(): void {
    if (this.#over) return
    send(this.#init, 9)
    this.#home.killed(this.ended)
  }

  async dispose(): Promise<void> {
    this.kill()
    this.stdin.destroy()
    await this.ended
    this.stdout.destroy()
    this.stderr.destroy()
    this.#terminal?.close()
    const { base } = this.#home
    if (this.#begun) await removeTree(`${base}/k/${this.#id}.j`)
    const work = `${base}/work/${this.#id}`
    // Most jobs leave nothing: few calls then do what the careful walk needs many for.
    const removed = this.#place.removedEmpty()
    this.#place.close()
    if (!removed) await removeTree(work)
    await removeTree(this.#shared)
  }
}

/** The status of a cell that was asked for; its end means that all who held it are gone: PID 1 and its parent. */
async function orderedStatus(home: CellHome, id: string, fifo: string): Promise<Status> {
  const reader = openReader(fifo)
  const writer = openWriter(fifo)
  try {
    await home.order(id)
  } catch (error) {
    closeSync(reader)
    throw error
  } finally {
    // Not before the cell has it open, else it would end at once.
    closeSync(writer)
  }
  return new Status(readerOf(reader))
}

function onlyChild(pid: number | undefined): number {
  const child = pid === undefined ? undefined : childrenOf(pid)[0]
  if (child === undefined) throw new Error('it ended at once')
  return child
}

function entranceOf({ path }: CellHome, id: string): NonNullable<Seat['enter']> {
  const temporary = `${TREE_WORK}/${id}/tmp`
  return { program: `/k/${PROGRAMS.enter}`, root: '/r', temporary, ...(path === undefined ? {} : { path }) }
}

function placeOf({ base, uid, gid }: CellHome, id: string): Place {
  const path = `${base}/work/${id}`
  return Place.make({ path, directories: ['home', 'tmp'], links: { shm: `/shm/${id}` }, uid, gid })
}
