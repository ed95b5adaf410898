/** A server of ./server.ts in namespaces of its own, and programs run where it is mounted. */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { quote } from '../../../src/execution/quote.ts'
import { type FuseMount, mountScript } from '../../../src/files/fuse/mount.ts'

const SERVER = join(import.meta.dirname, 'server.ts')
/** Nothing here takes a second; a program that hangs is a failure, and must not hang the tests. */
const GUARD_MS = 30_000

/** Why nothing can be mounted here; undefined: it can. */
export function fuseUnavailable(): string | undefined {
  if (!existsSync('/dev/fuse')) return '/dev/fuse'
  const tried = spawnSync('unshare', ['-Urm', 'sh', '-c', 'exec 3<>/dev/fuse'], { encoding: 'utf8' })
  return tried.status === 0 ? undefined : `/dev/fuse in a user namespace (${tried.stderr?.trim() || tried.error})`
}

export interface Ran {
  stdout: string
  stderr: string
  code: number | null
  signal: NodeJS.Signals | null
}

/** The end of a process; rejects, after killing it, when it doesn't come. */
export function finished(child: ChildProcess, what: string, guardMs = GUARD_MS): Promise<Ran> {
  return new Promise((resolve, reject) => {
    let [stdout, stderr] = ['', '']
    child.stdout?.setEncoding('utf8').on('data', (text) => (stdout += text))
    child.stderr?.setEncoding('utf8').on('data', (text) => (stderr += text))
    const guard = setTimeout(() => {
      child.kill('SIGKILL')
      reject(new Error(`still running: ${what}: ${(stdout + stderr).slice(-300)}`))
    }, guardMs)
    child.on('error', reject)
    child.on('close', (code, signal) => {
      clearTimeout(guard)
      resolve({ stdout, stderr, code, signal })
    })
  })
}

export class Mounted implements AsyncDisposable {
  readonly directory = mkdtempSync(join(tmpdir(), 'kappa-fuse-'))
  readonly mount: FuseMount = {
    directory: quote(this.directory),
    descriptor: 3,
    source: 'kappa',
    isReadOnly: false,
    checksModes: false,
    uid: 0,
    gid: 0
  }
  readonly server: ChildProcess
  /** What the server said at its end, and how it ended. */
  readonly over: Promise<Ran>
  readonly #answers = new Map<number, (line: { result?: never; error?: string }) => void>()
  #id = 0

  private constructor(options: object, guardMs: number) {
    // Without what tap loads into each Node, which takes time.
    const script = `set -e\nunset NODE_OPTIONS\n${mountScript(this.mount)}exec "$@"`
    const args = ['-Urm', 'sh', '-c', script, 'sh', process.execPath, SERVER, JSON.stringify(options)]
    this.server = spawn('unshare', args, { stdio: ['pipe', 'pipe', 'pipe'] })
    this.server.stdin?.on('error', () => {})
    this.over = finished(this.server, 'the server', guardMs)
    this.over.catch(() => {})
    createInterface({ input: this.server.stdout! }).on('line', (text) => {
      const line = JSON.parse(text)
      this.#answers.get(line.id)?.(line)
    })
  }

  /** The server lives at most `guardMs`. */
  static async start(options: object = {}, guardMs = 2 * GUARD_MS): Promise<Mounted> {
    const mounted = new Mounted(options, guardMs)
    const ready = new Promise<void>((resolve) => mounted.#answers.set(0, () => resolve()))
    const failed = mounted.over.then(({ stderr }) => {
      throw new Error(`the server ended: ${stderr}`)
    })
    await Promise.race([ready, failed])
    return mounted
  }

  /** Runs a command of the server. Rejects when the server ends instead. */
  // biome-ignore lint/suspicious/noExplicitAny: what the server answers is JSON
  ask(command: string, argument: object = {}): Promise<any> {
    const id = ++this.#id
    this.server.stdin?.write(`${JSON.stringify({ id, command, argument })}\n`)
    const answer = new Promise((resolve, reject) => {
      this.#answers.set(id, ({ result, error }) => (error === undefined ? resolve(result) : reject(new Error(error))))
    })
    const end = this.over.then(({ stderr }) => {
      throw new Error(`the server ended at ${command}: ${stderr}`)
    })
    return Promise.race([answer, end])
  }

  /** Starts a shell in the mounted directory. */
  spawn(script: string): ChildProcess {
    const enter = ['-t', String(this.server.pid), '-U', '-m', '--preserve-credentials']
    const inside = ['sh', '-c', `cd "$1" && ${script}`, 'sh', this.directory]
    return spawn('nsenter', [...enter, ...inside], { stdio: ['ignore', 'pipe', 'pipe'] })
  }

  run(script: string): Promise<Ran> {
    return finished(this.spawn(script), script)
  }

  /** Asks for the server's state until it is as wished. */
  async until(wish: (state: { waiting: number; interrupted: number; nodes: number }) => boolean): Promise<void> {
    const deadline = Date.now() + GUARD_MS
    for (;;) {
      const state = await this.ask('state')
      if (wish(state)) return
      if (Date.now() > deadline) throw new Error(`still ${JSON.stringify(state)}`)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.server.kill('SIGKILL')
    await this.over.catch(() => {})
    rmSync(this.directory, { recursive: true, force: true })
  }
}
