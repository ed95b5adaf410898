/**
 * What home learns from the jobs that it saw end, and what that decides for the next run of the same command: cores and
 * memory that it can use, whether the gain elsewhere is worth the way, and whose word about its speed to believe.
 *
 * Whatever would make a job look small is believed slowly, so that one short run doesn't keep the next long one at home.
 */

import { KEY_LENGTH_MAX, keysOfLargerInputs } from './command-key.ts'
import { MAX_DEMAND } from './demand.ts'
import { Judging, type Known, type RunOf, type Sent } from './judging.ts'
import {
  average,
  BYTES_MAX,
  COUNT_MAX,
  type Command,
  coresOf,
  emptyCommand,
  HERE,
  learnPeak,
  learnRun,
  type Place,
  soundCommand,
  TIME_MS_MAX,
  usualPlace,
  within
} from './places.ts'
import type { JobUsage, PeerId, Work } from './types.ts'

/** Bytes of memory that a job may need when nothing is said or known. */
export const MEMORY_NEED_BYTES = 512 * 1024 * 1024
/** ms that a start elsewhere takes more than one here, measured on a local network: probe, ticket, sandbox, end. */
export const START_MS = 12
/** Round trips of one job to its end: probe, start, end. */
export const ROUND_TRIPS = 3
/** Bytes per ms of a link of which nothing is known: 100 Mbit/s. */
export const BYTES_PER_MS = 12_500
/** Runs of a command before anything is decided by them. */
export const RUNS_MIN = 3

/** Commands that are remembered; the one that was used longest ago is forgotten. */
export const MAX_COMMANDS = 512
/** Links whose throughput is remembered. */
export const MAX_LINKS = 64
/** What all jobs elsewhere took together: by it even those of commands that were never seen compare. No command's key. */
const ANY = '*'

const GAIN_LINK = 1 / 4
/** ms; what takes less on an idle home hardly gains elsewhere. */
const SHORT_MS = 2 * START_MS
/** Part of the usual peak that is needed at least, and bytes on top of it. */
const MEMORY_MARGIN = 1.25
const MEMORY_MARGIN_BYTES = 32 * 1024 * 1024
/** What others tell of a job's memory is believed within bounds: it makes nobody need less nor more than that. */
const MEMORY_TOLD_MIN = 128 * 1024 * 1024
const MEMORY_TOLD_MAX = 8 * 2 ** 30
/** Bytes that say something about a link: staged apart from the run, and streamed while it ran. */
const STAGED_BYTES_MIN = 256 * 1024
const STREAMED_BYTES_MIN = 1024 * 1024
const RATE_MAX = 1e8
const SPEED_MAX = 1e6

/** A job of this home that ran to a good end. */
export interface FinishedRun {
  /** Of its command; absent: no other is known to be like it. */
  key?: string
  /** Where it ran; absent: here. */
  sent?: Sent
  /** This machine's speed, for a job that ran here. */
  speed?: number
  /** As told by who ran it. */
  usage: JobUsage
  /** What went to a peer and came back. */
  link?: {
    /** ms from the start to the end, as seen from here. */
    totalMs: number
    /** Files, before and after the run. */
    stagedBytes: number
    /** stdin, stdout and stderr, while it ran. */
    streamedBytes: number
    /** How often it wrote after it had read. */
    turns: number
  }
}

/** What is known for the next run; absent: nothing. */
export interface Advice {
  demand?: number
  memoryBytes?: number
  work?: Work
}

/** What the way to another machine costs a job, in ms. */
export interface WayCost {
  /** Added to its time: the start, round trips, files. */
  addedMs: number
  /** Its least time, because what it reads and writes travels meanwhile. */
  streamMs: number
}

/** What is kept between starts: plain JSON. Names and shapes of commands only. */
export interface LearnedState {
  version: 2
  /** Least recently used first. */
  commands: ({ key: string } & Command)[]
  links: { peer: PeerId; bytesPerMs: number }[]
}

export class Learning {
  /** By key, least recently used first; at most MAX_COMMANDS. */
  readonly #commands = new Map<string, Command>()
  /** Bytes per ms by peer, least recently learnt first; at most MAX_LINKS. */
  readonly #links = new Map<PeerId, number>()
  readonly #judging = new Judging()

  /** `state`: as given by `state()`; numbers out of range are dropped or cut. */
  constructor(state?: LearnedState) {
    for (const { key, ...command } of state?.commands.slice(-MAX_COMMANDS) ?? []) {
      if (key.length <= KEY_LENGTH_MAX) this.#commands.set(key, soundCommand(command))
    }
    for (const { peer, bytesPerMs } of state?.links.slice(-MAX_LINKS) ?? []) {
      const rate = within(bytesPerMs, RATE_MAX)
      if (rate !== undefined && rate > 0) this.#links.set(peer, rate)
    }
  }

  /** From now on peers are judged by what they and others say now, too. */
  watch(known: Known): void {
    this.#judging.known = known
  }

