/**
 * What the runs of one command have shown, machine by machine. Work is CPU time on the reference machine (speed 1), so that
 * runs on different machines compare. All averages are exponentially weighted.
 */

import { MAX_DEMAND } from './demand.ts'
import type { PeerId } from './types.ts'

/** This machine among the places of a command, and among those that are judged. */
export const HERE = ''
/** Machines whose runs of one command are told apart: this one and the latest others. */
const MAX_PLACES = 6
export const COUNT_MAX = 1_000_000
export const TIME_MS_MAX = 1e10
export const BYTES_MAX = 2 ** 50
/** More than any job turns from reading to writing. */
const TURNS_MAX = 1e9
/** Of work within TIME_MS_MAX, and of what it may vary by. */
const LOG_MAX = 1_000

const GAIN_UP = 1 / 2
const GAIN_DOWN = 1 / 4
const GAIN_SPREAD = 1 / 16
/** ms; less is noise, and has no logarithm. */
const WORK_MS_MIN = 1
/** Runs that what is expected of a command's variance counts for. */
const VARIANCE_FIRST_RUNS = 3
/** After so many runs elsewhere, what a place has shown is out of date: sources grow, caches fill. */
const FRESH_RUNS = 16
/** ms of CPU time below which a clock that ticks every 10 ms says nothing exact. */
export const EXACT_MS = 100

export interface Place {
  peer: PeerId
  runs: number
  /** Which run of the command was its latest there, counted over all places. */
  latest: number
  /** ms of CPU on the reference machine. */
  workMs: number
  /** Runs whose work was told and is believed, and mean and variance of its logarithm: what runs are compared by. */
  compared: number
  logWork: number
  logVariance: number
  /** ms that it doesn't compute. */
  waitMs: number
  /** CPU time over wall time of runs long enough to tell; 0: none was. */
  cores: number
}

export interface Command {
  runs: number
  /** At most MAX_PLACES; the latest last. */
  places: Place[]
  /** Of its largest process in runs here, and as others told it; 0: not known. */
  peakBytes: number
  toldPeakBytes: number
  /** Both ways over the network; 0 when it was never seen to leave. */
  stagedBytes: number
  streamedBytes: number
  /** How often it wrote after it had read: as many round trips, when who feeds it waits for its answer. */
  turns: number
}

/** What one run took at a place. */
export interface Run {
  workMs: number
  /** Whether its work is known well enough to compare others with it. */
  compares: boolean
  wallMs: number
  /** CPU time; absent when nobody told. */
  cpuMs: number | undefined
}

/** What a run is compared with. */
export interface Usual {
  logWork: number
  /** Standard deviation of the logarithm of one more run from it. */
  spread: number
  waitMs: number
  cores: number
}

/** What must be known before anything is compared. */
export interface Enough {
  runs: number
  /** At so many machines. */
  machines: number
  /** Variance of the logarithm of the work that is expected before it is known. */
  varianceFirst: number
}

export function emptyCommand(): Command {
  return { runs: 0, places: [], peakBytes: 0, toldPeakBytes: 0, stagedBytes: 0, streamedBytes: 0, turns: 0 }
}

/** Counts one more run of the command. */
export function learnRun(command: Command, peer: PeerId, { workMs, compares, wallMs, cpuMs }: Run): void {
  command.runs = Math.min(COUNT_MAX, command.runs + 1)
  const place = placeOf(command, peer)
  place.runs = Math.min(COUNT_MAX, place.runs + 1)
  place.latest = command.runs
  place.workMs = average(place.workMs, Math.min(TIME_MS_MAX, workMs), place.runs)
  if (compares) learnSpread(place, Math.log(Math.max(WORK_MS_MIN, Math.min(TIME_MS_MAX, workMs))))
  // Of what it waited only the least is its own: the rest was for others on the same cores.
  const waitMs = Math.max(0, wallMs - (cpuMs ?? wallMs))
  place.waitMs += (waitMs - place.waitMs) * (place.runs === 1 ? 1 : waitMs > place.waitMs ? GAIN_SPREAD : GAIN_UP)
  if (cpuMs !== undefined && cpuMs >= EXACT_MS && wallMs > 0) {
    place.cores = average(place.cores, Math.min(MAX_DEMAND, cpuMs / wallMs), place.cores === 0 ? 1 : COUNT_MAX)
  }
}

/** What it took lately on one of the machines: here, else in the middle of the others. */
export function usualPlace(command: Command): Place | undefined {
  const fresh = freshPlaces(command)
  const sorted = fresh.toSorted((a, b) => a.workMs - b.workMs)
  return fresh.find(({ peer }) => peer === HERE) ?? sorted[Math.floor((sorted.length - 1) / 2)]
}

/**
 * What runs at that place are compared with: those here, else those of all others together, in the middle of whom one that
 * tells wrong things counts little. Undefined when that isn't enough.
 */
