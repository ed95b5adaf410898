/**
 * What home learns from the jobs that it saw end, and what that decides for the next run of the same command: cores and
 * memory that it can use, whether the gain elsewhere is worth the way, and whose word about its speed to believe.
 *
 * Work is CPU time on the reference machine (speed 1), so that runs on different machines compare. All averages are
 * exponentially weighted; whatever would make a job look small is believed slowly, so that one short run doesn't keep the
 * next long one at home.
 */

import { KEY_LENGTH_MAX } from './command-key.ts'
import { MAX_DEMAND } from './demand.ts'
import { Trust } from './trust.ts'
import type { Claimed, JobUsage, PeerId, Work } from './types.ts'

/** Bytes of memory that a job may need when nothing is said or known. */
export const MEMORY_NEED_BYTES = 512 * 1024 * 1024
/** ms that a start elsewhere takes, measured on a local network: probe, ticket, sandbox, end. */
export const START_MS = 15
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
/** Machines whose runs of one command are told apart: this one and the latest others. */
const MAX_PLACES = 4
const COUNT_MAX = 1_000_000

const GAIN_UP = 1 / 2
const GAIN_DOWN = 1 / 4
const GAIN_LINK = 1 / 4
const GAIN_SPREAD = 1 / 16
/** ms; less is noise, and has no logarithm. */
const WORK_MS_MIN = 1
/** Variance of the logarithm that is expected of a command's work before it is known, and the runs that this counts for. */
const VARIANCE_FIRST = 0.25
const VARIANCE_FIRST_RUNS = 3
/** Runs at a place before others are compared with it. */
const COMPARED_RUNS_MIN = 2
/** After so many runs elsewhere, what a place has shown is out of date: sources grow, caches fill. */
const FRESH_RUNS = 16
/** ms of CPU time below which a clock that ticks every 10 ms says nothing exact. */
const EXACT_MS = 100
/** A gain of more than this part of a job's CPU time at home is not to be had: another machine would be four times as fast. */
const GAIN_MAX = 3 / 4
/** Part of the usual peak that is needed at least, and bytes on top of it. */
const MEMORY_MARGIN = 1.25
const MEMORY_MARGIN_BYTES = 32 * 1024 * 1024
/** A job waits mostly when it waits so many times longer than it computes. */
const WAITS_MOSTLY = 4
/** Bytes that say something about a link: staged apart from the run, and streamed while it ran. */
const STAGED_BYTES_MIN = 256 * 1024
const STREAMED_BYTES_MIN = 1024 * 1024
/** What fits into pipes and windows: no more went through streams than could have kept the job waiting. */
const UNHINDERED_BYTES = 64 * 1024
/** What one job can do to the trust in its peer, when the peer's own account agrees, and when it says the job waited. */
const DOWN_AGREED = 0.5
const DOWN_DISPUTED = 0.8
/** A command computes mostly when it is busy for this part of its time. */
const BUSY = 0.7

const TIME_MS_MAX = 1e10
const BYTES_MAX = 2 ** 50
const RATE_MAX = 1e8
const SPEED_MAX = 1e6
/** Of work within TIME_MS_MAX, and of what it may vary by. */
const LOG_MAX = 1_000

/** A job of this home that ran to a good end. */
export interface FinishedRun {
  key: string
  /** Where it ran; absent: here. */
  peer?: PeerId
  /** This machine's speed, or what the peer said of itself before. */
  claim: Claimed
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
  }
}

/** What is known for the next run; absent: nothing. */
export interface Advice {
  demand?: number
  memoryBytes?: number
  work?: Work
  /** Why it should stay, as a phrase: `it usually takes 20 ms: too short to send`. */
  stays?: string
}

interface Place {
  /** Empty: here. */
  peer: PeerId
  runs: number
  /** Which run of the command was its latest there, counted over all places. */
  latest: number
  /** ms of CPU on the reference machine. */
  workMs: number
  /** Mean and variance of its logarithm, without the caution of `workMs`: what runs are compared by. */
  logWork: number
  logVariance: number
  /** ms that it doesn't compute. */
  waitMs: number
  /** CPU time over wall time of runs long enough to tell; 0: none was. */
  cores: number
}

