/** What the daemon answers to the commands of the client, and tells on the way; the part that scripts see is a promise. */

import type { PairingKind, PeerId } from '../core/types.ts'
import type { RunEnd } from './control-codec.ts'
import type { Needing } from './giving-way.ts'

/** `status {}`. Metrics are for a demand of 1. */
export interface StatusResult {
  name: string
  peerId: PeerId
  version: string
  /** Multiaddrs told to others. */
  addresses: string[]
  /** Home's own view of itself. */
  metric: number
  /** Static score relative to the reference machine; null until the first benchmark is done. */
  static: number | null
  /** Runnable tasks that compete, smoothed, and cores idle of the cores there are. */
  load: { runnable: number; idleCores: number; cores: number }
  /** Cores that guests may hold, and hold. */
  slots: { total: number; used: number }
  /** Why no guests are taken now, such as `its owner paused lending until 18:00`; null when they are. */
  refuses: string | null
  /** It was paused, and `kappa resume` ends that. */
  paused: boolean
  /** Why guests here can't see their home's files, and what to do; null when they can. */
  plainOnly: string | null
  /** How this machine's jobs are placed, and what it tells its neighbours for that. */
  placement: { strategy: string; information: string }
  neighbours: NeighbourResult[]
  /** Best first; `metric` is less what the hops cost. */
  reachable: ReachableResult[]
  /** Where the last 100 jobs ran and why, most frequent first; `target` is a name. */
  lastJobs: { target: string; reason: string; count: number }[]
}

export interface ReachableResult {
  peerId: PeerId
  name: string
  metric: number
  /** How far its own word about its speed is believed, in (0, 1]: home counts its metric by so much. */
  trust: number
  hops: number
  ageMs: number
  /** Cores that guests may hold there, and hold, as it said last; none where it takes no guests. */
  slots: { total: number; used: number }
  /** The neighbour that leads to it; null for a neighbour. */
  through: string | null
  /** Its address, or the relay, while a connection to it is kept; null for a neighbour too. */
  via: string | null
}

export interface NeighbourResult {
  name: string
  peerId: PeerId
  kind: PairingKind
  connected: boolean
  /** By its own record; null when that is not known. */
  metric: number | null
  /** As of what is reachable. */
  trust: number
  /** Its address or the relay; null when it isn't connected. */
  via: string | null
  /** Of the connection that is used: smoothed, in ms; null when it isn't connected or not yet measured. */
  roundTripMs: number | null
  /** Bytes over that connection since it was made; null when it isn't connected, or relayed. */
  traffic: { sent: number; received: number } | null
  /** Null until it told. */
  version: string | null
  /** Why it takes no guests; null when it does. */
  refuses: string | null
  /** Why jobs there can't see this machine's files and programs; null when they can, or when that is not known. */
  plainOnly: string | null
}

/** `figures {span?, last?}`: how this machine and those that it knows have fared. */
export interface FiguresResult {
  /** ms between two values. */
  everyMs: number
  /** Time of the last ones, ms since the epoch. */
  at: number
  /** This machine first. */
  peers: PeerFigures[]
}

/** Values of one machine, oldest first, for all kinds and machines the same times; null where nothing was known. */
export interface PeerFigures {
  peerId: PeerId
  name: string
  /** For a demand of 1; of machines behind others less what the hops cost. */
  metric: (number | null)[]
  /** Of its cores, busy with other things than kappa's jobs. */
  busyCores: (number | null)[]
  cores: (number | null)[]
  /** Cores that its own jobs of kappa may use there. */
  homeCores: (number | null)[]
  /** Cores that guests hold there, and may hold; none where it takes no guests. */
  slotsUsed: (number | null)[]
  slots: (number | null)[]
}

/** `ui {}`: an address that is good once, so many ms. */
export interface UiResult {
  url: string
  forMs: number
}

/** `metrics {}`: as Prometheus reads them. */
export interface MetricsResult {
  text: string
}

/** A row of `peers {}`. */
export interface PeerResult {
  peerId: PeerId
  name: string
  kind: PairingKind
  state: 'pending' | 'paired'
  connected: boolean
  addresses: string[]
  /** It said how: `kappa run --wake`. */
  canWake: boolean
}

/** `unpair {peer}`: whether the other side heard of it at once. */
export interface UnpairResult {
  told: boolean
}

