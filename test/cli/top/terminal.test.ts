/** `kappa top` on a real terminal, and what it says to a daemon: whatever ends it, the terminal is as it was. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type ControlHandler, ControlServer } from '../../../src/daemon/control.ts'
import { socketPath } from '../../../src/daemon/directories.ts'
import { KappaError } from '../../../src/errors.ts'
import { Seat } from '../../terminals.ts'
import { kappa, startKappa } from '../fake-daemon.ts'
import { figures, job, news, past, ramp, status } from './news.ts'

const KAPPA = join(import.meta.dirname, '../../../scripts/kappa')
const ENTERED = '\x1b[?1049h'

/** A daemon that can go away and come back. */
class Peer {
  readonly directory: string
  readonly asked: [string, unknown][] = []
  /** What it says instead of what it usually says. */
  readonly says: Record<string, () => unknown> = {}
  #server: ControlServer | undefined

  private constructor(directory: string) {
    this.directory = directory
  }

  static async start(t: Test): Promise<Peer> {
    const directory = mkdtempSync(join(tmpdir(), 'kappa-'))
    const peer = new Peer(directory)
    t.teardown(async () => {
      await peer.stop()
      rmSync(directory, { recursive: true, force: true })
    })
    await peer.listen()
    return peer
  }

  async listen(): Promise<void> {
    const { status: usual, jobs, figures: past } = news()
    const answers: Record<string, () => unknown> = {
      status: () => usual,
      ps: () => jobs,
      figures: () => past,
      why: () => ({ ...jobs[0]!, ...{ reason: 'nas is 2.1 times better', candidates: [], hops: ['nas'] }, ...NO_MORE }),
      kill: () => ({ id: 'j7fa', waitsFor: null }),
      pause: () => ({ until: null, ended: 0, running: 0 }),
      resume: () => ({})
    }
    const handlers = Object.keys(answers).map((command): [string, ControlHandler] => [
      command,
      (_, params) => {
        if (command === 'ps' && (params as { guests?: boolean }).guests) return []
        if (!['status', 'ps', 'figures'].includes(command)) this.asked.push([command, params])
        return (this.says[command] ?? answers[command]!)()
      }
    ])
    const log = { info: () => undefined, warn: () => undefined, error: () => undefined }
    this.#server = new ControlServer(Object.fromEntries(handlers), log, () => undefined)
    await this.#server.listen(socketPath({ KAPPA_DIR: this.directory }))
  }

  async stop(): Promise<void> {
    await this.#server?.close()
    this.#server = undefined
  }

  /** A shell on a terminal; in its script "$@" is `kappa top`, that looks often. */
  seat(t: Test, script = 'exec "$@"', env: Record<string, string> = {}): Seat {
    const path = join(this.directory, 'script')
    writeFileSync(path, script)
    const usual = { HOME: this.directory, KAPPA_DIR: this.directory, TERM: 'xterm', LANG: 'C.UTF-8', TZ: 'UTC' }
    const command = ['sh', path, KAPPA, 'top', '--every', '0.2s']
    return new Seat(t, command, { PATH: process.env.PATH, ...usual, ...env })
  }
}

const NO_MORE = { refusals: [], timesMs: {}, error: null }

/** Prints the terminal's settings before and after, and the exit status. */
const AROUND = 'stty -g; "$@"; echo "<$?>"; stty -g; exit 0'

