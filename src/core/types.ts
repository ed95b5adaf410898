/**
 * The words that the core speaks with the world around it: what it is told (events), what it wants done (effects) and
 * what travels between peers (messages). All times are milliseconds of the caller's clock, which counts suspend.
 */

import type { PaperMessage } from './paper-messages.ts'

/** A libp2p peer ID in its text form. */
export type PeerId = string

/** The two kinds of pairing; a friend is shown and lent less. */
export type PairingKind = 'own' | 'friend'

/** What a machine must be for a job to run there at all. */
export interface MachineClass {
  /** `process.platform` of the machine, such as `linux`. */
  os: string
  /** `process.arch`, such as `x64`. */
  arch: string
  /** x86-64 level 1–4; 0 where levels don't exist. */
  cpuLevel: number
  /** Bytes in a page of memory. */
  pageSize: number
  /**
   * What this machine can do for a guest: `plain`, `staged`, `files` (it sees home's tree), `programs` (that, with this
   * machine's programs in it), `pty` (with a terminal); empty when it takes no guests.
   */
  modes: string[]
  /** Why guests can't see their home's tree here, in words such as `no /dev/fuse`; absent: they can. */
  noFiles?: string
}

/**
 * What a machine says of itself: small enough to advertise, and enough to compute what a given job would get there.
 * Sampled values leave out the jobs that kappa itself runs; those are counted exactly.
 */
export interface MachineRecord {
  /** Scores of different versions don't compare. */
  benchmarkVersion: number
  /** Static score relative to the reference machine, > 0; 1 is the reference. */
  speed: number
  /** Cores usable (affinity, quota, configuration), > 0; may be fractional. */
  cores: number
  /** Cores idle over the window but for kappa's own jobs, 0..cores. */
  idleCores: number
  /** Runnable tasks that compete at normal priority but for kappa's own jobs, smoothed, ≥ 0. */
  runnable: number
  /** Cores that the home jobs of this peer can use, counted from the promise to the exit, ≥ 0. */
  homeDemand: number
  /** Cores promised to guests (reservations and running jobs), ≥ 0. */
  guestDemand: number
  /** Bytes of memory available, as sampled. */
  memoryAvailable: number
  /** Bytes of memory in all, or the limit of the cgroup. */
  memoryTotal: number
  /** Bytes promised to jobs that have not yet used them. */
  memoryPromised: number
  /** Bytes that the owner keeps free of guests. */
  memoryFloor: number
  /** Cores that guests may hold at once. */
  slots: number
  /** Why this peer takes no guests now, in words for a person; absent when it does. */
  refuses?: string
  class: MachineClass
  /** Labels that the owner gave, for `--need`; at most 16. */
  labels: string[]
}

/** What `src/machine` measures; the core adds what it knows itself (demands, promises, owner's rules). */
export type MachineSample = Pick<
  MachineRecord,
  'benchmarkVersion' | 'speed' | 'cores' | 'idleCores' | 'runnable' | 'memoryAvailable' | 'memoryTotal'
>

/** How a record becomes one number: `product` is the default, `paper` is equations (1), (2), (4), (5). */
export type MetricPolicy = 'product' | 'paper'

/** What a job needs of a machine. */
export interface Needs {
  /** Cores that the job can use at once, > 0. */
  demand: number
  /** Bytes of memory that must be available. */
  memoryBytes: number
  /** Mode the target must offer. */
  mode: 'plain' | 'staged' | 'files'
  /** In files mode: the programs are the target's own. The mode `programs` must be offered too. */
  programs?: 'target'
  /** The job must get a terminal there: the mode `pty` must be offered too. */
  terminal?: true
  /** When set, the target must be of this class; absent fields don't matter. */
  class?: { os?: string; arch?: string; cpuLevel?: number; pageSize?: number }
  /** Programs that must be on PATH there; at most 16. */
  tools: string[]
  /** Labels that the owner must have given; at most 16. */
  labels: string[]
  /** What is run there, its owner may not let everybody run everything; absent: asked at the start. */
  command?: string
}

/** What the owner of this machine allows now. */
export interface OwnerRules {
  /** Cores that guests may hold at once, ≥ 0. */
  slots: number
  /** Why no guest is taken now, in words for a person (`its owner paused lending until 18:00`). */
  refuses?: string
  /** Bytes of memory kept free of guests. */
  memoryFloor: number
  labels: string[]
  class: MachineClass
  /** Cores of its own jobs that home runs at once with `--wait`. */
  homeSlots: number
  /**
   * How many hops this machine's offers, its own jobs and what it passes on for others may go, 1..MAX_HOPS; 1 is to its
   * neighbours alone, for whom it vouches to nobody.
   */
  forward: number
}

