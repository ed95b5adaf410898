/**
 * When to tell a neighbour about this machine and the best of the others: periodically, and at once when what it would decide
 * by has changed. A token bucket for each neighbour bounds both together.
 */

import type { Activity } from './activity.ts'
import { metric } from './metric.ts'
import type { Offers } from './propagation.ts'
import type { MachineRecord, MetricPolicy, PeerId } from './types.ts'

/** ms between advertisements while jobs come and go, and while the overlay rests. */
const ACTIVE_PERIOD_MS = 2_000
const IDLE_PERIOD_MS = 10_000
/** A metric that rose by more than half a step of 10 % and another half of hysteresis is news. */
const STEP = Math.log(1.1)
const HYSTERESIS_STEPS = 1
/** Below this a metric is as good as nothing. */
const METRIC_FLOOR = 0.1
/**
 * Messages saved up for changes, and earned in each period. Twice the period and three times the earnings of a message a
 * second cost less than it, and in simulation bursts of short jobs end up to 30 % sooner.
 */
const BUCKET = 6
const EARNED_PER_PERIOD = 6

/** What neighbours decide by, coarse enough that noise doesn't show. */
export interface Announcement {
  /** Log steps of the guests' metric here for one core and for all. */
  steps: readonly number[]
  /** The same as if no job of kappa's were here: what the owner leaves. */
  left: readonly number[]
  full: boolean
  slots: number
  refuses: string | undefined
}

interface Listener {
  /** What it was told last; undefined: tell it at once. */
  told: Announcement | undefined
  /** Log steps of the best that it was told of others. */
  toldBest: readonly number[]
  /** Version of the offers when these were last looked at for it. */
  version: number
  /** The period that was stated to it last. */
  periodMs: number
  /** When the next one is due without a change. */
  periodicAt: number
  /** When a change that found no token may go out; undefined: none waits. */
  changeAt: number | undefined
  tokens: number
  tokensAt: number
}

export function announcementOf(record: MachineRecord, policy: MetricPolicy): Announcement {
  const demands = [1, Math.max(1, record.cores)]
  const stepsOf = (of: MachineRecord) => demands.map((demand) => stepOf(metric(of, demand, { home: false }, policy)))
  const steps = stepsOf(record)
  const left = stepsOf({ ...record, homeDemand: 0, guestDemand: 0 })
  const full = record.guestDemand + Math.min(1, record.slots) > record.slots
  return { steps, left, full, slots: record.slots, refuses: record.refuses }
}

export class Advertiser {
  /** The connected neighbours; bounded as these are. */
  readonly #listeners = new Map<PeerId, Listener>()
  readonly #activity: Activity
  /** Where the beat of the periodic advertisements begins. */
  #beatsFrom = Number.NaN

  constructor(activity: Activity) {
    this.#activity = activity
  }

  up(peer: PeerId, now: number): void {
    if (Number.isNaN(this.#beatsFrom)) this.#beatsFrom = now
    this.#listeners.set(peer, {
      told: undefined,
      toldBest: [],
      version: -1,
      periodMs: 0,
      periodicAt: now,
      changeAt: undefined,
      tokens: BUCKET,
      tokensAt: now
    })
  }

  down(peer: PeerId): void {
    this.#listeners.delete(peer)
  }

  /** The rest is over: neighbours that were told of the long period hear it at once. */
  woke(now: number): void {
    for (const listener of this.#listeners.values()) {
      if (listener.periodMs === IDLE_PERIOD_MS) listener.periodicAt = Math.min(listener.periodicAt, now)
    }
  }

  /** Records of this machine and of others, the best of which is worth `best` now, went to that neighbour with an answer. */
  answered(peer: PeerId, current: Announcement, best: [number, number]): void {
    const listener = this.#listeners.get(peer)
    if (listener?.told === undefined) return
    listener.told = rounded(current)
    const steps = best.map(stepOf).map(Math.round)
    listener.toldBest = steps.map((step, index) => Math.min(step, listener.toldBest[index] ?? step))
  }

