/**
 * Home's tree, served by this process, mounted in namespaces of its own by the process that serves targets; and programs run
 * there. No daemon, no network.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { quote } from '../../../src/execution/quote.ts'
import { closeScript, type FuseMount, mountScript } from '../../../src/files/fuse/mount.ts'
import type { Hashes } from '../../../src/files/hashes.ts'
import { HomeServer } from '../../../src/files/home/server.ts'
import { View, type ViewInit } from '../../../src/files/home/view.ts'
import { emptyAnswer, WIRE } from '../../../src/files/target/store-codec.ts'
import { StoreThread } from '../../../src/files/target/store-thread.ts'
import { Wire } from '../../../src/files/target/wire.ts'
import { finished, type Ran } from '../fuse/mounted.ts'
import type { Operation } from './executor.ts'

const SERVER = join(import.meta.dirname, '../../../src/files/target/main.ts')
const EXECUTOR = join(import.meta.dirname, 'executor.ts')
/** Nothing here takes that long; what hangs is a failure, and must not hang the tests. */
const GUARD_MS = 60_000
const DAEMON = 5
/** First bytes of frames for the server of the mounts. */
const HOME = Uint8Array.of(WIRE.home)
const STORE = Uint8Array.of(WIRE.store)

export interface TreeMountInit {
  view?: Partial<ViewInit>
  /** Where the target keeps contents; nothing is kept without. */
  store?: string
  /** What home knows of contents; nothing yet without. */
  hashes?: Hashes
  /** What is done with a request instead of answering it; true: nothing else. */
  intercept?(frame: Uint8Array): boolean
}

function keep(directory: string): StoreThread {
  const onFailure = (error: Error): never => {
    throw error
  }
  return new StoreThread({ directory, max: 2 ** 30, onFailure })
}

export class TreeMount implements AsyncDisposable {
  readonly top = mkdtempSync(join(tmpdir(), 'kappa-tree-'))
  /** Home's tree. */
  readonly root = join(this.top, 'r')
  /** The shell that keeps the namespaces, and the process that serves the mounts. */
  readonly keeper: ChildProcess
  readonly server: HomeServer
  readonly denied: string[] = []
  /** How both ended, and what they said. */
  readonly over: Promise<Ran>
  /** The process that serves the mounts. */
  serverPid = 0
  requests = 0
  readonly #wire: Wire
  readonly #store: StoreThread | undefined
  /** What the store has not answered. */
  #storing = 0
  readonly #mounted = Promise.withResolvers<void>()
  #news = 0
  #hearers: (() => void)[] = []
  readonly #written: (() => void)[] = []