/** What the user asked for beside the command. */
export interface PlaceRequest {
  needs: Needs
  /** Nobody said how much memory it needs: home stays its last resort. */
  memoryGuessed?: true
  /** Only here. */
  local: boolean
  /** Only elsewhere: fail rather than run here. */
  remote: boolean
  /** Only these peers; empty: any. The own ID means here. */
  on: PeerId[]
  /** Never these peers. */
  not: PeerId[]
  /** Queue rather than run here when every slot is taken. */
  wait: boolean
  /** A reason why this command shouldn't ship (the table of what never ships); absent when it may. */
  stays?: string
  /** A remote target must be better by this factor, ≥ 1. */
  transferFactor: number
  /** What the command usually takes, when that is known: the gain elsewhere must exceed what the way costs. */
  work?: Work
  /** ms after which it runs here for want of answers, for a job that has used up some of its time; at most the usual. */
  budgetMs?: number
  /** ms that it looks for a slot elsewhere, where that is better than home, rather than start here; absent: as long as its budget lasts. */
  patienceMs?: number
}

/** A peer that was considered, for `kappa why`. */
export interface Candidate {
  peer: PeerId
  /** Metric for the job's demand as known then, before any answer, less what the hops to it cost. */
  metric: number
  /** Hops to it; 0 for home. */
  hops: number
  /** The neighbour through which it was known; absent for home and for neighbours. */
  via?: PeerId
  /** Age of that knowledge in ms. */
  ageMs: number
  /** How far its word was believed, in (0, 1); the metric is less by this factor. Absent: fully. */
  trust?: number
  /** Why it was out from the start, and the stable word for it; absent when it was in. */
  lacks?: string
  lackCode?: string
}

/** An answer that was no, for `kappa why`. */
export interface Refusal {
  peer: PeerId
  /** Stable word: `slots`, `paused`, `memory`, `too-small`, `tool`, `command`, `label`, `class`, `mode`, `not-better`, `no-answer`, `not-connected`, `start-refused`, `void`, `banned`, `not-vouched`, `unreachable`. */
  code: string
  /** One phrase for a person. */
  reason: string
}

export interface TracedRefusal extends Refusal {
  /** The peers walked to it, itself the last, when it had promised a slot and the start failed. */
  hops?: PeerId[]
}

/** Why a job went where it went. */
export interface PlacementTrace {
  candidates: Candidate[]
  /** The peers walked to the target, the target last; empty when the job runs here. */
  hops: PeerId[]
  refusals: TracedRefusal[]
  /** ms from the request to the decision. */
  placedMs: number
  /** In words: `idle here`, `desktop is 3.1 times better`. */
  reason: string
  /** What those peers called themselves that are no neighbours. */
  names?: Record<PeerId, string>
}

/** The right to start one job, once, on `target`; bound to the home's peer ID. */
export interface Ticket {
  /** 128 random bits in hex. */
  id: string
  target: PeerId
  /** The start counter of the target's daemon; a job started under another epoch is gone. */
  epoch: number
  /** ms that it stays valid from its arrival unless started. */
  validMs: number
}

/** What a target said of itself before it got a job. */
export interface Claimed {
  /** Relative to the reference, > 0. */
  speed: number
  /** For the job's demand; absent when it was found on the way. */
  metric?: number
}

/** What a command usually takes. */
export interface Work {
  /** ms of CPU time on a machine of speed 1, > 0. */
  ms: number
  /** Bytes of files that travel before and after it runs, both ways. */
  stagedBytes: number
  /** Bytes that it reads and writes while it runs. */
  streamedBytes: number
  /** How often it writes after it has read. */
  turns: number
}

/** What a job took, as measured where it ran. */
export interface JobUsage {
  /** ms from its start to its end. */
  wallMs: number
  /** ms of CPU time of all its processes. */
  cpuMs?: number
  /** Bytes of memory that its largest process had at most. */
  peakBytes?: number
}

/** How a job ended. */
export interface JobEnd {
  /** Exit status 0–255, or null when a signal ended it. */
  exitCode: number | null
  /** Name of the signal that ended it (`SIGTERM`), or null. */
  signal: string | null
  /** Set when the command could not be started: `CommandNotFoundError`, `NotExecutableError`, or another error's name. */
  error?: { name: string; message: string }
  /** Absent when it wasn't measured. */
  usage?: JobUsage
}

// ---------------------------------------------------------------------------------------------------- messages

/** Periodic and triggered: the sender's claims. An entry's origin is the machine that the record describes. */
export interface Advertisement {
  type: 'advertisement'
  /** ms until the next one at the latest; three missed ones mean silence. */
  periodMs: number
  /** ms since a job was last seen by the sender or by anyone that it heard of: the overlay wakes and rests as one. */
  idleMs: number
  /** At most MAX_ENTRIES. */
  entries: AdvertisementEntry[]
  /** What the sender claimed before holds as well; absent: these are all its claims. */
  partial?: true
}

export interface AdvertisementEntry {
  origin: PeerId
  /** Persisted start counter of the origin's daemon. */
  epoch: number
  /** Rises with every record of that epoch. */
  sequence: number
  /** ms since the origin measured it, added up hop by hop. */
  ageMs: number
  /** How many hops it may still travel from its receiver: the origin's consent, less one for each that it has gone. */
  hopsLeft: number
  /** Hops from the receiver to the origin, ≥ 1; 1 when the origin itself says it. */
  hops: number
  /** Name that the origin gave itself, for people. */
  name: string
  record: MachineRecord
}

