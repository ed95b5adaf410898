/** The target's side of the daemon: guests of other homes, from the accepted ticket to the removed directory. */

import { randomBytes } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { pipe } from 'it-pipe'
import type { JobEnd, PairingKind, PeerId } from '../core/types.ts'
import { KappaError } from '../errors.ts'
import { GuestLimit } from '../execution/guest-limit.ts'
import type { Home } from '../execution/homes.ts'
import { Executor, type Job } from '../execution/job.ts'
import type { LimitName } from '../execution/launcher.ts'
import { childrenOf } from '../execution/process.ts'
import { JobOutput, RecordingRoom } from '../execution/recording.ts'
import { packOuts, unpackIns } from '../execution/staging.ts'
import { type NoTrees, type Tree, whyNoTrees } from '../execution/tree.ts'
import { StoreThread } from '../files/target/store-thread.ts'
import type { QuotaUse } from '../machine/sampler.ts'
import { printable } from '../printable.ts'
import { TREE_LOST } from '../protocols/exec/constants.ts'
import {
  ExecTarget,
  type Grant,
  type JobRecording,
  type LaunchedJob,
  type LaunchRequest,
  type StartMessage
} from '../protocols/exec/target.ts'
import { commandsFor, whyForbidden } from './allowed-commands.ts'
import { Audit } from './audit.ts'
import { type Configuration, cacheBytes, devicesOf, guestLimits, outputBytes } from './configuration.ts'
import type { Daemon } from './daemon.ts'
import type { ProbesInit } from './doctor/probes.ts'
import { changesPrograms } from './environment.ts'
import type { JobRecord } from './history.ts'
import { SeenTrees } from './seen-trees.ts'

const LIMIT_NAMES = new Set<string>(['as', 'core', 'cpu', 'data', 'fsize', 'memlock', 'nofile', 'nproc', 'stack'])

const NO_SANDBOX: NoTrees = { reason: 'no sandbox', mend: 'the daemon says at its start what it needs' }

/** Bytes of this machine, or of the container that it is. */
interface Memory {
  memoryTotal: number
  memoryAvailable: number
}

export class Guests {
  readonly target: ExecTarget
  /** Why guests can't be run safely here, with the mend; undefined when they can. */
  readonly unsafe: string | undefined
  /** Whether they can have terminals. */
  readonly terminals: boolean
  /** Why they can't see their home's tree; undefined when they can. */
  readonly noFiles: NoTrees | undefined
  readonly trees: SeenTrees
  /** What is kept of homes' files. */
  readonly #store: StoreThread
  readonly #daemon: Daemon
  readonly #executor: Executor
  readonly #limit = new GuestLimit()
  readonly audit: Audit
  readonly #memory: () => Memory
  /** Guests while they live, by ticket; bounded by the reservations. */
  readonly #guests = new Map<string, { home: PeerId; grant: Grant; record: JobRecord }>()
  /** For what detached guests wrote and their homes haven't fetched. */
  readonly #room: RecordingRoom

