/**
 * Real peers for end-to-end tests: the built program, each with a directory of its own, on loopback or on the hosts of an
 * emulated LAN. Everything ends with the test.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import type { StatusResult } from '../../src/daemon/control-results.ts'
import { Benchmark } from '../../src/machine/benchmark.ts'
import { VERSION } from '../../src/version.ts'
import { Lan, type LanInit, lanAvailable } from '../lan.ts'
import { needs } from '../require.ts'

export const KAPPA = fileURLToPath(new URL('../../scripts/kappa', import.meta.url))

/**
 * What a run says whose target could not answer in time, whose connection was just being made anew, or of which those
 * between have not heard since.
 */
const UNANSWERED =
  /no answer in|not answer (in time|at)|could not be reached in time|the connection was lost|connected|found nobody better|nothing heard from it yet/

interface RunThere {
  input?: string | Buffer
  env?: Record<string, string>
  cwd?: string
  /** More options of `kappa run`. */
  options?: string[]
}

/** Options that say what a job sees. */
const MODES = new Set(['--files', '--share', '--tools', '--plain', '--in', '--out'])

/** Most tests are about machines and connections: their jobs are plain unless they say what they see. */
function runOn(target: TestPeer | string, argv: string[], { options = [] }: RunThere): string[] {
  const mode = options.some((option) => MODES.has(option)) ? [] : ['--plain']
  return ['run', '--on', typeof target === 'string' ? target : target.name, ...mode, ...options, '--', ...argv]
}

/** The static score of this machine as daemons keep it: they find it at their start, and don't measure while they are tested. */
const SCORE = await staticScore()

/** Waits of these tests end here; what takes so long has failed. */
const PATIENCE_MS = 40_000

export interface PeerInit {
  name: string
  /** TOML, added to what tests want. */
  config?: string
  env?: Record<string, string>
  /** Name of its directory on a LAN's host; default: the peer's name. */
  directory?: string
  /** The launcher of another version, and that; default: what was built. */
  program?: { launcher: string; version: string }
  /** It says that it is so many times as fast as it is. */
  boasts?: number
  /** On this host of the LAN instead of loopback. */
  lan?: Lan
  host?: number
}

export interface Ended {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
  bytes: Buffer
}

/** Measured by the first test of all and kept in a file for the others; what is in it says when it is out of date. */
async function staticScore(): Promise<string> {
  const kept = join(tmpdir(), `kappa-test-score-${process.getuid!()}.json`)
  const cacheFile = `${kept}.${process.pid}`
  const benchmark = new Benchmark({
    cacheFile,
    kappaVersion: VERSION,
    signal: new AbortController().signal,
    onError: (error) => {
      throw error
    }
  })
  rmSync(cacheFile, { force: true })
  try {
    copyFileSync(kept, cacheFile)
  } catch {
    // Nobody has measured yet.
  }
  await benchmark.start()
  await benchmark.settled()
  const score = JSON.parse(readFileSync(cacheFile, 'utf8'))
  // No daemon measures once more because the machine is idle.
  writeFileSync(cacheFile, JSON.stringify({ ...score, confidence: 'confirmed' }))
  renameSync(cacheFile, kept)
  return kept
}

export class TestPeer {
  readonly name: string
  readonly directory: string
  /** The same directory as the peer itself sees it. */
  readonly inside: string
  readonly environment: Record<string, string>
  daemon!: ChildProcess
  readonly #lan: { lan: Lan; host: number } | undefined
  readonly #program: string
  readonly #children = new Set<ChildProcess>()