  private constructor({ view, store, hashes, intercept }: TreeMountInit) {
    const mount = (descriptor: number, directory: string, isReadOnly: boolean): FuseMount => ({
      descriptor,
      directory: quote(directory),
      source: 'kappa',
      isReadOnly,
      checksModes: false,
      uid: 0,
      gid: 0
    })
    mkdirSync(this.root)
    mkdirSync(join(this.top, 's'))
    const mounts = [mount(3, this.root, false), mount(4, join(this.top, 's'), true)]
    const numbers = [process.geteuid!(), process.getegid!(), 3, 4, DAEMON].join(' ')
    // Without what tap loads into each Node, which takes time.
    const script = `set -e
unset NODE_OPTIONS
${mounts.map(mountScript).join('')}"$@" ${numbers} </dev/null >&2 &
echo $!
${closeScript(mounts)}exec ${DAEMON}<&-
exec cat`
    this.keeper = spawn('unshare', ['-Urm', 'sh', '-c', script, 'sh', process.execPath, SERVER], {
      stdio: ['pipe', 'pipe', 'pipe', 'ignore', 'ignore', 'pipe']
    })
    this.keeper.stdin?.on('error', () => {})
    this.keeper.stdout?.once('data', (line) => {
      this.serverPid = Number(line)
      this.#mounted.resolve()
    })
    this.over = finished(this.keeper, 'the mount', 10 * GUARD_MS)
    this.over.catch(() => {})
    const wire = new Wire((this.keeper.stdio as readonly unknown[])[DAEMON] as Socket)
    this.#wire = wire
    const home = Buffer.from(process.env.HOME ?? '/').toString('latin1')
    this.server = new HomeServer({
      view: new View({ kind: 'own', home, project: '/', shares: [], denied: [], ...view }),
      ...(hashes && { hashes }),
      send: (parts) => void wire.send([HOME, ...parts]),
      drained: () => wire.drained(),
      onRefused: (path, kind, why) => why === 'denied' && this.denied.push(`${kind} ${path}`),
      onFailure: (error) => console.error(error.message)
    })
    this.#store = store === undefined ? undefined : keep(store)
    const kept = this.#store?.open('home', (parts) => {
      this.#storing--
      wire.send([STORE, ...parts])
    })
    wire.receive(
      (frame) => {
        if (frame[0] === WIRE.store) {
          if (kept) {
            this.#storing++
            kept.handle(frame.subarray(1))
          } else wire.send([STORE, ...emptyAnswer(frame.subarray(1))])
        } else if (frame[0] === WIRE.settled) this.#written.shift()?.()
        else if (frame[0] === WIRE.news) this.#hear(Buffer.from(frame).readUInt32BE(1))
        else if (intercept?.(frame.subarray(1)) !== true) {
          this.requests++
          this.server.handle(frame.subarray(1))
        }
      },
      () => this.server.close()
    )
  }

  static async start(init: TreeMountInit = {}): Promise<TreeMount> {
    const mount = new TreeMount(init)
    await Promise.race([mount.#mounted.promise, mount.over])
    if (mount.serverPid === 0) throw new Error(`nothing was mounted: ${(await mount.over).stderr}`)
    return mount
  }

  #hear(news: number): void {
    this.#news = news
    for (const go of this.#hearers.splice(0)) go()
  }

  /** What the target keeps is kept, as far as it was read. */
  async stored(): Promise<void> {
    // A moment for it to be told what to keep; what it was told it does in order.
    while (this.#storing > 0) await new Promise((resolve) => setTimeout(resolve, 10))
  }

  /** What programs wrote that have ended is at home. */
  written(): Promise<void> {
    this.#wire.send([Uint8Array.of(WIRE.settled, 0, 0, 0, 0)])
    return new Promise((resolve) => this.#written.push(resolve))
  }

  /** Everything that changed at home until now is known in the mount. */
  async settle(): Promise<void> {
    const news = await this.server.settle()
    while (this.#news < news) await new Promise<void>((resolve) => this.#hearers.push(resolve))
  }

  /** Home is gone. */
  cut(): void {
    this.#wire.close()
  }

  /** Starts a program in a directory of home, as the mount shows it; undefined: outside of the mount. */
  spawn(directory: string | undefined, argv: readonly string[]): ChildProcess {
    const enter = ['-t', String(this.keeper.pid), '-U', '-m', '--preserve-credentials']
    const inside = [
      'sh',
      '-c',
      'unset NODE_OPTIONS; cd "$1" && shift && exec "$@"',
      'sh',
      directory === undefined ? '/' : this.root + directory
    ]
    return spawn('nsenter', [...enter, ...inside, ...argv], { stdio: ['pipe', 'pipe', 'pipe'] })
  }

  run(directory: string | undefined, script: string, guardMs = GUARD_MS): Promise<Ran> {
    const child = this.spawn(directory, ['sh', '-c', script])
    child.stdin?.end()
    return finished(child, script, guardMs)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.keeper.stdin?.end()
    this.#wire.close()
    await this.#store?.close()
    await this.over.catch(() => {})
    rmSync(this.top, { recursive: true, force: true })
  }
}

/** One ./executor.ts, here or in a mount. */
export class Executor {
  readonly #child: ChildProcess
  readonly #answers: ((results: string[]) => void)[] = []
  #end: Error | undefined

  constructor(directory: string, mount?: TreeMount) {
    const argv = [process.execPath, EXECUTOR]
    const env = { ...process.env, NODE_OPTIONS: '' }
    this.#child = mount?.spawn(directory, argv) ?? spawn(argv[0]!, argv.slice(1), { cwd: directory, env })
    let said = ''
    this.#child.stderr?.on('data', (text) => (said += text))
    this.#child.stdin?.on('error', () => {})
    createInterface({ input: this.#child.stdout! }).on('line', (line) => this.#answers.shift()?.(JSON.parse(line)))
    this.#child.on('close', (code, signal) => {
      this.#end = new Error(`the executor ended: ${code ?? signal} ${said}`)
      for (const answer of this.#answers.splice(0)) answer([this.#end.message])
    })
  }

  run(operations: readonly Operation[]): Promise<string[]> {
    if (this.#end) return Promise.reject(this.#end)
    this.#child.stdin?.write(`${JSON.stringify(operations)}\n`)
    return new Promise((resolve) => this.#answers.push(resolve))
  }

  close(): Promise<void> {
    this.#child.stdin?.end()
    return new Promise((resolve) => (this.#end ? resolve() : this.#child.once('close', () => resolve())))
  }
}
