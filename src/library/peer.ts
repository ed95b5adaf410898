/** A peer as the library shows it: one that it starts as a process of its own, or one that runs. */

import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type {
  JobResult,
  MetricsResult,
  PairResult,
  PeerResult,
  StatusResult,
  WhyResult
} from '../daemon/control-results.ts'
import { directories, privateDirectory, socketPath } from '../daemon/directories.ts'
import { KappaError, messageOf } from '../errors.ts'
import { Control } from './control.ts'
import { Each } from './each.ts'
import { RunningJob } from './job.ts'
import type {
  ConnectOptions,
  EachCommand,
  EachOptions,
  EachResult,
  Invitation,
  JobRecord,
  JobTrace,
  Paired,
  PairedMachine,
  PairingKind,
  Peer,
  PeerOptions,
  RunOptions,
  Status,
  Waiting
} from './types.ts'

const START_TIMEOUT_MS = 15_000
/** More than the daemon gives what is under way when it stops. */
const STOP_TIMEOUT_MS = 15_000
const POLL_MS = 20

/** In a checkout the sources run, in the package what was built of them. */
const LAUNCHER = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? '../../scripts/kappa' : './kappa', import.meta.url)
)

export async function startPeer(options: PeerOptions): Promise<Peer> {
  const { signal } = options
  signal?.throwIfAborted()
  const directory = privateDirectory(resolve(options.directory))
  const environment = peerEnvironment(directory, options)
  const logPath = join(privateDirectory(directories(environment).state), 'daemon.log')
  const log = openSync(logPath, 'a', 0o600)
  const logged = readFileSync(logPath).length
  // A group of its own: what a terminal sends to this one's is for this process to make something of.
  const child = spawn(LAUNCHER, ['daemon', '--attached'], {
    detached: true,
    cwd: '/',
    env: environment,
    stdio: ['pipe', log, log]
  })
  closeSync(log)
  child.stdin!.on('error', () => undefined)
  const process = new PeerProcess(child)
  const control = new Control(socketPath(environment))
  try {
    await process.serves(control, signal)
    return await Connected.to(control, process, signal)
  } catch (error) {
    await process.stop()
    signal?.throwIfAborted()
    const said = readFileSync(logPath).subarray(logged).toString().split('\n')
    const why = said.findLast((line) => line.startsWith('kappa: '))?.slice('kappa: '.length) ?? messageOf(error)
    throw new KappaError('DaemonError', `the peer in ${directory} did not start: ${why}; see ${logPath}`)
  }
}

export async function connectPeer({ directory, signal }: ConnectOptions): Promise<Peer> {
  signal?.throwIfAborted()
  if (process.env.KAPPA_JOB) {
    throw new KappaError('UsageError', 'this is a job of kappa itself, which runs where it is: there is no peer for it')
  }
  const environment = directory === undefined ? process.env : { ...process.env, KAPPA_DIR: resolve(directory) }
  const control = new Control(socketPath(environment))
  if (!(await control.answers())) {
    if (directory !== undefined) {
      throw new KappaError('DaemonUnreachableError', `no peer runs in ${directory}; start one with: createPeer`)
    }
    await startUsers(signal)
  }
  return await Connected.to(control, undefined, signal)
}

/** As any command of kappa does that finds none. */
function startUsers(signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const options = { stdio: ['ignore', 'ignore', 'pipe'] as ['ignore', 'ignore', 'pipe'], ...(signal && { signal }) }
    const child = spawn(LAUNCHER, ['status', '--json'], options)
    let said = ''
    child.stderr.on('data', (bytes) => (said += bytes))
    child.once('error', reject)
    child.once('close', (code) => {
      if (code === 0) resolve()
      else reject(new KappaError('DaemonError', said.trim().replace(/^kappa: /, '') || 'the daemon did not start'))
    })
  })
}

function peerEnvironment(directory: string, options: PeerOptions): NodeJS.ProcessEnv {
  const { name, listen, announce, configuration } = options
  const others = Object.entries(process.env).filter(([variable]) => !variable.startsWith('KAPPA_'))
  return {
    ...Object.fromEntries(others),
    KAPPA_DIR: directory,
    ...(name === undefined ? {} : { KAPPA_NAME: name }),
    ...(listen === undefined ? {} : { KAPPA_LISTEN: listen.join(' ') }),
    ...(announce === undefined ? {} : { KAPPA_ANNOUNCE: announce.join(' ') }),
    ...(configuration === undefined ? {} : { KAPPA_CONFIG: resolve(configuration) })
  }
}

