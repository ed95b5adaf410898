/** The target's side of files mode: trees of homes that guests here see. */

import type { Socket } from 'node:net'
import type { PeerId } from '../core/types.ts'
import { KappaError, messageOf } from '../errors.ts'
import type { Tree, TreeUse } from '../execution/tree.ts'
import { WIRE } from '../files/target/store-codec.ts'
import type { StoreAccess, StoreThread } from '../files/target/store-thread.ts'
import { Wire } from '../files/target/wire.ts'
import type { FrameStream } from '../network/frames.ts'
import { decodeHello, encodeHello, FileChannel, type FileHello } from '../protocols/file/channel.ts'
import type { Log } from './log.ts'
import { firstFrame } from './shown-trees.ts'

/** Trees of all homes together. */
const TREES_MAX = 32
/** ms for home's first frame, and for a tree whose job came first. */
const HELLO_MS = 10_000
/** Messages of home that come before there is a process, and bytes that wait for it. */
const EARLY_MAX = 64
const WAITING_BYTES_MAX = 64 * 1024 * 1024
/** ms without a stream after which a tree is given up; its jobs' leases have ended before, unless they are long. */
const LOST_MS = 15_000

/** First bytes of frames for the process that serves a tree. */
const HOME = Uint8Array.of(WIRE.home)
const STORE = Uint8Array.of(WIRE.store)

export class SeenTrees {
  readonly #log: Log
  readonly #store: StoreThread
  /** By home and number; at most `TREES_MAX`. */
  readonly #trees = new Map<string, Seen>()
  /** Jobs that wait for their tree; as many as the reservations allow. */
  #waiting: (() => void)[] = []

  constructor(log: Log, store: StoreThread) {
    this.#log = log
    this.#store = store
  }

