/** Home's side of files mode: what of this machine's tree is shown to which target, as long as jobs there need it. */

import { randomBytes } from 'node:crypto'
import { accessSync, constants, mkdirSync, readdirSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import type { PairingKind, PeerId } from '../core/types.ts'
import { isKappaError, messageOf } from '../errors.ts'
import { TreeThread } from '../files/home/thread.ts'
import { dateUnfinished } from '../files/home/unfinished.ts'
import { isUnder, SYSTEM, View, type ViewInit } from '../files/home/view.ts'
import type { FrameStream } from '../network/frames.ts'
import { printable } from '../printable.ts'
import { decodeHello, encodeHello, FileChannel } from '../protocols/file/channel.ts'
import { kindOf } from '../protocols/file/codec.ts'
import { type Audit, Refusals } from './audit.ts'
import type { Log } from './log.ts'

/** ms for which a tree is kept for the next job. */
const KEPT_MS = 10 * 60_000
/** Trees without a job that are kept. */
const KEPT_MAX = 4
/** ms between tries to get a stream to the target. */
const RETRY_MS = 250
/** ms for the target to answer on a new stream. */
const HELLO_MS = 10_000

/** The thread is told when so many bytes were taken; it waits only after several times as many. */
const TELL_BYTES = 1024 * 1024

/** Refusals that are remembered. */
const DENIED_MAX = 16

/** Directories above a project have one of these. */
const PROJECT_MARKS = ['.git', '.hg', '.svn', '.jj', '.bzr']

export interface ShownTreesInit {
  /** A new stream of the file protocol. */
  openStream(target: PeerId, signal: AbortSignal): Promise<FrameStream>
  nameOf(peer: PeerId): string
  audit: Audit
  /** Directories that are nobody's business, as bytes. */
  denied: readonly string[]
  /** A directory of its own, which is made; of a daemon that was killed, it says what jobs were making. */
  journals: string
  /** Path of the file in which hashes of this machine's files are kept. */
  hashes: string
  log: Log
}

/** What is shown for a job, and to whom. */
export interface Showing {
  /** Its id. */
  job: string
  target: PeerId
  kind: PairingKind
  /** Where it begins. */
  directory: string
  /** What it sees in spite of everything. */
  shares: readonly string[]
  /** Whose programs it runs: the target shows either in a tree of its own. */
  programs: 'home' | 'target'
}

/** A tree that one job uses. */
export interface ShownTree {
  id: string
  /** Number of the last news of changes at home until now. */
  news: number
  /** What was refused to jobs on that machine since this one began, the latest first. */
  denied(): string[]
  /**
   * The job has ended: once. With `fence`, nothing of it may reach home's files any more. When it, or the loss of what
   * served it there, ends the tree: what jobs there were making and have not finished, as soon as it is dated 1970.
   */
  release(fence: boolean): Promise<string[]> | undefined
}

export class ShownTrees {
  readonly #init: ShownTreesInit
  /** By target and view; those with jobs, and at most `KEPT_MAX` others. */
  readonly #trees = new Map<string, Shown>()

  /** Throws what making the directory of journals does. */
  constructor(init: ShownTreesInit) {
    this.#init = init
    mkdirSync(init.journals, { recursive: true, mode: 0o700 })
    for (const name of readdirSync(init.journals)) tellUnfinished(init.log, dateUnfinished(join(init.journals, name)))
  }

  /** In words why not, when that machine is not shown where the job would begin. */
  async use({ job, target, kind, directory, shares, programs }: Showing): Promise<ShownTree | string> {
    const bytes = Buffer.from(directory).toString('latin1')
    const project = kind === 'own' && !isInSystem(bytes) ? '/' : projectOf(bytes)
    const shown = shares.map((path) => Buffer.from(path).toString('latin1')).toSorted()
    const key = JSON.stringify([target, kind, project, shown, programs])
    let tree = this.#trees.get(key)
    if (tree === undefined || tree.isClosed) {
      const home = Buffer.from(homedir()).toString('latin1')
      const view = { kind, home, project, shares: shown, denied: this.#init.denied }
      tree = new Shown(this.#init, target, view, () => this.#forget(key))
      this.#trees.set(key, tree)
    }
    const used = tree
    if (!used.mayBeginIn(bytes)) {
      if (used.jobs === 0) void this.#forget(key)
      return whyNotShown(directory, kind)
    }
    used.begins(job)
    this.#trim()
    const news = await used.settle()
    const since = used.refusals
    let isReleased = false
    return {
      id: used.id,
      news,
      denied: () => used.denied.slice(0, used.refusals - since).map((path) => Buffer.from(path, 'latin1').toString()),
      release: (fence) => {
        if (isReleased) return undefined
        isReleased = true
        return used.released(fence)
      }
    }
  }

  /** The connection to that peer is new. */
  connected(target: PeerId): void {
    for (const tree of this.#trees.values()) if (tree.target === target) tree.reconnect()
  }

  async close(): Promise<void> {
    const all = [...this.#trees.values()]
    this.#trees.clear()
    await Promise.all(all.map((tree) => tree.close()))
  }

  #forget(key: string): Promise<string[]> | undefined {
    const closed = this.#trees.get(key)?.close()
    this.#trees.delete(key)
    return closed
  }

  #trim(): void {
    const idle = [...this.#trees].filter(([, { jobs }]) => jobs === 0)
    for (const [key] of idle.slice(0, Math.max(0, idle.length - KEPT_MAX))) void this.#forget(key)
  }
}

/** One view of home's tree, shown to one target. */
class Shown {
  readonly id = randomBytes(16).toString('hex')
  readonly target: PeerId
  jobs = 0
  /** How often something was refused, and the latest of it, at most `DENIED_MAX`. */
  refusals = 0
  denied: string[] = []
  readonly #init: ShownTreesInit
  readonly #forget: () => Promise<string[]> | undefined
  readonly #view: View
  readonly #thread: TreeThread
  readonly #channel: FileChannel
  #closed: Promise<string[]> | undefined
  /** Since the first of the jobs that live began, or the last one ended. */
  #refusals: Refusals | undefined
  readonly #closing = new AbortController()
  /** What was asked for since it was told last, by kind: at most 256. */
  readonly #asked = new Map<number, number>()
  /** Bytes that the thread has not been told were taken. */
  #untold = 0
  #connecting = false
  #retry: NodeJS.Timeout | undefined
  #idle: NodeJS.Timeout | undefined

  constructor(init: ShownTreesInit, target: PeerId, view: ViewInit, forget: () => Promise<string[]> | undefined) {
    this.#init = init
    this.target = target
    this.#view = new View(view)
    this.#forget = forget
    this.#channel = new FileChannel({
      onMessage: (message) => {
        const code = message[0] ?? 0
        this.#asked.set(code, (this.#asked.get(code) ?? 0) + 1)
        this.#thread.handle(message)
      },
      onDetached: (error) => {
        if (error) init.log.info('a stream of files broke', { target, error: messageOf(error) })
        if (this.#channel.isBroken) void this.#forget()
        else this.#later()
      }
    })
    this.#thread = new TreeThread({
      view,
      journal: join(init.journals, this.id),
      hashes: init.hashes,
      onFrame: (parts) => {
        this.#channel.send(parts)
        for (const part of parts) this.#untold += part.length
        if (this.#untold < TELL_BYTES) return
        this.#untold = 0
        void this.#channel.drained().then(() => this.#thread.drained())
      },
      onRefused: (what, kind, why) => {
        this.#refusals?.refused(kind, Buffer.from(what, 'latin1').toString(), why)
        if (why !== 'denied') return
        this.refusals++
        this.denied = [what, ...this.denied].slice(0, DENIED_MAX)
      },
      onFailure: (error) => {
        init.log.error('files can not be shown', error)
        if (isKappaError(error) && error.name === 'ProtocolError')
          this.#refusals?.refused('', messageOf(error), 'malformed')
        void this.#forget()
      }
    })
    this.reconnect()
  }

  get isClosed(): boolean {
    return this.#closed !== undefined
  }

  /** Whether a job can have this as its working directory. */
  mayBeginIn(directory: string): boolean {
    const right = this.#view.right(directory)
    return right === 'read' || right === 'write'
  }

  begins(job: string): void {
    if (++this.jobs > 1) return
    this.#countRefusals(job)
    this.#thread.live(true)
  }

  #countRefusals(job: string): void {
    this.#refusals?.tellRest()
    this.#refusals = new Refusals(this.#init.audit, { job, target: this.#init.nameOf(this.target), peer: this.target })
  }

  async settle(): Promise<number> {
    clearTimeout(this.#idle)
    return (await this.#thread.settle()) ?? 0
  }

  released(fence: boolean): Promise<string[]> | undefined {
    this.jobs--
    this.#tell()
    // Who has no job there waits for no stream.
    const isOver = fence || (this.jobs === 0 && !this.#channel.isAttached)
    if (isOver) return this.#forget() ?? this.#closed
    if (this.jobs > 0) return undefined
    this.#thread.live(false)
    this.#countRefusals('none')
    this.#idle = setTimeout(() => void this.#forget(), KEPT_MS).unref()
    return undefined
  }

  /** What jobs there asked for, in the log. */
  #tell(): void {
    const asked: Record<string, number> = {}
    for (const [code, count] of this.#asked) asked[kindOf(code) ?? 'unknown'] = count
    this.#asked.clear()
    this.#init.log.info('files were shown', { target: this.target, ...asked })
  }

  reconnect(): void {
    if (this.isClosed || this.#connecting || this.#channel.isAttached) return
    clearTimeout(this.#retry)
    this.#connecting = true
    this.#connect()
      .catch((error) => {
        if (!this.isClosed) this.#init.log.info('no stream for files', { target: this.target, error: messageOf(error) })
        this.#later()
      })
      .finally(() => {
        this.#connecting = false
      })
  }

  #later(): void {
    if (this.isClosed) return
    clearTimeout(this.#retry)
    // Who has no job there waits for the next one.
    if (this.jobs > 0) this.#retry = setTimeout(() => this.reconnect(), RETRY_MS).unref()
    else void this.#forget()
  }

  async #connect(): Promise<void> {
    const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(HELLO_MS)])
    const frames = await this.#init.openStream(this.target, signal)
    const [uid, gid] = [process.geteuid!(), process.getegid!()]
    try {
      const writable = this.#view.writableInSystem.map((path) => Buffer.from(path, 'latin1').toString())
      frames.send(...encodeHello({ tree: this.id, uid, gid, writable, received: this.#channel.received }))
      const { received, gone } = decodeHello(await firstFrame(frames, signal))
      if (gone) void this.#forget()
      else this.#channel.attach(frames, received)
    } catch (error) {
      frames.abort(error as Error)
      throw error
    }
  }

  /** See TreeThread. */
  close(): Promise<string[]> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<string[]> {
    clearTimeout(this.#retry)
    clearTimeout(this.#idle)
    this.#closing.abort()
    this.#channel.detach()
    this.#refusals?.tellRest()
    const unfinished = await this.#thread.close()
    tellUnfinished(this.#init.log, unfinished)
    return unfinished.map((path) => Buffer.from(path, 'latin1').toString())
  }
}

function tellUnfinished(log: Log, paths: readonly string[]): void {
  for (const path of paths) log.warn('a file that a job did not finish is dated 1970', { path })
}

/** The next frame alone; the others wait. Throws when there is none. */
export async function firstFrame(frames: FrameStream, signal: AbortSignal): Promise<Uint8Array> {
  const aborted = Promise.withResolvers<never>()
  const onAbort = (): void => aborted.reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([
      new Promise<Uint8Array>((resolve, reject) => {
        frames.onFrame(
          (frame) => {
            frames.pause()
            resolve(frame)
          },
          (error) => reject(error ?? new Error('the stream ended'))
        )
      }),
      aborted.promise
    ])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

function whyNotShown(directory: string, kind: PairingKind): string {
  const whom = kind === 'own' ? 'other machines' : "a friend's machine"
  return `${whom} may not see ${printable(directory, 200)}, where the job would begin; --share it, or begin elsewhere`
}

/** Somewhere among programs and libraries where the user keeps work of its own. */
function isInSystem(directory: string): boolean {
  if (!SYSTEM.some((top) => isUnder(directory, top) && directory !== top)) return false
  try {
    accessSync(Buffer.from(directory, 'latin1'), constants.W_OK)
    return true
  } catch {
    return false
  }
}

/** The nearest directory that a version control system keeps, else the directory itself. */
function projectOf(directory: string): string {
  for (let at = directory; at !== ''; at = at.slice(0, at.lastIndexOf('/'))) {
    for (const mark of PROJECT_MARKS) {
      if (statSync(Buffer.from(`${at}/${mark}`, 'latin1'), { throwIfNoEntry: false })) return at
    }
  }
  return directory
}