interface Command {
  runs: number
  /** At most MAX_PLACES; the latest last. */
  places: Place[]
  /** Of runs here; 0: not known. */
  peakBytes: number
  /** Both ways over the network; 0 when it was never seen to leave. */
  stagedBytes: number
  streamedBytes: number
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
  version: 1
  /** Least recently used first. */
  commands: ({ key: string } & Command)[]
  links: { peer: PeerId; bytesPerMs: number }[]
}

export class Learning {
  /** By key, least recently used first; at most MAX_COMMANDS. */
  readonly #commands = new Map<string, Command>()
  /** Bytes per ms by peer, least recently learnt first; at most MAX_LINKS. */
  readonly #links = new Map<PeerId, number>()
  readonly #trust = new Trust()

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

  /** What earlier runs say of the next one on a home of that speed (> 0). */
  advice(key: string, speed: number): Advice {
    const command = this.#commands.get(key)
    if (command === undefined) return {}
    const memory = memoryNeed(command)
    const advice: Advice = {}
    // One run that needed much is enough to be careful; few that needed little are no proof.
    if (memory !== undefined && (memory > MEMORY_NEED_BYTES || command.runs >= RUNS_MIN)) advice.memoryBytes = memory
    if (command.runs < RUNS_MIN) return advice
    const cores = coresOf(command)
    if (cores > 0) advice.demand = demandFor(cores)
    const usual = usualPlace(command)
    if (usual === undefined) return advice
    advice.work = { ms: usual.workMs, stagedBytes: command.stagedBytes, streamedBytes: command.streamedBytes }
    const stays = tooShort(usual, speed)
    if (stays !== undefined) advice.stays = stays
    return advice
  }