  private constructor(
    daemon: Daemon,
    epoch: number,
    executor: Executor,
    unsafe: string | undefined,
    terminals: boolean,
    noFiles: NoTrees | undefined,
    memory: () => Memory
  ) {
    this.#daemon = daemon
    this.#memory = memory
    this.#executor = executor
    this.audit = new Audit(daemon.directories.state, daemon.log)
    this.#room = new RecordingRoom(
      outputBytes(daemon.configuration),
      (mebibytes) => `detached jobs have filled the ${mebibytes} MiB that they have together (guests.output)`
    )
    // Of jobs that ended with the last daemon.
    this.#removeRecordings()
    this.unsafe = unsafe
    this.terminals = terminals
    this.noFiles = noFiles
    this.#store = new StoreThread({
      directory: join(daemon.directories.cache, 'files'),
      max: cacheBytes(daemon.configuration),
      onFailure: (error) => daemon.log.error("what is kept of homes' files is not used any more", error)
    })
    this.trees = new SeenTrees(daemon.log, this.#store)
    this.target = new ExecTarget({
      epoch,
      terminals,
      now: () => daemon.clock.now(),
      startTicket: (from, ticket, command, tree) => {
        if (tree !== undefined && this.trees.isLost(from, tree)) {
          return { accepted: false, code: TREE_LOST, reason: 'what showed the files there was killed' }
        }
        const answer = daemon.driver.core.startTicket(from, ticket, daemon.clock.now(), command)
        return answer.accepted ? { ...answer, labels: answer.needs.labels } : answer
      },
      resolveTicket: (from, ticket) => daemon.driver.core.resolveTicket(from, ticket, daemon.clock.now()),
      forgetTicket: (from, ticket) => {
        daemon.driver.core.forgetTicket(from, ticket)
        daemon.handOver()
      },
      launch: (request) => this.#launch(request),
      record: (from, grant) => this.#record(from, grant),
      jobStarted: (from, grant, message) => this.#started(from, grant, message),
      jobEnded: (from, ticket, end) => this.#ended(from, ticket, end),
      log: (line) => daemon.log.error(line)
    })
  }

  static async create(daemon: Daemon, epoch: number, memory: () => Memory): Promise<Guests> {
    const { guests } = daemon.configuration
    const executor = await Executor.open({
      scratchDirectory: join(daemon.directories.state, 'scratch'),
      unsandboxed: guests.unsandboxed,
      nice: guests.nice,
      paths: guests.paths,
      limits: guestLimits(daemon.configuration, memory().memoryTotal),
      memory,
      ...guestUser(guests.user)
    })
    const available = await executor.available()
    const unsafe = available.ok ? undefined : `${available.reason}; ${available.mend}`
    if (unsafe) daemon.log.warn(`no sandbox: ${unsafe}`)
    const noTerminals = available.ok ? available.noTerminals : undefined
    if (noTerminals !== undefined) daemon.log.warn(`no terminals for guests: ${noTerminals}`)
    const noFiles = available.ok ? await whyNoTrees(guestUser(guests.user)) : NO_SANDBOX
    if (available.ok && noFiles !== undefined)
      daemon.log.warn(`guests can't see their home's files: ${noFiles.reason}; ${noFiles.mend}`)
    return new Guests(daemon, epoch, executor, unsafe, noTerminals === undefined, noFiles, memory)
  }

  /** Roots of the process trees that this daemon started: sandboxes, and the benchmark while it runs. */
  roots(): number[] {
    return childrenOf(process.pid)
  }

  /** Where a quota makes them equals of the owner's tasks, guests yield by a limit; `others`: whether anybody else runs here. */
  yield(quota: QuotaUse | undefined, others: boolean): void {
    this.#executor.limit(this.#limit.update(quota, others))
  }

  /** The owner decided anew what guests may take. */
  configure(configuration: Configuration): void {
    this.#executor.bound(guestLimits(configuration, this.#memory().memoryTotal))
    this.#room.resize(outputBytes(configuration))
    this.#store.resize(cacheBytes(configuration))
  }

  /** What `doctor` looks at anew, beside what was found at the start. */
  examination(): Pick<ProbesInit, 'sandbox' | 'trees' | 'before' | 'groups' | 'unsandboxed'> {
    const { user, unsandboxed } = this.#daemon.configuration.guests
    return {
      sandbox: () => this.#executor.examine(),
      trees: () => whyNoTrees(guestUser(user)),
      before: { sandbox: this.unsafe === undefined, terminals: this.terminals, files: this.noFiles === undefined },
      groups: this.#executor.held,
      unsandboxed
    }
  }

  /** Has a cell ready for a home that is likely to send a job. */
  prepare(peer: PeerId, kind: PairingKind): void {
    if (this.unsafe === undefined) this.#executor.prepare(this.#home(peer, kind))
  }

  /** One of two neighbours trusts the other no more: what came from it through that neighbour ends. */
  endWithdrawn(peer: PeerId, by: PeerId): void {
    const tickets: string[] = []
    for (const [ticket, { home, grant }] of this.#guests) {
      const way = [home, ...grant.vouchers]
      if (way.some((step, index) => step === peer && way[index + 1] === by)) tickets.push(ticket)
    }
    this.target.endJobs(tickets, 'a pairing on the way to its home was ended')
  }

  /** Those that run now, oldest first. */
  *live(): Generator<JobRecord> {
    for (const { record } of this.#guests.values()) yield record
  }

  /** Ends the one that a person means by an unambiguous start of its id; its id. Throws UnknownJobError, AmbiguousNameError. */
  end(prefix: string, why: string): string {
    const found = [...this.#guests].filter(([, { record }]) => prefix !== '' && record.id.startsWith(prefix))
    const exact = found.filter(([, { record }]) => record.id === prefix)
    const [job, another] = exact.length > 0 ? exact : found
    if (job === undefined) {
      const what = `no job "${printable(prefix)}" of another machine runs here`
      throw new KappaError('UnknownJobError', `${what}; see: kappa ps --guests`)
    }
    if (another !== undefined) {
      const ids = found.map(([, { home, record }]) => `${record.id} of ${this.#daemon.nameOf(home)}`).join(', ')
      throw new KappaError('AmbiguousNameError', `"${printable(prefix)}" may be ${ids}; give more of the id`)
    }
    this.target.endJobs([job[0]], why)
    return job[1].record.id
  }

  async close(): Promise<void> {
    this.target.close()
    this.trees.close()
    await this.#store.close()
    await this.#executor.close()
    this.audit.close()
    this.#removeRecordings()
  }

  #removeRecordings(): void {
    if (!existsSync(this.#recordings)) return
    for (const name of readdirSync(this.#recordings))
      rmSync(join(this.#recordings, name), { recursive: true, force: true })
  }

  get #recordings(): string {
    return join(this.#daemon.directories.state, 'recordings')
  }

  /** A home that is no neighbour may come for it as long as it is there. */
  #record(from: PeerId, { vouchers }: Grant): JobRecording {
    const { gater } = this.#daemon.node
    const output = new JobOutput(join(this.#recordings, randomBytes(8).toString('hex')), this.#room)
    const admitted = vouchers.length > 0 && gater.admitHome(from)
    const { stdout, stderr } = output
    const remove = () => {
      if (admitted) gater.dropHome(from)
      return output.remove()
    }
    return { stdout, stderr, remove }
  }

  /** How the sandbox treats a home; the owner may give friends the machine's network. */
  #home(peerId: PeerId, kind: PairingKind, labels: readonly string[] = []): Home {
    const { configuration } = this.#daemon
    const devices = devicesOf(configuration, labels)
    return { peerId, kind: configuration.guests.network === 'full' ? 'own' : kind, devices }
  }

  async #launch({ from, grant, message, ins }: LaunchRequest): Promise<LaunchedJob> {
    const tree = message.tree && (await this.#tree(from, message.tree))
    const job = await this.#executor.begin({
      home: { ...this.#home(from, grant.kind, grant.labels), ...(tree && { tree }) },
      ...(message.tree && { directory: message.tree.directory }),
      argv: message.argv,
      env: [...this.#environment(from, grant.kind, message.env), ...placeNames(message, this.#daemon.name)],
      umask: message.umask,
      nice: message.nice,
      limits: message.limits
        .filter(({ name }) => LIMIT_NAMES.has(name))
        .map(({ name, soft }) => ({ name: name as LimitName, soft: soft < 0 ? ('unlimited' as const) : soft })),
      ...(message.terminal ? { terminal: message.terminal } : {})
    })
    try {
      if (ins) await pipe(ins, (source) => unpackIns(source, job.stage))
      job.start()
      return launched(job, message, tree)
    } catch (error) {
      await job.close()
      throw error
    }
  }

  async #tree(from: PeerId, { id, news, programs }: NonNullable<StartMessage['tree']>): Promise<Tree> {
    const tree = await this.trees.get(from, id, news)
    return programs === undefined ? tree : { ...tree, programs }
  }

  /** Why its owner doesn't let that home run the command here; undefined: it may. */
  forbids(home: PeerId, kind: PairingKind, command: string): string | undefined {
    return whyForbidden(this.#commandsFor(home, kind), command)
  }

  #commandsFor(peer: PeerId, kind: PairingKind): string[] | undefined {
    const { pairings, configuration } = this.#daemon
    return commandsFor(configuration.guests.commands, { peer, name: pairings.get(peer)?.name, kind })
  }

  /** Who may run some commands alone may not make others of them, as by LD_PRELOAD. */
  #environment(home: PeerId, kind: PairingKind, entries: readonly Uint8Array[]): readonly Uint8Array[] {
    if (this.#commandsFor(home, kind) === undefined) return entries
    return entries.filter((entry) => !changesPrograms(Buffer.from(entry).toString('latin1')))
  }

  #started(from: PeerId, grant: Grant, message: StartMessage): void {
    const { vouchers } = grant
    this.#daemon.others.learnName(from, message.home)
    const record: JobRecord = {
      id: message.job,
      role: 'guest',
      home: from,
      target: this.#daemon.peerId,
      state: 'running',
      argv: message.argv,
      startedAt: Date.now(),
      endedAt: null,
      exitCode: null,
      signal: null,
      reason:
        vouchers.length === 0 ? null : `brought by ${vouchers.map((peer) => this.#daemon.nameOf(peer)).join(', ')}`,
      trace: null,
      error: null
    }
    this.#guests.set(message.ticket, { home: from, grant, record })
    this.#daemon.history.record(record)
    const through = vouchers.map((peer) => this.#daemon.nameOf(peer))
    this.audit.started(record, this.#daemon.nameOf(from), through)
  }

  #ended(from: PeerId, ticket: string, end: JobEnd): void {
    const { driver, clock, history } = this.#daemon
    driver.perform(driver.core.guestJobEnded(ticket, end, clock.now()))
    const guest = this.#guests.get(ticket)
    this.#guests.delete(ticket)
    if (!guest) return
    const { exitCode, signal } = end
    const over = { state: 'exited', endedAt: Date.now(), exitCode, signal, error: end.error ?? null } as const
    const record = { ...guest.record, ...over }
    history.record(record)
    this.audit.ended(record, this.#daemon.nameOf(from))
    this.#daemon.jobOver(record)
    this.prepare(from, guest.grant.kind)
  }
}

/** The streams and the end of a job, as the exec protocol wants them. */
function launched(job: Job, message: StartMessage, tree: Tree | undefined): LaunchedJob {
  const use = tree?.use()
  const ended = tree ? settled(job, tree) : job.ended
  void ended.then(() => use?.ended())
  return {
    stdin: job.stdin,
    stdout: job.stdout,
    stderr: job.stderr,
    ...(job.terminal ? { terminal: job.terminal } : {}),
    onStopped: (listener) => {
      job.onStopped = listener
    },
    signal: (number) => void job.signal(number),
    kill: () => job.kill(),
    ...(use && { cutOff: () => use.cutOff() }),
    ended,
    usage: () => job.usage,
    outs: () => packOuts(message.outs, job.stage),
    dispose: () => job.close()
  }
}

/** Who is told that it ended finds at home what it wrote. */
async function settled({ ended }: Job, tree: Tree): Promise<Awaited<Job['ended']>> {
  const end = await ended
  await tree.settled()
  return end
}

/** Where a job is, for its own use: with KAPPA_JOB set, `kappa run` in it runs its command at once. */
function placeNames(message: StartMessage, target: string): Buffer[] {
  const names = { KAPPA_JOB: message.job, KAPPA_HOME: printable(message.home, 64), KAPPA_TARGET: target }
  return Object.entries(names).map(([name, value]) => Buffer.from(`${name}=${value}`))
}

/** A root daemon's guests are this user. Throws ConfigurationError when there is none of that name. */
function guestUser(name: string): { guestUid?: number; guestGid?: number } {
  if (process.getuid?.() !== 0) return {}
  const line = readFileSync('/etc/passwd', 'latin1')
    .split('\n')
    .find((entry) => entry.startsWith(`${name}:`))
  const [, , uid, gid] = line?.split(':').map(Number) ?? []
  if (!uid || gid === undefined) {
    throw new KappaError(
      'ConfigurationError',
      `guests.user is "${name}", but there is no such user on this machine; name another with: kappa config set guests.user`
    )
  }
  return { guestUid: uid, guestGid: gid }
}
