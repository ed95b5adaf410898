/** A job of `home` at its target, which waits for staged files before its process stands. */

import { mock } from 'node:test'
import type { JobEnd } from '../../src/core/types.ts'
import { KappaError } from '../../src/errors.ts'
import { decodeMessage, encodeMessage } from '../../src/protocols/exec/codec.ts'
import {
  DETACHED_SILENCE_MS,
  HOLD_MS,
  KILL_AFTER_MS,
  LEASE_MS,
  LOST_AFTER_MS
} from '../../src/protocols/exec/constants.ts'
import {
  closeFrame,
  dataHeader,
  eofFrame,
  FRAME,
  frameHeader,
  parseFrame,
  STREAM
} from '../../src/protocols/exec/frames.ts'
import type { FrameChannel } from '../../src/protocols/exec/link.ts'
import { ExecTarget, type JobRecording, type LaunchRequest } from '../../src/protocols/exec/target.ts'
import { FakeJob, settled } from '../protocols/exec/wires.ts'
import type { Play } from './play.ts'

const TICKET = '0'.repeat(31).concat('1')
const CHANNEL = 1
const TICK_MS = 500
const NAMES = new Map(Object.entries(FRAME).map(([name, number]) => [number as number, name]))
const SIGNALS = new Map([
  [15, 'TERM'],
  [9, 'KILL']
])

/** Looks at the lease are made by hand. */
mock.timers.enable({ apis: ['setInterval'] })

class Channel implements FrameChannel {
  readonly sent: Buffer[] = []
  #handler: (frame: Uint8Array) => void = () => undefined
  #end: (error?: Error) => void = () => undefined

  send(...parts: Uint8Array[]): boolean {
    this.sent.push(Buffer.concat(parts))
    return true
  }

  async drained(): Promise<void> {}

  onFrame(handler: (frame: Uint8Array) => void, onEnd: (error?: Error) => void): void {
    this.#handler = handler
    this.#end = onEnd
  }

  receive(...parts: Uint8Array[]): void {
    this.#handler(Buffer.concat(parts))
  }

  async close(): Promise<void> {}

  abort(error: Error): void {
    this.#end(error)
  }
}

/** Notes what is done to it while it lives. */
class NotedJob extends FakeJob {
  readonly notes: string[] = []
  #over = false

  constructor() {
    super()
    this.stdin.on('data', () => this.notes.push('write'))
    this.stdin.on('end', () => this.notes.push('close stdin'))
    this.stdout.on('close', () => this.#over || this.notes.push('break its pipe'))
  }

  override signal(number: number): void {
    if (!this.#over) this.notes.push(SIGNALS.get(number) ?? 'signal')
  }

  override end(end?: JobEnd): void {
    this.#over = true
    super.end(end)
  }

  override kill(): void {
    if (!this.#over) this.notes.push('KILL')
    super.kill()
  }
}

class World {
  readonly target: ExecTarget
  readonly link = new Channel()
  readonly other = new Channel()
  readonly job = new NotedJob()
  #now = 1_000
  #stands = false
  #fail: (error: Error) => void = () => undefined

  constructor(detached = false) {
    this.target = new ExecTarget({
      epoch: 7,
      terminals: false,
      now: () => this.#now,
      startTicket: () => ({ accepted: true, kind: 'own', vouchers: [], labels: [] }),
      resolveTicket: (from) =>
        from === 'home' ? { state: 'ended', end: { exitCode: 0, signal: null } } : { state: 'void' },
      forgetTicket: () => undefined,
      launch: (request) => this.#launch(request),
      record: () => this.#record(),
      jobStarted: () => undefined,
      jobEnded: () => undefined,
      log: (line) => console.error(line)
    })
    this.target.serve('home', this.link)
    this.target.serve('another', this.other)
    const command = {
      ticket: TICKET,
      job: 'a1',
      argv: [Buffer.from('true')],
      env: [],
      umask: 0o22,
      nice: 0,
      limits: []
    }
    const rest = { home: 'home', mode: 'staged' as const, ins: true, outs: [], outAlways: false }
    this.link.receive(...encodeMessage('start', CHANNEL, { ...command, ...rest, detached }))
  }

  #record(): JobRecording {
    const output = { append: async ({ length }: Uint8Array) => ({ kept: length }), read: async () => new Uint8Array() }
    const remove = async () => void this.job.notes.push('remove what it wrote')
    return { stdout: output, stderr: output, remove }
  }

  async #launch({ ins }: LaunchRequest): Promise<NotedJob> {
    const failed = new Promise<never>((_, reject) => {
      this.#fail = reject
    })
    await Promise.race([failed, drain(ins!)])
    this.#stands = true
    return this.job
  }

  async do(act: (it: World) => void): Promise<string[]> {
    await settled()
    const [sent, noted] = [this.link.sent.length, this.job.notes.length]
    const answered = this.other.sent.length
    act(this)
    await settled()
    const frames = [...this.link.sent.slice(sent), ...this.other.sent.slice(answered)].map(word)
    return [...new Set([...this.job.notes.slice(noted), ...frames])]
  }

  send(...parts: Uint8Array[]): void {
    this.link.receive(...parts)
  }

  fail(): void {
    this.#fail(new KappaError('SandboxError', 'there is no sandbox'))
  }

  /** The clock goes on, and the lease is looked at. */
  pass(ms: number): void {
    this.#now += ms
    mock.timers.tick(TICK_MS)
  }

  get state(): string {
    if (this.target.held === 0) return 'gone'
    if (this.target.running === 0) return 'flushing'
    return this.#stands ? 'running' : 'staging'
  }
}

async function drain(ins: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const _ of ins) {
    // Nothing is made of it.
  }
}