/** A row of `ps {guests?}`: newest first, the older ones only as long as they are not over. Names of peers, where they have one. */
export interface JobResult {
  id: string
  state: 'placing' | 'queued' | 'starting' | 'running' | 'exited' | 'lost'
  argv: string[]
  /** Null as long as it is open. */
  target: string | null
  home: string
  /** ms since the epoch, as is `endedAt`. */
  startedAt: number
  endedAt: number | null
  exitCode: number | null
  signal: string | null
  /** Its output is kept here: `kappa logs`. */
  detached: boolean
  /** In line, 1 for the first; only while it is queued. */
  position?: number
}

/** `logs {job, follow?}`, behind the job's output: lines for the user. */
export interface LogsResult {
  notes: string[]
}

/** `wait {job}`: when it is over; `told` is what `kappa run` would have made of it. */
export interface WaitResult {
  job: JobResult
  told: RunEnd
}

/** `kill {job, signal, guest?}`: the name of the machine that can't be reached now, and gets the signal when it is back. */
export interface KillResult {
  id: string
  waitsFor: string | null
}

/** `why {job}`. */
export interface WhyResult extends JobResult {
  /** In words: `idle here`, `desktop is 3.1 times better`; null as long as it is open. */
  reason: string | null
  /** `metric` is less what the hops to it cost; `via`: the neighbour that told of it. */
  candidates: {
    peerId: PeerId
    name: string
    metric: number
    hops: number
    via?: string
    ageMs: number
    /** Below 1: its word was believed by so much only, and its metric is less by that. */
    trust?: number
    lacks?: string
  }[]
  /** Names of the peers on the way, the target last. */
  hops: string[]
  /** `hops`: names of the peers on the way to one that had promised a slot. */
  refusals: { peerId: PeerId; name: string; code: string; reason: string; hops?: string[] }[]
  /** ms each phase took, by its name: `placed`, `started`, `ran`. */
  timesMs: Record<string, number>
  error: { name: string; message: string } | null
}

/** `reload {}`: keys that changed and hold only from the next start of the daemon on. */
export interface ReloadResult {
  atNextStart: string[]
}

/** `leave {now?}`: the jobs that end with the daemon; it waits for them, unless it is to end now. */
export type LeaveResult = Needing

/** `pause {forMs?, now?}`: the end of the pause, ms since the epoch, or null; and guests that were ended at once. */
export interface PauseResult {
  until: number | null
  ended: number
  /** Guests that may finish. */
  running: number
}

/** `nearby {}`: machines on the network that aren't paired with this one, by the names that they give themselves. */
export interface NearbyResult {
  names: string[]
}

/** One thing that `doctor` looked at. */
export interface CheckResult {
  /** Such as `sandbox`, for scripts. */
  id: string
  name: string
  /** `warning`: it works, and less well than it could; `failure`: what is lost does not work at all. */
  verdict: 'ok' | 'warning' | 'failure'
  /** What was found; empty where a friend's machine does not tell. */
  found: string
  /** What doesn't work by it; null when it is in order. */
  lost: string | null
  /** Commands to type, line by line, and comments; empty when none is known, or a friend's machine does not tell. */
  mend: string[]
}

/** What `doctor` says of one machine. */
export interface MachineResult {
  name: string
  /** Its distribution; null where it isn't told. */
  system: string | null
  version: string | null
  checks: CheckResult[]
}

/** `doctor {peer?}`. */
export interface DoctorResult {
  here: MachineResult
  /** The machine that was asked about; null without one. */
  there: (MachineResult & { kind: PairingKind }) | null
  /** What is between both; a mend is `on` the machine of that name. */
  between: (CheckResult & { on: string })[]
}

/** What `pair-invite`, `pair-wait` and `pair-join` tell on their way; those with `need` wait for an answer. */
export type PairEvent =
  | { type: 'link'; link: string }
  /** `name` is what to give to `kappa pair` on the other machine. */
  | { type: 'waiting'; name: string; forMs: number }
  | { type: 'try'; number: number; left: number; name: string; kind: PairingKind }
  | { type: 'found'; name: string; kind: PairingKind }
  | { type: 'digits'; digits: string; name: string }
  | { type: 'matched'; name: string }
  | { type: 'failed'; reason: string; left: number }
  /** Answered by `{ digits: string }`. */
  | { need: 'digits'; name: string; kind: PairingKind }
  /** Answered by `{ confirm: boolean }`. */
  | { need: 'confirm'; name: string; kind: PairingKind }

/** The result of every way to pair. */
export interface PairResult {
  peerId: PeerId
  name: string
  kind: PairingKind
}
