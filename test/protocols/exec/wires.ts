/** A home and a target joined in memory, with a cable that can be cut; jobs are real processes. */

import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { performance } from 'node:perf_hooks'
import { PassThrough } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import type { JobEnd, JobUsage, Ticket } from '../../../src/core/types.ts'
import { ExecHome, type HomeListener, type Keeper } from '../../../src/protocols/exec/home.ts'
import type { FrameChannel } from '../../../src/protocols/exec/link.ts'
import {
  ExecTarget,
  type JobRecording,
  type LaunchedJob,
  type LaunchRequest,
  type StartMessage,
  type TargetHost
} from '../../../src/protocols/exec/target.ts'

/** One end of a stream of frames in memory. */
class End implements FrameChannel {
  peer!: End
  #handler: (frame: Uint8Array) => void = () => undefined
  #onEnd: (error?: Error) => void = () => undefined
  #waiting: Uint8Array[] = []
  #listening = false
  #over = false
  #error: Error | undefined
  /** Frames that are dropped instead of delivered, as by a cable that was pulled. */
  silent = false
  /** Types of the frames that came. */
  readonly heard: number[] = []

  send(...parts: Uint8Array[]): boolean {
    if (this.#over) throw new Error('closed')
    const frame = Buffer.concat(parts)
    if (!this.silent) setImmediate(() => this.peer.receive(frame))
    return true
  }

  receive(frame: Uint8Array): void {
    if (this.#over) return
    this.heard.push(frame[0]!)
    if (this.#listening) this.#handler(frame)
    else this.#waiting.push(frame)
  }

  drained(): Promise<void> {
    return Promise.resolve()
  }

  onFrame(handler: (frame: Uint8Array) => void, onEnd: (error?: Error) => void): void {
    this.#handler = handler
    this.#onEnd = onEnd
    this.#listening = true
    for (const frame of this.#waiting.splice(0)) handler(frame)
    if (this.#over) onEnd(this.#error)
  }

  async close(): Promise<void> {
    this.end()
    if (!this.silent) this.peer.end()
  }

  abort(error: Error): void {
    this.end(error)
    if (!this.silent) this.peer.end(error)
  }

  end(error?: Error): void {
    if (this.#over) return
    this.#over = true
    this.#error = error
    this.#onEnd(error)
  }
}

export interface WiresOptions {
  /** Milliseconds; real time unless given. */
  now?: () => number
  launch?: (request: LaunchRequest) => Promise<LaunchedJob>
  epoch?: number
  /** Where outputs of detached jobs go; none can be detached unless given. */
  record?: () => JobRecording
  /** Whether the target has any; it does unless given. */
  terminals?: boolean
}

export class Wires {
  home: ExecHome
  target: ExecTarget
  epoch: number
  /** Tickets as the core of the target would know them. */
  readonly tickets = new Map<string, { state: 'held' | 'running' | 'void' } | { state: 'ended'; end: JobEnd }>()
  readonly started: string[] = []
  readonly urgent: boolean[] = []
  /** While set, no new stream can be opened. */
  unplugged = false
  /** Streams that were opened. */
  opened = 0
  #ends: [End, End] | undefined
  #count = 0
  readonly #options: WiresOptions
  readonly now: () => number

  constructor(options: WiresOptions = {}) {
    this.#options = options
    this.epoch = options.epoch ?? 7
    this.now = options.now ?? (() => performance.now())
    this.target = new ExecTarget(this.#targetHost())
    this.home = this.#newHome()
  }

  #newHome(): ExecHome {
    return new ExecHome({
      now: this.now,
      openStream: async () => {
        if (this.unplugged) throw new Error('unplugged')
        const [here, there] = [new End(), new End()]
        here.peer = there
        there.peer = here
        this.#ends = [here, there]
        this.opened++
        this.target.serve('home', there)
        return here
      },
      urgent: (_, urgent) => this.urgent.push(urgent),
      closeConnection: () => this.cut(),
      log: (line) => console.error(line)
    })
  }

  #targetHost(): TargetHost {
    return {
      epoch: this.epoch,
      terminals: this.#options.terminals ?? true,
      now: this.now,
      startTicket: (_, id) => {
        if (this.tickets.get(id)?.state !== 'held') return { accepted: false, code: 'void', reason: 'no such ticket' }
        this.tickets.set(id, { state: 'running' })
        return { accepted: true, kind: 'own', vouchers: [], labels: [] }
      },
      resolveTicket: (_, id) => {
        const ticket = this.tickets.get(id)
        if (ticket?.state === 'running' || ticket?.state === 'ended') return ticket as never
        this.tickets.set(id, { state: 'void' })
        return { state: 'void' }
      },
      forgetTicket: () => undefined,
      ...(this.#options.record ? { record: this.#options.record } : {}),
      launch: (request) => {
        const { message } = request
        this.started.push(message.ticket)
        return this.#options.launch ? this.#options.launch(request) : realJob(message)
      },
      jobStarted: () => undefined,
      jobEnded: (_, id, end) => this.tickets.set(id, { state: 'ended', end }),
      log: (line) => console.error(line)
    }
  }

  ticket(): Ticket {
    const id = (++this.#count).toString(16).padStart(32, '0')
    this.tickets.set(id, { state: 'held' })
    return { id, target: 'target', epoch: this.epoch, validMs: 2_000 }
  }

  /** Types of the frames that came to home by the present stream. */
  get heardAtHome(): readonly number[] {
    return this.#ends?.[0].heard ?? []
  }

  /** Both ends learn at once that the connection broke. */
  cut(): void {
    const ends = this.#ends
    this.#ends = undefined
    for (const end of ends ?? []) end.end(new Error('cut'))
  }

  /** What that side of the present stream sends from now on is dropped, and nobody is told. */
  mute(side: 'home' | 'target'): void {
    this.#ends![side === 'home' ? 0 : 1].silent = true
  }

  /** What is sent from now on passes again. */
  unmute(): void {
    for (const end of this.#ends!) end.silent = false
  }

  /** Nothing passes any more, and nobody is told. */
  silence(): void {
    this.unplugged = true
    for (const end of this.#ends ?? []) end.silent = true
  }

  /** Nothing of what home had in memory is left. */
  restartHome(): void {
    this.home.close()
    this.cut()
    this.home = this.#newHome()
  }

  /** Unless `isNoticed` home's end of the present stream stays. */
  restartTarget(isNoticed = true): void {
    if (!isNoticed) this.mute('target')
    this.target.close()
    if (isNoticed) this.cut()
    this.epoch++
    this.tickets.clear()
    this.target = new ExecTarget(this.#targetHost())
  }

  start(ticket: Ticket, argv: string[], listener: HomeListener, change: Partial<StartMessage> = {}, keeper?: Keeper) {
    const message = {
      job: 'a234',
      argv: argv.map((word) => Buffer.from(word)),
      env: [],
      umask: 0o022,
      nice: 0,
      limits: [],
      home: 'home',
      mode: 'plain' as const,
      ins: false,
      outs: [],
      outAlways: false,
      ...change
    }
    return this.home.start(ticket, message, 500, listener, keeper)
  }

  close(): void {
    this.home.close()
    this.target.close()
    this.cut()
  }
}

async function realJob(message: StartMessage): Promise<LaunchedJob> {
  const argv = message.argv.map((word) => Buffer.from(word).toString())
  const child = spawn(argv[0]!, argv.slice(1), { stdio: 'pipe', detached: true })
  const kill = (signal: NodeJS.Signals | number) => {
    try {
      process.kill(-child.pid!, signal)
    } catch {
      // It has ended.
    }
  }
  return {
    stdin: child.stdin,
    stdout: child.stdout,
    stderr: child.stderr,
    signal: (number) => kill(number),
    kill: () => kill('SIGKILL'),
    ended: new Promise((resolve) => child.once('exit', (exitCode, signal) => resolve({ exitCode, signal }))),
    usage: () => undefined,
    outs: async function* () {},
    dispose: async () => undefined
  }
}

/** What a job gave back, gathered. */
export class Gathered implements HomeListener {
  readonly out: Buffer[] = []
  readonly err: Buffer[] = []
  /** Staged files that came back. */
  readonly outs: Buffer[] = []
  readonly screen: Buffer[] = []
  readonly events: string[] = []
  readonly done: Promise<{ end?: JobEnd; lost?: string; free?: string }>
  #finish!: (outcome: { end?: JobEnd; lost?: string; free?: string }) => void
  /** Set to take what arrives; else it is taken at once. */
  onData: (stream: number, bytes: number) => void = () => undefined
  onLimit: (limit: number) => void = () => undefined
  onStarted: () => void = () => undefined

  constructor() {
    this.done = new Promise((resolve) => {
      this.#finish = resolve
    })
  }

  started(): void {
    this.events.push('started')
    this.onStarted()
  }

  data(stream: number, _offset: number, bytes: Uint8Array): void {
    const streams = [undefined, this.out, this.err, undefined, this.outs, undefined, this.screen]
    streams[stream]!.push(Buffer.from(bytes))
    this.onData(stream, bytes.length)
  }

  eof(stream: number): void {
    this.events.push(`eof ${stream}`)
  }

  closed(stream: number): void {
    this.events.push(`closed ${stream}`)
  }

  limit(_stream: number, limit: number): void {
    this.onLimit(limit)
  }

  stopped(number: number): void {
    this.events.push(`stopped ${number}`)
  }

  hanging(hanging: boolean): void {
    this.events.push(hanging ? 'hanging' : 'back')
  }

  ended(end: JobEnd): void {
    this.#finish({ end })
  }

  lost(lost: string): void {
    this.#finish({ lost })
  }

  free(_code: string, free: string): void {
    this.#finish({ free })
  }
}

/** A job that does what a test says. */
export class FakeJob implements LaunchedJob {
  readonly stdin = new PassThrough({ highWaterMark: 1 })
  readonly stdout = new PassThrough()
  readonly stderr = new PassThrough()
  readonly signals: number[] = []
  disposed = 0
  /** What is packed after the end. */
  packed: AsyncIterable<Uint8Array> = (async function* () {})()
  /** What it took. */
  took: JobUsage | undefined
  readonly #end = Promise.withResolvers<JobEnd>()
  readonly ended = this.#end.promise

  signal(number: number): void {
    this.signals.push(number)
  }

  kill(): void {
    this.end({ exitCode: null, signal: 'SIGKILL' })
  }

  /** Its process is gone; its ends of the pipes are closed, what is in them isn't. */
  end(end: JobEnd = { exitCode: 0, signal: null }): void {
    this.stdout.end()
    this.stderr.end()
    this.stdin.destroy()
    this.#end.resolve(end)
  }

  usage(): JobUsage | undefined {
    return this.took
  }

  outs(): AsyncIterable<Uint8Array> {
    return this.packed
  }

  async dispose(): Promise<void> {
    this.disposed++
  }
}

/** Waits until something holds; the deadline is the test's. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await turn()
}

/** Lets everything that is on its way arrive. */
export async function settled(): Promise<void> {
  for (let turns = 0; turns < 20; turns++) await turn()
}

export const SIGTERM = constants.signals.SIGTERM