/** P(i,j,k) of the paper: walks from peer to peer towards the best promise, and holds a slot wherever it stands best so far. */
export interface Probe {
  type: 'probe'
  /** 128 random bits in hex, made by the origin. */
  id: string
  /** Home: who will hold the ticket. */
  origin: PeerId
  needs: Needs
  /** Peers walked so far, home first, the sender last; at most MAX_HOPS + 1. */
  path: PeerId[]
  /** Peers that it may visit after the receiver, 0..MAX_HOPS - 1. */
  hopsLeft: number
  /** Metric (for the needs' demand) to be beaten: home's own times the transfer factor, or that of the best hold so far. */
  best: number
  /** Index in `path` of the peer that holds for it so far; absent while nobody does. */
  bestAt?: number
  /** ms within which the sender wants the reply. */
  waitMs: number
  /** Where it may not hold, though it may pass: what the user excluded, and what an earlier walk saw; at most MAX_NAMED. */
  avoid: PeerId[]
  /** Where alone it may hold; empty: anywhere. At most MAX_NAMED. */
  only: PeerId[]
}

/** PR(k,i,metric) of the paper: walks back along the probe's path. The peer that holds adds the ticket as it passes. */
export interface ProbeReply {
  type: 'probe-reply'
  id: string
  /** Peers walked, home first; at most MAX_HOPS + 1. */
  path: PeerId[]
  /** Index in `path` of the peer that holds; absent when nobody was better. */
  bestAt?: number
  /** The hold there. Absent on the way from the end of the path to the peer that holds. */
  ticket?: Ticket
  /** Where the target can be dialled, with the ticket: multiaddrs, at most MAX_ADDRESSES. */
  addresses?: string[]
  /** Why peers on the path did not hold, at most one each. */
  refusals: Refusal[]
  /** Records of the peers visited as they are after the visit, of the target after its hold; at most one for each. */
  entries: AdvertisementEntry[]
}

/** The probe was superseded, cancelled or hedged: let the hold go. */
export interface Release {
  type: 'release'
  id: string
}

/** An idle machine asks somebody for a job that waits there; it goes hop by hop, and nothing answers it but a probe. */
export interface Pull {
  type: 'pull'
  /** Who is asked. */
  to: PeerId
  /** Peers walked, the idle one first, the sender last; at most MAX_HOPS. */
  path: PeerId[]
  /** The idle machine, as seen from the receiver. */
  entry: AdvertisementEntry
}

export type OverlayMessage = Advertisement | Probe | ProbeReply | Release | Pull | PaperMessage

/**
 * Peers that a probe may visit, and hops that a record may travel, at most: as far as own machines vouch for each other.
 * With 4, half of a ring of 16 is out of reach for a busy home: its jobs then take 3 times as long at a load of 0.8.
 */
export const MAX_HOPS = 8
/** Refusals in the answer to one probe. */
export const MAX_REFUSALS = 8
/** Entries of one advertisement. */
export const MAX_ENTRIES = 8
/** Peers that one probe names to be avoided, or as the only ones. */
export const MAX_NAMED = 16
/** Addresses under which one peer may be dialled. */
export const MAX_ADDRESSES = 8

// ----------------------------------------------------------------------------------------------------- effects

/** A ticket was won; when nothing was started with it, `release` for the probe lets the target have its slot back at once. */
export interface PlacedThere {
  type: 'placed'
  jobId: string
  where: 'there'
  ticket: Ticket
  probeId: string
  /** How far home trusts the target: the weakest kind of pairing on the path. */
  kind: PairingKind
  /** The target's own name. */
  name: string
  /** From home to the target; two for a neighbour. */
  path: PeerId[]
  /** Where the target can be dialled; empty for a neighbour, which is connected. */
  addresses: string[]
  /** Its speed and metric by its own word, which its jobs will show; absent when they don't compare. */
  claim?: Claimed
  reason: string
  trace: PlacementTrace
}

/** What the core wants done. The caller carries effects out in order. */
export type Effect =
  /** Send to a neighbour; lost silently when it isn't connected. */
  | { type: 'send'; to: PeerId; message: OverlayMessage }
  /** `place` is decided. */
  | { type: 'placed'; jobId: string; where: 'here'; reason: string; trace: PlacementTrace }
  | PlacedThere
  /** Nobody can take it (and `--remote`, `--on` or needs forbid running here), or with `--wait` only later (`queued`). */
  | { type: 'unplaceable'; jobId: string; trace: PlacementTrace }
  | { type: 'queued'; jobId: string; position: number }
  /** The sample is older than is good for an answer: take one at once and call `handleSample`. */
  | { type: 'sample' }
  /** A home that is no neighbour has a hold, a job or an unfetched end here: it may connect on its own, to run jobs only. */
  | { type: 'admit'; home: PeerId }
  /** The last of these is over. */
  | { type: 'dismiss'; home: PeerId }