  /** What was said of this machine no longer holds in a way that an announcement doesn't show. */
  tellAll(): void {
    for (const listener of this.#listeners.values()) listener.told = undefined
  }

  /** The neighbours that are to be told now. Call after whatever may have changed the record, and when a timer is due. */
  due(current: Announcement, offers: Offers, policy: MetricPolicy, now: number): { peers: PeerId[]; periodMs: number } {
    const periodMs = this.#periodMs(now)
    const peers: PeerId[] = []
    for (const [peer, listener] of this.#listeners) {
      earn(listener, now, periodMs)
      const own = listener.told === undefined || isNews(listener.told, current)
      const others = listener.version !== offers.version
      if (now >= listener.periodicAt) peers.push(peer)
      else if (!own && !others) listener.changeAt = undefined
      else if (listener.tokens < 1) {
        listener.changeAt = now + Math.ceil(((1 - listener.tokens) * periodMs) / EARNED_PER_PERIOD)
        continue
      } else if (own || becameBetter(listener.toldBest, offers.best(peer, policy).map(stepOf))) peers.push(peer)
      else {
        listener.version = offers.version
        listener.changeAt = undefined
      }
      if (peers.at(-1) === peer) this.#tell(listener, current, now, periodMs, offers.best(peer, policy), offers.version)
    }
    return { peers, periodMs }
  }

  #tell(
    listener: Listener,
    current: Announcement,
    now: number,
    periodMs: number,
    best: [number, number],
    version: number
  ): void {
    listener.told = rounded(current)
    listener.toldBest = best.map(stepOf).map(Math.round)
    listener.version = version
    listener.periodMs = periodMs
    // All at the same beat: what is told is then ranked once for all.
    const beat = Math.floor((now + periodMs / 2 - this.#beatsFrom) / periodMs) + 1
    listener.periodicAt = this.#beatsFrom + beat * periodMs
    listener.changeAt = undefined
    listener.tokens = Math.max(0, listener.tokens - 1)
  }

  nextTimer(): number | undefined {
    let next: number | undefined
    for (const { periodicAt, changeAt } of this.#listeners.values()) {
      next = Math.min(next ?? Number.POSITIVE_INFINITY, periodicAt, changeAt ?? Number.POSITIVE_INFINITY)
    }
    return next
  }

  #periodMs(now: number): number {
    return this.#activity.rests(now) ? IDLE_PERIOD_MS : ACTIVE_PERIOD_MS
  }
}

function earn(listener: Listener, now: number, periodMs: number): void {
  const earned = ((now - listener.tokensAt) * EARNED_PER_PERIOD) / periodMs
  listener.tokens = Math.min(BUCKET, listener.tokens + earned)
  listener.tokensAt = now
}

/** Remembered in whole steps, so that a slow drift is news too. */
function rounded(current: Announcement): Announcement {
  return { ...current, steps: current.steps.map(Math.round), left: current.left.map(Math.round) }
}

function stepOf(value: number): number {
  return Math.log(Math.max(METRIC_FLOOR, value)) / STEP
}

/**
 * Of what jobs of kappa's cause, only what became better is news. Who sends a job here learns from the answer that it became worse; a question on the word
 * of an old record costs a round trip, but a free machine that nobody knows of costs the whole job.
 */
function becameBetter(told: readonly number[], current: readonly number[]): boolean {
  return current.some((step, index) => step - (told[index] ?? 0) > HYSTERESIS_STEPS)
}

function isNews(told: Announcement, current: Announcement): boolean {
  return (
    (told.full && !current.full) ||
    told.slots !== current.slots ||
    told.refuses !== current.refuses ||
    becameBetter(told.steps, current.steps) ||
    // The owner came: no answer tells that.
    becameBetter(current.left, told.left)
  )
}
