/**
 * Runs on the host that is measured: takes commands as JSON in its first argument, starts each on a terminal of its own, in
 * turns, and prints ms of each start, or of each key until it is shown again. `serve` answers on a port of TCP instead.
 */

import { connect, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Seat } from '../test/terminals.ts'

export interface TerminalOrder {
  rounds: number
  /** Commands that end at once. */
  starts: Record<string, string[]>
  /** Commands that say `up` and then every byte that they get. */
  echoes: Record<string, string[]>
  /** Where `serve` answers. */
  server: { host: string; port: number }
}

const PAUSE_MS = 5

if (process.argv[2] === 'serve') {
  createServer({ noDelay: true }, (socket) => socket.pipe(socket)).listen(Number(process.argv[3]))
} else process.stdout.write(`${JSON.stringify(await measure(JSON.parse(process.argv[2]!)))}\n`, () => process.exit())

async function measure({ rounds, starts, echoes, server }: TerminalOrder): Promise<Record<string, number[]>> {
  const times: Record<string, number[]> = {}
  for (let round = -3; round < rounds; round++) {
    for (const [name, command] of Object.entries(starts)) {
      const began = performance.now()
      const { code } = await seatOf(command).ended
      if (code !== 0) throw new Error(`${command.join(' ')} ended with ${code}`)
      if (round >= 0) (times[name] ??= []).push(performance.now() - began)
    }
  }
  const answering = Object.entries(echoes).map(([name, command]) => ({ name, seat: seatOf(command) }))
  for (const { seat } of answering) await seat.shows('up')
  const round = await roundTrips(server)
  for (let key = 0; key < 10 * rounds; key++) {
    for (const { name, seat } of answering) {
      await sleep(PAUSE_MS)
      ;(times[name] ??= []).push(await echoed(seat))
    }
    await sleep(PAUSE_MS)
    ;(times['round trip of TCP'] ??= []).push(await round())
  }
  return times
}

function seatOf(command: string[]): Seat {
  return new Seat({ teardown: () => undefined }, command, process.env)
}

async function echoed(seat: Seat): Promise<number> {
  const began = performance.now()
  await new Promise<void>((resolve) => {
    seat.onShown = resolve
    seat.type('k')
  })
  return performance.now() - began
}

/** What times one byte there and back. */
async function roundTrips(server: { host: string; port: number }): Promise<() => Promise<number>> {
  const socket = connect({ ...server, noDelay: true })
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject))
  return async () => {
    const began = performance.now()
    await new Promise((resolve) => {
      socket.once('data', resolve)
      socket.write('k')
    })
    return performance.now() - began
  }
}