  /** What earlier runs say of the next one on a home that says it has that speed (> 0). */
  advice(key: string, claimedSpeed: number, now: number): Advice {
    const speed = claimedSpeed * this.trustHere(now)
    const command = this.#commands.get(key)
    const advice: Advice = {}
    const memory = command && memoryNeed(command)
    // One run that needed much is enough to be careful; few that needed little are no proof.
    if (memory !== undefined && (memory > MEMORY_NEED_BYTES || command!.runs >= RUNS_MIN)) advice.memoryBytes = memory
    if (command === undefined || command.runs < RUNS_MIN) {
      const work = this.#shortWithMore(key, speed)
      return work === undefined ? advice : { ...advice, work }
    }
    const cores = coresOf(command)
    if (cores > 0) advice.demand = demandFor(cores)
    const usual = usualPlace(command)
    if (usual === undefined) return advice
    advice.work = workOf(command, usual)
    return advice
  }

  /** A job was started elsewhere; `key` as at its end. */
  began(sent: Sent, key: string | undefined, now: number): void {
    const runOf = this.#runOf(key)
    const way = this.wayCost(sent.peer, runOf.command ?? runOf.any, 0)
    this.#judging.began(sent, runOf, way.addedMs, now)
  }

  /** That job is over, however it ended; those that ended well are told by `finished`, too. */
  ended(id: string): void {
    this.#judging.ended(id)
  }

  /** A job ended well. Others (signals, failures) say nothing of what the command usually needs. */
  finished(run: FinishedRun, now: number): void {
    const { key, sent } = run
    const wallMs = within(run.usage.wallMs, TIME_MS_MAX)
    const speed = within(sent === undefined ? run.speed : sent.claim.speed, SPEED_MAX)
    if (wallMs === undefined || speed === undefined || speed === 0 || (key?.length ?? 0) > KEY_LENGTH_MAX) return
    const cpuMs = within(run.usage.cpuMs, TIME_MS_MAX)
    const command = key === undefined ? undefined : this.#use(key)
    if (sent === undefined) {
      if (command === undefined) return
      if (cpuMs !== undefined) this.#judging.judgeHere(command, speed, cpuMs, now)
      const workMs = (cpuMs ?? wallMs) * speed * this.trustHere(now)
      learnRun(command, HERE, { workMs, compares: cpuMs !== undefined, wallMs, cpuMs })
    } else this.#learnFromPeer(run, { ...sent, claim: { ...sent.claim, speed } }, { wallMs, cpuMs }, now)
    if (command !== undefined) learnPeak(command, run.usage.peakBytes, sent === undefined)
  }

  /** The factor on that peer's metric, in (0, 1]. */
  trust(peer: PeerId, now: number): number {
    return this.#judging.trust(peer, now)
  }

  /** The factor on this machine's own metric, in (0, 1]: its score may be wrong. */
  trustHere(now: number): number {
    return this.#judging.trust(HERE, now)
  }

  wayCost(peer: PeerId, { stagedBytes, streamedBytes, turns }: Omit<Work, 'ms'>, roundTripMs: number): WayCost {
    const rate = this.#links.get(peer) ?? BYTES_PER_MS
    const tripsMs = (ROUND_TRIPS + turns) * (within(roundTripMs, TIME_MS_MAX) ?? 0)
    return { addedMs: START_MS + tripsMs + stagedBytes / rate, streamMs: streamedBytes / rate }
  }

  /** The pairing ended. */
  forgetPeer(peer: PeerId): void {
    this.#judging.forget(peer)
    this.#links.delete(peer)
    for (const command of this.#commands.values()) {
      command.places = command.places.filter((place) => place.peer !== peer)
    }
  }

  forgetAll(): void {
    this.#commands.clear()
    this.#links.clear()
    this.#judging.clear()
  }

