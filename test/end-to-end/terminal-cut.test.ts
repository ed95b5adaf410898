/** A job on a terminal, whose cable is cut: for a while, and for good. */

import t from 'tap'
import { lanAvailable } from '../lan.ts'
import { needs } from '../require.ts'
import { Seat, type Start } from '../terminals.ts'
import { emulatedLan, jobProcesses, KAPPA, longJob, pair, sees, TestPeer, until } from './peers.ts'

/** The bar is 14 s; as much again for a machine that is busy. */
const LOST_WITHIN_MS = 28_000
const TARGET = 1

const unavailable = lanAvailable()
if (needs(t, unavailable === undefined, unavailable ?? '')) {
  t.test('a terminal whose cable is cut', async (t) => {
    const lan = (await emulatedLan(t, { hosts: 2 }))!
    const config = '[guests]\nnice = 0'
    const [home, target] = (await Promise.all(
      ['home', 'target'].map((name, host) => TestPeer.start(t, { name, lan, host, config }))
    )) as [TestPeer, TestPeer]
    await pair(home, target)
    // A session of its own, as the terminal's program needs one.
    const onHost: Start = ([...argv], { env, stdio }) =>
      lan.spawn(0, ['setsid', ...argv], { env: env as Record<string, string>, stdio: stdio! })
    const again = `while :; do "$0" run --on target "$@"; status=$?; [ "$status" = 125 ] || exit "$status"; done`
    const seatOf = (script: string) =>
      new Seat(
        t,
        ['sh', '-c', `stty -g; (${again}); echo "<$?>"; stty -g`, KAPPA, 'sh', '-c', script],
        home.environment,
        onHost
      )

    await t.test('for 5 s', async (t) => {
      const seat = seatOf('stty raw -echo; printf up; exec dd bs=1 count=30 status=none')
      await seat.shows('up')
      const typed = (text: string) => {
        seat.type(text)
        return text
      }
      let expected = typed('before----')
      await until('it came back', () => seat.text.includes(expected))
      await lan.cut(TARGET, 'drop')
      expected = typed('meanwhile-')
      await until('it is said', () => seat.text.includes('kappa: the connection to target is lost; waiting for it'))
      await lan.mend(TARGET)
      await until('it is said', () => seat.text.includes('kappa: target is back'))
      await until('it came', () => seat.text.includes(expected))
      typed('after-----')
      t.match(await seat.ended, { code: 0 })
      const lines = seat.text.split('\r\n')
      t.match(seat.text, /after-----<0>\r\n/)
      t.equal(lines.at(-2), lines[0], 'the terminal is as it was')
      t.equal(seat.text.match(/before----|meanwhile-|after-----/g)?.length, 3, 'each came once')
    })

    await t.test('until its user has had enough', async (t) => {
      const { mark, argv } = longJob()
      const seat = seatOf(`stty raw -echo; ${argv.slice(2, 3)[0]!.replaceAll('"$1"', mark)}`)
      await seat.shows('up')
      await lan.cut(TARGET, 'drop')
      await until('it is said', () => seat.text.includes('waiting for it (Ctrl-C twice gives the job up)'))
      seat.type('\x03\x03')
      await seat.ended
      const lines = seat.text.split('\r\n')
      t.match(seat.text, /\r\nkappa: the job \w+ was given up, [^\n]+\r\n<123>\r\n/)
      t.equal(lines.at(-2), lines[0], 'the terminal is as it was')
      await lan.mend(TARGET)
      await until('nothing of the job is left', () => jobProcesses(mark).length === 0)
      await until('it is on record', async () => (await home.jobs())[0]!.state === 'exited')
      await Promise.all([sees(home, target), sees(target, home)])
    })

    await t.test('for good', async (t) => {
      const { mark, argv } = longJob()
      const seat = seatOf(`stty raw -echo; ${argv.slice(2, 3)[0]!.replaceAll('"$1"', mark)}`)
      await seat.shows('up')
      await lan.cut(TARGET, 'drop')
      await until('it is lost', () => seat.text.includes('<123>'), LOST_WITHIN_MS)
      await seat.ended
      const lines = seat.text.split('\r\n')
      t.match(seat.text, /\r\nkappa: the job \w+ on target is lost: [^\n]+\r\n<123>\r\n/)
      t.equal(lines.at(-2), lines[0], 'the terminal is as it was')
      await until('nothing of the job is left', () => jobProcesses(mark).length === 0)
    })
  })
}
