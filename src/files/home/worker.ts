/** The thread in which home serves its tree to one target: it may wait for the disk, the daemon may not. */

import { parentPort, workerData } from 'node:worker_threads'
import { messageOf } from '../../errors.ts'
import { Hashes } from '../hashes.ts'
import { HomeServer } from './server.ts'
import { Unfinished } from './unfinished.ts'
import { View, type ViewInit } from './view.ts'

export interface TreeWorkerData {
  view: ViewInit
  /** See Unfinished. */
  journal: string
  /** Where hashes of home's files are kept. */
  hashes: string
}

/** What the daemon says, and what the thread does. */
export type ToServer = { frame: Uint8Array } | { settle: number } | { drained: true }
export type FromServer =
  | { frame: Uint8Array[] }
  | { settled: number; news: number }
  | { denied: string; kind: string }
  | { failed: string }

/** Bytes handed over that the daemon has not said it took. */
const AHEAD_MAX = 4 * 1024 * 1024

const port = parentPort!
let ahead = 0
let waiting: (() => void)[] = []

const { view, journal, hashes } = workerData as TreeWorkerData
const server = new HomeServer({
  view: new View(view),
  unfinished: new Unfinished(journal),
  hashes: new Hashes(hashes),
  send: (parts) => {
    for (const part of parts) ahead += part.length
    // What was read is nobody else's: it goes without a copy.
    const owned = parts.filter(({ buffer, byteLength }) => buffer.byteLength === byteLength)
    port.postMessage(
      { frame: parts } satisfies FromServer,
      owned.map(({ buffer }) => buffer as ArrayBuffer)
    )
  },
  drained: () => (ahead < AHEAD_MAX ? Promise.resolve() : new Promise((resolve) => waiting.push(resolve))),
  onDenied: (path, kind) => port.postMessage({ denied: path, kind } satisfies FromServer),
  onFailure: fail
})

function fail(error: unknown): void {
  port.postMessage({ failed: messageOf(error) } satisfies FromServer)
}

port.on('message', (message: ToServer) => {
  if ('frame' in message) {
    try {
      server.handle(message.frame)
    } catch (error) {
      fail(error)
    }
  } else if ('drained' in message) {
    ahead = 0
    for (const go of waiting) go()
    waiting = []
  } else {
    const { settle } = message
    void server.settle().then((news) => port.postMessage({ settled: settle, news } satisfies FromServer))
  }
})
