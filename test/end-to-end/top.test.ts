/** `kappa top` beside real peers: what it shows of them, and what its keys do. */

import t from 'tap'
import { Seat } from '../terminals.ts'
import { firstLine, KAPPA, pair, TestPeer, until } from './peers.ts'

const [laptop, desktop] = await Promise.all([
  TestPeer.start(t, { name: 'laptop' }),
  TestPeer.start(t, { name: 'desktop' })
])
await pair(desktop, laptop)

t.test('machines with their past, jobs and guests; why, kill and pause by keys', async (t) => {
  const job = await laptop.begun(desktop, ['sh', '-c', 'echo up; exec sleep 1000'])
  const seat = new Seat(t, ['sh', '-c', 'stty -g; "$0" top; echo "<$?>"; stty -g', KAPPA], {
    ...laptop.environment,
    TERM: 'xterm',
    LANG: 'C',
    NO_COLOR: '1'
  })
  await seat.shows(/ {2}desktop +[\d.]+ +[_.:=+*#-]+ +[\d.]+\/\d+ [ _.:=+*#-]+ 1\/\d+/)
  await seat.shows(/ {2}\w+ {2}running +on desktop +\d+ m?s {2}sh -c 'echo up; exec sleep 1000'/)
  const watched = desktop.spawn(['top', '--json'])
  const theirs = JSON.parse(await firstLine(watched))
  watched.kill()
  t.match(theirs, { status: { name: 'desktop', slots: { used: 1 } }, jobs: [], guests: [{ home: 'laptop' }] })
  t.match((await laptop.status()).neighbours, [{ roundTripMs: Number, traffic: { sent: Number, received: Number } }])
  seat.type('l')
  await seat.shows(/ {2}desktop +[\d.]+ ms .*\/ip4\/127\.0\.0\.1\/tcp/)
  seat.type('\x1b[Bw')
  await seat.shows('on desktop: desktop was asked for; running')
  seat.type('qk')
  await seat.shows('End it? y: by TERM')
  seat.type('y')
  t.match(await job.ended, { signal: 'SIGTERM' })
  await seat.shows('by SIGTERM')
  seat.type('py')
  await until('it is not lent', async () => (await laptop.status()).paused)
  await seat.shows('not lent: its owner paused lending')
  seat.type('p')
  await until('it is lent', async () => !(await laptop.status()).paused)
  await laptop.stopDaemon()
  await seat.shows('the daemon has ended; kappa status starts it')
  await laptop.startDaemon()
  const back = seat.text.length
  await seat.shows(/jobs?, 0 guests here, lends/, back)
  seat.type('q')
  t.match(await seat.ended, { code: 0 })
  const lines = seat.text.replaceAll(/\x1b\[[?\d;]*[A-Za-z]/g, '').split(/\r?\n/)
  t.equal(lines.at(-2), lines[0], 'the terminal is as before')
  t.equal(lines.at(-3), '<0>')
})