function word(bytes: Buffer): string {
  const frame = parseFrame(bytes)!
  const name = NAMES.get(frame.type) ?? String(frame.type)
  return name === 'resolved' && 'payload' in frame
    ? `resolved: ${decodeMessage('resolved', frame.payload).outcome.state}`
    : name
}

type Act = (it: World) => void
const STANDS: Act = (it) => it.send(eofFrame(CHANNEL, STREAM.ins, 0))
const ENDS: Act = (it) => it.job.end()
const FORGET: Act = (it) => it.send(frameHeader(FRAME.forget, CHANNEL))
const HOLD: Act = (it) => it.send(frameHeader(FRAME.hold, 0))
const RENEW: Act = (it) => it.send(frameHeader(FRAME.renew, 0))
const attach = () => encodeMessage('attach', CHANNEL, { ticket: TICKET, received: [0, 0, 0] })
const ATTACH: Act = (it) => it.send(...attach())
const signal =
  (number: number): Act =>
  (it) =>
    it.send(...encodeMessage('signal', CHANNEL, { number }))

async function played(made: World, acts: Act[]): Promise<World> {
  for (const act of acts) await made.do(act)
  return made
}

const after = (...acts: Act[]) => played(new World(), acts)
const detachedAfter = (...acts: Act[]) => played(new World(true), acts)

const by = (act: Act) => (it: World) => it.do(act)

/** What the last of several does. */
const last =
  (...acts: Act[]) =>
  async (it: World): Promise<string[]> => {
    let effects: string[] = []
    for (const act of acts) effects = await it.do(act)
    return effects
  }

export const TARGET_JOBS: Play<World> = {
  states: {
    staging: () => after(),
    running: () => after(STANDS),
    flushing: () => after(STANDS, ENDS),
    gone: () => after(STANDS, ENDS, FORGET)
  },
  events: {
    'the process stands': by(STANDS),
    "it can't be started": by((it) => it.fail()),
    'data on stdin': by((it) => it.send(dataHeader(CHANNEL, STREAM.stdin, 0), Buffer.from('x'))),
    'eof on stdin': by((it) => it.send(eofFrame(CHANNEL, STREAM.stdin, 0))),
    'close of an output': by((it) => it.send(closeFrame(CHANNEL, STREAM.stdout))),
    'a signal': by(signal(10)),
    'a signal that ends': by(signal(15)),
    'the process ends': by((it) => (it.state === 'staging' ? undefined : it.job.end())),
    'attach by its home': by(ATTACH),
    'attach by another': by((it) => it.other.receive(...attach())),
    forget: by(FORGET),
    'the stream ends': by((it) => it.link.abort(new Error('cut'))),
    '8 s without a word of home': by((it) => it.pass(LEASE_MS)),
    '12 s without a word of home': by((it) => it.pass(LEASE_MS + KILL_AFTER_MS)),
    '26 s without a word of home': by((it) => it.pass(2 * LOST_AFTER_MS + 1)),
    hold: by(HOLD),
    '26 s without a word of home, after a hold': last(HOLD, (it) => it.pass(2 * LOST_AFTER_MS + 1)),
    '8 h without a word of home, after a hold': last(HOLD, (it) => it.pass(HOLD_MS)),
    '8 s without a word of home, after hold and renew': last(HOLD, RENEW, (it) => it.pass(LEASE_MS)),
    '8 s without a word of home, after hold and attach': last(HOLD, ATTACH, (it) => it.pass(LEASE_MS)),
    "a voucher's right or the pairing ends": by((it) => it.target.endJobs([TICKET], 'the pairing was ended'))
  },
  stateOf: (it) => it.state
}

/** Likewise, of a detached job. */
export const DETACHED_TARGET_JOBS: Play<World> = {
  states: {
    staging: () => detachedAfter(),
    running: () => detachedAfter(STANDS),
    flushing: () => detachedAfter(STANDS, ENDS),
    gone: () => detachedAfter(STANDS, ENDS, FORGET)
  },
  events: {
    'the process stands': by(STANDS),
    'data on stdin': by((it) => it.send(dataHeader(CHANNEL, STREAM.stdin, 0), Buffer.from('x'))),
    'close of an output': by((it) => it.send(closeFrame(CHANNEL, STREAM.stdout))),
    'the process ends': by((it) => (it.state === 'staging' ? undefined : it.job.end())),
    'attach by its home': by(ATTACH),
    forget: by(FORGET),
    'the stream ends': by((it) => it.link.abort(new Error('cut'))),
    '8 s without a word of home': by((it) => it.pass(LEASE_MS)),
    '12 s without a word of home': by((it) => it.pass(LEASE_MS + KILL_AFTER_MS)),
    '8 h without a word of home, after a hold': last(HOLD, (it) => it.pass(HOLD_MS)),
    '7 d without a word of home': by((it) => it.pass(DETACHED_SILENCE_MS)),
    '7 d and 4 s without a word of home': by((it) => it.pass(DETACHED_SILENCE_MS + KILL_AFTER_MS)),
    "a voucher's right ends": by((it) => it.target.endJobs([TICKET], 'the pairing was ended')),
    'and 26 s later, without a word of home': last(
      (it) => it.target.endJobs([TICKET], 'the pairing was ended'),
      (it) => it.pass(2 * LOST_AFTER_MS + 1)
    ),
    'the pairing with home ends': by((it) => it.target.distrust('home', 'the pairing was ended'))
  },
  stateOf: (it) => it.state
}
