/** The thread in which home serves its tree to one target: it may wait for the disk, the daemon may not. */

import { parentPort, workerData } from 'node:worker_threads'
import { messageOf } from '../../errors.ts'
import { Hashes } from '../hashes.ts'
import { HomeServer, type Refused } from './server.ts'
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
export type ToServer = { frame: Uint8Array } | { settle: number } | { drained: true } | { live: boolean }
export type FromServer =
  | { frame: Uint8Array[] }
  | { settled: number; news: number }
  | { refused: string; kind: string; why: Refused }
  | { failed: string; isMalformed: boolean }

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
  onRefused: (refused, kind, why) => port.postMessage({ refused, kind, why } satisfies FromServer),
  onFailure: (error) => fail(error, false)
})

function fail(error: unknown, isMalformed: boolean): void {
  port.postMessage({ failed: messageOf(error), isMalformed } satisfies FromServer)
}

port.on('message', (message: ToServer) => {
  if ('frame' in message) {
    try {
      server.handle(message.frame)
    } catch (error) {
      fail(error, true)
    }
  } else if ('drained' in message) {
    ahead = 0
    for (const go of waiting) go()
    waiting = []
  } else if ('live' in message) server.live(message.live)
  else {
    const { settle } = message
    void server.settle().then((news) => port.postMessage({ settled: settle, news } satisfies FromServer))
  }
})