  /** A home opened a stream of the file protocol. The caller has checked its right. */
  async serve(from: PeerId, frames: FrameStream): Promise<void> {
    try {
      const hello = decodeHello(await firstFrame(frames, AbortSignal.timeout(HELLO_MS)))
      const key = `${from} ${hello.tree}`
      let tree = this.#trees.get(key)
      if (tree === undefined) {
        if (this.#trees.size >= TREES_MAX) throw new KappaError('LimitError', 'too many trees are shown here')
        if (hello.received > 0) {
          frames.send(...encodeHello({ ...hello, received: 0, gone: true }))
          await frames.close()
          return
        }
        tree = new Seen(hello, this.#log, { store: this.#store, home: from }, () => this.#trees.delete(key))
        this.#trees.set(key, tree)
      }
      tree.attach(frames, hello)
      for (const go of this.#waiting.splice(0)) go()
    } catch (error) {
      this.#log.info('a stream of files was refused', { home: from, error: messageOf(error) })
      frames.abort(error as Error)
    }
  }

  /** Who served a tree to jobs here was killed: none of them can begin, until home shows it anew. */
  isLost(from: PeerId, id: string): boolean {
    return this.#trees.get(`${from} ${id}`)?.isLost === true
  }

  /** What a job of that home is to see, when it has heard the news that home tells of it. Throws SandboxError. */
  async get(from: PeerId, id: string, news: number): Promise<Tree> {
    const until = performance.now() + HELLO_MS
    for (;;) {
      const tree = this.#trees.get(`${from} ${id}`)
      if (tree !== undefined) {
        await tree.heard(news, until)
        return tree.tree
      }
      await this.#changed(until)
    }
  }

  async #changed(until: number): Promise<void> {
    const left = until - performance.now()
    if (left <= 0) throw new KappaError('SandboxError', "home's files did not come: its stream for them is missing")
    const go = await called(this.#waiting, left)
    this.#waiting = this.#waiting.filter((one) => one !== go)
  }

  close(): void {
    for (const tree of this.#trees.values()) tree.close()
    this.#trees.clear()
  }
}

/** One tree: the stream from home, and the process that serves it to guests, once there is one. */
class Seen {
  readonly tree: Tree
  readonly #channel: FileChannel
  readonly #forget: () => void
  readonly #store: StoreAccess
  #wire: Wire | undefined
  #isClosed = false
  #isServed: () => boolean = () => true
  /** From home, before there was a process; at most `EARLY_MAX`. */
  #early: Uint8Array[] = []
  #news = 0
  #hearers: (() => void)[] = []
  /** Jobs that have ended, but for what they wrote; by number, as many as jobs live. */
  readonly #settling = new Map<number, () => void>()
  #questions = 0
  #timer: NodeJS.Timeout | undefined
  /** Jobs that live. */
  #jobs = 0

  constructor(
    { tree, uid, gid, writable }: FileHello,
    log: Log,
    { store, home }: { store: StoreThread; home: PeerId },
    forget: () => void
  ) {
    this.#forget = forget
    this.#store = store.open(home, (parts) => this.#tell(STORE, parts))
    this.#channel = new FileChannel({
      onMessage: (message) => {
        if (this.#wire === undefined) this.#early.push(message)
        else this.#tell(HOME, [message])
        // Only what was asked for comes, and news of what was listed.
        if (this.#early.length > EARLY_MAX || (this.#wire?.waiting ?? 0) > WAITING_BYTES_MAX) this.close()
      },
      onDetached: (error) => {
        if (error) log.info('a stream of files broke', { error: messageOf(error) })
        if (this.#channel.isBroken) this.close()
        else this.#timer = setTimeout(() => this.close(), LOST_MS).unref()
      }
    })
    this.tree = {
      key: tree,
      uid,
      gid,
      writable,
      connect: (socket, isServed) => this.#connect(socket, isServed),
      isWithinReach: () => this.#channel.isAttached,
      close: () => this.close(),
      use: () => this.#use(),
      settled: () => this.#settled()
    }
  }

  #use(): TreeUse {
    this.#jobs++
    let isOver = false
    const ended = (): void => {
      if (!isOver) this.#jobs--
      isOver = true
    }
    const cutOff = (): void => {
      ended()
      if (this.#jobs === 0) this.close()
    }
    return { ended, cutOff }
  }

  attach(frames: FrameStream, { received, ...hello }: FileHello): void {
    clearTimeout(this.#timer)
    frames.send(...encodeHello({ ...hello, received: this.#channel.received }))
    this.#channel.attach(frames, received)
    frames.resume()
  }

  #tell(what: Uint8Array, parts: Uint8Array[]): void {
    this.#wire?.send([what, ...parts])
  }

  get isLost(): boolean {
    return this.#wire !== undefined && !this.#isServed()
  }

  #connect(socket: Socket, isServed: () => boolean): void {
    this.#isServed = isServed
    const wire = new Wire(socket)
    this.#wire?.close()
    this.#wire = wire
    wire.receive(
      (frame) => {
        if (frame[0] === WIRE.home) this.#channel.send([frame.subarray(1)])
        else if (frame[0] === WIRE.store) this.#store.handle(frame.subarray(1))
        else if (frame[0] === WIRE.settled && frame.length === 5) this.#settling.get(numberIn(frame))?.()
        else if (frame.length === 5) this.#hear(numberIn(frame))
      },
      () => this.close()
    )
    for (const message of this.#early.splice(0)) this.#tell(HOME, [message])
  }

  async #settled(): Promise<void> {
    if (this.#wire === undefined || this.#isClosed) return
    const question = Buffer.from([WIRE.settled, 0, 0, 0, 0])
    const number = this.#questions
    this.#questions = (number + 1) % 2 ** 32
    question.writeUInt32BE(number, 1)
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#settling.set(number, resolve)
    this.#wire.send([question])
    await promise
    this.#settling.delete(number)
  }

  #hear(news: number): void {
    this.#news = news
    for (const go of this.#hearers.splice(0)) go()
  }

  /** Without a process nothing is known that could be old. */
  async heard(news: number, until: number): Promise<void> {
    while (!this.#isClosed && this.#wire !== undefined && this.#news < news) {
      const left = until - performance.now()
      if (left <= 0) throw new KappaError('SandboxError', 'what changed at home was not told in time')
      await called(this.#hearers, left)
    }
    if (this.#isClosed) throw new KappaError('SandboxError', "what showed home's files has ended")
  }

  /** The process ends, and with it the mounts. */
  close(): void {
    clearTimeout(this.#timer)
    this.#channel.detach()
    this.#wire?.close()
    this.#store.close()
    this.#isClosed = true
    for (const go of [...this.#settling.values(), ...this.#hearers.splice(0)]) go()
    this.#forget()
  }
}

function numberIn(frame: Uint8Array): number {
  return Buffer.from(frame).readUInt32BE(1)
}

/** Waits with others to be called, so many ms at most; what it was called by. */
async function called(others: (() => void)[], ms: number): Promise<() => void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  others.push(resolve)
  const timer = setTimeout(resolve, ms)
  await promise
  clearTimeout(timer)
  return resolve
}