export function usualBeside(command: Command, peer: PeerId, enough: Enough): Usual | undefined {
  const { runs, machines, varianceFirst } = enough
  const others = freshPlaces(command).filter((place) => place.peer !== peer && place.compared > 0)
  const here = others.find((place) => place.peer === HERE && place.compared >= runs)
  const fit = here === undefined ? others : [here]
  const weights = fit.map(({ compared }) => Math.min(compared, 1 / GAIN_SPREAD))
  const known = weights.reduce((sum, weight) => sum + weight, 0)
  if (known < runs || fit.length < machines) return undefined
  const middle = weightedMedian(fit, weights)
  const variance = fit.reduce(
    (sum, place, index) => sum + weights[index]! * (place.logVariance + (place.logWork - middle.logWork) ** 2),
    0
  )
  const { logWork, waitMs, cores } = middle
  // Few runs that were alike by chance are no proof, and what they say on the whole is off, too.
  const each = (variance + VARIANCE_FIRST_RUNS * varianceFirst) / (known + VARIANCE_FIRST_RUNS)
  const spread = Math.sqrt(each * (1 + 1 / known))
  return { logWork, spread, waitMs, cores: Math.max(1, cores) }
}

/** A run needed so many bytes of memory at most: much is believed at once, less with time. */
export function learnPeak(command: Command, told: number | undefined, here: boolean): void {
  const peak = within(told, BYTES_MAX)
  if (peak === undefined || peak === 0) return
  const name = here ? 'peakBytes' : 'toldPeakBytes'
  command[name] = Math.max(peak, average(command[name], peak, COUNT_MAX))
}

/** What it made use of where there was most; 0: not known. */
export function coresOf({ places }: Command): number {
  return places.reduce((most, { cores }) => Math.max(most, cores), 0)
}

/** The plain mean of the first few, then exponentially weighted, up faster than down. `count`: values with this one. */
export function average(before: number, value: number, count: number): number {
  return before + (value - before) * Math.max(1 / count, value > before ? GAIN_UP : GAIN_DOWN)
}

/** A number in 0..most; beyond, cut; undefined for what is none. */
export function within(value: number | undefined, most: number): number | undefined {
  return value !== undefined && value >= 0 ? Math.min(value, most) : undefined
}

/** With numbers that were kept out of range dropped or cut. */
export function soundCommand(command: Command): Command {
  return {
    runs: within(command.runs, COUNT_MAX) ?? 0,
    places: command.places.slice(-MAX_PLACES).map(soundPlace),
    peakBytes: within(command.peakBytes, BYTES_MAX) ?? 0,
    toldPeakBytes: within(command.toldPeakBytes, BYTES_MAX) ?? 0,
    stagedBytes: within(command.stagedBytes, BYTES_MAX) ?? 0,
    streamedBytes: within(command.streamedBytes, BYTES_MAX) ?? 0,
    turns: within(command.turns, TURNS_MAX) ?? 0
  }
}

function soundPlace(place: Place): Place {
  return {
    peer: place.peer,
    runs: within(place.runs, COUNT_MAX) ?? 0,
    latest: within(place.latest, COUNT_MAX) ?? 0,
    workMs: within(place.workMs, TIME_MS_MAX) ?? 0,
    compared: within(place.compared, COUNT_MAX) ?? 0,
    logWork: within(place.logWork, LOG_MAX) ?? 0,
    logVariance: within(place.logVariance, LOG_MAX) ?? 0,
    waitMs: within(place.waitMs, TIME_MS_MAX) ?? 0,
    cores: within(place.cores, MAX_DEMAND) ?? 0
  }
}

function freshPlaces({ runs, places }: Command): Place[] {
  return places.filter((place) => runs - place.latest < FRESH_RUNS)
}

/** The place among the command's, now the latest. */
function placeOf(command: Command, peer: PeerId): Place {
  const known = command.places.find((place) => place.peer === peer)
  const place = known ?? {
    peer,
    runs: 0,
    latest: 0,
    workMs: 0,
    compared: 0,
    logWork: 0,
    logVariance: 0,
    waitMs: 0,
    cores: 0
  }
  command.places = [...command.places.filter((other) => other !== place), place]
  if (command.places.length > MAX_PLACES) {
    const oldest = command.places.findIndex((other) => other.peer !== HERE)
    command.places.splice(oldest, 1)
  }
  return place
}

function learnSpread(place: Place, logWork: number): void {
  place.compared = Math.min(COUNT_MAX, place.compared + 1)
  const gain = Math.max(1 / place.compared, GAIN_SPREAD)
  const difference = logWork - place.logWork
  place.logWork += gain * difference
  // Of the first run nothing is known to differ from.
  place.logVariance = place.compared === 1 ? 0 : (1 - gain) * (place.logVariance + gain * difference ** 2)
}

/** Where half of the weight is on either side. */
function weightedMedian(places: readonly Place[], weights: readonly number[]): Place {
  const order = places.map((place, index) => ({ place, weight: weights[index]! }))
  order.sort((a, b) => a.place.logWork - b.place.logWork)
  let left = order.reduce((sum, { weight }) => sum + weight, 0) / 2
  for (const { place, weight } of order) {
    left -= weight
    if (left <= 0) return place
  }
  return order.at(-1)!.place
}
