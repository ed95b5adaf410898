/** How much later than bare Node does the client send its first byte, and what does the launcher cost? */

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { KAPPA } from '../test/end-to-end/peers.ts'
import { type Benchmark, median, type Result, round } from './measure.ts'

const ROUNDS = 60

async function run(): Promise<Result> {
  const directory = mkdtempSync(join(tmpdir(), 'kappa-bench-'))
  const runtime = join(directory, 'run')
  await import('node:fs').then(({ mkdirSync }) => mkdirSync(runtime, { mode: 0o700 }))
  let onByte: () => void = () => undefined
  const server = createServer((socket) => {
    socket.once('data', () => {
      onByte()
      socket.destroy()
    })
    socket.on('error', () => undefined)
  })
  await new Promise<void>((resolve) => server.listen(join(runtime, 'socket'), resolve))
  const env = { ...process.env, KAPPA_DIR: directory }
  const bare: number[] = []
  const firstByte: number[] = []
  for (let index = -5; index < ROUNDS; index++) {
    let began = performance.now()
    await new Promise((resolve) => spawn(process.execPath, ['-e', '0'], { stdio: 'ignore' }).once('exit', resolve))
    const bareMs = performance.now() - began
    began = performance.now()
    const byte = new Promise<void>((resolve) => {
      onByte = resolve
    })
    const client = spawn(KAPPA, ['run', 'true'], { stdio: 'ignore', env })
    const gone = new Promise((resolve) => client.once('exit', resolve))
    await byte
    const byteMs = performance.now() - began
    await gone
    if (index < 0) continue
    bare.push(bareMs)
    firstByte.push(byteMs)
  }
  server.close()
  rmSync(directory, { recursive: true })
  const floor = median(bare)
  return {
    question: 'Start-up of the client',
    rows: [
      { what: 'bare node -e 0, start to exit', values: { 'median ms': round(floor) } },
      {
        what: 'kappa run, start to its first byte at the daemon',
        values: { 'median ms': round(median(firstByte)), 'over bare node ms': round(median(firstByte) - floor) }
      }
    ],
    notes: []
  }
}

export const benchmark: Benchmark = { question: 'Start-up of the client', run }
