/** What programs that embed kappa see. Names and fields here are promises; new optional ones may be added. */

import type { Readable, Writable } from 'node:stream'

/** What another machine is: the same person's, or somebody else's. */
export type PairingKind = 'own' | 'friend'

export interface PeerOptions {
  /** Where the peer keeps its identity, pairings, history and socket; made when it is missing. One peer for each. */
  directory: string
  /** What it is called; default: the host name. */
  name?: string
  /** Where it accepts connections, such as `0.0.0.0:5277`; port 0 is any. Default: what the configuration says. */
  listen?: string[]
  /** Addresses told to other machines instead of the ones listened on. */
  announce?: string[]
  /** The configuration file; default: `kappa.toml` in the directory. */
  configuration?: string
  /** Gives up starting. */
  signal?: AbortSignal
}

export interface ConnectOptions {
  /** Of a peer that `createPeer` or KAPPA_DIR made; default: the user's own, which is started when it doesn't run. */
  directory?: string
  signal?: AbortSignal
}

/** Ends a request that waits; the promise then rejects with the signal's reason. */
export interface Waiting {
  signal?: AbortSignal
}

/** A running peer. */
export interface Peer extends AsyncDisposable {
  readonly name: string
  /** The libp2p peer ID. */
  readonly peerId: string
  /** This machine and what it can reach. */
  status(options?: Waiting): Promise<Status>
  /** The paired machines. */
  peers(options?: Waiting): Promise<PairedMachine[]>
  /** Makes an invitation that is good once, for 10 minutes or until `signal` aborts. `kind`: what this side takes the other for; default: friend. */
  invite(options?: Waiting & { kind?: PairingKind }): Promise<Invitation>
  /** Pairs with the machine that made the link. Rejects with InvitationError, PairingError. */
  accept(link: string, options?: Waiting & { kind?: PairingKind }): Promise<Paired>
  /** Ends a pairing at once, its jobs too. `peer`: a name or the start of a peer ID. */
  unpair(peer: string): Promise<void>
  /**
   * Runs a command where it finishes soonest: `argv[0]` is looked for in PATH, nothing goes through a shell. What is
   * wrong is told by `job.ended`.
   */
  run(argv: string[], options?: RunOptions): Job
  /**
   * Runs a command for each item over all machines; a job is bound to a machine when that has room for it. Results come
   * in the order of the items unless `ordered` is false; a job that fails is a result, too. Leaving the loop ends the jobs
   * that still run.
   */
  each<T>(
    items: Iterable<T> | AsyncIterable<T>,
    command: EachCommand<T>,
    options?: EachOptions
  ): AsyncIterable<EachResult<T>>
  /** The newest jobs first, at most 50. */
  jobs(options?: Waiting): Promise<JobRecord[]>
  /** Why a job ran where it ran: candidates, hops, refusals, times. `job`: the start of an id. */
  why(job: string, options?: Waiting): Promise<JobTrace>
  /** Figures of this peer as Prometheus text. */
  metrics(options?: Waiting): Promise<string>
  /** Ends the jobs that were started by this object, and the peer itself if `createPeer` made it. */
  stop(): Promise<void>
}

export interface RunOptions {
  /** The working directory; default: this process's. */
  cwd?: string
  /** The whole environment; default: this process's. Secrets and what belongs to this machine stay here. */
  env?: NodeJS.ProcessEnv
  /** What the command reads. `pipe`: what is written to `job.stdin`; default: nothing. */
  stdin?: 'pipe' | string | Uint8Array | AsyncIterable<string | Uint8Array>
  /** Nothing of this machine is seen there: an empty directory and its own programs. */
  plain?: boolean
  /** Only these files of `cwd` go along, as relative paths; the programs are those of the machine. */
  in?: string[]
  /** Files that come back when the job has succeeded, all or none. */
  out?: string[]
  /** They come back after a failure too. */
  outAlways?: boolean
  /** Absolute paths that it sees though they are kept from jobs otherwise. */
  share?: string[]
  /** It sees this machine's files and runs the programs that are there. */
  tools?: 'target'
  /** Only here, or only elsewhere. */
  where?: 'here' | 'elsewhere'
  /** Names or starts of peer IDs: only there, never there. */
  on?: string[]
  not?: string[]
  /** Waits for a free slot rather than share one. */
  wait?: boolean
  /** Cores that it can use at once, and memory that it needs. */
  cores?: number
  memoryBytes?: number
  /** Programs that must be installed there, labels that its owner must have given. */
  programs?: string[]
  labels?: string[]
  /** Ended when it has run so long: TERM, and KILL 4 s later. */
  timeoutMs?: number
  /** Ends the job; `ended` then rejects with the signal's reason. */
  signal?: AbortSignal
}

