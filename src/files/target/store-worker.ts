/** The thread in which the target's daemon keeps contents and hashes system files: it may wait for the disk. */

import { join } from 'node:path'
import { parentPort, workerData } from 'node:worker_threads'
import { Hashes } from '../hashes.ts'
import { Store } from './store.ts'
import {
  decodeStoreRequest,
  emptyAnswer,
  encodeStoreAnswer,
  type StoreAnswer,
  type StoreRequest
} from './store-codec.ts'
import { sameHere } from './system-files.ts'

export interface StoreWorkerData {
  /** The daemon's directory for what can be made again. */
  directory: string
  /** Bytes that may be kept. */
  max: number
}

/** What the daemon says, and what the thread does; `tree`: who asks. */
export type ToStore = { tree: number; home: string; frame: Uint8Array } | { max: number }
export type FromStore = { tree: number; frame: Uint8Array[] }

const port = parentPort!
const { directory, max } = workerData as StoreWorkerData
const hashes = new Hashes(join(directory, 'hashes-of-system'))
const store = openStore()
void store?.count()

function openStore(): Store | undefined {
  try {
    return new Store(join(directory, 'contents'), max)
  } catch (error) {
    console.error(`kappa: nothing of homes' files is kept: ${(error as Error).message}`)
    return undefined
  }
}

async function answer(home: string, request: StoreRequest): Promise<StoreAnswer> {
  if (request.kind === 'own') {
    const identity = await sameHere(hashes, request.path, request.hash)
    return identity && { identity }
  }
  if (request.kind === 'load') {
    const data = store?.load(home, request.hash, request.block)
    return data && { data }
  }
  if (request.kind === 'recall') return { paths: store?.recall(home) ?? [] }
  if (request.kind === 'save') store?.save(home, request.hash, request.block, request.data)
  else store?.remember(home, request.paths)
  return undefined
}

/** What makes no sense is answered with nothing: it must not cost other homes what is kept for them. */
async function answerOf(home: string, frame: Uint8Array): Promise<Uint8Array[]> {
  try {
    const { id, request } = decodeStoreRequest(frame)
    return encodeStoreAnswer(id, await answer(home, request))
  } catch {
    return emptyAnswer(frame)
  }
}

port.on('message', async (message: ToStore) => {
  if ('max' in message) {
    store?.resize(message.max)
    return
  }
  const { tree, home, frame } = message
  const parts = await answerOf(home, frame)
  port.postMessage(
    { tree, frame: parts } satisfies FromStore,
    parts.map(({ buffer }) => buffer as ArrayBuffer)
  )
})