/** The daemon's process, which ends when this one does: its stdin ends then. */
class PeerProcess {
  readonly #child: ChildProcess
  readonly #over: Promise<void>
  #failure: Error | undefined

  constructor(child: ChildProcess) {
    this.#child = child
    this.#over = new Promise((resolve) => {
      child.once('exit', () => resolve())
      child.once('error', (error) => {
        this.#failure = error
        resolve()
      })
    })
  }

  get #isOver(): boolean {
    return this.#failure !== undefined || this.#child.exitCode !== null || this.#child.signalCode !== null
  }

  async serves(control: Control, signal: AbortSignal | undefined): Promise<void> {
    const deadline = performance.now() + START_TIMEOUT_MS
    while (!(await control.answers())) {
      signal?.throwIfAborted()
      if (this.#isOver)
        throw this.#failure ?? new Error(`it ended with ${this.#child.exitCode ?? this.#child.signalCode}`)
      if (performance.now() > deadline) throw new Error(`it did not answer in ${START_TIMEOUT_MS / 1_000} s`)
      await new Promise((resolve) => setTimeout(resolve, POLL_MS))
    }
  }

  async stop(): Promise<void> {
    if (this.#isOver) return
    this.#child.stdin!.end()
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_TIMEOUT_MS)
    await this.#over
    clearTimeout(timer)
  }
}

class Connected implements Peer {
  readonly name: string
  readonly peerId: string
  readonly #control: Control
  readonly #process: PeerProcess | undefined
  /** Those that are not over; bounded by who starts them. */
  readonly #jobs = new Set<RunningJob>()
  #stopping: Promise<void> | undefined

  private constructor(control: Control, process: PeerProcess | undefined, { name, peerId }: Status) {
    this.#control = control
    this.#process = process
    this.name = name
    this.peerId = peerId
  }

  static async to(control: Control, process: PeerProcess | undefined, signal?: AbortSignal): Promise<Connected> {
    return new Connected(control, process, (await control.ask('status', {}, signal)) as StatusResult)
  }

  async status({ signal }: Waiting = {}): Promise<Status> {
    return (await this.#control.ask('status', {}, signal)) as StatusResult
  }

  async peers({ signal }: Waiting = {}): Promise<PairedMachine[]> {
    return (await this.#control.ask('peers', {}, signal)) as PeerResult[]
  }

  invite({ kind = 'friend', signal }: Waiting & { kind?: PairingKind } = {}): Promise<Invitation> {
    return new Promise((resolve, reject) => {
      const paired = this.#control.ask('pair-invite', { kind }, signal, (event) => {
        const { link } = event as { link?: string }
        if (link !== undefined) resolve({ link, paired })
      }) as Promise<PairResult>
      paired.catch(reject)
    })
  }

  async accept(link: string, { kind = 'friend', signal }: Waiting & { kind?: PairingKind } = {}): Promise<Paired> {
    return (await this.#control.ask('pair-accept', { kind, link }, signal)) as PairResult
  }

  async unpair(peer: string): Promise<void> {
    await this.#control.ask('unpair', { peer })
  }

  run(argv: string[], options: RunOptions = {}): RunningJob {
    if (this.#stopping) throw new KappaError('UsageError', 'this peer was stopped')
    const job = new RunningJob(this.#control, this.name, argv, options)
    this.#jobs.add(job)
    const over = () => void this.#jobs.delete(job)
    job.ended.then(over, over)
    return job
  }

  each<T>(
    items: Iterable<T> | AsyncIterable<T>,
    command: EachCommand<T>,
    options: EachOptions = {}
  ): AsyncIterable<EachResult<T>> {
    return new Each((argv, run) => this.run(argv, run), items, command, options)
  }

  async jobs({ signal }: Waiting = {}): Promise<JobRecord[]> {
    return (await this.#control.ask('ps', {}, signal)) as JobResult[]
  }

  async why(job: string, { signal }: Waiting = {}): Promise<JobTrace> {
    return (await this.#control.ask('why', { job }, signal)) as WhyResult
  }

  async metrics({ signal }: Waiting = {}): Promise<string> {
    return ((await this.#control.ask('metrics', {}, signal)) as MetricsResult).text
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  async #stop(): Promise<void> {
    const jobs = [...this.#jobs]
    for (const job of jobs) job.abandon(new DOMException('the peer was stopped', 'AbortError'))
    await Promise.all(jobs.map(({ gone }) => gone))
    this.#control.close()
    await this.#process?.stop()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }
}
