/** The terminal of the client: given over to the job, and as it was before on every way out. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { ControlConnection } from '../../src/daemon/control.ts'
import { FRAME, jsonOf, type RunParams } from '../../src/daemon/control-codec.ts'
import { dataHeader, eofFrame, type Frame, STREAM } from '../../src/protocols/exec/frames.ts'
import { Seat } from '../terminals.ts'
import { type Client, fakeDaemon, testClients } from './fake-daemon.ts'

/** What a job elsewhere has got of its terminal, and how it answers. */
class There {
  readonly connection: ControlConnection
  readonly params: RunParams
  keys = ''
  keysEnded = false
  stdin = ''
  readonly signals: number[] = []
  readonly sizes: unknown[] = []
  gone = false
  #shown = 0
  readonly #old: boolean

  /** `old`: of a daemon that knows no terminals. */
  constructor(connection: ControlConnection, params: RunParams, old: boolean) {
    this.connection = connection
    this.params = params
    this.#old = old
    connection.onGone(() => {
      this.gone = true
    })
    connection.onFrame((frame) => this.#handle(frame))
    connection.tell(FRAME.started, { kind: 'own', ...(params.pty && !old ? { terminal: params.pty.descriptors } : {}) })
  }

  show(text: string): void {
    const bytes = Buffer.from(text, 'latin1')
    this.connection.send(dataHeader(0, STREAM.screen, this.#shown), bytes)
    this.#shown += bytes.length
  }

  stop(number = 20): void {
    this.connection.tell(FRAME.stopped, { number })
  }

  end(exitCode: number | null = 0, signal: string | null = null): void {
    for (const stream of [STREAM.stdout, STREAM.stderr]) this.connection.send(eofFrame(0, stream, 0))
    if (this.params.pty && !this.#old) this.connection.send(eofFrame(0, STREAM.screen, this.#shown))
    this.connection.tell(FRAME.end, { exitCode, signal })
  }

  #handle(frame: Frame): void {
    if (frame.type === FRAME.signal) this.signals.push((jsonOf(frame) as { number: number }).number)
    if (frame.type === FRAME.resize) this.sizes.push(jsonOf(frame))
    if ('offset' in frame && frame.stream === STREAM.keys && frame.type === FRAME.eof) this.keysEnded = true
    if (!('bytes' in frame)) return
    if (frame.stream === STREAM.keys) this.keys += frame.bytes.toString('latin1')
    else this.stdin += frame.bytes.toString('latin1')
  }
}

const RAW = /-icanon[\s\S]*-opost|-opost[\s\S]*-icanon/

/** A shell on a terminal that runs a script with "$@" as the client's words, and a daemon whose jobs are `There`. */
async function setUp(
  t: Test,
  client: Client,
  script: string,
  onJob: (job: There) => void = () => undefined,
  old = false
) {
  const jobs: There[] = []
  const directory = await fakeDaemon(t, {
    run: (connection, params) => {
      const job = new There(connection, params as RunParams, old)
      jobs.push(job)
      onJob(job)
    }
  })
  const path = join(directory, 'script')
  writeFileSync(path, script)
  const command = ['sh', path, ...client.command(directory), 'run']
  const seat = new Seat(t, command, { ...client.environment(directory), TERM: 'dumb' })
  const job = async (index = 0) => {
    await seat.until('a job', () => jobs[index] !== undefined)
    return jobs[index]!
  }
  return { seat, job, path }
}

testClients('keys and screen pass as they are; afterwards the terminal is as it was', async (t, client) => {
  const { seat, job } = await setUp(t, client, `stty -ixon; stty -g; "$@" x; echo "<$?>"; stty -g`)
  const there = await job()
  t.match(there.params.pty, { descriptors: 7, rows: 24, columns: 80 })
  t.equal(there.params.pty!.modes.length, 20)
  t.equal(there.params.pty!.modes[0]! & 0x400, 0, 'ixon was taken out')
  there.show('up')
  await seat.shows('up')
  const every = String.fromCharCode(...Array.from({ length: 256 }, (_, byte) => byte))
  // Not before it is given over: what comes first is read in lines.
  await seat.typeUntil('\u0003', () => there.keys.includes('\u0003'))
  const before = there.keys.length
  seat.type(every)
  await seat.until('all keys', () => there.keys.length >= before + 256)
  t.ok(there.keys.endsWith(every))
  t.strictSame(there.signals, [], 'none of them is a signal here')
  const shown = seat.text.length
  there.show(every)
  await seat.until('the screen', () => seat.text.length >= shown + 256)
  t.equal(seat.text.slice(shown), every, 'nothing is echoed or changed')
  there.end(7)
  t.match(await seat.ended, { code: 0 })
  const [modes, ...rest] = seat.text.split('\r\n')
  t.equal(rest.at(-2), modes)
  t.match(seat.text, /<7>\r\n/)
})

testClients('which descriptors are the terminal', async (t, client) => {
  const cases: [string, number | undefined][] = [
    ['"$@" x', 7],
    ['"$@" x 2>/dev/null', 3],
    ['echo in | "$@" x', 6],
    ['"$@" x </dev/null', undefined],
    ['"$@" x </dev/tty', 7],
    ['MAKEFLAGS="s -j3 --jobserver-auth=3,4" "$@" x', undefined],
    ['MAKEFLAGS=s "$@" x', 7],
    ['"$@" x >/dev/null', 5],
    ['echo in | "$@" x >/dev/null', 4],
    ['"$@" x 2>/dev/null >&2', 1],
    ['"$@" x | cat', undefined],
    ['"$@" -T x', undefined],
    ['"$@" -t x | cat', 7],
    ['"$@" -t x </dev/null', 7],
    ['"$@" x </dev/null 2>/dev/null | cat', undefined]
  ]
  for (const [line, descriptors] of cases) {
    const { seat, job } = await setUp(t, client, `${line}\nexit 0`, (there) => there.end())
    t.equal((await job()).params.pty?.descriptors, descriptors, line)
    t.match(await seat.ended, { code: 0 })
  }
})

testClients('a pipe into it stays one, and keys come from the terminal', async (t, client) => {
  const { seat, job } = await setUp(t, client, 'echo data | "$@" less 2>/dev/null; exit')
  const there = await job()
  t.equal(there.params.pty!.descriptors, 2)
  await seat.typeUntil('q', () => there.keys.includes('q'))
  await seat.until('data', () => there.stdin === 'data\n')
  there.end()
  await seat.ended
})

testClients('-t without a terminal: keys are stdin to its end, stdout is the screen', async (t, client) => {
  let there: There | undefined
  const directory = await fakeDaemon(t, {
    run: (connection, params) => {
      there = new There(connection, params as RunParams, false)
      if (there.params.pty) there.show('shown')
      const look = setInterval(() => {
        if (there!.params.pty && !there!.keysEnded) return
        clearInterval(look)
        there!.end(3)
      }, 5)
    }
  })
  t.match(await client.kappa(directory, ['run', '-t', 'x'], 'typed'), { code: 3, stdout: 'shown', stderr: '' })
  t.equal(there!.keys, 'typed')
  t.strictSame(there!.params.pty, { descriptors: 7, rows: 24, columns: 80, modes: [] })
  t.match(await client.kappa(directory, ['run', 'x'], ''), { code: 3 })
  t.equal(there!.params.pty, undefined)
})

testClients('a new size is told, once', async (t, client) => {
  const { seat, job } = await setUp(t, client, '"$@" x; exit')
  const there = await job()
  await seat.typeUntil('k', () => there.keys.includes('k'))
  seat.resize(50, 132)
  await seat.until('a size', () => there.sizes.length > 0)
  seat.resize(10, 20)
  await seat.until('a size', () => there.sizes.length > 1)
  t.strictSame(there.sizes, [
    { rows: 50, columns: 132 },
    { rows: 10, columns: 20 }
  ])
  there.end()
  await seat.ended
})

testClients('a job that was stopped stops the client, which a shell wakes', async (t, client) => {
  const { seat, job } = await setUp(t, client, 'exec "$@" x')
  const there = await job()
  for (let round = 1; round <= 3; round++) {
    await seat.typeUntil('k', () => there.keys.endsWith('k'.repeat(round)))
    there.stop()
    await seat.until('stopped', () => seat.stopped.length === round)
    t.equal(seat.stopped.at(-1), 20)
    seat.signal(18)
    await seat.until('it goes on', () => there.signals.filter((number) => number === 18).length === round)
  }
  // From outside: the job is asked, then the client stops whether it has or not.
  seat.signal(20)
  await seat.until('it is asked', () => there.signals.at(-1) === 20)
  await seat.until('stopped', () => seat.stopped.length === 4)
  seat.signal(18)
  await seat.until('it goes on', () => there.signals.at(-1) === 18)
  there.end(5)
  t.match(await seat.ended, { code: 5 })
})

testClients('where no shell could wake it, a job that was stopped goes on at once', async (t, client) => {
  // The first process of a session: the kernel doesn't stop it.
  const { seat, job } = await setUp(t, client, 'script -qec "$* x" /dev/null; exit')
  const there = await job()
  await seat.typeUntil('k', () => there.keys.includes('k'))
  there.stop()
  await seat.until('it goes on', () => there.signals.includes(18))
  const before = there.keys.length
  await seat.typeUntil('\u0003', () => there.keys.includes('\u0003', before))
  t.strictSame(there.signals, [18])
  t.strictSame(seat.stopped, [])
  there.end()
  await seat.ended
})

testClients('while it is stopped the terminal is as it was; then it is raw again', async (t, client) => {
  const script = `set -m; stty -g; "$@" x; stty -g; fg >/dev/null; echo "<$?>"; stty -g`
  const { seat, job } = await setUp(t, client, script)
  const there = await job()
  await seat.typeUntil('k', () => there.keys.includes('k'))
  const shown = seat.text.length
  there.stop()
  await seat.until('it goes on', () => there.signals.includes(18))
  const keys = there.keys.length
  await seat.typeUntil('\u0003', () => there.keys.includes('\u0003', keys))
  there.end(0)
  await seat.ended
  const modes = seat.text.slice(0, seat.text.indexOf('\r\n'))
  t.ok(seat.text.slice(shown).includes(modes), 'while it was stopped')
  t.ok(seat.text.endsWith(`<0>\r\n${modes}\r\n`), 'and afterwards')
})

testClients('the background: nothing of the terminal is taken until it comes to the fore', async (t, client) => {
  const script = `set -m; "$@" x & read line; echo "[$line]"; stty -a | grep -c -- -icanon; fg >/dev/null; echo "<$?>"`
  const { seat, job } = await setUp(t, client, script)
  const there = await job()
  t.strictSame(there.params.pty!.modes, [], 'which are not its own')
  there.show('from behind\r\n')
  await seat.shows('from behind')
  seat.type('a line\n')
  await seat.shows('[a line]\r\n0\r\n')
  t.equal(there.keys, '')
  await seat.typeUntil('k', () => there.keys.includes('k'))
  there.end(0)
  await seat.shows('<0>')
})

testClients('two on one terminal: the second waits until the first has left it', async (t, client) => {
  // Without job control both are in the foreground.
  const script = '"$@" first </dev/tty & until [ -e "$0.go" ]; do sleep 0.01; done; "$@" second; wait; stty -a'
  const { seat, job, path } = await setUp(t, client, script)
  const first = await job(0)
  await seat.typeUntil('1', () => first.keys.includes('1'))
  writeFileSync(`${path}.go`, '')
  const second = await job(1)
  const before = first.keys.length
  second.show('both may write')
  await seat.shows('both may write')
  seat.type('22')
  await seat.until('the first has it', () => first.keys.length >= before + 2)
  t.equal(second.keys, '')
  first.end()
  await seat.typeUntil('3', () => second.keys.includes('3'))
  second.end()
  await seat.ended
  t.notMatch(seat.text, RAW)
  t.match(seat.text, / icanon/)
})

testClients('whatever ends it, the terminal is as it was', async (t, client) => {
  const ways: Record<string, { end: (there: There, seat: Seat) => void; status: number; said?: RegExp }> = {
    'the daemon dies': {
      end: (there) => there.connection.end(),
      status: 123,
      said: /kappa: the daemon here ended while the job was with it; whether the job ran isn't known \(kappa ps\)\r\n/
    },
    'the daemon says what is wrong': {
      end: (there) => there.connection.send(Buffer.from([17, 0, 0, 0, 0, 0, 1])),
      status: 123,
      said: /kappa: what the daemon says is wrong/
    },
    'the target is lost': {
      end: (there) => there.connection.tell(FRAME.end, { exitCode: null, signal: null, message: 'lost', status: 123 }),
      status: 123,
      said: /kappa: lost\r\n/
    },
    'the job dies of a signal': { end: (there) => there.end(null, 'SIGSEGV'), status: 139 },
    'the job dies of INT': { end: (there) => there.end(null, 'SIGINT'), status: 130 },
    'a signal that is not for the job': { end: (_, seat) => seat.signal(14), status: 142 },
    'a signal that is': {
      end: (there) => {
        const look = setInterval(() => {
          if (!there.signals.includes(15)) return
          clearInterval(look)
          there.end(null, 'SIGTERM')
        }, 5)
      },
      status: 143
    }
  }
  for (const [what, { end, status, said }] of Object.entries(ways)) {
    // A signal is for the whole group: the shell around it looks on.
    const script = `trap : ALRM TERM; stty -g; (trap - ALRM TERM; exec "$@" x); echo "<$?>"; stty -g; exit 0`
    const { seat, job } = await setUp(t, client, script)
    const there = await job()
    await seat.typeUntil('k', () => there.keys.includes('k'))
    end(there, seat)
    if (what === 'a signal that is') seat.signal(15)
    t.match(await seat.ended, { code: 0 }, what)
    const lines = seat.text.split('\r\n')
    t.equal(lines.at(-2), lines[0], `${what}: ${JSON.stringify(seat.text)}`)
    t.match(seat.text, `<${status}>\r\n`, what)
    if (said) t.match(seat.text, said, what)
  }
})

testClients('what is said meanwhile begins and ends its line', async (t, client) => {
  const { seat, job } = await setUp(t, client, '"$@" x; exit')
  const there = await job()
  await seat.typeUntil('k', () => there.keys.includes('k'))
  there.connection.tell(FRAME.notice, { text: 'the connection is lost' })
  await seat.shows('kappa: the connection is lost\r\n')
  there.show('in the middle')
  await seat.shows('in the middle')
  there.connection.tell(FRAME.notice, { text: 'it is back' })
  await seat.shows('in the middle\r\nkappa: it is back\r\n')
  there.end()
  await seat.ended
})

testClients('a daemon that knows no terminals: the job has pipes, as ever', async (t, client) => {
  const { seat, job } = await setUp(t, client, 'stty -g; "$@" x; echo "<$?>"; exit', () => undefined, true)
  const there = await job()
  const modes = seat.text.slice(0, seat.text.indexOf('\r\n'))
  seat.type('a line\n')
  await seat.until('stdin', () => there.stdin === 'a line\n')
  there.end()
  await seat.shows('<0>')
  t.ok(modes.length > 0)
})
