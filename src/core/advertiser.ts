/**
 * When to tell the neighbours about this machine: periodically, and at once when what they would decide by has changed.
 * A token bucket for each neighbour bounds both together.
 */

import { metric } from './metric.ts'
import type { MachineRecord, MetricPolicy, PeerId } from './types.ts'

/** ms between advertisements while jobs come and go, and after IDLE_AFTER_MS without one. */
const ACTIVE_PERIOD_MS = 1_000
const IDLE_PERIOD_MS = 10_000
const IDLE_AFTER_MS = 5 * 60_000
/** A metric that moved by more than half a step of 10 % and another half of hysteresis is news. */
const STEP = Math.log(1.1)
const HYSTERESIS_STEPS = 1
/** Below this a metric is as good as nothing. */
const METRIC_FLOOR = 0.1
/** Messages saved up for changes, and earned in each period. */
const BUCKET = 8
const EARNED_PER_PERIOD = 2

/** What neighbours decide by, coarse enough that noise doesn't show. */
export interface Announcement {
  /** Log steps of the guests' metric for one core and for all. */
  steps: readonly number[]
  full: boolean
  slots: number
  refuses: string | undefined
}

interface Listener {
  /** What it was told last; undefined: tell it at once. */
  told: Announcement | undefined
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
  const steps = [1, Math.max(1, record.cores)].map(
    (demand) => Math.log(Math.max(METRIC_FLOOR, metric(record, demand, { home: false }, policy))) / STEP
  )
  const full = record.guestDemand + Math.min(1, record.slots) > record.slots
  return { steps, full, slots: record.slots, refuses: record.refuses }
}

export class Advertiser {
  /** The connected neighbours; bounded as these are. */
  readonly #listeners = new Map<PeerId, Listener>()
  #activeAt: number | undefined

  up(peer: PeerId, now: number): void {
    const fresh = { told: undefined, periodMs: 0, periodicAt: now, changeAt: undefined, tokens: BUCKET, tokensAt: now }
    this.#listeners.set(peer, fresh)
  }

  down(peer: PeerId): void {
    this.#listeners.delete(peer)
  }

  /** A job was asked for, came, or ended: neighbours that were told of the long period hear at once that it is over. */
  active(now: number): void {
    this.#activeAt = now
    for (const listener of this.#listeners.values()) {
      if (listener.periodMs === IDLE_PERIOD_MS) listener.periodicAt = Math.min(listener.periodicAt, now)
    }
  }

  /** What was said of this machine no longer holds in a way that an announcement doesn't show. */
  tellAll(): void {
    for (const listener of this.#listeners.values()) listener.told = undefined
  }

  /** The neighbours that are to be told now. Call after whatever may have changed the record, and when a timer is due. */
  due(current: Announcement, now: number): { peers: PeerId[]; periodMs: number } {
    const periodMs = this.#periodMs(now)
    const peers: PeerId[] = []
    for (const [peer, listener] of this.#listeners) {
      earn(listener, now, periodMs)
      const news = listener.told === undefined || isNews(listener.told, current)
      if (now >= listener.periodicAt || (news && listener.tokens >= 1)) {
        peers.push(peer)
        tell(listener, current, now, periodMs)
      } else {
        listener.changeAt = news ? now + Math.ceil(((1 - listener.tokens) * periodMs) / EARNED_PER_PERIOD) : undefined
      }
    }
    return { peers, periodMs }
  }

  nextTimer(): number | undefined {
    let next: number | undefined
    for (const { periodicAt, changeAt } of this.#listeners.values()) {
      next = Math.min(next ?? Number.POSITIVE_INFINITY, periodicAt, changeAt ?? Number.POSITIVE_INFINITY)
    }
    return next
  }

  #periodMs(now: number): number {
    return this.#activeAt !== undefined && now - this.#activeAt < IDLE_AFTER_MS ? ACTIVE_PERIOD_MS : IDLE_PERIOD_MS
  }
}

function earn(listener: Listener, now: number, periodMs: number): void {
  const earned = ((now - listener.tokensAt) * EARNED_PER_PERIOD) / periodMs
  listener.tokens = Math.min(BUCKET, listener.tokens + earned)
  listener.tokensAt = now
}

/** Remembered in whole steps, so that a slow drift is news too. */
function tell(listener: Listener, current: Announcement, now: number, periodMs: number): void {
  listener.told = { ...current, steps: current.steps.map(Math.round) }
  listener.periodMs = periodMs
  listener.periodicAt = now + periodMs
  listener.changeAt = undefined
  listener.tokens = Math.max(0, listener.tokens - 1)
}

function isNews(told: Announcement, current: Announcement): boolean {
  return (
    told.full !== current.full ||
    told.slots !== current.slots ||
    told.refuses !== current.refuses ||
    told.steps.some((step, index) => Math.abs(step - current.steps[index]!) > HYSTERESIS_STEPS)
  )
}
