/** What this machine has of home's files, as the process that serves them asks its daemon. Whatever fails is not there. */

import type { ByteString } from '../../protocols/file/bytes.ts'
import type { Identity } from '../hashes.ts'
import { decodeIdentity, decodePaths, decodeStoreAnswer, encodeStoreRequest, type StoreRequest } from './store-codec.ts'
import { uses } from './techniques.ts'

/** ms for an answer: large files are hashed meanwhile. */
const ANSWER_MS = 10_000
/** Questions without an answer, one after the other, after which none is asked any more. */
const UNANSWERED_MAX = 2
/** Contents under way to be kept; beyond, one more is not. */
const SAVES_MAX = 16

export class Cache {
  readonly #send: (parts: Uint8Array[]) => void
  /** As many as requests of the kernel, and `SAVES_MAX`. */
  readonly #asked = new Map<number, (body: Uint8Array | undefined) => void>()
  /** Contents, and not only what this machine has anyway. */
  readonly keeps = uses('kept-contents')
  #saves = 0
  #unanswered = 0
  #lastId = 0

  constructor(send: (parts: Uint8Array[]) => void) {
    this.#send = send
  }

  /** Throws ProtocolError. */
  handle(frame: Uint8Array): void {
    const { id, body } = decodeStoreAnswer(frame)
    this.#asked.get(id)?.(body)
  }

  #ask(request: StoreRequest): Promise<Uint8Array | undefined> {
    if (this.#unanswered >= UNANSWERED_MAX) return Promise.resolve(undefined)
    const id = (this.#lastId = (this.#lastId + 1) % 2 ** 32)
    return new Promise((resolve) => {
      const done = (body?: Uint8Array): void => {
        clearTimeout(timer)
        this.#asked.delete(id)
        this.#unanswered = body === undefined ? this.#unanswered + 1 : 0
        resolve(body)
      }
      const timer = setTimeout(done, ANSWER_MS)
      this.#asked.set(id, done)
      this.#send(encodeStoreRequest(id, request))
    })
  }

  /** The state in which this machine's own file at that path holds the same. */
  async own(path: ByteString, hash: ByteString): Promise<Identity | undefined> {
    const body = await this.#ask({ kind: 'own', path, hash })
    return body && decodeIdentity(body)
  }

  async load(hash: ByteString, block: number, bytes: number): Promise<Uint8Array | undefined> {
    if (!this.keeps) return undefined
    const body = await this.#ask({ kind: 'load', hash, block })
    return body?.length === bytes && bytes > 0 ? body : undefined
  }

  /** See Store.save. */
  save(hash: ByteString, block: number, data: Uint8Array): void {
    if (!this.keeps || this.#saves >= SAVES_MAX) return
    this.#saves++
    void this.#ask({ kind: 'save', hash, block, data }).then(() => this.#saves--)
  }

  async recall(): Promise<ByteString[]> {
    const body = await this.#ask({ kind: 'recall' })
    return body ? decodePaths(body) : []
  }

  remember(paths: readonly ByteString[]): void {
    void this.#ask({ kind: 'remember', paths })
  }
}
