/** How much later than bare Node does the client send its first byte, and what does the launcher cost? */

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { KAPPA } from '../test/end-to-end/peers.ts'
import { type Benchmark, median, type Result, round } from './measure.ts'

const ROUNDS = 60
/** The one that is shipped, and the one that it leaves to what is unusual. */
const CLIENTS = ['native', 'node'] as const
type Client = (typeof CLIENTS)[number]

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
  const firstByte: Record<Client, number[]> = { native: [], node: [] }
  for (let index = -5; index < ROUNDS; index++) {
    const began = performance.now()
    await new Promise((resolve) => spawn(process.execPath, ['-e', '0'], { stdio: 'ignore' }).once('exit', resolve))
    if (index >= 0) bare.push(performance.now() - began)
    for (const client of CLIENTS) {
      const byte = new Promise<void>((resolve) => {
        onByte = resolve
      })
      const began = performance.now()
      const options = { stdio: 'ignore', env: { ...env, KAPPA_CLIENT: client } } as const
      const gone = new Promise((resolve) => spawn(KAPPA, ['run', 'true'], options).once('exit', resolve))
      await byte
      if (index >= 0) firstByte[client].push(performance.now() - began)
      await gone
    }
  }
  server.close()
  rmSync(directory, { recursive: true })
  const floor = median(bare)
  return {
    question: 'Start-up of the client',
    rows: [
      { what: 'bare node -e 0, start to exit', values: { 'median ms': round(floor) } },
      ...CLIENTS.map((client) => ({
        what: `kappa run${client === 'node' ? ' by the Node client' : ''}, start to its first byte at the daemon`,
        values: {
          'median ms': round(median(firstByte[client])),
          'over bare node ms': round(median(firstByte[client]) - floor)
        }
      }))
    ],
    notes: []
  }
}

export const benchmark: Benchmark = { question: 'Start-up of the client', run }
