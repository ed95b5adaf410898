/**
 * A program on a mounted file system, for benchmarks/fuse.ts: DIRECTORY WHAT THREADS COUNT, prints the seconds that it took
 * from when all threads were ready, and the operations done.
 */

import { closeSync, fstatSync, ftruncateSync, lstatSync, openSync, readSync, writeSync } from 'node:fs'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'

const CHUNK = 1 << 20

const WORK: Record<string, (directory: string, thread: number, count: number) => void> = {
  absent(directory, thread, count) {
    for (let i = 0; i < count; i++) lstatSync(`${directory}/none-${thread}-${i}`, { throwIfNoEntry: false })
  },
  present(directory, _thread, count) {
    for (let i = 0; i < count; i++) lstatSync(`${directory}/file`)
  },
  attributes(directory, _thread, count) {
    const file = openSync(`${directory}/file`, 'r')
    for (let i = 0; i < count; i++) fstatSync(file)
    closeSync(file)
  },
  'open-read-close'(directory, _thread, count) {
    const page = Buffer.alloc(4096)
    for (let i = 0; i < count; i++) {
      const file = openSync(`${directory}/file`, 'r')
      readSync(file, page)
      closeSync(file)
    }
  },
  write(directory, thread, count) {
    const file = openSync(`${directory}/big-${thread}`, 'w')
    ftruncateSync(file, count * CHUNK)
    const chunk = Buffer.alloc(CHUNK, 1)
    for (let i = 0; i < count; i++) writeSync(file, chunk)
    closeSync(file)
  },
  read(directory, thread, count) {
    const file = openSync(`${directory}/big-${thread}`, 'r')
    const chunk = Buffer.alloc(CHUNK)
    for (let i = 0; i < count; i++) readSync(file, chunk)
    closeSync(file)
  }
}

if (isMainThread) {
  const [directory, what, threads, count] = process.argv.slice(2)
  const each = Math.ceil(Number(count) / Number(threads))
  const workers = Array.from({ length: Number(threads) }, (_, thread) => {
    return new Worker(import.meta.filename, { workerData: { directory, what, thread, count: each } })
  })
  const all = (event: string) =>
    Promise.all(workers.map((worker) => new Promise((resolve) => worker.once(event, resolve))))
  await all('message')
  const start = performance.now()
  for (const worker of workers) worker.postMessage('go')
  await all('message')
  const s = (performance.now() - start) / 1000
  process.stdout.write(`${JSON.stringify({ s, operations: each * workers.length })}\n`)
  process.exit()
} else {
  const { directory, what, thread, count } = workerData
  parentPort?.once('message', () => {
    WORK[what]?.(directory, thread, count)
    parentPort?.postMessage('done')
  })
  parentPort?.postMessage('ready')
}
