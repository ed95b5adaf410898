/**
 * Real peers for end-to-end tests: the built program, each with a directory of its own, on loopback or on the hosts of an
 * emulated LAN. Everything ends with the test.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import type { StatusResult } from '../../src/daemon/control-results.ts'
import type { Lan } from '../lan.ts'

export const KAPPA = fileURLToPath(new URL('../../scripts/kappa', import.meta.url))

/** Waits of these tests end here; what takes so long has failed. */
const PATIENCE_MS = 20_000

export interface PeerInit {
  name: string
  /** TOML, added to what tests want. */
  config?: string
  env?: Record<string, string>
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

export class TestPeer {
  readonly name: string
  readonly directory: string
  /** The same directory as the peer itself sees it. */
  readonly inside: string
  readonly environment: Record<string, string>
  daemon!: ChildProcess
  readonly #lan: { lan: Lan; host: number } | undefined
  readonly #children = new Set<ChildProcess>()

  private constructor(init: PeerInit) {
    this.name = init.name
    this.#lan = init.lan ? { lan: init.lan, host: init.host! } : undefined
    this.inside = `/root/kappa-${init.name}`
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
    writeFileSync(join(this.directory, 'kappa.toml'), `${this.#lan ? '' : 'mdns = false\n'}${init.config ?? ''}\n`)
  }

  static async start(t: Test, init: PeerInit): Promise<TestPeer> {
    const peer = new TestPeer(init)
    t.teardown(() => peer.close())
    await peer.startDaemon()
    return peer
  }

  async startDaemon(): Promise<void> {
    const daemon = this.spawn(['daemon'])
    this.daemon = daemon
    let said = ''
    await new Promise<void>((resolve, reject) => {
      daemon.stderr!.on('data', (bytes) => {
        said += bytes
        if (said.includes(' serving')) resolve()
      })
      daemon.once('exit', (code) => reject(new Error(`the daemon of ${this.name} ended with ${code}: ${said}`)))
    })
    this.log = () => said
  }

  /** What the daemon said so far. */
  log: () => string = () => ''

  /** The directory in which commands run. */
  get work(): string {
    return join(this.directory, 'work')
  }

  spawn(args: string[], options: { env?: Record<string, string>; cwd?: string } = {}): ChildProcess {
    const env = { ...this.environment, ...options.env }
    const cwd = options.cwd ?? join(this.inside, 'work')
    const child = this.#lan
      ? this.#lan.lan.spawn(this.#lan.host, [KAPPA, ...args], { env, cwd })
      : spawn(KAPPA, args, { env, cwd, stdio: 'pipe' })
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
    if (this.daemon.exitCode !== null || this.daemon.signalCode !== null) return
    const gone = new Promise((resolve) => this.daemon.once('exit', resolve))
    this.daemon.kill(signal)
    await gone
  }

  async close(): Promise<void> {
    for (const child of this.#children) if (child !== this.daemon) child.kill('SIGKILL')
    await this.stopDaemon()
    rmSync(this.directory, { recursive: true, force: true })
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

/** Asks again and again until the answer isn't undefined or false; throws after 20 s. */
export async function until<T>(
  what: string,
  ask: () => Promise<T | undefined | false> | T | undefined | false
): Promise<T> {
  const deadline = performance.now() + PATIENCE_MS
  for (;;) {
    const answer = await ask()
    if (answer !== undefined && answer !== false) return answer
    if (performance.now() > deadline) throw new Error(`waited in vain until ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
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
  const invitation = a.spawn(['pair', '--invite', `--${kind}`])
  const link = await firstLine(invitation)
  const done = new Promise<number | null>((resolve) => invitation.once('exit', resolve))
  await b.ok(['pair', '--yes', `--${kind}`, link])
  const code = await done
  if (code !== 0) throw new Error(`the invitation ended with ${code}`)
  await Promise.all([sees(a, b), sees(b, a)])
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
