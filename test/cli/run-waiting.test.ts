/** What a terminal shows of a job that waits in line. */

import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { ControlConnection } from '../../src/daemon/control.ts'
import { FRAME } from '../../src/daemon/control-codec.ts'
import { Seat } from '../terminals.ts'
import { fakeDaemon, kappa, NATIVE_CLIENT } from './fake-daemon.ts'

const KAPPA = join(import.meta.dirname, '../../scripts/kappa')
const position = (number: number) => `\r\x1b[K\x1b[?7lkappa: waiting for a free slot, number ${number} in line\x1b[?7h`

async function waiting(t: Test, environment: Record<string, string> = {}) {
  let connection: ControlConnection | undefined
  const directory = await fakeDaemon(t, {
    run: (asking) => {
      connection = asking
      asking.tell(FRAME.queued, { position: 3 })
    }
  })
  const env = { PATH: process.env.PATH!, HOME: directory, KAPPA_DIR: directory, TERM: 'xterm', ...environment }
  const seat = new Seat(t, [KAPPA, 'run', '--wait', 'echo', 'done'], env)
  await seat.until('it has asked', () => connection !== undefined)
  return { seat, tell: (type: number, value: unknown) => connection!.tell(type, value) }
}

t.test('its place is written over as it moves, and erased when it starts', async (t) => {
  const { seat, tell } = await waiting(t)
  await seat.shows(position(3))
  tell(FRAME.queued, { position: 2 })
  await seat.shows(position(2))
  tell(FRAME.local, {})
  t.match(await seat.ended, { code: 0 })
  t.equal(seat.text, `${position(3)}${position(2)}\r\x1b[Kdone\r\n`)
})

t.test('it is erased before anything else is said', async (t) => {
  const { seat, tell } = await waiting(t)
  await seat.shows(position(3))
  tell(FRAME.failure, { name: 'NothingRanError', message: 'nobody could' })
  t.match(await seat.ended, { code: 125 })
  t.equal(seat.text, `${position(3)}\r\x1b[Kkappa: nobody could\r\n`)
})

t.test('a terminal that can not write over a line shows none', async (t) => {
  const { seat, tell } = await waiting(t, { TERM: 'dumb' })
  tell(FRAME.local, {})
  t.match(await seat.ended, { code: 0 })
  t.equal(seat.text, 'done\r\n')
})

t.test('what is no terminal is told nothing', async (t) => {
  let told: unknown
  const directory = await fakeDaemon(t, {
    run: (connection, params) => {
      told = (params as { terminal: boolean }).terminal
      connection.tell(FRAME.local, {})
    }
  })
  t.match(await kappa(directory, ['run', '--wait', 'true']), { code: 0, stdout: '', stderr: '' })
  t.equal(told, false)
  t.match(
    await NATIVE_CLIENT.kappa(directory, ['run', '--wait', 'true']),
    { code: 0 },
    'and the native client serves it'
  )
})
