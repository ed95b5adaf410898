/** Home, as the file system at the target asks it: requests by number, each with a deadline, answers in any order. */

import type { ByteString } from '../../protocols/file/bytes.ts'
import {
  type Answer,
  decodeAnswer,
  type Entry,
  encodeRequest,
  type HomeMessage,
  type RequestFields,
  type RequestKind
} from '../../protocols/file/codec.ts'
import { REQUEST_MS, REQUESTS_MAX } from '../../protocols/file/constants.ts'
import { Errno } from '../fuse/errno.ts'

/** ms between looks for requests that are late. */
const LOOK = 1000

export interface RemoteInit {
  /** Hands a frame to home, all parts in order. */
  send(parts: Uint8Array[]): void
  /** What changed in a directory; none: nothing is known of it any more. */
  onChanged(path: ByteString, entries: Entry[]): void
  /** Nothing that was told is known any more. */
  onReset(): void
  /** All news up to this number are handled. */
  onNews(number: number): void
}

/** See HomeMessage. */
export type ListingPart = Extract<HomeMessage, { kind: 'entries' }>

interface Asked {
  resolve(answer: Answer): void
  reject(error: Errno): void
  /** A part of a listing; the answer comes with the last. */
  onPart: ((part: ListingPart) => void) | undefined
  lateAt: number
}

export class Remote {
  readonly #init: RemoteInit
  /** At most `REQUESTS_MAX`. */
  readonly #asked = new Map<number, Asked>()
  /** Those that wait for one of these places, in turn; the kernel bounds how many requests it has, see FuseSession. */
  readonly #waiting: (() => void)[] = []
  /** Places of those whose turn has come and who have not gone on yet. */
  #kept = 0
  /** What came in one piece; the first is being heard. */
  readonly #unheard: HomeMessage[] = []
  #lastId = 0
  #timer: NodeJS.Timeout | undefined
  #failure: Errno | undefined

  constructor(init: RemoteInit) {
    this.#init = init
  }

  /** Rejects with the Errno that home answers; ETIMEDOUT after the deadline; ESTALE when home is lost. */
  ask<K extends RequestKind>(kind: K, fields: RequestFields<K>, data?: Uint8Array): Promise<Answer> {
    return this.#ask(kind, fields, data, undefined)
  }

  /** Waits for a lock as long as it takes. `signal` ends that: with EINTR, unless home has given it by then. */
  async wait(fields: RequestFields<'lock'>, signal: AbortSignal): Promise<Answer> {
    let id: number | undefined
    const cancel = (): void => {
      const asked = id === undefined ? undefined : this.#asked.get(id)
      if (id === undefined || asked === undefined) return
      asked.lateAt = performance.now() + REQUEST_MS
      void this.ask('cancel', { request: id }).catch(() => {})
    }
    signal.addEventListener('abort', cancel)
    try {
      return await this.#ask('lock', fields, undefined, undefined, (given) => {
        id = given
        if (signal.aborted) queueMicrotask(cancel)
        return Number.POSITIVE_INFINITY
      })
    } finally {
      signal.removeEventListener('abort', cancel)
    }
  }

  /** The entries in parts, unless they are more than `most`. */
  async list(path: ByteString, most: number, onPart: (part: ListingPart) => void): Promise<void> {
    await this.#ask('list', { path, most }, undefined, onPart)
  }

  /**
   * A frame of home. Throws ProtocolError, after which nothing that it says counts. What home said first is done with before
   * the next is looked at: an answer that was given before some news must not be taken for newer.
   */
  handle(frame: Uint8Array): void {
    const message = decodeAnswer(frame)
    if (this.#unheard.push(message) === 1) this.#hear()
  }

  #hear(): void {
    this.#heard(this.#unheard[0]!)
    // A tick that is asked for by a microtask comes behind all others, which those that wait for an answer take.
    queueMicrotask(() =>
      process.nextTick(() => {
        this.#unheard.shift()
        if (this.#unheard.length > 0) this.#hear()
      })
    )
  }

  #heard(message: HomeMessage): void {
    if (message.kind === 'changed') {
      this.#init.onChanged(message.path, message.entries)
      this.#init.onNews(message.id)
    } else if (message.kind === 'reset') {
      this.#init.onReset()
      this.#init.onNews(message.id)
    } else {
      const asked = this.#asked.get(message.id)
      // What is late was answered by its deadline: nobody will close what it opened.
      if (asked === undefined) {
        if (message.kind === 'done' && message.answer.handle) void this.#close(message.answer.handle)
        return
      }
      if (message.kind === 'entries') {
        asked.onPart?.(message)
        asked.lateAt = performance.now() + REQUEST_MS
        if (!message.last) return
        this.#take(message.id).resolve({})
      } else if (message.kind === 'done') this.#take(message.id).resolve(message.answer)
      else this.#take(message.id).reject(Errno.numbered(message.errno))
    }
  }

  async #close(handle: number): Promise<void> {
    await this.ask('close', { handle }).catch(() => {})
  }

  /** Home is lost, or has closed this tree: nothing is answered any more. */
  close(): void {
    if (this.#failure !== undefined) return
    this.#failure = Errno.of('ESTALE')
    clearInterval(this.#timer)
    for (const id of [...this.#asked.keys()]) this.#take(id).reject(this.#failure)
    for (const next of this.#waiting.splice(0)) {
      this.#kept++
      next()
    }
  }

  async #ask<K extends RequestKind>(
    kind: K,
    fields: RequestFields<K>,
    data: Uint8Array | undefined,
    onPart: Asked['onPart'],
    lateAt = (_id: number): number => performance.now() + REQUEST_MS
  ): Promise<Answer> {
    if (this.#waiting.length > 0 || this.#asked.size + this.#kept >= REQUESTS_MAX) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
      this.#kept--
    }
    if (this.#failure !== undefined) throw this.#failure
    do this.#lastId = (this.#lastId + 1) % 2 ** 32
    while (this.#asked.has(this.#lastId))
    const id = this.#lastId
    const late = lateAt(id)
    const { promise, resolve, reject } = Promise.withResolvers<Answer>()
    this.#asked.set(id, { resolve, reject, onPart, lateAt: late })
    this.#timer ??= setInterval(() => this.#look(), LOOK)
    this.#init.send(encodeRequest(kind, id, fields, data))
    return promise
  }

  #take(id: number): Asked {
    const asked = this.#asked.get(id)!
    this.#asked.delete(id)
    const next = this.#waiting.shift()
    if (next !== undefined) {
      this.#kept++
      next()
    }
    return asked
  }

  #look(): void {
    const now = performance.now()
    for (const [id, { lateAt }] of this.#asked) if (lateAt <= now) this.#take(id).reject(Errno.of('ETIMEDOUT'))
    if (this.#asked.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}