  /** Trust isn't kept: it recovers with time, and claims are new with each start. */
  state(): LearnedState {
    return {
      version: 2,
      commands: [...this.#commands].map(([key, command]) => ({ key, ...soundCommand(command) })),
      links: [...this.#links].map(([peer, bytesPerMs]) => ({ peer, bytesPerMs }))
    }
  }

  /** The command of that key, now the last to be forgotten. */
  #use(key: string): Command {
    const command = this.#commands.get(key) ?? emptyCommand()
    this.#commands.delete(key)
    this.#commands.set(key, command)
    if (this.#commands.size > MAX_COMMANDS) this.#commands.delete(this.#commands.keys().next().value!)
    return command
  }

  #runOf(key: string | undefined): RunOf {
    return { command: key === undefined ? undefined : this.#use(key), any: this.#use(ANY) }
  }

  /** What is short with a larger input is so with a smaller one of which nothing is known. */
  #shortWithMore(key: string, speed: number): Work | undefined {
    for (const larger of keysOfLargerInputs(key)) {
      const command = this.#commands.get(larger)
      if (command === undefined || command.runs < RUNS_MIN) continue
      const usual = usualPlace(command)
      const short = usual !== undefined && usual.workMs / speed / Math.max(1, usual.cores) < SHORT_MS
      return short ? workOf(command, usual) : undefined
    }
    return undefined
  }

  #learnFromPeer(run: FinishedRun, sent: Sent, took: { wallMs: number; cpuMs: number | undefined }, now: number): void {
    const { link, usage } = run
    const totalMs = within(link?.totalMs, TIME_MS_MAX)
    const stagedBytes = within(link?.stagedBytes, BYTES_MAX)
    const streamedBytes = within(link?.streamedBytes, BYTES_MAX)
    const turns = within(link?.turns, COUNT_MAX)
    if (totalMs === undefined || stagedBytes === undefined || streamedBytes === undefined || turns === undefined) return
    const { peer, claim } = sent
    this.#learnLink(peer, { totalMs, stagedBytes, streamedBytes }, Math.min(usage.wallMs, totalMs))
    const activeMs = totalMs - this.wayCost(peer, { stagedBytes, streamedBytes, turns }, 0).addedMs
    const seen = { ms: activeMs, streamedBytes }
    const runOf = this.#runOf(run.key)
    this.#judging.judge(sent, runOf, took.cpuMs, seen, now)
    // Without a word about its CPU time it counts as computing: that is how it is placed when nothing is known.
    const workMs = (took.cpuMs ?? took.wallMs) * claim.speed * this.trust(peer, now)
    const compares = took.cpuMs !== undefined && this.#judging.computed(sent, took.cpuMs, 1, activeMs)
    for (const learner of runOf.command === undefined ? [runOf.any] : [runOf.any, runOf.command]) {
      learnRun(learner, peer, { workMs, compares, ...took })
      learner.stagedBytes = average(learner.stagedBytes, stagedBytes, learner.stagedBytes === 0 ? 1 : COUNT_MAX)
      learner.streamedBytes = average(learner.streamedBytes, streamedBytes, learner.streamedBytes === 0 ? 1 : COUNT_MAX)
      learner.turns = average(learner.turns, turns, learner.turns === 0 ? 1 : COUNT_MAX)
    }
  }

  #learnLink(peer: PeerId, link: Omit<NonNullable<FinishedRun['link']>, 'turns'>, wallMs: number): void {
    const { totalMs, stagedBytes, streamedBytes } = link
    const known = this.#links.get(peer)
    let rate = known
    if (stagedBytes >= STAGED_BYTES_MIN) {
      const seen = Math.min(RATE_MAX, stagedBytes / Math.max(1, totalMs - wallMs - START_MS))
      rate = known === undefined ? seen : known + (seen - known) * GAIN_LINK
    }
    // The job may have been slower than the link: a lower bound.
    if (streamedBytes >= STREAMED_BYTES_MIN) {
      rate = Math.max(rate ?? BYTES_PER_MS, Math.min(RATE_MAX, streamedBytes / Math.max(1, totalMs)))
    }
    if (rate === undefined || !(rate > 0)) return
    this.#links.delete(peer)
    this.#links.set(peer, rate)
    if (this.#links.size > MAX_LINKS) this.#links.delete(this.#links.keys().next().value!)
  }
}

/**
 * The metric that another machine must reach for a job of that work to gain more than the way costs, when home's own is
 * `home` (both of policy `product`: 100 is one core of the reference): infinite when none could.
 */
export function metricWorth(home: number, workMs: number, { addedMs, streamMs }: WayCost): number {
  if (!(home > 0)) return home
  const homeMs = (100 * workMs) / home
  return addedMs + streamMs < homeMs ? home / (1 - addedMs / homeMs) : Number.POSITIVE_INFINITY
}

function workOf({ stagedBytes, streamedBytes, turns }: Command, { workMs }: Place): Work {
  return { ms: workMs, stagedBytes, streamedBytes, turns }
}

/** Whole cores; a little more than some is rounding, or what the program does at its start. */
function demandFor(cores: number): number {
  return Math.min(MAX_DEMAND, Math.max(1, Math.ceil(cores - 0.25)))
}

/** The peak is that of one process of the job: of as many as can run at once, each may have it. */
function memoryNeed(command: Command): number | undefined {
  const { peakBytes, toldPeakBytes } = command
  if (peakBytes + toldPeakBytes === 0) return undefined
  const told = toldPeakBytes === 0 ? 0 : Math.min(MEMORY_TOLD_MAX, Math.max(MEMORY_TOLD_MIN, toldPeakBytes))
  // What was measured here lately is known: others count only when they say that it was more.
  const peak = peakBytes === 0 || toldPeakBytes > peakBytes ? Math.max(peakBytes, told) : peakBytes
  return Math.min(BYTES_MAX, Math.round(peak * demandFor(coresOf(command)) * MEMORY_MARGIN + MEMORY_MARGIN_BYTES))
}