  /** A job ended well. Others (signals, failures) say nothing of what the command usually needs. */
  finished(run: FinishedRun, now: number): void {
    const { key, peer } = run
    const wallMs = within(run.usage.wallMs, TIME_MS_MAX)
    const speed = within(run.claim.speed, SPEED_MAX)
    if (wallMs === undefined || speed === undefined || speed === 0 || key.length > KEY_LENGTH_MAX) return
    const told = within(run.usage.cpuMs, TIME_MS_MAX)
    const command = this.#commands.get(key) ?? emptyCommand()
    if (peer !== undefined) this.#learnFromPeer(run, command, speed, told, now)
    this.#commands.delete(key)
    this.#commands.set(key, command)
    if (this.#commands.size > MAX_COMMANDS) this.#commands.delete(this.#commands.keys().next().value!)
    command.runs = Math.min(COUNT_MAX, command.runs + 1)
    // Without a word about its CPU time it counts as computing: that is how it is placed when nothing is known.
    const cpuMs = told ?? wallMs
    const place = placeOf(command, peer ?? '')
    place.runs = Math.min(COUNT_MAX, place.runs + 1)
    place.latest = command.runs
    const workMs = cpuMs * speed * (peer === undefined ? 1 : this.#trust.of(peer, now))
    place.workMs = average(place.workMs, Math.min(TIME_MS_MAX, workMs), place.runs)
    learnSpread(place, Math.log(Math.max(WORK_MS_MIN, Math.min(TIME_MS_MAX, workMs))))
    // Of what it waited only the least is its own: the rest was for others on the same cores.
    const waitMs = Math.max(0, wallMs - cpuMs)
    place.waitMs += (waitMs - place.waitMs) * (place.runs === 1 ? 1 : waitMs > place.waitMs ? GAIN_SPREAD : GAIN_UP)
    if (told !== undefined && told >= EXACT_MS && wallMs > 0) {
      place.cores = average(place.cores, Math.min(MAX_DEMAND, told / wallMs), place.cores === 0 ? 1 : COUNT_MAX)
    }
    const peak = within(run.usage.peakBytes, BYTES_MAX)
    if (peak !== undefined && peak > 0 && peer === undefined) {
      command.peakBytes = Math.max(peak, average(command.peakBytes, peak, COUNT_MAX))
    }
  }

  /** The factor on that peer's metric, in (0, 1]. */
  trust(peer: PeerId, now: number): number {
    return this.#trust.of(peer, now)
  }

  wayCost(peer: PeerId, { stagedBytes, streamedBytes }: Omit<Work, 'ms'>, roundTripMs: number): WayCost {
    const rate = this.#links.get(peer) ?? BYTES_PER_MS
    const tripsMs = ROUND_TRIPS * (within(roundTripMs, TIME_MS_MAX) ?? 0)
    return { addedMs: START_MS + tripsMs + stagedBytes / rate, streamMs: streamedBytes / rate }
  }

  /** The pairing ended. */
  forgetPeer(peer: PeerId): void {
    this.#trust.forget(peer)
    this.#links.delete(peer)
    for (const command of this.#commands.values()) {
      command.places = command.places.filter((place) => place.peer !== peer)
    }
  }

  forgetAll(): void {
    this.#commands.clear()
    this.#links.clear()
    this.#trust.clear()
  }

  /** Trust isn't kept: it recovers with time, and claims are new with each start. */
  state(): LearnedState {
    return {
      version: 1,
      commands: [...this.#commands].map(([key, command]) => ({ key, ...soundCommand(command) })),
      links: [...this.#links].map(([peer, bytesPerMs]) => ({ peer, bytesPerMs }))
    }
  }

  #learnFromPeer(run: FinishedRun, command: Command, speed: number, cpuMs: number | undefined, now: number): void {
    const { link, usage, claim } = run
    const peer = run.peer!
    const totalMs = within(link?.totalMs, TIME_MS_MAX)
    const stagedBytes = within(link?.stagedBytes, BYTES_MAX)
    const streamedBytes = within(link?.streamedBytes, BYTES_MAX)
    if (totalMs === undefined || stagedBytes === undefined || streamedBytes === undefined) return
    const seen = { totalMs, stagedBytes, streamedBytes }
    this.#learnLink(peer, seen, Math.min(usage.wallMs, totalMs))
    this.#judge(peer, command, { ...claim, speed }, cpuMs, seen, now)
    command.stagedBytes = average(command.stagedBytes, stagedBytes, command.stagedBytes === 0 ? 1 : COUNT_MAX)
    command.streamedBytes = average(command.streamedBytes, streamedBytes, command.streamedBytes === 0 ? 1 : COUNT_MAX)
  }

  #learnLink(peer: PeerId, link: NonNullable<FinishedRun['link']>, wallMs: number): void {
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

  /**
   * Compares the CPU time there with what the same command took elsewhere, so that a slow disk doesn't count. A peer could
   * tell less CPU time than it used: then the job seems to have waited, which a command that computes elsewhere, and that
   * nothing from here held up, doesn't; what was seen from here counts then, by less, for its owner may have come back.
   */
  #judge(
    peer: PeerId,
    command: Command,
    { speed, metric }: Claimed,
    cpuMs: number | undefined,
    link: NonNullable<FinishedRun['link']>,
    now: number
  ): void {
    const usual = usualPlace(command, (place) => place.peer !== peer && place.runs >= COMPARED_RUNS_MIN)
    if (usual === undefined) return
    const { waitMs } = usual
    const workMs = Math.exp(usual.logWork)
    const spread = spreadOf(usual)
    const cores = Math.max(1, usual.cores)
    const expectedMs = workMs / speed
    // Shared with others, as it said before, it takes longer.
    const promisedMs =
      metric !== undefined && metric > 0 ? Math.max(expectedMs / cores, (100 * workMs) / metric) : expectedMs / cores
    const part = expectedMs / cores / promisedMs
    const activeMs = link.totalMs - this.wayCost(peer, link, 0).addedMs - waitMs
    if (cpuMs !== undefined && cpuMs * 2 >= activeMs * part) {
      const comparison = { ratio: expectedMs / cpuMs, spread, mostDown: DOWN_AGREED }
      if (Math.max(expectedMs, cpuMs) >= EXACT_MS) this.#trust.judge(peer, comparison, now)
      return
    }
    const busy = workMs / cores / (workMs / cores + waitMs)
    const hindered = link.streamedBytes > UNHINDERED_BYTES
    if (busy < BUSY || hindered || activeMs < EXACT_MS) return
    this.#trust.judge(peer, { ratio: promisedMs / activeMs, spread, mostDown: DOWN_DISPUTED }, now)
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

/** What it took lately on one of the machines that fit: here, else in the middle of the others. */
function usualPlace({ runs, places }: Command, fits: (place: Place) => boolean = () => true): Place | undefined {
  const fresh = places.filter((place) => runs - place.latest < FRESH_RUNS && fits(place))
  const here = fresh.find(({ peer }) => peer === '')
  const sorted = fresh.toSorted((a, b) => a.workMs - b.workMs)
  return here ?? sorted[Math.floor((sorted.length - 1) / 2)]
}

function learnSpread(place: Place, logWork: number): void {
  const gain = Math.max(1 / place.runs, GAIN_SPREAD)
  const difference = logWork - place.logWork
  place.logWork += gain * difference
  // Of the first run nothing is known to differ from.
  place.logVariance = place.runs === 1 ? 0 : (1 - gain) * (place.logVariance + gain * difference ** 2)
}

/** Standard deviation of the logarithm of the work; few runs that were alike by chance are no proof. */
function spreadOf({ runs, logVariance }: Place): number {
  const known = Math.min(runs, 1 / GAIN_SPREAD)
  return Math.sqrt((known * logVariance + VARIANCE_FIRST_RUNS * VARIANCE_FIRST) / (known + VARIANCE_FIRST_RUNS))
}

/** What it made use of where there was most; 0: not known. */
function coresOf({ places }: Command): number {
  return places.reduce((most, { cores }) => Math.max(most, cores), 0)
}

/** The place among the command's, now the latest. */
function placeOf(command: Command, peer: PeerId): Place {
  const known = command.places.find((place) => place.peer === peer)
  const place = known ?? { peer, runs: 0, latest: 0, workMs: 0, logWork: 0, logVariance: 0, waitMs: 0, cores: 0 }
  command.places = [...command.places.filter((other) => other !== place), place]
  if (command.places.length > MAX_PLACES) {
    const oldest = command.places.findIndex((other) => other.peer !== '')
    command.places.splice(oldest, 1)
  }
  return place
}

function tooShort({ workMs, waitMs, cores }: Place, speed: number): string | undefined {
  const computesMs = workMs / speed / Math.max(1, cores)
  if (!(START_MS >= computesMs * GAIN_MAX)) return undefined
  if (waitMs > WAITS_MOSTLY * START_MS && waitMs > WAITS_MOSTLY * computesMs) {
    return 'it mostly waits: nothing to gain elsewhere'
  }
  return `it usually takes ${Math.max(1, Math.round(computesMs + waitMs))} ms: too short to send`
}

/** Whole cores; a little more than some is rounding, or what the program does at its start. */
function demandFor(cores: number): number {
  return Math.min(MAX_DEMAND, Math.max(1, Math.ceil(cores - 0.25)))
}

/** The peak is that of one process of the job: of as many as can run at once, each may have it. */
function memoryNeed(command: Command): number | undefined {
  const { peakBytes } = command
  if (peakBytes === 0) return undefined
  return Math.min(BYTES_MAX, Math.round(peakBytes * demandFor(coresOf(command)) * MEMORY_MARGIN + MEMORY_MARGIN_BYTES))
}

/** The plain mean of the first few, then exponentially weighted, up faster than down. `count`: values with this one. */
function average(before: number, value: number, count: number): number {
  return before + (value - before) * Math.max(1 / count, value > before ? GAIN_UP : GAIN_DOWN)
}

/** A number in 0..most; beyond, cut; undefined for what is none. */
function within(value: number | undefined, most: number): number | undefined {
  return value !== undefined && value >= 0 ? Math.min(value, most) : undefined
}

function emptyCommand(): Command {
  return { runs: 0, places: [], peakBytes: 0, stagedBytes: 0, streamedBytes: 0 }
}

function soundCommand({ runs, places, peakBytes, stagedBytes, streamedBytes }: Command): Command {
  return {
    runs: within(runs, COUNT_MAX) ?? 0,
    places: places.slice(-MAX_PLACES).map(soundPlace),
    peakBytes: within(peakBytes, BYTES_MAX) ?? 0,
    stagedBytes: within(stagedBytes, BYTES_MAX) ?? 0,
    streamedBytes: within(streamedBytes, BYTES_MAX) ?? 0
  }
}

function soundPlace({ peer, runs, latest, workMs, logWork, logVariance, waitMs, cores }: Place): Place {
  return {
    peer,
    runs: within(runs, COUNT_MAX) ?? 0,
    latest: within(latest, COUNT_MAX) ?? 0,
    workMs: within(workMs, TIME_MS_MAX) ?? 0,
    logWork: within(logWork, LOG_MAX) ?? 0,
    logVariance: within(logVariance, LOG_MAX) ?? 0,
    waitMs: within(waitMs, TIME_MS_MAX) ?? 0,
    cores: within(cores, MAX_DEMAND) ?? 0
  }
}