/** The lines without what is no text. */
function linesOf(text: string): string[] {
  return text.replaceAll(/\x1b\[[?\d;]*[A-Za-z]/g, '').split(/\r?\n/)
}

function settingsStay(t: Test, seat: Seat, what: string): void {
  const lines = linesOf(seat.text)
  t.equal(lines.at(-2), lines[0], `${what}: the settings are as before`)
  const last = (sequence: string) => seat.text.lastIndexOf(sequence)
  t.ok(last(ENTERED) >= 0 && last('\x1b[?1049l') > last(ENTERED), `${what}: so is the screen`)
  t.ok(last('\x1b[?25h') > last('\x1b[?25l'), `${what}: there is a cursor`)
  t.ok(last('\x1b[?2004l') > last('\x1b[?2004h'), `${what}: what is pasted is not marked`)
  t.ok(last('\x1b[?7h') > last('\x1b[?7l'), `${what}: lines go on`)
}

t.test('keys, and the way out', async (t) => {
  const peer = await Peer.start(t)
  const seat = peer.seat(t, AROUND)
  await seat.shows(/j7fa {2}.*make -j8/)
  t.match(seat.text, '\x1b[1mkappa top  desktop')
  t.match(seat.text, '\x1b[32m')
  seat.type('\x1b[B')
  await seat.shows('> j7fa')
  seat.type('w')
  await seat.shows('on nas: nas is 2.1 times better; running')
  seat.type('\x1b')
  await seat.until('back', () => seat.text.lastIndexOf('MACHINE') > seat.text.lastIndexOf('2.1 times'))
  seat.type('k')
  await seat.shows('End it? y: by TERM')
  seat.type('y')
  await seat.shows('j7fa is told to end')
  seat.type('py')
  await seat.shows('this machine is not lent')
  t.strictSame(peer.asked, [
    ['why', { job: 'j7fa' }],
    ['kill', { job: 'j7fa', signal: 15 }],
    ['pause', {}]
  ])
  peer.says.kill = () => {
    throw new Error('it will not')
  }
  seat.type('ky')
  await seat.shows('it will not')
  seat.type('q')
  t.match(await seat.ended, { code: 0 })
  t.match(seat.text, '\x1b[?1049l<0>\r\n')
  settingsStay(t, seat, 'q')
})

t.test('whatever ends it, the terminal is as it was', async (t) => {
  const peer = await Peer.start(t)
  const ways: Record<string, { end: (seat: Seat) => void; shown: string | RegExp }> = {
    'Ctrl-C': { end: (seat) => seat.type('\x03'), shown: '<0>\r\n' },
    TERM: { end: (seat) => seat.signal(15), shown: '<143>\r\n' },
    HUP: { end: (seat) => seat.signal(1), shown: '<129>\r\n' },
    INT: { end: (seat) => seat.signal(2), shown: '<130>\r\n' },
    QUIT: { end: (seat) => seat.signal(3), shown: '<131>\r\n' },
    USR2: { end: (seat) => seat.signal(12), shown: '<140>\r\n' },
    'a bug': {
      end: () => {
        peer.says.status = () => ({ name: 'broken' })
      },
      shown: /1049l[\s\S]*kappa: this is a bug: TypeError[\s\S]*<1>\r\n/
    }
  }
  for (const [what, { end, shown }] of Object.entries(ways)) {
    // Signals are for the whole group: the shell around it looks on.
    const seat = peer.seat(t, `trap : HUP INT QUIT TERM USR2; ulimit -c 0; ${AROUND}`)
    await seat.shows('make -j8')
    end(seat)
    t.match(await seat.ended, { code: 0 }, what)
    t.match(seat.text, shown, what)
    settingsStay(t, seat, what)
  }
})

t.test('Ctrl-Z gives the terminal back, fg takes it again', async (t) => {
  const peer = await Peer.start(t)
  const seat = peer.seat(
    t,
    `set -m; stty -g; "$@"; stty -g; read -r line; echo "[$line]"; fg >/dev/null; echo "<$?>"; stty -g`
  )
  await seat.shows('make -j8')
  const before = seat.text.length
  seat.type('\x1a')
  await seat.shows('\x1b[?1049l', before)
  // It doesn't take what is typed for others.
  seat.type('q for the shell\n')
  await seat.shows('[q for the shell]\r\n')
  const [modes] = linesOf(seat.text)
  t.ok(linesOf(seat.text.slice(before)).includes(modes!), 'meanwhile the settings are those of before')
  const again = seat.text.lastIndexOf('[q for the shell]')
  await seat.shows('make -j8', again)
  t.ok(seat.text.slice(again).includes(ENTERED))
  seat.type('q')
  await seat.ended
  settingsStay(t, seat, 'fg')
})

t.test('in the background it waits to be brought to the fore', async (t) => {
  const peer = await Peer.start(t)
  const script =
    'set -m; stty -g; "$@" & until grep -q "^State:.T" /proc/$!/status; do sleep 0.05; done; echo up; read -r line; fg >/dev/null; stty -g'
  const seat = peer.seat(t, script)
  await seat.shows('up\r\n')
  t.notMatch(seat.text, ENTERED)
  seat.type('\n')
  await seat.shows('make -j8')
  seat.type('q')
  await seat.ended
  settingsStay(t, seat, 'from the background')
})

t.test('the daemon goes away and comes back', async (t) => {
  const peer = await Peer.start(t)
  const seat = peer.seat(t)
  await seat.shows('make -j8')
  await peer.stop()
  await seat.shows('the daemon has ended; kappa status starts it; this is what it said at ')
  peer.says.ps = () => [job('new1', { argv: ['back'] })]
  await peer.listen()
  await seat.shows(/new1 .*back/)
  seat.type('q')
  t.match(await seat.ended, { code: 0 })
})

t.test('another size', async (t) => {
  const peer = await Peer.start(t)
  const seat = peer.seat(t)
  await seat.shows('make -j8')
  const before = seat.text.length
  seat.resize(6, 30)
  await seat.shows(/\x1b\[2J.*\x1b\[6;1H.*\? help {2}q quit {2}Enter why {5}/s, before)
  const lines = [...seat.text.slice(before).matchAll(/\x1b\[(\d+);1H/g)].map(([, line]) => Number(line))
  t.equal(Math.max(...lines), 6)
  seat.type('q')
  await seat.ended
})

t.test('without colours, and without anything but ASCII', async (t) => {
  const peer = await Peer.start(t)
  peer.says.figures = () => past(figures('desktop', ramp(20)))
  const bare = peer.seat(t, undefined, { NO_COLOR: '1', LANG: 'C' })
  await bare.shows('make -j8')
  bare.type('q')
  t.match(await bare.ended, { code: 0 })
  const shown = bare.text.replaceAll(/\x1b\[\?\d+[hl]|\x1b\[\d*;?\d*[HJK]/g, '')
  t.match(shown, /^[\x20-\x7e\r\n\x1b]*$/)
  t.notMatch(shown.replaceAll('\x1b[0m', ''), '\x1b')
  t.match(shown, /desktop +312 [_.:\-=+*#]+/)
})

t.test('a dumb terminal and none get it all at once, and nothing but text', async (t) => {
  const peer = await Peer.start(t)
  const dumb = peer.seat(t, AROUND, { TERM: 'dumb' })
  t.match(await dumb.ended, { code: 0 })
  t.notMatch(dumb.text, '\x1b')
  t.match(dumb.text, /kappa top {2}desktop[\s\S]*MACHINE[\s\S]*make -j8\r\n<0>/)
  const { stdout, stderr, code } = await kappa(peer.directory, ['top'], '', {
    TERM: 'xterm',
    LANG: 'C.UTF-8',
    COLUMNS: '70'
  })
  t.match({ stderr, code }, { stderr: '', code: 0 })
  t.strictSame(stdout.split('\n').slice(1), [
    '2 machines, 1 job, 0 guests here, lends 8 slots',
    '  MACHINE  METRIC last 11 s       BUSY last 11 s    SLOTS last 11 s',
    '  desktop     312 ▄▅▅▅▆▆▇▇▇██    0.2/4 ▇▆▄▄▃▃▃▂▂▂▁    1/8 ▂▂▁▁▁▁▁▁▁▁▁',
    '  nas          80         ▂▂▂    4.2/4         ███    1/4         ▂▂▂',
    '',
    '  JOB   STATE        MACHINE     TIME  COMMAND',
    stdout.split('\n')[7]!,
    ''
  ])
  t.match(stdout.split('\n')[7], /^ {2}j7fa {2}running {6}on nas .* make -j8$/)
})

t.test('one object for each look, until nobody reads', async (t) => {
  const peer = await Peer.start(t)
  const child = startKappa(peer.directory, ['top', '--json', '--every', '0.1s'])
  let text = ''
  child.stdout!.on('data', (bytes) => (text += bytes))
  const until = async (holds: () => boolean) => {
    const deadline = performance.now() + 20_000
    while (!holds() && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 10))
  }
  const objects = () =>
    text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line))
  await until(() => objects().length >= 2)
  const { status: usual, jobs } = news()
  const { at, ...first } = objects()[0]
  t.strictSame(first, { status: usual, jobs, guests: [] })
  t.ok(Math.abs(at - Date.now()) < 60_000)
  await peer.stop()
  await until(() => objects().at(-1).error !== undefined)
  t.match(objects().at(-1), { at: Number, error: /^the daemon has ended/ })
  await peer.listen()
  await until(() => objects().at(-1).status !== undefined)
  t.match(objects().at(-1).status, { name: 'desktop' })
  const ended = new Promise((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })))
  child.stdout!.destroy()
  t.strictSame(await ended, { code: 141, signal: null })
})

t.test('a daemon that is too old to keep figures', async (t) => {
  const peer = await Peer.start(t)
  peer.says.figures = () => {
    throw new KappaError('UsageError', "the daemon doesn't know the command figures; is it older?")
  }
  peer.says.status = () => status({ name: 'old' })
  const { stdout, code } = await kappa(peer.directory, ['top'], '', { LANG: 'C.UTF-8' })
  t.equal(code, 0)
  t.match(stdout, /^kappa top {2}old/)
})

t.test('wrong words', async (t) => {
  const peer = await Peer.start(t)
  for (const every of ['0', 'soon', '2d', '0.01s'])
    t.match(await kappa(peer.directory, ['top', '--every', every]), {
      code: 2,
      stderr: `kappa: top: --every can't be "${every}": write 0.5s, 2s or 1m, at most an hour; see: kappa top --help\n`
    })
})