  private constructor(init: PeerInit) {
    this.name = init.name
    this.#program = init.program?.launcher ?? KAPPA
    this.#lan = init.lan ? { lan: init.lan, host: init.host! } : undefined
    this.inside = `/root/kappa-${init.directory ?? init.name}`
    if (init.lan) this.directory = init.lan.outside(init.host!, this.inside)
    else this.inside = this.directory = mkdtempSync(join(tmpdir(), `kappa-test-${init.name}-`))
    mkdirSync(this.directory, { recursive: true, mode: 0o700 })
    this.environment = {
      PATH: process.env.PATH!,
      HOME: process.env.HOME ?? '/',
      KAPPA_DIR: this.inside,
      KAPPA_NAME: init.name,
      ...(this.#lan ? {} : { KAPPA_LISTEN: '127.0.0.1:0' }),
      ...init.env
    }
    mkdirSync(join(this.directory, 'work'))
    mkdirSync(join(this.directory, 'cache'), { mode: 0o700 })
    const score = JSON.parse(readFileSync(SCORE, 'utf8'))
    const key = score.key.replace(`\n${VERSION}\n`, `\n${init.program?.version ?? VERSION}\n`)
    const said = { ...score, key, speed: score.speed * (init.boasts ?? 1) }
    writeFileSync(join(this.directory, 'cache/benchmark.json'), JSON.stringify(said))
    writeFileSync(join(this.directory, 'kappa.toml'), this.#configuration(init.config ?? ''))
  }

  /** Tests run on laptops too, on their batteries. */
  #configuration(text: string): string {
    const [inTable, alone] = ['[guests]\non_battery = true\n', 'guests.on_battery = true\n']
    const lends = text.includes('[guests]\n') ? text.replace('[guests]\n', inTable) : alone + text
    // A host that is cut off would be waited for as one that sleeps.
    const wakes = text.includes('wake = ') ? '' : 'wake = false\n'
    return `${this.#lan ? '' : 'mdns = false\n'}${wakes}${lends}\n`
  }

  /** Everything but a daemon. */
  static prepare(t: Test, init: PeerInit): TestPeer {
    const peer = new TestPeer(init)
    t.teardown(async () => {
      await peer.close()
      // Whatever the test did to it: no daemon may show a bug of its own.
      const bug = /^.* error a bug.*$/m.exec(peer.log())
      if (bug) throw new Error(`${peer.name} says: ${bug[0]}`)
    })
    return peer
  }

  static async start(t: Test, init: PeerInit): Promise<TestPeer> {
    const peer = TestPeer.prepare(t, init)
    await peer.startDaemon()
    return peer
  }

  async startDaemon(): Promise<void> {
    const daemon = this.spawn(['daemon'])
    this.daemon = daemon
    daemons.add(daemon)
    daemon.once('exit', () => daemons.delete(daemon))
    let said = this.log()
    const before = said.length
    await new Promise<void>((resolve, reject) => {
      daemon.stderr!.on('data', (bytes) => {
        said += bytes
        this.log = () => said
        if (/[ "]serving\b/.test(said.slice(before))) resolve()
      })
      daemon.once('exit', (code) => reject(new Error(`the daemon of ${this.name} ended with ${code}: ${said}`)))
    })
  }

  /** What its daemons said so far. */
  log: () => string = () => ''

  /** The directory in which commands run. */
  get work(): string {
    return join(this.directory, 'work')
  }

  spawn(args: string[], options: { env?: Record<string, string>; cwd?: string } = {}): ChildProcess {
    const env = { ...this.environment, ...options.env }
    const cwd = options.cwd ?? join(this.inside, 'work')
    const child = this.#lan
      ? this.#lan.lan.spawn(this.#lan.host, [this.#program, ...args], { env, cwd })
      : spawn(this.#program, args, { env, cwd, stdio: 'pipe' })
    this.#children.add(child)
    child.once('exit', () => this.#children.delete(child))
    child.stdin?.on('error', () => undefined)
    return child
  }

  /** Runs a command of kappa to its end. */
  async kappa(
    args: string[],
    options: { input?: string | Buffer; env?: Record<string, string>; cwd?: string } = {}
  ): Promise<Ended> {
    const child = this.spawn(args, options)
    child.stdin!.end(options.input ?? '')
    return gather(child)
  }

  /** As `kappa`, and it must succeed. */
  async ok(args: string[], options: { input?: string | Buffer } = {}): Promise<string> {
    const { code, stdout, stderr } = await this.kappa(args, options)
    if (code !== 0) throw new Error(`kappa ${args.join(' ')} on ${this.name} ended with ${code}: ${stderr}`)
    return stdout
  }

  /**
   * Runs a command on another peer. Placing has 400 ms; all peers share this machine, and whatever else runs on it:
   * a target that could not answer in time is asked again.
   */
  async there(target: TestPeer | string, argv: string[], options: RunThere = {}): Promise<Ended> {
    return await until(`${this.name} gets an answer in time`, async () => {
      const ended = await this.kappa(runOn(target, argv, options), options)
      return ended.code === 125 && UNANSWERED.test(ended.stderr) ? undefined : ended
    })
  }

  /** As `there`, for a command that writes a line when it has begun; it still runs. */
  async begun(target: TestPeer | string, argv: string[], options: RunThere = {}): Promise<Talk> {
    return await until(`${this.name} gets an answer in time`, async () => {
      const talk = new Talk(this.spawn(runOn(target, argv, options), options))
      let ended: Ended | undefined
      void talk.ended.then((end) => (ended = end))
      await until('it has begun or ended', () => talk.stdout.includes('\n') || ended !== undefined)
      if (ended?.code === 125 && UNANSWERED.test(ended.stderr)) return undefined
      if (ended?.code === 125) throw new Error(`it has not begun: ${ended.stderr}`)
      return talk
    })
  }

  async status(): Promise<StatusResult> {
    return JSON.parse(await this.ok(['status', '--json']))
  }

  /** The newest jobs of this home. */
  async jobs(): Promise<Record<string, unknown>[]> {
    const text = await this.ok(['ps', '--json'])
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line))
  }

  /** kill -9: the last words are never said. */
  async killDaemon(): Promise<void> {
    await this.#end('SIGKILL')
  }

  async stopDaemon(): Promise<void> {
    await this.#end('SIGTERM')
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const daemon: ChildProcess | undefined = this.daemon
    if (!daemon || daemon.exitCode !== null || daemon.signalCode !== null) return
    const gone = new Promise((resolve) => daemon.once('exit', resolve))
    daemon.kill(signal)
    await gone
  }

  /** A daemon that a client started, or that took over; hosts of a LAN end with all that they have. */
  async #stopOther(): Promise<void> {
    if (this.#lan) return
    const pid = () => lockHolder(join(this.directory, 'state/lock'))
    const other = pid()
    if (other === undefined) return
    process.kill(other, 'SIGTERM')
    await until('the other daemon has ended', () => pid() === undefined)
  }

  async close(): Promise<void> {
    for (const child of this.#children) if (child !== this.daemon) child.kill('SIGKILL')
    await this.stopDaemon()
    await this.#stopOther()
    rmSync(this.directory, { recursive: true, force: true })
  }
}

/** The living daemon that a lock file names. */
function lockHolder(path: string): number | undefined {
  try {
    const [pid, started] = readFileSync(path, 'latin1').trim().split(' ')
    // Its number may be another process's by now.
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] === started ? Number(pid) : undefined
  } catch {
    return undefined
  }
}

/** Daemons on loopback: they end with a test that is killed before it can close them. */
const daemons = new Set<ChildProcess>()
process.on('exit', () => {
  for (const daemon of daemons) daemon.kill('SIGKILL')
})

/** A child and what it wrote so far, for tests that answer it or watch it. */
export class Talk {
  stdout = ''
  stderr = ''
  readonly child: ChildProcess
  readonly ended: Promise<Ended>

  constructor(child: ChildProcess) {
    this.child = child
    child.stdout!.on('data', (bytes) => (this.stdout += bytes))
    child.stderr!.on('data', (bytes) => (this.stderr += bytes))
    this.ended = gather(child)
  }

  /** Waits until it has said this, on either stream; what it took from the text. Throws when it ends without. */
  async hears(pattern: RegExp): Promise<string[]> {
    let over = false
    void this.ended.then(() => (over = true))
    const sought = () => `it says ${pattern}; so far: ${this.stdout}${this.stderr}`
    return until(sought, () => {
      const match = pattern.exec(this.stdout) ?? pattern.exec(this.stderr)
      if (!match && over) throw new Error(`it ended without saying ${pattern}: ${this.stdout}${this.stderr}`)
      return match?.slice() ?? false
    })
  }

  say(line: string): void {
    this.child.stdin!.write(`${line}\n`)
  }
}

/** Everything that a child writes, and its end. */
export function gather(child: ChildProcess): Promise<Ended> {
  const out: Buffer[] = []
  const err: Buffer[] = []
  child.stdout!.on('data', (bytes: Buffer) => out.push(bytes))
  child.stderr!.on('data', (bytes: Buffer) => err.push(bytes))
  return new Promise((resolve) =>
    child.once('close', (code, signal) => {
      const bytes = Buffer.concat(out)
      resolve({ code, signal, bytes, stdout: bytes.toString(), stderr: Buffer.concat(err).toString() })
    })
  )
}

/** Asks again and again until the answer isn't undefined or false; throws after 40 s, or as long as said. */
export async function until<T>(
  what: string | (() => string),
  ask: () => Promise<T | undefined | false> | T | undefined | false,
  patienceMs: number = PATIENCE_MS
): Promise<T> {
  const deadline = performance.now() + patienceMs
  for (;;) {
    const answer = await ask()
    if (answer !== undefined && answer !== false) return answer
    if (performance.now() > deadline)
      throw new Error(`waited in vain until ${typeof what === 'string' ? what : what()}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/**
 * Processes on this machine, emulated hosts and sandboxes included, whose command line holds the text, other than
 * clients of kappa: what is there of a job that was started with it.
 */
export function jobProcesses(mark: string): number[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry) && isOfJob(entry, mark))
    .map(Number)
}

function isOfJob(pid: string, mark: string): boolean {
  try {
    const words = readFileSync(`/proc/${pid}/cmdline`, 'latin1')
    return words.includes(mark) && !words.includes('client.cjs') && !words.includes(KAPPA)
  } catch {
    // It ended meanwhile.
    return false
  }
}

/** Whether these jobs of others are over at their target. */
export async function endedThere(target: TestPeer, ids: string[]): Promise<boolean> {
  const lines = (await target.ok(['ps', '--guests', '--json'])).trim().split('\n')
  const jobs = lines.map((line) => JSON.parse(line) as { id: string; state: string })
  return ids.every((id) => jobs.some((job) => job.id === id && job.state === 'exited'))
}

/** A command that would run for hours, told from all others by its argument. */
export function longJob(): { mark: string; argv: string[] } {
  const mark = `9${randomInt(10 ** 9, 10 ** 10)}`
  // One process in the job's own group, one that left it.
  return { mark, argv: ['sh', '-c', 'setsid sleep "$1" & echo up; exec sleep "$1"', 'sh', mark] }
}

/** The first line that a child writes on stdout. */
export async function firstLine(child: ChildProcess): Promise<string> {
  let text = ''
  let err = ''
  child.stderr!.on('data', (bytes) => (err += bytes))
  return new Promise((resolve, reject) => {
    child.stdout!.on('data', (bytes) => {
      text += bytes
      if (text.includes('\n')) resolve(text.slice(0, text.indexOf('\n')))
    })
    child.once('exit', (code) => reject(new Error(`ended with ${code} before it printed a line: ${err}`)))
  })
}

/** Pairs by the real commands, with an invitation of `a`; `kind` is what each side says of the other. */
export async function pair(a: TestPeer, b: TestPeer, kind: 'own' | 'friend' = 'own'): Promise<void> {
  await pairOnly(a, b, kind)
  await Promise.all([sees(a, b), sees(b, a)])
}

/** As `pair`; whether they see each other then is another question. */
export async function pairOnly(a: TestPeer, b: TestPeer, kind: 'own' | 'friend'): Promise<void> {
  const invitation = a.spawn(['pair', '--invite', `--${kind}`])
  const link = await firstLine(invitation)
  const done = new Promise<number | null>((resolve) => invitation.once('exit', resolve))
  await b.ok(['pair', '--yes', `--${kind}`, link])
  const code = await done
  if (code !== 0) throw new Error(`the invitation ended with ${code}`)
}

/** A LAN for the test; `undefined`: there can be none here, and the test is skipped, saying why. */
export async function emulatedLan(t: Test, init: LanInit): Promise<Lan | undefined> {
  const unavailable = lanAvailable({ delay: init.delayUs !== undefined })
  if (!needs(t, unavailable === undefined, unavailable ?? '')) return undefined
  const lan = await Lan.create(init)
  t.teardown(() => lan.close())
  return lan
}

/** Waits until `a` is connected with `b` and knows its record. */
export async function sees(a: TestPeer, b: TestPeer): Promise<void> {
  await until(`${a.name} sees ${b.name}`, async () => {
    const { reachable } = await a.status()
    return reachable.some(({ name }) => name === b.name)
  })
}

/** Keeps every core of a peer busy in its own eyes: home jobs that take CPU without end. */
export async function load(t: Test, peer: TestPeer, count: number): Promise<void> {
  for (let index = 0; index < count; index++) {
    const child = peer.spawn(['run', '--local', 'sh', '-c', 'echo on; while :; do :; done'])
    t.teardown(() => void child.kill('SIGTERM'))
    await firstLine(child)
  }
}

export function read(peer: TestPeer, name: string): Buffer {
  return readFileSync(join(peer.work, name))
}