/** A command on its way, or running. */
export interface Job {
  /** Ended unless the option `stdin` is `pipe`. */
  readonly stdin: Writable
  /** Exact bytes; the job waits when nobody reads them. */
  readonly stdout: Readable
  readonly stderr: Readable
  /** Where it runs, as soon as that is known. */
  readonly placed: Promise<Place>
  /**
   * How it ended, whatever its exit status. Rejects when kappa could not run it, or doesn't know its end, with an error whose
   * `name` says it: NothingRanError, CommandNotFoundError, NotExecutableError, StagingError, LostError (it may have run).
   */
  readonly ended: Promise<JobEnd>
  /** Sends a signal to the whole job; default: SIGTERM. Before it starts, one that would end it cancels it. */
  kill(signal?: NodeJS.Signals): void
  /** Reads both outputs to their end, at most `maxBytes` of each (default: 64 MiB): one that writes more is ended. */
  output(options?: { maxBytes?: number }): Promise<JobOutput>
}

export interface Place {
  /** Of the job, for `why`. */
  id: string
  /** Of the machine. */
  machine: string
  isHere: boolean
}

export interface JobEnd extends Place {
  /** Null when a signal ended it. */
  exitCode: number | null
  signal: string | null
  /** `timeoutMs` ended it. */
  isTimedOut: boolean
}

export interface JobOutput extends JobEnd {
  stdout: Buffer
  stderr: Buffer
}

/** What to run for one item: the words of the command, or with options of its own. */
export type EachCommand<T> = (item: T, index: number) => string[] | (RunOptions & { argv: string[] })

export interface EachOptions {
  /** Jobs at once at most; default: as many as find a place, up to 256. */
  jobs?: number
  /** False: results as they come. Default: true. */
  ordered?: boolean
  /** Of each output of each job; default: 1 MiB. */
  maxBytes?: number
  /** For every job that doesn't say otherwise. */
  run?: RunOptions
  signal?: AbortSignal
}

export type EachResult<T> = { item: T; index: number } & (
  | { output: JobOutput; error?: never }
  /** As `ended` of a job rejects. */
  | { error: Error; output?: never }
)

export interface Invitation {
  /** To be given to the other machine, as a secret. */
  link: string
  /** When it was used; rejects when it was used wrongly, revoked or is too old. */
  paired: Promise<Paired>
}

export interface Paired {
  peerId: string
  name: string
  kind: PairingKind
}

export interface PairedMachine extends Paired {
  state: 'pending' | 'paired'
  connected: boolean
}

/** Metrics say how fast one more job would run: 100 is an idle core of the reference machine. */
export interface Status {
  name: string
  peerId: string
  version: string
  addresses: string[]
  metric: number
  /** The benchmark's score; null until it is measured. */
  static: number | null
  load: { runnable: number; idleCores: number; cores: number }
  /** Cores lent at most, and now. */
  slots: { total: number; used: number }
  /** Why nothing is lent now; null: it is. */
  refuses: string | null
  neighbours: {
    name: string
    peerId: string
    kind: PairingKind
    connected: boolean
    metric: number | null
    version: string | null
    refuses: string | null
  }[]
  /** Best first. */
  reachable: {
    name: string
    peerId: string
    metric: number
    hops: number
    ageMs: number
    slots: { total: number; used: number }
  }[]
}

export interface JobRecord {
  id: string
  state: 'placing' | 'queued' | 'starting' | 'running' | 'exited' | 'lost'
  argv: string[]
  /** Null as long as it is open. */
  target: string | null
  home: string
  /** ms since the epoch. */
  startedAt: number
  endedAt: number | null
  exitCode: number | null
  signal: string | null
}

export interface JobTrace extends JobRecord {
  /** Such as `desktop is 3.1 times better`. */
  reason: string | null
  candidates: { name: string; peerId: string; metric: number; hops: number; ageMs: number; lacks?: string }[]
  hops: string[]
  refusals: { name: string; peerId: string; code: string; reason: string }[]
  /** By phase: `placed`, `ran`. */
  timesMs: Record<string, number>
}
